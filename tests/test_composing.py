"""Composites on the fly: endless, the same for the same index, whoever makes them."""

import pickle
import random

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.Image import Resampling
from tiny_photos import GREYS, make_photo, make_photos, make_two_greys

from dirl_lib.data.cache import StoreError, prepare
from dirl_lib.data.composing import ComposedScenes
from dirl_lib.data.folders import read_table
from dirl_lib.data.loading import make_loader
from dirl_lib.data.transforms import Resize
from dirl_lib.images import ImageFileError, read_image, write_image
from dirl_lib.synthesis.compose import VISIBLE_CHANGE, WILD_CHANGE, draw_composite


@pytest.fixture
def photos(tmp_path):
    return make_photos(tmp_path / "photos", 12)


@pytest.fixture
def scenes(photos):
    return ComposedScenes(photos, 48)


def equal(one, other):
    return one.name == other.name and all(torch.equal(a, b) for a, b in zip(one[1:], other[1:], strict=True))


def test_a_sample_keeps_the_contract_and_differs_from_the_photograph_inside_the_mask_only(scenes):
    for index in range(3 * len(scenes)):
        sample = scenes[index]
        assert sample.image.shape == sample.real.shape == (3, 48, 48)
        assert sample.image.dtype == sample.mask.dtype == torch.float32
        inside = sample.mask[0] > 0
        assert torch.equal(sample.image[:, ~inside], sample.real[:, ~inside])
        assert 0.01 < inside.float().mean() < 0.5
        change = 255 * float((sample.image - sample.real)[:, inside].square().mean().sqrt())
        assert VISIBLE_CHANGE - 5 < change < WILD_CHANGE + 30  # where no reference fits, the nearest is taken


def test_epochs_never_repeat_and_an_index_always_does(scenes):
    stream = [scenes[2 + epoch * len(scenes)] for epoch in range(8)]
    assert {sample.name for sample in stream} == {"photo 2"}
    for first in range(8):
        assert equal(stream[first], scenes[2 + first * len(scenes)])
        for second in range(first):
            assert not torch.equal(stream[first].image, stream[second].image)
    assert equal(scenes[-1], scenes[len(scenes) - 1])


def test_another_seed_is_another_stream(photos, scenes):
    other = ComposedScenes(photos, 48, seed=1)
    assert not torch.equal(other[0].image, scenes[0].image)
    assert any(not torch.equal(other[index].real, scenes[index].real) for index in range(12))  # other flips


def test_the_colours_are_those_of_the_reference_object_and_not_of_its_background(tmp_path):
    scenes = ComposedScenes(make_two_greys(tmp_path / "photos"), 48)
    expected = list(GREYS.values())[::-1]
    for index in range(8):
        sample = scenes[index]
        inside = sample.mask[0] > 0
        assert 255 * float(sample.image[:, inside].mean()) == pytest.approx(expected[index % 2], abs=4)


def test_of_references_that_do_not_fit_the_one_nearest_to_a_typical_change_is_kept():
    grey = [np.full((20, 3), value, dtype=np.uint8) for value in (255, 105, 210, 101)]
    image, mask = np.full((4, 5, 3), 100, dtype=np.uint8), np.ones((4, 5), dtype=bool)
    drawn = draw_composite(image, mask, grey, "histogram")
    assert (drawn.reference, drawn.strength, drawn.fits) == (2, 110, False)
    drawn = draw_composite(image, mask, [*grey, np.full((20, 3), 140, dtype=np.uint8)], "histogram")
    assert (drawn.reference, drawn.strength, drawn.fits) == (4, 40, True)


def test_0_and_2_workers_give_the_same_batches(scenes):
    batches = {}
    for workers in (0, 2):
        loader = make_loader(scenes, 4, train=True, workers=workers, seed=1)
        batches[workers] = [batch for _ in range(2) for batch in loader]
    assert len(batches[0]) == 6
    for alone, with_workers in zip(batches[0], batches[2], strict=True):
        assert equal(alone, with_workers)
    assert not torch.equal(batches[0][0].image, batches[0][3].image)


