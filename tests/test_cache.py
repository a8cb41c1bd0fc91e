"""The prepared store: the same pixels as the files, the same bytes after a kill, damage found and named."""

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny_iharmony4 import TRAIN, add_composite, make_data_set, with_lists

from dirl_lib.data import cache
from dirl_lib.data.cache import PreparedStore, StoreError, prepare
from dirl_lib.data.folders import read_pair
from dirl_lib.data.iharmony4 import IHarmony4
from dirl_lib.data.loading import make_loader
from dirl_lib.data.transforms import Resize
from dirl_lib.images import ImageFileError

RESIZE = Resize(40)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Forty composites, and stores of eight to a file, so that there are several files to be killed between."""
    monkeypatch.setattr(cache, "MOST_IN_A_SHARD", 8)
    return IHarmony4(with_lists(tmp_path / "data"), "trainval", size=RESIZE)


def contents(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.mark.parametrize("resize", [Resize(40), Resize(30, keep_aspect=True), Resize(24, antialias=True)])
def test_a_store_gives_the_pixels_of_the_files(data, tmp_path, resize):
    plain = IHarmony4(tmp_path / "data", "trainval", size=resize)
    prepare(data.records, tmp_path / "store", resize)
    stored = IHarmony4(tmp_path / "data", "trainval", size=resize, cache=tmp_path / "store")
    for index in range(len(plain)):
        assert torch.equal(plain[index].image, stored[index].image)
        assert torch.equal(plain[index].mask, stored[index].mask)


def test_the_same_files_give_the_same_bytes(data, tmp_path):
    prepare(data.records, tmp_path / "one", RESIZE, workers=1)
    prepare(data.records, tmp_path / "two", RESIZE, workers=4)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("finished", [0, 1, 3])
def test_an_interrupted_store_is_refused_then_finished_with_the_same_bytes(data, tmp_path, monkeypatch, finished):
    prepare(data.records, tmp_path / "whole", RESIZE)
    done = 0

    def stop(count):
        nonlocal done
        done += count
        if done > 8 * finished:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(data.records, tmp_path / "part", RESIZE, progress=stop)
    assert len(list((tmp_path / "part").glob("shard-*"))) == finished
    with pytest.raises(StoreError, match=r"not finished; run  dirl data prepare  again"):
        PreparedStore(tmp_path / "part")
    (tmp_path / "part" / ".shard-00004.safetensors.part").write_bytes(b"half")
    read = []
    real = Resize.__call__
    monkeypatch.setattr(Resize, "__call__", lambda self, *pair: (read.append(1), real(self, *pair))[1])
    prepare(data.records, tmp_path / "part", RESIZE)
    assert contents(tmp_path / "part") == contents(tmp_path / "whole")
    assert len(read) == 40 - 8 * finished


def test_a_killed_process_leaves_a_store_that_is_finished_later(data, tmp_path):
    prepare(data.records, tmp_path / "whole", RESIZE)
    program = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from dirl_lib.data import cache
from dirl_lib.data.iharmony4 import IHarmony4
from dirl_lib.data.transforms import Resize
cache.MOST_IN_A_SHARD = 8
data = IHarmony4({str(tmp_path / "data")!r}, "trainval")
done = []
def slow(count):
    done.append(count)
    time.sleep(0 if len(done) < 12 else 60)
cache.prepare(data.records, {str(tmp_path / "killed")!r}, Resize(40), progress=slow)
"""
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        for _ in range(600):
            if list((tmp_path / "killed").glob("shard-*")):
                break
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert list((tmp_path / "killed").glob("shard-*"))
    prepare(data.records, tmp_path / "killed", RESIZE)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def flip(path, name, part):
    """Change one byte in the middle of an entry, leaving the rest of the file as it is."""
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[:8], "little")
    start, end = json.loads(content[8 : 8 + length])[f"{name}/{part}"]["data_offsets"]
    content[8 + length + (start + end) // 2] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize("part", ["image", "mask"])
def test_a_damaged_entry_is_named_and_its_neighbours_are_not_blamed(data, tmp_path, part):
    store = prepare(data.records, tmp_path / "store", RESIZE)
    flip(tmp_path / "store" / "shard-00001.safetensors", data.records[9].name, part)
    fresh = PreparedStore(tmp_path / "store")
    with pytest.raises(StoreError, match=rf"shard-00001\.safetensors: the entry {data.records[9].name} is damaged"):
        fresh[data.records[9].name]
    assert torch.equal(fresh[data.records[8].name][0], store[data.records[8].name][0])
    with pytest.raises(StoreError, match="is damaged; delete this file"):
        IHarmony4(tmp_path / "data", "trainval", size=RESIZE, cache=tmp_path / "store")[9]


@pytest.mark.parametrize(
    "damage", [lambda f: f.unlink(), lambda f: os.truncate(f, 500), lambda f: f.write_bytes(b"<html>")]
)
def test_a_damaged_file_is_named_and_made_again(data, tmp_path, damage):
    prepare(data.records, tmp_path / "store", RESIZE)
    whole = contents(tmp_path / "store")
    damage(tmp_path / "store" / "shard-00002.safetensors")
    with pytest.raises(StoreError, match=r"shard-00002\.safetensors: the file is missing or damaged"):
        PreparedStore(tmp_path / "store")[data.records[16].name]
    prepare(data.records, tmp_path / "store", RESIZE)
    assert contents(tmp_path / "store") == whole


def test_a_damaged_entry_is_found_and_made_again_by_another_run(data, tmp_path):
    prepare(data.records, tmp_path / "store", RESIZE)
    whole = contents(tmp_path / "store")
    flip(tmp_path / "store" / "shard-00003.safetensors", data.records[25].name, "image")
    prepare(data.records, tmp_path / "store", RESIZE)
    assert contents(tmp_path / "store") == whole


def test_a_damaged_index_and_a_newer_format_are_refused(data, tmp_path):
    prepare(data.records, tmp_path / "store", RESIZE)
    index = tmp_path / "store" / "store.json"
    index.write_text(index.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(StoreError, match="found format 9, expected 1"):
        PreparedStore(tmp_path / "store")
    index.write_text("{")
    with pytest.raises(StoreError, match=r"store\.json: damaged"):
        PreparedStore(tmp_path / "store")
    with pytest.raises(StoreError, match="no such store; make it with"):
        PreparedStore(tmp_path / "nothing")


def test_stores_of_another_recipe_or_other_names_do_not_mix(data, tmp_path):
    prepare(data.records, tmp_path / "store", RESIZE)
    with pytest.raises(StoreError, match="another recipe; choose a new folder"):
        prepare(data.records, tmp_path / "store", Resize(41))
    with pytest.raises(StoreError, match="other names or of another recipe"):
        prepare(data.records[1:], tmp_path / "store", RESIZE)


def test_a_store_of_other_files_under_the_same_names_is_refused(data, tmp_path):
    prepare(data.records, tmp_path / "store", RESIZE)
    other = with_lists(tmp_path / "other")
    for entry in TRAIN:
        add_composite(other, entry, fraction=0.3)
    with pytest.raises(StoreError, match=r"the entry c0_1_1 was made of other files than .*other"):
        IHarmony4(other, "trainval", size=RESIZE, cache=tmp_path / "store")


def test_a_changed_file_is_prepared_again_and_nothing_else(data, tmp_path, monkeypatch):
    prepare(data.records, tmp_path / "store", RESIZE)
    image = data.records[9].image_path
    content = bytearray(image.read_bytes())
    content[-3] ^= 1  # of the same size
    image.write_bytes(content)
    read = []
    real = Resize.__call__
    monkeypatch.setattr(Resize, "__call__", lambda self, *pair: (read.append(1), real(self, *pair))[1])
    prepare(data.records, tmp_path / "store", RESIZE)
    assert len(read) == 8  # the images of its shard
    assert torch.equal(
        PreparedStore(tmp_path / "store")[data.records[9].name][0], data.resize(*read_pair(data.records[9]))[0]
    )


def test_a_store_may_travel_without_its_sources(data, tmp_path):
    store = prepare(data.records, tmp_path / "store", RESIZE)
    for record in data.records:
        record.image_path.unlink()
    store.check_holds(data.records, RESIZE)


def test_no_records_two_of_one_name_and_a_claim_cut_short(data, tmp_path):
    with pytest.raises(StoreError, match="found no records"):
        prepare([], tmp_path / "store", RESIZE)
    with pytest.raises(StoreError, match="two records of one name"):
        prepare([*data.records, data.records[0]], tmp_path / "store", RESIZE)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / ".recipe.txt.0123abcd.part").write_text("12")
    assert len(prepare(data.records, tmp_path / "store", RESIZE)) == 40
    assert not list((tmp_path / "store").glob(".*"))


def test_a_folder_with_other_things_is_left_alone(data, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("all my work")
    with pytest.raises(StoreError, match="holds other files, expected a new or empty folder"):
        prepare(data.records, tmp_path / "home", RESIZE)
    assert contents(tmp_path / "home") == {"thesis.tex": b"all my work"}


def test_bad_files_stop_or_are_left_out_counted_and_remembered(data, tmp_path):
    bad = data.records[3]
    bad.image_path.write_bytes(bad.image_path.read_bytes()[:400])
    with pytest.raises(ImageFileError, match=bad.image_path.name):
        prepare(data.records, tmp_path / "store", RESIZE)
    for _ in range(2):  # the second time nothing is read again, and the problem is told all the same
        problems = []
        store = prepare(data.records, tmp_path / "store", RESIZE, problems=problems)
        assert len(store) == 39
        assert list(store.excluded) == [bad.name]
        assert problems == [store.excluded[bad.name]]
    with pytest.raises(ImageFileError, match=bad.image_path.name):
        prepare(data.records, tmp_path / "store", RESIZE)
    with pytest.raises(
        StoreError, match=rf"1 of 40 images are not in this store, the first {bad.name} \(1 were left out"
    ):
        IHarmony4(tmp_path / "data", "trainval", size=RESIZE, cache=tmp_path / "store")
    told = []
    rest = IHarmony4(tmp_path / "data", "trainval", size=RESIZE, cache=tmp_path / "store", problems=told)
    assert len(rest) == len(rest.names) == 39
    assert told == problems
    assert rest.label.startswith("subset: ")


def test_a_mended_file_is_prepared_where_the_run_stopped(data, tmp_path):
    bad = data.records[20]
    whole = bad.image_path.read_bytes()
    bad.image_path.write_bytes(whole[:400])
    with pytest.raises(ImageFileError):
        prepare(data.records, tmp_path / "store", RESIZE)
    bad.image_path.write_bytes(whole)
    assert bad.name in prepare(data.records, tmp_path / "store", RESIZE)


def test_a_store_of_another_size_serves_crops_but_not_scores(data, tmp_path):
    prepare(data.records, tmp_path / "store", RESIZE)
    with pytest.raises(StoreError, match=r"found a store of Resize\(size=40.*expected Resize\(size=32"):
        IHarmony4(tmp_path / "data", "trainval", size=32, cache=tmp_path / "store")
    train = IHarmony4(tmp_path / "data", "trainval", size=32, augment="released", cache=tmp_path / "store")
    assert train[0].image.shape == (3, 32, 32)
    assert not torch.equal(train[0].image, train[len(train)].image)


def test_a_store_travels_to_workers(data, tmp_path):
    prepare(data.records, tmp_path / "store", RESIZE)
    stored = IHarmony4(tmp_path / "data", "trainval", size=32, augment="released", cache=tmp_path / "store")
    stored[0]
    assert torch.equal(pickle.loads(pickle.dumps(stored))[5].image, stored[5].image)
    spawn = multiprocessing.get_context("spawn")
    with_two = make_loader(stored, 10, train=True, workers=2, multiprocessing_context=spawn)
    alone = make_loader(stored, 10, train=True)
    for one, two in zip(alone, with_two, strict=True):
        assert one.name == two.name
        assert torch.equal(one.image, two.image)


def test_an_entry_is_as_small_as_promised(tmp_path):
    root = make_data_set(tmp_path / "data", TRAIN)
    (root / "le50_all.txt").write_text("".join(f"{entry}\n" for entry in TRAIN))
    prepare(IHarmony4(root, "all").records, tmp_path / "store", Resize(64))
    size = sum(file.stat().st_size for file in (tmp_path / "store").iterdir()) / len(TRAIN)
    assert size < 64 * 64 * 3 + 64 * 8 + 400  # bytes for colours, bits for the mask, a line for the name
