"""The one door for pictures: files to arrays, arrays to tensors, and back.

Every loader of this library reads its files here, so that a trap of a file format is dealt with once: the turned
photograph (EXIF), transparency, palettes, 16 bits, the half-downloaded file, the web page that is called .jpg.

Arrays are uint8 (H, W, 3), RGB. Tensors are float32 in [0, 1], (B, 3, H, W); masks are (B, 1, H, W), 1 = inharmonious.
"""

from __future__ import annotations

import os
import secrets
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "ImageFileError",
    "check_same_size",
    "mask_to_tensor",
    "read_image",
    "read_mask",
    "to_array",
    "to_tensor",
    "write_image",
    "write_mask",
]

# Fixed, so that the same array gives the same bytes. 4:4:4: the usual halved colour would bleed over a mask's outline.
JPEG_SETTINGS = {"quality": 95, "subsampling": "4:4:4", "optimize": False, "progressive": False}

MODES_OF_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


class ImageFileError(ValueError):
    """A picture cannot be used. The message is one line: which file, what is wrong with it, what to do."""


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read a photograph the way a viewer shows it.

    The EXIF orientation is applied (OpenCV does so, Pillow does not, hence the exchanged sides some loaders see in
    HAdobe5k). Transparent pixels are laid on white. Grey, palette, CMYK and 16-bit files become 8-bit RGB; of an
    animation the first frame counts. Colour profiles are not applied, as in the loaders of the field.

    Returns:
        uint8, (H, W, 3), RGB; a fresh array that may be written to.

    Raises:
        ImageFileError: the file is missing, empty, cut short, not an image, or of a kind without a sensible RGB.
    """
    picture = _open(Path(path))
    if picture.has_transparency_data:
        picture = _laid_on(picture, "white")
    return np.array(picture.convert("RGB"))


def read_mask(path: str | Path) -> NDArray[np.bool_]:
    """Read a mask: `value / 255 > 0.5`, iHarmony4's rule (its HCOCO masks are grey along the outline).

    Never `Image.convert("1")`, which turns grey into a pattern of dots. Transparent pixels lie outside the mask.

    Returns:
        bool, (H, W); True = inharmonious.

    Raises:
        ImageFileError: as `read_image`; also for a coloured picture, and for labels 0 and 1, which would read as empty.
    """
    path = Path(path)
    picture = _open(path)
    if picture.has_transparency_data:
        picture = _laid_on(picture, "black")
    values = np.array(picture.convert("RGB"))
    if (values != values[..., :1]).any():
        raise ImageFileError(f"{path}: found a coloured picture, expected a grey mask; is this the photograph?")
    if values.max() == 1:
        raise ImageFileError(f"{path}: found mask values 0 and 1, expected 0 to 255; save the mask times 255")
    return np.asarray(values[..., 0] > 127)  # over 127 is the same as value / 255 > 0.5, as 127.5 is no integer


def write_image(path: str | Path, array: NDArray[np.uint8]) -> None:
    """Write uint8 (H, W, 3) as .png or .jpg, in one step: a kill leaves the old file or the new one, never half.

    The same array gives the same bytes (one version of Pillow assumed). A .jpg keeps full colour resolution, 4:4:4.

    Raises:
        ImageFileError: another ending, another shape or dtype, or a folder that is not there.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ImageFileError(f"{path}: cannot write '{path.suffix}', expected .png or .jpg; rename the target")
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ImageFileError(f"{path}: found {_kind(array)}, expected uint8 (H, W, 3); convert with to_array first")
    _save(path, Image.fromarray(array))