def test_it_travels_to_other_processes_without_what_it_has_decoded(scenes):
    expected, empty = scenes[3], len(pickle.dumps(ComposedScenes(scenes.photos, 48)))
    assert len(pickle.dumps(scenes)) == empty
    assert equal(pickle.loads(pickle.dumps(scenes))[3], expected)


def test_no_global_generator_is_touched(scenes):
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - the very state in question
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    scenes[3]
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    np.testing.assert_array_equal(before[2], np.random.get_state()[1])  # noqa: NPY002


def test_a_photograph_is_decoded_once(scenes, photos):
    first = [scenes[index] for index in range(len(scenes))]
    for photo in photos:
        photo.image_path.unlink()
    assert equal(scenes[0], first[0])
    assert scenes[len(scenes)].name == first[0].name


def test_a_store_gives_the_same_stream(photos, scenes, tmp_path):
    prepare(photos, tmp_path / "store", Resize(48, keep_aspect=True, antialias=True))
    stored = ComposedScenes(photos, 48, cache=tmp_path / "store")
    for index in range(20):
        assert equal(stored[index], scenes[index])


def test_a_store_that_is_squashed_or_too_small_is_refused(photos, tmp_path):
    for name, resize in (("squashed", Resize(48)), ("small", Resize(40, keep_aspect=True))):
        prepare(photos, tmp_path / name, resize)
        with pytest.raises(StoreError, match="expected one that keeps the aspect, of 48 pixels or more"):
            ComposedScenes(photos, 48, cache=tmp_path / name)


def test_a_loop_ends_with_the_epoch(scenes):
    assert len(list(scenes)) == 12


def test_regions_too_small_or_too_large_are_left_out_and_named(photos, tmp_path):
    large = make_photo(tmp_path / "photos", 20, area=(slice(0, 60), slice(0, 96)))
    scenes = ComposedScenes([*photos, large], 48)
    assert len(scenes) == 12
    assert scenes.refused == [f"{large.mask_path}: the region covers 93.8%, expected 1 to 50 %"]
    with pytest.raises(ValueError, match="found no usable region in 1 photographs"):
        ComposedScenes([large], 48)


def test_a_bad_photograph_is_named(photos, scenes):
    photos[5].image_path.write_bytes(b"<html>")
    with pytest.raises(ImageFileError, match=r"photo 5\.png: found text"):
        scenes[5]


def test_about_half_are_flipped(scenes):
    # A flip is seen in the mask: it stands left of the middle in every photograph.
    centres = [float((scenes[i].mask[0].sum(0) * torch.arange(48)).sum() / scenes[i].mask.sum()) for i in range(60)]
    left = sum(centre < 23.5 for centre in centres)
    assert 15 < left < 45


def test_real_photographs(shared):
    scenes = ComposedScenes(read_table(shared / "coco_mini" / "index.csv", split="val"), 96)
    changes = []
    for index in range(24):
        sample = scenes[index]
        inside = sample.mask[0] > 0
        changes.append(255 * float((sample.image - sample.real)[:, inside].square().mean().sqrt()))
    assert VISIBLE_CHANGE < np.median(changes) < WILD_CHANGE


def test_untouched_photographs_have_an_empty_mask_and_no_change(photos):
    scenes = ComposedScenes(photos, 32, untouched=0.5)
    samples = [scenes[index] for index in range(20 * len(scenes))]
    left = [sample for sample in samples if not sample.mask.any()]
    assert 0.4 < len(left) / len(samples) < 0.6
    assert all(torch.equal(sample.image, sample.real) for sample in left)


def test_a_foreign_region_may_have_the_other_photographs_outline(tmp_path):
    low, high = (slice(40, 60), slice(30, 60)), (slice(4, 24), slice(30, 60))
    photos = [make_photo(tmp_path, number, area=(low, high)[number]) for number in range(2)]

    def halves(scenes):  # flips are horizontal: an outline stays above or below the middle
        return {(index % 2, bool(scenes[index].mask[0, :16].any())) for index in range(40)}

    assert halves(ComposedScenes(photos, 32)) == {(0, False), (1, True)}
    assert halves(ComposedScenes(photos, 32, foreign=0.9)) == {(0, False), (1, True), (0, True), (1, False)}


