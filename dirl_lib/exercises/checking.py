"""How an answer is checked: a registry of checkers, and three possible verdicts in one line each.

A checker is a function of the learner's answer. It returns one sentence of praise that says why the result
matters, or raises `Wrong` with a hint that names the first wrong thing.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
Checker = Callable[[Any], str]

NUMBER = re.compile(r"(\d{2})\.(\d+)")
"""An exercise is called after its notebook: 04.1 is the first one of notebook 04."""


class Wrong(Exception):
    """Raised by a checker; the message is the hint shown to the learner."""


class NotAttempted(Exception):
    """Raised when the stub still stands; a checker of classes raises it where `forward` returns None."""


@dataclass(frozen=True)
class Exercise:
    """One registered exercise."""

    number: str
    """Notebook and running number, such as "04.1"."""
    title: str
    """What is asked, in a few words."""
    checker: Checker
    """Returns the praise or raises `Wrong`."""
    hints: tuple[str, ...]
    """From a nudge to nearly the answer."""


_registry: dict[str, Exercise] = {}


def exercise(number: str, title: str, hints: Sequence[str] = ()) -> Callable[[Checker], Checker]:
    """Register the decorated checker under its number.

    Args:
        number: "NN.k", NN being the notebook; the module that holds the checker is named exNN_<topic>.py.
        title: what is asked, in a few words.
        hints: from a nudge to nearly the answer, shown one by one by `hint`.

    Raises:
        ValueError: if the number is malformed or already taken.
    """
    if not NUMBER.fullmatch(number):
        raise ValueError(f"exercise number {number!r}, expected two digits, a point, a number: '04.1'")

    def register(checker: Checker) -> Checker:
        taken = _registry.get(number)
        if taken is not None and taken.checker.__module__ != checker.__module__:
            raise ValueError(f"exercise {number} stands in {taken.checker.__module__} and {checker.__module__}")
        _registry[number] = Exercise(number, title, checker, tuple(hints))
        return checker

    return register


def check(number: str, answer: object) -> None:
    """Print the verdict on an answer: not attempted yet, not yet (with a hint), or correct.

    Args:
        number: the exercise, "NN.k".
        answer: what the exercise asks for, a value, a function or a class. None, a function that returns
            None and a container of nothing but None count as not attempted. An exception raised by the
            learner's code is reported in the same line.

    Raises:
        ValueError: if there is no such exercise.
    """
    print(f"Exercise {number}: {verdict(number, answer)}")


def verdict(number: str, answer: object) -> str:
    """What `check` prints after the number; it begins with "correct. ", "not yet. " or "not attempted yet. ".

    Raises:
        ValueError: if there is no such exercise.
    """
    found = find(number)
    try:
        if _is_blank(answer):
            raise NotAttempted
        return f"correct. {found.checker(_watched(answer))}"
    except NotAttempted:
        help_line = f' (hint("{found.number}") helps)' if found.hints else ""
        return f"not attempted yet. Replace the None in the cell above, then run both cells again{help_line}."
    except Wrong as wrong:
        return f"not yet. {wrong}"
    except Exception as error:  # whatever the learner's code raises is an answer, too
        message = " ".join(str(error).split()) or "no message"
        return f"not yet. {_where(error)} stopped with {type(error).__name__}: {message}"


def hint(number: str, level: int = 1) -> None:
    """Print one hint of an exercise, the first one for a nudge, the last one for nearly the answer.

    Args:
        number: the exercise, "NN.k".
        level: 1, 2, ...

    Raises:
        ValueError: if there is no such exercise or no such level.
    """
    hints = find(number).hints
    if not 1 <= level <= len(hints):
        raise ValueError(f"exercise {number} has {len(hints)} hints, asked for hint {level}")
    more = f' (more: hint("{number}", {level + 1}))' if level < len(hints) else ""
    print(f"Hint {level} of {len(hints)} for exercise {number}: {hints[level - 1]}{more}")


def find(number: str) -> Exercise:
    """The exercise of that number; loads the module of its notebook.

    Raises:
        ValueError: if there is no such exercise; the message lists those that exist.
    """
    if number not in _registry:
        _load(str(number)[:2])
    if number not in _registry:
        known = ", ".join(each.number for each in all_exercises()) or "none yet"
        raise ValueError(f"no exercise {number!r}; the exercises are: {known}")
    return _registry[number]


def all_exercises() -> list[Exercise]:
    """Every exercise of the course in order; loads all modules."""
    _load("")
    return sorted(_registry.values(), key=lambda each: [int(part) for part in each.number.split(".")])


def _load(notebook: str) -> None:
    """Import the modules exNN_*.py of one notebook, or of all for an empty string."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if re.match(rf"ex{notebook or '[0-9]{2}'}_", module.name):
            importlib.import_module(f"dirl_lib.exercises.{module.name}")


def _is_blank(answer: object) -> bool:
    match answer:
        case None:
            return True
        case dict():
            return bool(answer) and all(value is None for value in answer.values())
        case tuple() | list():
            return bool(answer) and all(value is None for value in answer)
        case _:
            return False


def _watched(answer: object) -> object:
    """A plain function in a wrapper that notices the stub's None; anything else as it is."""
    if not isinstance(answer, types.FunctionType):
        return answer
    return _raise_if_blank(answer)


def _raise_if_blank(function: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(function)
    def watched(*args: P.args, **kwargs: P.kwargs) -> R:
        result = function(*args, **kwargs)
        if _is_blank(result):
            raise NotAttempted
        return result

    return watched


def _where(error: Exception) -> str:
    """The innermost place in the learner's own cell that raised, else the check itself."""
    place = "The check of your answer"
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        # IPython gives a cell a module without a file: __main__ is the notebook.
        if traceback.tb_frame.f_globals.get("__name__") == "__main__":
            place = f"Line {traceback.tb_lineno} of your cell, in {code.co_name},"
        traceback = traceback.tb_next
    return place


def expect_close(
    what: str, found: object, expected: object, *, hint: str = "", rtol: float = 1e-4, atol: float = 1e-5
) -> None:
    """Raise `Wrong` unless two numbers, arrays or tensors agree; the message names the first difference.

    Args:
        what: the name of the value in the message, such as "the mask for an all-grey image".
        found: the learner's number, array or tensor.
        expected: the right one.
        hint: a sentence added to the message when the values (not kind or shape) differ.
        rtol: relative tolerance, as in `numpy.isclose`.
        atol: absolute tolerance, as in `numpy.isclose`.
    """
    import numpy as np

    right = _as_array(expected)
    try:
        given = _as_array(found)
    except (TypeError, ValueError):
        raise Wrong(f"{what} should be a number, array or tensor, it is a {type(found).__name__}.") from None
    if given.shape != right.shape:
        raise Wrong(f"{what} has the shape {given.shape}, expected {right.shape}.")
    close = np.isclose(given, right, rtol=rtol, atol=atol, equal_nan=True)
    if close.all():
        return
    first = tuple(int(index) for index in np.argwhere(~close)[0])
    place = f" at {first}" if first else ""
    values = f"{what} is {given[first]:.6g}{place}, expected {right[first]:.6g}."
    raise Wrong(f"{values} {hint}".rstrip())


def _as_array(value: object) -> Any:
    import numpy as np

    detach = getattr(value, "detach", None)
    array = np.asarray(detach().cpu() if detach is not None else value)
    return array.astype(np.float64)
