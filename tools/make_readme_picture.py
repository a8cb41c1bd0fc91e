"""Make the README's picture, docs/composites.jpg: composites above their masks, in the manner of the paper's Fig. 1."""

import numpy as np
from course.notebooks import ROOT

from dirl_lib.data.sample import find_sample, list_samples
from dirl_lib.images import read_image, read_mask, write_image

HEIGHT, GAP, WHITE = 240, 8, 255
SHOWN = (("coffee", "cup", "xiao_ma"), ("china", "pagoda", "reinhard"), ("chelsea", "face", "histogram"))


def column(photo: str, region: str, method: str) -> np.ndarray:
    """One composite over its mask, uint8 (2 HEIGHT + GAP, width, 3)."""
    name = find_sample(photo, region=region, method=method)
    record = next(each for each in list_samples() if each.name == name)
    image, mask = read_image(record.image_path), read_mask(record.mask_path)
    # Rows and columns are picked, not blended, so that the mask stays black and white.
    rows = np.arange(HEIGHT) * image.shape[0] // HEIGHT
    columns = np.arange(round(HEIGHT * image.shape[1] / image.shape[0])) * image.shape[0] // HEIGHT
    image, mask = image[rows][:, columns], np.repeat(mask[rows][:, columns, None], 3, axis=2)
    gap = np.full((GAP, image.shape[1], 3), WHITE, np.uint8)
    return np.concatenate([image, gap, mask.astype(np.uint8) * WHITE])


def main() -> None:
    columns = [column(*shown) for shown in SHOWN]
    gap = np.full((columns[0].shape[0], GAP, 3), WHITE, np.uint8)
    parts = [part for each in columns for part in (each, gap)][:-1]
    write_image(ROOT / "docs" / "composites.jpg", np.concatenate(parts, axis=1))


if __name__ == "__main__":
    main()