def test_an_oversampled_composite_is_a_larger_one_shrunk(photos):
    large, small = ComposedScenes(photos, 96), ComposedScenes(photos, 32, oversample=3)
    for index in range(2 * len(photos)):
        made, shrunk = large[index], small[index]
        for before, after in ((made.image, shrunk.image), (made.real, shrunk.real)):
            by_pillow = [np.asarray(Image.fromarray(c.numpy()).resize((32, 32), Resampling.BILINEAR)) for c in before]
            np.testing.assert_allclose(after.numpy(), np.stack(by_pillow), atol=1e-6)
        assert shrunk.mask.unique().tolist() == [0, 1]
        # A cell of 3 x 3 pixels that the region fills belongs to it; one that it does not touch does not.
        share = made.mask.unflatten(1, (32, 3)).unflatten(3, (32, 3)).mean(dim=(2, 4))
        assert shrunk.mask[share == 1].all()
        assert not shrunk.mask[share == 0].any()


@pytest.mark.parametrize("oversample", [2, 3, 5])
def test_white_stays_white_when_it_is_shrunk(tmp_path, oversample):
    photos = make_photos(tmp_path, 2)
    for photo in photos:
        picture = read_image(photo.image_path)
        picture[:, 50:] = 255
        write_image(photo.image_path, picture)
    assert max(ComposedScenes(photos, 48, oversample=oversample)[index].image.max() for index in range(4)) == 1


def test_an_oversample_of_nothing_is_refused(photos):
    with pytest.raises(ValueError, match="found oversample 0, expected 1 or more"):
        ComposedScenes(photos, 32, oversample=0)


def test_a_store_must_hold_the_size_at_which_composites_are_made(photos, tmp_path):
    prepare(photos, tmp_path / "store", Resize(64, keep_aspect=True))
    assert ComposedScenes(photos, 32, oversample=2, cache=tmp_path / "store")[0].image.shape == (3, 32, 32)
    with pytest.raises(StoreError, match="expected one that keeps the aspect, of 96 pixels or more"):
        ComposedScenes(photos, 32, oversample=3, cache=tmp_path / "store")


def test_shares_that_are_none_are_refused(photos):
    with pytest.raises(ValueError, match=r"found shares untouched 0.7 and foreign 0.7, expected 0 to 1 together"):
        ComposedScenes(photos, 32, untouched=0.7, foreign=0.7)


def test_light_changes_region_and_surroundings_alike(photos):
    plain, lit = ComposedScenes(photos, 32), ComposedScenes(photos, 32, light=0.9)
    changed = 0
    for index in range(3 * len(photos)):
        before, after = plain[index], lit[index]
        assert torch.equal(before.mask, after.mask)
        outside = before.mask[0] == 0
        assert torch.equal(after.image[:, outside], after.real[:, outside])
        changed += not torch.equal(after.real, before.real)
        # One change for the whole: equal colours stay equal, in the composite as in the photograph.
        colours = torch.cat([before.image, before.real], dim=1).flatten(1).T
        became = torch.cat([after.image, after.real], dim=1).flatten(1).T
        distinct, number = colours.unique(dim=0, return_inverse=True)
        for colour in range(0, len(distinct), 50):
            assert len(became[number == colour].unique(dim=0)) == 1
    assert 0.75 < changed / (3 * len(photos)) <= 1
    assert torch.equal(lit[5].image, lit[5].image)


def test_wide_crops_show_less_of_the_picture_and_half_of_it_at_most_is_the_region(photos):
    wide = ComposedScenes(photos, 32, crop="wide")
    areas = [wide[index].mask.mean().item() for index in range(10 * len(photos))]
    narrow = [ComposedScenes(photos, 32)[index].mask.mean().item() for index in range(len(photos))]
    assert max(areas) <= 0.55
    assert max(areas) > 1.2 * max(narrow)
    assert torch.equal(wide[7].image, wide[7].image)
