"""Regions recoloured and chosen by hand, against colour science by other means and pictures that one can count."""

import numpy as np
import pytest
from skimage.color import rgb2lab, rgb2xyz

from dirl_lib.synthesis.color_transfer import METHODS, recolor
from dirl_lib.synthesis.editing import RANGES, Edit, apply_edit, from_linear, to_linear
from dirl_lib.synthesis.regions import Region, grow, parse_corners, region_mask


def picture(seed=0, shape=(12, 16)):
    """Colours of middle brightness, so that no edit of these tests is clipped."""
    return np.random.default_rng(seed).integers(70, 130, (*shape, 3)).astype(np.uint8)


def left_half(image):
    region = np.zeros(image.shape[:2], dtype=bool)
    region[:, : image.shape[1] // 2] = True
    return region


def light(image):
    """Linear light by scikit-image: the matrix to XYZ undone leaves its own linearisation."""
    to_xyz = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
    return rgb2xyz(image) @ np.linalg.inv(to_xyz).T


def everywhere(image, **values):
    return apply_edit(image, np.ones(image.shape[:2], dtype=bool), Edit(**values))


EDITS = [
    {"exposure": 1.0},
    {"temperature": -1.5},
    {"tint": 1.0},
    {"saturation": 0.0},
    {"contrast": 2.0},
    {"exposure": -2.0, "temperature": 2.0, "tint": -2.0, "saturation": 2.0, "contrast": 0.5},
]


def test_no_edit_leaves_every_one_of_the_256_values():
    ramp = np.stack(np.meshgrid(np.arange(256), np.arange(0, 256, 17), [128], indexing="ij"), axis=-1)[:, :, 0]
    ramp = ramp.astype(np.uint8)
    np.testing.assert_array_equal(everywhere(ramp), ramp)


@pytest.mark.parametrize("values", EDITS)
def test_only_the_region_changes_and_the_image_given_stays(values):
    image = picture()
    before, region = image.copy(), left_half(image)
    result = apply_edit(image, region, Edit(**values))
    np.testing.assert_array_equal(result[~region], before[~region])
    np.testing.assert_array_equal(image, before)
    assert (result[region] != before[region]).any()


def test_linear_light_is_that_of_scikit_image():
    image = picture()
    np.testing.assert_allclose(to_linear(image / 255), light(image), atol=1e-4)
    values = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(from_linear(to_linear(values)), values, atol=1e-7)  # the two pieces meet to seven digits


@pytest.mark.parametrize("stops", [-1.0, 1.0, 1.5])
def test_a_stop_of_exposure_doubles_the_light(stops):
    image = picture()
    # One step of 8 bits is at most 1.1 % of the light at these values.
    np.testing.assert_allclose(light(everywhere(image, exposure=stops)), light(image) * 2**stops, rtol=0.03)


@pytest.mark.parametrize("grey", [60, 128, 180])
def test_temperature_moves_grey_along_the_yellow_blue_axis_and_keeps_its_lightness(grey):
    image = np.full((2, 2, 3), grey, dtype=np.uint8)
    lightness, _, yellow = rgb2lab(everywhere(image, temperature=1.0))[0, 0]
    cold_lightness, _, blue = rgb2lab(everywhere(image, temperature=-1.0))[0, 0]
    start = rgb2lab(image)[0, 0, 0]
    assert yellow > 5
    assert blue < -5
    assert lightness == pytest.approx(start, abs=0.5)
    assert cold_lightness == pytest.approx(start, abs=0.5)


def test_tint_moves_grey_along_the_magenta_green_axis_and_keeps_its_lightness():
    image = np.full((2, 2, 3), 128, dtype=np.uint8)
    lightness, magenta, _ = rgb2lab(everywhere(image, tint=1.0))[0, 0]
    _, green, _ = rgb2lab(everywhere(image, tint=-1.0))[0, 0]
    assert magenta > 10
    assert green < -10
    assert lightness == pytest.approx(rgb2lab(image)[0, 0, 0], abs=0.5)


def test_without_saturation_there_is_grey_of_the_same_luminance():
    image = picture()
    grey = everywhere(image, saturation=0.0)
    assert (grey == grey[..., :1]).all()
    np.testing.assert_allclose(rgb2lab(grey)[..., 0], rgb2lab(image)[..., 0], atol=0.5)


def test_contrast_stretches_about_the_mean_of_the_region():
    image, region = picture(), left_half(picture())
    mean = image[region].mean(axis=0)
    for contrast in (0.0, 0.5, 2.0):
        found = apply_edit(image, region, Edit(contrast=contrast))[region]
        np.testing.assert_allclose(found, mean + contrast * (image[region] - mean), atol=0.51)


@pytest.mark.parametrize("method", METHODS)
def test_a_transfer_is_the_librarys_and_blends_evenly(method):
    image, region = picture(), left_half(picture())
    reference = picture(1).reshape(-1, 3) // 2
    whole = recolor(image, region, reference, method)
    edit = Edit(method=method)
    np.testing.assert_array_equal(apply_edit(image, region, edit, transferred=whole), whole)
    half = apply_edit(image, region, edit.at(0.5), transferred=whole)
    np.testing.assert_allclose(half, (image.astype(float) + whole) / 2, atol=0.51)
    np.testing.assert_array_equal(apply_edit(image, region, edit.at(0.0), transferred=whole), image)


def test_an_empty_region_is_no_edit():
    image = picture()
    np.testing.assert_array_equal(apply_edit(image, np.zeros((12, 16), dtype=bool), Edit(exposure=2.0)), image)


def test_strength_goes_evenly_from_nothing_to_the_edit():
    edit = Edit(2.0, -1.0, 0.5, 0.0, 1.5, "idt", 0.8)
    assert edit.at(1.0) == edit
    assert edit.at(0.0).changes_nothing
    assert edit.at(0.5) == Edit(1.0, -0.5, 0.25, 0.5, 1.25, "idt", 0.4)


@pytest.mark.parametrize(
    ("edit", "words", "nothing"),
    [
        (Edit(), "untouched", True),
        (Edit(amount=0.3), "untouched", True),
        (Edit(method="idt", amount=0.0), "untouched", True),
        (Edit(exposure=1.0, saturation=0.5), "exposure +1, saturation 0.5", False),
        (Edit(temperature=-1.25, method="xiao_ma", amount=0.5), "xiao_ma 50%, temperature -1.25", False),
    ],
)
def test_an_edit_says_what_it_does(edit, words, nothing):
    assert str(edit) == words
    assert edit.changes_nothing is nothing


@pytest.mark.parametrize("name", RANGES)
def test_a_value_outside_its_range_is_refused(name):
    low, high = RANGES[name]
    Edit(**{name: low})
    Edit(**{name: high})
    for value in (low - 0.1, high + 0.1, float("nan")):
        with pytest.raises(ValueError, match=rf"found {name} .*, expected {low:g} to {high:g}"):
            Edit(**{name: value})


def test_what_cannot_be_recoloured_is_refused():
    image = picture()
    with pytest.raises(ValueError, match=r"found the method 'pitie', expected one of reinhard, .*, or none"):
        Edit(method="pitie")
    with pytest.raises(ValueError, match=r"found a region of bool \(3, 3\), expected bool \(12, 16\)"):
        apply_edit(image, np.ones((3, 3), dtype=bool), Edit())
    with pytest.raises(ValueError, match="found the method 'idt', expected the transferred image"):
        apply_edit(image, left_half(image), Edit(method="idt"))


# --- regions ---


def test_a_rectangle_in_per_cent():
    region = region_mask(picture(), Region("rectangle", across=(25, 75), down=(50, 100)))
    expected = np.zeros((12, 16), dtype=bool)
    expected[6:, 4:12] = True
    np.testing.assert_array_equal(region, expected)


def test_a_polygon_of_four_corners_is_that_rectangle():
    corners = "25,50 75,50 75,100 25,100"
    rectangle = region_mask(picture(), Region("rectangle", across=(25, 75), down=(50, 100)))
    np.testing.assert_array_equal(region_mask(picture(), Region("polygon", corners=corners)), rectangle)


def test_a_given_mask_is_found_by_its_name():
    image = picture()
    half = left_half(image)
    assert region_mask(image, Region(name="half"), {"half": half}) is half
    with pytest.raises(ValueError, match="found no mask 'cat', expected one of: half; draw a region instead"):
        region_mask(image, Region(name="cat"), {"half": half})


def test_growing_stops_at_another_colour_and_does_not_jump():
    image = np.full((6, 9, 3), 200, dtype=np.uint8)
    image[:, 3] = 20  # a wall
    image[2, 5] = 190  # two steps of lightness away
    island = np.zeros((6, 9), dtype=bool)
    island[:, 4:] = True
    np.testing.assert_array_equal(grow(image, (95, 95), 10), island)
    without = island.copy()
    without[2, 5] = False
    np.testing.assert_array_equal(grow(image, (95, 95), 1), without)
    assert grow(image, (95, 95), 200).all()


def test_growing_more_tolerantly_grows_more_and_holds_the_place():
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    before = np.zeros((20, 30), dtype=bool)
    for tolerance in (0, 20, 40, 60):
        region = grow(image, (100, 100), tolerance)
        assert region[-1, -1]
        assert (region | ~before).all()
        before = region


@pytest.mark.parametrize("text", ["20,30 60,30 40,80", "20, 30; 60 ,30;40 , 80", " 20,30\t60,30\n40,80 "])
def test_corners_may_be_written_in_several_ways(text):
    assert parse_corners(text) == [(20, 30), (60, 30), (40, 80)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found 0 corners, expected 3 to 200"),
        ("1,2 3,4", "found 2 corners"),
        ("1,2 3,4 five", "found the corner 'five', expected x,y in per cent"),
        ("1,2 3,4 5,6,7", "found the corner '5,6,7', expected x,y"),
        ("1,2 3,4 5,101", "found the corner '5,101', expected both numbers from 0 to 100"),
        ("1,2 3,4 nan,1", "found the corner 'nan,1', expected both numbers"),
        ("1,1 " * 201, "found 201 corners"),
    ],
)
def test_words_that_are_no_polygon_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_corners(text)


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (Region("rectangle", across=(50, 50)), "covers no pixel"),
        (Region("circle"), "found the kind 'circle', expected one of given, rectangle"),
        (Region("grow", cursor=(50, 101)), "expected 0 to 100 per cent"),
        (Region("grow", tolerance=-1), "and 0 or more"),
    ],
)
def test_a_region_that_is_none_is_refused(region, message):
    with pytest.raises(ValueError, match=message):
        region_mask(picture(), region)
