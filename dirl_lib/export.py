"""A network in a file that runs without this library: ONNX for other runtimes, `.pt2` for PyTorch alone.

export_onnx(network, "dirl.onnx", (256, 256))      # needs the packages onnx and onnxscript
export_program(network, "dirl.pt2", (256, 256))

Either file takes `images`, (B, 3, H, W), RGB, float32 in [0, 1], of any B and the one H and W it was made for; it gives
`mask` (B, 1, H, W), probabilities, and `attention_1` .. `attention_5`, finest first, where the network has attention.
Sizes are fixed because padding and cropping are worked out while exporting. Inside there are no checks of values.
"""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path

import torch
from torch import Tensor, nn

from dirl_lib import __version__
from dirl_lib.files import write_in_one_step
from dirl_lib.models.dirl import DIRL, SMALLEST_SIDE

__all__ = ["METADATA", "export_onnx", "export_program"]

METADATA = "dirl.json"
"""Where either file says what it is: an extra file of the `.pt2`, a metadata property of the ONNX model. JSON."""

FREE_BATCH = {"images": {0: torch.export.Dim("batch")}}


class _Tensors(nn.Module):
    """The network with its answer as plain tensors, as neither format keeps our record."""

    def __init__(self, network: DIRL) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        found = self.network(images)
        return (found.mask, *found.attention)


def export_program(network: DIRL, path: str | Path, size: tuple[int, int]) -> None:
    """Write the network as `torch.export` sees it; `torch.export.load(path).module()` runs it.

    Args:
        network: the bare network, of which `load_network` gives one; goes into the file as for evaluation.
        path: ends in `.pt2`.
        size: height and width of the images, from 32 up.

    Raises:
        ValueError: another ending, or a size below 32.
        OSError: the folder is missing or full.
    """
    path = _with_ending(path, ".pt2")
    program = _exported(network, size)
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={METADATA: _about(network, size)})
    write_in_one_step(path, content.getvalue())


def export_onnx(network: DIRL, path: str | Path, size: tuple[int, int]) -> None:
    """Write the network as one ONNX file; arguments and errors as `export_program`, the ending is `.onnx`.

    Raises:
        ModuleNotFoundError: onnx or onnxscript is not installed.
    """
    path = _with_ending(path, ".onnx")
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"{path}: found no package {' and '.join(missing)}, which writing ONNX needs; "
            "run  pip install onnx onnxscript  or export a .pt2"
        )
    program = _exported(network, size)
    names = ["mask", *(f"attention_{k}" for k in range(1, len(network.refinement) + 1))]
    exported = torch.onnx.export(
        program, input_names=["images"], output_names=names, dynamo=True, dynamic_shapes=FREE_BATCH, verbose=False
    )
    assert exported is not None  # as no file was named
    exported.model.metadata_props[METADATA] = _about(network, size)
    write_in_one_step(path, exported.model_proto.SerializeToString())


def _exported(network: DIRL, size: tuple[int, int]) -> torch.export.ExportedProgram:
    if min(size) < SMALLEST_SIDE:
        raise ValueError(f"found a size of {size[0]} x {size[1]}, expected at least {SMALLEST_SIDE} x {SMALLEST_SIDE}")
    was_training = network.training
    # Two images, as the exporter takes a batch of one for a constant.
    images = torch.zeros(2, 3, *size, device=network.mean.device)
    try:
        return torch.export.export(_Tensors(network).eval(), (images,), dynamic_shapes=FREE_BATCH)
    finally:
        network.train(was_training)


def _about(network: DIRL, size: tuple[int, int]) -> str:
    facts = {
        "made by": f"dirl-lib {__version__}",
        "input": "images: RGB, float32 in [0, 1], (B, 3, height, width)",
        "output": "mask: probability that a pixel is inharmonious, then the attention maps, finest first",
        "height": size[0],
        "width": size[1],
        "parameters": sum(weight.numel() for weight in network.parameters()),
    }
    return json.dumps(facts)


def _with_ending(path: str | Path, ending: str) -> Path:
    path = Path(path)
    if path.suffix.lower() != ending:
        raise ValueError(f"{path}: found the ending {path.suffix!r}, expected {ending}; rename the target")
    return path
