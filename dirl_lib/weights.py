"""Trained weights as one safetensors file: the network's configuration, its working size and its story travel inside.

model = load_model()                       # dirl-small, which comes with the kit
model = load_model("runs/mine/best.safetensors")
about("dirl-small")["scores"]
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from dirl_lib.checkpoints import CheckpointError
from dirl_lib.files import write_in_one_step
from dirl_lib.models.dirl import DIRL, DIRLConfig, build_dirl
from dirl_lib.models.working_size import AtWorkingSize

__all__ = ["IN_THE_BOX", "about", "load_model", "load_network", "save_model"]

IN_THE_BOX = {path.stem: path for path in sorted((Path(__file__).parent / "trained").glob("*.safetensors"))}
"""Names of the models that come with the kit, and their files."""


def save_model(
    path: str | Path,
    network: DIRL,
    config: DIRLConfig,
    *,
    working_size: int | None,
    half: bool = False,
    **story: object,
) -> None:
    """Write weights in one step.

    Args:
        path: ends in `.safetensors`.
        network: its weights and batch-norm statistics.
        config: how it was built.
        working_size: pixels of the squares it was trained on; None lets it work at every image's own size.
        half: store as float16; half the file, and masks move by less than a thousandth.
        story: recipe, data, scores: anything that JSON can hold, read again by `about`.

    Raises:
        OSError: the folder is missing or full.
    """
    tensors = {
        key: (value.half() if half and value.is_floating_point() else value).detach().cpu().contiguous()
        for key, value in network.state_dict().items()
    }
    facts = {"config": dataclasses.asdict(config), "working_size": working_size, **story}
    write_in_one_step(Path(path), save(tensors, {"dirl": json.dumps(facts)}))


def load_model(source: str | Path = "dirl-small", *, device: str | torch.device = "cpu") -> DIRL | AtWorkingSize:
    """A trained model, ready to answer at any size.

    Args:
        source: a name of `IN_THE_BOX`, or a file that `save_model` wrote.
        device: where it goes.

    Returns:
        In evaluation mode, float32.

    Raises:
        FileNotFoundError: neither a name nor a file.
        CheckpointError: not such a file, or cut short.
    """
    network, working_size = load_network(source)
    model = network if working_size is None else AtWorkingSize(network, working_size)
    return model.eval().to(device)


def load_network(source: str | Path) -> tuple[DIRL, int | None]:
    """The bare network and its working size; arguments and errors as `load_model`."""
    path = _path(source)
    facts, tensors = _read(path, with_tensors=True)
    network = build_dirl(DIRLConfig(**facts["config"]))
    try:
        network.load_state_dict(tensors)  # float16 becomes the network's float32
    except RuntimeError as error:
        raise CheckpointError(f"{path}: weights and configuration do not fit each other; fetch it again") from error
    return network, facts["working_size"]


def about(source: str | Path = "dirl-small") -> Mapping[str, Any]:
    """What a weight file says of itself: `config`, `working_size` and its story; errors as `load_model`."""
    return _read(_path(source), with_tensors=False)[0]


def _path(source: str | Path) -> Path:
    path = IN_THE_BOX.get(str(source), Path(source))
    if not path.is_file():
        names = ", ".join(IN_THE_BOX) or "none"
        raise FileNotFoundError(f"{source}: no such weight file; expected a path, or a model of the kit ({names})")
    return path


def _read(path: Path, *, with_tensors: bool) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("dirl", "null"))
            tensors = {key: file.get_tensor(key) for key in file.keys()} if with_tensors else {}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as safetensors ({error}); fetch or train it again") from error
    if not isinstance(facts, dict) or not {"config", "working_size"} <= facts.keys():
        raise CheckpointError(f"{path}: holds no description of a DIRL, expected a file of `dirl train`")
    return facts, tensors
