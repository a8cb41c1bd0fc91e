"""What the loop costs beside the network, and what a GPU gains by the loop's settings; as ratios within one run.

python benchmarks/training.py
python benchmarks/training.py --json results/training.json

On the CPU: steps of `fit`, with its log, its progress, its states and its last validation left out, against the
shortest loop that takes the same steps on the same images, in processor time, as both have one thread. Each is timed
at two lengths and the difference divided by the steps between, so that starting up counts for nothing. On a GPU:
full-width DIRL at 224, batches of 8 and of 32, as `fit` trains it (bfloat16, channels last, compiled) against a plain
eager float32 loop. On both, the share of a step that waits for images: the same training on photographs of the sample
data, loaded by other processes from a prepared store, against one whose images lie ready in memory. The GPU's are
read, cut and flipped as released; the CPU's are recoloured on the fly.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import torch
from torch.utils.data import Dataset

from dirl_lib import training
from dirl_lib.data.cache import prepare
from dirl_lib.data.composing import ComposedScenes
from dirl_lib.data.dataset import MaskedPhotos
from dirl_lib.data.folders import MaskedPhoto
from dirl_lib.data.loading import make_loader
from dirl_lib.data.sample import list_samples
from dirl_lib.data.transforms import Resize
from dirl_lib.models.dirl import build_dirl
from dirl_lib.provenance import write_record
from dirl_lib.recipes import RECIPES, TrainingRecipe, losses_of
from dirl_lib.training import fit
from dirl_lib.types import Sample

CPU_RECIPE = replace(
    RECIPES["small"],
    batch_size=8,
    average=0.0,
    clip_norm=0.0,
    cooldown_epochs=0,
    log_every=5,
)
CPU_LENGTHS = (10, 40)
CPU_REPEATS = 3
GPU_RECIPE = replace(RECIPES["released"], imagenet=False, milestones=())
GPU_BATCHES = (8, 32)
GPU_LENGTHS = (40, 240)
GPU_REPEATS = 3
SAVE_MINUTES = 5
CPU_WORKERS, GPU_WORKERS = 1, 4
STORED = 256
"""Pixels of the shorter side of the photographs in the prepared store."""


class Composites(Dataset[Sample]):
    """Random pictures that lie ready in memory."""

    def __init__(self, size: int, count: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.rand(count, 3, size, size, generator=generator)
        self.masks = torch.zeros(count, 1, size, size)
        self.masks[:, :, size // 4 : size // 2, size // 4 : size // 2] = 1
        self.images += 0.3 * (self.masks - self.masks.mean()) * (1 - self.images)
        self.images.clamp_(0, 1)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        number = index % len(self)
        return Sample(str(number), self.images[number], self.masks[number], self.images[number])


class Repeated(Dataset[Sample]):
    """A stream of few photographs as one long epoch, so that the end of an epoch does not count."""

    def __init__(self, data: MaskedPhotos | ComposedScenes, length: int) -> None:
        self.data = data
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        return self.data[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the figures with their provenance")
    options = parser.parse_args()
    results: dict[str, object] = {"cpu": on_cpu(), "gpu": "not run"}
    if torch.cuda.is_available():
        results["gpu"] = {f"batch {batch}": on_gpu(batch) for batch in GPU_BATCHES}
    for device, figures in results.items():
        print(device, figures if isinstance(figures, str) else "")
        for name, value in figures.items() if isinstance(figures, dict) else ():
            print(f"  {name:48} {value}")
    if options.json:
        write_record(options.json, {"benchmark": "training", "results": results})


def on_cpu() -> dict[str, object]:
    """Milliseconds of a step both ways on one thread, and what saving a state costs of the time between two."""
    torch.set_num_threads(1)
    images = Composites(CPU_RECIPE.size, CPU_RECIPE.batch_size)

    def plain(steps: int) -> float:
        return seconds(lambda: plain_loop(CPU_RECIPE, images, steps, "cpu"), clock=time.process_time)

    def ours(steps: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            recipe = replace(CPU_RECIPE, epochs=steps)
            return seconds(
                lambda: fit(recipe, images, out=folder, accelerator="cpu", progress=True), clock=time.process_time
            )

    ratios, steps_plain, steps_ours = [], [], []
    for _ in range(CPU_REPEATS):
        one, two = per_step(plain, CPU_LENGTHS), per_step(ours, CPU_LENGTHS)
        ratios.append(two / one)
        steps_plain.append(one)
        steps_ours.append(two)
    saving = saving_seconds(images)
    outside = outside_share(images)
    recipe = CPU_RECIPE
    with tempfile.TemporaryDirectory() as store:
        stream = ComposedScenes(
            stored_photographs(Path(store)),
            recipe.size,
            cache=store,
            crop=recipe.crop,
            light=recipe.light,
            untouched=recipe.untouched,
            foreign=recipe.foreign,
            oversample=recipe.oversample,
        )
        waiting = waiting_share(recipe, stream, images, CPU_LENGTHS, accelerator="cpu", workers=CPU_WORKERS)
    return {
        "plain loop, ms a step": round(1000 * median(steps_plain), 2),
        "fit, ms a step": round(1000 * median(steps_ours), 2),
        "fit / plain - 1, median of pairs": round(median(ratios) - 1, 4),
        "fit / plain - 1, all pairs": [round(ratio - 1, 4) for ratio in sorted(ratios)],
        "log and progress: share of the time between steps": round(outside, 5),
        "saving a state, s": round(saving, 3),
        f"saving every {SAVE_MINUTES} minutes, share": round(saving / (60 * SAVE_MINUTES), 5),
        f"share of a step waiting for images, {CPU_WORKERS} worker": round(waiting, 4),
    }


def on_gpu(batch: int) -> dict[str, float]:
    """Images a second both ways, the ratio, the last losses, and the share of time without an image to work on."""
    recipe = replace(GPU_RECIPE, batch_size=batch)
    images = Composites(recipe.size, 4 * batch)
    fast = replace(recipe, precision="bf16-mixed")
    totals: dict[str, float] = {}

    def plain(steps: int) -> float:
        return seconds(lambda: totals.update(plain=plain_loop(recipe, images, steps, "cuda")))

    def ours(steps: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            length = replace(fast, epochs=-(-steps // 4))

            def train() -> None:
                trained = fit(length, images, out=folder, accelerator="gpu", compile_network=True, workers=4)
                totals["ours"] = trained.log[-1]["total"]

            return seconds(train)

    ours(8)  # compiles
    rates = [(per_step(plain, GPU_LENGTHS), per_step(ours, GPU_LENGTHS)) for _ in range(GPU_REPEATS)]
    with tempfile.TemporaryDirectory() as store:
        stream = MaskedPhotos(stored_photographs(Path(store)), recipe.size, augment="released", cache=store)
        waiting = waiting_share(fast, stream, images, GPU_LENGTHS, accelerator="gpu", workers=GPU_WORKERS)
    return {
        "plain loop, images/s": round(batch / median(one for one, _ in rates), 1),
        "fit, images/s": round(batch / median(two for _, two in rates), 1),
        "ratio": round(median(one / two for one, two in rates), 2),
        "loss after the longer run, plain": round(totals["plain"], 4),
        "loss after the longer run, fit": round(totals["ours"], 4),
        f"share of a step waiting for images, {GPU_WORKERS} workers": round(waiting, 4),
    }


def plain_loop(recipe: TrainingRecipe, images: Composites, steps: int, device: str) -> float:
    """The shortest loop that takes the same steps; the last loss."""
    torch.manual_seed(recipe.seed)
    network = build_dirl(recipe.config).to(device)
    if device == "cpu":
        network = network.to(memory_format=torch.channels_last)  # as `fit` does there
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    optimizer = kind(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    loader = make_loader(images, recipe.batch_size, train=True, seed=recipe.seed)
    total = torch.zeros(())
    done = 0
    while done < steps:
        for batch in loader:
            total = losses_of(recipe, network(batch.image.to(device)), batch.mask.to(device))["total"]
            total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
            done += 1
            if done == steps:
                break
    return total.item()


def outside_share(images: Composites, steps: int = 60) -> float:
    """Of a run between its first step and its last, the share that is not spent in steps.

    Both are read off one run, so that a busy machine, which blurs the comparison of two, hardly matters.
    """
    inside: list[tuple[float, float]] = []
    original = training._step

    def timed(*arguments: Any) -> Any:
        started = time.perf_counter()
        found = original(*arguments)
        inside.append((started, time.perf_counter()))
        return found

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(training, "_step", timed):
        fit(replace(CPU_RECIPE, epochs=steps), images, out=folder, accelerator="cpu", progress=True)
    return 1 - sum(end - start for start, end in inside) / (inside[-1][1] - inside[0][0])


def saving_seconds(images: Composites) -> float:
    """How long one state takes, from three runs that do almost nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        short, often = Path(folder, "short"), Path(folder, "often")
        recipe = replace(CPU_RECIPE, epochs=10, log_every=1)
        once = seconds(lambda: fit(recipe, images, out=short, accelerator="cpu"))
        each = seconds(lambda: fit(recipe, images, out=often, accelerator="cpu", save_minutes=0))
    return max(0.0, each - once) / 9


