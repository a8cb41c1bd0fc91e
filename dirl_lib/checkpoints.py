"""Weights from elsewhere: the authors' two released files, and ImageNet weights for the encoder.

Nothing here unpickles code: `.pth` files are read with `weights_only=True`. Every key and shape of a file is compared
with the network before a single weight moves; what does not fit is refused whole, with a list of the first differences.
"""

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torchvision.models import ResNet34_Weights, ResNet50_Weights

from dirl_lib.blocks.encoder import Backbone, Encoder
from dirl_lib.models.dirl import DIRL, create_model

StateDict = Mapping[str, Tensor]
Rule = tuple[str, str | Callable[[re.Match[str]], str]]

IMAGENET_URL: dict[Backbone, str] = {
    # The weights of 2021, before torchvision's second training recipe.
    "resnet34": ResNet34_Weights.IMAGENET1K_V1.url,
    "resnet50": ResNet50_Weights.IMAGENET1K_V1.url,
}

# Names of ours -> names of the released files, applied in order. Level k = 1..5 here is index 0..4 there, and the
# decoder's first block, level 4, is d2 there.
_ENCODER_KEYS: list[Rule] = [
    (r"^stem\.conv\.", "inconv."),
    (r"^stem\.norm\.", "inbn."),
    (r"^stages\.(\d)\.", lambda m: f"encoder{int(m[1]) + 1}."),
    (r"^fifth\.", "encoder5."),
]
_DECODER_KEYS: list[Rule] = [
    (r"^transition\.(\d)\.", r"trans.im\1."),
    (r"^(trans\.im[123])\.top_down\.steps\.0\.", r"\1.top_down_m2l."),
    (r"^(trans\.im[123])\.top_down\.steps\.1\.", r"\1.top_down_h2m."),
    (r"^(trans\.im[123])\.bottom_up\.steps\.0\.", r"\1.bottom_up_l2m."),
    (r"^(trans\.im[123])\.bottom_up\.steps\.1\.", r"\1.bottom_up_m2h."),
    (r"^(trans\.im[123])\.aggregation\.units\.1\.", r"\1.m_concat."),
    (r"^(trans\.im[123])\.aggregation\.units\.2\.", r"\1.h_concat."),
    (r"^(trans\.im[04])\.(top_down|bottom_up)\.steps\.0\.", r"\1.\2."),
    (r"^(trans\.im[04])\.aggregation\.units\.1\.", r"\1.h_concat."),
    (r"^(trans\.im\d)\.aggregation\.units\.0\.", r"\1.l_concat."),
    (r"^refinement\.(\d)\.channel_gate\.", r"attention_layers.mda_\1.ChannelGate."),
    (r"^refinement\.(\d)\.spatial_gate\.mix\.", r"attention_layers.mda_\1.SpatialGate.spatial.0."),
    (r"^refinement\.(\d)\.spatial_gate\.score\.", r"attention_layers.mda_\1.SpatialGate.spatial.1."),
    (r"^(attention_layers\..*)\.norm\.", r"\1.bn."),
    (r"^decoder\.blocks\.(\d)\.", lambda m: f"decoder_layers.deconv.decoder.d{2 - int(m[1])}."),
    (r"^(decoder_layers\..*)\.top\.", r"\1.conv_inup."),
    (r"^(decoder_layers\..*)\.context\.", r"\1.conv_inbottom."),
    (r"^(decoder_layers\..*)\.fuse\.", r"\1.conv_cat."),
    (r"^decoder\.head\.", "decoder_layers.deconv.decoder.d0.conv5."),
]
# Stored in every released decoder file and read by nothing: its call went away in the authors' second version.
_UNUSED_LAYER = "decoder_layers.deconv.decoder.d0.conv4"


class CheckpointError(ValueError):
    """A weight file that cannot be read or does not fit; the message names file, difference and remedy."""


def released_key(key: str) -> tuple[Literal["encoder", "decoder"], str]:
    """Where the released files keep a weight of ours.

    Args:
        key: of `DIRL.state_dict()` of the preset "released".

    Returns:
        Which of the two files, and the key in it.
    """
    part: Literal["encoder", "decoder"] = "encoder" if key.startswith("encoder.") else "decoder"
    rules = _ENCODER_KEYS if part == "encoder" else _DECODER_KEYS
    translated = key.removeprefix("encoder.")
    for pattern, replacement in rules:
        translated = re.sub(pattern, replacement, translated)
    return part, translated


def load_released(encoder_path: Path | str, decoder_path: Path | str, *, backbone: Backbone = "resnet34") -> DIRL:
    """The preset "released" with the authors' trained weights, in evaluation mode.

    Args:
        encoder_path: `encoder_epochbest.pth` or another epoch of the authors' encoder.
        decoder_path: the decoder file of the same epoch.
        backbone: the ResNet they were trained with.

    Raises:
        FileNotFoundError: a file is not there.
        CheckpointError: a file cannot be read safely, or its keys or shapes are not those of the released network.
    """
    model = create_model("released", backbone=backbone)
    paths = {"encoder": Path(encoder_path), "decoder": Path(decoder_path)}
    places = {key: released_key(key) for key in model.state_dict()}
    weights: dict[str, Tensor] = {}
    for part, path in paths.items():
        expected = {there: tuple(model.state_dict()[key].shape) for key, (p, there) in places.items() if p == part}
        if part == "decoder":
            expected |= _unused_shapes(model)
        found = {key.removeprefix("module."): value for key, value in _read_released(path).items()}
        _refuse_differences(path, expected, found, what=f"the released {part} ({backbone})")
        weights |= {key: found[there] for key, (p, there) in places.items() if p == part}
    model.load_state_dict(weights)
    return model.eval()


