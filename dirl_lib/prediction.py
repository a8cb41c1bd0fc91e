"""A photograph in, the inharmonious region out: any file, any size, in one line.

found = predict("holiday.jpg")
found.probability                  # float32 (H, W), how sure the network is of each pixel
found.mask()                       # bool (H, W)
write_image("holiday_overlay.png", found.overlay())

The network sees a small copy, whatever the photograph's size; its answer is enlarged again. So a large photograph takes
the time and memory of decoding it, at 30 megapixels a second or two and half a gigabyte (18 bytes a pixel).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dirl_lib.checks import check_probabilities
from dirl_lib.images import read_image, to_array, to_tensor
from dirl_lib.metrics import THRESHOLD
from dirl_lib.models.dirl import SMALLEST_SIDE
from dirl_lib.models.working_size import AtWorkingSize, working_shape
from dirl_lib.types import Localization
from dirl_lib.weights import IN_THE_BOX, load_model

__all__ = ["LONGEST_SIDE", "ORANGE", "Photograph", "Prediction", "on_device", "outline", "predict", "predict_with"]

Photograph = str | Path | Image.Image | NDArray[np.uint8] | torch.Tensor
"""What `predict` takes; see there."""

LONGEST_SIDE = 512
"""Pixels of the longer side that a network without a working size is shown at most. The paper's sees 256, and at the
size of a camera's picture the finest level alone would take gigabytes."""

ORANGE = (230, 159, 0)
"""What is inharmonious, as in the figures of the course (`plotting.ORANGE`)."""


class Prediction(NamedTuple):
    """What a network says of one photograph, at the photograph's own size."""

    probability: NDArray[np.float32]
    """(H, W), in [0, 1]; 1 = inharmonious."""
    image: NDArray[np.uint8]
    """(H, W, 3), RGB, upright as a viewer shows it."""

    def mask(self, threshold: float = THRESHOLD) -> NDArray[np.bool_]:
        """Bool (H, W): the pixels strictly above `threshold`, as the metrics count them.

        Raises:
            ValueError: `threshold` outside [0, 1].
        """
        if not 0 <= threshold <= 1:
            raise ValueError(f"found the threshold {threshold:g}, expected a probability in [0, 1]")
        return np.asarray(self.probability > threshold)

    def overlay(self, threshold: float = THRESHOLD, *, opacity: float = 0.4) -> NDArray[np.uint8]:
        """Uint8 (H, W, 3): the photograph with the mask on it, a fill in orange and its outline.

        The outline has a dark seam, so that it is seen on a sunset too, and grows with the photograph.

        Args:
            threshold: as `mask`.
            opacity: of the fill, in [0, 1]; 0 leaves the outline alone.

        Raises:
            ValueError: `threshold` or `opacity` outside [0, 1].
        """
        if not 0 <= opacity <= 1:
            raise ValueError(f"found the opacity {opacity:g}, expected a number in [0, 1]")
        inside = self.mask(threshold)
        width = max(2, round(max(inside.shape) / 300))
        picture = self.image.copy()
        # A table of the 256 values, as floats of a whole photograph would take half a gigabyte.
        filled = np.rint((1 - opacity) * np.arange(256)[:, None] + opacity * np.array(ORANGE)).astype(np.uint8)
        for channel in range(3):
            values = picture[..., channel]
            values[inside] = filled[values[inside], channel]
        picture[outline(inside, 2 * width)] = 0
        picture[outline(inside, width)] = ORANGE
        return picture

    def heat_map(self) -> NDArray[np.uint8]:
        """Uint8 (H, W, 3): the probability in Matplotlib's cividis, 0 dark blue and 1 yellow in every picture."""
        from matplotlib import colormaps

        colours = colormaps["cividis"](np.arange(256), bytes=True)[:, :3]
        picture: NDArray[np.uint8] = colours[np.minimum(self.probability * 256, 255).astype(np.uint8)]
        return picture


def predict(image: Photograph, *, weights: str | Path = "dirl-small", device: str | torch.device = "cpu") -> Prediction:
    """Find the inharmonious region of a photograph.

    Args:
        image: a file, a Pillow image (RGB or grey; turned by its EXIF orientation), uint8 (H, W, 3), or a float tensor
            (3, H, W) in [0, 1]. The four give the same answer.
        weights: a model of the kit, or a file of `dirl train`; read once, and again when the file changes.
        device: where the network runs.

    Returns:
        `Prediction` at the size of the photograph.

    Raises:
        ImageFileError: the file cannot be used.
        TypeError, ValueError: another kind of image, or a device that is not there.
        FileNotFoundError, CheckpointError: see `dirl_lib.weights.load_model`.
    """
    file = IN_THE_BOX.get(str(weights), Path(weights)).resolve()
    return predict_with(_loaded(str(weights), file, _stamp(file), str(device)), image)


