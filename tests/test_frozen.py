"""Frozen composites: those of the stream, whoever makes them and whoever reads them."""

import pickle

import pytest
import torch
from tiny_photos import make_photos

from dirl_lib.data.composing import ComposedScenes
from dirl_lib.data.dataset import MaskedPhotos
from dirl_lib.data.frozen import FrozenScenes, freeze, write_composites
from dirl_lib.images import ImageFileError


@pytest.fixture
def scenes(tmp_path):
    return ComposedScenes(make_photos(tmp_path / "photos", 5), 32, seed=3, light=0.5, untouched=0.3, oversample=2)


@pytest.mark.parametrize("workers", [0, 2])
def test_items_are_those_of_the_stream_in_8_bits(scenes, tmp_path, workers):
    made = []
    frozen = freeze(scenes, tmp_path / "frozen", 3, workers=workers, progress=made.append)
    assert len(frozen) == 5
    assert sum(made) == 15
    for index in (0, 4, 7, 14):
        found, expected = frozen[index], scenes[index]
        assert found.name == expected.name
        assert (found.image - expected.image).abs().max() <= 0.5 / 255 + 1e-6
        assert torch.equal(found.mask, expected.mask)
        assert (found.image.dtype, found.mask.shape) == (torch.float32, (1, 32, 32))
    assert [sample.name for sample in frozen] == [photo.name for photo in scenes.photos]
    with pytest.raises(IndexError):
        frozen[15]


def test_they_are_made_once(scenes, tmp_path):
    freeze(scenes, tmp_path / "frozen", 2)
    (path,) = (tmp_path / "frozen").iterdir()
    before = path.stat()
    assert freeze(scenes, tmp_path / "frozen", 2).path == path
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"light": 0.2}, {"untouched": 0.0}, {"crop": "wide"}, {"oversample": 1}]
)
def test_other_scenes_have_another_file(scenes, tmp_path, change):
    values = {"seed": 3, "light": 0.5, "untouched": 0.3, "oversample": 2} | change
    other = ComposedScenes(scenes.photos, 32, **values)
    assert freeze(other, tmp_path, 1).path != freeze(scenes, tmp_path, 1).path != freeze(scenes, tmp_path, 2).path


def test_a_photograph_that_was_changed_is_composed_anew(scenes, tmp_path):
    before = freeze(scenes, tmp_path / "frozen", 1).path
    photo = scenes.photos[0]
    photo.image_path.write_bytes(scenes.photos[1].image_path.read_bytes())
    assert freeze(scenes, tmp_path / "frozen", 1).path != before


def test_composites_written_as_files_are_those_of_the_stream(scenes, tmp_path):
    made = []
    records = write_composites(scenes, tmp_path / "test", 2, progress=made.append)
    assert sum(made) == len(records) == 10
    assert [record.photo for record in records] == 2 * [photo.photo for photo in scenes.photos]
    for index, sample in enumerate(MaskedPhotos(records, 32)):
        assert (sample.image - scenes[index].image).abs().max() <= 0.5 / 255 + 1e-6
        assert torch.equal(sample.mask, scenes[index].mask)
    assert write_composites(scenes, tmp_path / "test", 2, progress=made.append) == records
    assert sum(made) == 10


def test_a_process_that_reads_them_maps_the_file_for_itself(scenes, tmp_path):
    frozen = freeze(scenes, tmp_path / "frozen", 2)
    sent = pickle.dumps(frozen)
    assert len(sent) < 4096
    assert torch.equal(pickle.loads(sent)[6].image, frozen[6].image)


def test_a_photograph_that_cannot_be_read_leaves_no_file(scenes, tmp_path):
    scenes.photos[3].image_path.write_bytes(b"no picture")
    with pytest.raises(ImageFileError, match="photo 3"):
        freeze(scenes, tmp_path / "frozen", 1)
    assert list((tmp_path / "frozen").iterdir()) == []


def test_a_file_of_other_photographs_is_refused(scenes, tmp_path):
    frozen = freeze(scenes, tmp_path / "frozen", 1)
    with pytest.raises(ValueError, match="found 5 composites, expected a multiple of 4"):
        FrozenScenes(frozen.path, scenes.photos[:4])