def load_imagenet(encoder: Encoder, source: Path | str | None = None) -> bool:
    """Give stages 1 to 4 the weights of a torchvision ResNet. Stem and fifth stage stay as they are: ResNet has none.

    Args:
        encoder: of width 1.
        source: a local `.pth` file of torchvision's ResNet of the same backbone; None downloads the ImageNet weights
            (about 90 MB, once).

    Returns:
        Whether the weights were loaded. Without a network there is one warning, and the weights stay random.

    Raises:
        FileNotFoundError: the local file is not there.
        CheckpointError: the file cannot be read safely or is another network's.
    """
    backbone = encoder.backbone
    if source is None:
        url = IMAGENET_URL[backbone]
        state, path = _download(url), Path(url.rsplit("/", 1)[-1])
    else:
        path = Path(source)
        state = _read_pth(path)
    if state is None:
        return False
    found = {
        re.sub(r"^layer(\d)\.", lambda m: f"stages.{int(m[1]) - 1}.", key): value
        for key, value in _only_tensors(path, state).items()
        if key.startswith("layer")
    }
    wanted = {key: value for key, value in encoder.state_dict().items() if key.startswith("stages.")}
    shapes = {key: tuple(value.shape) for key, value in wanted.items()}
    _refuse_differences(path, shapes, found, what=f"stages 1 to 4 of torchvision's {backbone} at width 1")
    encoder.load_state_dict(encoder.state_dict() | found)
    return True


def _download(url: str) -> dict[str, Any] | None:
    """The state dict at `url`, kept in torch's own cache and checked against the hash in its name; None if offline."""
    try:
        state: dict[str, Any] = torch.hub.load_state_dict_from_url(
            url, map_location="cpu", check_hash=True, weights_only=True
        )
    except RuntimeError as error:  # how torch.hub says that the hash is wrong
        raise CheckpointError(f"{url}: what came is not the expected file ({error}); try again") from error
    except OSError as error:  # urllib's errors for no network, refused, 404 and the like are all OSErrors
        warnings.warn(
            f"ImageNet weights could not be downloaded from {url} ({error}); the encoder keeps its random weights. "
            "Fetch that file on a machine with a network and pass its path as `source`.",
            stacklevel=3,
        )
        return None
    return state


def _read_pth(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weight file; check the path, expected a .pth file")
    try:
        # The released files keep a learning-rate schedule, and in it a Counter of its milestones.
        with torch.serialization.safe_globals([Counter]):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file makes torch.load fail in a dozen ways, down to KeyError
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(
            f"{path}: not readable as a weight file ({reason[:120]}); "
            "expected a .pth file of tensors only, fetch it again"
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: holds a {type(state).__name__}, expected a dict of weights")
    return state


def _read_released(path: Path) -> dict[str, Tensor]:
    state = _read_pth(path)
    if not isinstance(state.get("state_dict"), dict):
        raise CheckpointError(
            f"{path}: has the entries {_first(sorted(map(str, state)))}, expected `state_dict` among them; "
            "is this one of the authors' encoder or decoder files?"
        )
    return _only_tensors(path, state["state_dict"])


def _only_tensors(path: Path, state: Mapping[str, Any]) -> dict[str, Tensor]:
    strange = [str(key) for key, value in state.items() if not isinstance(value, Tensor)]
    if strange:
        raise CheckpointError(f"{path}: the entries {_first(strange)} are not tensors, expected weights only")
    return dict(state)


def _unused_shapes(model: DIRL) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the released layer that is stored but never used; it has the shape of the top convolution."""
    twin = model.decoder.blocks[-1].get_submodule("top").state_dict()
    return {f"{_UNUSED_LAYER}.{key}": tuple(value.shape) for key, value in twin.items()}


def _refuse_differences(path: Path, expected: Mapping[str, tuple[int, ...]], found: StateDict, *, what: str) -> None:
    missing = sorted(expected.keys() - found.keys())
    unexpected = sorted(found.keys() - expected.keys())
    misshapen = [
        f"{key} is {tuple(found[key].shape)} instead of {shape}"
        for key, shape in expected.items()
        if key in found and tuple(found[key].shape) != shape
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
    differences = [f"{len(keys)} {kind}: {_first(keys)}" for kind, keys in kinds if keys]
    if differences:
        raise CheckpointError(f"{path}: these are not the weights of {what}; {'; '.join(differences)}")


def _first(names: Iterable[str], count: int = 3) -> str:
    names = list(names)
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")
