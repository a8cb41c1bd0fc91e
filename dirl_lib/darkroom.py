"""What the mask explorer computes, without a widget: a photograph, a region, an edit, and what a network says of it.

    photo = sample_photo("coffee")
    question = Question(photo, Region(name="drink"), Edit(exposure=1.0))
    darkroom = Darkroom()
    answer = darkroom.answer(question)              # composite, region, mask, attention, scores
    pictures(question, answer)["overlay"]           # uint8 (H, W, 3)
    darkroom.curve(question)                        # how strong must the edit be before the network sees it?

Photographs are kept at 256 pixels of the longer side, as the paper's network sees them.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dirl_lib.attention import LEVELS, Look, feature_heat, look
from dirl_lib.data.sample import list_samples, load_photo
from dirl_lib.images import ImageFileError, check_same_size, mask_to_tensor, printable, read_image, read_mask, to_tensor
from dirl_lib.metrics import THRESHOLD, average_precision, f1_score, iou_score
from dirl_lib.models.dirl import SMALLEST_SIDE
from dirl_lib.plotting import heat_picture
from dirl_lib.prediction import Prediction, outline
from dirl_lib.synthesis.color_transfer import recolor
from dirl_lib.synthesis.editing import Edit, apply_edit
from dirl_lib.synthesis.regions import Region, parse_corners, pixel_at, region_mask
from dirl_lib.weights import load_model

__all__ = [
    "OUTSIDE",
    "SIDE",
    "STRENGTHS",
    "Answer",
    "Curve",
    "Darkroom",
    "Photo",
    "Question",
    "Scores",
    "describe",
    "mask_from_bytes",
    "network_name",
    "photo_from_bytes",
    "photo_from_file",
    "pictures",
    "reference_names",
    "sample_photo",
    "seen_from",
    "what_counts",
]

T = TypeVar("T")

SIDE = 256
"""Pixels of the longer side of every photograph here."""

OUTSIDE = "rest of this photo"
"""The reference that is the rest of the same photograph: a transfer from it brings the region nearer to its place."""

STRENGTHS = tuple(step / 8 for step in range(9))
"""Where the curve is measured, from untouched to the whole edit."""

MAP = 104
"""Pixels of the longer side of a map."""

TRUTH = (0, 114, 178)
"""The outline of the true region, blue (`plotting.BLUE`); what was found is orange."""
CROSS = "#F0E442"
"""The cursor, yellow (Okabe and Ito)."""


@dataclass(frozen=True, eq=False)
class Photo:
    """One photograph, shrunk. Two are the same only if they are one object."""

    name: str
    image: NDArray[np.uint8]
    """(H, W, 3)."""
    full_size: tuple[int, int]
    """(height, width) of the file, which its mask must have."""
    masks: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    """Given regions by name, each (H, W)."""


class Question(NamedTuple):
    """All that the pictures depend on."""

    photo: Photo
    region: Region
    edit: Edit = Edit()
    reference: str = OUTSIDE
    """Whose colours a transfer takes: `OUTSIDE`, or "photo/region" of the sample data."""
    network: str = "dirl-small"
    """A model of the kit, or a weight file."""
    threshold: float = THRESHOLD
    opacity: float = 0.4
    """Of the fill in the overlay."""
    drawing: bool = False
    """Whether region and cursor are drawn into the picture."""


class Scores(NamedTuple):
    """Of one prediction against the region, each in [0, 1]; F1 and IoU at the question's threshold."""

    ap: float
    f1: float
    iou: float


class Answer(NamedTuple):
    """What a network says to a question."""

    region: NDArray[np.bool_]
    """(H, W); empty while a polygon has fewer than three corners."""
    composite: NDArray[np.uint8]
    """(H, W, 3)."""
    look: Look
    scores: Scores | None
    """None where nothing is changed: then there is nothing to find."""
    marked: float
    """Share of the picture above the threshold."""


class Curve(NamedTuple):
    """What the network says while the edit grows from nothing to all of it."""

    strengths: tuple[float, ...]
    inside: tuple[float, ...]
    """Mean probability in the region."""
    outside: tuple[float, ...]
    """Mean probability in the rest; NaN where there is none."""
    iou: tuple[float, ...]
    """At the question's threshold."""


