"""How a network is trained, as data: every number of a training on one page."""

from __future__ import annotations

import dataclasses
import difflib
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from dirl_lib.losses import iou_loss, paper_losses, released_losses
from dirl_lib.models.dirl import PRESETS, DIRLConfig
from dirl_lib.types import Localization

if typing.TYPE_CHECKING:
    from torch import Tensor

__all__ = ["RECIPES", "TrainingRecipe", "losses_of", "override", "read_recipe"]

Loss = Literal["paper", "released", "bce", "paper+iou"]
Optimizer = Literal["adam", "adamw"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Crop = Literal["released", "wide"]


@dataclass(frozen=True)
class TrainingRecipe:
    """All choices of one training. Two recipes side by side are a comparison.

    Epochs count passes over the list of images; a batch is what one step of the optimiser sees, on all devices.
    """

    model: str = "paper"
    """Preset of `create_model`."""
    width: float = 1.0
    """Scales every channel count of the network."""
    imagenet: bool = False
    """Begin with ImageNet weights in stages 1 to 4 of the encoder (paper); needs width 1."""
    size: int = 256
    """Pixels of a side of the squares it is trained on."""
    loss: Loss = "paper"
    """"paper": BCE + SSIM + attention BCE. "released": BCE + SSIM + IoU for the mask and for each attention map.
    Between them, for comparison: "bce", the paper's without SSIM; "paper+iou", with IoU for the mask."""
    attention_weight: float = 0.1
    """Weight of the attention loss (lambda of eq. 3); only where the preset supervises attention."""
    optimizer: Optimizer = "adam"
    """"adam" adds weight decay to the gradient (released); "adamw" takes it off the weights."""
    learning_rate: float = 1e-4
    """Of the optimiser, before the schedule."""
    weight_decay: float = 1e-4
    """Of the optimiser."""
    batch_size: int = 8
    """Images of one step, over all devices and all accumulated parts."""
    accumulate: int = 1
    """Parts into which each batch is divided, one after another; batch norm sees a part at a time."""
    epochs: int = 60
    """Passes over the images. The one value that may change when a run goes on."""
    milestones: tuple[int, ...] = (30,)
    """After so many epochs the learning rate is halved."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises from zero."""
    cooldown_epochs: int = 0
    """Last epochs, over which the learning rate falls to zero in a line."""
    clip_norm: float = 0.0
    """Longest gradient; longer ones are shortened. 0 leaves them."""
    average: float = 0.0
    """Decay of a running average of the weights, which is then validated and kept; 0 keeps the weights themselves."""
    precision: Precision = "32-true"
    """Of the arithmetic: "32-true", or "bf16-mixed" and "16-mixed" on a GPU."""
    crop: Crop = "released"
    """"released": crops of 90 to 100 %, flips. "wide": crops of 40 to 100 %, flips."""
    light: float = 0.0
    """Share of pictures whose light changes as a whole; of composites made on the fly."""
    untouched: float = 0.0
    """Share of photographs left as they are, with an empty mask; of composites made on the fly."""
    foreign: float = 0.0
    """Share whose region has the outline of an object of another photograph; of composites made on the fly."""
    oversample: int = 1
    """So many times `size` pixels have composites when they are made on the fly; then they are shrunk."""
    seed: int = 0
    """Of initial weights, order and everything drawn."""
    validate_every: int = 1
    """Epochs from one validation to the next."""
    log_every: int = 20
    """Steps from one line of the log to the next."""

    def __post_init__(self) -> None:
        for field in ("loss", "optimizer", "precision", "crop"):
            allowed = get_args(typing.get_type_hints(type(self))[field])
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field} must be one of {', '.join(allowed)}; found {getattr(self, field)!r}")
        for field in (
            "width",
            "size",
            "learning_rate",
            "batch_size",
            "accumulate",
            "epochs",
            "oversample",
            "validate_every",
            "log_every",
        ):
            if not getattr(self, field) > 0:
                raise ValueError(f"{field} must be above 0; found {getattr(self, field)!r}")
        for field in (
            "attention_weight",
            "weight_decay",
            "warmup_steps",
            "cooldown_epochs",
            "clip_norm",
        ):
            if getattr(self, field) < 0:
                raise ValueError(f"{field} must not be negative; found {getattr(self, field)!r}")
        for field in ("average", "light", "untouched", "foreign"):
            if not 0 <= getattr(self, field) < 1:
                raise ValueError(f"{field} must lie in [0, 1); found {getattr(self, field)!r}")
        if self.model not in PRESETS:
            raise ValueError(f"model must be one of {', '.join(PRESETS)}; found {self.model!r}")
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} cannot be divided into {self.accumulate} parts (accumulate)"
            )
        if self.untouched + self.foreign > 1:
            raise ValueError(f"untouched and foreign are shares of one whole; found {self.untouched} + {self.foreign}")
        if self.cooldown_epochs > self.epochs:
            raise ValueError(f"cooldown_epochs {self.cooldown_epochs} does not fit into {self.epochs} epochs")
        if self.imagenet and self.width != 1:
            raise ValueError(f"ImageNet weights fit width 1 only; found width {self.width:g}, set imagenet=False")

    @property
    def config(self) -> DIRLConfig:
        """The network."""
        return replace(PRESETS[self.model], width=self.width)

    def learning_rate_at(self, step: int, steps_per_epoch: int) -> float:
        """Learning rate of one step: a pure function, so that a resumed run has no schedule to restore.

        Args:
            step: counted from 0 over the whole training.
            steps_per_epoch: steps of one pass over the images.
        """
        rate = self.learning_rate * 0.5 ** sum(step >= epoch * steps_per_epoch for epoch in self.milestones)
        if self.warmup_steps:
            rate *= min(1, (step + 1) / self.warmup_steps)
        if self.cooldown_epochs:
            rate *= min(1, (self.epochs - step / steps_per_epoch) / self.cooldown_epochs)
        return rate


