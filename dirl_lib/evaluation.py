"""How good a model is on a data set: scores image by image, means with intervals, and the floors beside them.

    test = IHarmony4(root, "test")
    found = evaluate(load_model(), test, name="dirl-small", floors=True, training=read_split(root, "trainval"))
    print(found.table())
    found.write("runs/dirl-small/test")
    read_evaluation("runs/dirl-small/test").table().markdown()

Every image weighs the same (supplement, section 2). An interval is over photographs: several composites of one
photograph succeed and fail together, and an interval over composites would be too narrow by that.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate

from dirl_lib.data.cache import StoreError
from dirl_lib.data.dataset import MaskedPhotos
from dirl_lib.data.iharmony4 import IHarmony4
from dirl_lib.data.names import CompositeName
from dirl_lib.data.splits import unseen_photographs
from dirl_lib.files import write_in_one_step
from dirl_lib.images import ImageFileError
from dirl_lib.metrics import Protocol, score_images
from dirl_lib.provenance import write_record
from dirl_lib.types import Localization, Sample

__all__ = [
    "FLOORS",
    "CentrePrior",
    "Constant",
    "Estimate",
    "Evaluation",
    "EvaluationError",
    "ImageScore",
    "Row",
    "Table",
    "Untouched",
    "bootstrap_interval",
    "estimates",
    "evaluate",
    "photographs",
    "read_evaluation",
]

RESAMPLES = 2000
COVERED = 95  # per cent
SEED = 0
PER_IMAGE, SUMMARY = "per_image.csv", "summary.json"


class EvaluationError(ValueError):
    """Stored scores cannot be used. The message is one line: the file, what is wrong with it, what to do."""


class Constant(nn.Module):
    """The floor that says everything is inharmonious: probability 1 at every pixel.

    AP and IoU are the region's share of the picture, a, and F1 is 2a / (1 + a). Under the released protocol the stretch
    makes a constant 0 everywhere: AP stays a, F1 and IoU are 0.
    """

    def forward(self, images: Tensor) -> Localization:
        """(B, 3, H, W) -> a mask of ones, (B, 1, H, W)."""
        return Localization(torch.ones_like(images[:, :1]), (), {})


class CentrePrior(nn.Module):
    """The floor that knows only where people put objects: a Gaussian in the middle, whatever the picture shows.

    Its sigma is a quarter of each side, so that 27 % of the picture are above 0.5. AP sees only the order of the
    pixels, which no sigma changes; F1 and IoU depend on it.
    """

    SIGMA = 0.25

    def forward(self, images: Tensor) -> Localization:
        """(B, 3, H, W) -> the same (B, 1, H, W) for every image, in (0, 1]."""
        batch, _, height, width = images.shape
        down, across = (self._profile(length, images) for length in (height, width))
        return Localization((down[:, None] * across).expand(batch, 1, height, width), (), {})

    def _profile(self, length: int, like: Tensor) -> Tensor:
        place = (torch.arange(length, device=like.device, dtype=like.dtype) + 0.5) / length - 0.5
        return torch.exp(-0.5 * (place / self.SIGMA) ** 2)


FLOORS: dict[str, type[nn.Module]] = {"centre prior": CentrePrior, "all of it": Constant}
"""What any model must beat, by the names that tables have."""


class ImageScore(NamedTuple):
    """What one system reached on one image; a line of `per_image.csv`."""

    system: str
    """The model's name, or a key of `FLOORS`."""
    name: str
    """The image's, as its data set calls it."""
    subset: str
    """"HCOCO", ...; "" where a data set has no parts."""
    photo: str
    """What the composites of one photograph share within a subset."""
    unseen: bool | None
    """Whether the photograph is absent from training; None where nobody said what training was."""
    region_area: float
    """The true region's share of the picture."""
    ap: float | None
    """Exact average precision; None, as F1 and IoU, where the true region is empty."""
    f1: float | None
    iou: float | None
    predicted_area: float
    """Share of the picture above 0.5; under "released" after the stretch."""


