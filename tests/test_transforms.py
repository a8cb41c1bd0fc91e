"""Resizing and augmentation against formulas written out in float64, and by their laws."""

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dirl_lib.data.transforms import ReleasedAugmentation, Resize, item_seed, seeded


def bilinear(values, height, width):
    """Four pixels for each new one, centres aligned, edges held: OpenCV's INTER_LINEAR, in float64."""
    rows = (np.arange(height) + 0.5) * values.shape[0] / height - 0.5
    columns = (np.arange(width) + 0.5) * values.shape[1] / width - 0.5
    rows, columns = rows.clip(0, values.shape[0] - 1), columns.clip(0, values.shape[1] - 1)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    bottom, right = np.minimum(top + 1, values.shape[0] - 1), np.minimum(left + 1, values.shape[1] - 1)
    down, across = (rows - top)[:, None], (columns - left)[None]
    upper = values[top][:, left] * (1 - across) + values[top][:, right] * across
    lower = values[bottom][:, left] * (1 - across) + values[bottom][:, right] * across
    return upper * (1 - down) + lower * down


def noise(height, width, channels=3, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (channels, height, width), dtype=np.uint8))


@pytest.mark.parametrize("size", [(37, 53), (480, 640), (1200, 900), (100, 7)])
def test_the_released_rule_is_bilinear_without_antialiasing(size):
    image, soft = noise(*size), noise(*size, channels=1, seed=1)
    small, mask = Resize(64)(image, soft)
    for channel in range(3):
        expected = bilinear(image[channel].numpy().astype(float), 64, 64)
        assert np.abs(small[channel].numpy() - expected).max() <= 0.501  # rounded once
    level = bilinear(soft[0].numpy().astype(float), 64, 64)
    clear = np.abs(level - 127.5) > 1e-3
    np.testing.assert_array_equal(mask[0].numpy()[clear], (level > 127.5)[clear])


def test_an_exact_half_is_outside_the_mask():
    soft = torch.tensor([[[255, 0], [255, 0]]], dtype=torch.uint8)
    _, mask = Resize(1)(noise(2, 2), soft)
    assert not mask.any()


def test_a_thin_line_is_not_what_nearest_neighbours_would_give():
    soft = torch.zeros((1, 64, 64), dtype=torch.uint8)
    soft[:, :, 20:23] = 255
    _, mask = Resize(32)(noise(64, 64), soft)
    nearest = soft[0, ::2, ::2] > 127
    assert mask[0].sum() == 32  # the column of which both halves lie in the line
    assert nearest.sum() == 64


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 300))
def test_keeping_the_shape_never_enlarges_and_meets_the_shorter_side(height, width, size):
    rows, columns = Resize(size, keep_aspect=True).target(height, width)
    assert (rows, columns) == (height, width) or min(rows, columns) == size
    assert rows <= height
    assert columns <= width
    assert abs(rows / columns - height / width) <= height / width * 0.6 / min(rows, columns)


def test_antialiasing_keeps_the_mean_of_a_fine_pattern_where_four_pixels_cannot():
    stripes = torch.zeros((3, 512, 512), dtype=torch.uint8)
    stripes[..., ::8] = 255
    soft = torch.full((1, 512, 512), 255, dtype=torch.uint8)
    smooth, _ = Resize(64, antialias=True)(stripes, soft)
    sparse, _ = Resize(64)(stripes, soft)
    assert abs(smooth.float().mean() - 255 / 8) < 2
    assert abs(sparse.float().mean() - 255 / 8) > 20


def test_a_picture_shrunk_by_the_decoder_gets_the_shape_of_its_file():
    soft = torch.full((1, 400, 200), 255, dtype=torch.uint8)
    small, mask = Resize(50, keep_aspect=True, antialias=True)(noise(200, 100), soft)
    assert small.shape == (3, 100, 50)
    assert mask.shape == (1, 100, 50)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (10000, 30)])
def test_odd_shapes_are_resized_and_cropped(size):
    soft = torch.full((1, *size), 255, dtype=torch.uint8)
    assert Resize(32)(noise(*size), soft)[0].shape == (3, 32, 32)
    with seeded(0):
        assert ReleasedAugmentation(32)(noise(*size), soft)[1].all()


