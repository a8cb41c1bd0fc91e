"""Bad input meets one clear sentence: what was found, what was expected, what to do."""

import math

import torch
from torch import Tensor


def values_can_be_read(tensor: Tensor) -> bool:
    """Whether looking at the values of `tensor` is possible and costs next to nothing.

    Shapes and dtypes are always known; values are another matter. A compiler, an exporter and a tracer have
    none yet, and neither has the "meta" device. An accelerator would have to stop and send them back in every
    training step, so there they are read only where gradients are off: while predicting and evaluating.
    """
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if tracing or torch.compiler.is_compiling() or tensor.is_meta:
        return False
    return tensor.device.type == "cpu" or not torch.is_grad_enabled()


def check_images(images: Tensor, *, minimum: int = 32) -> None:
    """Images for a model: (B, 3, H, W), float, RGB in [0, 1], both sides at least `minimum` pixels.

    Raises:
        TypeError: no tensor, or no floating-point one.
        ValueError: other number of dimensions or channels, too small, empty, NaN, or values outside [0, 1].
    """
    _check_float(images, "images", "dirl_lib.images.to_tensor makes one from an array")
    _check_channels(images, "images", 3, "RGB")
    height, width = images.shape[-2:]
    if height < minimum or width < minimum:
        raise ValueError(
            f"images are {height} x {width} pixels, expected at least {minimum} x {minimum}: "
            f"the coarsest level is 16 times smaller than the image; enlarge the image"
        )
    _check_range(images, "images", "undo any normalisation first, models normalise inside")


def check_masks(mask: Tensor, *, name: str = "mask", binary: bool = False) -> None:
    """Ground truth: (B, 1, H, W), float in [0, 1]; only 0 and 1 if `binary`. 1 = inharmonious.

    Raises:
        TypeError: no tensor, or no floating-point one.
        ValueError: another shape, empty, NaN, values outside [0, 1], or between 0 and 1 although `binary`.
    """
    _check_float(mask, name, f"for a mask of 0 and 1 write {name}.float()")
    _check_channels(mask, name, 1, "the probability that a pixel is inharmonious")
    _check_range(mask, name, "1 = inharmonious, 0 = the rest")
    if binary and values_can_be_read(mask):
        between = int(((mask != 0) & (mask != 1)).sum())
        if between:
            raise ValueError(
                f"{name} has {between} values between 0 and 1, expected only 0 and 1; "
                f"resizing makes such values, so binarise again with ({name} > 0.5).float()"
            )


def check_probabilities(prediction: Tensor, *, name: str = "prediction") -> None:
    """What a model answered: (B, 1, H, W), float, probabilities in [0, 1].

    Raises:
        TypeError: no tensor, or no floating-point one.
        ValueError: another shape, empty, NaN, or values outside [0, 1].
    """
    _check_float(prediction, name, f"write {name}.float()")
    _check_channels(prediction, name, 1, "the probability that a pixel is inharmonious")
    _check_range(prediction, name, "logits become probabilities by torch.sigmoid")


def check_same_shape(first: Tensor, second: Tensor, *, names: tuple[str, str] = ("prediction", "mask")) -> None:
    """Two tensors that are compared pixel by pixel.

    Raises:
        ValueError: the shapes differ. (Broadcasting would give a number, and a wrong one.)
    """
    if first.shape != second.shape:
        raise ValueError(
            f"{names[0]} has shape {tuple(first.shape)} and {names[1]} {tuple(second.shape)}, "
            f"expected the same shape; resize one of them first"
        )


def _check_float(tensor: Tensor, name: str, advice: str) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} is of type {type(tensor).__name__}, expected a torch tensor; {advice}")
    if tensor.dtype == torch.uint8 and name == "images":
        advice = "8-bit images become floats by images.float() / 255"
    if not tensor.is_floating_point():
        raise TypeError(f"{name} has dtype {tensor.dtype}, expected a floating-point tensor; {advice}")


def _check_channels(tensor: Tensor, name: str, channels: int, meaning: str) -> None:
    found, expected = tuple(tensor.shape), f"(B, {channels}, H, W)"
    if tensor.ndim == 3:
        raise ValueError(
            f"{name} has shape {found}, expected {expected}; for one image add the batch dimension with {name}[None]"
        )
    if tensor.ndim != 4:
        raise ValueError(f"{name} has shape {found}, expected {expected}: batch, channels, height, width")
    if tensor.shape[1] != channels:
        raise ValueError(f"{name} has shape {found}, expected {expected}: {_about_channels(tensor, channels, meaning)}")
    if 0 in tensor.shape:
        raise ValueError(f"{name} has shape {found} and so no pixels, expected {expected} with at least one")


def _about_channels(tensor: Tensor, channels: int, meaning: str) -> str:
    if tensor.shape[-1] == channels:
        return "the channels come last here, move them with .permute(0, 3, 1, 2)"
    if channels == 3 and tensor.shape[1] == 1:
        return "grey images become RGB by .expand(-1, 3, -1, -1)"
    if channels == 3 and tensor.shape[1] == 4:
        return "RGBA images lose their alpha channel by [:, :3]"
    return f"the channel is {meaning}" if channels == 1 else f"the channels are {meaning}"


def _check_range(tensor: Tensor, name: str, advice: str) -> None:
    if not values_can_be_read(tensor):
        return
    low, high = (float(value) for value in tensor.detach().aminmax())
    if math.isnan(low):  # aminmax hands a NaN on
        count = int(tensor.isnan().sum())
        raise ValueError(
            f"{name} holds {count} NaN, expected finite numbers in [0, 1]; "
            f"look for a division by zero or a training run that diverged"
        )
    if low < 0 or high > 1:
        found = f"maximum {high:g}" if high > 1 else f"minimum {low:g}"
        if low >= 0 and 30 < high <= 255:  # neither a logit nor a normalised pixel gets there
            advice = "it looks like 8-bit data, divide by 255"
        raise ValueError(f"{name} must lie in [0, 1], found {found}; {advice}")
