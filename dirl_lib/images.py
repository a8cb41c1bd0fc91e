"""The one door for pictures: files to arrays, arrays to tensors, and back.

Every loader of this library reads its files here, so that a trap of a file format is dealt with once: the turned
photograph (EXIF), transparency, palettes, 16 bits, the half-downloaded file, the web page that is called .jpg.

Arrays are uint8 (H, W, 3), RGB. Tensors are float32 in [0, 1], (B, 3, H, W); masks are (B, 1, H, W), 1 = inharmonious.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import stat
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from dirl_lib.files import write_in_one_step

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "MAX_PIXELS",
    "ImageFileError",
    "check_same_size",
    "file_size",
    "image_size",
    "mask_to_tensor",
    "printable",
    "read_image",
    "read_mask",
    "read_soft_mask",
    "to_array",
    "to_tensor",
    "what_is_in",
    "write_image",
    "write_mask",
]

MAX_PIXELS = 178_956_970
"""Largest picture that is opened: half a GiB as 8-bit RGB, and Pillow's own ceiling as long as nobody lifts that one.
The largest photographs of iHarmony4 have a fifth of it."""

# Fixed, so that the same array gives the same bytes. 4:4:4: the usual halved colour would bleed over a mask's outline.
JPEG_SETTINGS = {"quality": 95, "subsampling": "4:4:4", "optimize": False, "progressive": False}

# What is read, by content and not by the name's ending. Pillow knows more formats, but opening EPS starts another
# program, and an ICO may hold a picture larger than its header says. HEIF: when the pillow-heif package is in use.
READABLE = ("JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF", "HEIF")

MODES_OF_16_BIT = ("I", "I;16", "I;16L", "I;16B", "I;16N")


class ImageFileError(ValueError):
    """A picture cannot be used. The message is one line: which file, what is wrong with it, what to do."""


def read_image(path: str | Path, *, at_least: int | None = None) -> NDArray[np.uint8]:
    """Read a photograph the way a viewer shows it.

    The EXIF orientation is applied (OpenCV does so, Pillow does not, hence the exchanged sides some loaders see in
    HAdobe5k). Transparent pixels are laid on white. Grey, palette, CMYK and 16-bit files become 8-bit RGB; of an
    animation the first frame counts. Colour profiles are not applied, as in the loaders of the field.

    Args:
        path: the file; its content decides the format, not its ending.
        at_least: pixels that both sides must keep. A JPEG is then decoded at 1/2, 1/4 or 1/8 where that leaves so
            many, in a fraction of the time; of other formats, and with None, every pixel is read.

    Returns:
        uint8, (H, W, 3), RGB; a fresh array that may be written to.

    Raises:
        ImageFileError: the file is missing, empty, cut short, not an image, of a kind without a sensible RGB, or has
            more than `MAX_PIXELS`.
        ValueError: `at_least` is below 1.
    """
    if at_least is not None and at_least < 1:
        raise ValueError(f"found at_least={at_least}, expected 1 or more pixels; None reads every pixel")
    path = Path(path)
    with _opened(path) as file:
        if at_least is not None:
            # No mode is asked for: Pillow would then decode RGB to grey, and CMYK must stay CMYK until `convert`.
            file.draft(None, (at_least, at_least))
        picture = _as_8_bit(ImageOps.exif_transpose(file), path)
        return np.array(_laid_on(picture, "white").convert("RGB"))


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) as `read_image` would give it, from the header: a 12-megapixel photograph takes a millisecond.

    Raises:
        ImageFileError: as `read_image`, except for damage that only decoding the pixels would show.
    """
    path = Path(path)
    with _opened(path) as file:
        # Two kinds of file need all of it read. Pillow's versions differ in whether the size of a TIFF is turned
        # before decoding, and some programs put the orientation of a PNG after its pixels.
        if file.format == "TIFF" or (file.format == "PNG" and _metadata_follows_pixels(path)):
            width, height = ImageOps.exif_transpose(file).size
        else:
            width, height = file.size
            # By way of the base class: the PNG reader's own getexif decodes the pixels first.
            if Image.Image.getexif(file).get(ExifTags.Base.Orientation) in (5, 6, 7, 8):
                width, height = height, width
    return height, width


