"""Exercises of notebook 00: the area of a mask and the 50 % rule; a colour rule that looks around itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dirl_lib.exercises.checking import NotAttempted, Wrong, exercise, expect_close

if TYPE_CHECKING:
    from torch import Tensor


@exercise(
    "00.1",
    "the area of a region and the 50 % rule",
    hints=[
        "A mask holds only zeros and ones. What is the mean of such numbers?",
        "area = mask.mean().item(); the rule leaves out what is larger than one half.",
        "return area, area <= 0.5",
    ],
)
def check_area_and_rule(answer: Callable[[Tensor], tuple[float, bool]]) -> str:
    import torch

    masks = {side: torch.zeros(1, 4, 10) for side in (1, 5, 6)}
    for side, mask in masks.items():
        mask[:, :, :side] = 1
    for side, mask in masks.items():
        what = f"a mask that covers {side} of 10 columns"
        given = answer(mask)
        if not (isinstance(given, tuple | list) and len(given) == 2):
            raise Wrong(f"the function should return two things, (area, kept); for {what} it returned {given!r}.")
        if None in given:
            raise NotAttempted
        expect_close(f"the area of {what}", given[0], side / 10, hint=_area_advice(float(given[0]), mask))
        if bool(given[1]) != (side <= 5):
            verdict = "kept" if given[1] else "left out"
            raise Wrong(f"{what} is {verdict} by your function. The rule leaves out what covers more than one half.")
    return "This one line decides which composites of iHarmony4 the paper trains and tests on."


def _area_advice(area: float, mask: Tensor) -> str:
    if area == float(mask.sum()):
        return "That is the number of pixels; divide by how many there are."
    if abs(area - 100 * float(mask.mean())) < 1e-3:
        return "That is in per cent; asked for is a share between 0 and 1."
    if abs(area - 1 + float(mask.mean())) < 1e-3:
        return "That is the share of the background."
    return "The share of the pixels that are 1."


BAR = 0.30
# The two pictures on which the picture-wide rule of the notebook fails.
PICTURES = {"the drink": ("coffee", "drink", "xiao_ma"), "the pagoda": ("china", "pagoda", "histogram")}


@exercise(
    "00.2",
    "a colour rule that looks around itself",
    hints=[
        "odd_colour compares each pixel with the whole picture. Compare it with its surroundings: what is the mean "
        "colour around a pixel? A blur gives it, for all pixels at once.",
        "gaussian(lab, sigma, channel_axis=0) from skimage.filters blurs; take the distance of a slightly blurred "
        "picture and a strongly blurred one. The strong blur must reach beyond the region: try sigma 40 to 80.",
        "Light and shadow disturb: use only the two colour channels, rgb2lab(image.numpy(), channel_axis=0)[1:], with "
        "sigma 8 for the region and 60 for its surroundings.",
    ],
)
def check_odd_here(answer: Callable[[Tensor], Any]) -> str:
    from dirl_lib.data.sample import find_sample, load_sample

    scores, reversed_scores = {}, {}
    for name, wanted in PICTURES.items():
        sample = load_sample(find_sample(*wanted))
        scores[name], reversed_scores[name] = _score(answer(sample.image), sample.mask)
    if max(scores.values()) < BAR <= min(reversed_scores.values()):
        raise Wrong("the heat map is upside down: it is high where the picture fits and low where it does not.")
    listed = " and ".join(f"{score:.2f} on {name}" for name, score in scores.items())
    if min(scores.values()) < BAR:
        raise Wrong(
            f"your AP is {listed}, expected at least {BAR:.2f} on both. Compare every pixel with its surroundings, "
            f"not with the whole picture, and let the surroundings reach beyond the region."
        )
    return (
        f"AP {listed}. Which distance is right depends on the region: DIRL looks at five scales and learns from them."
    )


def _score(heat: Any, mask: Tensor) -> tuple[float, float]:
    """AP of a heat map of any range, and of its reverse, after everything that can be wrong with it."""
    import numpy as np
    import torch

    from dirl_lib.metrics import average_precision

    try:
        values = torch.from_numpy(np.array(heat, dtype=np.float64))
    except (TypeError, ValueError):
        raise Wrong(f"the function should return an array or tensor, it returned a {type(heat).__name__}.") from None
    if values.shape != mask.shape[1:]:
        raise Wrong(
            f"the heat map has the shape {tuple(values.shape)}, expected {tuple(mask.shape[1:])}: one number a pixel. "
            f"A distance of colours is the length of their difference, np.linalg.norm(difference, axis=0)."
        )
    if not values.isfinite().all():
        raise Wrong("the heat map holds NaN or infinity; is something divided by zero?")
    low, high = values.min(), values.max()
    if low == high:
        raise Wrong("the heat map is the same everywhere; a map that prefers no pixel cannot point at a region.")
    upright = ((values - low) / (high - low))[None, None]
    return average_precision(upright, mask[None]).item(), average_precision(1 - upright, mask[None]).item()
