"""Exercises of notebook 08: a schedule as a pure function, a batch in parts, the share of one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dirl_lib.exercises.checking import Wrong, exercise, expect_close

if TYPE_CHECKING:
    from torch import Tensor, nn

LONG_EPOCHS = (0.25, 0.5, 0.75, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25)
"""Rates of steps 0 to 11 with 2 steps an epoch, in thousandths; counted by hand."""
SHORT_EPOCHS = (0.25, 0.5, 0.75, 0.5, 0.5, 0.25, 0.25)
"""Rates of steps 0 to 6 with 1 step an epoch: the first halving comes in the last step of the warm-up."""


@exercise(
    "08.1",
    "the rate of any step",
    hints=[
        "Three factors: the highest rate, one half for each milestone that is over, the part of the warm-up.",
        "A milestone of 3 epochs is over from step 3 * steps_per_epoch on: sum(step >= epoch * steps_per_epoch ...).",
        "0.001 * 0.5**halvings * min(1, (step + 1) / 4)",
    ],
)
def check_learning_rate(answer: Callable[[int, int], float]) -> str:
    for steps_per_epoch, rates in ((2, LONG_EPOCHS), (1, SHORT_EPOCHS)):
        found = [float(answer(step, steps_per_epoch)) for step in range(len(rates))]
        for step, thousandths in enumerate(rates):
            expect_close(
                f"the rate of step {step}, with {steps_per_epoch} steps an epoch,",
                found[step],
                thousandths / 1000,
                hint=_rate_advice(found, step, steps_per_epoch),
                atol=1e-9,
            )
    return "Asked again after any interruption it gives the same rate: there is no schedule to save."


def _rate_advice(found: Sequence[float], step: int, steps_per_epoch: int) -> str:
    value = found[step] * 1000
    passed = [epoch for epoch in (3, 5) if step >= epoch * steps_per_epoch]
    if step == 0 and value == 0:
        return "A first step of length 0 changes nothing: step 0 is the first of four, count (step + 1) / 4."
    if step == 0 and value in (0.0625, 0.125):
        return "You count the milestones that are still to come, as the released code does when it resumes."
    if step < 4 and value == 1:
        return "The warm-up is missing."
    if step >= 4 and value > 1:
        return "After the warm-up the rate stays at its highest: min(1, ...)."
    if step == 3 * steps_per_epoch and value == 2 * 0.5 ** len(passed):
        return "3 epochs are over when step 3 * steps_per_epoch begins: >=, not >."
    if step < 3 * steps_per_epoch:
        return "Milestones are epochs, steps are steps: multiply by steps_per_epoch."
    if passed == [3, 5] and value > 0.25:
        return "After 5 epochs it is halved a second time."
    return "Which milestones are over at this step? Halve once for each."


@exercise(
    "08.2",
    "a batch in parts",
    hints=[
        "images.split(part) gives the parts; gradients add up in .grad by themselves.",
        "The loss of a part is a mean over its own images; in that of the whole it counts by its share of the images.",
        "Multiply the loss of a part by its share, call backward(), and add up the values: no zero_grad in between.",
    ],
)
def check_backward_in_parts(answer: Callable[[nn.Module, Callable[..., Tensor], Tensor, Tensor, int], float]) -> str:
    import torch

    generator = torch.Generator().manual_seed(82)
    images = torch.rand(7, 3, 6, 6, generator=generator, dtype=torch.float64)
    # Masks of very different sizes, so that a small last part has another loss than the rest.
    masks = (torch.rand(7, 1, 6, 6, generator=generator) < torch.linspace(0.05, 0.95, 7).view(7, 1, 1, 1)).double()
    for part in (7, 3, 2):
        network, seen = _counting_network()
        value = _whole(network, images, masks)
        expected = _gradient(network)
        network.zero_grad()
        seen.clear()

        found = answer(network, torch.nn.functional.binary_cross_entropy, images.clone(), masks.clone(), part)
        where = f"with 7 images in parts of {part}"
        if not seen:
            raise Wrong(f"The network was never asked {where}: each part goes through network(...).")
        if max(seen) > part:
            raise Wrong(f"The network saw {max(seen)} images at once, memory holds {part}: use images.split(part).")
        gradient = _gradient(network)
        expect_close(
            f"the gradient {where}",
            gradient,
            expected,
            hint=_parts_advice(gradient, network, images, masks, part),
            rtol=1e-7,
            atol=1e-10,
        )
        expect_close(
            f"the mean loss {where}",
            found,
            value,
            hint="Add up the parts, each weighted as in the gradient.",
            rtol=1e-6,
        )
    return "What one device does one after another, several do at once: DDP is this sum, taken over a network cable."


def _counting_network() -> tuple[nn.Module, list[int]]:
    """A network without batch norm in float64, and the batch sizes that it has met."""
    import torch
    from torch import nn

    seen: list[int] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        network = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 1, 1), nn.Sigmoid()).double()
    network.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    return network, seen


def _whole(network: nn.Module, images: Tensor, masks: Tensor) -> float:
    from torch.nn.functional import binary_cross_entropy

    loss = binary_cross_entropy(network(images), masks)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item()


def _gradient(network: nn.Module) -> Tensor:
    import torch

    gradients = [weight.grad for weight in network.parameters()]
    if any(gradient is None for gradient in gradients):
        raise Wrong("After your function some weights have no gradient: call backward() on each part's loss.")
    return torch.cat([gradient.flatten() for gradient in gradients if gradient is not None])


def _parts_advice(found: Tensor, network: nn.Module, images: Tensor, masks: Tensor, part: int) -> str:
    import torch

    gradients, shares = [], []
    for first in range(0, len(images), part):
        some = slice(first, first + part)
        network.zero_grad()
        _whole(network, images[some], masks[some])
        gradients.append(_gradient(network))
        shares.append(len(images[some]) / len(images))
    slips = {
        "That is the sum of the parts' gradients; the whole is their mean, weighted by their sizes.": sum(gradients),
        "A mean over the parts treats a small last part like the others: weight each by its number of images.": sum(
            gradients
        )
        / len(gradients),
        "Only the last part is left: do not forget the gradients (zero_grad) in between.": gradients[-1] * shares[-1],
        "Only the last part is left, with its full weight: do not forget the gradients in between.": gradients[-1],
        "Only the first part is there: go through all of them.": gradients[0] * shares[0],
    }
    for advice, value in slips.items():
        if torch.allclose(found, torch.as_tensor(value), rtol=1e-6, atol=1e-10):
            return advice
    return "Each part counts by its share of the images, len(part) / len(images)."


@exercise(
    "08.3",
    "my share",
    hints=[
        "First leave out what is over, then share the rest.",
        "Neighbours in the order belong to one step: process 0 takes the first, process 1 the second, and so on.",
        "left = order[skip:]; left[rank::world] is the share, cut to len(left) // world items.",
    ],
)
def check_my_share(answer: Callable[[list[int], int, int, int], Sequence[int]]) -> str:
    order = [4, 11, 0, 7, 2, 9, 12, 5, 1, 8, 3, 10, 6]
    for world, skip in ((1, 0), (1, 6), (2, 0), (2, 3), (3, 0), (3, 4), (4, 8)):
        shares = [[int(item) for item in answer(list(order), skip, rank, world)] for rank in range(world)]
        _judge_shares(shares, order[skip:], f"With {world} processes and {skip} images over")
    return "So the number of devices can change from one start to the next, and the training does not notice."


def _judge_shares(shares: list[list[int]], left: list[int], when: str) -> None:
    world = len(shares)
    taken = [item for share in shares for item in share]
    if over := set(taken) - set(left):
        raise Wrong(f"{when}, item {min(over)} is taken again: leave out order[:skip] before you share.")
    if len({len(share) for share in shares}) > 1:
        lengths = ", ".join(str(len(share)) for share in shares)
        raise Wrong(f"{when}, the processes take {lengths} items: all must take equally many, len(left) // world.")
    if len(set(taken)) < len(taken):
        raise Wrong(f"{when}, an item is taken twice: each process needs another part, which rank decides.")
    if len(taken) < world * (len(left) // world):
        raise Wrong(
            f"{when}, {len(taken)} items are taken, expected {world * (len(left) // world)}: leave out `skip` images "
            "once, before sharing, and of the rest only what does not go round."
        )
    for first in range(0, len(taken), world):
        expected = set(left[first : first + world])
        found = {share[first // world] for share in shares}
        if found != expected:
            raise Wrong(
                f"{when}, the processes take {sorted(found)} as item {first // world} each, expected "
                f"{sorted(expected)} in some order: neighbours in the order belong to one step, so share them out in "
                "turn and not in blocks."
            )