@torch.inference_mode()
def predict_with(model: Callable[[torch.Tensor], Localization], image: Photograph) -> Prediction:
    """`predict` with a network at hand, for instance one that was just trained.

    Args:
        model: in evaluation mode. With a working size (`AtWorkingSize`) it is shown pictures of at most twice that; any
            other at most `LONGEST_SIDE` pixels of the longer side. None is shown a side below 32 pixels.
        image: as in `predict`.

    Raises:
        ImageFileError, TypeError, ValueError: as `predict`; ValueError also for an answer that is no probability.
    """
    picture = _as_array(image)
    height, width = picture.shape[:2]
    shown = _shown_shape(model, height, width)
    small = picture
    if shown != (height, width):
        small = np.asarray(Image.fromarray(picture).resize(shown[::-1], Image.Resampling.BILINEAR, reducing_gap=3))
    images = to_tensor(small)
    if isinstance(model, torch.nn.Module):
        weight = next(model.parameters(), images)
        images = images.to(weight.device)
    found = model(images).mask.float().cpu()
    check_probabilities(found)
    # Interpolation may step over the ends by a hair.
    full = F.interpolate(found, (height, width), mode="bilinear", antialias=True).clamp_(0, 1)
    return Prediction(full[0, 0].numpy(), picture)


def on_device(model: torch.nn.Module, device: str | torch.device) -> torch.nn.Module:
    """The model moved to a device.

    Raises:
        ValueError: this machine has no such device, or torch knows none of that name.
    """
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:  # torch's words fill a screen
        raise ValueError(f"found no device {str(device)!r} here; use cpu, or a GPU that torch sees, as cuda") from error


# Three, as one compares two networks or three and a large one has 100 MB.
@lru_cache(maxsize=3)
def _loaded(weights: str, file: Path, stamp: tuple[int, int] | None, device: str) -> torch.nn.Module:
    """The model; file and stamp tell that the same words mean another file now."""
    del file, stamp
    return on_device(load_model(weights), device)


def _stamp(file: Path) -> tuple[int, int] | None:
    if not file.is_file():
        return None  # load_model says what is wrong
    status = file.stat()
    return status.st_mtime_ns, status.st_size


def _as_array(image: Photograph) -> NDArray[np.uint8]:
    """Uint8 (H, W, 3), upright."""
    if isinstance(image, (str, Path)):
        return read_image(image)
    if isinstance(image, Image.Image):
        if image.mode not in ("RGB", "L"):
            raise ValueError(
                f"found a Pillow image of mode {image.mode}, expected RGB or L; "
                "hand over its file, of which every mode is read, or convert it with .convert('RGB')"
            )
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    if isinstance(image, torch.Tensor):
        return to_array(image)
    if not isinstance(image, np.ndarray):
        raise TypeError(
            f"found an image of type {type(image).__name__}, expected a path, a Pillow image, a uint8 array (H, W, 3) "
            "or a float tensor (3, H, W)"
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(
            f"found an array of {image.dtype} {image.shape}, expected uint8 (H, W, 3); "
            "bring it there, or hand over a float tensor (3, H, W) in [0, 1]"
        )
    return image


def outline(inside: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Bool (H, W): the pixels at most `width` / 2 away from the mask's edge; along the picture's edge there is none."""
    from scipy.ndimage import maximum_filter, minimum_filter

    values = inside.view(np.uint8)
    return np.asarray(maximum_filter(values, width + 1) != minimum_filter(values, width + 1))


def _shown_shape(model: object, height: int, width: int) -> tuple[int, int]:
    """Height and width of the copy that the model is shown."""
    if isinstance(model, AtWorkingSize):
        # Twice, so that the model's own resizing still averages.
        most = tuple(2 * side for side in working_shape(height, width, model.pixels))
    else:
        scale = LONGEST_SIDE / max(height, width)
        most = (round(height * scale), round(width * scale))
    return max(SMALLEST_SIDE, min(height, most[0])), max(SMALLEST_SIDE, min(width, most[1]))
