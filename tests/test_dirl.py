"""DIRL as a whole: presets, sizes, gradients, and what it says to bad input."""

import dataclasses

import pytest
import torch

from dirl_lib.losses import paper_losses
from dirl_lib.models import PRESETS, DIRLConfig, create_model, list_models

SMALL = 0.0625  # width: two channels where the paper has 32
ROWS = [f"row-{i:02d}" for i in range(1, 11)]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_the_presets_are_the_paper_the_release_cbam_and_the_ten_rows():
    assert list_models() == ["paper", "released", "cbam", "eca", "da", *ROWS]
    assert PRESETS["row-10"] == PRESETS["paper"]


# Supplement, Table 1: transition, refinement, decoder.
TABLE_1 = {
    "row-01": ("none", "-", "reg"),
    "row-02": ("none", "-", "ggd_sim"),
    "row-03": ("none", "-", "ggd"),
    "row-04": ("aim", "-", "ggd"),
    "row-05": ("bfi_down", "-", "ggd"),
    "row-06": ("bfi_up", "-", "ggd"),
    "row-07": ("bfi", "-", "ggd"),
    "row-08": ("none", "DA", "ggd"),
    "row-09": ("none", "MDA", "ggd"),
    "row-10": ("bfi", "MDA", "ggd"),
}


