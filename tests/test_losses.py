"""Losses against the released numbers, two other SSIMs, numeric gradients and sums done by hand."""

import json
import math
import zlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from dirl_lib.losses import (
    LOSSES,
    attention_loss,
    bce_loss,
    iou_loss,
    paper_losses,
    released_losses,
    ssim_loss,
    ssim_map,
)
from dirl_lib.types import Localization

TERMS = {"bce": bce_loss, "ssim": ssim_loss, "iou": iou_loss}
FLOAT32 = {"rtol": 2e-6, "atol": 2e-6}  # two sums of the same float32 numbers in another order


def pair(seed, *, batch=2, height=20, width=16, dtype=torch.float64):
    """A soft prediction and a random mask."""
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.rand(batch, 1, height, width, generator=generator, dtype=dtype)
    mask = (torch.rand(batch, 1, height, width, generator=generator) < 0.4).to(dtype)
    return prediction, mask


def one_image(rows):
    return torch.tensor(rows, dtype=torch.float64)[None, None]


# The released numbers ------------------------------------------------------------------------------------------


def golden_pair(reference, case):
    """The pair of a golden case; `single_224` is not stored but follows a formula."""
    if case == "single_224":
        i, j = np.meshgrid(np.arange(224.0), np.arange(224.0), indexing="ij")
        mask = (((i - 0.45 * 224) / (0.25 * 224)) ** 2 + ((j - 0.5 * 224) / (0.2 * 224)) ** 2 < 1).astype(np.float32)
        noise = np.random.Generator(np.random.PCG64(zlib.crc32(b"lossB"))).standard_normal((1, 1, 224, 224))
        mask = mask[None, None]
        prediction = (1 / (1 + np.exp(-(2.5 * mask - 1.5 + 1.2 * noise)))).astype(np.float32)
        return torch.from_numpy(prediction), torch.from_numpy(mask)
    with np.load(reference / "released_golden.npz") as stored:
        prediction, target = stored[f"loss_{case}_pred"], stored[f"loss_{case}_target"]
    return torch.from_numpy(prediction), torch.from_numpy(target).float()


@pytest.fixture(scope="module")
def golden_losses(reference):
    return json.loads((reference / "released_golden_scalars.json").read_text())["losses"]


GOLDEN_CASES = ["pair_b2_48x40", "single_224", "empty_target", "full_target", "perfect", "inverted_hard"]


@pytest.mark.golden
@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_each_term_equals_the_released_number(reference, golden_losses, case):
    prediction, mask = golden_pair(reference, case)
    for name, term in TERMS.items():
        torch.testing.assert_close(term(prediction, mask).item(), golden_losses[case][name], **FLOAT32)


@pytest.mark.golden
@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_the_released_total_is_the_sum_of_three_terms(reference, golden_losses, case):
    prediction, mask = golden_pair(reference, case)
    losses = released_losses(Localization(prediction, (), {}), mask)
    assert list(losses) == ["bce", "ssim", "iou", "total"]
    torch.testing.assert_close(losses["total"].item(), golden_losses[case]["total"], **FLOAT32)


@pytest.mark.golden
def test_the_released_sum_over_a_mask_and_two_maps(reference, golden_losses):
    predictions, masks = zip(*(golden_pair(reference, f"multi{i}") for i in range(3)), strict=True)
    losses = released_losses(Localization(predictions[0], predictions[1:], {}), masks[0])
    summed = golden_losses["multi_sum_over_3"]
    torch.testing.assert_close(losses["total"].item(), summed["total"], **FLOAT32)
    for name in TERMS:
        torch.testing.assert_close((losses[name] + losses[f"attention_{name}"]).item(), summed[name], **FLOAT32)


# By hand -------------------------------------------------------------------------------------------------------

