"""Records on disk to samples: `MaskedPhotos`, from files or from a prepared store, the same with any number of workers.

    photos = MaskedPhotos(pair_folders("photos", "masks"), size=224)
    sample = photos[0]                     # Sample(name, image (3, 224, 224), mask (1, 224, 224), real)

**Index and epoch.** A data set of n items answers to any index: item i of epoch e is `epoch * n + i`, and each epoch
draws new crops. `dirl_lib.data.loading.make_loader` counts the epochs; a DataLoader that shuffles 0 to n - 1 by itself
repeats the draws of epoch 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dirl_lib.data.cache import PreparedStore
from dirl_lib.data.folders import MaskedPhoto, read_pair
from dirl_lib.data.transforms import ReleasedAugmentation, Resize, from_the_end, item_seed, seeded
from dirl_lib.types import Sample

__all__ = ["MaskedPhotos"]


class MaskedPhotos(Dataset[Sample]):
    """Images with masks as `Sample`s.

    Args:
        records: from `folders.pair_folders` or `folders.read_table`; `IHarmony4` makes its own.
        size: a square by the released rule (224 released, 256 paper), or a `Resize`.
        augment: "released" for training: random crop and flip, other ones in each epoch; None resizes only.
        cache: a store made by `cache.prepare`, so that no file is decoded; without `augment` it must have been made
            with the same `size`. Augmented crops of a store are cut from its smaller pictures.
        seed: of the augmentation.
        problems: None refuses a store that left some of the records out as bad files; a list takes one line for each,
            and the rest is used.

    Raises:
        ValueError: no records, two of one name.
        StoreError: a store of other files or of another size.
    """

    def __init__(
        self,
        records: Sequence[MaskedPhoto],
        size: int | Resize = 224,
        *,
        augment: Literal["released"] | None = None,
        cache: str | Path | None = None,
        seed: int = 0,
        problems: list[str] | None = None,
    ) -> None:
        if not records:
            raise ValueError("found no records, expected at least one image with its mask")
        if len({record.name for record in records}) < len(records):
            raise ValueError("found two records of one name, expected each name once; load the folders separately")
        self.records = list(records)
        self.resize = Resize(size) if isinstance(size, int) else size
        self.augmentation = self._augmentation(augment)
        self.seed = seed
        self.store = PreparedStore(cache) if cache is not None else None
        if self.store is not None:
            if problems is not None:
                problems += [self.store.excluded[r.name] for r in self.records if r.name in self.store.excluded]
                self.records = [record for record in self.records if record.name not in self.store.excluded]
            self.store.check_holds(self.records, self.resize if self.augmentation is None else None)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        """Item `index % n` as drawn in epoch `index // n`; negative indices count from the end of epoch 0.

        Raises:
            IndexError: below -n.
            ImageFileError: a file cannot be used; the message names it.
            StoreError: an entry of the store is damaged; the message names it.
        """
        index = from_the_end(index, len(self))
        record = self.records[index % len(self)]
        if self.augmentation is None:
            image, mask = self._resized(record)
        else:
            with seeded(item_seed(self.seed, index)):
                image, mask = self.augmentation(*self._source(record))
        return Sample(record.name, image.float().div_(255), mask.float(), torch.empty(3, 0, 0))

    def __iter__(self) -> Iterator[Sample]:
        """Epoch 0, in order. Indices have no end, so that without this a `for` loop would have none either."""
        return (self[index] for index in range(len(self)))

    def _augmentation(self, augment: str | None) -> ReleasedAugmentation | None:
        if augment is None:
            return None
        if augment != "released":
            raise ValueError(f"found augment {augment!r}, expected 'released' or None")
        if self.resize.keep_aspect:
            raise ValueError("the released augmentation crops to squares; give size as a number, without keep_aspect")
        return ReleasedAugmentation(self.resize.size, antialias=self.resize.antialias)

    def _resized(self, record: MaskedPhoto) -> tuple[Tensor, Tensor]:
        if self.store is not None:
            return self.store[record.name]
        return self.resize(*read_pair(record, at_least=self.resize.decode_at_least))

    def _source(self, record: MaskedPhoto) -> tuple[Tensor, Tensor]:
        """What crops are cut from: the store's picture, or the whole file."""
        if self.store is None:
            return read_pair(record)
        image, mask = self.store[record.name]
        return image, mask.to(torch.uint8) * 255
