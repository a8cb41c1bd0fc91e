"""Training: one explicit loop, the same on a laptop core, one GPU, several, and several machines.

    result = fit(RECIPES["quick"], photographs, validation, out="runs/first")
    result.network, result.log[-1]["total"], result.best

A run lives in its folder: `recipe.json`, `log.csv`, `validation.csv`, the weights `last.safetensors` and
`best.safetensors` (see `dirl_lib.weights`), `state-*.safetensors` (all that is needed to go on), `seen/` (predictions
while it trains). The same call on the same folder goes on where the run was; on the CPU it then ends with the same bits
as a run that was never interrupted.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset

from dirl_lib.checkpoints import load_imagenet
from dirl_lib.data.loading import EpochSampler, make_loader
from dirl_lib.devices import OneDevice, make_fabric
from dirl_lib.metrics import ImageScores, mean_scores, score_images
from dirl_lib.models.dirl import DIRL, DIRLConfig, build_dirl
from dirl_lib.recipes import TrainingRecipe, losses_of
from dirl_lib.run_folder import RunFolder, State
from dirl_lib.synced_norm import synchronise_batch_norm
from dirl_lib.types import Sample
from dirl_lib.weights import about, load_network

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from tqdm import tqdm

__all__ = ["Trained", "TrainingError", "fit"]

ENOUGH_CHANNELS = 0.25
"""From this width on the CPU takes channels-last, where it is faster. Below, torch 2.15 stops in the backward pass of a
1x1 convolution of stride 2."""
SHOWN = 4
"""Validation images whose predictions are kept as pictures."""


class TrainingError(ValueError):
    """A training cannot go on; the message is one line: what happened where, and what to do."""


class Trained(NamedTuple):
    """What a training leaves."""

    network: DIRL
    """The last weights (their running average, where the recipe has one), in evaluation mode."""
    log: list[dict[str, float]]
    """Lines of log.csv: step, epoch, images seen, learning rate, every loss term, images a second."""
    validation: list[dict[str, float]]
    """Lines of validation.csv; empty without validation images."""
    best: float | None
    """Highest mean IoU on the validation images."""
    finished: bool
    """False where `minutes` were over before the last epoch."""


def fit(
    recipe: TrainingRecipe,
    train: Dataset[Sample],
    validation: Dataset[Sample] | None = None,
    *,
    out: str | Path,
    start_from: str | Path | None = None,
    workers: int = 0,
    accelerator: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    compile_network: bool = False,
    minutes: float | None = None,
    save_minutes: float = 5,
    progress: bool = False,
) -> Trained:
    """Train by a recipe, or go on with the run in `out`.

    Args:
        recipe: every number of the training. Where `out` holds a run, it must be that run's; only `epochs` may differ.
        train: a data set of the kit: item i of epoch e is `e * len + i`.
        validation: images for AP, F1 and IoU after every `recipe.validate_every` epochs; the best IoU is kept.
        out: folder of the run.
        start_from: weights of `dirl_lib.weights` to begin with, of the recipe's network; None begins at random.
        workers: processes that load beside each training process.
        accelerator, devices, nodes: as in Lightning Fabric: "auto", "cpu", "gpu" or "mps"; how many here; machines.
        compile_network: let `torch.compile` fuse operations; its minute of warming up pays on a GPU.
        minutes: stop, with everything saved, after so long; the same call goes on.
        save_minutes: how much work a kill may cost.
        progress: show a bar with losses, speed and remaining time.

    Raises:
        ValueError: the folder holds another run, the images do not fill one batch, or devices that are not there.
        TrainingError: the loss is no longer a number; the message names the images.
        OSError: the folder cannot be written; what was saved before is still there.
    """
    fabric = make_fabric(accelerator=accelerator, devices=devices, nodes=nodes, precision=recipe.precision)
    fabric.launch()
    world = fabric.world_size
    part = _images_of_a_part(recipe, world)
    length: int = len(train)  # type: ignore[arg-type]
    steps_per_epoch = length // recipe.batch_size
    if steps_per_epoch == 0:
        raise ValueError(f"found {length} images, expected at least one batch of {recipe.batch_size}; lower batch_size")
    last_step = recipe.epochs * steps_per_epoch

    torch.manual_seed(recipe.seed)
    network = _network(recipe, fabric, start_from)
    optimizer = _optimizer(recipe, network)
    average = (
        AveragedModel(network, multi_avg_fn=_Average(recipe.average), use_buffers=True) if recipe.average else None
    )
    compiled: Any = torch.compile(network) if compile_network else network
    model, stepper = fabric.setup(compiled, optimizer)
    kept: Any = average.module.to(fabric.device) if average else network

    described = _described(train) | {"start_from": None if start_from is None else Path(start_from).name}
    folder = RunFolder(Path(out), recipe, described, writes=fabric.is_global_zero)
    state = State(network, average, optimizer)
    step = folder.load(state)
    if step >= last_step:
        return _trained(kept, folder, finished=True)

    epoch, done = divmod(step, steps_per_epoch)
    sampler = EpochSampler(
        length, seed=recipe.seed, epoch=epoch, skip=done * recipe.batch_size, rank=fabric.global_rank, world=world
    )
    on_gpu = fabric.device.type == "cuda"
    loader = make_loader(train, part, train=True, workers=workers, sampler=sampler, pin_memory=on_gpu)
    batches = _endless(
        loader, fabric, skipped=done * recipe.accumulate, in_an_epoch=steps_per_epoch * recipe.accumulate
    )
    checked = DataLoader(validation, 16) if validation is not None else None
    bar = _bar(step, last_step) if progress and fabric.is_global_zero else None

    began = saved = counted = time.monotonic()
    terms: list[dict[str, Tensor]] = []
    seen: list[list[str]] = []
    try:
        while step < last_step:
            rate = recipe.learning_rate_at(step, steps_per_epoch)
            try:
                losses, names = _step(recipe, fabric, model, stepper, batches, rate)
            except TrainingError:
                _refuse_nan(terms, seen, step, folder)  # a step before may be the cause
                raise
            if average is not None:
                average.update_parameters(network)
            terms.append(losses)
            seen.append(names)
            step += 1
            if bar is not None:
                bar.update()

            if step % recipe.log_every == 0 or step == last_step:
                # Here, and only here, numbers come back from the device.
                _refuse_nan(terms, seen, step, folder)
                means = _means(terms, fabric)
                now = time.monotonic()
                speed, counted = len(terms) * recipe.batch_size / (now - counted), now
                terms, seen = [], []
                folder.add_line("log", _line(recipe, step, steps_per_epoch, rate, means, speed))
                if bar is not None:
                    bar.set_postfix_str(f"loss {means['total']:.3f}, {speed:.1f} images/s")

            if checked is not None and (step == last_step or step % (recipe.validate_every * steps_per_epoch) == 0):
                paused = time.monotonic()
                scores, picture = _validate(kept, checked, fabric)
                earlier = [line["iou"] for line in folder.lines("validation")]
                folder.add_line("validation", _where(recipe, step, steps_per_epoch) | scores)
                folder.add_picture(step, picture)
                if scores["iou"] > max(earlier, default=-1.0):
                    folder.save_weights("best", kept, {"images_seen": step * recipe.batch_size, "scores": scores})
                counted += time.monotonic() - paused

            if not terms:
                minutes_over = fabric.broadcast(minutes is not None and time.monotonic() - began > 60 * minutes)
                if minutes_over or step == last_step or time.monotonic() - saved > 60 * save_minutes:
                    folder.save(state, step, kept, {"images_seen": step * recipe.batch_size})
                    saved = time.monotonic()
                if minutes_over:
                    break
    finally:
        folder.close()
        if bar is not None:
            bar.close()
    return _trained(kept, folder, finished=step == last_step)


def _step(
    recipe: TrainingRecipe,
    fabric: Fabric | OneDevice,
    model: Any,
    optimizer: Any,
    batches: Iterator[Sample],
    rate: float,
) -> tuple[dict[str, Tensor], list[str]]:
    """One step of the optimiser: the losses, and the names of the images."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    parts: list[dict[str, Tensor]] = []
    names: list[str] = []
    for number in range(recipe.accumulate):
        batch = next(batches)
        names += batch.name
        is_last = number == recipe.accumulate - 1
        with fabric.no_backward_sync(model, enabled=not is_last):
            found = model(batch.image)
            try:
                losses = losses_of(recipe, found, batch.mask)
            except ValueError as error:  # on the CPU the losses themselves refuse NaN
                raise TrainingError(f"{', '.join(batch.name)}: {error}; or lower learning_rate") from error
            fabric.backward(losses["total"] / recipe.accumulate)
        parts.append({name: value.detach() for name, value in losses.items()})
    if recipe.clip_norm:
        fabric.clip_gradients(model, optimizer, max_norm=recipe.clip_norm)
    optimizer.step()
    optimizer.zero_grad()
    return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}, names


