"""The embedded sample data: real photographs with recoloured regions, on every machine, without a download.

    name = find_sample("chelsea", region="face", method="reinhard")
    sample = load_sample(name, size=224)      # Sample(name, image (3, 224, 224), mask (1, 224, 224), real)

The first call makes the data (some seconds, once) from photographs that scikit-image and scikit-learn carry in their
packages. `astronaut` (NASA) and `rocket` (SpaceX) are in the public domain; `chelsea` (Stefan van der Walt) and
`coffee` (Rachel Michetti) are CC0; `china` (danielbuechele) and `flower` (vultilion) are CC BY 2.0: whoever shows these
two names their authors. For `motorcycle_left` and `motorcycle_right`, from the Middlebury stereo benchmark 2014,
scikit-image states no licence; cite Scharstein et al., GCPR 2014. Credits: `sample_regions.toml`.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dirl_lib.data.sample_build import build_sample_data, is_current
from dirl_lib.images import check_same_size, mask_to_tensor, read_image, read_mask, to_tensor

if TYPE_CHECKING:
    from torch import Tensor

    from dirl_lib.types import Sample

__all__ = [
    "SampleRecord",
    "build_sample_data",
    "default_root",
    "find_sample",
    "list_samples",
    "load_batch",
    "load_photo",
    "load_sample",
    "read_index",
    "sample_root",
]


class SampleRecord(NamedTuple):
    """One line of the index: what was done to which object, and where the files are."""

    name: str
    """File stem of the composite, `<photo>_<mask>_<variant>`."""
    photo: str
    """"chelsea", "coffee", ..."""
    region: str
    """"face", "cup", ..."""
    method: str
    """A key of `synthesis.color_transfer.METHODS`."""
    reference: str
    """Whose colours the region took on: "photo/region"."""
    split: str
    """"train" or "test"; photographs of one scene lie in one split."""
    area_fraction: float
    """Part of the picture that the region covers, 0.01 to 0.5."""
    strength: float
    """Root mean square change inside the region, in steps of 0 to 255."""
    image_path: Path
    mask_path: Path
    real_path: Path


def sample_root() -> Path:
    """The folder of the sample data, in iHarmony4's layout; made first when it is missing or of an older recipe.

    Raises:
        FileExistsError: DIRL_SAMPLE_DATA names a folder with other files in it.
        FileNotFoundError: a photograph is missing from its package.
    """
    root = default_root()
    if not is_current(root):
        build_sample_data(root)
    return root


def default_root() -> Path:
    """Where the sample data belongs on this machine, built or not.

    The folder named by the environment variable DIRL_SAMPLE_DATA; else `data/sample` of the checkout; else, where the
    library is installed without one, `~/.cache/dirl/sample`.
    """
    named = os.environ.get("DIRL_SAMPLE_DATA")
    if named:
        return Path(named).expanduser().absolute()
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        return checkout / "data" / "sample"
    return Path.home() / ".cache" / "dirl" / "sample"


def read_index(root: Path) -> list[SampleRecord]:
    """The records of a build, in the order of their names."""
    folder = root / "Sample"
    with (root / "index.csv").open(encoding="utf-8", newline="") as file:
        return [
            SampleRecord(
                name=row["name"],
                photo=row["photo"],
                region=row["region"],
                method=row["method"],
                reference=row["reference"],
                split=row["split"],
                area_fraction=float(row["area_fraction"]),
                strength=float(row["strength"]),
                image_path=folder / "composite_images" / f"{row['name']}.jpg",
                mask_path=folder / "masks" / f"{row['name'].rsplit('_', 1)[0]}.png",
                real_path=folder / "real_images" / f"{row['name'].rsplit('_', 2)[0]}.jpg",
            )
            for row in csv.DictReader(file)
        ]


def list_samples(split: str | None = None, method: str | None = None, photo: str | None = None) -> list[SampleRecord]:
    """The samples in the order of their names, all or those of one split, method or photograph.

    Raises:
        ValueError: a split, method or photograph that does not exist.
    """
    records = read_index(sample_root())
    for column, wanted in (("split", split), ("method", method), ("photo", photo)):
        if wanted is not None:
            _expect(column, wanted, [getattr(record, column) for record in records])
            records = [record for record in records if getattr(record, column) == wanted]
    return records


def find_sample(photo: str, region: int | str = 1, method: str = "reinhard") -> str:
    """The name of one composite, as `load_sample` takes it.

    Args:
        photo: such as "chelsea".
        region: its number, 1, 2, ..., or its name, such as "face".
        method: a key of `synthesis.color_transfer.METHODS`.

    Raises:
        ValueError: no such photograph, region or method; the message lists those there are.
    """
    records = list_samples(method=method, photo=photo)
    regions = [record.region for record in records]
    if isinstance(region, int):
        _expect("region", str(region), [str(number) for number in range(1, len(regions) + 1)])
        return records[region - 1].name
    _expect("region", region, regions)
    return records[regions.index(region)].name


def load_sample(name: str, size: int | tuple[int, int] | None = None) -> Sample:
    """One composite with its mask and its real image.

    Args:
        name: file stem, from `find_sample` or `list_samples`.
        size: (height, width), or one number for a square; None keeps the size of the file. Image and mask are both
            resized bilinearly (antialiased, aspect ratio not kept) and the mask cut at > 0.5 after, as DIRL prepares
            its data.

    Raises:
        ValueError: no sample of this name.
    """
    from dirl_lib.types import Sample

    records = {record.name: record for record in list_samples()}
    _expect("sample", name, list(records))
    record = records[name]
    composite, mask, real = read_image(record.image_path), read_mask(record.mask_path), read_image(record.real_path)
    check_same_size(composite, mask, record.image_path, record.mask_path)
    image = _resized(to_tensor(composite), size)[0]
    target = (_resized(mask_to_tensor(mask), size)[0] > 0.5).float()
    return Sample(name, image, target, _resized(to_tensor(real), size)[0])


def load_photo(photo: str) -> NDArray[np.uint8]:
    """The untouched photograph, uint8 (H, W, 3), its long side 384 pixels.

    Raises:
        ValueError: no such photograph; the message lists those there are.
    """
    return read_image(list_samples(photo=photo)[0].real_path)


def load_batch(names: Sequence[str], size: int | tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Several composites as one batch.

    Returns:
        images (B, 3, H, W) and masks (B, 1, H, W), as `load_sample` gives them.

    Raises:
        ValueError: no names, or a sample that does not exist.
    """
    import torch

    if not names:
        raise ValueError("found no names, expected at least one; take them from list_samples()")
    samples = [load_sample(name, size) for name in names]
    return torch.stack([one.image for one in samples]), torch.stack([one.mask for one in samples])


def _resized(tensor: Tensor, size: int | tuple[int, int] | None) -> Tensor:
    from torch.nn.functional import interpolate

    if size is None:
        return tensor
    target = (size, size) if isinstance(size, int) else size
    # Rounding may carry a bilinear mean past 1 by one float32 step.
    return interpolate(tensor, target, mode="bilinear", align_corners=False, antialias=True).clamp(0, 1)


def _expect(what: str, found: str, known: Sequence[str]) -> None:
    if found not in known:
        choices = list(dict.fromkeys(known))
        listed = ", ".join(choices[:12]) + (", ..." if len(choices) > 12 else "")
        raise ValueError(f"found no {what} {found!r}, expected one of: {listed}")
