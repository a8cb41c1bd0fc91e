"""Typical wrong answers to the exercises of notebook 01, each with the hint it must meet."""

import numpy as np


def replaced_everywhere(path):
    return path.replace("composite_images", "masks").rsplit("_", 1)[0] + ".png"


def replaced_and_kept_the_variant(path):
    return path.replace("composite_images", "masks").replace(".jpg", ".png")


def still_a_jpeg(path):
    return path.replace("composite_images", "masks").rsplit("_", 1)[0] + ".jpg"


def from_the_left(path):
    *folders, _, name = path.split("/")
    photo, mask = name.split("_")[:2]
    return "/".join([*folders, "masks", f"{photo}_{mask}.png"])


def the_parts_only(path):
    return path.split("/")[-1].rsplit("_", 2)


def binarised_first(mask):
    return bool((mask > 127).mean() <= 0.5)


def doubled_as_bytes(mask):
    return bool((2 * mask).sum() <= 255 * mask.size)


def below_only(mask):
    return 2 * int(mask.sum(dtype=np.int64)) < 255 * mask.size


def over_half(mask):
    return 2 * int(mask.sum(dtype=np.int64)) > 255 * mask.size


def float_mean(mask):
    return bool((mask / 255).mean() <= 0.5)


def rounded(mask):
    return round(float((mask / 255).mean()), 4) <= 0.5


def the_share(mask):
    return float((mask / 255).mean())


def _grouped(stems, wanted, key):
    groups = {}
    for stem in stems:
        groups.setdefault(key(stem), []).append(stem)
    validation = []
    for group in groups.values():
        if len(validation) < wanted:
            validation += group
    return [stem for stem in stems if stem not in validation], validation


def by_composite(stems, wanted):
    return stems[wanted:], stems[:wanted]


def by_mask(stems, wanted):
    return _grouped(stems, wanted, lambda stem: stem.rsplit("_", 1)[0])


def from_the_left_too(stems, wanted):
    return _grouped(stems, wanted, lambda stem: stem.split("_")[0])


def by_beginning(stems, wanted):
    """Takes whatever begins with the photograph's name: c1 takes c12 along, and twice."""
    validation = []
    for photo in dict.fromkeys(stem.rsplit("_", 2)[0] for stem in stems):
        if len(validation) < wanted:
            validation += [stem for stem in stems if stem.startswith(photo)]
    return [stem for stem in stems if stem not in validation], validation


def all_to_validation(stems, wanted):
    return [], stems if wanted else []


def the_other_way_round(stems, wanted):
    training, validation = _grouped(stems, len(stems) - wanted, lambda stem: stem.rsplit("_", 2)[0])
    return validation, training


def left_some_out(stems, wanted):
    training, validation = _grouped(stems, wanted, lambda stem: stem.rsplit("_", 2)[0])
    return training[1:], validation


def validation_only(stems, wanted):
    return _grouped(stems, wanted, lambda stem: stem.rsplit("_", 2)[0])[1]


WRONG = {
    "01.1": [
        (replaced_everywhere, "Change the folder just above the file"),
        (replaced_and_kept_the_variant, "has no variant"),
        (still_a_jpeg, r"Masks are \.png"),
        (from_the_left, "Split the name from the right"),
        (the_parts_only, "should be a str, it is a list"),
    ],
    "01.2": [
        (binarised_first, "Grey values count as they are"),
        (doubled_as_bytes, "wrap round at 256"),
        (below_only, "equality is kept"),
        (over_half, "Keep what covers at most half"),
        (float_mean, "Compare whole numbers"),
        (rounded, "without rounding"),
        (the_share, "True or False, it is a float"),
    ],
    "01.3": [
        (by_composite, "is on both sides"),
        (by_mask, "of all masks, go together"),
        (from_the_left_too, "groups are too coarse"),
        (by_beginning, "so are c1 and c12"),
        (all_to_validation, "stop as soon as there are enough"),
        (the_other_way_round, "at least"),
        (left_some_out, "is on neither side"),
        (validation_only, "return two lists"),
    ],
}
