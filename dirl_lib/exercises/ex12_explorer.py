"""Exercises of notebook 12: exposure in linear light, how strong an edit must be, who is answered."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dirl_lib.exercises.checking import Wrong, exercise, expect_close

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@exercise(
    "12.1",
    "exposure",
    hints=[
        "A displayed value is no amount of light; to_linear makes one of it.",
        "A stop doubles the light: times 2**stops.",
        "from_linear(to_linear(shown) * 2**stops), then clip to [0, 1].",
    ],
)
def check_expose(answer: Callable[[NDArray[np.float64], float], NDArray[np.float64]]) -> str:
    import numpy as np

    from dirl_lib.synthesis.editing import from_linear, to_linear

    colors = np.linspace(0, 1, 12).reshape(4, 3)
    for stops in (0.0, 1.0, -2.0, 0.5):
        found = answer(colors.copy(), stops)
        unclipped = from_linear(to_linear(colors) * 2**stops)
        slips: dict[str, Any] = {
            "Those are displayed values times 2**stops; light is what doubles.": np.clip(colors * 2**stops, 0, 1),
            "That is light; turn it into displayed values again.": np.clip(to_linear(colors) * 2**stops, 0, 1),
            "A stop is a factor of 2, not an amount that is added.": np.clip(
                from_linear(to_linear(colors) + stops), 0, 1
            ),
            "One stop is twice the light: 2**stops, not stops.": np.clip(from_linear(to_linear(colors) * stops), 0, 1),
            "A screen shows nothing above 1: clip.": unclipped,
        }
        right = unclipped.clip(0, 1)
        if _agrees(found, right):
            continue
        advice = next((words for words, value in slips.items() if _agrees(found, value)), "Is it light that you scale?")
        expect_close(f"the colours after {stops:g} stops", found, right, hint=advice)
    return "The slider of a photo editor is this line, and it moves light as a lamp or a cloud would."


@exercise(
    "12.2",
    "how strong it must be",
    hints=[
        "Walk along the strengths until the probability exceeds the threshold.",
        "The crossing lies between the last point below and the first above; a straight line joins them.",
        "s0 + (s1 - s0) * (threshold - p0) / (p1 - p0); 0.0 if the first point is above, infinity if none is.",
    ],
)
def check_seen_from(answer: Callable[[Sequence[float], Sequence[float], float], float]) -> str:
    cases = {
        "a curve that crosses half-way": ([0.0, 0.5, 1.0], [0.1, 0.4, 0.6], 0.5, 0.75),
        "a curve with a steep step": ([0.0, 0.25, 0.5, 1.0], [0.0, 0.1, 0.9, 0.9], 0.3, 0.3125),
        "a curve that comes down again": ([0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 0.8, 0.2, 0.6, 1.0], 0.4, 0.125),
        "a region that is marked untouched": ([0.0, 0.5, 1.0], [0.7, 0.6, 0.9], 0.5, 0.0),
        "an edit that is never seen": ([0.0, 0.5, 1.0], [0.0, 0.1, 0.2], 0.5, math.inf),
    }
    for name, (strengths, inside, threshold, right) in cases.items():
        found = answer(list(strengths), list(inside), threshold)
        if not _agrees(found, right):
            advice = _crossing_advice(found, strengths, inside, threshold, right)
            expect_close(f"the strength for {name}", found, right, hint=advice)
    return "One number an edit, so that edits, photographs and networks can be compared."


def _crossing_advice(
    found: object, strengths: Sequence[float], inside: Sequence[float], threshold: float, right: float
) -> str:
    above = [strength for strength, value in zip(strengths, inside, strict=True) if value > threshold]
    if not above:
        return "Where no strength suffices, the answer is infinity."
    if right == 0:
        return "The untouched picture is above the threshold already: 0.0."
    if _agrees(found, above[0]):
        return "That is the first measured strength above; the crossing lies before it."
    largest = [strength for strength, value in zip(strengths, inside, strict=True) if value <= threshold][-1]
    if largest > above[0]:
        return "The first crossing is asked for; this curve has several."
    return "Between two points the curve is straight."


@exercise(
    "12.3",
    "who is answered",
    hints=[
        "Keep the time at which the worker is free again.",
        "When it is free, it takes the newest request that has come by then; if none has, it waits for the next one.",
        "newest = the last i with arrivals[i] <= free; the next search begins after it.",
    ],
)
def check_answered(answer: Callable[[Sequence[float], float], list[int]]) -> str:
    cases: dict[str, tuple[list[float], float, list[int]]] = {
        "requests far apart": ([0.0, 1.0, 2.0], 0.3, [0, 1, 2]),
        "three while the first is computed": ([0.0, 0.1, 0.2, 0.25], 0.3, [0, 3]),
        "a drag and a last move": ([0.0, 0.1, 0.2, 0.35, 0.45, 1.0], 0.3, [0, 2, 4, 5]),
        "no request": ([], 0.3, []),
        "a slow network": ([0.0, 0.1, 0.2, 0.3, 0.4, 0.5], 10.0, [0, 5]),
    }
    for name, (arrivals, cost, right) in cases.items():
        found = answer(list(arrivals), cost)
        if not isinstance(found, list):
            raise Wrong(f"a list of positions is asked for, found a {type(found).__name__}.")
        if found == right:
            continue
        advice = "When the worker is free, it takes the newest that has come."
        if found == list(range(len(arrivals))):
            advice = "That is a queue: it answers all, long after the hand has stopped."
        elif right and found == right[-1:]:
            advice = "What is being computed is finished and shown; only what waits is dropped."
        elif right and right[-1] not in found:
            advice = "The last move must be answered, or the picture stays wrong."
        elif found and found[0] == 0 and len(found) > 1 and len(right) > 1 and found[1] < right[1]:
            advice = "The oldest that waits is not the newest."
        raise Wrong(
            f"for {name}, arrivals {arrivals} and {cost:g} s each, you answer {found}, expected {right}. {advice}"
        )
    return "A picture is at most two computations old, the one in hand and its own, however fast the hand is."


def _agrees(found: object, expected: object) -> bool:
    import numpy as np

    given, right = np.asarray(found), np.asarray(expected)
    return given.dtype.kind in "fiu" and given.shape == right.shape and bool(np.allclose(given, right, atol=1e-5))
