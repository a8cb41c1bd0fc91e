"""Typical wrong answers to the exercises of notebook 03, each with the hint it must meet."""

# ruff: noqa: ARG001 - most of the slips consist in an argument that is not looked at.

import torch
from torch import nn

from dirl_lib.blocks.bfi import AIM, BFI, Aggregation, BFIDown, NoTransition


def pair(first, second):
    return torch.cat([first, second], dim=1)


def streams(r_1, r_2, units):
    return units["top_down"](r_2) + r_1, units["bottom_up"](r_1) + r_2


def leftmost_swapped(r_1, r_2, units):
    down_1, up_2 = streams(r_1, r_2, units)
    return units["own"](pair(r_1, down_1)) + units["coarser"](pair(up_2, r_2))


def leftmost_without_streams(r_1, r_2, units):
    return units["own"](pair(r_1, r_1)) + units["coarser"](pair(r_2, r_2))


def leftmost_without_bottom_up(r_1, r_2, units):
    down_1, _ = streams(r_1, r_2, units)
    return units["own"](pair(down_1, r_1)) + units["coarser"](pair(r_2, r_2))


def leftmost_without_top_down(r_1, r_2, units):
    _, up_2 = streams(r_1, r_2, units)
    return units["own"](pair(r_1, r_1)) + units["coarser"](pair(r_2, up_2))


def leftmost_own_level_only(r_1, r_2, units):
    down_1, _ = streams(r_1, r_2, units)
    return units["own"](pair(down_1, r_1))


def leftmost_without_adding_r(r_1, r_2, units):
    own = pair(units["top_down"](r_2), r_1)
    return units["own"](own) + units["coarser"](pair(r_2, units["bottom_up"](r_1)))


def leftmost_in_place(r_1, r_2, units):
    up_2 = units["bottom_up"](r_1) + r_2
    up_1 = r_1.clone()
    r_1 += units["top_down"](r_2)
    return units["own"](pair(r_1, up_1)) + units["coarser"](pair(r_2, up_2))


def leftmost_at_level_two(r_1, r_2, units):
    _, up_2 = streams(r_1, r_2, units)
    return up_2


def sum_without_streams(channels, own, out):
    return Aggregation(channels, own, out)


def slim_in_words(channels, own, out):
    return "narrow, then exchange"


def slim_that_forgets_own(channels, own, out):
    class Forgetful(nn.Module):
        def __init__(self):
            super().__init__()
            self.narrow = nn.ModuleList(nn.Conv2d(c, out, 1) for c in channels)
            self.exchange = BFI([out] * len(channels), 1, out)

        def forward(self, features):
            return self.exchange([narrow(r) for narrow, r in zip(self.narrow, features, strict=True)])

    return Forgetful()


WRONG = {
    "03.1": [
        ({"finer": [0, 1, 2], "own": [0, 1], "coarser": [0]}, "unit that leads into b_k"),
        ({"finer": [1, 1, 2, 3], "own": [1, 1, 2, 2], "coarser": [1, 1, 2, 3]}, "finer: found paths"),
        ({"finer": [1, 2, 3], "own": [1, 2], "coarser": [1, 2, 3]}, "only climbs"),
        ({"finer": [1, 2], "own": [1, 2], "coarser": [1]}, "A path is missing"),
        ({"finer": [1, 1, 1], "own": [1, 2], "coarser": [1]}, "length of each path, not the number.*chain"),
        ({"finer": 3, "own": 2, "coarser": 1}, "list of whole numbers"),
        ([1, 2, 3], "dictionary"),
    ],
    "03.2": [
        (leftmost_swapped, "stands first in each pair"),
        (leftmost_without_streams, "let both streams run first"),
        (leftmost_without_bottom_up, "bottom-up stream is missing"),
        (leftmost_without_top_down, "top-down stream is missing"),
        (leftmost_own_level_only, "add the coarser pair"),
        (leftmost_without_adding_r, "adds the r of the level it arrives at"),
        (leftmost_in_place, "in place"),
        (leftmost_at_level_two, "shape"),
    ],
    "03.3": [
        (BFI, "still needs 100 %"),
        (NoTransition, "does not hear level 0"),
        (sum_without_streams, "the streams do not run"),
        (BFIDown, "the streams do not run"),
        (slim_that_forgets_own, "shape"),
        (AIM, "still needs"),
        (slim_in_words, "should return an nn.Module"),
    ],
}