@pytest.mark.parametrize("row", ROWS)
def test_each_row_is_what_table_1_of_the_supplement_says(row):
    config = PRESETS[row]
    refinement = "-" if config.refinement == "none" else "MDA" if config.supervise_attention else "DA"
    assert (config.transition, refinement, config.decoder) == TABLE_1[row]


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_runs_forward_and_backward_and_every_parameter_learns(name):
    model = create_model(name, width=SMALL)
    images, masks = torch.rand(2, 3, 64, 48), (torch.rand(2, 1, 64, 48) > 0.7).float()
    answer = model(images)
    assert answer.mask.shape == (2, 1, 64, 48)
    assert answer.extras == {}
    sizes = [tuple(a.shape[-2:]) for a in answer.attention]
    has_attention = PRESETS[name].refinement != "none"
    assert sizes == ([(64 // 2**i, 48 // 2**i) for i in range(5)] if has_attention else [])
    # Without supervision the mask alone must reach every weight. Not so in the released decoder: a_1 never reaches the
    # mask, so what makes a_1 learns from A_1 alone.
    if name == "released":
        answer.mask.sum().backward()
        silent = {parameter for parameter, p in model.named_parameters() if p.grad is None}
        assert silent
        assert all(p.startswith(("transition.0.", "refinement.0.")) for p in silent)
        everything_of_level_1 = {
            p for p, _ in model.named_parameters() if p.startswith(("transition.0.", "refinement.0."))
        }
        assert silent == everything_of_level_1
        model.zero_grad()
        answer = model(images)
        paper_losses(answer, masks)["total"].backward()
    else:
        torch.nn.functional.binary_cross_entropy(answer.mask, masks).backward()
    without = [parameter for parameter, p in model.named_parameters() if p.grad is None]
    assert without == []
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (50, 61), (64, 96), (97, 32)])
def test_any_size_from_32_up_comes_back_at_its_own_size(size):
    model = create_model("paper", width=SMALL).eval()
    with torch.no_grad():
        answer = model(torch.rand(1, 3, *size), return_features=True)
    height, width = size
    expected = [(-(-height // 2**i), -(-width // 2**i)) for i in range(5)]
    assert tuple(answer.mask.shape[-2:]) == size
    assert [tuple(a.shape[-2:]) for a in answer.attention] == expected
    for letter in "rba":
        assert [tuple(answer.extras[f"{letter}_{k}"].shape[-2:]) for k in range(1, 6)] == expected
    assert ((answer.mask >= 0) & (answer.mask <= 1)).all()


def test_an_odd_size_is_answered_as_the_picture_continued_to_a_multiple_of_16():
    model = create_model("paper", width=SMALL).eval()
    images = torch.rand(1, 3, 40, 50)
    continued = torch.nn.functional.pad(images, (0, 14, 0, 8), mode="replicate")
    with torch.no_grad():
        torch.testing.assert_close(model(images).mask, model(continued).mask[..., :40, :50])


def test_images_of_a_batch_do_not_see_each_other_in_evaluation():
    model = create_model("paper", width=SMALL).eval()
    images = torch.rand(3, 3, 48, 48)
    with torch.no_grad():
        together, alone = model(images).mask, [model(image[None]).mask for image in images]
    torch.testing.assert_close(together, torch.cat(alone))


def test_forward_normalises_by_imagenets_statistics():
    model = create_model("paper", width=SMALL).eval()
    images = torch.rand(1, 3, 32, 32)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = ((images.permute(0, 2, 3, 1) - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        torch.testing.assert_close(model(images).mask, model.localize(normalised).mask)
    assert not {"mean", "std"} & model.state_dict().keys()


def test_parameter_counts_of_the_full_network():
    with torch.device("meta"):
        model, paper = create_model("released"), create_model("paper")
    count = sum(p.numel() for p in model.encoder.parameters())
    assert count == 35_438_976
    # The released files hold 9,280 more, of a layer that is never used.
    assert sum(p.numel() for p in model.parameters()) == 53_471_354 - 9_280
    # The paper's fourth block, and gates as in the figure.
    block = sum(p.numel() for p in paper.decoder.blocks[0].parameters())
    gates = sum(p.numel() for p in paper.refinement.parameters()) - sum(
        p.numel() for p in model.refinement.parameters()
    )
    assert sum(p.numel() for p in paper.parameters()) == 53_471_354 - 9_280 + block + gates


def test_width_scales_every_channel():
    quarter, full = create_model("paper", width=0.25).state_dict(), create_model("paper").state_dict()
    fixed = {1, 3}  # the picture's channels, and the one channel of every map
    for key, small in quarter.items():
        for s, f in zip(small.shape[:2], full[key].shape[:2], strict=True):
            assert s * 4 == f or (s == f and s in fixed), key


def test_the_answer_survives_export_and_the_export_agrees():
    model = create_model("paper", width=SMALL).eval()
    images = torch.rand(1, 3, 64, 64)
    exported = torch.export.export(model, (images,)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(images).mask, model(images).mask, rtol=1e-4, atol=1e-5)


BAD_IMAGES = {
    "8-bit": (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), TypeError, "255"),
    "0 to 255": (torch.full((1, 3, 32, 32), 255.0), ValueError, "255"),
    "one channel": (torch.zeros(1, 1, 32, 32), ValueError, "grey"),
    "alpha": (torch.zeros(1, 4, 32, 32), ValueError, "alpha"),
    "channels last": (torch.zeros(1, 32, 32, 3), ValueError, "permute"),
    "no batch": (torch.zeros(3, 32, 32), ValueError, "batch"),
    "too small": (torch.zeros(1, 3, 31, 64), ValueError, "32 x 32"),
    "NaN": (torch.full((1, 3, 32, 32), torch.nan), ValueError, "NaN"),
    "empty batch": (torch.zeros(0, 3, 32, 32), ValueError, "no pixels"),
    "no tensor": ([[0.0]], TypeError, "tensor"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_bad_images_are_refused_with_a_sentence(name):
    images, error, words = BAD_IMAGES[name]
    with pytest.raises(error, match=words):
        create_model("paper", width=SMALL)(images)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"transition": "bifi"}, "transition must be one of none, aim"),
        ({"refinement": "se"}, "refinement must be one of"),
        ({"decoder": "unet"}, "decoder must be one of"),
        ({"backbone": "vgg16"}, "backbone must be one of resnet34, resnet50"),
        ({"decoder_blocks": 5}, "decoder_blocks must be 3"),
        ({"width": 0.0}, "width must be positive"),
        ({"refinement": "none"}, "no attention to supervise"),
    ],
)
def test_an_impossible_configuration_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(DIRLConfig(), **change)


def test_an_unknown_model_is_refused_with_the_list():
    with pytest.raises(ValueError, match=r"no model is called 'drill'; there are paper, released"):
        create_model("drill")
