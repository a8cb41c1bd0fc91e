"""The preset "released" gives the numbers of the authors' implementation (reference numbers, golden)."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden import disc_mask, fill_tensor, make_input, sample_index

from dirl_lib.checkpoints import load_released, released_key
from dirl_lib.losses import released_losses
from dirl_lib.models import DIRL, create_model
from dirl_lib.types import Localization

pytestmark = pytest.mark.golden


def filled(backbone: str = "resnet34") -> DIRL:
    model = create_model("released", backbone=backbone)
    weights = {
        key: torch.from_numpy(fill_tensor(released_key(key)[1], tuple(value.shape)))
        for key, value in model.state_dict().items()
    }
    model.load_state_dict(weights)
    return model.eval()


@pytest.fixture(scope="module")
def model() -> DIRL:
    return filled()


@pytest.fixture(scope="module")
def golden(reference: Path) -> dict[str, np.ndarray]:
    with np.load(reference / "released_golden.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def scalars(reference: Path) -> dict:
    return json.loads((reference / "released_golden_scalars.json").read_text())


@pytest.fixture(scope="module")
def manifest(reference: Path) -> dict:
    return json.loads((reference / "released_manifest.json").read_text())


def as_returned(answer: Localization) -> np.ndarray:
    """A_5..A_1, each resized to the size of r_1: the form in which the released code returns them."""
    size = answer.attention[0].shape[-2:]
    maps = [F.interpolate(a, size=size, mode="bilinear", align_corners=False) for a in reversed(answer.attention)]
    return torch.cat(maps, dim=1)[0].numpy()


def sample(tensor: torch.Tensor) -> np.ndarray:
    flat = tensor.detach().numpy().ravel()
    return flat[sample_index(flat.size)]


def test_the_fill_rule_has_the_stored_check_sums(scalars, manifest):
    for part in ("encoder", "decoder"):
        entries = [fill_tensor(e["key"], tuple(e["shape"])).astype(np.float64) for e in manifest[part]]
        check = scalars["fill_check"][part]
        assert sum(e.size for e in entries) == check["elements"]
        assert sum(e.sum() for e in entries) == pytest.approx(check["sum"], rel=1e-9)
        assert sum((e**2).sum() for e in entries) == pytest.approx(check["sum_of_squares"], rel=1e-9)


@pytest.mark.parametrize(("backbone", "file"), [("resnet34", ""), ("resnet50", "_resnet50")])
def test_our_keys_translate_to_exactly_the_keys_of_the_released_files(reference, backbone, file):
    manifest = json.loads((reference / f"released_manifest{file}.json").read_text())
    with torch.device("meta"):
        state = create_model("released", backbone=backbone).state_dict()
    ours = {released_key(key): list(value.shape) for key, value in state.items()}
    theirs = {(part, e["key"]): e["shape"] for part in ("encoder", "decoder") for e in manifest[part]}
    never_used = {key for key in theirs if ".d0.conv4." in key[1]}
    assert len(never_used) == 6
    assert ours == {key: shape for key, shape in theirs.items() if key not in never_used}
    assert len(ours) == len(state)


@pytest.mark.parametrize("size", [64, 224])
def test_mask_and_attention_are_the_references(model, golden, size):
    images = make_input(size)
    stored = golden["input_64"] if size == 64 else golden["input_224_every8"]
    np.testing.assert_allclose(images if size == 64 else images[..., ::8, ::8], stored, atol=1e-6)
    with torch.no_grad():
        answer = model.localize(torch.from_numpy(images))
    np.testing.assert_allclose(answer.mask.numpy(), golden[f"mask_{size}"], atol=1e-5, rtol=0)
    np.testing.assert_allclose(as_returned(answer), golden[f"att_{size}"], atol=1e-5, rtol=0)


def test_features_of_every_stage_are_the_references(model, golden):
    inside: dict[str, torch.Tensor] = {}
    for k, block in enumerate(model.refinement, start=1):
        block.spatial_gate.register_forward_pre_hook(lambda _, x, k=k: inside.update({f"ca{k}": x[0]}))
    for j, block in zip((2, 1, 0), model.decoder.blocks, strict=True):
        block.register_forward_hook(lambda _, __, out, j=j: inside.update({f"u{j}": out.top, f"g{j}": out.context}))
    model.decoder.head.register_forward_hook(lambda _, x, out: inside.update(head_in=x[0], logits=out))
    with torch.no_grad():
        answer = model.localize(torch.from_numpy(make_input(64)), return_features=True)
    for k in range(1, 6):
        r = answer.extras[f"r_{k}"]
        np.testing.assert_allclose(r.mean(dim=(2, 3)).numpy().ravel(), golden[f"r{k}_chmean_64"].ravel(), atol=1e-5)
        spread = r.std(dim=(2, 3), unbiased=False).numpy().ravel()
        np.testing.assert_allclose(spread, golden[f"r{k}_chstd_64"].ravel(), atol=1e-5)
        for ours, name in (
            (r, "r"),
            (answer.extras[f"b_{k}"], "b"),
            (inside[f"ca{k}"], "ca"),
            (answer.extras[f"a_{k}"], "a"),
        ):
            np.testing.assert_allclose(sample(ours), golden[f"{name}{k}_sample_64"], atol=1e-5, err_msg=f"{name}_{k}")
        np.testing.assert_allclose(answer.attention[k - 1][0, 0], golden[f"att_raw_{k}_64"].squeeze(), atol=1e-5)
    for j in (2, 1):
        np.testing.assert_allclose(sample(inside[f"u{j}"]), golden[f"d{j}_up_sample_64"], atol=1e-5)
        np.testing.assert_allclose(sample(inside[f"g{j}"]), golden[f"d{j}_bottom_sample_64"], atol=1e-5)
    # The authors' last block returns its logits and the up-sampled top stream in the places of the two streams.
    np.testing.assert_allclose(sample(inside["logits"]), golden["d0_up_sample_64"], atol=1e-5)
    np.testing.assert_allclose(sample(inside["head_in"]), golden["d0_bottom_sample_64"], atol=1e-5)


def test_a_batch_of_two_pictures_that_are_not_square(model, golden):
    x = make_input(64)
    batch = np.concatenate([x[..., :48], x[:, ::-1, ::-1, 16:]])
    with torch.no_grad():
        mask = model.localize(torch.from_numpy(batch.copy())).mask
    np.testing.assert_allclose(mask.numpy(), golden["mask_b2_64x48"], atol=1e-5, rtol=0)


def test_the_resnet50_variant(golden):
    model = filled("resnet50")
    with torch.no_grad():
        answer = model.localize(torch.from_numpy(make_input(64)))
    np.testing.assert_allclose(answer.mask.numpy(), golden["resnet50_mask_64"], atol=1e-5, rtol=0)
    every4 = as_returned(answer)[..., ::4, ::4]
    np.testing.assert_allclose(every4, golden["resnet50_att_64_every4"].reshape(every4.shape), atol=1e-5, rtol=0)


def test_one_training_step_has_the_references_losses_gradients_and_statistics(golden, scalars):
    model = filled().train()
    x = make_input(64)
    images = torch.from_numpy(np.concatenate([x, x[:, :, ::-1]]).copy())
    target = torch.from_numpy(disc_mask(2, 64, 64))
    expected = scalars["train_step"]
    optimisers = [
        torch.optim.Adam(parameters, lr=1e-4, weight_decay=1e-4)
        for parameters in (
            model.encoder.parameters(),
            [p for name, p in model.named_parameters() if not name.startswith("encoder.")],
        )
    ]

    answer = model.localize(images)
    losses = released_losses(answer, target)
    losses["total"].backward()

    np.testing.assert_allclose(answer.mask.detach().numpy(), golden["train_mask_64"], atol=1e-5, rtol=0)
    state = model.state_dict()
    for ours, name in (("encoder.stem.norm", "inbn"), ("refinement.0.spatial_gate.mix.norm", "mda0_bn")):
        for statistic in ("running_mean", "running_var"):
            np.testing.assert_allclose(state[f"{ours}.{statistic}"], golden[f"train_{name}_{statistic}"], atol=1e-5)
    for term in ("bce", "ssim", "iou"):
        assert losses[term].item() == pytest.approx(expected["detection"][term], rel=1e-4)
        assert losses[f"attention_{term}"].item() == pytest.approx(expected["attention"][term], rel=1e-4)
    assert losses["total"].item() == pytest.approx(expected["total"], rel=1e-4)

    gradients = {"/".join(released_key(name)): p.grad for name, p in model.named_parameters()}
    assert all(g is not None for g in gradients.values())
    assert all(".d0.conv4." in name for name in expected["grad_none"])
    for name, norm in expected["grad_norm"].items():
        assert gradients[name].norm().item() == pytest.approx(norm, rel=1e-3), name
    for part in ("encoder", "decoder"):
        squares = [g.double().pow(2).sum() for name, g in gradients.items() if name.startswith(part)]
        assert sum(squares).sqrt().item() == pytest.approx(expected[f"grad_norm_all_{part}"], rel=1e-3)

    for optimiser in optimisers:
        optimiser.step()
    again = released_losses(model.localize(images), target)
    assert again["total"].item() == pytest.approx(expected["total_after_1_step"], rel=1e-2)
    detection = sum(again[term].item() for term in ("bce", "ssim", "iou"))
    assert detection == pytest.approx(expected["detection_after_1_step"], rel=1e-2)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_full_size_pair_of_released_files_loads_key_for_key(golden, manifest, tmp_path, prefix):
    paths = {}
    for part in ("encoder", "decoder"):
        weights = {
            prefix + e["key"]: torch.from_numpy(np.asarray(fill_tensor(e["key"], tuple(e["shape"]))))
            for e in manifest[part]
        }
        # The two oddities of the released files: the epoch is a word, and `opt` is a schedule that holds a Counter.
        content = {"epoch": "best", "best_acc": 0.65, "state_dict": weights, "opt": {"milestones": Counter([30, 40])}}
        paths[part] = tmp_path / f"{part}_epochbest.pth"
        torch.save(content, paths[part])
    loaded = load_released(paths["encoder"], paths["decoder"])
    assert not loaded.training
    with torch.no_grad():
        mask = loaded.localize(torch.from_numpy(make_input(64))).mask
    np.testing.assert_allclose(mask.numpy(), golden["mask_64"], atol=1e-5, rtol=0)
