"""Which part earns its place: variants of one recipe, several seeds, and what differs by more than noise.

    found = ablate(RECIPES["small"], ["row-07", "row-10"], seeds=(0, 1, 2), data=images_of, out="runs/ablation")
    print(found.table())
    found.compare("row-10", "row-07").verdict

One row after another; the same call goes on where it was stopped. What is measured lies in `OUT/scores`, a folder for
each variant and seed: scores image by image, recipe and curve. `read_ablation` makes every table anew from it.

Two kinds of noise stand between a difference and a conclusion. Other test photographs would give other means: that is
tested on pairs, both networks on the same images, by flipping the signs of photographs' differences. And the same
network from another seed would give another mean: that is tested between the means of the seeds. A difference counts
where both say so.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from torch.utils.data import Dataset

from dirl_lib.data.dataset import MaskedPhotos
from dirl_lib.evaluation import (
    SUMMARY,
    Estimate,
    Evaluation,
    EvaluationError,
    estimates,
    evaluate,
    read_evaluation,
)
from dirl_lib.metrics import Protocol
from dirl_lib.published import ABLATION, Scores
from dirl_lib.recipes import TrainingRecipe, as_dict, override
from dirl_lib.training import fit
from dirl_lib.types import Sample

__all__ = [
    "GROUPS",
    "STEPS",
    "VARIANTS",
    "Ablation",
    "Comparison",
    "Images",
    "Line",
    "ablate",
    "claims",
    "read_ablation",
    "sign_flip_p",
]

ROWS = [row.preset for row in ABLATION]

VARIANTS: dict[str, dict[str, Any]] = {
    **{row: {"model": row} for row in ROWS},
    "bce": {"loss": "bce"},
    "bce-ssim": {"loss": "paper"},
    "bce-ssim-iou": {"loss": "paper+iou"},
    "released-loss": {"loss": "released", "attention_weight": 1.0},
    "lambda-0.1": {"loss": "paper", "attention_weight": 0.1},
    "lambda-1": {"loss": "paper", "attention_weight": 1.0},
    "figure-gates": {"model": "paper"},
    "cbam-gates": {"model": "cbam"},
    "eca-gates": {"model": "eca"},
    "random-start": {"imagenet": False},
    "imagenet-start": {"imagenet": True},
    "size-224": {"size": 224},
    "size-256": {"size": 256},
}
"""What each variant changes in the recipe."""

GROUPS: dict[str, list[str]] = {
    "rows": ROWS,
    "loss": ["bce", "bce-ssim", "bce-ssim-iou", "released-loss"],
    "lambda": ["lambda-0.1", "lambda-1"],
    "gates": ["figure-gates", "cbam-gates", "eca-gates"],
    "start": ["random-start", "imagenet-start"],
    "size": ["size-224", "size-256"],
}
"""Variants that belong beside each other. "rows" is the supplement's Table 1; the others are not in the paper."""

STEPS: list[tuple[str, str]] = [
    (f"row-{better:02}", f"row-{than:02}")
    for better, than in ((2, 1), (3, 2), (4, 3), (5, 3), (6, 3), (7, 3), (7, 4), (8, 3), (9, 8), (10, 7), (10, 9))
]
"""The steps by which the supplement argues: a row, and the row that it is said to improve on."""

PROTOCOLS: tuple[Protocol, ...] = ("paper", "released")
METRICS = ("ap", "f1", "iou")
LEVEL = 0.05
"""A difference counts below this probability of meeting it by chance."""
SHUFFLES = 9999
SEED = 0


class Images(NamedTuple):
    """What a recipe is trained and measured on."""

    train: Dataset[Sample]
    validation: Dataset[Sample] | None
    test: MaskedPhotos
    """The same images for every variant, at the recipe's size."""