def sample_photo(name: str) -> Photo:
    """An untouched photograph of the sample data with its regions.

    Raises:
        ValueError: no such photograph; the message lists those there are.
    """
    image = load_photo(name)
    files = {record.region: record.mask_path for record in list_samples(photo=name)}
    masks = {region: _shrunk_mask(read_mask(path)) for region, path in files.items()}
    return Photo(name, _shrunk(image), image.shape[:2], masks)


def photo_from_file(path: str | Path) -> Photo:
    """A photograph of one's own, without a mask.

    Raises:
        ImageFileError: the file cannot be used; one line.
    """
    image = read_image(path)
    return Photo(printable(Path(path).name, 60), _shrunk(image), image.shape[:2])


def photo_from_bytes(name: str, content: bytes) -> Photo:
    """As `photo_from_file`, for the contents of a file that was dropped in."""
    image = _read_bytes(read_image, name, content)
    return Photo(printable(name, 60), _shrunk(image), image.shape[:2])


def mask_from_bytes(name: str, content: bytes, photo: Photo) -> Photo:
    """The photograph with one more given region, called "mask file".

    Raises:
        ImageFileError: the file cannot be used, has another size than the photograph's file, or marks nothing.
    """
    mask = _read_bytes(read_mask, name, content)
    # Only its size is looked at.
    stand_in: NDArray[np.uint8] = np.broadcast_to(np.uint8(0), (*photo.full_size, 3))
    check_same_size(stand_in, mask, photo.name, printable(name, 60))
    small = _shrunk_mask(mask)
    if not small.any():
        raise ImageFileError(f"{printable(name, 60)}: found a mask without a marked pixel, expected a region; draw one")
    return Photo(photo.name, photo.image, photo.full_size, {**photo.masks, "mask file": small})


def reference_names() -> list[str]:
    """The regions whose colours a transfer can take: `OUTSIDE`, then those of the sample data."""
    return [OUTSIDE, *dict.fromkeys(f"{record.photo}/{record.region}" for record in list_samples())]


class Darkroom:
    """Answers questions. Each step is kept until what it depends on changes, so that a threshold costs no network."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Hashable, Any]] = {}
        self._models: dict[str, torch.nn.Module] = {}

    def answer(self, question: Question) -> Answer:
        """Make the composite and show it to the network.

        Raises:
            ValueError: a region or a reference that does not exist, or that has no pixel.
            FileNotFoundError, CheckpointError: see `dirl_lib.weights.load_model`.
            TypeError: a network without attention.
        """
        region = self._region(question)
        composite = self._composite(question, region)
        seen = self._once(
            "look",
            (what_counts(question), question.network),
            lambda: look(self._model(question.network), to_tensor(composite))[0],
        )
        touched = bool((composite != question.photo.image).any())
        scores = _scores(seen.mask, region, question.threshold) if touched else None
        marked = float((seen.mask > question.threshold).double().mean())
        return Answer(region, composite, seen, scores, marked)

    def curve(self, question: Question, stop: Callable[[], bool] = lambda: False) -> Curve | None:
        """Show the network the edit at each of `STRENGTHS`.

        Args:
            question: its edit is the whole one, at strength 1.
            stop: asked before each strength; where it says yes, the curve is given up.

        Returns:
            None if it was given up, or if there is no region, or no edit that changes a pixel.

        Raises:
            As `answer`.
        """
        region = self._region(question)
        if (self._composite(question, region) == question.photo.image).all():
            return None
        key = (what_counts(question), question.network)
        masks = self._once("masks", key, lambda: self._masks(question, region, stop))
        if masks is None:
            return None
        columns: list[tuple[float, float, float]] = []
        for mask in masks:
            inside = mask.numpy()[region].mean()
            outside = mask.numpy()[~region].mean() if not region.all() else math.nan
            iou = iou_score(mask[None, None], mask_to_tensor(region), threshold=question.threshold)
            columns.append((float(inside), float(outside), iou.item()))
        return Curve(STRENGTHS, *zip(*columns, strict=True))

    @torch.no_grad()
    def _masks(
        self, question: Question, region: NDArray[np.bool_], stop: Callable[[], bool]
    ) -> list[torch.Tensor] | None:
        """What the network predicts at each of `STRENGTHS`, each (H, W); None if it was given up."""
        model, transferred = self._model(question.network), self._transferred(question, region)
        masks = []
        for strength in STRENGTHS:
            if stop():
                return None
            composite = apply_edit(question.photo.image, region, question.edit.at(strength), transferred=transferred)
            masks.append(model(to_tensor(composite)).mask[0, 0])
        return masks

    def _region(self, question: Question) -> NDArray[np.bool_]:
        photo, wanted = question.photo, question.region.reduced()
        if wanted.kind != "polygon":
            return self._once("region", (photo, wanted), lambda: region_mask(photo.image, wanted, photo.masks))
        parse_corners(wanted.corners, least=0)  # what is misspelt is told
        try:
            return region_mask(photo.image, wanted)
        except ValueError:  # fewer than three corners, or all on one line: it is still being drawn
            return np.zeros(photo.image.shape[:2], dtype=np.bool_)

    def _composite(self, question: Question, region: NDArray[np.bool_]) -> NDArray[np.uint8]:
        image, edit = question.photo.image, question.edit
        return self._once(
            "composite",
            what_counts(question),
            lambda: apply_edit(image, region, edit, transferred=self._transferred(question, region)),
        )

    def _transferred(self, question: Question, region: NDArray[np.bool_]) -> NDArray[np.uint8] | None:
        photo, method, reference = question.photo, question.edit.method, question.reference
        if not method or not region.any():
            return None
        colors = photo.image[~region] if reference == OUTSIDE else _reference_colors(reference)
        return self._once(
            "transferred",
            (photo, question.region.reduced(), method, reference),
            lambda: recolor(photo.image, region, colors, method),
        )

    def _model(self, network: str) -> torch.nn.Module:
        if network not in self._models:
            self._models[network] = load_model(network)
        return self._models[network]

    def _once(self, step: str, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, or gave for this key; a None is not kept."""
        if step in self._kept and self._kept[step][0] == key:
            made: T = self._kept[step][1]
            return made
        made = make()
        if made is not None:
            self._kept[step] = (key, made)
        return made