HALF_RIGHT = one_image([[0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
CORNER = one_image([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def test_bce_of_four_doubtful_pixels_by_hand():
    """Four pixels cost log 2, twelve nothing; the mean is over sixteen."""
    torch.testing.assert_close(bce_loss(HALF_RIGHT, CORNER).item(), 4 * math.log(2) / 16)


def test_soft_iou_by_hand():
    """Intersection 4 x 0.5 = 2, union 2 + 4 - 2 = 4."""
    torch.testing.assert_close(iou_loss(HALF_RIGHT, CORNER).item(), 0.5)


def test_iou_of_two_overlapping_squares_by_hand():
    """The square moved by one column: 2 pixels shared, 6 covered."""
    torch.testing.assert_close(iou_loss(CORNER.roll(1, dims=3), CORNER).item(), 1 - 2 / 6)


def test_iou_is_a_mean_over_images_not_over_pixels():
    prediction = torch.cat([CORNER, torch.ones_like(CORNER)])
    mask = torch.cat([CORNER, CORNER])
    torch.testing.assert_close(iou_loss(prediction, mask).item(), (0 + 12 / 16) / 2)


def test_ssim_of_two_constants_by_hand():
    """Inside, variances are 0 and only the luminance factor is left."""
    a, b = torch.full((1, 1, 11, 11), 0.2).double(), torch.full((1, 1, 11, 11), 0.6).double()
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    torch.testing.assert_close(ssim_map(a, b, padding="valid").item(), expected)


def test_attention_target_of_a_coarse_pixel_is_the_share_of_its_area():
    """A 2 x 2 map over a 4 x 4 mask whose corner has three of four pixels: the best answer there is 3/4."""
    mask = one_image([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    attention = one_image([[0.6, 0], [0, 0]])
    expected = -(0.75 * math.log(0.6) + 0.25 * math.log(0.4)) / 4
    torch.testing.assert_close(attention_loss((attention,), mask).item(), expected)


def test_attention_at_image_size_enlarges_bilinearly():
    """One row of two cells becomes four: 1, 3/4, 1/4, 0 with align_corners=False."""
    attention, mask = one_image([[1.0, 0.0]]), one_image([[1.0, 1.0, 0.0, 0.0]])
    expected = -2 * math.log(0.75) / 4
    torch.testing.assert_close(attention_loss((attention,), mask, compare_at="image").item(), expected)


# Other implementations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(11, 11), (12, 31), (40, 40)])
def test_valid_ssim_equals_scikit_image(height, width):
    prediction, mask = pair(1, batch=1, height=height, width=width)
    oracle, whole = structural_similarity(
        prediction[0, 0].numpy(),
        mask[0, 0].numpy(),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
        full=True,
    )
    inside = torch.from_numpy(whole)[5:-5, 5:-5]
    torch.testing.assert_close(ssim_map(prediction, mask, padding="valid")[0, 0], inside, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ssim_loss(prediction, mask, padding="valid").item(), 1 - oracle, rtol=1e-9, atol=1e-9)


def test_valid_ssim_equals_torchmetrics():
    prediction, mask = pair(2, height=40, width=32)
    _, whole = structural_similarity_index_measure(
        prediction, mask, data_range=1.0, sigma=1.5, kernel_size=11, return_full_image=True
    )
    # torchmetrics pads by reflection; away from the border padding has no say
    torch.testing.assert_close(ssim_map(prediction, mask, padding="valid"), whole[..., 5:-5, 5:-5])


def test_zero_padded_ssim_is_valid_ssim_of_the_framed_maps():
    prediction, mask = pair(3)
    framed = [F.pad(tensor, (5, 5, 5, 5)) for tensor in (prediction, mask)]
    torch.testing.assert_close(ssim_map(prediction, mask), ssim_map(*framed, padding="valid"))


def test_bce_equals_the_formula_with_logits():
    generator = torch.Generator().manual_seed(4)
    logits = 3 * torch.randn(2, 1, 8, 8, generator=generator, dtype=torch.float64)
    mask = pair(4, height=8, width=8)[1]
    expected = F.binary_cross_entropy_with_logits(logits, mask)
    torch.testing.assert_close(bce_loss(logits.sigmoid(), mask), expected)


def test_shrinking_the_mask_equals_comparing_with_every_pixel_under_the_cell():
    mask = pair(5, height=32, width=48)[1]
    attention = [pair(6 + k, height=32 // 2**k, width=48 // 2**k)[0] for k in range(5)]
    per_pixel = [F.binary_cross_entropy(F.interpolate(a, size=(32, 48), mode="nearest"), mask) for a in attention]
    torch.testing.assert_close(attention_loss(attention, mask), torch.stack(per_pixel).sum())


# Gradients -----------------------------------------------------------------------------------------------------

SCALARS = TERMS | {
    "ssim valid": lambda p, m: ssim_loss(p, m, padding="valid"),
    "attention at map": lambda p, m: attention_loss((p, F.avg_pool2d(p, 2)), m),
    "attention at image": lambda p, m: attention_loss((p, F.avg_pool2d(p, 2)), m, compare_at="image"),
    "paper": lambda p, m: paper_losses(Localization(p, (F.avg_pool2d(p, 2),), {}), m)["total"],
    "released": lambda p, m: released_losses(Localization(p, (F.avg_pool2d(p, 2),), {}), m)["total"],
}


@pytest.mark.parametrize("name", SCALARS)
def test_gradients_equal_finite_differences(name):
    prediction, mask = pair(7, batch=1, height=12, width=12)
    prediction = (0.05 + 0.9 * prediction).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: SCALARS[name](p, mask), (prediction,))


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize("predicted", [0.0, 1.0, "mixed"])
@pytest.mark.parametrize("truth", [0.0, 1.0, "mixed"])
def test_value_and_gradient_stay_finite_at_0_and_1(name, predicted, truth):
    """Exactly 0 and 1, right and wrong, empty and full; in float32, as in training."""
    halves = torch.cat([torch.zeros(1, 1, 12, 6), torch.ones(1, 1, 12, 6)], dim=3)
    prediction = (halves.mT.clone() if predicted == "mixed" else torch.full_like(halves, predicted)).requires_grad_()
    mask = halves if truth == "mixed" else torch.full_like(halves, truth)
    value = SCALARS[name](prediction, mask)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(prediction.grad).all()


def test_bce_through_a_sigmoid_pulls_with_prediction_minus_mask():
    generator = torch.Generator().manual_seed(8)
    logits = torch.randn(1, 1, 4, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    bce_loss(logits.sigmoid(), CORNER).backward()
    torch.testing.assert_close(logits.grad, (logits.detach().sigmoid() - CORNER) / 16)


def test_empty_mask_and_empty_prediction_cost_no_iou():
    nothing = torch.zeros(2, 1, 4, 4, requires_grad=True)
    value = iou_loss(nothing, torch.zeros(2, 1, 4, 4))
    value.backward()
    assert value.item() == 0
    assert not nothing.grad.any()


# Properties ----------------------------------------------------------------------------------------------------

seeds = st.integers(0, 2**31)
sizes = st.integers(1, 24)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, height=sizes, width=sizes)
def test_every_term_is_bounded_and_zero_for_a_perfect_answer(seed, height, width):
    prediction, mask = pair(seed, height=height, width=width)
    for name, term in TERMS.items():
        assert 0 <= term(prediction, mask) <= {"bce": 100, "ssim": 2, "iou": 1}[name]
        torch.testing.assert_close(term(mask, mask).item(), 0.0, rtol=0, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, height=sizes, width=sizes)
def test_every_term_is_the_mean_of_its_single_images(seed, height, width):
    prediction, mask = pair(seed, batch=3, height=height, width=width)
    for term in TERMS.values():
        singles = torch.stack([term(prediction[i : i + 1], mask[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(term(prediction, mask), singles.mean())


@settings(max_examples=30, deadline=None)
@given(seed=seeds, turns=st.integers(0, 3), mirrored=st.booleans())
def test_turning_and_mirroring_both_changes_nothing(seed, turns, mirrored):
    prediction, mask = pair(seed)
    turned = [tensor.flip(3) if mirrored else tensor for tensor in (prediction, mask)]
    turned = [tensor.rot90(turns, dims=(2, 3)) for tensor in turned]
    for term in TERMS.values():
        torch.testing.assert_close(term(*turned), term(prediction, mask))


@settings(max_examples=30, deadline=None)
@given(seed=seeds, step=st.floats(0.05, 0.95))
def test_a_step_towards_the_mask_lowers_bce_and_iou(seed, step):
    prediction, mask = pair(seed)
    nearer = prediction + step * (mask - prediction)
    assert bce_loss(nearer, mask) < bce_loss(prediction, mask)
    assert iou_loss(nearer, mask) < iou_loss(prediction, mask)


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_ssim_is_symmetric_and_indifferent_to_the_order_of_images(seed):
    prediction, mask = pair(seed)
    torch.testing.assert_close(ssim_map(prediction, mask), ssim_map(mask, prediction))
    torch.testing.assert_close(ssim_map(prediction.flip(0), mask.flip(0)), ssim_map(prediction, mask).flip(0))


# The sums ------------------------------------------------------------------------------------------------------


def localization(*, levels=5):
    maps = tuple(pair(20 + k, height=math.ceil(33 / 2**k), width=math.ceil(40 / 2**k))[0] for k in range(levels))
    return Localization(pair(19, height=33, width=40)[0], maps, {}), pair(18, height=33, width=40)[1]


def test_the_papers_total_is_equation_3():
    answer, mask = localization()
    losses = paper_losses(answer, mask)
    assert list(losses) == ["bce", "ssim", "attention", "total"]
    expected = bce_loss(answer.mask, mask) + ssim_loss(answer.mask, mask) + 0.1 * attention_loss(answer.attention, mask)
    torch.testing.assert_close(losses["total"], expected)
    heavier = paper_losses(answer, mask, attention_weight=2.0)
    torch.testing.assert_close(heavier["total"] - losses["total"], 1.9 * losses["attention"])


def test_the_released_total_weighs_the_maps_as_the_mask():
    answer, mask = localization()
    losses = released_losses(answer, mask)
    assert list(losses) == ["bce", "ssim", "iou", "attention_bce", "attention_ssim", "attention_iou", "total"]
    torch.testing.assert_close(losses["total"], sum(value for name, value in losses.items() if name != "total"))
    torch.testing.assert_close(losses["attention_bce"], attention_loss(answer.attention, mask, compare_at="image"))
    alone = released_losses(answer, mask, attention_weight=0.0)["total"]
    torch.testing.assert_close(alone, losses["bce"] + losses["ssim"] + losses["iou"])


@pytest.mark.parametrize(("name", "terms"), [("paper", ["bce", "ssim"]), ("released", ["bce", "ssim", "iou"])])
def test_a_system_without_attention_maps_has_no_attention_terms(name, terms):
    prediction, mask = pair(9)
    losses = LOSSES[name](Localization(prediction, (), {}), mask)
    assert list(losses) == [*terms, "total"]
    torch.testing.assert_close(losses["total"], sum(losses[term] for term in terms))


@pytest.mark.parametrize("name", LOSSES)
def test_every_map_and_the_mask_get_a_gradient(name):
    answer, mask = localization()
    leaves = [tensor.requires_grad_() for tensor in (answer.mask, *answer.attention)]
    LOSSES[name](answer, mask)["total"].backward()
    assert all(leaf.grad.abs().sum() > 0 for leaf in leaves)


# Precision, compiling, errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_is_computed_in_float32(name, dtype):
    answer, mask = localization()
    half = Localization(answer.mask.to(dtype), tuple(a.to(dtype) for a in answer.attention), {})
    back = Localization(half.mask.float(), tuple(a.float() for a in half.attention), {})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = LOSSES[name](half, mask.float())
    for key, value in LOSSES[name](back, mask.float()).items():
        assert mixed[key].dtype == torch.float32
        torch.testing.assert_close(mixed[key], value)


def test_float64_stays_float64():
    prediction, mask = pair(10)
    for term in TERMS.values():
        assert term(prediction, mask.float()).dtype == torch.float64


@pytest.mark.parametrize("name", LOSSES)
def test_a_compiled_sum_is_the_same_sum(name):
    answer, mask = localization(levels=2)
    compiled = torch.compile(LOSSES[name], backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(answer, mask), LOSSES[name](answer, mask))


@pytest.mark.parametrize("term", [*TERMS.values(), lambda p, m: attention_loss((p,), m)])
@pytest.mark.parametrize(
    ("prediction", "mask", "error", "sentence"),
    [
        (torch.zeros(1, 1, 12, 12).long(), torch.zeros(1, 1, 12, 12), TypeError, "prediction has dtype torch.int64"),
        (torch.zeros(1, 1, 12, 12), torch.zeros(1, 1, 12, 12).bool(), TypeError, r"write mask.float\(\)"),
        (torch.zeros(1, 12, 12), torch.zeros(1, 12, 12), ValueError, "add the batch dimension"),
        (torch.full((1, 1, 12, 12), 1.5), torch.zeros(1, 1, 12, 12), ValueError, "found maximum 1.5; logits"),
        (torch.zeros(1, 1, 12, 12), torch.full((1, 1, 12, 12), 255.0), ValueError, "8-bit data, divide by 255"),
        (torch.full((1, 1, 12, 12), math.nan), torch.zeros(1, 1, 12, 12), ValueError, "prediction holds 144 NaN"),
    ],
)
def test_bad_input_meets_one_clear_sentence(term, prediction, mask, error, sentence):
    with pytest.raises(error, match=sentence):
        term(prediction, mask)


@pytest.mark.parametrize("term", TERMS.values())
def test_prediction_and_mask_of_different_size_are_refused(term):
    with pytest.raises(ValueError, match=r"prediction has shape \(1, 1, 12, 12\) and mask \(1, 1, 24, 24\)"):
        term(torch.zeros(1, 1, 12, 12), torch.zeros(1, 1, 24, 24))


def test_valid_ssim_of_a_small_map_says_what_to_do():
    with pytest.raises(ValueError, match=r'10 x 30 pixels, expected at least 11 x 11 for padding="valid"'):
        ssim_loss(torch.zeros(1, 1, 10, 30), torch.zeros(1, 1, 10, 30), padding="valid")


def test_no_attention_maps_are_refused():
    with pytest.raises(ValueError, match=r"attention is empty, expected the maps A_1\.\.A_5"):
        attention_loss((), torch.zeros(1, 1, 4, 4))