class Line(NamedTuple):
    """One variant, over all its seeds."""

    variant: str
    seeds: tuple[int, ...]
    images: int
    """Test images."""
    printed: Scores | None
    """The paper's numbers, on other images and another training: not to be compared digit by digit."""
    ap: Estimate
    """Means over images and seeds, intervals of 95 % over photographs; F1 and IoU alike."""
    f1: Estimate
    iou: Estimate
    spread: Scores | None
    """Standard deviation of the seeds' means; None with one seed."""
    by_seed: tuple[Scores, ...]
    """Means of each seed over the images."""


class Comparison(NamedTuple):
    """Two variants on the same images, by one metric."""

    better: str
    """The variant that is said to be better ..."""
    than: str
    """... than this one."""
    metric: str
    difference: Estimate
    """Of the means over images and seeds, with its interval of 95 % over photographs."""
    by_photographs: float
    """Probability of such a difference among equals: paired permutation test over photographs, two-sided."""
    by_seeds: float | None
    """The same between the means of the seeds: Welch's t-test; None where a variant has one seed only."""

    @property
    def verdict(self) -> str:
        """In words, with the threshold `LEVEL` for each test by itself."""
        if self.by_seeds is None:
            return "one seed: not decided"
        if max(self.by_photographs, self.by_seeds) < LEVEL:
            return "better" if self.difference.mean > 0 else "worse"
        return "not larger than noise"


@dataclass(frozen=True)
class Ablation:
    """The scores of every variant and seed under one protocol."""

    scores: Mapping[str, Mapping[int, Evaluation]]
    """By variant and seed; all on the same images."""
    protocol: Protocol

    def lines(self) -> list[Line]:
        """A line for each variant, in the order in which they were given."""
        return [self._line(variant) for variant in self.scores]

    def table(self) -> str:
        """The lines as Markdown, AP and IoU in per cent; the paper's numbers in the first columns."""
        head = ["variant", "seeds", "paper: AP %", "F1", "IoU %", "here: AP %", "F1", "IoU %", "spread of IoU"]
        rows = [head, ["---", *["---:"] * (len(head) - 1)]]
        for line in self.lines():
            printed = ["-"] * 3 if line.printed is None else _printed(line.printed)
            here = [_cell(line.ap, 100, 1), _cell(line.f1, 1, 3), _cell(line.iou, 100, 1)]
            spread = "one seed" if line.spread is None else f"{100 * line.spread.iou:.1f}"
            rows.append([line.variant, str(len(line.seeds)), *printed, *here, spread])
        return "".join(f"| {' | '.join(row)} |\n" for row in rows)

    def compare(self, better: str, than: str, metric: str = "iou") -> Comparison:
        """Is one variant better than another by more than noise?

        Args:
            better, than: variants.
            metric: "ap", "f1" or "iou".

        Raises:
            KeyError: a variant that was not run.
        """
        ours, theirs = self._values(better, metric), self._values(than, metric)
        differences = ours.mean(axis=0) - theirs.mean(axis=0)
        (difference,) = estimates(differences[:, None], self._photos())
        seeds = None
        if min(len(ours), len(theirs)) > 1:
            seeds = _welch_p(ours.mean(axis=1), theirs.mean(axis=1))
        return Comparison(better, than, metric, difference, sign_flip_p(differences, self._photos()), seeds)

    def agreement(self, metric: str = "iou") -> float | None:
        """Kendall's tau between the paper's order and ours, from -1 to 1; None with fewer than two of its rows, or
        where all have one score."""
        pairs = [(getattr(line.printed, metric), getattr(line, metric).mean) for line in self.lines() if line.printed]
        if len({ours for _, ours in pairs}) < 2:
            return None
        return float(stats.kendalltau(*zip(*pairs, strict=True)).statistic)

    def _line(self, variant: str) -> Line:
        printed = {row.preset: row.scores for row in ABLATION}.get(variant)
        values = {metric: self._values(variant, metric) for metric in METRICS}
        seeds = tuple(self.scores[variant])
        means = np.array([values[metric].mean(axis=1) for metric in METRICS])  # (metrics, seeds)
        spread = Scores(*means.std(axis=1, ddof=1).tolist()) if len(seeds) > 1 else None
        by_seed = tuple(Scores(*of_seed) for of_seed in means.T.tolist())
        ap, f1, iou = estimates(np.column_stack([values[metric].mean(axis=0) for metric in METRICS]), self._photos())
        return Line(variant, seeds, values["iou"].shape[1], printed, ap, f1, iou, spread, by_seed)

    def _values(self, variant: str, metric: str) -> NDArray[np.float64]:
        """(seeds, images)."""
        runs = self.scores[variant].values()
        return np.array([[getattr(image, metric) for image in run.images if image.ap is not None] for run in runs])

    def _photos(self) -> list[tuple[str, str]]:
        run = next(iter(next(iter(self.scores.values())).values()))
        return [(image.subset, image.photo) for image in run.images if image.ap is not None]


