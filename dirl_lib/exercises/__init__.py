"""Checkers of the course's exercises: `check("04.1", answer)` says what is wrong first, `hint("04.1")` helps.

One module a notebook, `exNN_<topic>.py`, loaded when one of its exercises is checked for the first time.
"""

from dirl_lib.exercises.checking import NotAttempted, Wrong, all_exercises, check, exercise, expect_close, hint

__all__ = ["NotAttempted", "Wrong", "all_exercises", "check", "exercise", "expect_close", "hint"]
