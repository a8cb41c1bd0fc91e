"""Our four colour transfers beside iHarmony4's published example, the object c35030_434421 of HCOCO.

python benchmarks/hcoco_example.py FOLDER                  # FOLDER holds real_images/c35030.jpg and so on
python benchmarks/hcoco_example.py FOLDER --json results/hcoco_example.json

The example stands in the data set's repository, under color_transfer_methods/data; its reference, the object
c172513_1275867, is expected in FOLDER/reference. No pixel of it is in this kit.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt

from dirl_lib.images import read_image, read_mask
from dirl_lib.provenance import write_record
from dirl_lib.synthesis.color_transfer import METHODS, recolor

RINGS = ((0, 4), (4, 8), (8, 16), (16, 1000))
"""Distance to the outline, in pixels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the figures with their provenance")
    options = parser.parse_args()
    figures = compare(options.folder)
    for method, one in figures.items():
        print(method)
        for name, values in one.items():
            print(f"  {name:40s} {values}")
    if options.json:
        write_record(options.json, {"benchmark": "hcoco_example", "results": figures})


def compare(folder: Path) -> dict[str, dict[str, object]]:
    """Means, spreads and per-pixel differences inside the mask, R G B, in steps of 0 to 255."""
    photo, mask = read_image(folder / "real_images" / "c35030.jpg"), read_mask(folder / "masks" / "c35030_434421.png")
    reference = read_image(folder / "reference" / "c172513.jpg")
    colors = reference[read_mask(folder / "reference" / "c172513_1275867.png")]
    depth = distance_transform_edt(mask)
    figures: dict[str, dict[str, object]] = {}
    for variant, method in enumerate(METHODS, start=1):
        published = read_image(folder / "composite_images" / f"c35030_434421_{variant}.jpg").astype(float)
        ours = recolor(photo, mask, colors, method).astype(float)
        difference = np.abs(ours - published).mean(axis=2)
        as_theirs = np.abs(as_jpeg(ours.astype(np.uint8)) - published).mean(axis=2)
        figures[method] = {
            "mean, published": rounded(published[mask].mean(axis=0)),
            "mean, ours": rounded(ours[mask].mean(axis=0)),
            "mean, reference": rounded(colors.mean(axis=0)),
            "spread, published": rounded(published[mask].std(axis=0)),
            "spread, ours": rounded(ours[mask].std(axis=0)),
            "spread, reference": rounded(colors.std(axis=0)),
            "difference, mean": round(float(difference[mask].mean()), 1),
            "difference, 95 % of pixels below": round(float(np.percentile(difference[mask], 95)), 1),
            "difference, mean, ours as their JPEG": round(float(as_theirs[mask].mean()), 1),
            "photograph to published, mean": round(float(np.abs(photo - published)[mask].mean()), 1),
        } | {
            f"difference, {low} to {high} px from the outline": round(
                float(difference[(depth > low) & (depth <= high)].mean()), 1
            )
            for low, high in RINGS
        }
    return figures


def as_jpeg(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Encoded as the published composites are, by their quantisation tables: quality 75, colour at half resolution."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=75, subsampling="4:2:0")
    return np.array(Image.open(buffer))


def rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 1) for value in values]


if __name__ == "__main__":
    main()
