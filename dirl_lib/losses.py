"""What training minimises: BCE, SSIM, soft IoU, the attention loss, and their two sums (section 3.5, eq. 1-3)."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dirl_lib.checks import check_masks, check_probabilities, check_same_shape
from dirl_lib.types import Localization

WINDOW_SIZE, WINDOW_SIGMA = 11, 1.5  # Wang et al., IEEE TIP 2004; BASNet, CVPR 2019. The paper names neither.
C1, C2 = 0.01**2, 0.03**2

Padding = Literal["zeros", "valid"]


def bce_loss(prediction: Tensor, mask: Tensor) -> Tensor:
    """L_bce: binary cross-entropy, the mean over batch and pixels (section 3.5).

    The paper writes a sum over the pixels; every sum of eq. 3 is balanced for a mean, which the released code takes.

    Args:
        prediction: (B, 1, H, W), probabilities in [0, 1].
        mask: (B, 1, H, W), in [0, 1]; a value between says which share of the pixel is inharmonious.

    Returns:
        Scalar in [0, 100]: logarithms are clamped at -100, so that value and gradient stay finite where the
        prediction is exactly 0 or 1. Computed in float32 also under mixed precision (float64 stays float64).

    Raises:
        TypeError, ValueError: see `dirl_lib.checks`.
    """
    prediction, mask = _prepared(prediction, mask)
    with torch.autocast(prediction.device.type, enabled=False):  # under autocast torch refuses BCE
        return F.binary_cross_entropy(prediction, mask)


def ssim_map(a: Tensor, b: Tensor, *, padding: Padding = "zeros") -> Tensor:
    """Structural similarity of the neighbourhoods of each pixel (Wang et al., 2004, eq. 13; the paper's eq. 1).

    Means, variances and the covariance are weighted by an 11 x 11 Gaussian window, sigma 1.5.

    Args:
        a, b: (B, 1, H, W), values in [0, 1].
        padding: what lies beyond the border. "zeros", the default, keeps the size and judges a mask that touches
            the frame, as the released code does; "valid" leaves the border out, as scikit-image and
            pytorch-msssim do.

    Returns:
        (B, 1, H, W) for "zeros", (B, 1, H - 10, W - 10) for "valid"; in [-1, 1], and 1 where a and b are equal.

    Raises:
        ValueError: a side shorter than 11 pixels and padding "valid".
        TypeError, ValueError: see `dirl_lib.checks`.
    """
    a, b = _prepared(a, b)
    margin = WINDOW_SIZE // 2 if padding == "zeros" else 0
    if padding == "valid" and min(a.shape[-2:]) < WINDOW_SIZE:
        raise ValueError(
            f"the maps are {a.shape[-2]} x {a.shape[-1]} pixels, expected at least {WINDOW_SIZE} x {WINDOW_SIZE} "
            f'for padding="valid": the window must fit inside; enlarge them or use padding="zeros"'
        )
    moments = _gaussian_mean(torch.stack([a, b, a * a, b * b, a * b]), margin)
    mean_a, mean_b, mean_aa, mean_bb, mean_ab = moments.unbind()
    variance_a, variance_b = mean_aa - mean_a**2, mean_bb - mean_b**2
    covariance = mean_ab - mean_a * mean_b
    luminance: Tensor = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    contrast_structure: Tensor = (2 * covariance + C2) / (variance_a + variance_b + C2)
    return luminance * contrast_structure


def ssim_loss(prediction: Tensor, mask: Tensor, *, padding: Padding = "zeros") -> Tensor:
    """L_ssim: 1 - the mean of `ssim_map` over batch and positions (eq. 1). Scalar in [0, 2]; same arguments."""
    return 1 - ssim_map(prediction, mask, padding=padding).mean()


def iou_loss(prediction: Tensor, mask: Tensor) -> Tensor:
    """1 - soft intersection over union of each image, then the mean. Only in the released code, not in the paper.

    The intersection is sum(p m), the union sum(p) + sum(m) - sum(p m).

    Args:
        prediction: (B, 1, H, W), probabilities in [0, 1].
        mask: (B, 1, H, W), in [0, 1].

    Returns:
        Scalar in [0, 1]. An image whose mask is empty costs 1 whatever is predicted, and teaches nothing; only a
        prediction of exactly 0 everywhere costs 0 there, by definition (0/0).

    Raises:
        TypeError, ValueError: see `dirl_lib.checks`.
    """
    prediction, mask = (tensor.flatten(1) for tensor in _prepared(prediction, mask))
    intersection = (prediction * mask).sum(dim=1)
    union = prediction.sum(dim=1) + mask.sum(dim=1) - intersection
    both_empty = union == 0
    # The divisor is replaced before dividing: a NaN in a branch that `where` drops would still reach the gradient.
    iou = intersection / union.masked_fill(both_empty, 1)
    return torch.where(both_empty, 0, 1 - iou).mean()


def attention_loss(attention: Sequence[Tensor], mask: Tensor, *, compare_at: Literal["map", "image"] = "map") -> Tensor:
    """L_aux: sum over the levels of the binary cross-entropy of A_k against the mask (eq. 2).

    Args:
        attention: A_1..A_5, each (B, 1, H/2^(k-1), W/2^(k-1)), in [0, 1].
        mask: (B, 1, H, W), in {0, 1}; 1 = inharmonious.
        compare_at: "map" (the paper) shrinks the mask to each A_k by averaging areas: the target of a coarse pixel
            is the inharmonious share of its area. As BCE is linear in the target, this is the mean BCE of A_k
            against the pixels that lie under it, exactly so where H and W are multiples of 2^(k-1). A threshold
            would lose small regions, picking one pixel would toss a coin. "image" (the released code) enlarges
            each A_k bilinearly to the size of the mask.

    Returns:
        Scalar, the mean over batch and pixels of each level, summed; finite for an all-zero and an all-one mask.

    Raises:
        ValueError: no attention maps.
        TypeError, ValueError: see `dirl_lib.checks`.
    """
    if len(attention) == 0:
        raise ValueError("attention is empty, expected the maps A_1..A_5; this system has none, so leave the term out")
    if compare_at == "map":
        pairs = [(a_k, _shrink(mask, a_k)) for a_k in attention]
    else:
        pairs = [(_enlarge(a_k, mask), mask) for a_k in attention]
    return torch.stack([bce_loss(a_k, target) for a_k, target in pairs]).sum()


def paper_losses(localization: Localization, mask: Tensor, *, attention_weight: float = 0.1) -> dict[str, Tensor]:
    """L_total = L_bce + L_ssim + 0.1 L_aux (eq. 3).

    Args:
        localization: what the model answered; without attention maps there is no attention term.
        mask: (B, 1, H, W), in {0, 1}; 1 = inharmonious.
        attention_weight: the paper's lambda.

    Returns:
        Scalars "bce", "ssim", "attention" (not weighted) and "total", which is to be minimised.
    """
    losses = {"bce": bce_loss(localization.mask, mask), "ssim": ssim_loss(localization.mask, mask)}
    total = losses["bce"] + losses["ssim"]
    if localization.attention:
        losses["attention"] = attention_loss(localization.attention, mask)
        total = total + attention_weight * losses["attention"]
    return {**losses, "total": total}


def released_losses(localization: Localization, mask: Tensor, *, attention_weight: float = 1.0) -> dict[str, Tensor]:
    """The sum that the released code minimises: BCE + SSIM + IoU for the mask and for each attention map.

    Args:
        localization: what the model answered; without attention maps their three terms are missing.
        mask: (B, 1, H, W), in {0, 1}; 1 = inharmonious. Each A_k is enlarged bilinearly to its size.
        attention_weight: of all three attention terms.

    Returns:
        Scalars "bce", "ssim", "iou" of the mask; "attention_bce", "attention_ssim", "attention_iou", each summed
        over the levels and not weighted; "total", which is to be minimised.
    """
    terms: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "bce": bce_loss,
        "ssim": ssim_loss,
        "iou": iou_loss,
    }
    losses = {name: term(localization.mask, mask) for name, term in terms.items()}
    total = torch.stack([*losses.values()]).sum()
    if localization.attention:
        enlarged = [_enlarge(a_k, mask) for a_k in localization.attention]
        for name, term in terms.items():
            losses[f"attention_{name}"] = torch.stack([term(a_k, mask) for a_k in enlarged]).sum()
            total = total + attention_weight * losses[f"attention_{name}"]
    return {**losses, "total": total}


LOSSES: dict[str, Callable[[Localization, Tensor], dict[str, Tensor]]] = {
    "paper": paper_losses,
    "released": released_losses,
}


def _prepared(prediction: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Both tensors checked and in float32, or in float64 if the prediction is."""
    check_probabilities(prediction)
    check_masks(mask)
    check_same_shape(prediction, mask)
    dtype = torch.float64 if prediction.dtype == torch.float64 else torch.float32
    return prediction.to(dtype), mask.to(dtype)


def _gaussian_mean(maps: Tensor, margin: int) -> Tensor:
    """Weighted mean under the window at each position: first along the rows, then along the columns.

    Shifted copies are added instead of calling a convolution: E[x^2] - E[x]^2 cancels, and the TF32 that cuDNN
    uses by default for convolutions would leave noise of the size of C2. It is also several times quicker on CPU.
    """
    offsets = range(-(WINDOW_SIZE // 2), WINDOW_SIZE // 2 + 1)
    weights = [math.exp(-(offset**2) / (2 * WINDOW_SIGMA**2)) for offset in offsets]
    maps = F.pad(maps, (margin, margin, margin, margin))
    for dim in (-1, -2):
        size = maps.shape[dim] - WINDOW_SIZE + 1
        blurred = torch.zeros_like(maps.narrow(dim, 0, size))
        for i, weight in enumerate(weights):
            blurred = blurred.add(maps.narrow(dim, i, size), alpha=weight / sum(weights))
        maps = blurred
    return maps


def _shrink(mask: Tensor, a_k: Tensor) -> Tensor:
    check_masks(mask)
    return F.interpolate(mask, size=a_k.shape[-2:], mode="area")


def _enlarge(a_k: Tensor, mask: Tensor) -> Tensor:
    check_probabilities(a_k, name="an attention map")
    check_masks(mask)
    a_k = a_k.to(torch.promote_types(a_k.dtype, mask.dtype))  # mixed precision hands over half floats
    enlarged = F.interpolate(a_k, size=mask.shape[-2:], mode="bilinear", align_corners=False)
    return enlarged.clamp(0, 1)  # weights that sum to 1 + 1e-7 would put a 1 outside what BCE accepts
