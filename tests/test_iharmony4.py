"""iHarmony4 by its names: finding it, reading its lists, giving samples."""

import hashlib
import random

import numpy as np
import pytest
import torch
from tiny_iharmony4 import TEST, TRAIN, add_composite, make_data_set, with_lists
from torch.utils.data import DataLoader

from dirl_lib.data import iharmony4
from dirl_lib.data.iharmony4 import (
    PUBLISHED,
    SUBSETS,
    DataSetError,
    IHarmony4,
    Published,
    digest,
    find_subsets,
    official_name,
    parse_entry,
    read_split,
)
from dirl_lib.data.lists import ListFileError
from dirl_lib.data.loading import make_loader
from dirl_lib.images import read_image


@pytest.mark.parametrize(
    ("entry", "photo", "mask"),
    [
        ("HCOCO/composite_images/c100034_658772_1.jpg", "c100034", "658772"),
        ("Hday2night/composite_images/d10091-20120914-152206_1_2.jpg", "d10091-20120914-152206", "1"),
        ("Mine/composite_images/my_dog_2021_7_3.jpg", "my_dog_2021", "7"),
    ],
)
def test_a_name_is_taken_apart_from_the_right(entry, photo, mask):
    name = parse_entry(entry)
    assert (name.photo, name.mask) == (photo, mask)
    assert name.image_entry == entry
    assert name.mask_entry.endswith(f"/masks/{photo}_{mask}.png")
    assert name.real_entry.endswith(f"/real_images/{photo}.jpg")


@pytest.mark.parametrize(
    "entry", ["c1_1_1.jpg", "HCOCO/masks/c1_1_1.jpg", "HCOCO/composite_images/c1_1.jpg", "a/b/c/d.jpg"]
)
def test_a_line_of_another_form_is_refused(entry):
    with pytest.raises(DataSetError, match="expected <sub-dataset>/composite_images/"):
        parse_entry(entry)


@pytest.mark.parametrize(
    ("entry", "official"),
    [
        ("HAdobe5k/composite_images/a0001_1_3.jpg", True),
        ("Hday2night/composite_images/d90000012-12_1_4.jpg", True),
        ("HAdobe5k/composite_images/c0001_1_3.jpg", False),  # the letter of HCOCO
        ("HAdobe5K/composite_images/a0001_1_3.jpg", False),
        ("HCOCO/composite_images/c1_x_3.jpg", False),
    ],
)
def test_the_grammar_of_the_published_lists(entry, official):
    assert official_name(entry) is official


def test_the_digest_is_that_of_the_sorted_file():
    entries = ["b/2", "a/1", "B/3"]
    assert digest(entries) == hashlib.sha256(b"B/3\na/1\nb/2\n").hexdigest()
    assert digest(reversed(entries)) == digest(entries)


def test_published_counts_add_up_to_the_papers():
    assert sum(PUBLISHED["le50_train"].counts.values()) == 64255
    assert sum(PUBLISHED["le50_test"].counts.values()) == 7237
    assert sum(PUBLISHED["le50_test_unseen"].counts.values()) == 5417


@pytest.mark.parametrize("place", ["", "Image_Harmonization_Dataset", "a/b/c"])
def test_sub_datasets_are_found_at_any_level(tmp_path, place):
    make_data_set(tmp_path / place, [TRAIN[-1], TRAIN[0]])
    assert list(find_subsets(tmp_path)) == ["HCOCO", "HFlickr"]


def test_a_sub_dataset_itself_may_be_named(tmp_path):
    make_data_set(tmp_path, TRAIN[:1])
    assert find_subsets(tmp_path / "HCOCO") == {"HCOCO": tmp_path / "HCOCO"}


