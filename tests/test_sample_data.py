"""The embedded sample data: iHarmony4's layout, real outlines, the same bytes each time, never half a build."""

import csv
import filecmp
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dirl_lib.data import sample, sample_build
from dirl_lib.data.sample import (
    build_sample_data,
    default_root,
    find_sample,
    list_samples,
    load_batch,
    load_photo,
    load_sample,
    sample_root,
)
from dirl_lib.data.sample_build import is_current, pixel_fingerprint
from dirl_lib.images import read_image, read_mask
from dirl_lib.synthesis.color_transfer import METHODS

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "data_scripts" / "make_sample_data.py"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One build for this file, so that no test touches the reader's own data."""
    lines: list[str] = []
    root = build_sample_data(tmp_path_factory.mktemp("sample") / "data", progress=lines.append)
    assert len(lines) == len(list((root / "Sample" / "masks").iterdir()))
    return root


@pytest.fixture(autouse=True)
def own_data(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "built" in request.fixturenames:
        monkeypatch.setenv("DIRL_SAMPLE_DATA", str(request.getfixturevalue("built")))


def run_script(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def files_below(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


# --- layout


def test_names_and_folders_are_iharmony4s(built):
    names = [name for name in files_below(built) if name.startswith("Sample/") and not name.endswith(".txt")]
    grammar = re.compile(
        r"Sample/(composite_images/s\d{4}_\d+_[1-4]\.jpg|masks/s\d{4}_\d+\.png|real_images/s\d{4}\.jpg)"
    )
    assert [name for name in names if not grammar.fullmatch(name)] == []
    top = {"README.txt", "index.csv", "recipe.json", "le50_train.txt", "le50_test.txt"}
    lists = {"Sample/Sample_train.txt", "Sample/Sample_test.txt"}
    assert set(files_below(built)) - set(names) == top | lists


def test_each_listed_composite_has_its_mask_and_its_real_image(built):
    listed = [line for split in ("train", "test") for line in (built / f"le50_{split}.txt").read_text().splitlines()]
    assert len(listed) == len(set(listed)) == len(list((built / "Sample" / "composite_images").iterdir()))
    for line in listed:
        sub, folder, name = line.split("/")
        photo, mask, variant = name.removesuffix(".jpg").rsplit("_", 2)
        assert (sub, folder, variant in "1234") == ("Sample", "composite_images", True)
        sizes = {
            read_image(built / line).shape[:2],
            read_mask(built / sub / "masks" / f"{photo}_{mask}.png").shape,
            read_image(built / sub / "real_images" / f"{photo}.jpg").shape[:2],
        }
        assert len(sizes) == 1


def test_the_lists_agree_and_end_their_lines_with_lf(built):
    for split in ("train", "test"):
        combined = (built / f"le50_{split}.txt").read_bytes()
        bare = (built / "Sample" / f"Sample_{split}.txt").read_bytes()
        assert b"\r" not in combined + bare
        assert combined.endswith(b"\n")
        assert combined == b"".join(b"Sample/composite_images/" + line + b"\n" for line in bare.splitlines())


def test_no_scene_lies_in_both_splits():
    splits: dict[str, set[str]] = {}
    for photo in sample_build.read_regions():
        splits.setdefault(photo.scene, set()).add(photo.split)
    assert splits["motorcycle"] == {"train"}
    assert splits["chelsea"] == splits["coffee"] == {"test"}
    assert all(len(found) == 1 for found in splits.values())


@pytest.mark.usefixtures("built")
def test_each_region_was_recoloured_by_each_method_with_training_colours_of_another_scene():
    scene = {photo.name: photo.scene for photo in sample_build.read_regions()}
    split = {photo.name: photo.split for photo in sample_build.read_regions()}
    by_region: dict[tuple[str, str], list[str]] = {}
    for record in list_samples():
        by_region.setdefault((record.photo, record.region), []).append(record.method)
        source = record.reference.split("/")[0]
        assert scene[source] != scene[record.photo]
        assert split[source] == "train"
        assert record.name.endswith(f"_{list(METHODS).index(record.method) + 1}")
    assert all(methods == list(METHODS) for methods in by_region.values())
    assert len(by_region) >= 20


# --- pixels


@pytest.mark.usefixtures("built")
def test_regions_cover_1_to_50_percent_and_the_index_says_so():
    for record in list_samples(method="reinhard"):
        mask = read_mask(record.mask_path)
        assert 0.01 <= mask.mean() <= 0.5
        assert record.area_fraction == pytest.approx(mask.mean(), abs=1e-4)


def test_masks_are_0_and_255_on_the_disk(built):
    for path in (built / "Sample" / "masks").iterdir():
        with Image.open(path) as file:
            assert file.mode == "L"
            assert set(np.unique(file)) == {0, 255}


@pytest.mark.usefixtures("built")
def test_every_composite_differs_visibly_inside_its_mask():
    for record in list_samples():
        mask = read_mask(record.mask_path)
        before, after = read_image(record.real_path)[mask], read_image(record.image_path)[mask]
        strength = np.sqrt(np.mean((after.astype(float) - before) ** 2))
        assert strength >= 14
        assert record.strength == pytest.approx(strength, abs=1.5)  # the index was made before JPEG


@pytest.mark.usefixtures("built")
def test_blocks_of_jpeg_that_the_mask_does_not_touch_are_the_photographs():
    for record in list_samples():
        mask = read_mask(record.mask_path)
        height, width = (side // 8 * 8 for side in mask.shape)
        touched = mask[:height, :width].reshape(height // 8, 8, width // 8, 8).any(axis=(1, 3))
        outside = ~touched.repeat(8, axis=0).repeat(8, axis=1)
        before, after = read_image(record.real_path), read_image(record.image_path)
        np.testing.assert_array_equal(after[:height, :width][outside], before[:height, :width][outside])


@pytest.mark.usefixtures("built")
def test_photographs_are_the_packages_own_scaled_to_384():
    from skimage import data

    photo = load_photo("chelsea")
    assert photo.shape == (255, 384, 3)
    scaled = Image.fromarray(data.chelsea()).resize((384, 255), Image.Resampling.LANCZOS)
    assert np.abs(photo.astype(int) - np.asarray(scaled)).mean() < 2
    assert {max(load_photo(record.photo).shape) for record in list_samples(method="idt")} == {384}


def test_a_region_with_something_in_front_leaves_it_out():
    coffee = next(photo for photo in sample_build.read_regions() if photo.name == "coffee")
    masks = {region.name: region.mask for region in coffee.regions}
    assert not (masks["saucer"] & (masks["cup"] | masks["spoon"])).any()


# --- the same each time, whole or not at all


def test_another_process_builds_the_same_bytes(built, tmp_path):
    done = run_script(str(tmp_path / "again"), PYTHONHASHSEED="7")
    assert done.returncode == 0, done.stderr
    assert f"{len(list_samples())} composites" in done.stdout
    names = files_below(built)
    assert files_below(tmp_path / "again") == names
    assert filecmp.cmpfiles(built, tmp_path / "again", names, shallow=False)[1:] == ([], [])


def test_the_fingerprint_sees_a_changed_pixel(built, tmp_path):
    marker = json.loads((built / "recipe.json").read_text())
    assert pixel_fingerprint(built) == marker["pixels"]
    mask = read_mask(built / "Sample" / "masks" / "s0002_1.png")
    (tmp_path / "a").mkdir()
    Image.fromarray(mask).save(tmp_path / "a" / "m.png")
    one = pixel_fingerprint(tmp_path / "a")
    mask[0, 0] ^= True
    Image.fromarray(mask).save(tmp_path / "a" / "m.png")
    assert pixel_fingerprint(tmp_path / "a") != one


def test_a_stale_build_is_made_anew_and_a_current_one_is_kept(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(sample_build, "_fill", lambda root, _: calls.append((root / "x").write_text("x")))
    monkeypatch.setenv("DIRL_SAMPLE_DATA", str(tmp_path / "data"))
    assert sample_root() == sample_root() == tmp_path / "data"
    assert len(calls) == 1
    monkeypatch.setattr(sample_build, "_recipe_fingerprint", lambda: "a later recipe")
    assert not is_current(tmp_path / "data")
    sample_root()
    assert len(calls) == 2
    assert is_current(tmp_path / "data")
    assert files_below(tmp_path) == ["data/recipe.json", "data/x"]


def test_changed_outlines_make_a_build_stale(built, tmp_path, monkeypatch):
    assert is_current(built)
    edited = tmp_path / "regions.toml"
    edited.write_text(sample_build.REGIONS_FILE.read_text(encoding="utf-8") + "\n# moved\n", encoding="utf-8")
    monkeypatch.setattr(sample_build, "REGIONS_FILE", edited)
    assert not is_current(built)


def test_a_stopped_build_leaves_what_was_there(tmp_path, monkeypatch):
    def stopped(root: Path, _: object) -> None:
        (root / "half").write_text("half a composite")
        raise KeyboardInterrupt

    root = tmp_path / "data"
    monkeypatch.setattr(sample_build, "_fill", lambda root, _: (root / "whole").write_text("x"))
    build_sample_data(root)
    monkeypatch.setattr(sample_build, "_fill", stopped)
    with pytest.raises(KeyboardInterrupt):
        build_sample_data(root)
    assert files_below(tmp_path) == ["data/recipe.json", "data/whole"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_build_leaves_nothing_that_looks_like_data(tmp_path):
    root = tmp_path / "data"
    process = subprocess.Popen([sys.executable, str(SCRIPT), str(root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()  # one region is done, many are not
    process.kill()
    process.communicate()
    assert not root.exists()
    left = list(tmp_path.iterdir())
    assert [path.name.startswith(".data.") for path in left] == [True]

    an_hour_ago = time.time() - 3700
    os.utime(left[0], (an_hour_ago, an_hour_ago))
    sample_build._remove_abandoned(root)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"not sample data.*DIRL_SAMPLE_DATA"):
        build_sample_data(tmp_path)
    done = run_script(str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert files_below(tmp_path) == ["thesis.txt"]


def test_an_empty_folder_may_be_filled(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_build, "_fill", lambda *_: None)
    assert is_current(build_sample_data(tmp_path))


# --- where it lies, what it needs


def test_the_variable_decides_and_the_checkout_is_next(tmp_path, monkeypatch):
    monkeypatch.setenv("DIRL_SAMPLE_DATA", str(tmp_path / "mine"))
    assert default_root() == tmp_path / "mine"
    monkeypatch.delenv("DIRL_SAMPLE_DATA")
    assert default_root() == ROOT / "data" / "sample"
    monkeypatch.setattr(sample, "__file__", str(tmp_path / "site-packages" / "dirl_lib" / "data" / "sample.py"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert default_root() == tmp_path / ".cache" / "dirl" / "sample"


def test_a_missing_package_or_file_is_named(monkeypatch):
    monkeypatch.setattr(sample_build.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError, match="pip install scikit-learn"):
        sample_build._packaged_file("sklearn/datasets/images/china.jpg")
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError, match="reinstall scikit-image"):
        sample_build._packaged_file("skimage/data/unicorn.png")


def test_a_photograph_of_another_size_is_refused():
    entry = {"file": "skimage/data/chelsea.png", "size": [100, 90]}
    with pytest.raises(ValueError, match="chelsea: found a photograph of 384x255, expected 100x90"):
        sample_build._read_photo("chelsea", entry)


def test_building_and_listing_import_nothing_heavy():
    code = (
        "import sys, dirl_lib.data.sample; print(sorted({'torch', 'skimage', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_explains_itself():
    done = run_script("--help")
    assert done.returncode == 0
    assert "OUT" in done.stdout


def test_the_build_names_the_authors_of_the_photographs(built):
    text = (built / "README.txt").read_text(encoding="utf-8")
    for photo in sample_build.read_regions():
        assert f"{photo.number} {photo.name}: {photo.credit}" in text
    assert "CC BY 2.0" in text


# --- reading it


def test_listing_can_be_narrowed(built):
    everything = list_samples()
    with (built / "index.csv").open(encoding="utf-8", newline="") as file:
        assert [record.name for record in everything] == [row["name"] for row in csv.DictReader(file)]
    assert [record.name for record in everything] == sorted(record.name for record in everything)
    assert {record.photo for record in list_samples(split="test")} == {"chelsea", "coffee"}
    assert len(list_samples("train")) + len(list_samples("test")) == len(everything)
    assert {record.method for record in list_samples(method="idt")} == {"idt"}
    assert len(list_samples("test", "idt", "coffee")) * 4 == len(list_samples(photo="coffee"))


@pytest.mark.usefixtures("built")
def test_a_sample_is_found_by_number_or_name():
    assert find_sample("chelsea", 1) == find_sample("chelsea", "face") == find_sample("chelsea") == "s0002_1_1"
    assert find_sample("chelsea", "face", "idt") == "s0002_1_4"
    assert find_sample("coffee", region=4, method="histogram") == "s0003_4_3"


@pytest.mark.usefixtures("built")
def test_a_wrong_name_meets_the_list_of_right_ones():
    with pytest.raises(ValueError, match=r"no photo 'dog', expected one of: astronaut, chelsea, coffee"):
        find_sample("dog")
    with pytest.raises(ValueError, match="no region 'tail', expected one of: face, "):
        find_sample("chelsea", "tail")
    with pytest.raises(ValueError, match="no region '9', expected one of: 1, 2"):
        find_sample("chelsea", 9)
    with pytest.raises(ValueError, match="no method 'magic', expected one of: reinhard, xiao_ma, histogram, idt"):
        find_sample("chelsea", method="magic")
    with pytest.raises(ValueError, match="no split 'val', expected one of: train, test"):
        list_samples(split="val")
    with pytest.raises(ValueError, match=r"no sample 's9999_1_1', expected one of: s0001_1_1, .*\.\.\."):
        load_sample("s9999_1_1")


@pytest.mark.usefixtures("built")
def test_a_sample_is_loaded_as_it_lies_on_the_disk():
    record = list_samples(photo="china", method="xiao_ma")[0]
    loaded = load_sample(record.name)
    assert loaded.name == record.name
    assert loaded.image.shape == loaded.real.shape == (3, 256, 384)
    np.testing.assert_array_equal((loaded.image * 255).round().permute(1, 2, 0), read_image(record.image_path))
    np.testing.assert_array_equal(loaded.mask[0].bool(), read_mask(record.mask_path))
    np.testing.assert_array_equal((loaded.real * 255).round().permute(1, 2, 0), load_photo("china"))


@pytest.mark.parametrize(("size", "shape"), [(64, (64, 64)), ((48, 80), (48, 80)), ((300, 500), (300, 500))])
@pytest.mark.usefixtures("built")
def test_resizing_is_pillows_bilinear_and_the_mask_is_cut_after(size, shape):
    record = list_samples(photo="coffee", method="reinhard")[0]
    loaded = load_sample(record.name, size)
    assert loaded.image.shape == loaded.real.shape == (3, *shape)
    assert loaded.mask.shape == (1, *shape)
    assert loaded.image.dtype == loaded.mask.dtype == torch.float32
    assert set(loaded.mask.unique().tolist()) == {0.0, 1.0}
    assert loaded.image.min() >= 0
    assert loaded.image.max() <= 1

    resized = lambda array: np.asarray(Image.fromarray(array).resize(shape[::-1], Image.Resampling.BILINEAR))  # noqa: E731
    np.testing.assert_allclose(loaded.image.permute(1, 2, 0) * 255, resized(read_image(record.image_path)), atol=1.01)
    soft = resized(read_mask(record.mask_path).astype(np.float32))
    clear = np.abs(soft - 0.5) > 1e-3
    np.testing.assert_array_equal(loaded.mask[0].numpy()[clear], (soft > 0.5)[clear])


@pytest.mark.usefixtures("built")
def test_a_batch_is_its_samples():
    names = [find_sample("chelsea"), find_sample("astronaut", 2, "idt")]
    images, masks = load_batch(names, (32, 48))
    assert images.shape == (2, 3, 32, 48)
    assert masks.shape == (2, 1, 32, 48)
    assert torch.equal(images[1], load_sample(names[1], (32, 48)).image)
    assert torch.equal(masks[0], load_sample(names[0], (32, 48)).mask)
    with pytest.raises(ValueError, match="found no names"):
        load_batch([], 32)
