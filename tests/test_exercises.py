"""The checkers of the exercises: the machinery, then every exercise of the course with typical wrong answers."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from course.notebooks import exercise_cells, notebook_paths, read

from dirl_lib.exercises import NotAttempted, Wrong, all_exercises, check, checking, exercise, expect_close, hint

WRONG_ANSWERS = Path(__file__).parent / "wrong_answers"


@pytest.fixture
def square(monkeypatch):
    """A registry with one more exercise, 99.1: a function that squares."""
    monkeypatch.setattr(checking, "_registry", dict(checking._registry))

    @exercise("99.1", "squares", hints=["Multiply.", "x * x"])
    def check_square(answer):
        expect_close("f(3)", answer(3.0), 9.0, hint="Is it a square?")
        return "Squares count large errors more."

    return check_square


def verdict(capsys, number, answer):
    check(number, answer)
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert printed.startswith(f"Exercise {number}: ")
    return printed.removeprefix(f"Exercise {number}: ").rstrip("\n")


@pytest.mark.parametrize("blank", [None, lambda _: None, (None, None), [None], {"stride": None}])
@pytest.mark.usefixtures("square")
def test_an_untouched_stub_is_not_attempted(capsys, blank):
    assert verdict(capsys, "99.1", blank).startswith("not attempted yet. Replace the None")


@pytest.mark.usefixtures("square")
def test_a_right_answer_is_praised_with_the_reason_why_it_matters(capsys):
    assert verdict(capsys, "99.1", lambda x: x * x) == "correct. Squares count large errors more."


@pytest.mark.usefixtures("square")
def test_a_wrong_answer_meets_a_hint(capsys):
    assert verdict(capsys, "99.1", lambda x: 2 * x) == "not yet. f(3) is 6, expected 9. Is it a square?"


@pytest.mark.usefixtures("square")
def test_an_exception_of_the_learner_is_told_in_one_line_with_its_place(capsys):
    source = "def answer(x):\n    y = x - 3\n    return x / y\n"
    cell = {"__name__": "__main__"}
    exec(source, cell)
    expected = r"not yet\. Line 3 of your cell, in answer, stopped with ZeroDivisionError: .*division by zero"
    assert re.fullmatch(expected, verdict(capsys, "99.1", cell["answer"]))


@pytest.mark.usefixtures("square")
def test_an_answer_of_the_wrong_kind_is_no_crash(capsys):
    text = verdict(capsys, "99.1", 9.0)
    assert text.startswith("not yet. The check of your answer stopped with TypeError")


@pytest.mark.usefixtures("square")
def test_stopping_a_long_answer_stops_the_check():
    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check("99.1", interrupted)


@pytest.mark.usefixtures("square")
def test_the_name_of_the_function_survives_the_check():
    names = []

    @exercise("99.2", "a name")
    def check_name(answer):
        names.append(answer.__name__)
        return "Names matter."

    def my_answer():
        return 1

    check("99.2", my_answer)
    assert names == ["my_answer"]


@pytest.mark.usefixtures("square")
def test_a_checker_of_classes_can_say_that_nothing_was_tried(capsys):
    @exercise("99.2", "a module")
    def check_module(answer):
        if answer()(torch.zeros(1)) is None:
            raise NotAttempted
        return "Modules matter."

    class Stub(torch.nn.Module):
        def forward(self, _):
            return None

    assert verdict(capsys, "99.2", Stub).startswith("not attempted yet. Replace the None in the cell above, then run")


@pytest.mark.usefixtures("square")
def test_hints_come_one_by_one(capsys):
    hint("99.1")
    assert capsys.readouterr().out == 'Hint 1 of 2 for exercise 99.1: Multiply. (more: hint("99.1", 2))\n'
    hint("99.1", 2)
    assert capsys.readouterr().out == "Hint 2 of 2 for exercise 99.1: x * x\n"
    with pytest.raises(ValueError, match=r"exercise 99\.1 has 2 hints, asked for hint 3"):
        hint("99.1", 3)


@pytest.mark.usefixtures("square")
@pytest.mark.parametrize("number", ["98.1", "99.7", "nonsense", ""])
def test_an_unknown_exercise_is_answered_with_those_that_exist(number):
    with pytest.raises(ValueError, match=rf"no exercise '{number}'; the exercises are: .*99\.1"):
        check(number, 1)


@pytest.mark.parametrize("number", ["4.1", "04-1", "04.", "x"])
def test_a_malformed_number_is_refused(number):
    with pytest.raises(ValueError, match="expected two digits, a point, a number"):
        exercise(number, "title")


@pytest.mark.usefixtures("square")
def test_a_number_belongs_to_one_module():
    def elsewhere(_):
        return ""

    elsewhere.__module__ = "another"
    with pytest.raises(ValueError, match=r"exercise 99\.1 stands in .* and another"):
        exercise("99.1", "again")(elsewhere)


@pytest.mark.parametrize(
    ("found", "expected", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2), r"v has the shape \(2, 3\), expected \(3, 2\)"),
        (np.array([1.0, 5.0, 7.0]), torch.tensor([1.0, 2.0, 3.0]), r"v is 5 at \(1,\), expected 2\. Look again\."),
        (float("nan"), 1.0, "v is nan, expected 1"),
        ("one", 1.0, "v should be a number, array or tensor, it is a str"),
        ([torch.zeros(2), torch.zeros(3)], torch.zeros(2), "v should be a number, array or tensor, it is a list"),
        (1.001, 1.0, "v is 1.001, expected 1"),
        (65537, 65536, None),
        (torch.tensor([1.0], requires_grad=True), np.array([1.000001]), None),
        (True, 1, None),
        (np.nan, np.nan, None),
    ],
)
def test_expect_close_names_the_first_difference(found, expected, message):
    if message is None:
        expect_close("v", found, expected)
        return
    with pytest.raises(Wrong, match=message):
        expect_close("v", found, expected, hint="Look again.")


# --- the exercises of the course ---

EXERCISES = {each.number: each for each in all_exercises() if each.number < "99"}


def wrong_answers(number):
    file = WRONG_ANSWERS / f"nb{number[:2]}.py"
    if not file.is_file():
        pytest.fail(f"tests/wrong_answers/{file.name} is missing, which should hold wrong answers to exercise {number}")
    spec = importlib.util.spec_from_file_location(f"wrong_answers_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.WRONG


def test_there_are_exercises():
    assert len(EXERCISES) >= 2


@pytest.mark.parametrize("number", EXERCISES)
def test_every_exercise_catches_typical_wrong_answers_with_a_fitting_hint(capsys, number):
    answers = wrong_answers(number).get(number, [])
    assert len(answers) >= 2, f"exercise {number} has {len(answers)} wrong answers, at least 2 are asked for"
    for answer, pattern in answers:
        text = verdict(capsys, number, answer)
        assert text.startswith("not yet. "), f"{answer} was taken as: {text}"
        assert re.search(pattern, text), f"{answer} met the hint {text!r}, expected {pattern!r}"


@pytest.mark.parametrize("number", EXERCISES)
def test_every_exercise_knows_its_stub_has_a_title_and_hints(capsys, number):
    assert verdict(capsys, number, None).startswith("not attempted yet.")
    assert EXERCISES[number].title
    assert EXERCISES[number].hints
    assert EXERCISES[number].checker.__module__.rpartition(".")[2].startswith(f"ex{number[:2]}_")


def test_wrong_answers_are_all_to_exercises_that_exist():
    stated = {number for file in WRONG_ANSWERS.glob("nb*.py") for number in wrong_answers(file.stem[2:])}
    assert stated <= set(EXERCISES)


def test_notebooks_and_checkers_hold_the_same_exercises():
    in_notebooks = [each.number for path in notebook_paths() for each in exercise_cells(read(path))]
    assert in_notebooks == list(EXERCISES)
