"""The check of a data set: every kind of damage is found and named, the lists come out exactly."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_iharmony4 import SIZE, TEST, TRAIN, add_composite, make_data_set, region, with_lists

from dirl_lib.data import measure
from dirl_lib.data.check import check
from dirl_lib.data.iharmony4 import PUBLISHED, SUBSETS, DataSetError, IHarmony4, Published, digest, read_split
from dirl_lib.data.measure import Facts
from dirl_lib.images import write_mask


def entries(path):
    return path.read_text().split()


def official(root, *, per_subset):
    """The split as it is published: one list for all, or one for each sub-dataset with bare names."""
    for split, lines in (("train", TRAIN), ("test", TEST)):
        if not per_subset:
            (root / f"IHD_{split}.txt").write_text("".join(f"{line}\r\n" for line in lines))
            continue
        for subset in ("HCOCO", "HFlickr"):
            bare = [line.rsplit("/", 1)[1] for line in lines if line.startswith(subset)]
            (root / subset / f"{subset}_{split}.txt").write_text("\n".join(bare))


@pytest.mark.parametrize("per_subset", [True, False])
def test_the_50_percent_lists_are_rebuilt_from_the_data(tmp_path, per_subset):
    root = make_data_set(tmp_path, TRAIN + TEST)
    official(root, per_subset=per_subset)
    add_composite(root, TRAIN[0], fraction=0.5)  # exactly half stays
    add_composite(root, TRAIN[4], fraction=0.51)
    add_composite(root, TEST[1], fraction=0.9)
    report = check(root)
    assert report.clean
    lists = root / "dirl_lists"
    assert entries(lists / "le50_train.txt") == [line for line in TRAIN if line != TRAIN[4]]
    assert entries(lists / "le50_test.txt") == [TEST[0], TEST[2]]
    assert entries(lists / "le50_test_unseen.txt") == [TEST[2]]
    val = entries(lists / "le50_val.txt")
    assert set(val) < set(TRAIN)
    assert {name: one.over_half for name, one in report.subsets.items()} == {"HCOCO": 2, "HFlickr": 0}
    assert (report.subsets["HCOCO"].listed, report.subsets["HFlickr"].listed) == (22, 21)


def test_the_rule_reads_the_mask_at_full_size_with_its_grey(tmp_path):
    root = make_data_set(tmp_path, TRAIN[:2])
    for entry, grey in zip(TRAIN[:2], (0, 1), strict=True):
        values = np.zeros(SIZE, dtype=np.uint8)
        values.reshape(-1)[: values.size // 2] = 255
        values[-1, -1] = grey  # one level of one pixel above one half
        Image.fromarray(values).save(root / "HCOCO" / "masks" / f"{entry.rsplit('/', 1)[1][:-6]}.png")
    report = check(root)
    assert entries(root / "dirl_lists" / "le50_all.txt") == TRAIN[:1]
    assert report.subsets["HCOCO"].grey_masks == 1


def test_the_published_list_is_recognised_and_an_impostor_is_not(tmp_path, monkeypatch):
    root = with_lists(tmp_path)
    counts = {"HCOCO": 2, "HFlickr": 1}
    monkeypatch.setitem(PUBLISHED, "le50_test", Published(counts, digest(TEST)))
    verdicts = {one.name: one.verdict for one in check(root).lists}
    assert verdicts["le50_test"] == "the published list, line for line"
    assert verdicts["le50_train"].startswith("part of the published list: HCOCO 20 of 38,327, HAdobe5k 0 of 18,652")
    monkeypatch.setitem(PUBLISHED, "le50_test", Published(counts, digest(TEST[:2])))
    report = check(root)
    verdicts = {one.name: one.verdict for one in report.lists}
    assert verdicts["le50_test"].startswith("NOT the published list, although the counts agree")
    assert not report.clean
    monkeypatch.setitem(PUBLISHED, "le50_test", Published({"HCOCO": 1, "HFlickr": 1}, digest(TEST[:2])))
    verdicts = {one.name: one.verdict for one in check(root).lists}
    assert verdicts["le50_test"].startswith("NOT the published list, there are too many: HCOCO 2 of 1")


@pytest.mark.parametrize("place", ["Image_Harmonization_Dataset", "a/b"])
def test_lists_are_found_beside_nested_sub_datasets(tmp_path, place):
    root = make_data_set(tmp_path / place, TRAIN + TEST)
    official(root, per_subset=False)
    check(tmp_path)
    assert [name.image_entry for name in read_split(tmp_path, "test")] == TEST
    assert not (tmp_path / "dirl_lists" / "le50_all.txt").exists()


def test_a_list_outside_the_folder_is_not_read(tmp_path):
    root = make_data_set(tmp_path, TRAIN[:4])
    (tmp_path / "HCOCO_train.txt").write_text("c0_1_1.jpg\n")
    check(root / "HCOCO")
    assert entries(root / "HCOCO" / "dirl_lists" / "le50_all.txt") == TRAIN[:4]


def test_a_list_of_one_sub_dataset_leaves_the_others_to_the_list_of_all(tmp_path):
    root = make_data_set(tmp_path, TRAIN + TEST)
    official(root, per_subset=False)
    (root / "HFlickr" / "HFlickr_train.txt").write_text("f0_1_1.jpg\n")
    report = check(root)
    assert (report.subsets["HCOCO"].listed, report.subsets["HFlickr"].listed) == (22, 2)
    assert report.subsets["HFlickr"].unlisted == 19
    assert "HFlickr: 19 composites stand in no list" in "\n".join(report.lines())


def test_a_composite_in_both_splits_and_a_line_of_another_form_are_problems(tmp_path):
    root = with_lists(tmp_path)
    with (root / "le50_test.txt").open("a") as file:
        file.write(f"{TRAIN[0]}\nreadme\n")
    problems = check(root).subsets["HCOCO"].problems
    assert [("train and in test" in one, "'readme'" in one) for one in problems] == [(False, True), (True, False)]


def test_lists_of_an_earlier_run_do_not_stay_beside_todays(tmp_path):
    root = make_data_set(tmp_path, TRAIN + TEST)
    official(root, per_subset=False)
    check(root)
    for split in ("train", "test"):
        (root / f"IHD_{split}.txt").unlink()
    check(root)
    assert sorted(file.name for file in (root / "dirl_lists").glob("*.txt")) == ["le50_all.txt"]


def test_a_validation_list_of_yours_is_kept_and_trains_on_none_of_its_photographs(tmp_path):
    root = with_lists(tmp_path)
    (root / "le50_val.txt").write_text(f"{TRAIN[0]}\n")  # one of the two composites of photograph c0
    check(root)
    assert entries(root / "dirl_lists" / "le50_val.txt") == TRAIN[:1]
    assert [name.image_entry for name in read_split(root, "val")] == TRAIN[:1]
    assert "c0" not in {name.photo for name in read_split(root, "train")}


def test_a_dangling_link_and_a_folder_that_may_not_be_read_do_not_stop_the_check(tmp_path):
    root = with_lists(tmp_path)
    (root / "HCOCO" / "masks" / "c0_1.png").unlink()
    (root / "HCOCO" / "masks" / "c0_1.png").symlink_to(root / "HCOCO" / "masks" / "nothing.png")
    (problem,) = check(root).subsets["HCOCO"].problems
    assert "c0_1.png: cannot be opened" in problem


def test_a_room_may_be_a_link_to_another_disk(tmp_path):
    root = with_lists(tmp_path / "data")
    (root / "HCOCO" / "masks").rename(tmp_path / "elsewhere")
    (root / "HCOCO" / "masks").symlink_to(tmp_path / "elsewhere")
    assert check(root).clean
    assert IHarmony4(root, "test", size=32)[0].mask.any()


def test_a_part_is_called_a_subset_and_what_is_absent_has_an_address(tmp_path):
    report = check(with_lists(tmp_path))
    assert report.label.startswith("subset: HCOCO 22, HFlickr 21 composites")
    assert list(report.absent) == ["HAdobe5k", "Hday2night"]
    assert all("https://" in reason for reason in report.absent.values())
    text = "\n".join(report.lines())
    assert "HAdobe5k: not here; get it: https://" in text
    assert report.label in text


def test_all_four_and_both_lists_are_called_complete(tmp_path, monkeypatch):
    lines = [f"{subset}/composite_images/{letter}1_1_1.jpg" for subset, letter in zip(SUBSETS, "cafd", strict=True)]
    root = make_data_set(tmp_path, lines)
    for split in ("train", "test"):
        (root / f"IHD_{split}.txt").write_text("\n".join(lines))
        monkeypatch.setitem(PUBLISHED, f"le50_{split}", Published({}, digest(lines)))
    assert check(root).label == "iHarmony4, complete"


def damaged(root: Path, entry: str) -> tuple[Path, Path]:
    subset, _, file = entry.split("/")
    return root / entry, root / subset / "masks" / f"{file[:-6]}.png"


DAMAGES = {
    "cut composite": ("image", lambda file: file.write_bytes(file.read_bytes()[:-300]), "cut short"),
    "web page": ("image", lambda file: file.write_bytes(b"<!DOCTYPE html><html>quota"), "found text beginning with"),
    "nothing in it": ("image", lambda file: file.write_bytes(b""), "empty"),
    "odd name": (
        "image",
        lambda file: file.rename(file.with_name("c1.jpg")),
        "expected <sub-dataset>/composite_images",
    ),
    "foreign name": ("image", lambda file: file.rename(file.with_name("x1_1_1.jpg")), "not a name that iHarmony4 uses"),
    "cut mask": ("mask", lambda file: file.write_bytes(file.read_bytes()[:60]), "cut short"),
    "empty mask": ("mask", lambda file: write_mask(file, np.zeros(SIZE, dtype=bool)), "the mask is empty"),
    "turned mask": (
        "mask",
        lambda file: write_mask(file, region(0.2, SIZE[::-1])),
        "found a mask of 64x48 .*expected 48x64",
    ),
    "photo as mask": ("mask", lambda file: Image.new("RGB", SIZE[::-1], "red").save(file), "expected a grey mask"),
}


@pytest.mark.parametrize(("which", "damage", "says"), DAMAGES.values(), ids=DAMAGES)
def test_every_damage_is_named_in_one_line_and_the_rest_goes_on(tmp_path, which, damage, says):
    root = make_data_set(tmp_path, [TRAIN[0], *TRAIN[2:5]])  # the other three have photographs of their own
    image, mask = damaged(root, TRAIN[0])
    damage(image if which == "image" else mask)
    report = check(root)
    assert not report.clean
    (problem,) = report.subsets["HCOCO"].problems
    assert "\n" not in problem
    assert re.search(says, problem)
    # What is broken stays listed: a mean over the list must not shrink with its files.
    assert entries(root / "dirl_lists" / "le50_all.txt") == [
        *([TRAIN[0]] if (root / TRAIN[0]).exists() else []),
        *TRAIN[2:5],
    ]


def test_a_list_does_not_shrink_with_its_files_and_is_whole_when_they_are_mended(tmp_path):
    root = make_data_set(tmp_path, TRAIN + TEST)
    official(root, per_subset=False)
    whole = (root / TEST[0]).read_bytes(), damaged(root, TEST[1])[1].read_bytes()
    (root / TEST[0]).unlink()
    damaged(root, TEST[1])[1].write_bytes(b"<html>")
    assert not check(root).clean
    assert entries(root / "dirl_lists" / "le50_test.txt") == TEST
    with pytest.raises(DataSetError, match="1 of 2 listed composites or their masks are missing"):
        IHarmony4(root, "test")
    problems = []
    assert len(IHarmony4(root, "test", problems=problems)) == 2
    assert len(problems) == 1
    (root / TEST[0]).write_bytes(whole[0])
    damaged(root, TEST[1])[1].write_bytes(whole[1])
    assert len(IHarmony4(root, "test")) == 3
    assert check(root).clean


def test_a_turned_photograph_fits_its_mask(tmp_path):
    root = make_data_set(tmp_path, TRAIN[:1])
    exif = Image.Exif()
    exif[274] = 6  # stored lying on its side
    image, _ = damaged(root, TRAIN[0])
    Image.new("RGB", (SIZE[0], SIZE[1]), "grey").save(image, exif=exif)
    assert check(root).clean


def test_missing_files_are_counted_by_sub_dataset(tmp_path):
    root = with_lists(tmp_path)
    for entry in TRAIN[:7]:
        (root / entry).unlink()
    damaged(root, TRAIN[-1])[1].unlink()
    report = check(root)
    assert (len(report.subsets["HCOCO"].missing), len(report.subsets["HFlickr"].missing)) == (7, 1)
    text = "\n".join(report.lines())
    assert "HCOCO: 7 files are missing; get them: https://" in text
    assert text.count("HCOCO/composite_images/") == 5
    assert "HFlickr/masks/f9_2.png" in text  # what is missing is the mask, not its composite


def test_lines_and_links_that_lead_outside_are_problems_and_open_nothing(tmp_path, monkeypatch):
    root = with_lists(tmp_path / "data")
    with (root / "le50_train.txt").open("a") as file:
        file.write("../secret.jpg\n/etc/passwd\nhttps://example.org/x.jpg\n")
    opened = []
    monkeypatch.setattr(measure, "_measure_composite", lambda path: (opened.append(path), Facts(48, 64, 0, False))[1])
    monkeypatch.setattr(measure, "_measure_mask", lambda path: (opened.append(path), Facts(48, 64, 9, False))[1])
    secret = tmp_path / "secret.png"
    damaged(root, TRAIN[0])[1].rename(secret)
    damaged(root, TRAIN[0])[1].symlink_to(secret)
    report = check(root)
    assert len(report.subsets["HCOCO"].problems) == 4
    assert len(opened) == 43 + 43 - 1
    assert all(path.resolve().is_relative_to(root.resolve()) for path in opened)


def test_a_second_run_measures_only_what_changed(tmp_path, monkeypatch):
    root = with_lists(tmp_path)
    first = check(root)
    seen = []
    real = measure._measure_mask, measure._measure_composite
    monkeypatch.setattr(measure, "_measure_mask", lambda path: (seen.append(path), real[0](path))[1])
    monkeypatch.setattr(measure, "_measure_composite", lambda path: (seen.append(path), real[1](path))[1])
    add_composite(root, TEST[1], fraction=0.9)
    measurements = root / "dirl_lists" / "measurements.jsonl"
    measurements.write_text(measurements.read_text().rstrip()[:-20])  # as a kill in the middle of a line leaves it
    second = check(root)
    changed = set(damaged(root, TEST[1]))
    assert changed <= set(seen)
    assert len(seen) <= 3
    assert second.subsets["HCOCO"].over_half == first.subsets["HCOCO"].over_half + 1


def test_the_report_is_a_file_that_a_program_reads(tmp_path):
    root = with_lists(tmp_path / "data")
    check(root, tmp_path / "elsewhere")
    report = json.loads((tmp_path / "elsewhere" / "report.json").read_text())
    assert report["subsets"]["HCOCO"]["composites"] == 22
    assert {one["name"] for one in report["lists"]} >= {"le50_train", "le50_test"}
    assert not (root / "dirl_lists").exists()


def test_a_folder_that_cannot_be_written_says_which_option_helps(tmp_path):
    root = with_lists(tmp_path / "data")
    (root / "dirl_lists").write_text("a file is in the way")
    with pytest.raises(DataSetError, match=r"dirl_lists: cannot be written .*--lists"):
        check(root)


def test_genuine_files_pass(shared, tmp_path):
    report = check(shared / "iharmony4_samples", tmp_path)
    assert report.clean, [one.problems for one in report.subsets.values()]
    assert {name: one.composites for name, one in report.subsets.items()} == {
        "HCOCO": 4,
        "HAdobe5k": 2,
        "Hday2night": 52,
    }
    assert report.subsets["HAdobe5k"].over_half == 2
    assert "no composite_images" in report.absent["HFlickr"]
    assert len(entries(tmp_path / "le50_all.txt")) == 56
