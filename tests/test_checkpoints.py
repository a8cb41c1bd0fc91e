"""Foreign weights: loaded whole, or refused whole with a sentence. Neither reference folder nor network is needed."""

import hashlib
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import resnet34

from dirl_lib import checkpoints
from dirl_lib.blocks import Encoder
from dirl_lib.checkpoints import CheckpointError, load_imagenet, load_released, released_key
from dirl_lib.cli import main
from dirl_lib.images import read_image, write_image
from dirl_lib.models import create_model
from dirl_lib.models.working_size import AtWorkingSize
from dirl_lib.prediction import predict_with


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A pair of files in the released form, with the weights of a fresh network."""
    torch.manual_seed(1)
    weights = {"encoder": {}, "decoder": {}}
    for key, value in create_model("released").state_dict().items():
        part, there = released_key(key)
        weights[part][there] = value
    twin = "decoder_layers.deconv.decoder.d0."
    weights["decoder"] |= {
        key.replace("conv_inup", "conv4"): value
        for key, value in weights["decoder"].items()
        if key.startswith(f"{twin}conv_inup")
    }
    folder = tmp_path_factory.mktemp("released")
    for part, state in weights.items():
        torch.save({"epoch": "best", "best_acc": 0.5, "state_dict": state}, folder / f"{part}.pth")
    return {part: folder / f"{part}.pth" for part in weights}


def changed(path: Path, out: Path, change) -> Path:
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, out)
    return out


def test_a_pair_of_files_gives_back_the_network(files):
    torch.manual_seed(1)
    expected = create_model("released").state_dict()
    found = load_released(files["encoder"], files["decoder"]).state_dict()
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_dirl_predict_takes_the_authors_files_and_shows_them_224_pixels(files, tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    write_image(tmp_path / "photo.png", photo)
    pair = [str(files[part]) for part in ("encoder", "decoder")]
    assert main(["predict", str(tmp_path / "photo.png"), "-o", str(tmp_path / "out"), "--released", *pair]) == 0
    expected = predict_with(AtWorkingSize(load_released(*pair), 224), photo)
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "photo_heat.png"), expected.heat_map())


def test_missing_unexpected_and_misshapen_keys_are_named(files, tmp_path):
    def damage(content):
        state = content["state_dict"]
        state["stranger.weight"] = state.pop("inconv.weight")
        state["inbn.bias"] = torch.zeros(3)

    path = changed(files["encoder"], tmp_path / "damaged.pth", damage)
    message = (
        r"damaged\.pth: .*released encoder \(resnet34\); 1 missing: inconv\.weight; "
        r"1 unexpected: stranger\.weight; 1 of another shape: inbn\.bias is \(3,\) instead of \(64,\)"
    )
    with pytest.raises(CheckpointError, match=message):
        load_released(path, files["decoder"])


def test_encoder_and_decoder_in_each_others_place_are_refused(files):
    with pytest.raises(CheckpointError, match=r"decoder\.pth: these are not the weights of the released encoder"):
        load_released(files["decoder"], files["encoder"])


def test_another_backbone_is_refused(files):
    with pytest.raises(CheckpointError, match=r"released encoder \(resnet50\); .* missing"):
        load_released(files["encoder"], files["decoder"], backbone="resnet50")


class Bomb:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_file_that_carries_code_is_refused_and_the_code_never_runs(files, tmp_path):
    trap, victim = tmp_path / "trap.pth", tmp_path / "victim"
    torch.save({"state_dict": {"inconv.weight": Bomb(victim)}}, trap)
    with pytest.raises(CheckpointError, match=r"trap\.pth: not readable"):
        load_released(trap, files["decoder"])
    assert not victim.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>Too many requests</html>", "not readable as a weight file"),
        (b"", "not readable as a weight file"),
        (pickle.dumps({"state_dict": {}}, protocol=2), "not readable as a weight file"),
    ],
)
def test_a_file_that_is_no_weight_file_is_refused(files, tmp_path, content, words):
    path = tmp_path / "page.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=words) as caught:
        load_released(path, files["decoder"])
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_refused(files, tmp_path):
    path = tmp_path / "half.pth"
    path.write_bytes(files["encoder"].read_bytes()[:1_000_000])
    with pytest.raises(CheckpointError, match=r"half\.pth: not readable"):
        load_released(path, files["decoder"])


def test_a_dict_without_state_dict_is_refused(files, tmp_path):
    path = tmp_path / "bare.pth"
    torch.save({"weights": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="has the entries weights, expected `state_dict`"):
        load_released(path, files["decoder"])


def test_entries_that_are_not_tensors_are_refused(files, tmp_path):
    path = changed(files["encoder"], tmp_path / "odd.pth", lambda c: c["state_dict"].update(note="hello"))
    with pytest.raises(CheckpointError, match="the entries note are not tensors"):
        load_released(path, files["decoder"])


def test_a_missing_file_is_named(files):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth: no such weight file"):
        load_released("nowhere.pth", files["decoder"])


@pytest.fixture(scope="module")
def imagenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the form of torchvision's, with eight digits of its hash in the name as the download expects."""
    torch.manual_seed(2)
    path = tmp_path_factory.mktemp("server") / "resnet34.pth"
    torch.save(resnet34(weights=None).state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return path.rename(path.with_name(f"resnet34-{digest[:8]}.pth"))


def assert_stages_come_from(encoder: Encoder, path: Path) -> None:
    state = torch.load(path, weights_only=True)
    for stage, layer in enumerate(("layer1", "layer2", "layer3", "layer4")):
        for key, value in encoder.stages[stage].state_dict().items():
            assert torch.equal(value, state[f"{layer}.{key}"])


def test_a_local_file_fills_stages_1_to_4_and_nothing_else(imagenet_file):
    encoder = Encoder()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    assert load_imagenet(encoder, source=imagenet_file)
    assert_stages_come_from(encoder, imagenet_file)
    for key, value in encoder.state_dict().items():
        if not key.startswith("stages."):
            assert torch.equal(value, before[key]), key


def test_the_download_is_checked_against_its_hash_and_kept(imagenet_file, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setitem(checkpoints.IMAGENET_URL, "resnet34", imagenet_file.as_uri())
    encoder = Encoder()
    assert load_imagenet(encoder)
    assert_stages_come_from(encoder, imagenet_file)
    assert (tmp_path / "hub" / "checkpoints" / imagenet_file.name).is_file()


def test_without_a_network_there_is_one_warning_and_the_weights_stay_random(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setitem(checkpoints.IMAGENET_URL, "resnet34", (tmp_path / "resnet34-00000000.pth").as_uri())
    encoder = Encoder()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert not load_imagenet(encoder)
    assert len(caught) == 1
    assert "could not be downloaded" in str(caught[0].message)
    assert "pass its path as `source`" in str(caught[0].message)
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


def test_a_download_with_the_wrong_hash_is_refused(imagenet_file, tmp_path, monkeypatch):
    wrong = imagenet_file.with_name("resnet34-deadbeef.pth")
    wrong.write_bytes(imagenet_file.read_bytes())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setitem(checkpoints.IMAGENET_URL, "resnet34", wrong.as_uri())
    with pytest.raises(CheckpointError, match="hash"):
        load_imagenet(Encoder())


def test_imagenet_weights_do_not_fit_another_width_or_backbone(imagenet_file):
    with pytest.raises(CheckpointError, match=r"torchvision's resnet34 at width 1; .* of another shape"):
        load_imagenet(Encoder(width=0.5), source=imagenet_file)
    with pytest.raises(CheckpointError, match="torchvision's resnet50"):
        load_imagenet(Encoder("resnet50"), source=imagenet_file)
