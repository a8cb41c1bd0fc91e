"""How a predicted mask is judged: average precision, F1 and IoU, image by image (supplement, section 2)."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dirl_lib.checks import check_masks, check_probabilities, check_same_shape

THRESHOLD = 0.5
EPSILON = 1e-6  # of the released code, in the denominators of precision, recall, F1 and IoU

Protocol = Literal["paper", "released"]


class ImageScores(NamedTuple):
    """The scores of a batch, one number an image, each (B,)."""

    ap: Tensor
    f1: Tensor
    iou: Tensor
    area: Tensor
    """Share of the image that is predicted inharmonious."""
    defined: Tensor
    """Bool: the ground truth has an inharmonious pixel. Elsewhere there is nothing to find, and AP is 0 by rule."""


class MeanScores(NamedTuple):
    """The scores of a data set: every image weighs the same, images without an inharmonious pixel are left out."""

    ap: float | None
    f1: float | None
    iou: float | None
    images: int
    """How many images are in the means."""
    undefined: int
    """How many images were left out because their ground truth is empty."""
    false_alarm: float | None
    """Mean predicted area of the images left out: a perfect system has 0."""


@torch.no_grad()
def average_precision(prediction: Tensor, mask: Tensor) -> Tensor:
    """Area under the steps of the precision-recall curve: sum over thresholds of (R_n - R_(n-1)) P_n.

    Exact: every distinct value of the prediction is a threshold, pixels of equal value enter together. The same
    number as `sklearn.metrics.average_precision_score`, for a whole batch at once.

    Args:
        prediction: (B, 1, H, W), probabilities in [0, 1].
        mask: (B, 1, H, W), in {0, 1}; 1 = inharmonious.

    Returns:
        (B,), float64 in [0, 1]; 0 by rule where the mask is empty, as nothing can be recalled.

    Raises:
        TypeError, ValueError: see `dirl_lib.checks`.
    """
    prediction, mask = _flat(prediction, mask)
    scores, order = prediction.sort(dim=1, descending=True)
    true_positives = mask.gather(1, order).double().cumsum(dim=1)
    predicted = torch.arange(1, scores.shape[1] + 1, device=scores.device)
    precision = true_positives / predicted
    # A threshold stands after the last pixel of a run of equal values; only there does the curve have a point.
    at_threshold = torch.ones_like(scores, dtype=torch.bool)
    at_threshold[:, :-1] = scores[:, :-1] != scores[:, 1:]
    reached = torch.where(at_threshold, true_positives, 0).cummax(dim=1).values
    gained = reached.diff(dim=1, prepend=torch.zeros_like(reached[:, :1]))
    return (gained * precision).sum(dim=1) / true_positives[:, -1].clamp(min=1)


@torch.no_grad()
def average_precision_256(prediction: Tensor, mask: Tensor) -> Tensor:
    """Average precision over 256 thresholds (supplement, eq. 1).

    The equation reads sum_n (R_(n+1) - R_n) P_n, n = 0..255, and leaves three things open. We read: threshold n
    is n/255 and a pixel is positive when its prediction is not below it; as recall falls with the threshold, the
    steps are taken with the positive sign, R_n - R_(n+1); R_256 = 0, because nothing lies above the last
    threshold. So this is the exact AP of a prediction rounded down to 8 bits.

    Same arguments, returns and errors as `average_precision`. Where a network is confident, many pixels fall
    between two thresholds, and the two differ.
    """
    check_probabilities(prediction)
    return average_precision((prediction * 255).floor() / 255, mask)


@torch.no_grad()
def f1_score(prediction: Tensor, mask: Tensor, *, threshold: float = THRESHOLD) -> Tensor:
    """F1 = 2 TP / (2 TP + FP + FN) of each image (supplement, eq. 2 with beta = 1).

    Args:
        prediction: (B, 1, H, W), probabilities in [0, 1]; a pixel is positive when it is strictly above `threshold`.
        mask: (B, 1, H, W), in {0, 1}; 1 = inharmonious.
        threshold: the paper's is 0.5.

    Returns:
        (B,), float64 in [0, 1]; where the mask is empty: 1 if the prediction is empty too, else 0.

    Raises:
        TypeError, ValueError: see `dirl_lib.checks`.
    """
    hits, predicted, actual = _counts(*_flat(prediction, mask), threshold)
    return _ratio(2 * hits, predicted + actual)


@torch.no_grad()
def iou_score(prediction: Tensor, mask: Tensor, *, threshold: float = THRESHOLD) -> Tensor:
    """IoU = TP / (TP + FP + FN) of each image (supplement, eq. 3). Otherwise as `f1_score`."""
    hits, predicted, actual = _counts(*_flat(prediction, mask), threshold)
    return _ratio(hits, predicted + actual - hits)


def min_max_stretch(prediction: Tensor) -> Tensor:
    """Each image stretched to [0, 1]: (p - min) / (max - min), as the released code does before it measures.

    Where the range is below 0.01 only the minimum is taken off, so that flat maps are not blown up to noise; an
    all-one mask becomes all-zero by that.

    Args:
        prediction: (B, 1, H, W), in [0, 1].

    Returns:
        The same shape, in [0, 1].

    Raises:
        TypeError, ValueError: see `dirl_lib.checks`.
    """
    check_probabilities(prediction)
    low, high = prediction.amin(dim=(1, 2, 3), keepdim=True), prediction.amax(dim=(1, 2, 3), keepdim=True)
    spread = high - low
    return (prediction - low) / torch.where(spread < 0.01, 1, spread)


@torch.no_grad()
def score_images(prediction: Tensor, mask: Tensor, *, protocol: Protocol = "paper") -> ImageScores:
    """AP, F1 and IoU of each image of a batch.

    Args:
        prediction: (B, 1, H, W), probabilities in [0, 1].
        mask: (B, 1, H, W), in {0, 1}; 1 = inharmonious.
        protocol: "paper" measures the prediction as it is, with exact AP (`average_precision_256` is the literal
            reading of the supplement). "released" first stretches prediction and mask (`min_max_stretch`) and adds
            1e-6 to each denominator, as the released code does with one image at a time.

    Returns:
        `ImageScores`. For an empty mask AP is 0 and, where the prediction is empty too, F1 and IoU are 1 under
        "paper"; all else is 0.

    Raises:
        TypeError, ValueError: see `dirl_lib.checks`.
    """
    defined = _flat(prediction, mask)[1].any(dim=1)
    if protocol == "released":
        prediction, mask = min_max_stretch(prediction), min_max_stretch(mask)
        f1, iou = _scores_with_epsilon(prediction, mask)
    else:
        f1, iou = f1_score(prediction, mask), iou_score(prediction, mask)
    area = (prediction > THRESHOLD).to(f1.device).double().mean(dim=(1, 2, 3))  # Apple's GPUs have no float64
    return ImageScores(average_precision(prediction, mask), f1, iou, area, defined)


def mean_scores(batches: Sequence[ImageScores]) -> MeanScores:
    """Means over all images of all batches, each image weighing the same whatever the size of its batch.

    Args:
        batches: results of `score_images`.

    Returns:
        `MeanScores`; a mean over no image at all is None.
    """
    if len(batches) == 0:
        return MeanScores(ap=None, f1=None, iou=None, images=0, undefined=0, false_alarm=None)
    scores = ImageScores(*(torch.cat([part.cpu() for part in parts]) for parts in zip(*batches, strict=True)))
    defined = scores.defined
    return MeanScores(
        ap=_mean(scores.ap[defined]),
        f1=_mean(scores.f1[defined]),
        iou=_mean(scores.iou[defined]),
        images=int(defined.sum()),
        undefined=int((~defined).sum()),
        false_alarm=_mean(scores.area[~defined]),
    )


def _flat(prediction: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Both tensors checked, one row an image."""
    check_probabilities(prediction)
    check_masks(mask, binary=True)
    check_same_shape(prediction, mask)
    if prediction.device.type == "mps":  # has no float64
        prediction, mask = prediction.cpu(), mask.cpu()
    return prediction.flatten(1), mask.flatten(1)


def _counts(prediction: Tensor, mask: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
    """Of each image: pixels rightly predicted (TP), pixels predicted (TP + FP), pixels of the mask (TP + FN)."""
    positive, actual = prediction > threshold, mask > 0.5
    hits = (positive & actual).sum(dim=1).double()
    return hits, positive.sum(dim=1).double(), actual.sum(dim=1).double()


def _scores_with_epsilon(prediction: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """F1 and IoU as the released code adds its epsilons."""
    hits, predicted, actual = _counts(*_flat(prediction, mask), THRESHOLD)
    precision, recall = hits / (predicted + EPSILON), hits / (actual + EPSILON)
    f1 = 2 * precision * recall / (precision + recall + EPSILON)
    return f1, hits / (predicted + actual - hits + EPSILON)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole; 1 where both are empty."""
    return torch.where(whole == 0, 1, part / whole.clamp(min=1))


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if len(values) else None
