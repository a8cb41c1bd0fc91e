"""Where a network looks: the mass of its attention inside the region, its features as heat maps (supplement, Fig. 2).

    seen = look(load_model(), sample.image[None])[0]     # the mask, A_1..A_5, b_1..b_5, a_1..a_5 of one image
    drift = attention_drift(load_model(), data)          # over a data set, with intervals over photographs
    with attention_replaced(model, flat):                # what becomes of the mask without the map?
        found = model(images)

An attention map shows what was amplified, not why the mask is as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dirl_lib.checks import check_masks, check_probabilities
from dirl_lib.data.dataset import MaskedPhotos
from dirl_lib.evaluation import Estimate, estimates, photographs
from dirl_lib.models.dirl import DIRL
from dirl_lib.models.working_size import AtWorkingSize
from dirl_lib.types import Sample

__all__ = [
    "LEVELS",
    "AttentionRow",
    "Drift",
    "Look",
    "attention_drift",
    "attention_replaced",
    "attention_row",
    "drift_difference",
    "feature_heat",
    "flat",
    "look",
    "mass_inside",
    "shrunk_mask",
    "shuffled",
]

LEVELS = (1, 2, 3, 4, 5)
"""The levels k, finest first."""

Change = Callable[[Tensor, int], Tensor]
"""From A_k (B, 1, h, w) and k to what takes its place, of the same shape."""


class Look(NamedTuple):
    """What one network sees in one image. Maps and features have the network's own resolution, level by level."""

    mask: Tensor
    """(H, W), probabilities, at the size of the image."""
    attention: tuple[Tensor, ...]
    """A_1..A_5, each (h_k, w_k) in [0, 1]."""
    b: tuple[Tensor, ...]
    """b_1..b_5, each (C, h_k, w_k): what BFI hands to the attention. Any sign."""
    a: tuple[Tensor, ...]
    """a_1..a_5, each (C, h_k, w_k): what the attention hands to the decoder."""


class AttentionRow(NamedTuple):
    """One row of the supplement's Fig. 2."""

    title: str
    """A word or two, or ""."""
    image: Tensor
    """(3, H, W)."""
    mask: Tensor
    """The true one, (1, H, W)."""
    looks: tuple[Look, Look]
    """Of the two networks that are compared, at this image."""


class Drift(NamedTuple):
    """How much of a network's attention lies inside the true region, over a data set."""

    inside: tuple[Estimate, ...]
    """Level by level: the mean over images of `mass_inside`, in [0, 1], with its 95 % interval over photographs."""
    region: Estimate
    """The region's share of the picture: what a map that says the same everywhere reaches, at every level."""
    images: int
    """How many are in the means: those with a region."""
    photographs: int
    """How many photographs these show."""
    empty: int
    """Images without a region, left out."""
    per_image: NDArray[np.float64]
    """(images, 6): `mass_inside` at the five levels and the region's share, in the order of the data set."""
    photos: tuple[object, ...]
    """(images,): equal for images of one photograph."""


@torch.no_grad()
def look(model: nn.Module, images: Tensor) -> list[Look]:
    """What a network sees in each image of a batch; in the mode, training or evaluation, that it has.

    Args:
        model: a `DIRL`, or one inside `AtWorkingSize`. The latter answers with A_k enlarged to the size of the image;
            here A_k, b_k and a_k have the cells that the network computed.
        images: (B, 3, H, W), RGB in [0, 1], on the model's device.

    Raises:
        TypeError: another kind of model.
        ValueError: a network without attention; images that it cannot take (see `dirl_lib.checks`).
    """
    network = _network(model)
    found = model(images, return_features=True)
    b, a = (tuple(found.extras[f"{letter}_{k}"] for k in LEVELS) for letter in "ba")
    # At its working size the features are whole, never cut, so that the blocks give the very same A_k once more.
    attention = (
        tuple(block(b_k)[1] for block, b_k in zip(network.refinement, b, strict=True))
        if isinstance(model, AtWorkingSize)
        else found.attention
    )
    return [
        Look(
            found.mask[n, 0],
            tuple(level[n, 0] for level in attention),
            tuple(level[n] for level in b),
            tuple(level[n] for level in a),
        )
        for n in range(len(images))
    ]