def _network(recipe: TrainingRecipe, fabric: Fabric | OneDevice, start_from: str | Path | None) -> nn.Module:
    dirl = build_dirl(recipe.config)
    if start_from is not None:
        dirl, config = load_network(start_from)[0], about(start_from)["config"]
        if DIRLConfig(**config) != recipe.config:
            raise ValueError(f"{start_from}: holds the network {config}, expected the recipe's {recipe.config}")
    elif recipe.imagenet and not load_imagenet(dirl.encoder):
        raise TrainingError(
            "ImageNet weights could not be downloaded, and the recipe asks for them; set imagenet false"
        )
    network: nn.Module = dirl
    if fabric.world_size > 1:
        network = synchronise_batch_norm(network, fabric.device.type)
    if fabric.device.type == "cuda" or recipe.width >= ENOUGH_CHANNELS:
        network = network.to(memory_format=torch.channels_last)
    return network


def _optimizer(recipe: TrainingRecipe, network: nn.Module) -> torch.optim.Optimizer:
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(network.parameters(), recipe.learning_rate, betas=(0.9, 0.999), weight_decay=recipe.weight_decay)


class _Average:
    """The running average of weights and batch-norm statistics; in the beginning it forgets faster."""

    def __init__(self, decay: float) -> None:
        self.decay = decay

    @torch.no_grad()
    def __call__(self, averages: Any, currents: Any, seen: Tensor | int) -> None:
        decay = min(self.decay, (1 + int(seen)) / (10 + int(seen)))
        for average, current in zip(averages, currents, strict=True):
            if average.is_floating_point():
                average.lerp_(current.to(average.device), 1 - decay)
            else:
                average.copy_(current)


