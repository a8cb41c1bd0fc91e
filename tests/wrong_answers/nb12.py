"""Typical wrong answers to the exercises of notebook 12, each with the hint it must meet."""

import math

import numpy as np

from dirl_lib.synthesis.editing import from_linear, to_linear


def display_values(shown, stops):
    return np.clip(shown * 2**stops, 0, 1)


def light_itself(shown, stops):
    return np.clip(to_linear(shown) * 2**stops, 0, 1)


def added(shown, stops):
    return np.clip(from_linear(to_linear(shown) + stops), 0, 1)


def times_stops(shown, stops):
    return np.clip(from_linear(to_linear(shown) * stops), 0, 1)


def not_clipped(shown, stops):
    return from_linear(to_linear(shown) * 2**stops)


def gamma_of_two(shown, stops):
    return np.clip((shown**2 * 2**stops) ** 0.5, 0, 1)


def first_above(strengths, inside, threshold):
    return next((s for s, p in zip(strengths, inside, strict=True) if p > threshold), math.inf)


def by_interpolation(strengths, inside, threshold):
    return float(np.interp(threshold, inside, strengths))


def last_crossing(strengths, inside, threshold):
    found = math.inf
    if inside[0] > threshold:
        return 0.0
    for k in range(1, len(inside)):
        if inside[k - 1] <= threshold < inside[k]:
            share = (threshold - inside[k - 1]) / (inside[k] - inside[k - 1])
            found = strengths[k - 1] + share * (strengths[k] - strengths[k - 1])
    return found


def one_for_never(strengths, inside, threshold):
    found = _first_crossing(strengths, inside, threshold)
    return 1.0 if math.isinf(found) else found


def blind_to_the_start(strengths, inside, threshold):
    found = _first_crossing(strengths, inside, threshold)
    return found if found > 0 else strengths[1]


def middle_of_the_step(strengths, inside, threshold):
    k = next((k for k, p in enumerate(inside) if p > threshold), None)
    if not k:
        return math.inf if k is None else 0.0
    return strengths[k - 1] + 0.4 * (strengths[k] - strengths[k - 1])


def _first_crossing(strengths, inside, threshold):
    if inside[0] > threshold:
        return 0.0
    for k in range(1, len(inside)):
        if inside[k] > threshold:
            share = (threshold - inside[k - 1]) / (inside[k] - inside[k - 1])
            return strengths[k - 1] + share * (strengths[k] - strengths[k - 1])
    return math.inf


def queue(arrivals, _cost):
    return list(range(len(arrivals)))


def last_only(arrivals, _cost):
    return [len(arrivals) - 1] if arrivals else []


def drops_while_busy(arrivals, cost):
    free, found = -math.inf, []
    for i, at in enumerate(arrivals):
        if at >= free:
            found.append(i)
            free = at + cost
    return found


def oldest_that_waits(arrivals, cost):
    free, found = -math.inf, []
    for i, at in enumerate(arrivals):
        if not found or at > free - cost:
            found.append(i)
            free = max(free, at) + cost
    return found


def how_many(arrivals, cost):
    return len(drops_while_busy(arrivals, cost))


WRONG = {
    "12.1": [
        (display_values, "light is what doubles"),
        (light_itself, "into displayed values again"),
        (added, "factor of 2, not an amount"),
        (times_stops, "2\\*\\*stops, not stops"),
        (not_clipped, "clip"),
        (gamma_of_two, "expected"),
        (lambda shown, stops: display_values(shown, stops)[0], "has the shape"),
    ],
    "12.2": [
        (first_above, "the crossing lies before it"),
        (by_interpolation, "expected"),
        (last_crossing, "first crossing is asked for"),
        (one_for_never, "the answer is infinity"),
        (blind_to_the_start, "untouched picture is above"),
        (middle_of_the_step, "the curve is straight"),
    ],
    "12.3": [
        (queue, "That is a queue"),
        (last_only, "finished and shown"),
        (drops_while_busy, "last move must be answered"),
        (oldest_that_waits, "expected"),
        (how_many, "a list of positions"),
    ],
}
