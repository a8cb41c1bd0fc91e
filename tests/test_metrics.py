"""Metrics against scikit-learn, the released numbers, properties, and pixels counted by hand."""

import json
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from dirl_lib.metrics import (
    ImageScores,
    average_precision,
    average_precision_256,
    f1_score,
    iou_score,
    mean_scores,
    min_max_stretch,
    score_images,
)

seeds = st.integers(0, 2**31)


def pair(seed, *, batch=2, side=12, levels=None, positive=0.3):
    """Predictions and masks; with `levels` the predictions hold only so many values, so that ties abound."""
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.rand(batch, 1, side, side, generator=generator)
    if levels is not None:
        prediction = (prediction * levels).floor() / levels
    mask = (torch.rand(batch, 1, side, side, generator=generator) < positive).float()
    mask[:, :, 0, 0], mask[:, :, 0, 1] = 1, 0
    return prediction, mask


def row(values):
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


def sklearn_ap(prediction, mask):
    """AP of each image by scikit-learn, which warns and gives 0 where there is nothing to find."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        values = [
            sklearn_metrics.average_precision_score(m.flatten().numpy(), p.flatten().numpy())
            for p, m in zip(prediction, mask, strict=True)
        ]
    return torch.tensor(values, dtype=torch.float64)


# The released numbers ------------------------------------------------------------------------------------------

SINGLE_IMAGE_CASES = [
    "generic",
    "quantised_to_5_levels",
    "low_range_pred",
    "range_below_eps",
    "constant_pred",
    "perfect",
    "inverted",
    "empty_gt",
    "full_gt",
    "single_pixel_gt",
    "pred_at_exactly_half",
]
FLOAT32 = {"rtol": 1e-6, "atol": 1e-7}  # the released F1 and IoU were computed in float32


def golden_metric(reference, case):
    with np.load(reference / "released_golden.npz") as stored:
        prediction, mask = stored[f"metric_{case}_pred"], stored[f"metric_{case}_gt"]
    scores = json.loads((reference / "released_golden_scalars.json").read_text())["metrics"][case]
    return torch.from_numpy(prediction), torch.from_numpy(mask), scores


@pytest.mark.golden
@pytest.mark.parametrize("case", SINGLE_IMAGE_CASES)
def test_the_released_protocol_gives_the_released_numbers(reference, case):
    prediction, mask, golden = golden_metric(reference, case)
    scores = score_images(prediction, mask, protocol="released")
    torch.testing.assert_close(scores.ap.item(), golden["AP"], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(scores.f1.item(), golden["F1"], **FLOAT32)
    torch.testing.assert_close(scores.iou.item(), golden["IoU"], **FLOAT32)


@pytest.mark.golden
@pytest.mark.parametrize("case", SINGLE_IMAGE_CASES)
def test_the_stretch_has_the_released_extremes(reference, case):
    prediction, mask, golden = golden_metric(reference, case)
    stretched = min_max_stretch(prediction)
    torch.testing.assert_close(stretched.min().item(), golden["norm_pred_min"], **FLOAT32)
    torch.testing.assert_close(stretched.max().item(), golden["norm_pred_max"], **FLOAT32)
    assert min_max_stretch(mask).sum().item() == golden["norm_gt_sum"]


@pytest.mark.golden
def test_a_batch_under_the_released_stretch_of_the_whole_tensor(reference):
    """The released function stretches a whole tensor; the released evaluation hands it one image at a time.

    We stretch each image, so this case is stretched here, and measured without epsilon (hence the tolerance).
    """
    prediction, mask, golden = golden_metric(reference, "batch_of_2")
    whole = (prediction - prediction.min()) / (prediction.max() - prediction.min())
    torch.testing.assert_close(average_precision(whole, mask).mean().item(), golden["AP"], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(f1_score(whole, mask).mean().item(), golden["F1"], rtol=0, atol=2e-6)
    torch.testing.assert_close(iou_score(whole, mask).mean().item(), golden["IoU"], rtol=0, atol=2e-6)


# By hand -------------------------------------------------------------------------------------------------------


def test_average_precision_of_five_pixels_by_hand():
    """Sorted: hit, miss, hit, hit, miss. Precision at the hits: 1, 2/3, 3/4."""
    value = average_precision(row([0.9, 0.8, 0.7, 0.6, 0.5]), row([1, 0, 1, 1, 0]))
    torch.testing.assert_close(value.item(), (1 + 2 / 3 + 3 / 4) / 3)


def test_pixels_of_equal_value_enter_together_by_hand():
    """0.9 (hit), then three pixels at 0.5 with one hit: precision 1 for the first half, 2/4 for the second."""
    prediction = row([0.5, 0.9, 0.5, 0.5])
    for mask in ([1, 1, 0, 0], [0, 1, 1, 0], [0, 1, 0, 1]):
        torch.testing.assert_close(average_precision(prediction, row(mask)).item(), (1 + 2 / 4) / 2)


def test_256_thresholds_do_not_see_what_lies_between_two_of_them():
    """0.998 and 0.997 both lie between 254/255 and 1; told apart, AP is 1, merged it is the prevalence."""
    prediction, mask = row([0.998, 0.997]), row([1, 0])
    assert average_precision(prediction, mask).item() == 1
    assert average_precision_256(prediction, mask).item() == 0.5


def test_iou_and_f1_of_two_squares_by_hand():
    """A 2 x 2 square moved by one column: TP 2, FP 2, FN 2."""
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2, :2] = 1
    prediction = mask.roll(1, dims=3)
    torch.testing.assert_close(iou_score(prediction, mask).item(), 1 / 3)
    torch.testing.assert_close(f1_score(prediction, mask).item(), 1 / 2)


def test_a_pixel_exactly_at_the_threshold_is_negative():
    prediction, mask = row([0.5, 0.75]), row([1, 1])
    assert iou_score(prediction, mask).item() == 0.5
    assert iou_score(prediction, mask, threshold=0.75).item() == 0
    torch.testing.assert_close(f1_score(prediction, mask, threshold=0.25).item(), 1.0)


def test_the_stretch_by_hand():
    torch.testing.assert_close(min_max_stretch(row([0.2, 0.3, 0.4])), row([0, 0.5, 1]))
    torch.testing.assert_close(min_max_stretch(row([0.2, 0.205])), row([0, 0.005]))
    assert not min_max_stretch(row([1, 1, 1])).any()


def test_the_stretch_treats_each_image_alone():
    stretched = min_max_stretch(torch.cat([row([0.2, 0.4]), row([0.6, 0.9])]))
    torch.testing.assert_close(stretched, torch.cat([row([0, 1]), row([0, 1])]))


# scikit-learn --------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(seed=seeds, levels=st.sampled_from([None, 1, 2, 5, 40]), positive=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_average_precision_equals_scikit_learn(seed, levels, positive):
    prediction, mask = pair(seed, batch=3, levels=levels, positive=positive)
    torch.testing.assert_close(average_precision(prediction, mask), sklearn_ap(prediction, mask), rtol=0, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, contrast=st.sampled_from([1.0, 8.0, 30.0]))
def test_256_thresholds_equal_scikit_learn_on_rounded_predictions(seed, contrast):
    """Thresholds n/255 written out one by one: the index of the highest one that a pixel still reaches."""
    prediction, mask = pair(seed)
    prediction = torch.sigmoid(contrast * (prediction - 0.5 + 0.2 * mask)).double()
    index = torch.stack([prediction >= n / 255 for n in range(256)]).sum(dim=0) - 1
    expected = sklearn_ap(index.float(), mask)
    torch.testing.assert_close(average_precision_256(prediction, mask), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_256_thresholds_leave_an_8_bit_prediction_as_it_is(dtype):
    generator = torch.Generator().manual_seed(0)
    levels = torch.cat([torch.arange(256), torch.randint(256, (320,), generator=generator)]).view(1, 1, 24, 24)
    mask = (torch.rand(1, 1, 24, 24, generator=generator) < levels / 255).float()
    assert average_precision_256(levels.to(dtype) / 255, mask) == average_precision(levels.double() / 255, mask)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, threshold=st.floats(0.05, 0.95))
def test_f1_and_iou_equal_scikit_learn(seed, threshold):
    prediction, mask = pair(seed)
    for i in range(2):
        truth, predicted = mask[i].flatten().numpy(), (prediction[i] > threshold).flatten().numpy()
        expected_f1 = sklearn_metrics.f1_score(truth, predicted)
        expected_iou = sklearn_metrics.jaccard_score(truth, predicted)
        torch.testing.assert_close(f1_score(prediction, mask, threshold=threshold)[i].item(), float(expected_f1))
        torch.testing.assert_close(iou_score(prediction, mask, threshold=threshold)[i].item(), float(expected_iou))


# Properties ----------------------------------------------------------------------------------------------------

METRICS = {
    "ap": average_precision,
    "ap 256": average_precision_256,
    "f1": f1_score,
    "iou": iou_score,
}


@settings(max_examples=30, deadline=None)
@given(seed=seeds, positive=st.sampled_from([0.0, 0.3, 1.0]))
def test_all_lie_between_0_and_1_and_are_perfect_for_the_truth(seed, positive):
    prediction, mask = pair(seed, positive=positive)
    for metric in METRICS.values():
        value = metric(prediction, mask)
        assert value.dtype == torch.float64
        assert value.shape == (2,)
        assert ((value >= 0) & (value <= 1)).all()
        torch.testing.assert_close(metric(mask, mask), torch.ones(2, dtype=torch.float64))


@settings(max_examples=30, deadline=None)
@given(seed=seeds, levels=st.sampled_from([None, 4]))
def test_a_batch_is_its_single_images_and_pixels_have_no_place(seed, levels):
    prediction, mask = pair(seed, batch=3, levels=levels)
    shuffled = torch.randperm(144, generator=torch.Generator().manual_seed(seed))
    moved = [tensor.flatten(2)[..., shuffled].view_as(tensor) for tensor in (prediction, mask)]
    for metric in METRICS.values():
        together = metric(prediction, mask)
        alone = torch.cat([metric(prediction[i : i + 1], mask[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)
        torch.testing.assert_close(metric(*moved), together, rtol=0, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, power=st.floats(0.3, 3.0), low=st.floats(0, 0.4), high=st.floats(0.6, 1))
def test_average_precision_sees_only_the_order(seed, power, low, high):
    prediction, mask = pair(seed, levels=50)
    bent = low + (high - low) * prediction.double() ** power
    torch.testing.assert_close(average_precision(bent, mask), average_precision(prediction, mask), rtol=0, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, threshold=st.floats(0, 1))
def test_f1_is_a_function_of_iou_image_by_image_and_never_below_it(seed, threshold):
    prediction, mask = pair(seed)
    f1, iou = f1_score(prediction, mask, threshold=threshold), iou_score(prediction, mask, threshold=threshold)
    assert (iou <= f1).all()
    torch.testing.assert_close(f1, 2 * iou / (1 + iou))


@settings(max_examples=30, deadline=None)
@given(seed=seeds, constant=st.floats(0, 1, width=32))
def test_a_constant_prediction_scores_the_share_of_the_mask(seed, constant):
    mask = pair(seed)[1]
    prediction = torch.full_like(mask, constant)
    prevalence = mask.double().mean(dim=(1, 2, 3))
    torch.testing.assert_close(average_precision(prediction, mask), prevalence)
    torch.testing.assert_close(iou_score(torch.ones_like(mask), mask), prevalence)


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_two_wrongly_ordered_pixels_put_right_never_lower_ap(seed):
    prediction, mask = pair(seed, batch=1)
    better = prediction.clone()
    flat, truth = better.view(-1), mask.view(-1)
    miss, hit = flat.masked_fill(truth == 1, -1).argmax(), flat.masked_fill(truth == 0, 2).argmin()
    if flat[miss] > flat[hit]:
        pair_of_pixels = torch.stack([miss, hit])
        flat[pair_of_pixels] = flat[pair_of_pixels.flip(0)]
    assert average_precision(better, mask).item() >= average_precision(prediction, mask).item() - 1e-12


# Empty masks, protocols, means ---------------------------------------------------------------------------------

EMPTY = torch.zeros(2, 1, 4, 4)
SOMETHING_AND_NOTHING = torch.cat([torch.full((1, 1, 4, 4), 0.1), torch.zeros(1, 1, 4, 4)])
SOMETHING_AND_NOTHING[0, 0, 0] = 0.9


@pytest.mark.parametrize(("protocol", "both_empty"), [("paper", 1.0), ("released", 0.0)])
def test_an_empty_mask_is_scored_by_rule_and_never_nan(protocol, both_empty):
    scores = score_images(SOMETHING_AND_NOTHING, EMPTY, protocol=protocol)
    assert scores.ap.tolist() == [0, 0]
    assert scores.f1.tolist() == scores.iou.tolist() == [0, both_empty]
    assert scores.area.tolist() == [0.25, 0]
    assert scores.defined.tolist() == [False, False]


def test_the_paper_protocol_measures_the_prediction_as_it_is():
    prediction, mask = pair(3)
    prediction = 0.4 * prediction  # never above the threshold
    paper, released = score_images(prediction, mask), score_images(prediction, mask, protocol="released")
    assert not paper.iou.any()
    assert not paper.area.any()
    assert (released.iou > 0.1).all()
    torch.testing.assert_close(paper.ap, released.ap)
    torch.testing.assert_close(paper.ap, average_precision(prediction, mask))


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_the_protocols_differ_only_by_stretch_and_epsilon(seed):
    prediction, mask = pair(seed)
    paper, released = (
        score_images(min_max_stretch(prediction), mask),
        score_images(prediction, mask, protocol="released"),
    )
    for field in ("ap", "f1", "iou", "area"):
        torch.testing.assert_close(getattr(paper, field), getattr(released, field), rtol=0, atol=2e-5)


def test_means_weigh_each_image_the_same_whatever_its_batch():
    prediction, mask = pair(5, batch=5)
    whole = score_images(prediction, mask)
    parts = [score_images(prediction[:4], mask[:4]), score_images(prediction[4:], mask[4:])]
    means = mean_scores(parts)
    assert (means.images, means.undefined, means.false_alarm) == (5, 0, None)
    for name in ("ap", "f1", "iou"):
        torch.testing.assert_close(getattr(means, name), getattr(whole, name).mean().item())


def test_images_of_other_sizes_may_be_averaged():
    parts = [score_images(*pair(6, batch=1, side=8)), score_images(*pair(7, batch=1, side=20))]
    torch.testing.assert_close(mean_scores(parts).ap, (parts[0].ap + parts[1].ap).item() / 2)


def test_undefined_images_are_left_out_and_their_false_alarm_reported():
    prediction, mask = pair(8, batch=1, side=4)
    found = score_images(prediction, mask)
    means = mean_scores([found, score_images(SOMETHING_AND_NOTHING, EMPTY)])
    assert (means.images, means.undefined) == (1, 2)
    torch.testing.assert_close(means.false_alarm, 0.125)
    torch.testing.assert_close((means.ap, means.f1, means.iou), (found.ap.item(), found.f1.item(), found.iou.item()))


def test_a_mean_over_nothing_is_none():
    assert mean_scores([]) == (None, None, None, 0, 0, None)
    means = mean_scores([score_images(SOMETHING_AND_NOTHING, EMPTY)])
    assert means == (None, None, None, 0, 2, 0.125)


def test_scores_carry_no_gradient():
    prediction, mask = pair(9)
    scores = score_images(prediction.requires_grad_(), mask)
    assert isinstance(scores, ImageScores)
    assert not any(field.requires_grad for field in scores)


@pytest.mark.parametrize("metric", [*METRICS.values(), score_images])
@pytest.mark.parametrize(
    ("prediction", "mask", "error", "sentence"),
    [
        (torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2).bool(), TypeError, r"write mask.float\(\)"),
        (torch.zeros(1, 1, 2, 2).int(), torch.zeros(1, 1, 2, 2), TypeError, "prediction has dtype torch.int32"),
        (torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.25), ValueError, "4 values between 0 and 1"),
        (torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 4, 4), ValueError, "expected the same shape"),
        (torch.full((1, 1, 2, 2), -3.0), torch.zeros(1, 1, 2, 2), ValueError, "found minimum -3; logits"),
        (torch.full((1, 1, 2, 2), float("nan")), torch.zeros(1, 1, 2, 2), ValueError, "prediction holds 4 NaN"),
    ],
)
def test_bad_input_meets_one_clear_sentence(metric, prediction, mask, error, sentence):
    with pytest.raises(error, match=sentence):
        metric(prediction, mask)
