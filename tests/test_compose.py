"""Outlines to masks, how strong a change is, and which reference is taken."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.draw import polygon2mask

from dirl_lib.synthesis.color_transfer import METHODS, recolor
from dirl_lib.synthesis.compose import (
    TYPICAL_CHANGE,
    VISIBLE_CHANGE,
    WILD_CHANGE,
    change_strength,
    choose_reference,
    draw_composite,
    polygon_mask,
)


def test_a_rectangle_covers_exactly_its_pixels():
    mask = polygon_mask([(1, 2), (4, 2), (4, 3), (1, 3)], (5, 6))
    wanted = np.zeros((5, 6), dtype=bool)
    wanted[2, 1:4] = True
    np.testing.assert_array_equal(mask, wanted)


def test_the_whole_picture_is_the_rectangle_of_its_outer_corners():
    assert polygon_mask([(0, 0), (6, 0), (6, 5), (0, 5)], (5, 6)).all()


def test_a_pixel_belongs_to_the_polygon_from_more_than_half_on():
    assert polygon_mask([(0, 0), (2.6, 0), (2.6, 1), (0, 1)], (1, 4)).tolist() == [[True, True, True, False]]
    assert polygon_mask([(0, 0), (2.4, 0), (2.4, 1), (0, 1)], (1, 4)).tolist() == [[True, True, False, False]]


@given(st.integers(0, 9999))
def test_masks_are_scikit_images_wherever_coverage_is_clear(seed):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radii = rng.uniform(8, 18, 9)
    x, y = 20 + radii * np.cos(angles), 22 + radii * np.sin(angles)
    mask = polygon_mask(list(zip(x, y, strict=True)), (44, 40))
    # polygon2mask asks whether a middle lies inside, in (row, column), with middles at whole numbers.
    fine = polygon2mask((440, 400), np.stack([10 * y - 0.5, 10 * x - 0.5], axis=1))
    coverage = fine.reshape(44, 10, 40, 10).mean(axis=(1, 3))
    clear = np.abs(coverage - 0.5) > 0.15
    np.testing.assert_array_equal(mask[clear], (coverage > 0.5)[clear])
    assert clear.mean() > 0.95


def test_an_outline_outside_the_picture_is_cut_off():
    assert polygon_mask([(-9, -9), (2, -9), (2, 99), (-9, 99)], (3, 4)).tolist() == [[True, True, False, False]] * 3


def test_outlines_that_give_no_mask_are_refused():
    with pytest.raises(ValueError, match="2 corners, expected at least 3"):
        polygon_mask([(0, 0), (1, 1)], (4, 4))
    with pytest.raises(ValueError, match=r"covers no pixel of 4x3; are the corners \(x, y\)"):
        polygon_mask([(9, 9), (20, 9), (9, 20)], (3, 4))


def test_the_strength_of_a_change_by_hand():
    before = np.zeros((1, 2, 3), dtype=np.uint8)
    after = before.copy()
    after[0, 0] = [3, 4, 5]
    assert change_strength(before, after, np.array([[True, False]])) == pytest.approx(np.sqrt(50 / 3))
    assert change_strength(before, after) == pytest.approx(np.sqrt(50 / 6))
    assert change_strength(after, before) == change_strength(before, after)
    assert change_strength(after, after) == 0


def colors_around(center: int, seed: int, count: int = 500) -> np.ndarray:
    return np.random.default_rng(seed).normal(center, 12, (count, 3)).clip(0, 255).astype(np.uint8)


REGION = colors_around(100, seed=0)


def test_a_reference_of_the_same_colours_is_never_chosen():
    assert choose_reference(REGION, [colors_around(101, 1), colors_around(140, 2)]) == 1
    with pytest.raises(ValueError, match="offer references of other colours"):
        choose_reference(REGION, [colors_around(101, 1), colors_around(98, 2)])


def test_the_typical_change_is_preferred_to_a_wild_one():
    candidates = [colors_around(100 + step, seed) for seed, step in enumerate((120, 38, 90, 16))]
    assert choose_reference(REGION, candidates) == 1


def test_the_choice_is_the_same_each_time_and_the_first_of_equals():
    candidates = [colors_around(140, 3), colors_around(140, 3)]
    assert {choose_reference(REGION, candidates) for _ in range(3)} == {0}


def test_every_method_makes_a_visible_change_with_the_chosen_reference():
    candidates = [colors_around(center, center) for center in range(20, 240, 20)]
    chosen = candidates[choose_reference(REGION, candidates)]
    image = REGION.reshape(20, 25, 3)
    everywhere = np.ones((20, 25), dtype=bool)
    for method in METHODS:
        strength = change_strength(image, recolor(image, everywhere, chosen, method))
        assert VISIBLE_CHANGE <= strength <= 2 * TYPICAL_CHANGE


def test_nothing_to_choose_from_is_an_error():
    with pytest.raises(ValueError, match="at least one region of another scene"):
        choose_reference(REGION, [])


def drawn_from(*centers):
    """Draw for a grey region; says also how many references were looked at."""
    looked = []

    def references():
        for center in centers:
            looked.append(center)
            yield colors_around(center, 1)

    image, everywhere = REGION.reshape(20, 25, 3), np.ones((20, 25), dtype=bool)
    return draw_composite(image, everywhere, references(), "reinhard"), looked


def test_the_first_reference_that_fits_is_taken_and_no_other_is_read():
    drawn, looked = drawn_from(101, 245, 140, 150)
    assert drawn.fits
    assert (drawn.reference, looked) == (2, [101, 245, 140])
    assert VISIBLE_CHANGE <= drawn.strength <= WILD_CHANGE
    assert drawn.strength == change_strength(REGION, drawn.pixels.reshape(-1, 3))


def test_where_none_fits_the_nearest_to_a_typical_change_is_kept_and_says_so():
    drawn, looked = drawn_from(101, 245, 108, 250)
    assert not drawn.fits
    assert looked == [101, 245, 108, 250]
    assert drawn.reference == 1  # about four times too strong; 108 is about five times too weak


def test_no_reference_at_all_is_an_error():
    with pytest.raises(ValueError, match="found no reference to draw from"):
        drawn_from()
