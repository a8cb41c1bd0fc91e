"""Exercises of notebook 09: fair pairs, the hidden difference, how many seeds; and the comparisons they are about."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dirl_lib.exercises.checking import Wrong, exercise, expect_close

if TYPE_CHECKING:
    from dirl_lib.recipes import TrainingRecipe

Runs = Mapping[str, Mapping[str, Any]]
"""What is known of each variant of an ablation: a value for each field."""

CLAIMS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "A": ("telling the attention where to look helps", {"model": "row-09"}, {"model": "row-08"}),
    "B": ("the two gates help", {"model": "row-09"}, {"model": "row-03"}),
    "C": ("BFI helps where there is attention", {"model": "row-10"}, {"model": "row-09"}),
    "D": ("BFI helps where there is none", {"model": "row-07", "epochs": 12}, {"model": "row-03"}),
    "E": ("a larger lambda helps", {"model": "row-07", "attention_weight": 1.0}, {"model": "row-07"}),
    "F": ("SSIM in the loss helps", {"model": "row-10"}, {"model": "row-10", "loss": "bce"}),
    "G": ("the context shortcut helps", {"model": "row-03", "seed": 1}, {"model": "row-02"}),
}
"""Of each comparison what it is to show, and what its two trainings change in one recipe."""

_WHAT_IS_WRONG = {
    "B": "compare the two networks' configurations field by field: the gates are not all that changes",
    "D": "one of the two networks sees twice as many composites",
    "E": "row-07 has no attention, and the changed field is read by nobody: both trainings are the same",
    "G": "each row was trained once, from another seed: that difference is in the result, too",
}


def pair(letter: str) -> tuple[TrainingRecipe, TrainingRecipe]:
    """The two recipes of one of `CLAIMS`.

    Raises:
        KeyError: another letter.
    """
    from dirl_lib.recipes import TrainingRecipe, override

    _, first, second = CLAIMS[letter]
    shared = TrainingRecipe(epochs=6, milestones=())
    return override(shared, first), override(shared, second)


def made_up_ablation() -> dict[str, dict[str, Any]]:
    """Five rows of an ablation that was never run; its winner wins for a reason that is not its design."""
    return _made_up(images_seen=(10464, 10464, 10464, 10464, 15696))


def _made_up(**changed: tuple[Any, ...]) -> dict[str, dict[str, Any]]:
    columns: dict[str, tuple[Any, ...]] = {
        "decoder": ("reg", "ggd_sim", "ggd", "ggd", "ggd"),
        "transition": ("none", "none", "none", "bfi_down", "bfi"),
        "weights": (2253281, 2250977, 2255649, 2788353, 3348033),
        "seeds": (3, 3, 3, 3, 3),
        "learning_rate": (1e-3, 1e-3, 1e-3, 1e-3, 1e-3),
        "batch_size": (16, 16, 16, 16, 16),
        "images_seen": (10464, 10464, 10464, 10464, 10464),
        "test_images": (1179, 1179, 1179, 1179, 1179),
        "protocol": ("paper", "paper", "paper", "paper", "paper"),
        "iou": (0.301, 0.309, 0.318, 0.322, 0.357),
    }
    columns |= changed
    names = ("row-01", "row-02", "row-03", "row-05", "row-07")
    return {name: {field: column[i] for field, column in columns.items()} for i, name in enumerate(names)}


def _differences(first: TrainingRecipe, second: TrainingRecipe) -> list[str]:
    """The fields of recipe and network that are not the same, without those that nobody reads."""
    unread = set() if first.config.supervise_attention or second.config.supervise_attention else {"attention_weight"}
    sides = [asdict(recipe) | asdict(recipe.config) for recipe in (first, second)]
    return [field for field in sides[0] if field not in unread | {"model"} and sides[0][field] != sides[1][field]]


@exercise(
    "09.1",
    "fair pairs",
    hints=[
        "first, second = pair('A') gives the two recipes; dataclasses.asdict makes dictionaries of them.",
        "Where the field model differs, compare first.config and second.config as well: how many fields differ there?",
        "Three are fair. One of the others changes two fields of the network; one changes a field that nobody reads.",
    ],
)
def check_fair_pairs(answer: object) -> str:
    if not isinstance(answer, set | frozenset | list | tuple | str):
        raise Wrong(f"the answer should be a set of letters such as {{'A', 'B'}}, it is a {type(answer).__name__}.")
    letters = {str(each).strip().upper() for each in answer}
    unknown = sorted(letters - CLAIMS.keys())
    if unknown:
        raise Wrong(f"there is no comparison {unknown[0]!r}; the letters are {', '.join(CLAIMS)}.")
    for letter, (claim, *_) in CLAIMS.items():
        is_fair = len(_differences(*pair(letter))) == 1
        if letter in letters and not is_fair:
            raise Wrong(f"{letter} does not show that {claim}: {_WHAT_IS_WRONG[letter]}.")
        if is_fair and letter not in letters:
            raise Wrong(f"one that you left out is fair: {letter}, by which {claim}. What else did you see differ?")
    return "One difference each, and it is the one that the claim names. (Weights still differ: see section 9.)"


@exercise(
    "09.2",
    "the hidden difference",
    hints=[
        "Two steps: which variant has the highest iou? And in which field does it have a value of its own?",
        "Fields such as weights differ from row to row and are no suspects. In the one you look for the others agree.",
        "others = {runs[name][field] for name in runs if name != winner} has one element, and it is not the winner's.",
    ],
)
def check_hidden_difference(answer: Callable[[Runs], str]) -> str:
    five = (0.301, 0.309, 0.318, 0.322, 0.357)
    cases: dict[str, tuple[dict[str, dict[str, Any]], str]] = {
        "the made-up ablation": (made_up_ablation(), "images_seen"),
        "another one, with fewer test images": (_made_up(test_images=(1179, 1179, 1179, 1179, 804)), "test_images"),
        "one that is won by its second row": (
            _made_up(iou=(five[0], 0.4, *five[2:]), learning_rate=(1e-3, 2e-3, 1e-3, 1e-3, 1e-3)),
            "learning_rate",
        ),
        "one in which a loser has another batch size, and the winner another protocol": (
            _made_up(batch_size=(8, 16, 16, 16, 16), protocol=("paper", "paper", "paper", "paper", "released")),
            "protocol",
        ),
        "one in which only a loser has seen less": (
            _made_up(images_seen=(5232, 10464, 10464, 10464, 10464), transition=("none", "none", "aim", "up", "bfi")),
            "nothing",
        ),
    }
    for name, (runs, expected) in cases.items():
        found: object = answer({variant: dict(fields) for variant, fields in runs.items()})
        if found == expected:
            continue
        winner = max(runs, key=lambda variant: runs[variant]["iou"])
        if not isinstance(found, str) or found not in {*runs[winner], "nothing"}:
            raise Wrong(f"{name}: found {found!r}, expected the name of one field, or 'nothing'.")
        raise Wrong(f"{name}: found {found!r}, expected {expected!r}. {_advice(runs, winner, found)}")
    return "Nobody hides such a field on purpose. It is in the record, or it is not; so keep records, and compare them."


def _advice(runs: Runs, winner: str, found: str) -> str:
    """What is wrong with that field."""
    if found == "nothing":
        return "One field has a value of its own in the winning row, and only there."
    if found == "iou":
        return "The score is what is to be explained."
    values = [fields[found] for fields in runs.values()]
    if len(set(values)) == 1:
        return "That field is the same in all rows."
    others = {fields[found] for variant, fields in runs.items() if variant != winner}
    if len(others) > 1:
        return "In that field the other rows do not agree either: it is the design, or another row's peculiarity."
    return "That field explains nothing: look at the row with the highest iou."


@exercise(
    "09.3",
    "how many seeds",
    hints=[
        "Try n = 2, 3, 4, ... until the p-value falls below 0.05.",
        "With equal spreads t = difference / (spread * sqrt(2 / n)), and there are 2 n - 2 degrees of freedom.",
        "p = 2 * stats.t.sf(t, 2 * n - 2); or stats.ttest_ind_from_stats(difference, spread, n, 0, spread, n).",
    ],
)
def check_seeds_needed(answer: Callable[[float, float], int]) -> str:
    for difference, spread in ((0.2, 0.5), (4.0, 1.0), (0.66, 0.5), (0.012, 0.01), (20.0, 1.0)):
        found = answer(difference, spread)
        expected = _seeds_needed(difference, spread)
        what = f"seeds for a difference of {difference:g} at a spread of {spread:g}"
        if not hasattr(found, "__float__"):
            raise Wrong(f"{what}: the answer should be a whole number, it is a {type(found).__name__}.")
        expect_close(what, found, expected, hint=_seeds_advice(float(found), difference, spread, expected))
    many = _seeds_needed(0.20, 0.5)
    return (
        f"BFI on top of MDA, 0.20 points at a spread of half a point: {many} trainings of each row, and even then "
        "every second such experiment misses it."
    )


def _seeds_needed(difference: float, spread: float, *, sides: int = 2, rows: int = 2, normal: bool = False) -> int:
    """Smallest number of seeds of each row at which the difference has p < 0.05; other arguments are typical slips."""
    from scipy import stats

    n = 2
    while True:
        t = difference / (spread * (rows / n) ** 0.5)
        tail = stats.norm.sf(t) if normal else stats.t.sf(t, rows * (n - 1))
        if sides * float(tail) < 0.05:
            return n
        n += 1


def _seeds_advice(found: float, difference: float, spread: float, expected: int) -> str:
    if found == 2 * expected:
        return "Count the seeds of one row, not of both."
    if found < 2:
        return "One seed has no spread: the test begins with two."
    slips = {
        "Both rows have a spread: the variance of a difference is the sum of both.": {"rows": 1},
        "The difference could have gone either way: take both tails.": {"sides": 1},
        "The spread, too, is known from few seeds only: take Student's t, not the normal distribution.": {
            "normal": True
        },
    }
    for advice, slip in slips.items():
        if found == _seeds_needed(difference, spread, **slip):  # type: ignore[arg-type]
            return advice
    if abs(found - expected) == 1:
        return "Off by one: the smallest number of seeds whose p-value is below 0.05."
    return "Which n is the first with p below 0.05?"


assert set(CLAIMS) == set(string.ascii_uppercase[: len(CLAIMS)])
