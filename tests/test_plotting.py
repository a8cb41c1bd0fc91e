"""Figures: what is drawn where, at which scale, and that bad input meets a sentence."""

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib import pyplot as plt

from dirl_lib import plotting
from dirl_lib.attention import AttentionRow, Drift, Look
from dirl_lib.evaluation import Estimate

SIZE = (24, 36)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def seen(scale=1.0, channels=4):
    """A look whose level k has cells of 2^(k-1) pixels, and values that tell levels and networks apart."""
    sizes = [tuple(-(-side // 2 ** (k - 1)) for side in SIZE) for k in range(1, 6)]
    attention = tuple(torch.full(size, k / 10) for k, size in enumerate(sizes, 1))
    b = tuple(
        scale * k * torch.linspace(-1, 1, channels).view(-1, 1, 1).expand(-1, *size) for k, size in enumerate(sizes, 1)
    )
    return Look(torch.full(SIZE, 0.25 * scale), attention, b, tuple(0.5 * level for level in b))


def region():
    mask = torch.zeros(1, *SIZE)
    mask[:, 6:12, 10:30] = 1
    return mask


def rows(count=2):
    image = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
    return [AttentionRow(f"row {n}", image, region(), (seen(1 + n), seen(2 + n))) for n in range(count)]


def pictures(fig):
    """Of every axes in the order of drawing: its one image."""
    return [axes.images[0] for axes in fig.axes if axes.images]


def texts(fig):
    return [text.get_text() for text in fig.texts]


def outlined(axes):
    return len(axes.collections) > 0


# --- composites over masks ---


def test_composites_stand_over_their_masks_pixel_by_pixel():
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    mask = np.zeros((4, 6), dtype=bool)
    mask[1:3, 2] = True
    found = plotting.over_masks([image, image], [mask, ~mask], height=4, gap=2)
    assert found.shape == (4 + 2 + 4, 6 + 2 + 6, 3)
    assert found.dtype == np.uint8
    for left, inside in ((0, mask), (8, ~mask)):
        assert np.array_equal(found[:4, left : left + 6], image)
        assert np.array_equal(found[6:, left : left + 6], np.where(inside[..., None], 255, 0).repeat(3, axis=2))
    assert (found[4:6] == 255).all()
    assert (found[:, 6:8] == 255).all()


def test_composites_of_any_shape_come_to_one_height_and_masks_stay_black_and_white():
    generator = torch.Generator().manual_seed(1)
    images = [torch.rand(3, 50, 70, generator=generator), torch.rand(3, 90, 40, generator=generator)]
    masks = [(torch.rand(1, *image.shape[1:], generator=generator) > 0.5).float() for image in images]
    found = plotting.over_masks(images, masks, height=30, gap=1)
    widths = (round(30 * 70 / 50), round(30 * 40 / 90))
    assert found.shape == (61, sum(widths) + 1, 3)
    below = np.delete(found[31:], widths[0], axis=1)
    assert set(np.unique(below)) == {0, 255}
    # Floats in [0, 1] are the same picture as bytes.
    as_bytes = [np.rint(255 * image.permute(1, 2, 0).numpy()).astype(np.uint8) for image in images]
    assert np.array_equal(found, plotting.over_masks(as_bytes, masks, height=30, gap=1))


def test_composites_without_masks_or_of_another_size_are_refused():
    image, mask = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), bool)
    with pytest.raises(ValueError, match="found 0 images and 0 masks"):
        plotting.over_masks([], [])
    with pytest.raises(ValueError, match="found 1 images and 2 masks"):
        plotting.over_masks([image], [mask, mask])
    with pytest.raises(ValueError, match=r"found a mask of \(6, 4\) for an image of \(4, 6\)"):
        plotting.over_masks([image], [mask.T])
    with pytest.raises(ValueError, match="found 2 titles for 1 images"):
        plotting.composites_over_masks([image], [mask], ["a", "b"])


@pytest.mark.parametrize("titles", [(), ("one", "two")])
def test_fig_1_shows_the_picture_pixel_for_pixel_with_a_title_over_each_column(titles):
    images = [np.full((40, 60, 3), 200, np.uint8), np.full((60, 40, 3), 90, np.uint8)]
    masks = [np.eye(*image.shape[:2], dtype=bool) for image in images]
    fig = plotting.composites_over_masks(images, masks, titles, height=80)
    assert np.array_equal(pictures(fig)[0].get_array(), plotting.over_masks(images, masks, height=80))
    width, height = fig.get_size_inches() * 100
    box = fig.axes[0].get_position()
    assert (width, box.height * height) == pytest.approx((120 + 8 + 53, 168))
    assert [text.get_text() for text in fig.axes[0].texts] == list(titles)
    if titles:
        assert [text.get_position()[0] for text in fig.axes[0].texts] == pytest.approx([60, 128 + 26.5])


# --- the supplement's Fig. 2 ---


def test_fig_2_has_the_ten_columns_of_the_supplement_in_its_order():
    given = rows(2)
    fig = plotting.attention_figure(given)
    drawn = pictures(fig)
    assert len(drawn) == 2 * 10 + 1  # and the bar of the scale
    for n, row in enumerate(given):
        da, mda = row.looks
        heat = torch.linspace(-1, 1, 4).abs().mean() * 5
        expected = [
            row.image.permute(1, 2, 0),
            row.mask[0],
            da.attention[4],
            mda.attention[4],
            torch.full_like(da.attention[4], heat * (1 + n)),
            torch.full_like(da.attention[4], heat * (1 + n) / 2),
            torch.full_like(da.attention[4], heat * (2 + n)),
            torch.full_like(da.attention[4], heat * (2 + n) / 2),
            da.mask,
            mda.mask,
        ]
        for picture, wanted in zip(drawn[10 * n : 10 * n + 10], expected, strict=True):
            np.testing.assert_allclose(picture.get_array(), wanted, rtol=1e-6)


def test_a_column_of_fig_2_has_one_scale():
    """Attention and masks 0 to 1; heat maps 0 to the largest value of the column, here that of the second row."""
    fig = plotting.attention_figure(rows(2))
    limits = [picture.get_clim() for picture in pictures(fig)[:20]]
    assert limits[:10] == limits[10:]
    heat = torch.linspace(-1, 1, 4).abs().mean().item() * 5
    assert limits[2:4] + limits[8:10] == [(0, 1)] * 4
    np.testing.assert_allclose(limits[4:8], [(0, 2 * heat), (0, heat), (0, 3 * heat), (0, 1.5 * heat)], rtol=1e-6)
    assert any("largest value of the column" in text for text in texts(fig))


def test_maps_of_fig_2_fill_the_image_whatever_their_cells_and_colours_are_for_all_eyes():
    fig = plotting.attention_figure(rows(1))
    for number, picture in enumerate(pictures(fig)[:10]):
        assert picture.get_extent() == [-0.5, 35.5, 23.5, -0.5]
        if 2 <= number < 8:
            assert picture.get_interpolation() == "nearest"
            assert picture.get_cmap().name == "cividis"
    assert [outlined(axes) for axes in fig.axes[:10]] == [False] * 2 + [True] * 6 + [False] * 2
    assert not any(outlined(axes) for axes in plotting.attention_figure(rows(1), outline=False).axes)


def test_fig_2_says_what_each_column_is_in_large_letters():
    fig = plotting.attention_figure(rows(1), names=("without", "with"), level=3)
    assert texts(fig)[:15] == [
        *("image", "$I$", "region", "$M$"),
        *("attention $A_3$", "without", "with"),
        *("features, without", "$b_3$", "$a_3$"),
        *("features, with", "$b_3$", "$a_3$"),
        *("mask $\\hat{M}$", "without"),
    ]
    assert "row 0" in texts(fig)
    assert min(text.get_fontsize() for text in fig.texts) >= 13
    assert float(pictures(fig)[2].get_array().max()) == pytest.approx(0.3)


def test_panels_of_fig_2_do_not_overlap():
    fig = plotting.attention_figure(rows(3))
    boxes = [axes.get_position() for axes in fig.axes]
    assert all(0 <= box.x0 < box.x1 <= 1 and 0 <= box.y0 < box.y1 <= 1 for box in boxes)
    for n, one in enumerate(boxes):
        for other in boxes[:n]:
            apart = one.x0 >= other.x1 or other.x0 >= one.x1 or one.y0 >= other.y1 or other.y0 >= one.y1
            assert apart


def test_fig_2_of_a_feature_that_is_zero_and_of_an_empty_mask():
    empty = rows(1)[0]._replace(mask=torch.zeros(1, *SIZE), looks=(seen(0.0), seen(0.0)))
    fig = plotting.attention_figure([empty])
    assert pictures(fig)[4].get_clim() == (0, 1)
    assert not any(outlined(axes) for axes in fig.axes)


def test_fig_2_refuses_no_rows_and_a_level_that_is_none():
    with pytest.raises(ValueError, match="found no rows"):
        plotting.attention_figure([])
    with pytest.raises(ValueError, match="found level 6, expected one of 1, 2, 3, 4, 5"):
        plotting.attention_figure(rows(1), level=6)


# --- levels and drift ---


def test_the_levels_of_an_image_stand_side_by_side_with_their_cells():
    image, looks = rows(1)[0].image, {"DA": seen(), "MDA": seen(2.0)}
    fig = plotting.attention_levels(image, looks, mask=region())
    drawn = pictures(fig)[:12]
    for n, look in enumerate(looks.values()):
        for k in range(1, 6):
            np.testing.assert_allclose(drawn[6 * n + k].get_array(), look.attention[k - 1])
            assert drawn[6 * n + k].get_clim() == (0, 1)
    titles = [axes.get_title() for axes in fig.axes[:6]]
    assert titles == [
        "image\n24 × 36",
        "$A_1$\n24 × 36",
        "$A_2$\n12 × 18",
        "$A_3$\n6 × 9",
        "$A_4$\n3 × 5",
        "$A_5$\n2 × 3",
    ]
    assert [fig.axes[n].get_ylabel() for n in (0, 6)] == ["DA", "MDA"]
    assert all(outlined(axes) for axes in fig.axes[:12])
    assert not any(outlined(axes) for axes in plotting.attention_levels(image, looks).axes[:12])
    with pytest.raises(ValueError, match="found no looks"):
        plotting.attention_levels(image, {})


def drift(start, width=0.05):
    inside = tuple(
        Estimate(
            start + k / 100, *((None, None) if width is None else (start + k / 100 - width, start + k / 100 + width))
        )
        for k in range(1, 6)
    )
    return Drift(inside, Estimate(0.2, 0.1, 0.3), 3, 2, 0, np.zeros((3, 6)), ("a", "a", "b"))


def test_the_chart_of_the_drift_shows_means_intervals_and_the_regions_share():
    fig = plotting.drift_chart({"DA": drift(0.2), "MDA": drift(0.5)}, controls={"MDA": drift(0.4)})
    (axes,) = fig.axes
    points = {line.get_label(): line for line in axes.lines if line.get_marker() != "None"}
    assert list(points) == ["DA", "MDA", "MDA, untouched"]
    for label, start in (("DA", 0.2), ("MDA", 0.5), ("MDA, untouched", 0.4)):
        assert points[label].get_ydata() == pytest.approx([start + k / 100 for k in range(1, 6)])
        assert np.abs(points[label].get_xdata() - np.arange(1, 6)).max() < 0.4
    (share,) = [line for line in axes.lines if line.get_label() == "region's share"]
    assert list(share.get_ydata()) == [0.2, 0.2]
    segments = np.concatenate([lines.get_segments() for lines in axes.collections])
    assert segments[0][:, 1] == pytest.approx([0.21 - 0.05, 0.21 + 0.05])
    assert len(segments) == 15
    # Told apart without colour: another marker for each network, hollow for the control.
    assert points["DA"].get_marker() != points["MDA"].get_marker() == points["MDA, untouched"].get_marker()
    assert points["MDA, untouched"].get_markerfacecolor() == "white" != points["MDA"].get_markerfacecolor()


def test_the_chart_of_a_single_photograph_has_no_intervals():
    (axes,) = plotting.drift_chart({"DA": drift(0.2, width=None)}).axes
    assert len(axes.collections) == 0


def test_the_chart_refuses_none_too_many_and_controls_of_nobody():
    with pytest.raises(ValueError, match="found 0 measurements, expected 1 to 4"):
        plotting.drift_chart({})
    with pytest.raises(ValueError, match="found 5 measurements"):
        plotting.drift_chart({str(n): drift(0.2) for n in range(5)})
    with pytest.raises(ValueError, match="found controls called MDA, expected names among DA"):
        plotting.drift_chart({"DA": drift(0.2)}, controls={"MDA": drift(0.2)})


# --- one map as a picture ---


def test_a_map_becomes_a_picture_cell_by_cell():
    values = torch.tensor([[-1.0, 0.0, 3.0]])
    found = plotting.heat_picture(values, (2, 6), limits=(-1, 1))
    ends = (np.array(colormaps["cividis"]([0.0, 0.5, 1.0]))[:, :3] * 255).round()
    assert found.shape == (2, 6, 3)
    assert found.dtype == np.uint8
    expected = ends.repeat(2, axis=0)[None].repeat(2, axis=0)  # 3.0 stays at the upper end
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_the_outline_in_a_picture_lies_inside_the_region():
    mask = np.zeros((12, 14), dtype=bool)
    mask[2:10, 3:12] = True
    found = plotting.heat_picture(np.zeros((3, 3)), (12, 14), mask=mask)
    white = (found == 255).all(axis=2)
    inner = np.zeros_like(mask)
    inner[4:8, 5:10] = True
    assert np.array_equal(white, mask & ~inner)


def test_a_picture_refuses_limits_that_fall_and_a_mask_of_another_size():
    with pytest.raises(ValueError, match="found limits 1 and 1"):
        plotting.heat_picture(np.zeros((3, 3)), (6, 6), limits=(1, 1))
    with pytest.raises(ValueError, match=r"found a mask of \(3, 3\) for a picture of \(6, 6\)"):
        plotting.heat_picture(np.zeros((3, 3)), (6, 6), mask=np.zeros((3, 3), bool))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_empty_and_a_full_mask_have_no_outline(value):
    fig = plotting.show_images([np.zeros((4, 4))], [""])
    plotting.outline_mask(fig.axes[0], np.full((4, 4), value))
    assert not outlined(fig.axes[0])
