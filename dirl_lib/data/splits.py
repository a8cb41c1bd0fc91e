"""Which composites go where: the 50 % rule, a validation split by photograph, the test images of unseen photographs.

All are functions of lists of names, so that anybody can draw the very same splits again.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

from dirl_lib.data.names import CompositeName

__all__ = ["at_most_half", "split_validation", "unseen_photographs"]


def at_most_half(mask_sum: int, pixels: int) -> bool:
    """The 50 % rule: mean(mask / 255) <= 0.5, over all pixels of the file, grey values kept (paper, section 4.1).

    In whole numbers, as rounding could turn a border case: the largest ratio that iHarmony4 keeps is 0.49973, the
    smallest that it drops 0.500007.

    Args:
        mask_sum: sum of the mask's values, 0 to 255 each.
        pixels: height times width.
    """
    return 2 * mask_sum <= 255 * pixels


def split_validation(
    names: Sequence[CompositeName], fraction: float = 0.1, seed: int = 0
) -> tuple[list[CompositeName], list[CompositeName]]:
    """Draw a validation list by photograph: all composites of one photograph lie on one side.

    Drawn by composite, two recolourings of one object in one photograph would land on both sides, and validation would
    measure memory. Each sub-dataset gives its own share, so that Hday2night is not left to chance.

    Photographs are ranked by a hash of their names, and the first ones are taken: where a part of the data is absent,
    the rest is drawn as before, so that no weights are validated on photographs they were trained on.

    Args:
        names: the training composites.
        fraction: of the composites of each sub-dataset, reached or passed by less than one photograph.
        seed: of the draw. The order of `names` has no part in it.

    Returns:
        (training, validation), each in the order of `names`.
    """
    photos: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for name in names:
        photos[name.subset][name.photo] += 1
    chosen: set[tuple[str, str]] = set()
    for subset, counts in photos.items():
        wanted = fraction * sum(counts.values())
        for photo in sorted(counts, key=lambda photo: _rank(seed, subset, photo)):
            if wanted <= 0:
                break
            chosen.add((subset, photo))
            wanted -= counts[photo]
    training = [name for name in names if (name.subset, name.photo) not in chosen]
    validation = [name for name in names if (name.subset, name.photo) in chosen]
    return training, validation


def unseen_photographs(test: Sequence[CompositeName], train: Iterable[CompositeName]) -> list[CompositeName]:
    """The test composites whose photograph is not in training: 5417 of iHarmony4's 7237.

    The other quarter shows a photograph that training has shown too, with another object recoloured: the network may
    have seen the test object untouched, as background.
    """
    seen = {(name.subset, name.photo) for name in train}
    return [name for name in test if (name.subset, name.photo) not in seen]


def _rank(seed: int, subset: str, photo: str) -> bytes:
    return hashlib.sha256(f"{seed}/{subset}/{photo}".encode()).digest()