def _images_of_a_part(recipe: TrainingRecipe, world: int) -> int:
    part, rest = divmod(recipe.batch_size, world * recipe.accumulate)
    if rest or part == 0:
        raise ValueError(
            f"a batch of {recipe.batch_size} cannot be shared by {world} processes in {recipe.accumulate} parts each; "
            "choose a batch_size that their product divides"
        )
    return part


def _endless(
    loader: DataLoader[Sample], fabric: Fabric | OneDevice, *, skipped: int, in_an_epoch: int
) -> Iterator[Sample]:
    """Batch after batch, epoch after epoch; what does not fill a whole step is left out at the end of each."""
    while True:
        for batch in itertools.islice(loader, in_an_epoch - skipped):
            yield fabric.to_device(batch)
        skipped = 0


def _means(terms: list[dict[str, Tensor]], fabric: Fabric | OneDevice) -> dict[str, float]:
    names = list(terms[0])
    sums = torch.stack([torch.stack([line[name] for name in names]) for line in terms]).mean(dim=0)
    reduced: Any = fabric.all_reduce(sums)
    return dict(zip(names, reduced.tolist(), strict=True))


def _where(recipe: TrainingRecipe, step: int, steps_per_epoch: int) -> dict[str, float]:
    return {"step": step, "epoch": round(step / steps_per_epoch, 4), "images": step * recipe.batch_size}


def _line(
    recipe: TrainingRecipe, step: int, steps_per_epoch: int, rate: float, means: Mapping[str, float], speed: float
) -> dict[str, float]:
    where = _where(recipe, step, steps_per_epoch)
    return where | {"learning_rate": rate} | dict(means) | {"images_per_second": round(speed, 2)}


def _refuse_nan(terms: list[dict[str, Tensor]], seen: list[list[str]], step: int, folder: RunFolder) -> None:
    """Look through the steps since the last look, the last of which is `step`."""
    totals = torch.stack([line["total"] for line in terms]).tolist() if terms else []
    for number, (total, names) in enumerate(zip(totals, seen, strict=True), start=step - len(terms) + 1):
        if not math.isfinite(total):
            raise TrainingError(
                f"{folder.path}: the loss is {total} at step {number}; its images are {', '.join(names)}; "
                "look at them, or lower learning_rate; the states saved before are still good"
            )


@torch.no_grad()
def _validate(
    network: nn.Module, images: DataLoader[Sample], fabric: Fabric | OneDevice
) -> tuple[dict[str, float], NDArray[np.uint8]]:
    """Mean scores as predicted (protocol "paper"), and a picture of the first images."""
    was_training = network.training
    network.eval()
    scores: list[ImageScores] = []
    picture = np.zeros((0, 0, 3), np.uint8)
    for batch in images:
        image, mask = batch.image.to(fabric.device), batch.mask.to(fabric.device)
        found = network(image).mask.float()
        if not scores:
            picture = _picture(image[:SHOWN], mask[:SHOWN], found[:SHOWN])
        scores.append(score_images(found, mask))
    network.train(was_training)
    means = mean_scores(scores)
    return {"ap": means.ap or 0.0, "f1": means.f1 or 0.0, "iou": means.iou or 0.0}, picture


def _picture(images: Tensor, masks: Tensor, found: Tensor) -> NDArray[np.uint8]:
    """Image, mask and prediction beside each other, one row an image: uint8 (H, W, 3)."""
    rows = torch.cat([images, masks.expand_as(images), found.expand_as(images)], dim=-1)
    pixels: NDArray[np.uint8] = (
        (torch.cat(list(rows), dim=-2) * 255).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()
    )
    return pixels


def _described(data: Dataset[Sample]) -> dict[str, object]:
    """How many images, and a fingerprint of their names where the data set knows them."""
    records = getattr(data, "photos", None) or getattr(data, "records", [])
    names = "\n".join(record.name for record in records)
    return {"images": len(data), "names_sha256": hashlib.sha256(names.encode()).hexdigest() if names else ""}  # type: ignore[arg-type]


def _bar(step: int, last_step: int) -> tqdm[object]:
    from tqdm.auto import tqdm

    often = 0.2 if sys.stderr.isatty() else 30
    return tqdm(total=last_step, initial=step, desc="training", unit="step", smoothing=0.05, mininterval=often)


def _trained(network: DIRL, folder: RunFolder, *, finished: bool) -> Trained:
    validation = folder.lines("validation")
    best = max((line["iou"] for line in validation), default=None)
    return Trained(network.eval(), folder.lines("log"), validation, best, finished)