def waiting_share(
    recipe: TrainingRecipe,
    stream: MaskedPhotos | ComposedScenes,
    ready: Composites,
    lengths: tuple[int, int],
    *,
    accelerator: str,
    workers: int,
) -> float:
    """Of a step on a stream, what it takes longer than on images that lie ready; median of three pairs."""

    def train(images: Repeated | Composites, steps: int, loaders: int) -> float:
        length = replace(recipe, epochs=-(-steps * recipe.batch_size // len(images)))
        compiled = accelerator == "gpu"
        with tempfile.TemporaryDirectory() as out:
            return seconds(
                lambda: fit(length, images, out=out, accelerator=accelerator, compile_network=compiled, workers=loaders)
            )

    def from_stream(steps: int) -> float:
        return train(Repeated(stream, steps * recipe.batch_size), steps, workers)

    def from_memory(steps: int) -> float:
        return train(ready, steps, 0)

    return median(1 - per_step(from_memory, lengths) / per_step(from_stream, lengths) for _ in range(3))


def stored_photographs(store: Path) -> list[MaskedPhoto]:
    """Each photograph of the sample data once, untouched and with one of its masks; prepared in `store`."""
    photos = {one.photo: MaskedPhoto(one.photo, one.real_path, one.mask_path, one.photo) for one in list_samples()}
    prepare(list(photos.values()), store, Resize(STORED, keep_aspect=True))
    return list(photos.values())


def per_step(way: Callable[[int], float], lengths: tuple[int, int]) -> float:
    """Seconds of a step, from two lengths."""
    short, long = lengths
    return (way(long) - way(short)) / (long - short)


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """On a GPU until everything is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = clock()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - started


if __name__ == "__main__":
    main()
