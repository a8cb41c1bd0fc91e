"""Exported networks answer as the network does."""

import json
from dataclasses import replace

import pytest
import torch

from dirl_lib.cli import main
from dirl_lib.export import METADATA, export_onnx, export_program
from dirl_lib.models import PRESETS
from dirl_lib.models.dirl import build_dirl
from dirl_lib.weights import save_model

SIZE = (40, 56)  # no multiples of 16, so that padding and cropping are in the file
SMALL = replace(PRESETS["paper"], width=0.125)
PLAIN = replace(PRESETS["row-01"], width=0.125)  # no attention; exported in a third of the time


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_dirl(SMALL).to(memory_format=torch.contiguous_format).eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(3, 3, *SIZE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def answer(network, images):
    """Mask and attention maps of the three images."""
    with torch.no_grad():
        found = network(images)
    return found.mask, *found.attention


def agree(found, answer, batch):
    assert len(found) == len(answer) == 6
    for ours, expected in zip(found, answer, strict=True):
        torch.testing.assert_close(torch.as_tensor(ours), expected[:batch], rtol=0, atol=1e-5)


def test_the_program_answers_as_the_network_for_any_batch_and_says_what_it_is(network, images, answer, tmp_path):
    export_program(network, tmp_path / "a.pt2", SIZE)
    extra = {METADATA: ""}
    program = torch.export.load(tmp_path / "a.pt2", extra_files=extra).module()
    for batch in (1, 3):
        with torch.no_grad():
            agree(program(images[:batch]), answer, batch)
    facts = json.loads(extra[METADATA])
    assert (facts["height"], facts["width"]) == SIZE
    assert facts["parameters"] == sum(weight.numel() for weight in network.parameters())


def test_onnx_answers_as_the_network_for_any_batch_and_says_what_it_is(network, images, answer, tmp_path):
    pytest.importorskip("onnx", reason="writing ONNX needs the packages onnx and onnxscript")
    pytest.importorskip("onnxscript", reason="writing ONNX needs the packages onnx and onnxscript")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime runs what was exported")
    export_onnx(network, tmp_path / "a.onnx", SIZE)
    session = runtime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        agree(session.run(None, {"images": images[:batch].numpy()}), answer, batch)
    (taken,) = session.get_inputs()
    assert (taken.name, taken.shape) == ("images", ["batch", 3, *SIZE])
    assert [each.name for each in session.get_outputs()] == ["mask", *(f"attention_{k}" for k in range(1, 6))]
    assert json.loads(session.get_modelmeta().custom_metadata_map[METADATA])["height"] == SIZE[0]
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_exporting_leaves_a_network_in_training_as_it_was(tmp_path):
    network = build_dirl(PLAIN).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    export_program(network, tmp_path / "a.pt2", (32, 32))
    assert all(module.training for module in network.modules())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    found = torch.export.load(tmp_path / "a.pt2").module()(torch.rand(1, 3, 32, 32))
    with torch.no_grad():
        assert [tuple(each.shape) for each in found] == [(1, 1, 32, 32)]


def test_what_cannot_be_exported_meets_one_line(network, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"a\.pth: found the ending '\.pth', expected \.pt2"):
        export_program(network, tmp_path / "a.pth", SIZE)
    with pytest.raises(ValueError, match=r"a\.pt2: found the ending '\.pt2', expected \.onnx"):
        export_onnx(network, tmp_path / "a.pt2", SIZE)
    with pytest.raises(ValueError, match=r"found a size of 16 x 64, expected at least 32 x 32"):
        export_program(network, tmp_path / "a.pt2", (16, 64))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match=r"found no package onnx and onnxscript.*pip install"):
        export_onnx(network, tmp_path / "a.onnx", SIZE)


def test_the_command_exports_at_the_working_size(tmp_path, capsys, monkeypatch):
    save_model(tmp_path / "w.safetensors", build_dirl(PLAIN), PLAIN, working_size=48)
    weights = str(tmp_path / "w.safetensors")
    assert main(["export", weights, str(tmp_path / "a.pt2")]) == 0
    assert "a.pt2: takes images (B, 3, 48, 48)" in capsys.readouterr().out
    assert torch.export.load(tmp_path / "a.pt2").module()(torch.rand(1, 3, 48, 48))[0].shape == (1, 1, 48, 48)
    assert main(["export", weights, str(tmp_path / "a.bin")]) == 1
    assert "expected .onnx or .pt2" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert main(["export", weights, str(tmp_path / "a.onnx"), "--size", "32", "64"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
