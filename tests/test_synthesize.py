"""The recipe of composites: whose colours, how strong, the same bytes whatever happens on the way."""

import csv
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tiny_photos import GREYS, make_photo, make_photos, make_two_greys

from dirl_lib.data import synthesize as synthesis
from dirl_lib.data.folders import MaskedPhoto, read_table
from dirl_lib.data.iharmony4 import IHarmony4, read_split
from dirl_lib.data.lists import read_list
from dirl_lib.data.references import References
from dirl_lib.data.synthesize import SynthesisError, synthesize
from dirl_lib.images import ImageFileError, read_image, read_mask
from dirl_lib.synthesis.color_transfer import METHODS
from dirl_lib.synthesis.compose import VISIBLE_CHANGE, WILD_CHANGE, change_strength


@pytest.fixture
def photos(tmp_path):
    return make_photos(tmp_path / "photos", 12)


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def index(out):
    with (out / "index.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_composite_keeps_the_recipe(photos, tmp_path):
    report = synthesize(photos, tmp_path / "out")
    rows = index(tmp_path / "out")
    by_name = {photo.name: photo for photo in photos}
    assert report.composites == len(rows) > 30
    assert report.composites + sum(report.refused.values()) == 12 * 4
    for row in rows:
        source, reference = by_name[Path(row["image"]).stem], by_name[row["reference"]]
        assert reference.photo != source.photo
        assert reference.split == source.split
        assert reference.category == source.category
        assert row["same_class"] == "yes"
        assert VISIBLE_CHANGE <= float(row["strength"]) <= WILD_CHANGE
        assert float(row["area_fraction"]) == pytest.approx(30 * 40 / (64 * 96), abs=1e-4)
        assert list(METHODS)[int(row["name"].rsplit("_", 1)[1]) - 1] == row["method"]


def test_outside_the_mask_only_the_jpeg_changes_and_inside_the_colours(photos, tmp_path):
    synthesize(photos, tmp_path / "out")
    folder = tmp_path / "out" / "Synthetic"
    for row in index(tmp_path / "out"):
        photo, mask, _ = row["name"].split("_")
        composite = read_image(folder / "composite_images" / f"{row['name']}.jpg")
        real = read_image(folder / "real_images" / f"{photo}.jpg")
        region = read_mask(folder / "masks" / f"{photo}_{mask}.png")
        assert change_strength(real, composite, ~region) < 4
        assert change_strength(real, composite, region) == pytest.approx(float(row["strength"]), abs=5)


def test_the_result_is_a_data_set_whose_splits_are_the_photographs(photos, tmp_path):
    val = [photo._replace(split="val") if photo.name in ("photo 0", "photo 2") else photo for photo in photos]
    synthesize(val, tmp_path / "out")
    splits = {split: {name.photo for name in read_split(tmp_path / "out", split)} for split in ("train", "val", "test")}
    assert len(splits["val"]) == 2
    listed = {split: read_list(tmp_path / "out" / f"le50_{split}.txt") for split in ("train", "val")}
    assert set(listed["val"]) < set(listed["train"])  # as in the released lists
    assert not splits["train"] & splits["val"]
    assert not (splits["train"] | splits["val"]) & splits["test"]
    assert IHarmony4(tmp_path / "out", "train", size=32)[0].mask.any()


def test_photographs_without_a_split_are_split_whole(tmp_path):
    photos = [
        photo._replace(split="", photo=f"scene {n // 2}") for n, photo in enumerate(make_photos(tmp_path / "p", 40))
    ]
    split = {photo.name: photo.split for photo in synthesis._with_splits(photos, 0)}
    assert Counter(split.values()) == {"train": 36, "test": 4}
    assert all(split[f"photo {n}"] == split[f"photo {n + 1}"] for n in range(0, 40, 2))
    rest = {photo.name: photo.split for photo in synthesis._with_splits(photos[2:], 0)}
    assert (
        sum(rest[name] != split[name] for name in rest) <= 2
    )  # without one photograph the others stay where they were
    half = [photo._replace(split="test") if photo.name == "photo 0" else photo for photo in photos]
    assert {p.split for p in synthesis._with_splits(half, 0) if p.photo == "scene 0"} == {"test"}
    assert split != {photo.name: photo.split for photo in synthesis._with_splits(photos, 1)}


def test_workers_and_order_have_no_part_in_it_and_the_seed_has(photos, tmp_path):
    synthesize(photos, tmp_path / "one", workers=1)
    synthesize(photos[::-1], tmp_path / "two", workers=2)
    synthesize(photos, tmp_path / "other", seed=1)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert contents(tmp_path / "one" / "Synthetic") != contents(tmp_path / "other" / "Synthetic")


@pytest.mark.parametrize("regions", [0, 1, 7])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(photos, tmp_path, monkeypatch, regions):
    synthesize(photos, tmp_path / "whole")
    calls = []
    real = synthesis._compose_region

    def counted(number):
        calls.append(number)
        if len(calls) == regions + 1:
            raise KeyboardInterrupt
        return real(number)

    monkeypatch.setattr(synthesis, "_compose_region", counted)
    with pytest.raises(KeyboardInterrupt):
        synthesize(photos, tmp_path / "part")
    with (tmp_path / "part" / "regions.jsonl").open("a") as log:
        log.write('[5, {"rows": [{"na')  # as a kill in the middle of a line leaves it
    seen = []
    monkeypatch.setattr(synthesis, "_compose_region", lambda number: (seen.append(number), real(number))[1])
    synthesize(photos, tmp_path / "part")
    assert contents(tmp_path / "part") == contents(tmp_path / "whole")
    assert len(seen) == 12 - regions


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_process_takes_its_workers_along_and_leaves_work_that_is_finished_later(photos, tmp_path, workers):
    synthesize(photos, tmp_path / "whole")
    program = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from tiny_photos import make_photos
from dirl_lib.data.synthesize import synthesize
done = []
synthesize(make_photos(Path({str(tmp_path / "photos")!r}), 12), {str(tmp_path / "killed")!r},
           workers={workers}, progress=lambda n: (done.append(n), len(done) > 4 and time.sleep(60)))
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    log = tmp_path / "killed" / "regions.jsonl"
    try:
        for _ in range(600):
            if log.is_file() and log.read_text().count("\n") >= 3:
                break
            time.sleep(0.1)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)  # reads until the last process that inherited the pipe is gone
    assert not (tmp_path / "killed" / "index.csv").exists()
    synthesize(photos, tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_kill_while_a_file_is_written_leaves_nothing_behind(photos, tmp_path):
    synthesize(photos, tmp_path / "whole")
    out = tmp_path / "out"
    out.mkdir()
    (out / ".recipe.json.part").write_text('{"form')  # before anything says whose folder this is
    synthesize(photos, out)
    (out / ".index.csv.part").write_text("name,ima")
    (out / ".le50_test.txt.0123abcd.part").write_text("Synth")
    (out / "Synthetic" / "masks" / ".p000001_1.png.0123abcd.part").write_bytes(b"\x89PNG")
    synthesize(photos, out)
    assert contents(out) == contents(tmp_path / "whole")


def test_a_killed_worker_is_told_in_one_line_and_the_run_goes_on_later(photos, tmp_path):
    def kill_one(_):
        for worker in multiprocessing.active_children():
            worker.kill()

    with pytest.raises(SynthesisError, match=r"a worker was killed.*; run it again with fewer workers or a size"):
        synthesize(photos, tmp_path / "out", workers=2, progress=kill_one)
    synthesize(photos, tmp_path / "out")
    synthesize(photos, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_second_run_changes_nothing(photos, tmp_path):
    first = synthesize(photos, tmp_path / "out")
    before = contents(tmp_path / "out")
    assert synthesize(photos, tmp_path / "out") == first
    assert contents(tmp_path / "out") == before


def test_two_recipes_do_not_mix_and_other_files_are_left_alone(photos, tmp_path):
    synthesize(photos, tmp_path / "out")
    with pytest.raises(SynthesisError, match="holds composites of other seed, size; choose a new folder"):
        synthesize(photos, tmp_path / "out", seed=5, size=40)
    with pytest.raises(SynthesisError, match="holds composites of other sources"):
        synthesize(photos[1:], tmp_path / "out")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("all my work")
    with pytest.raises(SynthesisError, match="holds other files"):
        synthesize(photos, tmp_path / "home")
    assert contents(tmp_path / "home") == {"thesis.tex": b"all my work"}


def test_bad_files_stop_or_are_counted_and_spoil_nothing_else(photos, tmp_path):
    photos[4].image_path.write_bytes(b"")
    with pytest.raises(ImageFileError, match=r"photo 4\.png: the file is empty"):
        synthesize(photos, tmp_path / "out")
    for _ in range(2):
        problems = []
        report = synthesize(photos, tmp_path / "out", problems=problems)
        assert [line.split(": ")[0].rsplit("/")[-1] for line in problems] == ["photo 4.png"]
        assert report.refused["regions with files that cannot be used"] == 1
    with pytest.raises(ImageFileError, match=r"photo 4\.png: the file is empty"):
        synthesize(photos, tmp_path / "out")


def test_a_mended_file_and_what_took_its_colours_are_made_again_and_nothing_else(photos, tmp_path, monkeypatch):
    whole = photos[4].image_path.read_bytes()
    photos[4].image_path.write_bytes(whole[:200])
    synthesize(photos, tmp_path / "out", problems=[])
    photos[4].image_path.write_bytes(whole)
    made = []
    real = synthesis._compose_region
    monkeypatch.setattr(synthesis, "_compose_region", lambda number: (made.append(number), real(number))[1])
    synthesize(photos, tmp_path / "out")
    assert 1 <= len(made) < 9  # at most the six cats of its class, three of which stand in its split
    synthesize(photos, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_deleted_composite_is_made_again(photos, tmp_path):
    synthesize(photos, tmp_path / "out")
    before = contents(tmp_path / "out")
    next((tmp_path / "out" / "Synthetic" / "composite_images").iterdir()).unlink()
    synthesize(photos, tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_regions_too_small_or_too_large_are_refused_and_counted(photos, tmp_path):
    photos.append(make_photo(tmp_path / "photos", 20, area=(slice(0, 60), slice(0, 96))))
    photos.append(make_photo(tmp_path / "photos", 22, area=(slice(0, 5), slice(0, 5))))
    report = synthesize(photos, tmp_path / "out")
    assert report.refused["regions outside 1% to 50% of the picture"] == 2
    assert not {"photo 20.png", "photo 22.png"} & {row["image"] for row in index(tmp_path / "out")}
    assert "left out: 2 regions outside 1% to 50%" in str(report)


def test_composites_that_nobody_could_see_are_refused_and_counted(photos, tmp_path):
    for scene in (30, 31):  # the same colours in two photographs, and no other object of their class
        twin = make_photo(tmp_path / "twins" / str(scene), 0)
        photos.append(twin._replace(name=f"twin {scene}", photo=f"scene {scene}", category="owl"))
    report = synthesize(photos, tmp_path / "out")
    for method in METHODS:
        assert report.refused[f"composites of no change from 15 to 80 by {method}"] >= 2
    assert report.composites + sum(report.refused.values()) == 14 * 4
    assert "owl" not in {row["class"] for row in index(tmp_path / "out")}


def test_the_colours_are_those_of_the_reference_object_and_not_of_its_background(tmp_path):
    photos = make_two_greys(tmp_path / "photos")
    synthesize(photos, tmp_path / "out")
    for row in index(tmp_path / "out"):
        composite = read_image(tmp_path / "out" / "Synthetic" / "composite_images" / f"{row['name']}.jpg")
        assert composite[read_mask(photos[0].mask_path)].mean() == pytest.approx(GREYS[row["reference"]], abs=4)


def test_a_size_is_the_longest_side_and_fewer_composites_use_different_methods(photos, tmp_path):
    synthesize(photos, tmp_path / "out", size=48, per_region=2)
    rows = index(tmp_path / "out")
    assert read_image(tmp_path / "out" / "Synthetic" / "composite_images" / f"{rows[0]['name']}.jpg").shape == (
        32,
        48,
        3,
    )
    pairs = Counter(row["image"] for row in rows)
    assert max(pairs.values()) == 2
    assert len({row["method"] for row in rows}) == 4


@pytest.mark.parametrize("name", ["a b", "-rf", "it's", 'quo"te', "ünïcode", "new\nline", "semi;colon,comma"])
def test_hostile_file_names_come_through_and_reach_no_list(tmp_path, name):
    photos = make_photos(tmp_path / "photos", 4)
    for photo in photos:
        photo.image_path.rename(tmp_path / f"{name} {photo.name}.png")
    photos = [
        photo._replace(name=f"{name} {photo.name}", image_path=tmp_path / f"{name} {photo.name}.png", split="train")
        for photo in photos
    ]
    report = synthesize(photos, tmp_path / "out")
    assert len(IHarmony4(tmp_path / "out", "all", size=32)) == report.composites > 0
    assert index(tmp_path / "out")[0]["image"].startswith(name)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep file names in Unicode")
def test_a_file_name_that_is_no_text_comes_through(photos, tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    photos[0] = photos[0]._replace(name=name, image_path=photos[0].image_path.rename(tmp_path / name))
    synthesize(photos, tmp_path / "out")
    assert r"caf\udce9.png" in {row["image"] for row in index(tmp_path / "out")}


@pytest.mark.parametrize("options", [{"per_region": 0}, {"per_region": 5}, {"size": 0}, {"seed": -1}, {"workers": 0}])
def test_numbers_out_of_range_are_refused(photos, tmp_path, options):
    ((name, value),) = options.items()
    with pytest.raises(SynthesisError, match=f"found {name} {value}, expected"):
        synthesize(photos, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_split_that_no_list_knows_is_refused(photos, tmp_path):
    photos[3] = photos[3]._replace(split="validation")
    with pytest.raises(SynthesisError, match=r"photo 3: found the split 'validation', expected train, val, test"):
        synthesize(photos, tmp_path / "out")


def test_two_records_of_one_name_are_refused(photos, tmp_path):
    with pytest.raises(SynthesisError, match="found two records named 'photo 0', expected each name once"):
        synthesize([*photos, photos[0]], tmp_path / "out")


def test_an_object_of_a_few_pixels_gives_no_colours(tmp_path):
    dots = [make_photo(tmp_path / "p", number, area=(slice(0, 2), slice(0, 2))) for number in (4, 12, 16)]
    photos = [photo._replace(split="train") for photo in [*dots, *make_photos(tmp_path / "p", 3)]]
    synthesize(photos, tmp_path / "out")
    assert not {dot.name for dot in dots} & {row["reference"] for row in index(tmp_path / "out")}


def test_a_folder_of_other_filters_is_another_recipe(photos, tmp_path, monkeypatch):
    synthesize(photos, tmp_path / "out")
    monkeypatch.setattr(synthesis, "WILD_CHANGE", 60.0)
    with pytest.raises(SynthesisError, match="holds composites of other filters; choose a new folder"):
        synthesize(photos, tmp_path / "out")


def test_one_photograph_is_not_enough(photos, tmp_path):
    with pytest.raises(ValueError, match="expected at least two"):
        synthesize(photos[:1], tmp_path / "out")


def record(number, *, photo=None, category="", split="train"):
    path = Path(f"{number}.png")
    return MaskedPhoto(str(number), path, path, photo or str(number), category, split)


def test_references_prefer_the_class_then_any_then_training():
    rng = np.random.default_rng(0)
    photos = [
        record(0, category="dog"),
        record(1, category="dog", photo="0"),  # the same photograph
        record(2, category="dog"),
        record(3, category="cat"),
        record(4, category="owl"),
        record(5, category="dog", split="test"),
    ]
    references = References(photos)
    assert references.draw(0, 9, rng) == [2]
    assert set(references.draw(4, 9, rng)) == {0, 1, 2, 3}
    assert set(references.draw(5, 9, rng)) == {0, 1, 2, 3, 4}  # alone in its split
    assert len(references.draw(4, 2, rng)) == 2


@pytest.mark.parametrize("objects", [1, 150])
def test_among_many_the_references_are_different_and_of_other_photographs(objects):
    crowd = [record(number, photo="crowd") for number in range(objects)]
    photos = [*crowd, *(record(number) for number in range(objects, 200))]
    references = References(photos)
    for seed in range(20):
        drawn = references.draw(0, 8, np.random.default_rng(seed))
        assert len(set(drawn)) == len(drawn) == 8
        assert min(drawn) >= objects
        assert drawn == references.draw(0, 8, np.random.default_rng(seed))


def test_training_never_takes_colours_from_another_split():
    with pytest.raises(ValueError, match="the split 'train' has no other photograph"):
        References([record(0), record(1, split="test")]).draw(0, 5, np.random.default_rng(0))


def test_real_photographs_with_classes(shared, tmp_path):
    photos = read_table(shared / "coco_mini" / "index.csv", split="test")[:20]
    report = synthesize(photos, tmp_path / "out", size=160)
    assert report.composites >= 60
    rows = index(tmp_path / "out")
    classes = {photo.name: photo.category for photo in photos}
    assert all((classes[row["reference"]] == row["class"]) == (row["same_class"] == "yes") for row in rows)
    assert {"yes", "no"} == {row["same_class"] for row in rows}
