"""Exercises of notebook 06: SSIM over flat background, the floor of the attention loss, soft Dice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dirl_lib.exercises.checking import Wrong, exercise, expect_close

if TYPE_CHECKING:
    from torch import Tensor

C1 = 0.01**2


@exercise(
    "06.1",
    "a clean background",
    hints=[
        "Write down C1 / (p**2 + C1) = 0.9 and solve it for p.",
        "p**2 = C1 / 0.9 - C1 = C1 * (1 / 0.9 - 1).",
        "Take the square root: p = (C1 * (1 / 0.9 - 1)) ** 0.5, a third of a hundredth.",
    ],
)
def check_largest_p(answer: float) -> str:
    p = float(answer)
    right = (C1 * (1 / 0.9 - 1)) ** 0.5
    advice = "Put your number into C1 / (p**2 + C1)."
    if abs(p - right**2) < 1e-7:
        advice = "That is p squared; take the square root."
    elif abs(p - (C1 / 0.9) ** 0.5) < 1e-6:
        advice = "C1 stands in the sum p**2 + C1, too: subtract it before you take the root."
    elif abs(p - (C1 * (1 / 0.1 - 1)) ** 0.5) < 1e-6:
        advice = "At this p SSIM is 0.1, and the loss is 0.9."
    elif p < 0 and abs(p + right) < 1e-6:
        advice = "The other root: a probability is not negative."
    expect_close("p", p, right, hint=advice, rtol=2e-2, atol=0)  # 0.0033 is right, too
    return (
        "A third of one percent is still too much for an SSIM above 0.9: hence the clean backgrounds of such networks."
    )


def _floor_masks() -> dict[str, Tensor]:
    import torch

    generator = torch.Generator().manual_seed(6)
    half = torch.zeros(1, 1, 4, 4)
    half[..., :1] = 1  # each cell of 2 x 2 on the left is half covered
    return {
        "a mask that covers half of some cells": half,
        "a random mask": (torch.rand(2, 1, 8, 12, generator=generator) < 0.3).float(),
        "an empty mask": torch.zeros(1, 1, 4, 8),
        "a full mask": torch.ones(1, 1, 8, 4),
    }


@exercise(
    "06.2",
    "the floor of the attention loss",
    hints=[
        "The best value of a cell is the share t of its pixels that is inharmonious: F.avg_pool2d(mask, cell).",
        "The cost of that value is the entropy -t log t - (1 - t) log(1 - t).",
        "torch.special.xlogy(t, t) is t log t with 0 log 0 = 0; average over all cells at the end.",
    ],
)
def check_smallest_bce(answer: Callable[[Tensor, int], Tensor]) -> str:
    import torch
    from torch.nn.functional import avg_pool2d

    from dirl_lib.losses import bce_loss

    for name, mask in _floor_masks().items():
        for cell in (2, 4):
            share = avg_pool2d(mask, cell)
            found = answer(mask.clone(), cell)
            what = f"the floor for {name}, cell {cell},"
            if not torch.isfinite(torch.as_tensor(found)).all():
                raise Wrong(f"{what} is not finite. 0 * log(0) is NaN for torch: use torch.special.xlogy(t, t).")
            right = bce_loss(share, share)
            expect_close(what, found, right, hint=_floor_advice(found, mask, share, right))
    return "Subtract it from the attention loss of a level, and what is left is what the network can still learn."


def _floor_advice(found: object, mask: Tensor, share: Tensor, right: Tensor) -> str:
    import torch

    given = torch.as_tensor(found, dtype=torch.float32)
    slips = {
        "Take the mean over the cells, not the sum.": right * share.numel(),
        "The second half, -(1 - t) log(1 - t), is missing.": -torch.special.xlogy(share, share).mean(),
        "Mind the sign: a cost is not negative.": -right,
        "Each cell has its own share t; take the entropy before the mean.": _entropy(mask.mean()),
        "That is in bits; BCE uses the natural logarithm.": right / torch.log(torch.tensor(2.0)),
    }
    for advice, value in slips.items():
        if torch.allclose(given, value, rtol=1e-4, atol=1e-6):
            return advice
    return "The best value of a cell is the mean of its pixels; its cost is the entropy of that mean."


def _entropy(share: Tensor) -> Tensor:
    import torch

    entropy: Tensor = -(torch.special.xlogy(share, share) + torch.special.xlogy(1 - share, 1 - share))
    return entropy


@exercise(
    "06.3",
    "soft Dice",
    hints=[
        "Flatten each image with .flatten(1) and sum over dim=1, so that a batch of B gives B numbers; average last.",
        "Where prediction and mask are both empty the divisor is 0: replace it before dividing, "
        "total.masked_fill(total == 0, 1).",
        "torch.where(total == 0, 0, 1 - 2 * shared / total.masked_fill(total == 0, 1)).mean()",
    ],
)
def check_dice_loss(answer: Callable[[Tensor, Tensor], Tensor]) -> str:
    import torch

    generator = torch.Generator().manual_seed(63)
    mask = (torch.rand(3, 1, 6, 5, generator=generator) < 0.3).float()
    mask[2, :, :5] = 0  # one image with a small region: here the mean over images is not that over pixels
    prediction = torch.rand(3, 1, 6, 5, generator=generator)
    singles = torch.stack([_dice(p, m) for p, m in zip(prediction, mask, strict=True)])
    slips = {
        "Each image first, then the mean over the images; you pooled the pixels of the batch.": _dice(prediction, mask),
        "That is the Dice score; the loss is 1 minus it.": 1 - singles.mean(),
        "The shared part counts twice: 2 I.": (1 + singles.mean()) / 2,
        "That is IoU; below the fraction stands sum p + sum m, without minus I.": (2 * singles / (1 + singles)).mean(),
        "Take the mean over the images, not the sum.": singles.sum(),
    }
    found = answer(prediction, mask)
    given = torch.as_tensor(found)
    advice = [text for text, value in slips.items() if given.ndim == 0 and torch.allclose(given, value, atol=1e-6)]
    expect_close("the loss of three images", found, singles.mean(), hint=advice[0] if advice else "")
    expect_close(
        "the loss of a perfect answer",
        answer(mask[:2], mask[:2]),
        0.0,
        hint="No epsilon: the divisor of an image with a region is never 0.",
        atol=1e-7,
    )
    _check_empty(answer)
    return "It ranks single masks as IoU does, but is steeper where little overlaps and gentler near the end."


def _check_empty(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    import torch

    empty = torch.zeros(2, 1, 3, 3)
    for what, prediction in {"is empty, too": empty.clone(), "is 0.2 everywhere": empty + 0.2}.items():
        prediction.requires_grad_()
        loss = answer(prediction, empty)
        right = 0.0 if what == "is empty, too" else 1.0
        hint = "Where both are empty, the loss is 0 by definition." if right == 0 else "Only 0/0 needs a definition."
        expect_close(f"the loss where the mask is empty and the prediction {what},", loss, right, hint=hint)
        if not isinstance(loss, torch.Tensor) or not loss.requires_grad:
            raise Wrong(
                f"The loss does not reach the prediction where the mask is empty and the prediction {what}: keep it a "
                f"tensor, without .item() or float(), and let even an image that costs a constant 0 depend on its "
                f"prediction, or backward() stops on a batch of such images."
            )
        loss.backward()  # type: ignore[no-untyped-call]
        if prediction.grad is None or not torch.isfinite(prediction.grad).all():
            raise Wrong(
                f"The gradient is not finite where the mask is empty and the prediction {what}. torch.where drops "
                f"the value of a branch but not its NaN gradient: make the divisor harmless before dividing."
            )


def _dice(prediction: Tensor, mask: Tensor) -> Tensor:
    return 1 - 2 * (prediction * mask).sum() / (prediction.sum() + mask.sum())
