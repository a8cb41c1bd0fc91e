"""The files of one training: logs, weights, and the state from which it goes on.

Nothing is unpickled: states are safetensors, with a checksum over all their tensors, written in one step. The last two
are kept, so that a damaged one costs some minutes and not the training.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from dirl_lib.files import write_in_one_step
from dirl_lib.images import write_image
from dirl_lib.models.dirl import DIRL
from dirl_lib.recipes import TrainingRecipe, as_dict
from dirl_lib.weights import save_model

__all__ = ["RunFolder", "State"]

LOG = logging.getLogger(__name__)
KEPT = 2
"""States kept; the older one is for the case that the newer one is damaged."""


class State(NamedTuple):
    """Everything that a step changes."""

    network: nn.Module
    average: nn.Module | None
    optimizer: torch.optim.Optimizer

    def tensors(self) -> dict[str, Tensor]:
        """By name, on the CPU."""
        named = {f"network.{key}": value for key, value in self.network.state_dict().items()}
        if self.average is not None:
            named |= {f"average.{key}": value for key, value in self.average.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            named |= {f"optimizer.{index}.{key}": value for key, value in moments.items()}
        named["random"] = torch.get_rng_state()
        return {key: value.detach().cpu().contiguous() for key, value in named.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` gave, into the memory layout of the weights that are there."""
        self.network.load_state_dict(_part(tensors, "network."))
        if self.average is not None:
            self.average.load_state_dict(_part(tensors, "average."))
        parameters = [one for group in self.optimizer.param_groups for one in group["params"]]
        for index, parameter in enumerate(parameters):
            for key, value in _part(tensors, f"optimizer.{index}.").items():
                same = value.shape == parameter.shape
                self.optimizer.state[parameter][key] = torch.zeros_like(parameter).copy_(value) if same else value
        torch.set_rng_state(tensors["random"])


class RunFolder:
    """Reads and writes the files of a run; of several processes only the first one writes.

    Raises:
        ValueError: the folder holds a run by another recipe, or of other images.
    """

    def __init__(self, path: Path, recipe: TrainingRecipe, data: Mapping[str, Any], *, writes: bool) -> None:
        self.path = path
        self.recipe = recipe
        self.data = dict(data)
        self.writes = writes
        self._board: Any = None
        self._refuse_another_run()
        if writes:
            path.mkdir(parents=True, exist_ok=True)
            self._write(path / "recipe.json", {"recipe": as_dict(recipe), "data": self.data})

    def load(self, state: State) -> int:
        """Put the newest whole state back; returns its step, 0 where there is none.

        Raises:
            ValueError: there are states and none of them can be read.
        """
        files = self._states()
        for file in reversed(files):
            try:
                step, tensors = _read_state(file)
            except ValueError as error:
                LOG.warning("%s; going back to the state before it", error)
                continue
            state.restore(tensors)
            self._forget_after(step)
            return step
        if files:
            raise ValueError(f"{self.path}: none of its {len(files)} states can be read; start in another folder")
        self._forget_after(0)
        return 0

    def save(self, state: State, step: int, network: DIRL, story: Mapping[str, Any]) -> None:
        """The state, and `network` as last.safetensors.

        Raises:
            OSError: it could not be written; the message says that the states before are still there.
        """
        if not self.writes:
            return
        tensors = state.tensors()
        facts = {"step": str(step), "sha256": _digest(tensors)}
        try:
            write_in_one_step(self.path / f"state-{step:08d}.safetensors", save(tensors, facts))
            self.save_weights("last", network, story)
        except OSError as error:
            kept = ", ".join(file.name for file in self._states()) or "nothing"
            raise OSError(
                error.errno,
                f"{self.path}: step {step} could not be saved ({error.strerror}); {kept} is still there, "
                "make room and give the same command again",
            ) from error
        for old in self._states()[:-KEPT]:
            old.unlink()

    def save_weights(self, name: str, network: DIRL, story: Mapping[str, Any]) -> None:
        """`network` as `<name>.safetensors`, for `dirl_lib.weights.load_model`."""
        if self.writes:
            save_model(
                self.path / f"{name}.safetensors",
                network,
                self.recipe.config,
                working_size=self.recipe.size,
                recipe=as_dict(self.recipe),
                data=self.data,
                **story,
            )

    def add_line(self, table: str, line: Mapping[str, float]) -> None:
        """One more line of `<table>.csv`, and of TensorBoard's log where TensorBoard is installed."""
        if not self.writes:
            return
        path = self.path / f"{table}.csv"
        is_new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, line.keys())
            if is_new:
                writer.writeheader()
            writer.writerow(line)
        self._add_to_board(table, line)

    def lines(self, table: str) -> list[dict[str, float]]:
        """All lines of `<table>.csv`, and none where it is not there."""
        path = self.path / f"{table}.csv"
        if not path.is_file():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            return [{key: float(value) for key, value in line.items()} for line in csv.DictReader(file)]

    def add_picture(self, step: int, pixels: NDArray[np.uint8]) -> None:
        """What the network sees at this step: seen/<step>.png."""
        if self.writes:
            (self.path / "seen").mkdir(exist_ok=True)
            write_image(self.path / "seen" / f"{step:08d}.png", pixels)

    def close(self) -> None:
        """Nothing more comes."""
        if self._board is not None:
            self._board.close()

    def _states(self) -> list[Path]:
        return sorted(self.path.glob("state-*.safetensors"))

    def _refuse_another_run(self) -> None:
        path = self.path / "recipe.json"
        if not path.is_file():
            return
        before = json.loads(path.read_text(encoding="utf-8"))
        now = json.loads(json.dumps({"recipe": as_dict(self.recipe), "data": self.data}))
        pairs = [
            (f"{key}: {before[part].get(key)!r} there, {value!r} now")
            for part in ("recipe", "data")
            for key, value in now[part].items()
            if key != "epochs" and before[part].get(key) != value
        ]
        if pairs:
            raise ValueError(f"{self.path}: holds another run ({'; '.join(pairs)}); choose another folder")

    def _forget_after(self, step: int) -> None:
        """Drop lines of steps that will be taken again."""
        for table in ("log", "validation"):
            path = self.path / f"{table}.csv"
            if not self.writes or not path.is_file():
                continue
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                lines = list(reader)
            # A kill may have cut the last line; a whole one has its last value.
            kept = [line for line in lines if None not in line.values() and int(line["step"]) <= step]
            if kept == lines:
                continue
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, reader.fieldnames or [])
            writer.writeheader()
            writer.writerows(kept)
            write_in_one_step(path, text.getvalue().encode())

    def _add_to_board(self, table: str, line: Mapping[str, float]) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            return
        from torch.utils.tensorboard import SummaryWriter

        if self._board is None:
            self._board = SummaryWriter(str(self.path))
        for key, value in line.items():
            if key not in ("step", "epoch"):
                self._board.add_scalar(f"{table}/{key}", value, int(line["step"]))

    @staticmethod
    def _write(path: Path, content: object) -> None:
        write_in_one_step(path, (json.dumps(content, indent=1) + "\n").encode())


def _read_state(path: Path) -> tuple[int, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path.name} cannot be read ({error})") from error
    if facts.get("sha256") != _digest(tensors):
        raise ValueError(f"{path.name} is damaged: its checksum does not fit")
    return int(facts["step"]), tensors


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(tensors):
        digest.update(key.encode())
        digest.update(tensors[key].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
