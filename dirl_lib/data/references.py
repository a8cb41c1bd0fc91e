"""Whose colours an object may take on: the rule that offline and on-the-fly composites share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from dirl_lib.data.folders import MaskedPhoto

__all__ = ["References"]


class References:
    """Draws references: an object of the same class, in another photograph of the same split.

    As in HCOCO and HFlickr (Cong et al. 2020, section 3), where a dog takes the colours of another dog. Never from
    another split: no colour of a test photograph may reach training. Where a split has no other photograph the
    training photographs serve, and where no class is known, or no other object has it, any object does.
    """

    def __init__(self, photos: Sequence[MaskedPhoto]) -> None:
        """Look through the records once.

        Raises:
            ValueError: all records belong to one photograph.
        """
        if len({photo.photo for photo in photos}) < 2:
            raise ValueError("found one photograph, expected at least two: a region takes its colours from another")
        self._photos = photos
        self._of_split: dict[str, list[int]] = defaultdict(list)
        self._of_class: dict[tuple[str, str], list[int]] = defaultdict(list)
        for index, photo in enumerate(photos):
            self._of_split[photo.split].append(index)
            if photo.category:
                self._of_class[photo.split, photo.category].append(index)

    def draw(self, index: int, tries: int, rng: np.random.Generator) -> list[int]:
        """At most `tries` different records whose colours record `index` may take on, in the order of the draw.

        Raises:
            ValueError: neither its own split nor training has another photograph.
        """
        one = self._photos[index]
        for candidates in (
            self._of_class.get((one.split, one.category), []),
            self._of_split[one.split],
            self._of_split.get("train", []),
        ):
            chosen = self._draw_from(candidates, one.photo, tries, rng)
            if chosen:
                return chosen
        raise ValueError(
            f"{one.image_path}: the split {one.split!r} has no other photograph to take colours from; add photographs"
        )

    def _draw_from(self, candidates: Sequence[int], photo: str, tries: int, rng: np.random.Generator) -> list[int]:
        """Records of other photographs, drawn one by one: listing them all for each draw would take n squared steps."""
        chosen: dict[int, None] = {}
        for place in rng.integers(len(candidates), size=4 * tries).tolist() if len(candidates) > 4 * tries else []:
            if self._photos[candidates[place]].photo != photo:
                chosen.setdefault(candidates[place])
            if len(chosen) == tries:
                return list(chosen)
        others = [other for other in candidates if self._photos[other].photo != photo and other not in chosen]
        return [*chosen, *(int(other) for other in rng.permutation(others)[: tries - len(chosen)])]