def pictures(question: Question, answer: Answer) -> dict[str, NDArray[np.uint8]]:
    """The ten pictures of an answer, each uint8 (H, W, 3).

    Keys:
        "picture": the composite, with region and cursor where the question asks for the drawing;
        "mask": the probability, 0 dark blue and 1 yellow;
        "overlay": the composite with what was found in orange and the outline of the region in blue;
        "A_1" ... "A_5": the attention maps from 0 to 1; "b_5", "a_5": heat maps, both from 0 to the larger maximum.
    """
    found = Prediction(answer.look.mask.numpy(), answer.composite)
    overlay = found.overlay(question.threshold, opacity=question.opacity)
    overlay[outline(answer.region, 3)] = 255  # a seam, for blue on dark
    overlay[outline(answer.region, 1)] = TRUTH
    shown = {
        "picture": _drawn(question, answer) if question.drawing else answer.composite,
        "mask": found.heat_map(),
        "overlay": overlay,
    }
    height, width = (max(1, round(MAP * side / max(answer.region.shape))) for side in answer.region.shape)
    for k, attention in zip(LEVELS, answer.look.attention, strict=True):
        shown[f"A_{k}"] = heat_picture(attention, (height, width))
    heats = {"b_5": feature_heat(answer.look.b[4]), "a_5": feature_heat(answer.look.a[4])}
    most = max(float(heat.max()) for heat in heats.values()) or 1.0
    return shown | {name: heat_picture(heat, (height, width), limits=(0, most)) for name, heat in heats.items()}


def describe(question: Question, answer: Answer) -> str:
    """The answer in words: what is marked, what should be, and how well the two agree."""
    name, network = question.photo.name, network_name(question.network)
    at = f"at threshold {question.threshold:.2f} (largest probability {float(answer.look.mask.max()):.2f})."
    found = f"{network} marks {answer.marked:.1%} of the picture {at}"
    if not answer.region.any():
        return f"{name}: no region yet, a polygon needs three corners that are not on one line. {found}"
    size = f"{answer.region.mean():.1%} of the picture"
    if answer.scores is None:
        return f"{name}: nothing is changed yet, so whatever is marked is a false alarm. The region is {size}. {found}"
    ap, f1, iou = answer.scores
    marked = answer.look.mask.numpy() > question.threshold
    rest = f"{marked[~answer.region].mean():.0%} of the rest" if not answer.region.all() else "there is no rest"
    found = f"{network} marks {marked[answer.region].mean():.0%} of the region ({size}), {rest}, {at}"
    colors = f", colours of {question.reference}" if question.edit.method else ""
    return f"{name}, {question.edit}{colors}. {found} AP {ap:.2f}, F1 {f1:.2f}, IoU {iou:.2f}."