def read_soft_mask(path: str | Path) -> NDArray[np.uint8]:
    """Read a mask with its grey values, as iHarmony4's rule `mean(mask / 255) <= 0.5` wants them.

    Label masks of 0 and 1 come out as 0 and 255. Transparent pixels lie outside the mask.

    Returns:
        uint8, (H, W); 255 = inharmonious, grey along the outline of HCOCO masks.

    Raises:
        ImageFileError: as `read_image`; also for a coloured picture, and for 8-bit values in a 16-bit file.
    """
    path = Path(path)
    with _opened(path) as file:
        picture = ImageOps.exif_transpose(file)
        if picture.mode in MODES_OF_16_BIT:
            picture = _labels_of_16_bit(picture, path)
        picture = _laid_on(_as_8_bit(picture, path), "black")
        values = np.array(picture if picture.mode == "L" else picture.convert("RGB"))
    if values.ndim == 3:
        if (values != values[..., :1]).any():
            raise ImageFileError(
                f"{printable(path)}: found a coloured picture, expected a grey mask; is this the photograph?"
            )
        values = values[..., 0].copy()
    # No soft mask peaks at 1/255, so these are labels, and without the factor every object would read as absent.
    return values * np.uint8(255) if values.max() == 1 else values


def read_mask(path: str | Path) -> NDArray[np.bool_]:
    """Read a mask: `value / 255 > 0.5`, iHarmony4's rule (its HCOCO masks are grey along the outline).

    Never `Image.convert("1")`, which turns grey into a pattern of dots.

    Returns:
        bool, (H, W); True = inharmonious.

    Raises:
        ImageFileError: as `read_soft_mask`.
    """
    # Over 127 is the same as value / 255 > 0.5, as 127.5 is no integer.
    return np.asarray(read_soft_mask(path) > 127)


def printable(text: str | Path, longest: int = 1000) -> str:
    """A name as it may stand in a message of one line: a newline in it becomes the two characters `\\n`.

    Unprintable characters are written as Python's escapes; of more than `longest` characters the end is left out.
    """
    text = str(text)
    shown = text if len(text) <= longest else f"{text[:longest]}..."
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in shown)


def file_size(path: Path, error: type[ValueError], wanted: str) -> int:
    """Size in bytes of a file that is there and holds something; anything else raises `error`, saying what is `wanted`.

    Pipes and devices are refused: reading them could wait for ever or never end.
    """
    name = printable(path)
    try:
        status = path.stat()
    except PermissionError:
        raise error(f"{name}: no permission to look at it; change its access rights") from None
    except (OSError, ValueError):  # a name too long, a link to itself, a NUL in the name: there is no such file
        raise error(f"{name}: no such file; check the spelling and the folder") from None
    if stat.S_ISDIR(status.st_mode):
        raise error(f"{name}: found a folder, expected {wanted}; name a file inside it")
    if not stat.S_ISREG(status.st_mode):
        raise error(f"{name}: found a pipe or device, expected {wanted}; copy its contents to a file")
    if status.st_size == 0:
        raise error(f"{name}: the file is empty (0 bytes), expected {wanted}; download or copy it again")
    return status.st_size


