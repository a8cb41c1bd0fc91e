"""Attention against maps whose mass is known, loops in float64, and networks whose gates are replaced by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_iharmony4 import with_lists
from tiny_photos import SHAPE, make_photo
from torch import nn

from dirl_lib.attention import (
    LEVELS,
    Drift,
    attention_drift,
    attention_replaced,
    attention_row,
    drift_difference,
    feature_heat,
    flat,
    look,
    mass_inside,
    shrunk_mask,
    shuffled,
)
from dirl_lib.data.dataset import MaskedPhotos
from dirl_lib.data.iharmony4 import IHarmony4
from dirl_lib.data.transforms import Resize
from dirl_lib.evaluation import Estimate
from dirl_lib.images import write_mask
from dirl_lib.models import AtWorkingSize, create_model
from dirl_lib.types import Sample

SMALL = 0.0625
WHOLE = Resize(64, keep_aspect=True)  # the tiny photographs, 64 x 96, as they are
LEFT, RIGHT = (slice(0, 64), slice(0, 48)), (slice(0, 64), slice(48, 96))


def network(preset="paper", seed=0):
    """With running statistics that are not the initial ones, so that no layer is the identity."""
    torch.manual_seed(seed)
    model = create_model(preset, width=SMALL).train()
    with torch.no_grad():
        model(torch.rand(4, 3, 64, 64))
    return model.eval()


class LeftGate(nn.Module):
    """A spatial gate that says 0.6 in the left half and 0.2 in the right one: three quarters of its mass are left."""

    def forward(self, c):
        attention = torch.full_like(c[:, :1], 0.2)
        attention[..., : c.shape[-1] // 2] = 0.6
        return attention


def looking_left():
    model = network()
    for block in model.refinement:
        block.spatial_gate = LeftGate()
    return model


def shrunk_by_loops(mask, height, width):
    """Every pixel and every cell cut into their common parts, which are counted one by one."""
    tall, wide = mask.shape
    parts = np.kron(mask, np.ones((height, width)))  # (tall * height, wide * width)
    out = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            out[i, j] = parts[i * tall : (i + 1) * tall, j * wide : (j + 1) * wide].mean()
    return out


# --- mass ---


def test_the_mass_of_a_map_by_hand():
    """2 x 2 cells over 4 x 4 pixels; the region is the left column of cells and one pixel of the upper right cell."""
    attention = torch.tensor([[[[0.8, 0.4], [0.2, 0.6]]]])
    mask = torch.tensor([[[[1.0, 1, 1, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]]])
    assert shrunk_mask(mask, (2, 2)).tolist() == [[[[1.0, 0.25], [1.0, 0.0]]]]
    assert mass_inside(attention, mask).tolist() == pytest.approx([(0.8 + 0.4 / 4 + 0.2) / 2.0], abs=1e-7)


@pytest.mark.parametrize("size", [(7, 5), (3, 2), (1, 1), (2, 9), (10, 3)])
def test_a_mask_shrinks_by_exact_areas_at_any_size(size):
    mask = (torch.rand(2, 1, 7, 5, generator=torch.Generator().manual_seed(1)) > 0.6).float()
    found = shrunk_mask(mask, size)
    assert found.dtype == torch.float64
    for n in range(2):
        np.testing.assert_allclose(found[n, 0], shrunk_by_loops(mask[n, 0].double().numpy(), *size), atol=1e-14)


def test_a_mask_shrinks_as_the_loss_shrinks_it_where_cells_hold_whole_pixels():
    mask = (torch.rand(2, 1, 48, 64, generator=torch.Generator().manual_seed(2)) > 0.5).float()
    for k in LEVELS:
        size = (48 // 2 ** (k - 1), 64 // 2 ** (k - 1))
        torch.testing.assert_close(shrunk_mask(mask, size).float(), F.interpolate(mask, size=size, mode="area"))


def test_the_mass_is_that_of_loops_for_maps_of_any_size():
    generator = torch.Generator().manual_seed(3)
    attention = torch.rand(2, 1, 3, 4, generator=generator)
    mask = (torch.rand(2, 1, 10, 7, generator=generator) > 0.7).float()
    for n, found in enumerate(mass_inside(attention, mask).tolist()):
        target = shrunk_by_loops(mask[n, 0].double().numpy(), 3, 4)
        inside = total = 0.0
        for i in range(3):
            for j in range(4):
                inside += attention[n, 0, i, j].item() * target[i, j]
                total += attention[n, 0, i, j].item()
        assert found == pytest.approx(inside / total, abs=1e-12)


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (1, 3)])
def test_a_map_that_says_the_same_everywhere_has_the_regions_share(size):
    mask = torch.zeros(1, 1, 16, 24)
    mask[..., 3:9, 5:22] = 1
    assert mass_inside(torch.full((1, 1, *size), 0.3), mask).item() == pytest.approx(6 * 17 / (16 * 24), abs=1e-12)


def test_the_true_region_as_a_map_has_all_its_mass_inside_and_its_opposite_none():
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 4:8, 8:16] = 1
    cells = F.avg_pool2d(mask, 4)
    assert mass_inside(cells, mask).item() == 1
    assert mass_inside(1 - cells, mask).item() == 0


def test_a_map_of_zeros_and_an_empty_mask_have_no_mass_inside():
    assert mass_inside(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 8, 8)).item() == 0
    assert mass_inside(torch.rand(1, 1, 4, 4), torch.zeros(1, 1, 8, 8)).item() == 0


def test_mass_inside_refuses_what_is_no_map_and_no_mask():
    mask = torch.ones(1, 1, 8, 8)
    with pytest.raises(ValueError, match=r"attention must lie in \[0, 1\], found maximum 2"):
        mass_inside(torch.full((1, 1, 4, 4), 2.0), mask)
    with pytest.raises(ValueError, match=r"attention has shape \(4, 4\)"):
        mass_inside(torch.rand(4, 4), mask)
    with pytest.raises(ValueError, match="found 2 maps and 1 masks"):
        mass_inside(torch.rand(2, 1, 4, 4), mask)


# --- features ---


def test_the_heat_of_a_feature_is_the_mean_of_absolute_values():
    feature = torch.tensor([[[3.0, 0.0]], [[-3.0, 0.0]], [[0.0, 1.5]]])  # (3, 1, 2)
    assert feature_heat(feature).tolist() == [[2.0, 0.5]]
    assert feature_heat(feature[None].expand(2, -1, -1, -1)).tolist() == [[[2.0, 0.5]]] * 2
    with pytest.raises(ValueError, match="expected \\(C, h, w\\)"):
        feature_heat(torch.rand(3, 3))


@pytest.mark.parametrize(("preset", "offset"), [("paper", 0.0), ("released", 1.0)])
def test_the_heat_of_a_is_that_of_the_gated_b_times_the_map(preset, offset):
    model = network(preset)
    (seen,) = look(model, torch.rand(1, 3, 64, 64))
    for k in LEVELS:
        c = seen.b[k - 1] * model.refinement[k - 1].channel_gate(seen.b[k - 1][None])[0].detach()
        expected = feature_heat(c) * (offset + seen.attention[k - 1])
        torch.testing.assert_close(feature_heat(seen.a[k - 1]), expected)


def test_a_network_is_looked_at_image_by_image():
    model, images = network(), torch.rand(2, 3, 50, 70)
    found = model(images, return_features=True)
    for n, seen in enumerate(look(model, images)):
        torch.testing.assert_close(seen.mask, found.mask[n, 0])
        for k in LEVELS:
            torch.testing.assert_close(seen.attention[k - 1], found.attention[k - 1][n, 0])
            torch.testing.assert_close(seen.b[k - 1], found.extras[f"b_{k}"][n])
            torch.testing.assert_close(seen.a[k - 1], found.extras[f"a_{k}"][n])
        assert not seen.mask.requires_grad


def test_at_a_working_size_maps_and_features_have_the_cells_that_the_network_computed():
    inner = network()
    model, images = AtWorkingSize(inner, 64), torch.rand(1, 3, 100, 150)
    (seen,) = look(model, images)
    small = F.interpolate(images, (48, 80), mode="bilinear", antialias=True).clamp(0, 1)
    found = inner(small, return_features=True)
    assert seen.mask.shape == (100, 150)
    torch.testing.assert_close(seen.mask, model(images).mask[0, 0])
    for k in LEVELS:
        assert seen.attention[k - 1].shape == seen.b[k - 1].shape[1:] == (48 // 2 ** (k - 1), 80 // 2 ** (k - 1))
        torch.testing.assert_close(seen.attention[k - 1], found.attention[k - 1][0, 0])
        torch.testing.assert_close(seen.a[k - 1], found.extras[f"a_{k}"][0])


def test_looking_leaves_the_mode_as_it_is():
    model = network().train()
    look(model, torch.rand(2, 3, 64, 64))
    assert model.training


def test_a_row_of_the_figure_holds_both_networks_in_their_order():
    sample = Sample("x", torch.rand(3, 48, 64), torch.zeros(1, 48, 64), torch.empty(3, 0, 0))
    one, two = network("da"), network("paper", seed=1)
    row = attention_row("a word", sample, one, two)
    assert row.title == "a word"
    for seen, model in zip(row.looks, (one, two), strict=True):
        torch.testing.assert_close(seen.mask, model(sample.image[None]).mask[0, 0])


@pytest.mark.parametrize("of", [lambda model: model, lambda model: AtWorkingSize(model, 64)])
def test_a_network_without_attention_is_refused(of):
    with pytest.raises(ValueError, match="no attention maps, expected a preset with refinement"):
        look(of(network("row-07")), torch.rand(1, 3, 64, 64))


def test_another_model_is_refused():
    with pytest.raises(TypeError, match="the model is a Identity, expected a DIRL"):
        look(nn.Identity(), torch.rand(1, 3, 64, 64))


# --- over a data set ---


def photos(folder, *areas):
    return [make_photo(folder, number, area=area) for number, area in enumerate(areas)]


@pytest.mark.parametrize("wrap", [lambda model: model, lambda model: AtWorkingSize(model, 78)], ids=["bare", "sized"])
def test_the_drift_of_a_network_that_looks_left(tmp_path, wrap):
    """Region left: 3/4 of the mass. Right: 1/4. The upper left quarter: 3/8, at a share of 1/4."""
    records = photos(tmp_path, LEFT, RIGHT, (slice(0, 32), slice(0, 48)))
    found = attention_drift(wrap(looking_left()), MaskedPhotos(records, WHOLE), batch_size=1)
    # float32 holds 0.6 and 0.2 to a relative error of 2^-24
    np.testing.assert_allclose(found.per_image[:, :5], np.repeat([[3 / 4], [1 / 4], [3 / 8]], 5, axis=1), atol=1e-7)
    np.testing.assert_allclose(found.per_image[:, 5], [1 / 2, 1 / 2, 1 / 4], atol=1e-12)
    assert [estimate.mean for estimate in found.inside] == pytest.approx([11 / 24] * 5, abs=1e-7)
    assert found.region.mean == pytest.approx(5 / 12, abs=1e-12)
    assert (found.images, found.photographs, found.empty) == (3, 3, 0)
    for estimate in found.inside:
        # Three photographs are drawn with replacement: 1 of 27 draws is three times the lowest one, more than 2.5 %.
        assert (estimate.low, estimate.high) == pytest.approx((1 / 4, 3 / 4), abs=1e-7)


def test_intervals_are_over_photographs(tmp_path):
    """Eight composites of two photographs: of four draws one shows the same photograph twice, either way."""
    left, right = photos(tmp_path, LEFT, RIGHT)
    records = [left._replace(name=f"left {n}") for n in range(4)] + [
        right._replace(name=f"right {n}") for n in range(4)
    ]
    found = attention_drift(looking_left(), MaskedPhotos(records, WHOLE), batch_size=1)
    assert found.photographs == 2
    assert tuple(found.inside[4]) == pytest.approx((1 / 2, 1 / 4, 3 / 4), abs=1e-7)
    single = attention_drift(looking_left(), MaskedPhotos(records[:4], WHOLE), batch_size=1)
    assert single.inside[4] == Estimate(pytest.approx(3 / 4, abs=1e-7), None, None)


def test_images_without_a_region_are_left_out_and_counted(tmp_path):
    records = photos(tmp_path, LEFT, RIGHT)
    write_mask(records[1].mask_path, np.zeros(SHAPE, dtype=bool))
    found = attention_drift(looking_left(), MaskedPhotos(records, WHOLE), batch_size=1)
    assert (found.images, found.empty, found.photos) == (1, 1, (("", "scene 0"),))
    assert found.inside[0].mean == pytest.approx(3 / 4, abs=1e-7)
    write_mask(records[0].mask_path, np.zeros(SHAPE, dtype=bool))
    with pytest.raises(ValueError, match="none of 2 images has a region"):
        attention_drift(looking_left(), MaskedPhotos(records, WHOLE), batch_size=1)


def test_the_drift_is_the_mean_of_what_look_and_mass_inside_say(tmp_path):
    data, model = MaskedPhotos(photos(tmp_path, LEFT, RIGHT, (slice(5, 20), slice(60, 90))), 64), network()
    counted = []
    found = attention_drift(model.train(), data, batch_size=2, progress=counted.append)
    assert counted == [2, 1]
    assert model.training
    model.eval()
    for k in LEVELS:
        single = [
            mass_inside(look(model, one.image[None])[0].attention[k - 1][None, None], one.mask[None]).item()
            for one in data
        ]
        assert found.inside[k - 1].mean == pytest.approx(math.fsum(single) / 3, abs=1e-6)


def test_iharmony4_knows_its_photographs_by_sub_dataset(tmp_path):
    data = IHarmony4(with_lists(tmp_path), "test", size=32)
    found = attention_drift(network(), data)
    expected = [(name.subset, name.photo) for name in data.names]
    assert set(found.photos) <= set(expected)
    assert found.images + found.empty == len(data)


def test_shapes_of_their_own_cannot_be_stacked(tmp_path):
    with pytest.raises(ValueError, match="expected batch_size=1"):
        attention_drift(network(), MaskedPhotos(photos(tmp_path, LEFT), WHOLE))


def test_the_mode_is_restored_when_a_batch_fails(tmp_path):
    model = network("row-07").train()
    with pytest.raises(ValueError, match="no attention maps"):
        attention_drift(model, MaskedPhotos(photos(tmp_path, LEFT), 64))
    assert model.training


def measured(rows, named):
    values = np.array(rows, dtype=np.float64)
    none = Estimate(0.0, None, None)
    return Drift((none,) * 5, none, len(rows), len(set(named)), 0, values, tuple(named))


def test_the_difference_is_taken_image_against_image():
    """Levels differ by 0.1, ..., 0.5 on every image, however much the images differ: the interval is a point."""
    first = [[0.1, 0.1, 0.1, 0.1, 0.1, 0.2], [0.4, 0.4, 0.4, 0.4, 0.4, 0.3]]
    second = [[value + 0.1 * k for k, value in enumerate(row[:5], 1)] + row[5:] for row in first]
    found = drift_difference(measured(first, "ab"), measured(second, "ab"))
    for k, estimate in enumerate(found, 1):
        assert tuple(estimate) == pytest.approx((0.1 * k,) * 3, abs=1e-12)


def test_differences_of_other_images_are_refused():
    one = measured([[0.1] * 6, [0.2] * 6], "ab")
    with pytest.raises(ValueError, match="not the same ones"):
        drift_difference(one, measured([[0.1] * 6, [0.2] * 6], "ac"))
    with pytest.raises(ValueError, match="not the same ones"):
        drift_difference(one, measured([[0.1] * 6, [0.3] * 6], "ab"))


# --- other maps ---


def test_a_replaced_map_is_what_the_decoder_gets():
    """The same network put together by hand, with constant maps between refinement and decoder."""
    model, images = network(), torch.rand(2, 3, 64, 64)
    with torch.no_grad(), attention_replaced(model, flat):
        found = model(images, return_features=True)
    a = []
    for k, block in enumerate(model.refinement, 1):
        c = found.extras[f"b_{k}"] * block.channel_gate(found.extras[f"b_{k}"])
        per_image = [block.spatial_gate(c[n : n + 1]).mean() for n in range(2)]
        a.append(c * torch.stack(per_image).view(2, 1, 1, 1))
        torch.testing.assert_close(found.extras[f"a_{k}"], a[-1])
        assert not torch.allclose(model(images, return_features=True).extras[f"a_{k}"], a[-1], rtol=1e-3)
        for n in range(2):
            assert found.attention[k - 1][n].std() < 1e-6
    # An untrained decoder says nearly the same everywhere, so that only its last digits tell: they must agree.
    torch.testing.assert_close(found.mask, torch.sigmoid(model.decoder(a)), rtol=0, atol=2e-7)


@pytest.mark.parametrize("wrap", [lambda model: model, lambda model: AtWorkingSize(model, 64)], ids=["bare", "sized"])
def test_only_the_levels_asked_for_change_and_only_inside_the_block(wrap):
    model, images = wrap(network()), torch.rand(1, 3, 64, 64)
    before = look(model, images)[0]
    with attention_replaced(model, lambda attention, k: attention * 0 + k / 10, levels=[2, 5]):
        inside = look(model, images)[0]
    after = look(model, images)[0]
    for k in LEVELS:
        if k in (2, 5):
            torch.testing.assert_close(inside.attention[k - 1], torch.full_like(before.attention[k - 1], k / 10))
        else:
            assert torch.equal(inside.attention[k - 1], before.attention[k - 1])
        assert torch.equal(inside.b[k - 1], before.b[k - 1])
        assert torch.equal(after.attention[k - 1], before.attention[k - 1])
        changed = not torch.allclose(inside.a[k - 1], before.a[k - 1], rtol=1e-3)
        assert changed == (k in (2, 5))
    assert not torch.equal(inside.mask, before.mask)
    assert torch.equal(after.mask, before.mask)


def test_the_network_is_restored_when_the_block_fails():
    model, images = network(), torch.rand(1, 3, 64, 64)
    before = model(images).mask
    with pytest.raises(RuntimeError, match="on purpose"), attention_replaced(model, flat):
        raise RuntimeError("on purpose")
    assert torch.equal(model(images).mask, before)


def test_a_replacement_of_another_shape_and_a_level_that_is_none_are_refused():
    model = network()
    with (
        pytest.raises(ValueError, match="the replacement of A_1 has shape"),
        attention_replaced(model, lambda attention, _: attention[..., :1]),
    ):
        model(torch.rand(1, 3, 64, 64))
    with pytest.raises(ValueError, match="found the levels \\[0\\]"), attention_replaced(model, flat, levels=[0]):
        pass
    with pytest.raises(ValueError, match="no attention maps"), attention_replaced(network("row-07"), flat):
        pass


def test_a_flat_map_keeps_the_mean_of_each_image():
    attention = torch.tensor([[[[0.0, 1.0]]], [[[0.2, 0.4]]]])
    torch.testing.assert_close(flat(attention, 3), torch.tensor([[[[0.5, 0.5]]], [[[0.3, 0.3]]]]))


def test_a_shuffled_map_has_the_same_values_at_other_places():
    attention = torch.arange(48.0).view(2, 1, 4, 6) / 48
    change = shuffled(torch.Generator().manual_seed(0))
    first, second = change(attention, 1), change(attention, 1)
    for dealt in (first, second):
        assert dealt.shape == attention.shape
        assert torch.equal(dealt.flatten(1).sort(dim=1).values, attention.flatten(1))
        assert not torch.equal(dealt[0] * 48, dealt[1] * 48 - 24)  # each image in its own order
    assert not torch.equal(first, second)
    assert torch.equal(first, shuffled(torch.Generator().manual_seed(0))(attention, 1))
