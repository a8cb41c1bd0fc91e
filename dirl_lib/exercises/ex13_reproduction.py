"""Exercises of notebook 13: the mean of the unseen, an honest choice, the interval of a difference."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from dirl_lib.exercises.checking import Wrong, exercise, expect_close

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Scores = NDArray[np.float64]
    Interval = tuple[float, float]
    IntervalOf = Callable[[Scores, Scores, NDArray[np.int64], np.random.Generator], Interval]


@exercise(
    "13.1",
    "the mean of the unseen",
    hints=[
        "A mean times its number of images is a sum. Which sum do you want, and which two do you have?",
        "mean_all * images - mean_seen * seen is the sum over the others. How many are they?",
        "Divide by images - seen.",
    ],
)
def check_unseen_mean(answer: Callable[[float, float, int, int], float]) -> str:
    for images, seen, mean_seen, expected in ((7237, 1820, 0.75, 0.65), (10, 9, 0.5, 0.1), (4, 1, 0.0, 0.8)):
        mean_all = (mean_seen * seen + expected * (images - seen)) / images
        found = answer(mean_all, mean_seen, images, seen)
        advice = "A mean times its number of images is a sum; subtract sums, not means."
        if abs(float(found) - mean_all * images / (images - seen) + mean_seen * seen / images) < 1e-9:
            advice = "Both sums must be divided by the same number."
        elif abs(float(found) - (mean_all * images - mean_seen * seen) / images) < 1e-9:
            advice = "That is the right sum; over how many images?"
        elif abs(float(found) - (2 * mean_all - mean_seen)) < 1e-9:
            advice = "Seen and unseen images are not equally many; weigh the means by their numbers."
        expect_close(f"the mean over {images - seen} unseen of {images} images", found, expected, hint=advice)
    return "Anybody can do this to a printed mean, if the paper gives the second one."


@exercise(
    "13.2",
    "an honest choice",
    hints=[
        "One mean for each checkpoint: mean(axis=1). Which of the two arrays may decide?",
        "validation.mean(axis=1).argmax() is the number of the checkpoint.",
        "The score to report is the mean of that row of the other array.",
    ],
)
def check_honest_choice(answer: Callable[[Scores, Scores], tuple[int, float]]) -> str:
    import numpy as np

    rng = np.random.default_rng(132)
    validation, test = rng.random((6, 40)), rng.random((6, 90))
    validation[4] += 0.2
    test[1] += 0.2
    validation[2, 0] = 5.0  # one image far above, on which nothing may depend
    for name, chosen, (v, t) in (
        ("six checkpoints", 4, (validation, test)),
        ("the same in another order", 1, (validation[::-1], test[::-1])),
        ("one checkpoint", 0, (validation[:1], test[:1])),
    ):
        found = answer(v.copy(), t.copy())
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise Wrong("return two things: the number of the checkpoint, and the score to report.")
        number, score = int(found[0]), found[1]
        if number != chosen:
            advice = "Compare means over the validation images."
            if number == int(t.mean(axis=1).argmax()):
                advice = "That one is the best on the test images; they have no say in the choice."
            raise Wrong(f"{name}: checkpoint {number} was chosen, expected {chosen}. {advice}")
        advice = "Report the mean over the test images of the chosen checkpoint."
        if np.isclose(score, v[chosen].mean()):
            advice = "That score was chosen by: it is the luckiest of all. Report one that had no say."
        elif np.isclose(score, t.mean(axis=1).max()):
            advice = "That is the best test score of any checkpoint; report that of the chosen one."
        expect_close(f"{name}: the score", score, float(t[chosen].mean()), hint=advice)
    return "The choice is made before the test list is opened, and the score that comes out is nobody's favourite."


@exercise(
    "13.3",
    "the interval of a difference",
    hints=[
        "Take a - b image by image first. Then there is one number an image, and its mean is what you want to know.",
        "Sum and count by photograph: np.bincount(photos, weights=a - b) and np.bincount(photos).",
        "drawn = rng.integers(P, size=P) draws P photographs; the mean is sums[drawn].sum() / counts[drawn].sum().",
    ],
)
def check_difference_interval(answer: IntervalOf) -> str:
    import numpy as np

    rng = np.random.default_rng(133)
    photos = np.concatenate([np.arange(240), np.repeat(np.arange(60), 4)])  # sixty of them have five images
    difficulty = rng.normal(0, 0.3, len(photos))
    together = rng.normal(0, 0.1, 240)[photos]
    a = difficulty + together + rng.normal(0.02, 0.02, len(photos))
    order = rng.permutation(len(photos))
    for name, (first, second, groups) in {
        "five images a photograph that agree": (a, difficulty, photos),
        "the same, shuffled": (a[order], difficulty[order], photos[order]),
        "one image a photograph": (a[:240], difficulty[:240], photos[:240]),
    }.items():
        found = answer(first.copy(), second.copy(), groups.copy(), np.random.default_rng(0))
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise Wrong("return two numbers: the low and the high end.")
        _judge_interval(name, (float(found[0]), float(found[1])), first, second, groups)
    return "Paired and by photograph: the narrowest interval that is honest, and the one that a claim has to survive."


def _judge_interval(name: str, found: Interval, a: Scores, b: Scores, photos: NDArray[np.int64]) -> None:
    """Width and middle against the standard error of a mean over clusters, which no bootstrap enters."""
    low, high = found
    if not low < high:
        raise Wrong(f"{name}: the low end {low:.4f} is not below the high end {high:.4f}.")
    difference = a - b
    expected = 1.96 * _clustered_error(difference, photos)
    half, middle = (high - low) / 2, (high + low) / 2
    if abs(middle - difference.mean()) > 0.25 * expected:
        raise Wrong(
            f"{name}: the interval lies around {middle:.4f}, expected {difference.mean():.4f}. "
            "Draw photographs with all their images, and take the mean over images."
        )
    if abs(half / expected - 1) < 0.12:
        return
    slips = {
        "Composites of one photograph succeed and fail together: draw photographs.": 1.96
        * _clustered_error(difference, range(len(difference))),
        "Draw the same photographs for both systems: take a - b first.": 1.96
        * math.hypot(_clustered_error(a, photos), _clustered_error(b, photos)),
        "That is an interval of 68 %; 95 % lies between the percentiles 2.5 and 97.5.": expected / 1.96,
        "That is an interval of 90 %; 95 % lies between the percentiles 2.5 and 97.5.": expected * 1.645 / 1.96,
        "That is the spread over images, not of their mean.": 1.96 * float(difference.std()),
    }
    advice, nearest = min(slips.items(), key=lambda slip: abs(math.log(half / slip[1])))
    if abs(half / nearest - 1) > 0.15:
        advice = "Draw as many photographs as there are, with replacement."
    raise Wrong(f"{name}: the interval is +/- {half:.4f}, expected about {expected:.4f}. {advice}")


def _clustered_error(values: Scores, groups: object) -> float:
    """Standard error of the mean where whole groups are drawn: root of the summed squares of each group's excess."""
    import numpy as np

    numbers = np.asarray(groups)
    excess = np.bincount(numbers, weights=values - values.mean())
    return float(np.sqrt((excess**2).sum()) / len(values))