def network_name(network: str) -> str:
    """A network as it is called on the page: a model of the kit by its name, a weight file with its folder."""
    return "/".join(Path(network).with_suffix("").parts[-2:])


def seen_from(curve: Curve, threshold: float = THRESHOLD) -> float:
    """The smallest strength at which the mean probability in the region exceeds the threshold.

    Between two measured strengths the curve is taken as straight. 0.0 where the untouched region is marked already,
    infinity where the whole edit does not suffice.
    """
    points = list(zip(curve.strengths, curve.inside, strict=True))
    if points[0][1] > threshold:
        return 0.0
    for (s0, p0), (s1, p1) in pairwise(points):
        if p1 > threshold:
            return s0 + (s1 - s0) * (threshold - p0) / (p1 - p0)
    return math.inf


def what_counts(question: Question) -> Hashable:
    """All that the composite depends on; questions that differ elsewhere only share it."""
    reference = question.reference if question.edit.method else OUTSIDE
    return question.photo, question.region.reduced(), question.edit, reference


def _scores(mask: torch.Tensor, region: NDArray[np.bool_], threshold: float) -> Scores:
    found, truth = mask[None, None], mask_to_tensor(region)
    return Scores(
        average_precision(found, truth).item(),
        f1_score(found, truth, threshold=threshold).item(),
        iou_score(found, truth, threshold=threshold).item(),
    )


def _drawn(question: Question, answer: Answer) -> NDArray[np.uint8]:
    """The composite with the outline of the region, the corners of a polygon and, where used, the cursor."""
    picture = answer.composite.copy()
    picture[outline(answer.region, 3)] = 0
    picture[outline(answer.region, 1)] = 255
    region = question.region
    if region.kind not in ("polygon", "grow"):
        return picture
    height, width = answer.region.shape
    drawn = Image.fromarray(picture)
    pen = ImageDraw.Draw(drawn)
    places = parse_corners(region.corners, least=0) if region.kind == "polygon" else []
    corners = [pixel_at(place, (height, width)) for place in places]
    x, y = pixel_at(region.cursor, (height, width))
    for more, color in ((1, "black"), (0, "white")):
        if not answer.region.any():
            pen.line(corners, color, 1 + 2 * more)  # the first two corners enclose nothing yet
        for left, top in corners:
            pen.rectangle((left - 2 - more, top - 2 - more, left + 2 + more, top + 2 + more), color)
    for more, color in ((1, "black"), (0, CROSS)):
        pen.rectangle((x - 8 - more, y - more, x + 8 + more, y + more), color)
        pen.rectangle((x - more, y - 8 - more, x + more, y + 8 + more), color)
    return np.asarray(drawn)


@lru_cache(maxsize=64)
def _reference_colors(reference: str) -> NDArray[np.uint8]:
    photo, _, region = reference.partition("/")
    scene = sample_photo(photo)
    if region not in scene.masks:
        raise ValueError(f"found the reference {reference!r}, expected one of: {', '.join(reference_names())}")
    colors: NDArray[np.uint8] = scene.image[scene.masks[region]]
    return colors


def _read_bytes(read: Callable[[Path], NDArray[Any]], name: str, content: bytes) -> NDArray[Any]:
    """What `read` makes of a file of this content; its errors name the file as its owner does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "dropped")
        path.write_bytes(content)
        try:
            return read(path)
        except ImageFileError as error:
            raise ImageFileError(str(error).replace(printable(path), printable(name, 60))) from None


def _small_size(height: int, width: int) -> tuple[int, int]:
    """Width and height, as Pillow wants them, of the shrunk copy; only a side too short for a network is enlarged."""
    scale = min(1.0, SIDE / max(height, width))
    return max(SMALLEST_SIDE, round(width * scale)), max(SMALLEST_SIDE, round(height * scale))


def _shrunk(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = _small_size(*image.shape[:2])
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=3))


def _shrunk_mask(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(grey.resize(_small_size(*mask.shape), Image.Resampling.BILINEAR)) > 127