RECIPES: dict[str, TrainingRecipe] = {
    # Supplement, section 1. Batch, number of epochs and augmentation are not in the paper: as released.
    "paper": TrainingRecipe(imagenet=True, validate_every=5),
    "released": TrainingRecipe(
        model="released",
        imagenet=True,
        size=224,
        loss="released",
        attention_weight=1.0,
        milestones=(30, 40, 50, 55),
        validate_every=5,
    ),
    # A minute on a laptop: enough to see every part work, far too little to find anything in an unknown photograph.
    "quick": TrainingRecipe(
        width=0.25,
        size=64,
        optimizer="adamw",
        learning_rate=2e-3,
        epochs=4,
        milestones=(),
        warmup_steps=10,
        log_every=1,
    ),
    # The model in the box.
    "small": TrainingRecipe(
        width=0.25,
        size=64,
        loss="released",
        attention_weight=1.0,
        optimizer="adamw",
        learning_rate=1e-3,
        weight_decay=1e-2,
        batch_size=16,
        epochs=120,
        milestones=(),
        warmup_steps=200,
        cooldown_epochs=30,
        clip_norm=1.0,
        average=0.998,
        crop="wide",
        light=0.2,
        untouched=0.25,
        foreign=0.25,
        oversample=3,
        validate_every=2,
    ),
}


def losses_of(recipe: TrainingRecipe, found: Localization, mask: Tensor) -> dict[str, Tensor]:
    """The recipe's loss of one batch: named scalars, "total" is minimised."""
    if not recipe.config.supervise_attention:
        found = found._replace(attention=())
    if recipe.loss == "released":
        return released_losses(found, mask, attention_weight=recipe.attention_weight)
    losses = paper_losses(found, mask, attention_weight=recipe.attention_weight)
    if recipe.loss == "bce":
        ssim = losses.pop("ssim")
        losses["total"] = losses["total"] - ssim
    if recipe.loss == "paper+iou":
        losses["iou"] = iou_loss(found.mask, mask)
        losses["total"] = losses["total"] + losses["iou"]
    return losses


def override(recipe: TrainingRecipe, values: Mapping[str, Any]) -> TrainingRecipe:
    """The recipe with other values; text is read as the field's type, as a command line gives it.

    Raises:
        ValueError: no such field (the message names the nearest), or a value of another type.
    """
    types = typing.get_type_hints(TrainingRecipe)
    changed: dict[str, Any] = {}
    for name, value in values.items():
        if name not in types:
            near = difflib.get_close_matches(name, types, 1)
            raise ValueError(f"a recipe has no {name!r}" + (f"; perhaps you meant {near[0]!r}" if near else ""))
        changed[name] = _as_type(name, value, types[name])
    return replace(recipe, **changed)


def read_recipe(source: str | Path) -> TrainingRecipe:
    """A preset by name, or a JSON file of fields; `"recipe": "small"` in it says where from, else the defaults.

    Raises:
        ValueError: neither; or a file with other fields or types.
    """
    if str(source) in RECIPES:
        return RECIPES[str(source)]
    path = Path(source)
    if not path.is_file():
        raise ValueError(f"{source}: no such recipe; expected {', '.join(RECIPES)}, or a JSON file of its values")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        base = RECIPES[values.pop("recipe")] if "recipe" in values else TrainingRecipe()
        return override(base, values)
    except (ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: not a recipe ({error}); expected a JSON object of the fields of a recipe") from error


def _as_type(name: str, value: Any, wanted: Any) -> Any:
    """A value, or its text, as the type of a field."""
    is_word = wanted not in (int, float, bool, tuple[int, ...])
    if isinstance(value, str) and not is_word:
        listed = wanted == tuple[int, ...] and not value.startswith("[")
        try:
            value = json.loads(f"[{value}]" if listed else value.lower())
        except ValueError as error:
            raise ValueError(f"{name}: found {value!r}, expected {_type_name(wanted)}") from error
    if wanted == tuple[int, ...]:
        right = isinstance(value, list | tuple) and all(type(item) is int for item in value)
    elif wanted is float:
        right = type(value) in (int, float)
    else:
        right = type(value) is (str if is_word else wanted)
    if not right:
        raise ValueError(f"{name}: found {value!r}, expected {_type_name(wanted)}")
    return {float: float, tuple[int, ...]: tuple}.get(wanted, lambda same: same)(value)


def _type_name(wanted: Any) -> str:
    names = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        tuple[int, ...]: "whole numbers, as 30,40",
    }
    return names.get(wanted, "a word")


def as_dict(recipe: TrainingRecipe) -> dict[str, Any]:
    """Every value, as JSON can hold it."""
    return dataclasses.asdict(recipe)
