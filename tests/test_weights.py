"""Our own weight files, and networks that work at their own size."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from dirl_lib.checkpoints import CheckpointError
from dirl_lib.models import PRESETS, AtWorkingSize
from dirl_lib.models.dirl import build_dirl
from dirl_lib.models.working_size import working_shape
from dirl_lib.types import Localization
from dirl_lib.weights import about, load_model, load_network, save_model

SMALL = replace(PRESETS["paper"], width=0.125)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_dirl(SMALL).eval()


@pytest.fixture
def images():
    return torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(1))


def test_what_is_saved_answers_as_before(network, images, tmp_path):
    save_model(tmp_path / "a.safetensors", network, SMALL, working_size=None, seen=7)
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path / "a.safetensors")(images).mask, network(images).mask)
    assert about(tmp_path / "a.safetensors")["seen"] == 7


def test_half_precision_halves_the_file_and_keeps_the_mask(network, images, tmp_path):
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_model(whole, network, SMALL, working_size=None)
    save_model(half, network, SMALL, working_size=None, half=True)
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    with torch.no_grad():
        torch.testing.assert_close(load_model(half)(images).mask, network(images).mask, rtol=0, atol=2e-3)


def test_a_working_size_travels_with_the_weights(network, tmp_path):
    save_model(tmp_path / "a.safetensors", network, SMALL, working_size=64)
    model = load_model(tmp_path / "a.safetensors")
    assert isinstance(model, AtWorkingSize)
    assert model.pixels == 64
    assert load_network(tmp_path / "a.safetensors")[1] == 64
    found = model(torch.rand(1, 3, 301, 200))
    assert found.mask.shape == (1, 1, 301, 200)
    assert [tuple(a.shape[-2:]) for a in found.attention] == [(301, 200), (151, 100), (76, 50), (38, 25), (19, 13)]


def test_at_its_own_size_the_wrapper_changes_nothing(network):
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(AtWorkingSize(network, 64)(images).mask, network(images).mask)


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(224, 224, (96, 96)), (200, 800, (48, 192)), (4000, 100, (608, 32))]
)
def test_the_working_shape_keeps_area_and_aspect(height, width, expected):
    assert working_shape(height, width, 96) == expected


def test_a_file_without_description_is_refused(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"other.safetensors: holds no description of a DIRL"):
        load_model(tmp_path / "other.safetensors")


def test_a_cut_file_is_refused(network, tmp_path):
    path = tmp_path / "a.safetensors"
    save_model(path, network, SMALL, working_size=None)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"a.safetensors: not readable as safetensors"):
        load_model(path)


def test_weights_of_another_configuration_are_refused(network, tmp_path):
    path = tmp_path / "a.safetensors"
    save_model(path, network, replace(SMALL, width=0.25), working_size=None)
    with pytest.raises(CheckpointError, match="weights and configuration do not fit each other"):
        load_model(path)


def test_an_unknown_name_is_told_what_there_is(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such weight file; expected a path, or a model of the kit"):
        load_model(tmp_path / "nothing.safetensors")


def test_the_description_is_plain_json(network, tmp_path):
    save_model(tmp_path / "a.safetensors", network, SMALL, working_size=32, recipe={"lr": 1e-3})
    assert json.loads(json.dumps(about(tmp_path / "a.safetensors")))["recipe"] == {"lr": 1e-3}


@pytest.mark.parametrize("size", [224, 97])
def test_a_sure_answer_stays_a_probability(network, size):
    sure = AtWorkingSize(network, 256)
    network.forward = lambda images, return_features: Localization(torch.ones_like(images[:, :1]), (), {})  # noqa: ARG005
    mask = sure(torch.rand(1, 3, size, size)).mask
    assert mask.max() <= 1
    assert mask.min() > 0.999