def write_mask(path: str | Path, mask: NDArray[np.bool_]) -> None:
    """Write bool (H, W) as a grey .png of 0 and 255, in one step as `write_image`.

    Raises:
        ImageFileError: not a .png (a .jpg would blur the outline), not bool (H, W), or a folder that is not there.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ImageFileError(f"{path}: cannot write a mask as '{path.suffix}', expected .png, which keeps 0 and 255")
    if mask.dtype != np.bool_ or mask.ndim != 2 or mask.size == 0:
        raise ImageFileError(f"{path}: found {_kind(mask)}, expected bool (H, W); compare with > 0.5 first")
    _save(path, Image.fromarray(mask.astype(np.uint8) * 255))


def check_same_size(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], image_name: str | Path, mask_name: str | Path
) -> None:
    """Refuse a mask that does not fit its image. Resizing would hide a wrong pair, so nothing is repaired.

    Raises:
        ImageFileError: height or width differ.
    """
    (height, width), (mask_height, mask_width) = image.shape[:2], mask.shape[:2]
    if (height, width) != (mask_height, mask_width):
        raise ImageFileError(
            f"{mask_name}: found a mask of {mask_height}x{mask_width} (height x width), expected {height}x{width} "
            f"as in {image_name}; check that the two belong together and were not resized alone"
        )


def to_tensor(array: NDArray[np.uint8]) -> Tensor:
    """uint8 (H, W, 3) to float32 (1, 3, H, W) in [0, 1]: the batch of one that every model takes.

    Raises:
        ValueError: another shape or dtype.
    """
    import torch

    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"found {_kind(array)}, expected uint8 (H, W, 3); read files with images.read_image")
    return torch.from_numpy(array.copy()).permute(2, 0, 1)[None].contiguous().float() / 255


def mask_to_tensor(mask: NDArray[np.bool_]) -> Tensor:
    """bool (H, W) to float32 (1, 1, H, W) of 0 and 1.

    Raises:
        ValueError: another shape or dtype.
    """
    import torch

    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise ValueError(f"found {_kind(mask)}, expected bool (H, W); read files with images.read_mask")
    return torch.from_numpy(mask.copy())[None, None].float()


def to_array(tensor: Tensor) -> NDArray[np.uint8]:
    """Float (3, H, W) or (1, 3, H, W) in [0, 1] to uint8 (H, W, 3); rounded, so `to_array(to_tensor(x))` is x.

    Raises:
        ValueError: another shape or dtype, values outside [0, 1] or not finite.
    """
    if tensor.ndim == 4 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim != 3 or tensor.shape[0] != 3 or not tensor.is_floating_point():
        raise ValueError(
            f"found {tensor.dtype} {tuple(tensor.shape)}, expected a float image (3, H, W) or (1, 3, H, W); "
            "choose one of a batch with images[i]"
        )
    tensor = tensor.detach().cpu().double()
    # 1e-3: interpolation and float32 may step over the ends by a hair, which is no mistake of the caller.
    if not ((tensor >= -1e-3) & (tensor <= 1 + 1e-3)).all():
        low, high = tensor.min().item(), tensor.max().item()
        raise ValueError(f"found values from {low:g} to {high:g}, expected [0, 1]; divide by 255 or clamp(0, 1)")
    values: NDArray[np.uint8] = (tensor.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    return values


def _open(path: Path) -> Image.Image:
    """The decoded, upright picture, 8 bits a channel; every way a file can be bad becomes one ImageFileError."""
    if not path.exists():
        raise ImageFileError(f"{path}: no such file; check the spelling and the folder")
    if not path.is_file():
        raise ImageFileError(f"{path}: found a folder, expected one image file; name a file inside it")
    if path.stat().st_size == 0:
        raise ImageFileError(f"{path}: the file is empty (0 bytes); download or copy it again")
    try:
        with warnings.catch_warnings():
            # Pillow only warns at 90 megapixels; from twice that size it raises, and that we translate below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                file.load()
                picture = ImageOps.exif_transpose(file)
    except UnidentifiedImageError:
        raise ImageFileError(
            f"{path}: {_what_is_in(path)}, expected an image such as JPEG or PNG; download or export it again"
        ) from None
    except Image.DecompressionBombError as error:
        raise ImageFileError(f"{path}: too large to open safely ({error}); make it smaller first") from error
    except PermissionError as error:
        raise ImageFileError(f"{path}: no permission to read the file; change its access rights") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise ImageFileError(f"{path}: the image is damaged or cut short ({reason}); get the file again") from error
    if picture.mode in MODES_OF_16_BIT or picture.mode in ("I", "F"):
        return _as_8_bit(picture, path)
    if picture.mode == "LAB":
        raise ImageFileError(f"{path}: found a CIELAB image, expected RGB or grey; export it as RGB")
    return picture


def _as_8_bit(picture: Image.Image, path: Path) -> Image.Image:
    """16-bit and float grey on the 8-bit scale. Pillow's own conversion clips at 255, that is, to white."""
    values = np.asarray(picture, dtype=np.float64)
    peak = 1.0 if picture.mode == "F" else 65535.0
    if not ((values >= 0) & (values <= peak)).all():
        raise ImageFileError(
            f"{path}: found grey values from {values.min():g} to {values.max():g}, expected 0 to {peak:g}; "
            "export it as an 8-bit image"
        )
    return Image.fromarray(np.rint(values * (255 / peak)).astype(np.uint8))


def _laid_on(picture: Image.Image, colour: str) -> Image.Image:
    rgba = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, colour), rgba)


def _what_is_in(path: Path) -> str:
    """Name the contents of a file that is no image: most often a saved error page."""
    with path.open("rb") as file:
        start = file.read(64)
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError:
        return "found bytes of an unknown kind"
    return f"found text beginning with {' '.join(text.split())[:24]!r}"


def _save(path: Path, picture: Image.Image) -> None:
    if not path.parent.is_dir():
        raise ImageFileError(f"{path}: the folder {path.parent} does not exist; create it first")
    # Beside the target, as os.replace is one step only within a file system; "xb" keeps the user's usual rights.
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            if path.suffix.lower() == ".png":
                picture.save(file, format="PNG")
            else:
                picture.save(file, format="JPEG", **JPEG_SETTINGS)
        os.replace(part, path)  # noqa: PTH105 (the name says that an old file is replaced)
    finally:
        part.unlink(missing_ok=True)


def _kind(array: NDArray[np.generic]) -> str:
    return f"{array.dtype} {array.shape}"