def attention_row(title: str, sample: Sample, first: nn.Module, second: nn.Module) -> AttentionRow:
    """A row of the supplement's Fig. 2: one composite seen by two networks, usually DA and MDA.

    Raises:
        TypeError, ValueError: as `look`.
    """
    looks = tuple(look(model, sample.image[None])[0] for model in (first, second))
    return AttentionRow(title, sample.image, sample.mask, (looks[0], looks[1]))


def feature_heat(feature: Tensor) -> Tensor:
    """A feature as one picture: the mean over its channels of the absolute value, (..., C, h, w) -> (..., h, w) >= 0.

    The paper shows b_5 and a_5 as heat maps and does not say how. The plain mean lets a strong plus cancel a strong
    minus, the maximum shows one channel. Absolute values have another advantage: as the gates are positive,
    |a_k| = |c_k| A_k with c_k = b_k times its channel weights, so that the heat of a_k is that of c_k times A_k. (With
    the released residual: times 1 + A_k.)

    Raises:
        ValueError: fewer than three dimensions.
    """
    if feature.ndim < 3:
        raise ValueError(f"a feature has shape {tuple(feature.shape)}, expected (C, h, w) or (B, C, h, w)")
    return feature.abs().mean(dim=-3)


def shrunk_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """The share of each cell of a map that is inharmonious, exact for any two sizes.

    Args:
        mask: (B, 1, H, W) in [0, 1].
        size: (h, w) of the map.

    Returns:
        (B, 1, h, w) in [0, 1], float64; its mean is the mask's. Where h divides H and w divides W it is what
        `torch.nn.functional.interpolate(mode="area")` gives; elsewhere that counts pixels on the border of two cells
        for both.
    """
    rows, columns = (_overlaps(cells, pixels) for cells, pixels in zip(size, mask.shape[-2:], strict=True))
    return rows @ mask.detach().cpu().double() @ columns.T


def _overlaps(cells: int, pixels: int) -> Tensor:
    """(cells, pixels): the share of each cell that each pixel covers; rows add up to 1."""
    cell, pixel = (torch.arange(count + 1, dtype=torch.float64) / count for count in (cells, pixels))
    end = torch.minimum(cell[1:, None], pixel[None, 1:])
    start = torch.maximum(cell[:-1, None], pixel[None, :-1])
    return (end - start).clamp(min=0) * cells


def mass_inside(attention: Tensor, mask: Tensor) -> Tensor:
    """The share of a map's mass that lies in the true region, sum(A_k m_k) / sum(A_k), m_k the mask shrunk by areas.

    A map that says the same everywhere gets the region's share of the picture, a perfect one gets 1 (but for cells on
    the outline).

    Args:
        attention: A_k, (B, 1, h, w) in [0, 1].
        mask: (B, 1, H, W) in [0, 1]; any size.

    Returns:
        (B,), float64 in [0, 1], on the CPU; 0 for an empty mask, and for a map of zeros, which has no mass anywhere.

    Raises:
        TypeError, ValueError: see `dirl_lib.checks`; not as many maps as masks.
    """
    check_probabilities(attention, name="attention")
    check_masks(mask)
    if len(attention) != len(mask):
        raise ValueError(f"found {len(attention)} maps and {len(mask)} masks, expected one mask for each map")
    height, width = attention.shape[-2:]
    weights = attention.detach().cpu().double()
    inside, total = (masses.sum(dim=(1, 2, 3)) for masses in (weights * shrunk_mask(mask, (height, width)), weights))
    return torch.where(total > 0, inside / total.clamp(min=torch.finfo(torch.float64).tiny), 0.0)


