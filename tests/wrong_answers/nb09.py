"""Typical wrong answers to the exercises of notebook 09, each with the hint it must meet."""

import math

from scipy import stats


def winner_of(runs):
    return max(runs, key=lambda name: runs[name]["iou"])


def always_the_same(_runs):
    return "images_seen"


def against_the_first_row(runs):
    first, won = next(iter(runs.values())), runs[winner_of(runs)]
    return next((field for field in won if won[field] != first[field]), "nothing")


def whatever_varies(runs):
    fields = [*next(iter(runs.values()))][3:]
    varied = [field for field in fields if len({row[field] for row in runs.values()}) > 1]
    return varied[0] if varied else "nothing"


def the_last_row_wins(runs):
    *others, last = runs.values()
    for field in last:
        values = {row[field] for row in others}
        if len(values) == 1 and last[field] not in values:
            return field
    return "nothing"


def anybody_alone(runs):
    for field in [*next(iter(runs.values()))][3:-1]:
        values = [row[field] for row in runs.values()]
        if len(set(values)) == 2 and 1 in {values.count(each) for each in values}:
            return field
    return "nothing"


def all_suspects(runs):
    won = runs[winner_of(runs)]
    return [field for field in won if any(row[field] != won[field] for row in runs.values())]


def never_anything(_runs):
    return "nothing"


def normal(difference, spread):
    return max(2, math.floor(2 * (1.96 * spread / difference) ** 2) + 1)


def one_row_alone(difference, spread):
    n = 2
    while 2 * stats.t.sf(difference / (spread / n**0.5), n - 1) >= 0.05:
        n += 1
    return n


def one_sided(difference, spread):
    n = 2
    while stats.t.sf(difference / (spread * (2 / n) ** 0.5), 2 * n - 2) >= 0.05:
        n += 1
    return n


def right(difference, spread):
    n = 2
    while 2 * stats.t.sf(difference / (spread * (2 / n) ** 0.5), 2 * n - 2) >= 0.05:
        n += 1
    return n


def of_both_rows(difference, spread):
    return 2 * right(difference, spread)


def one_too_many(difference, spread):
    return right(difference, spread) + 1


def one_seed_too(difference, spread):
    return right(difference, spread) if difference < 20 * spread else 1


WRONG = {
    "09.1": [
        ({"A", "B", "C", "F"}, "B does not show .* the gates are not all"),
        ({"A", "C", "D", "F"}, "D does not show .* twice as many composites"),
        ({"A", "C", "E", "F"}, "E does not show .* read by nobody"),
        ("ACFG", "G does not show .* another seed"),
        ({"A", "C"}, "left out is fair: F"),
        (["c", "f"], "left out is fair: A"),
        ({"A", "C", "H"}, "no comparison 'H'"),
        (set(), "left out is fair: A"),
        (3, "should be a set of letters"),
    ],
    "09.2": [
        (always_the_same, "the same in all rows"),
        (against_the_first_row, "do not agree either"),
        (whatever_varies, "do not agree either"),
        (the_last_row_wins, "a value of its own"),
        (anybody_alone, "another row's peculiarity"),
        (all_suspects, "the name of one field"),
        (never_anything, "a value of its own"),
    ],
    "09.3": [
        (normal, "Student's t"),
        (one_row_alone, "sum of both"),
        (one_sided, "both tails"),
        (of_both_rows, "of one row, not of both"),
        (one_too_many, "Off by one"),
        (one_seed_too, "begins with two"),
        (lambda difference, spread: str(right(difference, spread)), "should be a whole number"),
    ],
}
