"""Exercises of notebook 03: paths through a block, the leftmost BFI, a cheaper exchange."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dirl_lib.exercises.checking import NotAttempted, Wrong, exercise, expect_close

if TYPE_CHECKING:
    from torch import Tensor, nn

Unit = Callable[["Tensor"], "Tensor"]
Factory = Callable[..., "nn.Module"]

# b_k = D(up_{k-1}) + C(up_k) + U(up_{k+1}): r_{k-1} enters all three, r_k the last two, r_{k+1} the last one.
PATHS_OF_BFI_UP = {"finer": (1, 2, 3), "own": (1, 2), "coarser": (1,)}


@exercise(
    "03.1",
    "the paths through BFI(up)",
    hints=[
        "Write the three values of the bottom-up stream in terms of r alone: up_{k-1} = r_{k-1}, "
        "up_k = D(r_{k-1}) + r_k, up_{k+1} = D(D(r_{k-1}) + r_k) + r_{k+1}.",
        "Each of the three passes one more unit on its way to b_k: D, C or U. Count how often r_j appears, and behind "
        "how many units.",
        "r_{k-1} appears in all three values, behind 0, 1 and 2 units; r_k in two of them; r_{k+1} in one.",
    ],
)
def check_paths(answer: Mapping[str, Any]) -> str:
    if not isinstance(answer, Mapping) or set(answer) != set(PATHS_OF_BFI_UP):
        raise Wrong("the answer should be a dictionary with the keys finer, own and coarser.")
    if any(value is None for value in answer.values()):
        raise NotAttempted
    for level, expected in PATHS_OF_BFI_UP.items():
        expect_path_lengths(level, answer[level], expected)
    return (
        "Six paths instead of BFI's twelve, and what r_{k+1} knows never reaches a finer level than k: "
        "that is the price of having one stream only."
    )


def expect_path_lengths(level: str, given: object, expected: tuple[int, ...]) -> None:
    try:
        found = tuple(sorted(operator.index(length) for length in given))  # type: ignore[attr-defined]
    except TypeError:
        raise Wrong(f"{level} should be a list of whole numbers, one length for each path.") from None
    if found == expected:
        return
    if found == tuple(length - 1 for length in expected):
        advice = "Count the unit that leads into b_k (D, C or U), too."
    elif level == "coarser" and len(found) > 1:
        advice = "The bottom-up stream only climbs: r_{k+1} enters up_{k+1} and nothing else."
    elif found == tuple(sorted(set(found))) and len(found) < len(expected):
        advice = "A path is missing: in how many of up_{k-1}, up_k and up_{k+1} is this level heard?"
    elif level == "finer" and found == tuple(reversed(PATHS_OF_BFI_UP["coarser"])) * 3:
        advice = (
            "Give the length of each path, not the number of paths; and the stream is a chain: up_{k+1} hears of "
            "r_{k-1} through up_k, two units later."
        )
    else:
        advice = "Write up_{k-1}, up_k and up_{k+1} in terms of r alone and count the units in front of this level."
    raise Wrong(f"{level}: found paths of {list(found)} units, which is not yet the list. {advice}")


# Channels of r_1, r_2 and b_1.
LEFTMOST_CASES = [(2, 3, 2), (4, 8, 4)]


@exercise(
    "03.2",
    "the leftmost BFI block",
    hints=[
        "There is no r_0, so both streams have one step: down_1 = U(r_2) + r_1 and up_2 = D(r_1) + r_2.",
        "The stream values that remain are plain features: down_2 = r_2 and up_1 = r_1.",
        'b_1 = units["own"](torch.cat([down_1, up_1], dim=1)) + units["coarser"](torch.cat([down_2, up_2], dim=1)).',
    ],
)
def check_leftmost(answer: Callable[[Tensor, Tensor, dict[str, Unit]], Tensor]) -> str:
    import torch

    from dirl_lib.blocks.bfi import BFI

    generator = torch.Generator().manual_seed(32)
    for c_1, c_2, out in LEFTMOST_CASES:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(c_1)
            block = BFI((c_1, c_2), own=0, out=out).eval()
        units: dict[str, Unit] = {
            "top_down": block.top_down.steps[0],
            "bottom_up": block.bottom_up.steps[0],
            "own": block.aggregation.units[0],
            "coarser": block.aggregation.units[1],
        }
        r_1 = torch.rand(2, c_1, 8, 12, generator=generator)
        r_2 = torch.rand(2, c_2, 4, 6, generator=generator)
        before = r_1.clone(), r_2.clone()
        with torch.no_grad():
            given = answer(r_1, r_2, units)
            expected = block((r_1, r_2))
            slips = leftmost_slips(r_1, r_2, units)
        if not (torch.equal(r_1, before[0]) and torch.equal(r_2, before[1])):
            raise Wrong("your function changes r_1 or r_2 in place (+=); the next block still needs them.")
        what = f"b_1 for {c_1} and {c_2} channels"
        expect_close(what, given, expected, hint=leftmost_advice(given, slips))
    return "Your few lines and the library's BFI agree on two sets of weights."


def leftmost_slips(r_1: Tensor, r_2: Tensor, units: dict[str, Unit]) -> dict[str, Tensor]:
    """What typical slips give, by the advice that mends each."""
    import torch

    own, coarser = units["own"], units["coarser"]
    down_1, up_2 = units["top_down"](r_2) + r_1, units["bottom_up"](r_1) + r_2

    def pair(first: Tensor, second: Tensor) -> Tensor:
        return torch.cat([first, second], dim=1)

    return {
        "The top-down result stands first in each pair, the bottom-up result second.": own(pair(r_1, down_1))
        + coarser(pair(up_2, r_2)),
        "That is the aggregation of r itself: let both streams run first.": own(pair(r_1, r_1))
        + coarser(pair(r_2, r_2)),
        "The bottom-up stream is missing: up_2 = D(r_1) + r_2.": own(pair(down_1, r_1)) + coarser(pair(r_2, r_2)),
        "The top-down stream is missing: down_1 = U(r_2) + r_1.": own(pair(r_1, r_1)) + coarser(pair(r_2, up_2)),
        "Only the own level arrived; add the coarser pair.": own(pair(down_1, r_1)),
        "Each step of a stream adds the r of the level it arrives at.": own(pair(down_1 - r_1, r_1))
        + coarser(pair(r_2, up_2 - r_2)),
    }


def leftmost_advice(given: Tensor, slips: dict[str, Tensor]) -> str:
    import torch

    for advice, result in slips.items():
        same_kind = isinstance(given, torch.Tensor) and given.shape == result.shape
        if same_kind and torch.allclose(given.float(), result, rtol=1e-4, atol=1e-5):
            return advice
    return "Compute down_1, up_2, the two pairs and their sum one after the other, and compare each with the formula."


# Channels of the window and place of the own level: middle, leftmost, rightmost.
SLIM_CASES = [((64, 128, 256), 1), ((64, 128), 0), ((256, 256), 1)]
SLIM_OUT = 32
SLIM_SHARE = 1 / 3


@exercise(
    "03.3",
    "the same exchange at a third of the cost",
    hints=[
        "Look at the formula: a unit costs (cells of its output) x 9 x (channels in) x (channels out). Which of the "
        "factors can you shrink without touching the streams?",
        "Bring each r to `out` channels first; then let BFI run on those.",
        "self.narrow = nn.ModuleList(nn.Conv2d(c, out, 1) for c in channels) and self.exchange = "
        "BFI([out] * len(channels), own, out).",
    ],
)
def check_slim(answer: Factory) -> str:
    shares = [slim_share(answer, channels, own) for channels, own in SLIM_CASES]
    return (
        f"Your middle block needs {100 * shares[0]:.1f} % of BFI's multiply-adds and hears as widely. Whether it finds "
        f"regions as well is another question; only training it can answer that."
    )


def slim_share(answer: Factory, channels: Sequence[int], own: int) -> float:
    """The learner's multiply-adds as a part of BFI's, after the checks that it is an exchange at all."""
    import torch
    from torch import nn

    from dirl_lib.blocks.bfi import BFI

    place = f"for channels={tuple(channels)} and own={own}"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(33)
        block = answer(channels, own, SLIM_OUT)
        if block is None:
            raise NotAttempted
        if not isinstance(block, nn.Module):
            raise Wrong(f"slim(channels, own, out) should return an nn.Module, it is a {type(block).__name__}.")
        reference = BFI(channels, own, SLIM_OUT)
        features = [torch.rand(2, c, 64 >> i, 64 >> i) for i, c in enumerate(channels)]
    shape = (2, SLIM_OUT, 64 >> own, 64 >> own)
    given = block.eval()(features)
    if given is None:
        raise NotAttempted
    if tuple(given.shape) != shape:
        raise Wrong(f"b_k {place} has the shape {tuple(given.shape)}, expected {shape}: that of level k, `own`.")

    found, needed = (reach(each, features, own) for each in (block, reference.eval()))
    for i, (width, enough) in enumerate(zip(found, needed, strict=True)):
        if width == 0:
            raise Wrong(f"b_k {place} does not hear level {i} of the window at all.")
        if width < enough:
            raise Wrong(
                f"A cell of b_k {place} hears {width} cells across at level {i} of the window, BFI hears {enough}: "
                f"the levels are added up, but the streams do not run."
            )
    cost, full = (multiply_adds(each, features) for each in (block, reference))
    if cost > SLIM_SHARE * full:
        raise Wrong(
            f"The block {place} still needs {100 * cost / full:.0f} % of BFI's multiply-adds, "
            "a third is allowed. Where do 64, 128 or 256 channels still meet a 3x3 kernel?"
        )
    return cost / full


def reach(block: nn.Module, features: Sequence[Tensor], own: int) -> list[int]:
    """How many cells across of each level the middle cell of b_k hears: where its gradient is not zero."""
    import torch

    leaves = [r.clone().requires_grad_() for r in features]
    middle = (64 >> own) // 2
    heard = block(leaves)[:, :, middle, middle].square().sum()
    gradients = torch.autograd.grad(heard, leaves, allow_unused=True)
    rows = [None if g is None else g.abs().sum(dim=(0, 1, 3)).nonzero() for g in gradients]
    return [0 if r is None or len(r) == 0 else int(r.max() - r.min()) + 1 for r in rows]


def multiply_adds(block: nn.Module, features: Sequence[Tensor]) -> int:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        block(features)
    flops: int = counter.get_total_flops()
    return flops // 2  # torch counts a multiply-add as two operations