def attention_drift(
    model: nn.Module,
    data: MaskedPhotos,
    *,
    batch_size: int = 16,
    device: str | torch.device = "cpu",
    progress: Callable[[int], object] | None = None,
) -> Drift:
    """Where a network's attention lies on every image of a data set, at all five levels.

    Args:
        model: as `look`; runs in evaluation mode without gradients, and is left in the mode it had.
        data: composites with their regions, without augmentation.
        batch_size: images at a time.
        device: where the model runs; it is moved there.
        progress: called after each batch with the number of its images.

    Returns:
        Means over images, with intervals that draw photographs with all their images (see
        `evaluation.bootstrap_interval`); the ends are None where there is a single photograph.

    Raises:
        TypeError, ValueError: as `look`; images that keep their shape in batches of several; no image has a region.
        ImageFileError: a file cannot be read.
    """
    if data.resize.keep_aspect and batch_size > 1:
        raise ValueError(f"found images that keep their shape and batch_size {batch_size}, expected batch_size=1")
    model.to(device)
    was_training = model.training
    model.eval()
    rows: list[NDArray[np.float64]] = []
    try:
        for batch in DataLoader(data, batch_size):
            looks = look(model, batch.image.to(device))
            columns = [
                mass_inside(torch.stack([seen.attention[k - 1] for seen in looks])[:, None], batch.mask) for k in LEVELS
            ]
            rows.append(torch.stack([*columns, batch.mask.double().mean(dim=(1, 2, 3))], dim=1).numpy())
            if progress is not None:
                progress(len(looks))
    finally:
        model.train(was_training)
    table = np.concatenate(rows)
    has_region = table[:, -1] > 0
    if not has_region.any():
        raise ValueError(
            f"none of {len(table)} images has a region, expected at least one with a mask that is not empty"
        )
    photos = tuple(photo for photo, kept in zip(photographs(data), has_region, strict=True) if kept)
    values = table[has_region]
    *inside, region = estimates(values, photos)
    return Drift(
        inside=tuple(inside),
        region=region,
        images=len(values),
        photographs=len(set(photos)),
        empty=int((~has_region).sum()),
        per_image=values,
        photos=photos,
    )


def drift_difference(first: Drift, second: Drift) -> tuple[Estimate, ...]:
    """The mass inside of `second` minus that of `first`, level by level, image against image.

    Two intervals that overlap may still belong to a sure difference, as both networks find the same images easy; the
    interval of the difference is the one to read.

    Raises:
        ValueError: the two were not measured on the same images.
    """
    if first.photos != second.photos or not np.array_equal(first.per_image[:, -1], second.per_image[:, -1]):
        raise ValueError(
            f"found measurements on {first.images} and on {second.images} images that are not the same ones, "
            f"expected one data set for both"
        )
    return tuple(estimates(second.per_image[:, :-1] - first.per_image[:, :-1], first.photos))


@contextmanager
def attention_replaced(model: nn.Module, change: Change, levels: Sequence[int] = LEVELS) -> Iterator[None]:
    """Inside the `with` block the network works with other attention maps; afterwards it is as it was.

        with attention_replaced(model, flat, levels=[5]):
            without = model(images).mask

    Args:
        model: as `look`.
        change: takes A_k (B, 1, h, w) and k, gives what takes its place; `flat` or `shuffled`, or one of yours.
        levels: which k.

    Raises:
        TypeError, ValueError: as `look`; a level that is none of 1 to 5; a replacement of another shape.
    """
    network = _network(model)
    if not set(levels) <= set(LEVELS):
        raise ValueError(f"found the levels {list(levels)}, expected some of {list(LEVELS)}")

    def hook_of(k: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def hook(_gate: nn.Module, _inputs: tuple[Tensor, ...], attention: Tensor) -> Tensor:
            changed = change(attention, k)
            if changed.shape != attention.shape:
                raise ValueError(
                    f"the replacement of A_{k} has shape {tuple(changed.shape)}, expected {tuple(attention.shape)}"
                )
            return changed

        return hook

    handles = []
    try:
        for k in levels:
            gate = network.refinement[k - 1].get_submodule("spatial_gate")
            handles.append(gate.register_forward_hook(hook_of(k)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def flat(attention: Tensor, _level: int = 0) -> Tensor:
    """The map's mean in every cell, image by image: as much amplification in all, and no word about places."""
    return attention.mean(dim=(-2, -1), keepdim=True).expand_as(attention)


def shuffled(generator: torch.Generator) -> Change:
    """A change that deals the cells of each map out anew: the same values, at places drawn by `generator`."""

    def shuffle(attention: Tensor, _level: int = 0) -> Tensor:
        values = attention.flatten(1)
        order = torch.rand(values.shape, generator=generator).argsort(dim=1).to(values.device)
        return values.gather(1, order).view_as(attention)

    return shuffle


def _network(model: nn.Module) -> DIRL:
    network = model.network if isinstance(model, AtWorkingSize) else model
    if not isinstance(network, DIRL):
        raise TypeError(f"the model is a {type(model).__name__}, expected a DIRL, or one inside AtWorkingSize")
    if not len(network.refinement):
        raise ValueError(
            "the network has no attention maps, expected a preset with refinement, as 'paper', 'da' or 'row-08'"
        )
    return network
