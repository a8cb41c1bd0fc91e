"""Exercises of notebook 01: the mask of a composite, the 50 % rule in whole numbers, a split by photograph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dirl_lib.exercises.checking import Wrong, exercise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MASK_PATHS = {
    "data/HFlickr/composite_images/f1000_1_2.jpg": "data/HFlickr/masks/f1000_1.png",
    "HCOCO/composite_images/c35030_434421_1.jpg": "HCOCO/masks/c35030_434421.png",
    "data/Mine/composite_images/my_old_dog_12_3.jpg": "data/Mine/masks/my_old_dog_12.png",
    "composite_images_2024/HCOCO/composite_images/c7_88_1.jpg": "composite_images_2024/HCOCO/masks/c7_88.png",
    "old.jpg/Mine/composite_images/v1.2_3_1.jpg": "old.jpg/Mine/masks/v1.2_3.png",
}


@exercise(
    "01.1",
    "the mask of a composite",
    hints=[
        'Only two parts of the path change: the folder just above the file, and the file. parts = path.split("/").',
        'The file: parts[-1].removesuffix(".jpg").rsplit("_", 1)[0] has lost the variant and kept the rest.',
        'Then "/".join([*parts[:-2], "masks", stem + ".png"]).',
    ],
)
def check_mask_path(answer: Callable[[str], str]) -> str:
    for path, expected in MASK_PATHS.items():
        found = answer(path)
        if not isinstance(found, str):
            raise Wrong(f"the path should be a str, it is a {type(found).__name__}.")
        if found != expected:
            raise Wrong(f"for {path} found {found}, expected {expected}. {_path_advice(path, found, expected)}")
    return "Only the name decides, from the right: no folder above, however it is called, can lead you astray."


def _path_advice(path: str, found: str, expected: str) -> str:
    if found.endswith(".jpg"):
        return "Masks are .png files."
    variant = path.removesuffix(".jpg").rsplit("_", 1)[1]
    if found == expected.replace(".png", f"_{variant}.png"):
        return "All variants share one mask: its name has no variant."
    if found.rsplit("/", 1)[-1] != expected.rsplit("/", 1)[-1]:
        return "Split the name from the right: the photograph's own name may hold underscores and dots."
    return "Change the folder just above the file, and nothing else of the path."


@exercise(
    "01.2",
    "the 50 % rule in whole numbers",
    hints=[
        "mean(mask / 255) <= 1/2 means: sum / (255 * pixels) <= 1/2. Multiply by both denominators.",
        "2 * sum <= 255 * pixels, where pixels is mask.size.",
        "Sum first, into a Python int: int(mask.sum(dtype=np.int64)). Doubling uint8 values wraps round at 256.",
    ],
)
def check_keeps(answer: Callable[[NDArray[np.uint8]], bool]) -> str:
    import numpy as np

    cases = _rule_cases()
    for name, mask in cases.items():
        expected = 2 * int(mask.sum(dtype=np.int64)) <= 255 * mask.size
        found = answer(mask.copy())
        if not isinstance(found, bool | np.bool_):
            raise Wrong(f"the answer should be True or False, it is a {type(found).__name__}.")
        if bool(found) != expected:
            verdict = "is kept" if expected else "is left out"
            raise Wrong(f"{name} {verdict}, your function says {bool(found)}. {_rule_advice(name)}")
    return "No rounding, no size at which it gives way: so anybody can draw the same 64255 and 7237 again."


def _rule_cases() -> dict[str, NDArray[np.uint8]]:
    import numpy as np

    half = np.zeros((4, 6), np.uint8)
    half[:2] = 255
    over = half.copy()
    over[3, 5] = 1
    soft_over = half.copy()
    soft_over[2] = 100  # grey values that a threshold would drop
    soft_below = np.zeros((4, 4), np.uint8)
    soft_below.flat[:6], soft_below.flat[6:9] = 255, 130  # grey values that a threshold would round up
    large = np.zeros((3000, 2000), np.uint8)
    large[:1500] = 255
    large[0, 0], large[2999, 1999] = 254, 2  # one step of 255 over the half, in 6 million pixels
    exact = np.array([[172, 83, 172], [83, 172, 83]], np.uint8)  # exactly half; as floats 0.5000000000000001
    return {
        "a small mask": (np.arange(16) < 3).reshape(4, 4).astype(np.uint8) * 255,
        "a nearly full mask": (np.arange(16) > 0).reshape(4, 4).astype(np.uint8) * 255,
        "a mask of exactly one half": half,
        "a mask whose grey pixels carry it over one half": soft_over,
        "a mask of many bright grey pixels, but below one half": soft_below,
        "a mask one grey step over one half": over,
        "a mask of 6 million pixels, one grey step over one half": large,
        "a grey mask of exactly one half": exact,
    }


def _rule_advice(name: str) -> str:
    if name in ("a small mask", "a nearly full mask"):
        return "Keep what covers at most half; and mind that uint8 values wrap round at 256."
    if name == "a mask of exactly one half":
        return "At most half: equality is kept."
    if "grey pixels" in name:
        return "Grey values count as they are; do not cut them at a threshold first."
    return "Compare whole numbers, without dividing and without rounding."


@exercise(
    "01.3",
    "a split by photograph",
    hints=[
        "First collect, for each photograph, its composites: a dict from photo to a list of stems.",
        'The photograph is stem.rsplit("_", 2)[0]; "c1" and "c12" are two of them.',
        "Go through the photographs; give all stems of one to validation while it holds fewer than wanted, and those "
        "of the others to training.",
    ],
)
def check_split(answer: Callable[[list[str], int], tuple[list[str], list[str]]]) -> str:
    for stems, wanted in _split_cases():
        result: Any = answer(list(stems), wanted)
        if not isinstance(result, tuple | list) or len(result) != 2 or not all(isinstance(x, list) for x in result):
            raise Wrong("return two lists: training, validation.")
        training, validation = result
        _judge_split(stems, wanted, training, validation)
    return "Validation now asks about photographs that the network has never met, as the world will."


def _split_cases() -> list[tuple[list[str], int]]:
    coco = [f"c{photo}_{mask}_{k}" for photo in (1, 12, 7, 30) for mask in (11, 25) for k in (1, 2)]
    return [
        (["c1_11_1", "c1_11_2", "c2_21_1", "c3_31_1"], 1),
        (coco, 4),
        (coco[::-1], 5),
        ([f"my_{name}_{mask}_1" for mask in (1, 2, 3) for name in ("cat", "dog", "old_dog")], 3),
    ]


def _photo(stem: str) -> str:
    return stem.rsplit("_", 2)[0]


def _judge_split(stems: Sequence[str], wanted: int, training: list[str], validation: list[str]) -> None:
    if Counter(training + validation) != Counter(stems):
        lost, extra = Counter(stems) - Counter(training + validation), Counter(training + validation) - Counter(stems)
        what = f"{next(iter(lost))} is on neither side" if lost else f"{next(iter(extra))} is there once too often"
        raise Wrong(f"{what}: every composite belongs to exactly one of the two lists.")
    both = {_photo(stem) for stem in training} & {_photo(stem) for stem in validation}
    if both:
        raise Wrong(f"the photograph {min(both)} is on both sides: all its composites, of all masks, go together.")
    if len(validation) < wanted:
        raise Wrong(
            f"validation holds {len(validation)} composites, expected at least {wanted}: training comes first in your "
            "answer, or it stops too early."
        )
    largest = max(Counter(_photo(stem) for stem in validation).values())
    if len(validation) - largest >= wanted:
        raise Wrong(
            f"validation holds {len(validation)} composites where {wanted} were wanted: stop as soon as there are "
            "enough. If you do, your groups are too coarse: my_cat and my_dog are two photographs, so are c1 and c12."
        )
