"""How much faster a batch is scored than image by image with scikit-learn, and how far the two are apart.

python benchmarks/evaluation.py
python benchmarks/evaluation.py --json results/evaluation.json

A thousand predictions of 224 x 224 as a trained network gives them in mixed precision: smooth, sure of themselves,
wrong here and there, rounded to float16, so that many pixels are equal and some are exactly 1. Exact AP, F1 and IoU of
each. On the CPU both have one thread, and processor time is counted; a GPU's time is the clock's, from arrays in main
memory to numbers in main memory.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score, f1_score, jaccard_score
from threadpoolctl import threadpool_limits
from torch import Tensor

from dirl_lib.metrics import average_precision, score_images
from dirl_lib.provenance import write_record

SIZE = 224
IMAGES = 1000
BATCH = 16
REPEATS = 3
BAR_RATIO, BAR_DIFFERENCE = 2.5, 1e-6

Pass = Callable[[], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the figures with their provenance")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        results = measure(*predictions())
    show(results)
    if options.json:
        facts = {"benchmark": "evaluation", "size_px": SIZE, "images": IMAGES, "batch": BATCH, "repeats": REPEATS}
        write_record(options.json, {**facts, "results": results})


def predictions() -> tuple[Tensor, Tensor]:
    """Predictions and masks, each (IMAGES, 1, SIZE, SIZE); regions cover about 9 % as in iHarmony4."""
    generator = torch.Generator().manual_seed(0)
    truth, doubt = (smooth(generator, cells) for cells in (5, 12))
    mask = truth > truth.flatten(1).quantile(0.91, dim=1).view(-1, 1, 1, 1)
    logits = 14 * (truth - 1.3) + 6 * doubt
    return torch.sigmoid(logits).half().float(), mask.float()


def smooth(generator: torch.Generator, cells: int) -> Tensor:
    """Random hills of unit variance, so many a side."""
    coarse = torch.randn(IMAGES, 1, cells, cells, generator=generator)
    hills = F.interpolate(coarse, (SIZE, SIZE), mode="bicubic", align_corners=True)
    return hills / hills.std()


def measure(prediction: Tensor, mask: Tensor) -> dict[str, float | str]:
    """Milliseconds an image for each way, the median over repeats taken in turns; ratios; the largest difference."""
    score_images(prediction[:BATCH], mask[:BATCH])  # the first call of each kind sets things up
    ways: dict[str, Pass] = {
        "scikit-learn, AP": lambda: by_scikit_learn(prediction, mask, ap_only=True),
        "scikit-learn, AP, F1, IoU": lambda: by_scikit_learn(prediction, mask),
        "dirl_lib, AP": lambda: by_dirl(prediction, mask, "cpu", ap_only=True),
        "dirl_lib, AP, F1, IoU": lambda: by_dirl(prediction, mask, "cpu"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, Tensor] = {}
    for _ in range(REPEATS):
        for name, run in ways.items():
            started = time.process_time()
            found[name] = run()
            seconds[name].append(time.process_time() - started)
    results: dict[str, float | str] = {f"ms: {name}": 1000 * median(s) / IMAGES for name, s in seconds.items()}
    for scores in ("AP", "AP, F1, IoU"):
        ratios = [
            a / b for a, b in zip(*(seconds[f"{way}, {scores}"] for way in ("scikit-learn", "dirl_lib")), strict=True)
        ]
        results[f"ratio: {scores}"] = median(ratios)
    ours, theirs = (found[f"{way}, AP, F1, IoU"] for way in ("dirl_lib", "scikit-learn"))
    for column, score in enumerate(("AP", "F1", "IoU")):
        results[f"largest difference: {score}"] = float((ours - theirs)[:, column].abs().max())
    results["share of pixels at exactly 1"] = float((prediction == 1).float().mean())
    results["share of pixels equal to another"] = 1 - sum(len(one.unique()) for one in prediction) / prediction.numel()
    results["ms: dirl_lib on a GPU, AP, F1, IoU"] = on_gpu(prediction, mask)
    return results


def on_gpu(prediction: Tensor, mask: Tensor) -> float | str:
    if not torch.cuda.is_available():
        return "not run"
    by_dirl(prediction[:BATCH], mask[:BATCH], "cuda")
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        by_dirl(prediction, mask, "cuda")
        seconds.append(time.perf_counter() - started)
    return 1000 * median(seconds) / IMAGES


def by_dirl(prediction: Tensor, mask: Tensor, device: str, *, ap_only: bool = False) -> Tensor:
    """(N, 3) or (N, 1), float64 on the CPU."""
    rows = []
    for p, m in zip(prediction.split(BATCH), mask.split(BATCH), strict=True):
        p, m = p.to(device), m.to(device)
        columns = [average_precision(p, m)] if ap_only else list(score_images(p, m)[:3])
        rows.append(torch.stack(columns, dim=1).cpu())
    return torch.cat(rows)


def by_scikit_learn(prediction: Tensor, mask: Tensor, *, ap_only: bool = False) -> Tensor:
    """The same, one image at a time."""
    rows = []
    for p, m in zip(prediction.flatten(1).numpy(), mask.flatten(1).numpy().astype(int), strict=True):
        row = [average_precision_score(m, p)]
        if not ap_only:
            row += [f1_score(m, p > 0.5), jaccard_score(m, p > 0.5)]
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


def show(results: dict[str, float | str]) -> None:
    for name, value in results.items():
        print(f"{name:38s}{value if isinstance(value, str) else format(value, '.4g'):>12s}")
    ratio, difference = results["ratio: AP, F1, IoU"], results["largest difference: AP"]
    print(f"expected: at least {BAR_RATIO} x on one core, and AP within {BAR_DIFFERENCE:g}")
    if float(ratio) < BAR_RATIO or float(difference) > BAR_DIFFERENCE:
        raise SystemExit("missed")


if __name__ == "__main__":
    main()