def test_a_root_whose_own_name_contains_composite_images_is_no_trap(tmp_path):
    root = with_lists(tmp_path / "my_composite_images_1_1")
    assert len(IHarmony4(root, "test")) == len(TEST)


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda root: (root / "notes.txt").touch(), "found no sub-dataset"),
        (lambda root: (root / "HCOCO.zip").write_bytes(b"PK"), r"dirl data unpack /.*/HCOCO\.zip /"),
        (lambda root: (root / "masks").mkdir(), "found masks only"),
    ],
)
def test_a_wrong_folder_gets_advice(tmp_path, make, advice):
    make(tmp_path)
    with pytest.raises(DataSetError, match=advice) as caught:
        find_subsets(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_too_deep_gets_the_right_one(tmp_path):
    make_data_set(tmp_path, TRAIN[:1])
    with pytest.raises(DataSetError, match=f"lies inside a sub-dataset; name the folder above, {tmp_path}"):
        find_subsets(tmp_path / "HCOCO" / "masks")


def test_a_wrong_spelling_and_a_second_copy_are_not_taken_silently(tmp_path):
    make_data_set(tmp_path / "x", ["HAdobe5K/composite_images/a1_1_1.jpg"])
    with pytest.raises(DataSetError, match="found the name HAdobe5K, expected HAdobe5k"):
        find_subsets(tmp_path)
    make_data_set(tmp_path / "y" / "one", TRAIN[:1])
    make_data_set(tmp_path / "y" / "two", TRAIN[:1])
    with pytest.raises(DataSetError, match="found HCOCO twice"):
        find_subsets(tmp_path / "y")


def test_splits_follow_from_the_two_lists(tmp_path):
    root = with_lists(tmp_path)
    splits = {split: [name.image_entry for name in read_split(root, split)] for split in iharmony4.SPLITS}
    assert splits["trainval"] == TRAIN
    assert splits["test"] == TEST
    assert splits["test_unseen"] == TEST[1:]
    assert splits["all"] == TRAIN + TEST
    assert sorted(splits["train"] + splits["val"]) == sorted(TRAIN)
    assert len(splits["val"]) == 4  # one photograph with two objects, in each of the two sub-datasets


def test_an_unknown_split_and_a_missing_list_say_what_to_do(tmp_path):
    make_data_set(tmp_path, TRAIN[:1])
    with pytest.raises(DataSetError, match="expected one of train, val, trainval"):
        read_split(tmp_path, "validation")
    with pytest.raises(DataSetError, match=r"found no le50_test\.txt; run  dirl data check /"):
        IHarmony4(tmp_path, "test")


def test_a_missing_list_is_explained_by_what_is_there(tmp_path):
    root = make_data_set(tmp_path, TRAIN[:1])
    (root / "dirl_lists").mkdir()
    (root / "dirl_lists" / "le50_all.txt").write_text(f"{TRAIN[0]}\n")
    with pytest.raises(DataSetError, match="no official lists are there; use split 'all'"):
        IHarmony4(root, "train")
    (root / "le50_train.txt").write_text(f"{TRAIN[0]}\n")
    (root / "dirl_lists" / "le50_all.txt").unlink()
    with pytest.raises(DataSetError, match=r"found no le50_test\.txt, only le50_train\.txt"):
        IHarmony4(root, "test")
    (root / "le50_train.txt").unlink()
    (root / "recipe.json").touch()
    with pytest.raises(DataSetError, match="not finished; run the same  dirl data synthesize  again"):
        IHarmony4(root, "train")


def test_a_loop_ends_with_the_epoch_and_an_index_too_low_is_refused(tmp_path):
    data = IHarmony4(with_lists(tmp_path), "test", size=32)
    assert [sample.name for sample in data] == ["c3_9_1", "c77_1_1", "f88_1_2"]
    assert data[-3].name == "c3_9_1"
    with pytest.raises(IndexError, match="expected at least -3"):
        data[-4]


def test_a_list_cannot_lead_outside(tmp_path):
    root = with_lists(tmp_path / "data")
    (root / "le50_test.txt").write_text("HCOCO/composite_images/../../../c1_1_1.jpg\n")
    with pytest.raises(ListFileError, match=r"line 1.*'\.\.'"):
        IHarmony4(root, "test")


def test_a_link_cannot_lead_outside(tmp_path):
    root = with_lists(tmp_path / "data")
    file = root / TEST[0]
    file.rename(tmp_path / "elsewhere.jpg")
    file.symlink_to(tmp_path / "elsewhere.jpg")
    with pytest.raises(ListFileError, match="lies outside"):
        IHarmony4(root, "test")


def test_missing_files_are_counted_by_sub_dataset_and_only_left_out_when_asked(tmp_path):
    root = with_lists(tmp_path)
    for entry in TRAIN[:3]:
        (root / entry).unlink()
    with pytest.raises(DataSetError, match=rf"HCOCO: 3 of 20 listed .*{TRAIN[0]}"):
        IHarmony4(root, "trainval")
    problems = []
    rest = IHarmony4(root, "trainval", problems=problems)
    assert [name.image_entry for name in rest.names] == TRAIN[3:]
    assert len(problems) == 1
    assert rest.label == "subset: HCOCO, HFlickr, split trainval, 37 images"


def test_the_label_says_whether_this_is_the_published_list(tmp_path, monkeypatch):
    root = with_lists(tmp_path)
    assert IHarmony4(root, "test").label == "subset: HCOCO, HFlickr, split test, 3 images"
    monkeypatch.setitem(PUBLISHED, "le50_test", Published({}, digest(TEST)))
    assert IHarmony4(root, "test").label == "le50_test, 3 images"
    assert IHarmony4(root, "test", subsets=["HFlickr"]).label == "subset: HFlickr, split test, 1 images"


def test_only_chosen_sub_datasets_and_no_absent_ones(tmp_path):
    root = with_lists(tmp_path)
    assert {name.subset for name in IHarmony4(root, "train", subsets=["HFlickr"]).names} == {"HFlickr"}
    with pytest.raises(DataSetError, match="found no HAdobe5k, only HCOCO, HFlickr"):
        IHarmony4(root, "train", subsets=["HAdobe5k"])


def test_a_sample_keeps_the_contract(tmp_path):
    root = with_lists(tmp_path)
    add_composite(root, TEST[0], size=(80, 40))
    sample = IHarmony4(root, "test", size=64)[0]
    assert sample.name == "c3_9_1"
    assert sample.image.shape == (3, 64, 64)
    assert sample.image.dtype == torch.float32
    assert 0 <= sample.image.min() < sample.image.max() <= 1
    assert sample.mask.shape == (1, 64, 64)
    assert set(sample.mask.unique().tolist()) == {0.0, 1.0}
    assert sample.real.shape == (3, 0, 0)


def samples_equal(one, other):
    return one.name == other.name and torch.equal(one.image, other.image) and torch.equal(one.mask, other.mask)


def test_epochs_draw_new_crops_and_the_same_epoch_the_same(tmp_path):
    data = IHarmony4(with_lists(tmp_path), "train", size=48, augment="released")
    assert samples_equal(data[5], data[5])
    later = [data[5 + epoch * len(data)] for epoch in range(1, 4)]
    assert not any(torch.equal(data[5].image, one.image) for one in later)
    assert {one.name for one in later} == {data[5].name}


def test_batches_are_the_same_with_0_and_2_workers_and_differ_by_epoch(tmp_path):
    data = IHarmony4(with_lists(tmp_path), "train", size=48, augment="released")
    batches = {}
    for workers in (0, 2):
        loader = make_loader(data, 8, train=True, workers=workers, seed=3)
        batches[workers] = [batch for _ in range(2) for batch in loader]
    assert [b.name for b in batches[0]] == [b.name for b in batches[2]]
    for alone, with_workers in zip(batches[0], batches[2], strict=True):
        assert torch.equal(alone.image, with_workers.image)
        assert torch.equal(alone.mask, with_workers.mask)
    half = len(batches[0]) // 2
    assert batches[0][0].name != batches[0][half].name


def test_no_global_generator_is_touched(tmp_path):
    data = IHarmony4(with_lists(tmp_path), "train", augment="released")
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - the very state in question
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    data[3]
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    np.testing.assert_array_equal(before[2], np.random.get_state()[1])  # noqa: NPY002


def test_a_plain_data_loader_works_too(tmp_path):
    batch = next(iter(DataLoader(IHarmony4(with_lists(tmp_path), "test", size=32), batch_size=3)))
    assert batch.image.shape == (3, 3, 32, 32)
    assert list(batch.name) == ["c3_9_1", "c77_1_1", "f88_1_2"]


def test_genuine_files_come_out_as_samples(shared, tmp_path):
    root = shared / "iharmony4_samples"
    entries = (root / "IHD_visible.txt").read_text().split()
    assert all(official_name(entry) for entry in entries)
    (tmp_path / "le50_all.txt").write_text("".join(f"{entry}\n" for entry in entries if "HAdobe5k" not in entry))
    data = IHarmony4(root, "all", lists=tmp_path)
    assert len(data) == 56
    assert {name.subset for name in data.names} == {"HCOCO", "Hday2night"} < set(SUBSETS)
    for sample, record in zip((data[i] for i in range(len(data))), data.records, strict=True):
        assert 0 < sample.mask.mean() <= 0.5
        assert read_image(record.real_path).shape == read_image(record.image_path).shape