def write_image(path: str | Path, array: NDArray[np.uint8]) -> None:
    """Write uint8 (H, W, 3) as .png or .jpg, in one step: a kill leaves the old file or the new one, never half.

    The same array gives the same bytes (one version of Pillow assumed). A .jpg keeps full colour resolution, 4:4:4.

    Raises:
        ImageFileError: another ending, another shape or dtype, or a folder that is not there.
    """
    path = Path(path)
    name = printable(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ImageFileError(f"{name}: cannot write {path.suffix!r}, expected .png or .jpg; rename the target")
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ImageFileError(f"{name}: found {_kind(array)}, expected uint8 (H, W, 3); convert with to_array first")
    _save(path, Image.fromarray(array))


def write_mask(path: str | Path, mask: NDArray[np.bool_]) -> None:
    """Write bool (H, W) as a grey .png of 0 and 255, in one step as `write_image`.

    Raises:
        ImageFileError: not a .png (a .jpg would blur the outline), not bool (H, W), or a folder that is not there.
    """
    path = Path(path)
    name = printable(path)
    if path.suffix.lower() != ".png":
        raise ImageFileError(f"{name}: cannot write a mask as {path.suffix!r}, expected .png, which keeps 0 and 255")
    if mask.dtype != np.bool_ or mask.ndim != 2 or mask.size == 0:
        raise ImageFileError(f"{name}: found {_kind(mask)}, expected bool (H, W); compare with > 0.5 first")
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
            f"{printable(mask_name)}: found a mask of {mask_height}x{mask_width} (height x width), "
            f"expected {height}x{width} as in {printable(image_name)}; "
            "check that the two belong together and were not resized alone"
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


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The file with its header read and checked, its pixels still on disk.

    Every way a file can be bad becomes one ImageFileError, here and in the body of the `with`.
    """
    file_size(path, ImageFileError, "one image file")
    name = printable(path)
    try:
        with warnings.catch_warnings():
            # Pillow warns from half our limit on; pictures between the two are fine.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                _check_header(file, name)
                yield file
    except ImageFileError:
        raise
    except MemoryError:  # also from a JPEG 2000 of 200 bytes that announces a box of 2^63
        raise ImageFileError(
            f"{name}: needs more memory than there is; make it smaller, or get the file again"
        ) from None
    except UnidentifiedImageError:
        raise ImageFileError(
            f"{name}: {what_is_in(path)}, expected an image such as JPEG or PNG; download or export it again"
        ) from None
    except Image.DecompressionBombError as error:
        raise ImageFileError(f"{name}: too large to open safely ({error}); make it smaller first") from error
    except PermissionError as error:
        raise ImageFileError(f"{name}: no permission to read the file; change its access rights") from error
    except Exception as error:  # Pillow's parsers fail on hostile bytes with whatever they stumble over
        reason = printable(" ".join(str(error).split()) or type(error).__name__)
        raise ImageFileError(f"{name}: the image is damaged or cut short ({reason}); get the file again") from error


def _check_header(file: Image.Image, name: str) -> None:
    if file.format not in READABLE:
        raise ImageFileError(f"{name}: found the format {file.format}, expected JPEG or PNG; export it as one of them")
    width, height = file.size
    if width * height > MAX_PIXELS:
        raise ImageFileError(
            f"{name}: too large to open safely (found {width}x{height} pixels, expected at most {MAX_PIXELS} in all); "
            "make it smaller first"
        )


def _metadata_follows_pixels(path: Path) -> bool:
    """Whether a PNG has chunks after its pixels (IDAT) that may hold EXIF (PNG specification, 5.3 and 11.3)."""
    pixels_seen = False
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            pixels_seen |= kind == b"IDAT"
            if pixels_seen and kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
                return True
            file.seek(length + 4, os.SEEK_CUR)
    return False


def _labels_of_16_bit(picture: Image.Image, path: Path) -> Image.Image:
    """A 16-bit mask; labels 0 and 1, which the 8-bit scale would round to 0, are stretched to the full range."""
    values = np.asarray(picture)
    low, peak = values.min(), values.max()
    if 2 <= peak <= 255:
        raise ImageFileError(
            f"{printable(path)}: found values from {low} to {peak} in a 16-bit mask, expected 0 and 1, or 0 to 65535; "
            "save the mask with 8 bits"
        )
    return Image.fromarray(values == 1) if peak == 1 and low >= 0 else picture


def _as_8_bit(picture: Image.Image, path: Path) -> Image.Image:
    """16-bit and float grey on the 8-bit scale. Pillow's own conversion clips at 255, that is, to white."""
    if picture.mode == "LAB":
        raise ImageFileError(f"{printable(path)}: found a CIELAB image, expected RGB or grey; export it as RGB")
    if picture.mode not in (*MODES_OF_16_BIT, "F"):
        return picture
    values = np.asarray(picture, dtype=np.float64)
    peak = 1.0 if picture.mode == "F" else 65535.0
    if not ((values >= 0) & (values <= peak)).all():
        raise ImageFileError(
            f"{printable(path)}: found grey values from {values.min():g} to {values.max():g}, expected 0 to {peak:g}; "
            "export it as an 8-bit image"
        )
    return Image.fromarray(np.rint(values * (255 / peak)).astype(np.uint8))


def _laid_on(picture: Image.Image, colour: str) -> Image.Image:
    if not picture.has_transparency_data:
        return picture
    rgba = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, colour), rgba)


def what_is_in(path: Path) -> str:
    """Name the contents of a file that is no image: most often a saved error page."""
    with path.open("rb") as file:
        start = file.read(64)
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)  # may leave over a letter that was cut in two
    except UnicodeDecodeError:
        text = ""
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return "found a HEIC picture, as some phones write them"
    words = " ".join(text.split())[:24]
    return f"found text beginning with {words!r}" if words and words.isprintable() else "found bytes of an unknown kind"


def _save(path: Path, picture: Image.Image) -> None:
    if not path.parent.is_dir():
        raise ImageFileError(f"{printable(path)}: the folder {printable(path.parent)} does not exist; create it first")
    encoded = io.BytesIO()
    if path.suffix.lower() == ".png":
        picture.save(encoded, format="PNG")
    else:
        picture.save(encoded, format="JPEG", **JPEG_SETTINGS)
    write_in_one_step(path, encoded.getvalue())


def _kind(array: NDArray[np.generic]) -> str:
    return f"{array.dtype} {array.shape}"