class Estimate(NamedTuple):
    """A mean and the ends of its 95 % interval, which are None where there is a single photograph."""

    mean: float
    low: float | None
    high: float | None


class Row(NamedTuple):
    """One system on one part of the images."""

    part: str
    """"all", a sub-dataset, or "unseen photographs"."""
    system: str
    images: int
    """How many are in the means: those with a true region."""
    photographs: int
    """How many photographs these show."""
    ap: Estimate | None
    """None, as F1, IoU and predicted area, where no image has a true region."""
    f1: Estimate | None
    iou: Estimate | None
    predicted_area: float | None
    empty: int
    """Images without a true region, left out of the means."""
    false_alarm: float | None
    """Mean predicted area of those; a perfect system has 0."""


@dataclass(frozen=True)
class Table:
    """The rows of a summary; prints with aligned columns."""

    rows: tuple[Row, ...]

    def __str__(self) -> str:
        lines = self._cells()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        # Names to the left, numbers to the right.
        return "\n".join(
            "  ".join(
                cell.ljust(width) if number < 2 else cell.rjust(width)
                for number, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )

    def markdown(self) -> str:
        """The same for a document, with a line feed at the end."""
        head, *lines = self._cells()
        rule = ["---", "---", *["---:"] * (len(head) - 2)]
        return "".join(f"| {' | '.join(line)} |\n" for line in (head, rule, *lines))

    def _cells(self) -> list[list[str]]:
        head = ["images", "system", "number", "photographs", "AP %", "F1", "IoU %", "predicted area %"]
        lines = [
            [
                row.part,
                row.system,
                str(row.images),
                str(row.photographs),
                _cell(row.ap, 100, 2),
                _cell(row.f1, 1, 4),
                _cell(row.iou, 100, 2),
                _number(row.predicted_area, 100, 2),
            ]
            for row in self.rows
        ]
        if any(row.empty for row in self.rows):
            head += ["without region", "predicted area there %"]
            for line, row in zip(lines, self.rows, strict=True):
                line += [str(row.empty), _number(row.false_alarm, 100, 2)]
        return [head, *lines]


@dataclass(frozen=True)
class Evaluation:
    """The scores of one model, and perhaps of the floors, on every image of a data set."""

    images: tuple[ImageScore, ...]
    protocol: Protocol
    label: str
    """Which images: for iHarmony4 its list, as "le50_test, 7237 images"."""

    def table(self) -> Table:
        """Means with intervals over all images, over each sub-dataset where there are several, and over the images
        whose photograph is not in training, each for every system."""
        systems = list(dict.fromkeys(image.system for image in self.images))
        return Table(tuple(row for part, images in self._parts() for row in _rows(part, systems, images)))

    def only(self, system: str) -> Evaluation:
        """The scores of one system, without the floors that were measured beside it.

        Raises:
            ValueError: it was not measured.
        """
        images = tuple(image for image in self.images if image.system == system)
        if not images:
            known = ", ".join(dict.fromkeys(image.system for image in self.images))
            raise ValueError(f"found no scores of {system!r}, expected one of: {known}")
        return replace(self, images=images)

    def write(self, folder: str | Path, **story: object) -> None:
        """Write `per_image.csv`, of which every table can be made again, and `summary.json`, the table and how it came.

        Args:
            folder: is made; earlier files of these names are replaced, each in one step.
            story: what else belongs into the summary, as weights and configuration: anything that JSON can hold.

        Raises:
            OSError: the folder cannot be made or is full.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(ImageScore._fields)
        writer.writerows(self.images)  # floats as repr writes them, so that reading gives every digit back; None is ""
        write_in_one_step(folder / PER_IMAGE, text.getvalue().encode())
        table = [_as_dict(row) for row in self.table().rows]
        write_record(folder / SUMMARY, {"protocol": self.protocol, "data": self.label, **story, "table": table})

    def _parts(self) -> Iterator[tuple[str, list[ImageScore]]]:
        yield "all", list(self.images)
        subsets = list(dict.fromkeys(image.subset for image in self.images))
        if len(subsets) > 1:
            for subset in subsets:
                yield subset, [image for image in self.images if image.subset == subset]
        unseen = [image for image in self.images if image.unseen]
        if unseen:
            yield "unseen photographs", unseen


class Untouched(MaskedPhotos):
    """The photographs behind composites, with the composites' masks: nothing is inharmonious there, and a model that
    still finds the region knows objects, not harmony.

    Args:
        data: the composites; each photograph with each of its masks stands there once, resized as they are.
    """

    def __init__(self, data: IHarmony4) -> None:
        once = {name[:3]: (name, record) for name, record in zip(data.names, data.records, strict=True)}
        self.names = [name for name, _ in once.values()]
        records = [
            record._replace(name=f"{name.photo}_{name.mask}", image_path=record.real_path)
            for name, record in once.values()
            if record.real_path is not None  # iHarmony4 always says where; the file may yet be missing
        ]
        super().__init__(records, data.resize)
        self.label = f"untouched photographs behind {data.label}; {len(records)} regions"


def evaluate(
    model: nn.Module,
    data: MaskedPhotos,
    *,
    protocol: Protocol = "paper",
    name: str = "model",
    floors: bool = False,
    training: Iterable[CompositeName] | None = None,
    batch_size: int = 16,
    workers: int = 0,
    device: str | torch.device = "cpu",
    problems: list[str] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """Score a model on every image of a data set.

    Args:
        model: `model(images) -> Localization`; runs in evaluation mode without gradients, and is left in the mode it
            had.
        data: `IHarmony4`, `Untouched` or any other `MaskedPhotos`, without augmentation.
        protocol: see `dirl_lib.metrics.score_images`.
        name: what tables call the model.
        floors: score `FLOORS` on the same images too.
        training: the composites that the model was trained on, as `read_split(root, "trainval")`; tells which
            photographs of an `IHarmony4` it has never seen.
        batch_size: images at a time.
        workers: processes that read files beside the model; 0 reads in this one.
        device: where the model runs; it is moved there.
        problems: None stops at the first file that cannot be read; a list takes one line for each, and the rest is
            scored.
        progress: called after each batch with the number of its images.

    Returns:
        The scores, in the order of the data set.

    Raises:
        ImageFileError: a file, or an entry of the store, cannot be read, and there is no `problems`.
        ValueError: images that keep their shape in batches of several, or every file was bad; the model answers
            with NaN or another shape (see `dirl_lib.checks`).
    """
    if data.resize.keep_aspect and batch_size > 1:
        raise ValueError(f"found images that keep their shape and batch_size {batch_size}, expected batch_size=1")
    systems = {name: model} | ({floor: make() for floor, make in FLOORS.items()} if floors else {})
    origins = _origins(data, training)
    scores: dict[str, list[ImageScore]] = {system: [] for system in systems}
    model.to(device)
    was_training = model.training
    model.eval()
    try:
        for numbers, bad, batch in _batches(data, batch_size, workers):
            for line in bad:
                if problems is None:
                    raise ImageFileError(line)
                problems.append(line)
            if batch is not None:
                for system, network in systems.items():
                    found = _score(network, batch, protocol, torch.device(device))
                    scores[system] += [
                        ImageScore(system, image, *origins[number], *values)
                        for number, image, values in zip(numbers, batch.name, found, strict=True)
                    ]
            if progress is not None:
                progress(len(numbers) + len(bad))
    finally:
        model.train(was_training)
    images = tuple(image for of_system in scores.values() for image in of_system)
    if not images:
        raise ValueError(f"none of {len(data)} images could be read, the first: {(problems or [''])[0]}")
    label = data.label if isinstance(data, IHarmony4 | Untouched) else f"{len(data)} images"
    return Evaluation(images, protocol, label)


def read_evaluation(folder: str | Path) -> Evaluation:
    """What `Evaluation.write` stored; its table is made anew from the images' scores.

    Raises:
        FileNotFoundError: one of the two files is not there.
        EvaluationError: a file is damaged, or of another origin.
    """
    path, summary = Path(folder, PER_IMAGE), Path(folder, SUMMARY)
    for wanted in (path, summary):
        if not wanted.is_file():
            raise FileNotFoundError(f"{wanted}: no such file; expected a folder written by  dirl evaluate --out")
    try:
        facts = json.loads(summary.read_text(encoding="utf-8"))
        protocol, label = facts["protocol"], facts["data"]
    except (ValueError, KeyError, TypeError):
        raise EvaluationError(f"{summary}: found no protocol and data, expected a summary; evaluate again") from None
    if protocol not in get_args(Protocol):
        raise EvaluationError(f"{summary}: found the protocol {protocol!r}, expected one of {get_args(Protocol)}")
    with path.open(encoding="utf-8", newline="") as file:
        head, *lines = list(csv.reader(file)) or [[]]
    if tuple(head) != ImageScore._fields:
        raise EvaluationError(f"{path}: found the columns {', '.join(head)}, expected {', '.join(ImageScore._fields)}")
    return Evaluation(tuple(_parsed(path, number, line) for number, line in enumerate(lines, 2)), protocol, label)


def bootstrap_interval(
    values: NDArray[np.float64], photos: Sequence[object], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Percentile interval, 95 %, of the means over images, by drawing photographs with all their images.

    Args:
        values: (N, K), K scores of each of N images, drawn together.
        photos: (N,), equal for images of one photograph; any order.
        rng: draws 2,000 times as many photographs as there are, with replacement.

    Returns:
        Lower and upper ends, each (K,); None where all images show one photograph, which says nothing about others.
    """
    number_of = {photo: number for number, photo in enumerate(dict.fromkeys(photos))}
    if len(number_of) < 2:
        return None
    photo_of_image = np.array([number_of[photo] for photo in photos])
    # Of each photograph: the sums of its images' scores, and in the last column how many images it has.
    sums = np.zeros((len(number_of), values.shape[1] + 1))
    np.add.at(sums, photo_of_image, np.column_stack([values, np.ones(len(values))]))
    means = np.concatenate([_resampled_means(sums, rng) for _ in range(RESAMPLES // 100)])
    low, high = np.percentile(means, [(100 - COVERED) / 2, (100 + COVERED) / 2], axis=0)
    return low, high


def estimates(values: NDArray[np.float64], photos: Sequence[object]) -> list[Estimate]:
    """Means over images with their intervals over photographs. Every call draws from the same seed.

    Args:
        values: (N, K), K scores of each of N images, at least one.
        photos: (N,), equal for images of one photograph; where there is one only, the intervals have no ends.
    """
    interval = bootstrap_interval(values, photos, np.random.default_rng(SEED))
    count = values.shape[1]
    lows, highs = ([None] * count, [None] * count) if interval is None else (end.tolist() for end in interval)
    return [Estimate(*ends) for ends in zip(values.mean(axis=0).tolist(), lows, highs, strict=True)]


def photographs(data: MaskedPhotos) -> list[tuple[str, str]]:
    """Of each item its sub-dataset, "" where there are none, and what the images of one photograph share."""
    if isinstance(data, IHarmony4 | Untouched):
        return [(name.subset, name.photo) for name in data.names]
    return [("", record.photo) for record in data.records]


def _resampled_means(sums: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """(100, K): a hundred draws at a time, so that memory stays small for any number of photographs."""
    count = len(sums)
    drawn = rng.integers(count, size=(100, count)) + count * np.arange(100)[:, None]
    times = np.bincount(drawn.ravel(), minlength=100 * count).reshape(100, count)
    total = times @ sums
    return np.asarray(total[:, :-1] / total[:, -1:])


class _OrComplaint(Dataset[tuple[int, "Sample | str"]]):
    """The items of a data set with their numbers; in the place of one that cannot be read, the line that says why.

    Raised in a worker process, an error would come out with that process's whole traceback as its message.
    """

    def __init__(self, data: MaskedPhotos) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[int, Sample | str]:
        try:
            return index, self.data[index]
        except (ImageFileError, StoreError) as error:
            return index, str(error)


def _batches(
    data: MaskedPhotos, batch_size: int, workers: int
) -> DataLoader[tuple[list[int], list[str], Sample | None]]:
    return DataLoader(_OrComplaint(data), batch_size, num_workers=workers, collate_fn=_collate)  # type: ignore[arg-type]


def _collate(items: list[tuple[int, Sample | str]]) -> tuple[list[int], list[str], Sample | None]:
    """Numbers of the items that could be read, complaints about the others, and the former as a batch."""
    good = [(number, item) for number, item in items if not isinstance(item, str)]
    batch = default_collate([item for _, item in good]) if good else None
    return [number for number, _ in good], [item for _, item in items if isinstance(item, str)], batch


def _origins(data: MaskedPhotos, training: Iterable[CompositeName] | None) -> list[tuple[str, str, bool | None]]:
    """Of each item: subset, photograph, and whether the photograph is absent from training."""
    unseen: list[bool | None] = [None] * len(data)
    if training is not None and isinstance(data, IHarmony4 | Untouched):
        new = set(unseen_photographs(data.names, training))
        unseen = [name in new for name in data.names]
    return [(*origin, is_new) for origin, is_new in zip(photographs(data), unseen, strict=True)]


@torch.no_grad()
def _score(
    model: nn.Module, batch: Sample, protocol: Protocol, device: torch.device
) -> Iterator[tuple[float | None, ...]]:
    """Of each image: region area, AP, F1, IoU, predicted area."""
    prediction: Tensor = model(batch.image.to(device)).mask
    # Scores are float64, which Apple's GPUs do not have.
    place = torch.device("cpu") if device.type == "mps" else device
    mask = batch.mask.to(place)
    scores = score_images(prediction.to(place), mask, protocol=protocol)
    columns = (mask.double().mean(dim=(1, 2, 3)), scores.ap, scores.f1, scores.iou, scores.area)
    for region, ap, f1, iou, area, defined in zip(
        *(column.tolist() for column in columns), scores.defined.tolist(), strict=True
    ):
        yield (region, ap, f1, iou, area) if defined else (region, None, None, None, area)


def _rows(part: str, systems: Sequence[str], images: Sequence[ImageScore]) -> Iterator[Row]:
    for system in systems:
        mine = [image for image in images if image.system == system]
        found = [image for image in mine if image.ap is not None]
        photos = [(image.subset, image.photo) for image in found]
        scores = np.array([(image.ap, image.f1, image.iou) for image in found], np.float64)
        ap, f1, iou = estimates(scores, photos) if found else [None] * 3
        yield Row(
            part=part,
            system=system,
            images=len(found),
            photographs=len(set(photos)),
            ap=ap,
            f1=f1,
            iou=iou,
            predicted_area=_mean([image.predicted_area for image in found]),
            empty=len(mine) - len(found),
            false_alarm=_mean([image.predicted_area for image in mine if image.ap is None]),
        )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _as_dict(row: Row) -> dict[str, object]:
    return {field: value._asdict() if isinstance(value, Estimate) else value for field, value in row._asdict().items()}


def _parsed(path: Path, number: int, line: list[str]) -> ImageScore:
    try:
        system, name, subset, photo, unseen, *numbers = line
        region_area, ap, f1, iou, predicted_area = (float(text) if text else None for text in numbers)
        if region_area is None or predicted_area is None:
            raise ValueError
        known = {"": None, "True": True, "False": False}[unseen]
        return ImageScore(system, name, subset, photo, known, region_area, ap, f1, iou, predicted_area)
    except (ValueError, KeyError):
        raise EvaluationError(
            f"{path}, line {number}: found {','.join(line)!r}, expected the scores of one image; evaluate again"
        ) from None


def _cell(estimate: Estimate | None, scale: int, digits: int) -> str:
    if estimate is None or estimate.low is None:
        return _number(estimate and estimate.mean, scale, digits)
    mean, low, high = (_number(value, scale, digits) for value in estimate)
    return f"{mean} [{low}, {high}]"


def _number(value: float | None, scale: int, digits: int) -> str:
    return "-" if value is None else f"{scale * value:.{digits}f}"