def claims(ablation: Ablation) -> list[tuple[str, str]]:
    """Those of `STEPS` whose two rows were run."""
    return [(better, than) for better, than in STEPS if {better, than} <= ablation.scores.keys()]


def sign_flip_p(differences: NDArray[np.float64], photos: Sequence[object]) -> float:
    """Were both equal, each photograph's differences might as well have the other sign: how often is the sum as large?

    Args:
        differences: (N,), of each image.
        photos: (N,), equal for images of one photograph, whose signs change together.

    Returns:
        Two-sided probability, by 9,999 random flips, or all of them where there are fewer.
    """
    numbers = np.unique([str(photo) for photo in photos], return_inverse=True)[1]
    sums = np.bincount(numbers, weights=differences)
    result = stats.permutation_test(
        (sums, np.zeros_like(sums)),
        lambda a, b, axis: np.sum(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=SHUFFLES,
        rng=np.random.default_rng(SEED),
    )
    return float(result.pvalue)


def ablate(
    recipe: TrainingRecipe,
    variants: Sequence[str],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    data: Callable[[TrainingRecipe], Images],
    out: str | Path,
    start_from: str | Path | None = None,
    workers: int = 0,
    accelerator: str = "auto",
    device: str = "cpu",
    progress: bool = False,
    tell: Callable[[str], object] = lambda _: None,
) -> Ablation:
    """Train and measure every variant with every seed; what is finished is not done again.

    Args:
        recipe: what all variants share.
        variants: keys of `VARIANTS`.
        seeds: of initial weights, order and draws; the test images stay the same.
        data: the images of a recipe.
        out: `runs/VARIANT/seed-N` in it are folders of `fit`, `scores/VARIANT/seed-N` what is worth keeping.
        start_from: `out` of an earlier ablation: each network begins with the last weights of the same variant and seed
            there. None begins at random.
        workers, accelerator: as in `fit`.
        device: where the trained networks are measured.
        progress: show a bar for each training.
        tell: called with one line for each variant and seed.

    Returns:
        The scores of these variants, protocol "paper".

    Raises:
        ValueError: an unknown variant, a folder with scores of another recipe, or what `fit` refuses.
        OSError: the folder cannot be written.
    """
    for variant in variants:
        if variant not in VARIANTS:
            raise ValueError(f"found the variant {variant!r}, expected one of {', '.join(VARIANTS)}")
    out = Path(out)
    # Seed by seed: a run that is stopped halfway has compared all variants once rather than half of them thoroughly.
    for seed, variant in itertools.product(seeds, variants):
        changed = override(recipe, {**VARIANTS[variant], "seed": seed})
        scores = out / "scores" / variant / f"seed-{seed}"
        if _is_finished(scores, changed):
            tell(f"{variant}, seed {seed}: measured before")
            continue
        run = _run(out, variant, seed)
        images = data(changed)
        trained = fit(
            changed,
            images.train,
            images.validation,
            out=run,
            start_from=None if start_from is None else _run(Path(start_from), variant, seed) / "last.safetensors",
            workers=workers,
            accelerator=accelerator,
            progress=progress,
        )
        for name in ("log.csv", "validation.csv"):
            if (run / name).is_file():
                (scores / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(run / name, scores / name)
        for protocol in reversed(PROTOCOLS):  # the one that says "finished" comes last
            found = evaluate(trained.network, images.test, protocol=protocol, name=variant, device=device)
            found.write(_folder(scores, protocol), recipe=as_dict(changed), images_seen=trained.log[-1]["images"])
        tell(f"{variant}, seed {seed}: IoU {100 * np.mean([image.iou for image in found.images]):.1f} %")
    return read_ablation(out / "scores", variants=variants, seeds=seeds)


def read_ablation(
    folder: str | Path,
    *,
    variants: Iterable[str] | None = None,
    seeds: Iterable[int] | None = None,
    protocol: Protocol = "paper",
) -> Ablation:
    """The stored scores of an ablation.

    Args:
        folder: `OUT/scores` of `ablate`.
        variants, seeds: only these, in this order; None takes all that are finished, in the order of `VARIANTS`.
        protocol: how predictions were measured.

    Raises:
        FileNotFoundError: no scores at all, or not those that were asked for.
        EvaluationError: runs on different images, or a damaged file.
    """
    folder = Path(folder)
    finished = {variant: _seeds(folder / variant) for variant in VARIANTS}
    scores: dict[str, dict[int, Evaluation]] = {}
    for variant in [name for name in VARIANTS if finished[name]] if variants is None else variants:
        scores[variant] = {
            seed: read_evaluation(_folder(folder / variant / f"seed-{seed}", protocol))
            for seed in (finished.get(variant, []) if seeds is None else seeds)
        }
    if not all(scores.values()) or not scores:
        raise FileNotFoundError(f"{folder}: found no scores of an ablation, expected folders such as row-01/seed-0")
    runs = [(variant, seed, run) for variant, by_seed in scores.items() for seed, run in by_seed.items()]
    names = [image.name for image in runs[0][2].images]
    for variant, seed, run in runs:
        if [image.name for image in run.images] != names:
            raise EvaluationError(
                f"{folder / variant}/seed-{seed}: found scores of other images than {runs[0][0]}'s; measure it anew"
            )
    return Ablation(scores, protocol)


def _seeds(folder: Path) -> list[int]:
    """The seeds of one variant that were measured to the end, in order."""
    return sorted(int(path.parent.name.removeprefix("seed-")) for path in folder.glob(f"seed-*/{SUMMARY}"))


def _welch_p(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """Two-sided, between the seeds of two variants; where no seed differs from another the answer is plain."""
    if np.ptp(ours) == np.ptp(theirs) == 0:
        return float(ours[0] == theirs[0])
    return float(stats.ttest_ind(ours, theirs, equal_var=False).pvalue)


def _run(out: Path, variant: str, seed: int) -> Path:
    return out / "runs" / variant / f"seed-{seed}"


def _folder(scores: Path, protocol: Protocol) -> Path:
    return scores if protocol == "paper" else scores / "stretched"


def _is_finished(scores: Path, recipe: TrainingRecipe) -> bool:
    """Raises ValueError where the folder holds the scores of another recipe."""
    summary = scores / SUMMARY
    if not summary.is_file():
        return False
    stored = json.loads(summary.read_text(encoding="utf-8"))["recipe"]
    wanted = json.loads(json.dumps(as_dict(recipe)))
    for name, value in wanted.items():
        if stored.get(name) != value:
            raise ValueError(
                f"{scores}: holds scores of another recipe ({name} {stored.get(name)!r}, expected {value!r}); "
                "choose another folder"
            )
    return True


def _printed(scores: Scores) -> list[str]:
    return [f"{100 * scores.ap:.2f}", f"{scores.f1:.4f}", f"{100 * scores.iou:.2f}"]


def _cell(estimate: Estimate, scale: int, digits: int) -> str:
    mean, low, high = (None if value is None else f"{scale * value:.{digits}f}" for value in estimate)
    return f"{mean}" if low is None else f"{mean} [{low}, {high}]"
