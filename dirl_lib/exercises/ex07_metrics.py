"""Exercises of notebook 07: IoU from F1, a perfect ranking without a decision, the best threshold."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dirl_lib.exercises.checking import Wrong, exercise, expect_close

if TYPE_CHECKING:
    from torch import Tensor


@exercise(
    "07.1",
    "IoU from F1",
    hints=[
        "Multiply F = 2 I / (1 + I) by the denominator.",
        "F + F I = 2 I; bring everything with I to one side.",
        "F = I (2 - F), so I = F / (2 - F).",
    ],
)
def check_iou_from_f1(answer: Callable[[float], float]) -> str:
    for iou in (0.5, 0.25, 0.0, 1.0, 0.9):
        f1 = 2 * iou / (1 + iou)
        found = answer(f1)
        advice = "Put your result into 2 I / (1 + I): do you get F back?"
        if abs(float(found) - 2 * f1 / (1 + f1)) < 1e-6:
            advice = "That is the way from IoU to F1; here the way back is asked for."
        elif abs(float(found) - f1 / 2) < 1e-6:
            advice = "The I in the denominator counts, too."
        expect_close(f"the IoU for F1 = {f1:.3f}", found, iou, hint=advice)
    return "An F1 of 0.8 sounds better than the IoU of 0.667 that it is."


@exercise(
    "07.2",
    "the blind champion",
    hints=[
        "AP looks at the order only; IoU looks at who is above 0.5.",
        "Every pixel of the region must stand above every other pixel, and none above 0.5.",
        "0.4 * mask does it.",
    ],
)
def check_blind_champion(answer: Callable[[Tensor], Tensor]) -> str:
    import torch

    generator = torch.Generator().manual_seed(72)
    for shape in ((1, 1, 4, 4), (1, 1, 9, 6)):
        mask = (torch.rand(shape, generator=generator) < 0.4).float()
        _judge_champion(answer(mask.clone()), mask)
    return "A perfect ranking without a single decision: AP cannot see it, IoU sees nothing else."


def _judge_champion(prediction: object, mask: Tensor) -> None:
    import torch

    from dirl_lib.metrics import average_precision, iou_score

    if not isinstance(prediction, torch.Tensor) or prediction.shape != mask.shape:
        found = tuple(prediction.shape) if isinstance(prediction, torch.Tensor) else type(prediction).__name__
        raise Wrong(f"the prediction should be a tensor of shape {tuple(mask.shape)}, it is {found}.")
    prediction = prediction.float()
    if not bool(((prediction >= 0) & (prediction <= 1)).all()):
        raise Wrong(f"probabilities lie in [0, 1], yours reach from {prediction.min():.3g} to {prediction.max():.3g}.")
    ap, iou = average_precision(prediction, mask).item(), iou_score(prediction, mask).item()
    if iou > 0:
        raise Wrong(f"IoU is {iou:.3f}, expected 0: some pixels of the region are above 0.5.")
    if ap < 1:
        raise Wrong(f"AP is {ap:.3f}, expected 1: every pixel of the region must stand above every other pixel.")


def _best_f1_cases() -> dict[str, tuple[Tensor, Tensor]]:
    import torch

    generator = torch.Generator().manual_seed(73)
    truth = (torch.rand(60, generator=generator) < 0.3).float()
    scores = torch.rand(60, generator=generator) * 0.6 + 0.3 * truth
    return {
        "the eight pixels of section 2": (
            torch.tensor([0.95, 0.90, 0.80, 0.80, 0.60, 0.40, 0.30, 0.10]),
            torch.tensor([1.0, 1, 0, 1, 0, 1, 0, 0]),
        ),
        "eight pixels in disorder": (
            torch.tensor([0.1, 0.9, 0.3, 0.4, 0.2, 0.6, 0.8, 0.7]),
            torch.tensor([0.0, 0, 0, 1, 0, 0, 1, 1]),
        ),
        "sixty pixels without ties": (scores, truth),
        "sixty pixels with many ties": ((scores * 5).floor() / 5, truth),
        "one score everywhere": (torch.full((5,), 0.3), torch.tensor([1.0, 0, 0, 1, 0])),
    }


@exercise(
    "07.3",
    "the best threshold",
    hints=[
        "Sort by score. If the k highest pixels are predicted, F1 is 2 * found / (k + positives).",
        "found = truth[order].cumsum(0) gives the number found for every k at once.",
        "Only the last pixel of a run of equal scores is a possible cut: s[1:] != s[:-1], and the very last one.",
    ],
)
def check_best_f1(answer: Callable[[Tensor, Tensor], float]) -> str:
    for name, (scores, truth) in _best_f1_cases().items():
        found = answer(scores.clone(), truth.clone())
        advice = _best_f1_advice(found, scores, truth)
        expect_close(f"the best F1 of {name}", found, _best_f1(scores, truth), hint=advice)
    return "It is never below the F1 at 0.5; the gap is what a better calibrated network would gain for free."


def _best_f1(scores: Tensor, truth: Tensor) -> float:
    """By trying every threshold."""
    return max(_f1(scores >= threshold, truth) for threshold in scores.tolist())


def _f1(predicted: Tensor, truth: Tensor) -> float:
    found = (predicted * truth).sum()
    return float(2 * found / (predicted.sum() + truth.sum()))


def _best_f1_advice(found: object, scores: Tensor, truth: Tensor) -> str:
    import torch

    k = torch.arange(1, len(scores) + 1)
    in_order = scores.sort(descending=True, stable=True).indices
    counts = truth[in_order].cumsum(0)
    hits_first = (scores.double() + 1e-9 * truth).sort(descending=True).indices
    slips = {
        "That is F1 at 0.5; try every threshold.": _f1(scores > 0.5, truth),
        "Sort the truth along with the scores: truth[order].": float((2 * truth.cumsum(0) / (k + truth.sum())).max()),
        "Pixels of equal score enter together; your best cut parts some of them.": float(
            (2 * counts / (k + truth.sum())).max()
        ),
        "Pixels of equal score enter together, whatever their truth.": float(
            (2 * truth[hits_first].cumsum(0) / (k + truth.sum())).max()
        ),
        "That is the highest precision; F1 needs recall, too.": float((counts / k).max()),
    }
    given = torch.as_tensor(found)
    for advice, value in slips.items():
        if given.ndim == 0 and abs(float(given) - value) < 1e-5:
            return advice
    return "Predict the k highest pixels: F1 is 2 * found / (k + positives)."