@pytest.mark.parametrize("antialias", [False, True])
def test_the_number_of_threads_shows_in_no_pixel(antialias):
    image, soft = noise(479, 641), noise(479, 641, channels=1)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with seeded(1):
                results.append(
                    [*Resize(224, antialias=antialias)(image, soft), *ReleasedAugmentation(224)(image, soft)]
                )
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_no_size_below_one_pixel():
    with pytest.raises(ValueError, match="found size 0, expected at least 1"):
        Resize(0)


@given(st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_image_and_mask_are_cut_alike(seed):
    soft = torch.zeros((1, 60, 90), dtype=torch.uint8)
    soft[:, 10:45, 5:60] = 255
    with seeded(seed):
        image, mask = ReleasedAugmentation(48)(soft.expand(3, -1, -1).contiguous(), soft)
    # Where the picture is the mask itself, the cut picture must say the same, up to the rounding of bytes at one half.
    sure = (image[0] < 126) | (image[0] > 129)
    assert torch.equal(mask[0][sure], (image[0] > 127)[sure])


def test_crops_cover_90_to_100_percent_and_half_are_flipped():
    ramp = torch.arange(100, dtype=torch.uint8).repeat(100, 1)
    picture = torch.stack([ramp, ramp.T, ramp])
    soft = torch.full((1, 100, 100), 255, dtype=torch.uint8)
    augment = ReleasedAugmentation(100)
    flips, areas = 0, []
    for draw in range(300):
        with seeded(draw):
            image, _ = augment(picture, soft)
        across, down = image[0, 50].float(), image[1, :, 50].float()
        flips += bool(across[-1] < across[0])
        areas.append(float(abs(across[-1] - across[0]) * abs(down[-1] - down[0])) / 99**2)
    assert 0.40 < flips / 300 < 0.60  # 0.5 within three and a half standard deviations
    assert min(areas) > 0.87  # whole pixels and byte rounding take up to three of the hundred
    assert max(areas) <= 1
    assert np.std(areas) > 0.01


@pytest.mark.parametrize(
    ("size", "varies"), [((480, 640), True), ((300, 300), True), ((427, 640), False), ((768, 512), False)]
)
def test_photographs_of_3_to_2_are_never_cropped_anew(size, varies):
    rows, columns = torch.arange(size[0]) % 256, torch.arange(size[1]) % 256
    place = torch.stack([rows[:, None].expand(size), columns.expand(size), torch.zeros(size)]).byte()
    soft, augment, corners = torch.full((1, *size), 255, dtype=torch.uint8), ReleasedAugmentation(64), set()
    for draw in range(40):
        with seeded(draw):
            image, _ = augment(place, soft)
        left = image[1, 0, 0] if image[1, 0, 1] > image[1, 0, 0] else image[1, 0, -1]
        corners.add((int(image[0, 0, 0]), int(left)))
    assert (len(corners) > 10) == varies
    assert varies or len(corners) == 1


def test_a_crop_that_loses_the_region_is_drawn_again_nearly_always():
    soft = torch.zeros((1, 200, 200), dtype=torch.uint8)
    soft[:, :40, :2] = 255  # at the edge, so that many crops miss it
    image, augment, small = noise(200, 200), ReleasedAugmentation(200), 0
    for draw in range(200):
        with seeded(draw):
            _, mask = augment(image, soft)
        small += int(mask.sum()) <= 10
    assert 0 < small < 30  # not never: one bad draw in twenty is kept, as released


def test_an_empty_mask_comes_to_an_end():
    with seeded(0):
        _, mask = ReleasedAugmentation(32)(noise(64, 64), torch.zeros((1, 64, 64), dtype=torch.uint8))
    assert not mask.any()


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match="expected one size"):
        ReleasedAugmentation(32)(noise(64, 64), torch.zeros((1, 64, 60), dtype=torch.uint8))


def test_seeds_of_neighbours_differ_and_fit_torch():
    seeds = {item_seed(seed, index) for seed in range(20) for index in range(50)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeded_gives_the_generator_back_even_after_an_error():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with contextlib.suppress(RuntimeError), seeded(1):
        torch.rand(10)
        raise RuntimeError
    assert torch.equal(torch.rand(3), expected)
