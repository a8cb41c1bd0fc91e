"""Batches, epoch by epoch: the one sampler of the kit, and a DataLoader made with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from dirl_lib.data.transforms import item_seed
from dirl_lib.types import Sample

__all__ = ["EpochSampler", "make_loader"]


class EpochSampler(Sampler[int]):
    """Every item once an epoch, in an order and with draws that belong to the epoch: yields `epoch * n + i`.

    The epoch travels inside the index, so that it reaches workers that are kept alive between epochs, and no call of
    `set_epoch` can be forgotten.
    """

    def __init__(
        self,
        length: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        epoch: int = 0,
        skip: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """An order over `length` items.

        Args:
            length: of the data set.
            shuffle: False goes through in order.
            seed: of the orders.
            epoch: the first one; each iteration moves on by one.
            skip: so many items of the first epoch are over already: how a training goes on in the middle of one.
            rank, world: of `world` processes this one takes every `world`-th item, so that together they see what one
                process would.
        """
        self.length = length
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = epoch
        self.skip = skip
        self.rank = rank
        self.world = world

    def __len__(self) -> int:
        return (self.length - self.skip) // self.world

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.length
        order = torch.arange(self.length)
        if self.shuffle:
            generator = torch.Generator().manual_seed(item_seed(self.seed, self.epoch))
            order = torch.randperm(self.length, generator=generator)
        mine = order[self.skip :][self.rank :: self.world][: len(self)]
        self.epoch += 1
        self.skip = 0
        yield from (first + mine).tolist()


def make_loader(
    dataset: Dataset[Sample],
    batch_size: int,
    *,
    train: bool,
    workers: int = 0,
    seed: int = 0,
    sampler: EpochSampler | None = None,
    **options: Any,
) -> DataLoader[Sample]:
    """A DataLoader that gives the same batches whatever `workers` is; a batch is a `Sample` of stacked tensors.

    Args:
        dataset: any data set of this kit.
        batch_size: images in a batch.
        train: True shuffles and drops the last, smaller batch (released); False goes through in order.
        workers: processes that load beside the training; 0 loads in this one. A prepared store needs few or none.
        seed: of the order.
        sampler: another than the one that `train` and `seed` ask for, as one that begins in the middle.
        options: what else `torch.utils.data.DataLoader` takes, as `pin_memory`.
    """
    length = len(dataset)  # type: ignore[arg-type]
    if train and length < batch_size:
        raise ValueError(f"found {length} images, expected at least one batch of {batch_size}; lower batch_size")
    if train and sampler is None:
        sampler = EpochSampler(length, seed=seed)
    # A loader draws a seed for its workers at each start; not from torch's own numbers, which a stopped run must keep.
    options.setdefault("generator", torch.Generator().manual_seed(seed))
    if workers:
        options.setdefault("persistent_workers", True)
    return DataLoader(dataset, batch_size, sampler=sampler, drop_last=train, num_workers=workers, **options)
