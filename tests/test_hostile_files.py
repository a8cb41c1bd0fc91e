"""Hostile files, as a table: what a file holds, and the pixels, entries or the one line of refusal it must give."""

import gzip
import io
import os
import re
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from dirl_lib import images
from dirl_lib.data import archives, lists
from dirl_lib.data.archives import ArchiveError, unpack
from dirl_lib.data.lists import ListFileError, inside, read_list, write_list
from dirl_lib.images import (
    MAX_PIXELS,
    ImageFileError,
    check_same_size,
    image_size,
    printable,
    read_image,
    read_mask,
    read_soft_mask,
)

REMEDIES = (
    "change|check|choose|copy|create|download|export|get|is|make|mend|move|name|remove|rename|save|split|unpack|write"
)


def refuses(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def check_refusal(error: ValueError, names: str, pattern: re.Pattern[str] | str) -> None:
    """One printable line, beginning with the file's name, ending with what to do."""
    message = str(error)
    assert message.isprintable(), message
    assert message.startswith(names), message
    assert re.search(pattern, message), message
    assert re.search(rf"; (if \w+ )?({REMEDIES}) [^;]+$", message), message


# ---------------------------------------------------------------------------------------------------------- images

GREY_RAMP = np.array([[0, 100, 255]], dtype=np.uint8)
CORNERS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[255, 255, 255], [0, 0, 0], [9, 8, 7]]], dtype=np.uint8)


def encoded(array: np.ndarray | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture = array if isinstance(array, Image.Image) else Image.fromarray(array)
    picture.save(file, kind, **options)
    return file.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_by_hand(
    width: int, height: int, bits: int, colour: int, pixels: bytes, *extra: bytes, late: bytes = b""
) -> bytes:
    """A PNG by the specification: signature, IHDR, extra chunks, IDAT, late chunks, IEND."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(pixels))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + body + late + png_chunk(b"IEND", b"")


def jpeg_claiming(side: int) -> bytes:
    """A small JPEG whose frame header (SOF0) claims `side` x `side` pixels."""
    data = bytearray(encoded(np.zeros((8, 8, 3), np.uint8), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    return bytes(data)


def gif_claiming(width: int, height: int) -> bytes:
    """Screen, one frame of its size without a palette, no pixels (GIF89a specification, 18 and 20)."""
    sides = struct.pack("<HH", width, height)
    return b"GIF89a" + sides + b"\0\0\0" + b"," + bytes(4) + sides + b"\0" + b"\2\0;"


def animation(kind: str) -> bytes:
    frames = [Image.new("RGB", (2, 1), colour) for colour in ("red", "blue", "lime")]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=10)


NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
NOISE_PNG, NOISE_JPEG = encoded(NOISE), encoded(NOISE, "JPEG")
TEXT_BOMB = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80_000_000), 9))
LATE_EXIF = png_chunk(b"eXIf", turned(6).tobytes().removeprefix(b"Exif\0\0"))
BOMBS = {
    "png": png_by_hand(60_000, 60_000, 8, 2, b""),
    "jpg": jpeg_claiming(65_000),
    "gif": gif_claiming(65_535, 65_535),
    "ppm": b"P6 60000 60000 255\n",
    "bmp": b"BM" + struct.pack("<IHHI", 0, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 60000, 60000, 1, 24, *[0] * 6),
}

IMAGES = [
    pytest.param("x.png", encoded(CORNERS), CORNERS, id="png"),
    pytest.param("x.jpg", encoded(CORNERS), CORNERS, id="png_called_jpg"),
    pytest.param("x.jpg", encoded(CORNERS, "BMP"), CORNERS, id="bmp_called_jpg"),
    pytest.param("x.jpg", encoded(Image.new("RGB", (2, 1), "red"), "GIF"), [[[255, 0, 0]] * 2], id="gif_called_jpg"),
    pytest.param("x", encoded(CORNERS), CORNERS, id="no_ending"),
    pytest.param("x.png", encoded(np.full((1, 1, 3), 7, np.uint8)), [[[7, 7, 7]]], id="one_pixel"),
    pytest.param("x.gif", animation("GIF"), [[[255, 0, 0]] * 2], id="animated_gif_shows_its_first_frame"),
    pytest.param("x.png", animation("PNG"), [[[255, 0, 0]] * 2], id="animated_png_shows_its_first_frame"),
    pytest.param(
        "x.png", encoded(np.array([[0, 32896, 65535]], np.uint16)), [[[0] * 3, [128] * 3, [255] * 3]], id="16_bit"
    ),
    pytest.param("x.png", encoded(Image.new("RGBA", (1, 1), (9, 9, 9, 0))), [[[255] * 3]], id="transparent_is_white"),
    pytest.param(
        "x.png",
        png_by_hand(1, 2, 8, 0, b"\0\x05\0\x06", late=LATE_EXIF),
        [[[6] * 3, [5] * 3]],
        id="orientation_after_the_pixels",
    ),
    pytest.param("x.png", NOISE_PNG[:3000], refuses("damaged or cut short"), id="png_cut_short"),
    pytest.param(
        "x.jpg",
        NOISE_JPEG[:3000],
        refuses("damaged or cut short"),
        id="jpeg_cut_short",
    ),
    pytest.param("x.jpg", b"", refuses(r"empty \(0 bytes\), expected one image file"), id="zero_bytes"),
    pytest.param("x.jpg", b"<html>quota", refuses("text beginning with '<html>quota'"), id="web_page"),
    pytest.param("x.jpg", ("é" * 40).encode(), refuses("text beginning with 'é+'"), id="text_cut_inside_a_letter"),
    pytest.param(
        "x.jpg", b"a" + ("é" * 40).encode(), refuses("text beginning with 'aé+'"), id="text_cut_inside_another"
    ),
    pytest.param("x.jpg", b"\0" * 999, refuses("bytes of an unknown kind"), id="zeros"),
    pytest.param("x.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", refuses("a HEIC picture"), id="phone"),
    pytest.param("x.jpg", b"\x1b[31mred", refuses("bytes of an unknown kind"), id="terminal_escapes"),
    pytest.param("x.jpg", b"\xff\xd8\xff", refuses("unknown kind|cut short"), id="only_the_start_of_a_jpeg"),
    pytest.param(
        "x.jpg", encoded(CORNERS, "EPS"), refuses("the format EPS, expected JPEG or PNG"), id="eps_is_a_program"
    ),
    pytest.param("x.ico", encoded(CORNERS, "ICO"), refuses("ICO|unknown kind"), id="ico_may_lie_about_its_size"),
    pytest.param("x.tif", encoded(Image.new("LAB", (1, 1)), "TIFF"), refuses("CIELAB"), id="lab"),
    pytest.param("x.png", png_by_hand(0, 5, 8, 0, b""), refuses("unknown kind"), id="no_width"),
    pytest.param("x.gif", gif_claiming(0, 0), refuses("unknown kind"), id="no_pixels"),
    pytest.param(
        "x.png", png_by_hand(1, 1, 8, 0, b"\0\1", TEXT_BOMB), refuses(r"cut short \(Decompressed"), id="text_bomb"
    ),
    pytest.param(
        "x.png", png_by_hand(1, 1, 8, 0, b"\0\1", late=TEXT_BOMB), refuses(r"\(Decompressed"), id="late_text_bomb"
    ),
    pytest.param(
        "x.jp2",
        b"\0\0\0\x0cjP  \r\n\x87\n" + struct.pack(">I4sQ", 1, b"jp2h", 2**62),
        refuses("more memory than there is|unknown kind"),  # the second where Pillow was built without JPEG 2000
        id="a_box_larger_than_memory",
    ),
    *(
        pytest.param("x.jpg", data, refuses("too large to open safely"), id=f"{kind}_bomb")
        for kind, data in BOMBS.items()
    ),
    pytest.param("two  words.png", encoded(CORNERS), CORNERS, id="blanks_in_the_name"),
    pytest.param("-rf '\"$(x);.png", encoded(CORNERS), CORNERS, id="a_name_for_the_shell"),
    pytest.param("日本é\u0301🦊.png", encoded(CORNERS), CORNERS, id="unicode_name"),
    pytest.param("a\nb.png", encoded(CORNERS), CORNERS, id="newline_in_the_name"),
]


@pytest.mark.parametrize(("name", "data", "expected"), IMAGES)
def test_images(tmp_path, name, data, expected):
    path = tmp_path / name
    path.write_bytes(data)
    if isinstance(expected, re.Pattern):
        with pytest.raises(ImageFileError) as caught:
            read_image(path)
        check_refusal(caught.value, str(path), expected)
    else:
        np.testing.assert_array_equal(read_image(path), expected)
        assert image_size(path) == np.shape(expected)[:2]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param("a\nb.png", r"a\nb.png", id="newline"),
        pytest.param("a\r\x1b[2Jb.png", r"a\r\x1b[2Jb.png", id="terminal_escape"),
        pytest.param("a\u202egnp.exe", r"a\u202egnp.exe", id="text_that_runs_backwards"),
        pytest.param(os.fsdecode(b"a\xffb.png"), r"a\udcffb.png", id="bytes_that_are_no_text"),
        pytest.param("two words'\".png", "two words'\".png", id="blanks_and_quotes"),
        pytest.param("é日🦊.png", "é日🦊.png", id="letters_of_the_world"),
    ],
)
@pytest.mark.parametrize("data", [None, b"", b"text"], ids=["missing", "empty", "text"])
def test_a_message_shows_any_file_name_on_one_line(tmp_path, name, shown, data):
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    for read, error in [(read_image, ImageFileError), (image_size, ImageFileError), (unpack_beside, ArchiveError)]:
        with pytest.raises(error) as caught:
            read(path)
        check_refusal(caught.value, f"{tmp_path}/{shown}: ", "")
    with pytest.raises(ImageFileError) as caught:
        check_same_size(np.zeros((1, 2, 3), np.uint8), np.zeros((2, 1), bool), path, path)
    check_refusal(caught.value, f"{tmp_path}/{shown}: ", re.escape(f"as in {tmp_path}/{shown}"))


def unpack_beside(path: Path) -> list[Path]:
    return unpack(path, path.parent / "into")


def folder(path: Path) -> None:
    path.mkdir()


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("read", [read_image, image_size, read_soft_mask, read_mask, read_list, unpack_beside])
@pytest.mark.parametrize(
    ("make", "name", "pattern"),
    [
        pytest.param(None, "x", "no such file", id="missing"),
        pytest.param(None, "x" * 300, "no such file", id="name_too_long"),
        pytest.param(None, "x\0y", r"x\\x00y: no such file", id="nul_in_the_name"),
        pytest.param(folder, "x", "found a folder", id="folder"),
        pytest.param(link_to_nothing, "x", "no such file", id="link_to_nothing"),
        pytest.param(link_to_itself, "x", "no such file", id="link_to_itself"),
        pytest.param(Path.touch, "x", r"empty \(0 bytes\)", id="empty"),
        pytest.param(os.mkfifo if hasattr(os, "mkfifo") else None, "x", "a pipe or device|no such", id="pipe"),
    ],
)
def test_what_is_no_file_is_refused_at_every_door(tmp_path, read, make, name, pattern):
    if make is not None:
        make(tmp_path / name)
    before = sorted(tmp_path.iterdir())
    with pytest.raises((ImageFileError, ListFileError, ArchiveError)) as caught:
        read(tmp_path / name)
    check_refusal(caught.value, str(tmp_path), pattern)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("shape", [(10_000, 30), (30, 10_000), (1, 1), (1, 9999)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_extreme_shapes_are_read(tmp_path, shape, kind):
    path = tmp_path / "x"
    path.write_bytes(encoded(np.full(shape, 200, np.uint8), kind))
    assert image_size(path) == shape
    np.testing.assert_allclose(read_image(path), 200, atol=1)
    assert min(read_image(path, at_least=4).shape[:2]) >= min(4, *shape)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
def test_a_bomb_takes_no_memory_even_when_another_library_lifted_pillows_limit(tmp_path):
    """In a process of its own that may take 1 GB on top: each of these pictures would need 10 GB."""
    for kind, data in BOMBS.items():
        (tmp_path / f"bomb.{kind}").write_bytes(data)
    program = """
import re, resource, sys
from pathlib import Path
from PIL import Image
from dirl_lib.images import ImageFileError, image_size, read_image, read_soft_mask
Image.MAX_IMAGE_PIXELS = None
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 10**9,) * 2)
for path in sorted(Path(sys.argv[1]).glob("bomb.*")):
    for read in (read_image, image_size, read_soft_mask, lambda path: read_image(path, at_least=8)):
        try:
            read(path)
        except ImageFileError as error:
            print(error)
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    *lines, peak = done.stdout.splitlines()
    assert len(lines) == 4 * len(BOMBS)
    for line in lines:
        assert re.search(rf"found 6\d{{4}}x6\d{{4}} pixels, expected at most {MAX_PIXELS} in all\); make", line), line
    assert int(peak) < 150_000  # kB, most of it Python and NumPy


def test_the_largest_allowed_picture_has_half_a_gib_of_rgb():
    assert 3 * MAX_PIXELS <= 2**29 < 3 * (MAX_PIXELS + 1)
    assert 5 * 6048 * 6048 > MAX_PIXELS > 4.5 * 6048 * 6048  # iHarmony4's largest sides, "a fifth"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "MPO"])
def test_the_size_from_the_header_is_the_size_of_the_pixels(tmp_path, kind, orientation):
    path = tmp_path / "x"
    path.write_bytes(encoded(np.zeros((2, 5, 3), np.uint8), kind, exif=turned(orientation)))
    assert image_size(path) == read_image(path).shape[:2] == ((2, 5) if orientation < 5 else (5, 2))


@pytest.mark.parametrize("data", [NOISE_JPEG, NOISE_PNG], ids=["jpeg", "png"])
def test_the_size_is_read_without_the_pixels(tmp_path, data):
    path = tmp_path / "x"
    path.write_bytes(data[:3000])
    assert image_size(path) == (64, 64)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_file_with_one_wrong_byte_is_one_line_or_a_picture(tmp_path, kind, monkeypatch):
    """Pillow itself then fails in many ways: SyntaxError, struct.error, TypeError."""
    monkeypatch.setattr(images, "MAX_PIXELS", 10**6)  # a wrong byte in the sides would cost seconds
    whole, path = encoded(np.zeros((8, 8, 3), np.uint8), kind, exif=turned(6)), tmp_path / "x"
    for position in range(min(len(whole), 150)):
        for byte in {0, 2, 0xFF} - {whole[position]}:
            path.write_bytes(whole[:position] + bytes([byte]) + whole[position + 1 :])
            for read in (read_image, image_size):
                try:
                    read(path)
                except ImageFileError as error:
                    check_refusal(error, str(path), "")


# ------------------------------------------------------------------------------------------- JPEG at reduced scale


@pytest.mark.parametrize(
    ("at_least", "expected"),
    [
        (1, (13, 25)),
        (12, (13, 25)),
        (25, (25, 50)),
        (26, (50, 100)),
        (50, (50, 100)),
        (51, (100, 200)),
        (999, (100, 200)),
    ],
)
def test_a_jpeg_is_decoded_no_larger_than_needed_and_no_smaller(tmp_path, at_least, expected):
    path = tmp_path / "x.jpg"
    path.write_bytes(encoded(np.zeros((100, 200, 3), np.uint8), "JPEG"))
    assert read_image(path, at_least=at_least).shape == (*expected, 3)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(("at_least", "factor"), [(32, 8), (64, 4), (128, 2), (256, 1)])
def test_a_reduced_jpeg_shows_the_box_average_of_the_whole(tmp_path, mode, at_least, factor):
    """The oracle averages blocks of the full picture; a smooth picture leaves no other difference than rounding."""
    y, x = np.mgrid[0:256, 0:384]
    smooth = np.stack([y / 2 + 20, x / 3 + 20, 200 - y / 4 - x / 8], axis=-1).astype(np.uint8)
    path = tmp_path / "x.jpg"
    path.write_bytes(encoded(Image.fromarray(smooth).convert(mode), "JPEG", quality=95, exif=turned(6)))
    whole = read_image(path).astype(float)
    assert whole.shape == (384, 256, 3)
    blocks = whole.reshape(384 // factor, factor, 256 // factor, factor, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(read_image(path, at_least=at_least), blocks, atol=3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP"])
def test_other_formats_are_read_whole(tmp_path, kind):
    path = tmp_path / "x"
    path.write_bytes(encoded(np.zeros((64, 64, 3), np.uint8), kind))
    assert read_image(path, at_least=8).shape == (64, 64, 3)


@pytest.mark.parametrize("wrong", [0, -1])
def test_at_least_no_pixel_makes_no_sense(tmp_path, wrong):
    with pytest.raises(ValueError, match=rf"at_least={wrong}, expected 1 or more"):
        read_image(tmp_path / "x", at_least=wrong)


# ----------------------------------------------------------------------------------------------------------- masks


def palette(colours: list[int], pixels: list[list[int]]) -> Image.Image:
    picture = Image.fromarray(np.array(pixels, np.uint8)).convert("L")
    indexed = Image.new("P", picture.size)
    indexed.putdata(list(picture.tobytes()))
    indexed.putpalette(colours)
    return indexed


def u8(*values: int) -> np.ndarray:
    return np.array([values], np.uint8)


def u16(*values: int) -> np.ndarray:
    return np.array([values], np.uint16)


MASKS = [
    pytest.param(encoded(u8(0, 255)), [[0, 255]], id="0_and_255"),
    pytest.param(encoded(u8(0, 1, 127, 128, 254)), [[0, 1, 127, 128, 254]], id="grey_is_kept"),
    pytest.param(encoded(u8(0, 2)), [[0, 2]], id="faint_grey_is_no_label"),
    pytest.param(encoded(u8(0, 0)), [[0, 0]], id="empty"),
    pytest.param(encoded(u8(0, 1)), [[0, 255]], id="labels_8_bit"),
    pytest.param(encoded(u8(1, 1)), [[255, 255]], id="labels_all_one"),
    pytest.param(encoded(np.repeat(u8(0, 1)[..., None], 3, axis=2)), [[0, 255]], id="labels_in_three_channels"),
    pytest.param(encoded(u16(0, 1)), [[0, 255]], id="labels_16_bit"),
    pytest.param(encoded(u16(0, 0)), [[0, 0]], id="empty_16_bit"),
    pytest.param(encoded(u16(0, 257, 32896, 65535)), [[0, 1, 128, 255]], id="grey_16_bit"),
    pytest.param(encoded(u16(0, 514)), [[0, 2]], id="faint_grey_16_bit"),
    pytest.param(encoded(np.array([[0, 1]], np.int32), "TIFF"), [[0, 255]], id="labels_32_bit"),
    pytest.param(encoded(np.array([[0, 0.5, 1]], np.float32), "TIFF"), [[0, 128, 255]], id="float_0_to_1"),
    pytest.param(encoded(Image.fromarray(np.array([[False, True]]))), [[0, 255]], id="one_bit"),
    pytest.param(png_by_hand(4, 1, 2, 0, b"\0\x1b"), [[0, 85, 170, 255]], id="two_bits"),
    pytest.param(encoded(np.repeat(u8(0, 99, 255)[..., None], 3, axis=2)), [[0, 99, 255]], id="three_equal_channels"),
    pytest.param(encoded(palette([0, 0, 0, 255, 255, 255], [[0, 1]])), [[0, 255]], id="palette_black_and_white"),
    pytest.param(encoded(palette([0, 0, 0, 1, 1, 1], [[0, 1]])), [[0, 255]], id="palette_of_labels"),
    pytest.param(
        encoded(Image.merge("LA", [Image.new("L", (1, 1), 255), Image.new("L", (1, 1))])), [[0]], id="transparent"
    ),
    pytest.param(encoded(u8(0, 255)[:, ::-1].copy(), exif=turned(2)), [[0, 255]], id="mirrored"),
    pytest.param(encoded(u16(0, 255)), refuses("from 0 to 255 in a 16-bit mask"), id="8_bit_values_in_16"),
    pytest.param(encoded(u16(0, 2)), refuses("from 0 to 2 in a 16-bit mask"), id="classes_in_16_bit"),
    pytest.param(encoded(np.array([[-1, 1]], np.int32), "TIFF"), refuses("from -1 to 1, expected 0"), id="negative"),
    pytest.param(
        encoded(np.array([[0, 255]], np.float32), "TIFF"), refuses("0 to 255, expected 0 to 1"), id="float_255"
    ),
    pytest.param(encoded(CORNERS), refuses("coloured picture, expected a grey mask"), id="photograph"),
    pytest.param(encoded(palette([0, 0, 0, 128, 0, 0], [[0, 1]])), refuses("coloured"), id="palette_of_colours"),
    pytest.param(b"GIF89a", refuses("unknown|text|cut short"), id="only_a_signature"),
    pytest.param(BOMBS["png"], refuses("too large"), id="bomb"),
]


@pytest.mark.parametrize(("data", "expected"), MASKS)
def test_masks(tmp_path, data, expected):
    path = tmp_path / "m.png"
    path.write_bytes(data)
    if isinstance(expected, re.Pattern):
        for read in (read_soft_mask, read_mask):
            with pytest.raises(ImageFileError) as caught:
                read(path)
            check_refusal(caught.value, str(path), expected)
    else:
        soft = read_soft_mask(path)
        assert soft.dtype == np.uint8
        np.testing.assert_array_equal(soft, expected)
        np.testing.assert_array_equal(read_mask(path), np.array(expected) / 255 > 0.5)


def test_a_soft_mask_may_be_written_to(tmp_path):
    for data in (u8(0, 255), np.zeros((1, 2, 3), np.uint8)):
        (tmp_path / "m").write_bytes(encoded(data))
        soft = read_soft_mask(tmp_path / "m")
        soft[:] = 3
        assert soft.base is None


# ----------------------------------------------------------------------------------------------------------- lists

LINES = [
    pytest.param("a/b.jpg", "a/b.jpg", id="plain"),
    pytest.param(" \ta/b.jpg \t", "a/b.jpg", id="blanks_around"),
    pytest.param("my photos/b c.jpg", "my photos/b c.jpg", id="blanks_inside"),
    pytest.param("./a/b.jpg", "a/b.jpg", id="dot_slash"),
    pytest.param("a/./b.jpg", "a/b.jpg", id="dot_inside"),
    pytest.param("a//b.jpg", "a/b.jpg", id="doubled_slash"),
    pytest.param("a\\b.jpg", "a/b.jpg", id="windows"),
    pytest.param(".\\a\\b.jpg", "a/b.jpg", id="windows_dot"),
    pytest.param("..a/b..jpg", "..a/b..jpg", id="dots_in_a_name"),
    pytest.param("日本/é\u200d.jpg", "日本/é\u200d.jpg", id="unicode"),
    pytest.param("-rf.jpg", "-rf.jpg", id="dash"),
    pytest.param("~/a.jpg", "~/a.jpg", id="tilde_is_a_name"),
    pytest.param("/etc/passwd", refuses("an absolute path"), id="absolute"),
    pytest.param("//server/share/a.jpg", refuses("an absolute path"), id="network"),
    pytest.param("\\\\server\\share\\a.jpg", refuses("an absolute path"), id="network_windows"),
    pytest.param("C:/a.jpg", refuses("a drive letter"), id="drive"),
    pytest.param("c:a.jpg", refuses("a drive letter"), id="drive_relative"),
    pytest.param(".\\C:\\a.jpg", refuses("a drive letter"), id="drive_behind_a_dot"),
    pytest.param("..", refuses(r"found '\.\.'"), id="parent"),
    pytest.param("../a.jpg", refuses(r"found '\.\.'"), id="parent_first"),
    pytest.param("a/../../b.jpg", refuses(r"found '\.\.'"), id="parent_inside"),
    pytest.param("a\\..\\..\\b.jpg", refuses(r"found '\.\.'"), id="parent_windows"),
    pytest.param("a/.. /b.jpg", refuses(r"found '\.\.'"), id="parent_with_a_blank_is_a_parent_on_windows"),
    pytest.param(".", refuses("the folder itself"), id="dot"),
    pytest.param("https://example.org/a.jpg", refuses("an address"), id="https"),
    pytest.param("file:///etc/passwd", refuses("an address"), id="file_address"),
    pytest.param("a\0b.jpg", refuses(r"'a\\x00b.jpg': found a control character"), id="nul"),
    pytest.param("a\x1b[2Jb.jpg", refuses("a control character"), id="escape"),
    pytest.param("a\x0bb.jpg", refuses("a control character"), id="vertical_tab"),
    pytest.param("a.jpg\x0b", refuses("a control character"), id="vertical_tab_at_the_end"),
    pytest.param("a\u2028b.jpg", refuses("a control character"), id="line_separator"),
    pytest.param("a" * 5000, refuses("'a{80}...': found 5000 characters"), id="too_long"),
    pytest.param("first.jpg", refuses("stands in line 1 already"), id="doubled"),
    pytest.param("./first.jpg", refuses("stands in line 1 already"), id="doubled_in_another_spelling"),
]


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_list_lines(tmp_path, line, expected):
    path = tmp_path / "list.txt"
    path.write_bytes(f"first.jpg\n\n{line}\nlast.jpg\n".encode())
    problems: list[str] = []
    if isinstance(expected, re.Pattern):
        with pytest.raises(ListFileError) as caught:
            read_list(path)
        check_refusal(caught.value, f"{path}, line 3: ", expected)
        assert read_list(path, problems=problems) == ["first.jpg", "last.jpg"]
        assert problems == [str(caught.value)]
    else:
        assert read_list(path, problems=problems) == ["first.jpg", expected, "last.jpg"]
        assert problems == []


LISTS = [
    pytest.param(b"a\nb\n", ["a", "b"], id="lf"),
    pytest.param(b"a\r\nb\r\n", ["a", "b"], id="crlf"),
    pytest.param(b"a\rb\r", ["a", "b"], id="cr"),
    pytest.param(b"a\nb", ["a", "b"], id="no_last_newline"),
    pytest.param(b"\xef\xbb\xbfa\nb\n", ["a", "b"], id="byte_order_mark"),
    pytest.param(b"\n \n\t\na\n\n\n", ["a"], id="blank_lines"),
    pytest.param("é\n".encode(), ["é"], id="utf_8"),
    pytest.param(b"b\na\n", ["b", "a"], id="order_is_kept"),
    pytest.param(b"a\n\xe9\n", refuses("line 2: found bytes that are not UTF-8"), id="latin_1"),
    pytest.param("a\n".encode("utf-16"), refuses("line 1: found bytes that are not UTF-8"), id="utf_16"),
    pytest.param(b"\n \n\n", refuses("found no usable entry"), id="only_blanks"),
    pytest.param(b"\xef\xbb\xbf", refuses("found no usable entry"), id="only_a_byte_order_mark"),
    pytest.param(encoded(CORNERS), refuses("not UTF-8"), id="an_image"),
]


@pytest.mark.parametrize(("data", "expected"), LISTS)
def test_list_files(tmp_path, data, expected):
    path = tmp_path / "list.txt"
    path.write_bytes(data)
    if isinstance(expected, re.Pattern):
        for problems in (None, []):
            with pytest.raises(ListFileError) as caught:
                read_list(path, problems=problems)
            check_refusal(caught.value, str(path), expected)
    else:
        assert read_list(path) == expected


def test_a_list_of_nothing_but_refused_lines_is_refused_whole(tmp_path):
    (tmp_path / "list.txt").write_text("/a\n../b\n")
    problems: list[str] = []
    with pytest.raises(ListFileError, match="no usable entry"):
        read_list(tmp_path / "list.txt", problems=problems)
    assert len(problems) == 2


def test_a_file_too_large_for_a_list_is_not_even_read(tmp_path, monkeypatch):
    path = tmp_path / "list.txt"
    with path.open("wb") as file:
        file.truncate(lists.MAX_LIST_BYTES + 1)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("read"))
    with pytest.raises(ListFileError) as caught:
        read_list(path)
    check_refusal(caught.value, str(path), "found 67108865 bytes")


def test_a_written_list_comes_back_and_has_unix_line_ends(tmp_path):
    entries = ["b.jpg", "a folder/é.jpg", "~x"]
    write_list(tmp_path / "list.txt", iter(entries))
    assert (tmp_path / "list.txt").read_bytes() == "b.jpg\na folder/é.jpg\n~x\n".encode()
    assert read_list(tmp_path / "list.txt") == entries


@pytest.mark.parametrize(
    ("entries", "pattern"),
    [
        pytest.param([], "no usable entry", id="none"),
        pytest.param(["a", "a"], "count double", id="doubled"),
        pytest.param(["a", "../b"], r"line 2: '\.\./b'", id="parent"),
        pytest.param(["/a"], "absolute", id="absolute"),
        pytest.param(["a ", "b"], "entry 1 'a ' would be read as 'a'", id="blank_at_the_end"),
        pytest.param(["a", ""], "entry 2 '' would be read as ''", id="empty_entry"),
        pytest.param(["./a"], "entry 1 './a' would be read as 'a'", id="dot_slash"),
        pytest.param(["a\\b"], "would be read as 'a/b'", id="backslash"),
        pytest.param(["a\nb"], r"entry 1 'a\\nb' would be read as 'a'", id="newline"),
        pytest.param(["\ufeffa"], r"entry 1 '\\ufeffa' would be read as 'a'", id="byte_order_mark"),
        pytest.param(["a\udcff"], r"found '\\udcff', which UTF-8 cannot hold", id="bytes_that_are_no_text"),
    ],
)
def test_what_would_not_come_back_is_not_written(tmp_path, entries, pattern):
    path = tmp_path / "list.txt"
    path.write_text("old\n")
    with pytest.raises(ListFileError) as caught:
        write_list(path, entries)
    check_refusal(caught.value, str(path), pattern)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("list.txt", "old\n")]


def test_a_list_whose_writing_fails_leaves_the_old_one_and_nothing_beside_it(tmp_path, monkeypatch):
    write_list(tmp_path / "list.txt", ["old"])
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_list(tmp_path / "list.txt", ["new"])
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("list.txt", "old\n")]


def test_a_list_needs_its_folder(tmp_path):
    with pytest.raises(ListFileError) as caught:
        write_list(tmp_path / "nowhere" / "list.txt", ["a"])
    check_refusal(caught.value, str(tmp_path), "does not exist")


@pytest.fixture
def root_with_links(tmp_path) -> Path:
    root = tmp_path / "root"
    (root / "HCOCO").mkdir(parents=True)
    (root / "HCOCO" / "a.jpg").touch()
    (tmp_path / "secret.txt").touch()
    (tmp_path / "root_of_another").mkdir()
    (root / "same").symlink_to("HCOCO")
    (root / "out").symlink_to("..")
    (root / "file_out").symlink_to(tmp_path / "secret.txt")
    (root / "sibling").symlink_to(tmp_path / "root_of_another")
    (root / "circle").symlink_to("circle")
    return root


@pytest.mark.parametrize(
    ("relative", "expected"),
    [
        pytest.param("HCOCO/a.jpg", "HCOCO/a.jpg", id="plain"),
        pytest.param("not/there.jpg", "not/there.jpg", id="missing"),
        pytest.param("same/a.jpg", "same/a.jpg", id="a_link_that_stays_inside_keeps_its_name"),
        pytest.param("out/secret.txt", refuses("lies outside"), id="a_linked_folder_leads_out"),
        pytest.param("file_out", refuses("lies outside"), id="a_linked_file_leads_out"),
        pytest.param("sibling/a", refuses("lies outside"), id="a_sibling_whose_name_begins_alike"),
        pytest.param("../secret.txt", refuses("lies outside"), id="parent"),
        pytest.param("/etc/passwd", refuses("lies outside"), id="absolute"),
        pytest.param("a\0b", refuses("no path below"), id="nul"),
    ],
)
def test_inside(root_with_links, relative, expected):
    if isinstance(expected, re.Pattern):
        with pytest.raises(ListFileError) as caught:
            inside(root_with_links, relative)
        check_refusal(caught.value, printable(relative, 80), expected)
    else:
        assert inside(root_with_links, relative) == root_with_links / expected


def test_a_circle_of_links_is_refused_or_opens_nothing(root_with_links):
    try:
        path = inside(root_with_links, "circle")
    except ListFileError as error:
        check_refusal(error, "circle", "no path below")
    else:
        assert not path.exists()


def test_a_root_that_is_a_link_itself_is_a_root(root_with_links):
    link = root_with_links.parent / "link"
    link.symlink_to(root_with_links)
    assert inside(link, "HCOCO/a.jpg") == link / "HCOCO/a.jpg"


# -------------------------------------------------------------------------------------------------------- archives

TREE = {"HCOCO/masks/a.png": b"mask", "HCOCO/real_images/a.jpg": b"real", "HCOCO/é b.jpg": b"x" * 3000, "list.txt": b""}
KINDS = {".zip": "zip", ".tar": "w:", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


def zip_of(tree: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] | None = None) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, data in tree.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if change is not None:
                change(info)
            pack.writestr(info, data)
    return file.getvalue()


def tar_of(tree: dict[str, bytes], mode: str = "w:", change: Callable[[tarfile.TarInfo], None] | None = None) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as pack:
        for name, data in tree.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if change is not None:
                change(info)
            pack.addfile(info, io.BytesIO(data))
    return file.getvalue()


def packed(tree: dict[str, bytes], ending: str) -> bytes:
    return zip_of(tree) if ending == ".zip" else tar_of(tree, KINDS[ending])


def zip_mode(mode: int) -> Callable[[zipfile.ZipInfo], None]:
    def change(info: zipfile.ZipInfo) -> None:
        info.external_attr = mode << 16

    return change


def tar_type(kind: bytes, target: str = "") -> Callable[[tarfile.TarInfo], None]:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = kind, target

    return change


def encrypted_zip() -> bytes:
    """The flag of the standard, bit 0, in the table at the end (offset 8 of the entry)."""
    data = bytearray(zip_of({"a": b"secret"}))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def zip_with_renamed(old: bytes, new: bytes) -> bytes:
    """A name that Python would not write: of the same length, exchanged in the finished file."""
    return zip_of({old.decode(): b"x"}).replace(old, new)


def zip_lying_about_its_size(real: int, told: int) -> bytes:
    data = bytearray(zip_of({"a": bytes(real)}))
    entry = data.index(b"PK\x01\x02")
    for size_at in (22, entry + 24):
        data[size_at : size_at + 4] = struct.pack("<I", told)
    return bytes(data)


def tree_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): b"folder" if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("ending", KINDS)
@pytest.mark.parametrize("name", ["data{}", "data.jpg"])
def test_archives_of_all_kinds_are_told_by_their_content(tmp_path, ending, name):
    archive = tmp_path / name.format(ending)
    archive.write_bytes(packed(TREE, ending))
    into = tmp_path / "new" / "into"
    assert unpack(archive, into) == [into / path for path in TREE]
    assert {path: data for path, data in tree_below(into).items() if data != b"folder"} == TREE
    again = tree_below(tmp_path)
    assert unpack(archive, into) == [into / path for path in TREE]
    assert tree_below(tmp_path) == again


ABSOLUTE = "/escaped_from_an_archive"
HOSTILE_NAMES = {
    "absolute": (ABSOLUTE, "an absolute path"),
    "parent": ("../escaped", r"found '\.\.'"),
    "parent_inside": ("a/../../escaped", r"found '\.\.'"),
    "parent_harmless": ("a/../b", r"found '\.\.'"),
    "parent_with_blank": ("a/.. /b", r"found '\.\.'"),
    "drive": ("C:/escaped", "a drive letter"),
    "backslash": ("a\\b", "a backslash"),
    "backslash_parent": ("..\\escaped", r"found '\.\.'"),
    "newline": ("a\nb", r"'a\\nb': found a control character"),
    "address": ("http://a/b", "an address"),
}
LINK, SYMLINK, DEVICE, FIFO = tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE

ARCHIVES = [
    *(
        pytest.param(pack({"good.txt": b"good", name: b"bad"}), refuses(pattern), id=f"{kind}_{case}")
        for case, (name, pattern) in HOSTILE_NAMES.items()
        for kind, pack in (("zip", zip_of), ("tar", tar_of))
    ),
    pytest.param(zip_with_renamed(b"a_b", b"a\0b"), refuses("a control character"), id="zip_nul"),
    pytest.param(zip_of({"": b"x"}), refuses("a file without a name"), id="zip_no_name"),
    pytest.param(zip_of({"a": b"/etc/passwd"}, zip_mode(stat.S_IFLNK | 0o777)), refuses("found a link"), id="zip_link"),
    pytest.param(zip_of({"a": b""}, zip_mode(stat.S_IFIFO)), refuses("a device or pipe"), id="zip_fifo"),
    pytest.param(zip_of({"a": b""}, zip_mode(stat.S_IFCHR)), refuses("a device or pipe"), id="zip_device"),
    pytest.param(tar_of({"a": b""}, change=tar_type(SYMLINK, "/etc")), refuses("found a link"), id="tar_symlink"),
    pytest.param(tar_of({"a": b""}, change=tar_type(LINK, "b")), refuses("found a link"), id="tar_hard_link"),
    pytest.param(tar_of({"a": b""}, change=tar_type(DEVICE)), refuses("a device or pipe"), id="tar_device"),
    pytest.param(tar_of({"a": b""}, change=tar_type(FIFO)), refuses("a device or pipe"), id="tar_fifo"),
    pytest.param(encrypted_zip(), refuses("an encrypted file"), id="zip_encrypted"),
    *(
        pytest.param(
            pack({"a/b.png": b"1", second: b"2"}), refuses("found 'a.*' and '.*', expected"), id=f"{kind}_{case}"
        )
        for case, second in {
            "case": "a/B.PNG",
            "case_of_a_folder": "A/c.png",
            "file_and_folder": "a",
            "dot": "a/b.png.",
        }.items()
        for kind, pack in (("zip", zip_of), ("tar", tar_of))
    ),
    pytest.param(
        tar_of({"é": b"1", "e\u0301": b"2"}), refuses("different files everywhere"), id="two_spellings_of_unicode"
    ),
    pytest.param(tar_of({"a/b": b"1", "./a//b": b"2"}), refuses("different files everywhere"), id="twice_the_same"),
    pytest.param(b"", refuses("empty"), id="empty"),
    pytest.param(b"<html>quota exceeded", refuses("text beginning with '<html>quota"), id="web_page"),
    pytest.param(encoded(CORNERS), refuses("unknown kind, expected a zip or tar"), id="an_image"),
    pytest.param(zip_of({}), refuses("found no file"), id="zip_without_files"),
    pytest.param(tar_of({}), refuses("found no file"), id="tar_without_files"),
    pytest.param(zip_of({"a/": b""}), refuses("found no file"), id="only_a_folder"),
    pytest.param(zip_of(TREE)[:-30], refuses("damaged or cut short"), id="zip_cut_short"),
    pytest.param(tar_of(TREE)[:700], refuses("damaged or cut short"), id="tar_cut_in_a_member"),
    pytest.param(tar_of(TREE)[:2048], refuses("no end mark"), id="tar_cut_between_members"),
    pytest.param(tar_of(TREE)[:2048] + b"x" * 9999, refuses("no end mark"), id="tar_goes_on_with_rubbish"),
    pytest.param(tar_of(TREE, "w:gz")[:-9], refuses("damaged or cut short"), id="tar_gz_without_its_end"),
    pytest.param(tar_of(TREE, "w:xz")[:-40], refuses("damaged or cut short"), id="tar_xz_cut_short"),
    pytest.param(gzip.compress(b"x" * 999), refuses("packed file without a whole tar"), id="gz_of_something_else"),
    pytest.param(tar_of(TREE, "w:gz")[:40], refuses("damaged or cut short"), id="tar_gz_cut_at_its_start"),
    pytest.param(tar_of(TREE, "w:gz")[:-8] + b"\0" * 8, refuses("CRC check failed"), id="tar_gz_with_a_wrong_checksum"),
    pytest.param(zip_lying_about_its_size(5000, 10), refuses("damaged or cut short"), id="zip_larger_than_it_says"),
    pytest.param(zip_lying_about_its_size(10, 2**31), refuses("more than 1000000 bytes"), id="zip_says_it_is_huge"),
    pytest.param(
        tar_of({"a": b""}, change=lambda info: info.pax_headers.update(path="x" * 5_000_000)),
        refuses("a header of 5"),
        id="tar_with_a_huge_header",
    ),
    pytest.param(zip_of({"a": bytes(20_000_000)}), refuses("more than 1000000 bytes come out"), id="zip_bomb"),
    pytest.param(tar_of({"a": bytes(20_000_000)}, "w:gz"), refuses("more than 1000000 bytes"), id="tar_gz_bomb"),
    pytest.param(
        tar_of({str(k): bytes(100_000) for k in range(11)}, "w:xz"),
        refuses("more than 1000000"),
        id="bomb_of_many_files",
    ),
]


@pytest.mark.parametrize("there", [True, False], ids=["folder_there", "folder_new"])
@pytest.mark.parametrize(("data", "pattern"), ARCHIVES)
def test_hostile_archives_leave_nothing(tmp_path, data, pattern, there):
    archive, into = tmp_path / "archive.bin", tmp_path / "in" / "to"
    archive.write_bytes(data)
    (tmp_path / "escaped").write_bytes(b"mine")
    if there:
        into.mkdir(parents=True)
        (into / "mine").touch()
    before = tree_below(tmp_path)
    with pytest.raises(ArchiveError) as caught:
        unpack(archive, into, max_bytes=1_000_000)
    check_refusal(caught.value, str(archive), pattern)
    assert tree_below(tmp_path) == before
    assert not Path(ABSOLUTE).exists()


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_folders_are_skipped_wherever_they_stand(tmp_path, ending):
    """Links in them as well: what is not written does no harm. A file of that name is no folder."""
    (tmp_path / "x").write_bytes(packed({**TREE, "real_images": b"a file", "real_images2/a": b"a"}, ending))
    files = unpack(tmp_path / "x", tmp_path / "into", skip={"real_images"})
    assert [file.relative_to(tmp_path / "into").as_posix() for file in files] == [
        "HCOCO/masks/a.png", "HCOCO/é b.jpg", "list.txt", "real_images", "real_images2/a",
    ]  # fmt: skip
    assert not (tmp_path / "into/HCOCO/real_images").exists()


def test_skip_is_no_single_word(tmp_path):
    with pytest.raises(TypeError, match=r"write skip=\['real_images'\]"):
        unpack(tmp_path / "x", tmp_path, skip="real_images")


def test_empty_folders_and_a_leading_dot_are_fine(tmp_path):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as pack:
        for name in (".", "./a", "./a/empty"):
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE
            pack.addfile(info)
        pack.addfile(tarfile.TarInfo("./a/file"))
    (tmp_path / "x").write_bytes(file.getvalue())
    assert unpack(tmp_path / "x", tmp_path / "into") == [tmp_path / "into/a/file"]
    assert tree_below(tmp_path / "into") == {"a": b"folder", "a/empty": b"folder", "a/file": b""}


@pytest.mark.parametrize("ending", [".zip", ".tar.xz"])
def test_parts_of_a_data_set_meet_in_one_folder(tmp_path, ending):
    for part in ("HCOCO", "HFlickr"):
        (tmp_path / part).write_bytes(packed({f"iHarmony4/{part}/a": part.encode(), "iHarmony4/README": b"r"}, ending))
        unpack(tmp_path / part, tmp_path / "into")
    unpacked = {path: data for path, data in tree_below(tmp_path / "into").items() if data != b"folder"}
    assert unpacked == {"iHarmony4/HCOCO/a": b"HCOCO", "iHarmony4/HFlickr/a": b"HFlickr", "iHarmony4/README": b"r"}


@pytest.mark.parametrize("old", [b"other", b"", b"mas", b"mask."])
@pytest.mark.parametrize("ending", [".zip", ".tar"])
def test_a_different_file_is_never_replaced(tmp_path, ending, old):
    (tmp_path / "x").write_bytes(packed(TREE, ending))
    mine = tmp_path / "into/HCOCO/masks/a.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(old)
    before = tree_below(tmp_path)
    with pytest.raises(ArchiveError) as caught:
        unpack(tmp_path / "x", tmp_path / "into")
    check_refusal(caught.value, str(tmp_path / "x"), f"{mine} is there with another content")
    assert tree_below(tmp_path) == before


@pytest.mark.parametrize("obstacle", ["link", "file"])
def test_nothing_is_written_through_a_link_or_a_file_in_the_way(tmp_path, obstacle):
    (tmp_path / "x").write_bytes(zip_of(TREE))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "into").mkdir()
    if obstacle == "link":
        (tmp_path / "into/HCOCO").symlink_to(tmp_path / "elsewhere")
    else:
        (tmp_path / "into/HCOCO").touch()
    before = tree_below(tmp_path)
    with pytest.raises(ArchiveError) as caught:
        unpack(tmp_path / "x", tmp_path / "into")
    check_refusal(caught.value, str(tmp_path / "x"), "HCOCO is in the way, expected a folder and no link")
    assert tree_below(tmp_path) == before


def test_a_file_is_no_folder_to_unpack_into(tmp_path):
    (tmp_path / "x").write_bytes(zip_of(TREE))
    with pytest.raises(ArchiveError) as caught:
        unpack(tmp_path / "x", tmp_path / "x")
    check_refusal(caught.value, str(tmp_path / "x"), "is a file, expected a folder")


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_a_full_disk_is_seen_before_it_is_full(tmp_path, monkeypatch, ending):
    (tmp_path / "x").write_bytes(packed(TREE, ending))
    free = archives.RESERVE + 3000
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free}))
    with pytest.raises(ArchiveError) as caught:
        unpack(tmp_path / "x", tmp_path / "into")
    check_refusal(caught.value, str(tmp_path / "x"), f"{free} bytes are free and {archives.RESERVE} shall stay so")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    unpack(tmp_path / "x", tmp_path / "into", skip=["real_images", "masks"])  # 3000 bytes, which fit


def test_a_second_run_needs_no_room(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(zip_of(TREE))
    unpack(tmp_path / "x", tmp_path / "into")
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: type("Usage", (), {"free": archives.RESERVE}))
    assert len(unpack(tmp_path / "x", tmp_path / "into")) == len(TREE)


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_too_many_members_are_refused(tmp_path, monkeypatch, ending):
    (tmp_path / "x").write_bytes(packed(TREE, ending))
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    with pytest.raises(ArchiveError) as caught:
        unpack(tmp_path / "x", tmp_path / "into")
    check_refusal(caught.value, str(tmp_path / "x"), "more than 3 members")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_run_that_is_broken_off_leaves_nothing(tmp_path, monkeypatch, stop):
    (tmp_path / "x").write_bytes(zip_of(TREE))

    def broken_off(*_: object) -> None:
        raise stop

    monkeypatch.setattr(Path, "rename", broken_off)
    with pytest.raises((KeyboardInterrupt, ArchiveError)) as caught:
        unpack(tmp_path / "x", tmp_path / "in" / "to")
    if isinstance(caught.value, ArchiveError):
        check_refusal(caught.value, str(tmp_path / "x"), r"\(No space left on device\)")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_what_a_killed_run_left_is_cleared_away_after_a_day(tmp_path):
    (tmp_path / "x").write_bytes(zip_of(TREE))
    old, young = tmp_path / "into/.unpack-0.part", tmp_path / "into/.unpack-1.part"
    for left in (old, young):
        left.mkdir(parents=True)
        (left / "half").touch()
    os.utime(old, (0, 0))
    unpack(tmp_path / "x", tmp_path / "into")
    assert not old.exists()
    assert young.exists()


def test_rights_named_in_an_archive_are_not_taken_over(tmp_path):
    (tmp_path / "x").write_bytes(tar_of({"a": b""}, change=lambda info: setattr(info, "mode", 0o6777)))
    (tmp_path / "usual").touch()
    (file,) = unpack(tmp_path / "x", tmp_path / "into")
    assert file.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_packed_tar_is_unpacked_only_once(tmp_path, monkeypatch):
    """A step back in a packed stream unpacks all of it anew, which would take days for a hundred gigabytes."""
    (tmp_path / "x").write_bytes(tar_of({f"{k}": bytes(k * 512 + k % 2) for k in range(200)}, "w:gz"))
    monkeypatch.setattr(archives.gzip.GzipFile, "seek", lambda *_: pytest.fail("stepped back"))
    assert len(unpack(tmp_path / "x", tmp_path / "into")) == 200


# -------------------------------------------------------------------------------------------- genuine iHarmony4 files


@pytest.fixture(scope="module")
def samples(shared: Path) -> Path:
    folder = shared / "iharmony4_samples"
    if not folder.is_dir():
        pytest.skip("no genuine iHarmony4 files beside this checkout")
    return folder


def test_every_genuine_image_is_read_and_its_mask_has_its_size(samples):
    photos = sorted(samples.glob("*/composite_images/*.jpg")) + sorted(samples.glob("*/real_images/*.jpg"))
    shapes = {path: read_image(path).shape[:2] for path in photos}
    assert {path: image_size(path) for path in photos} == shapes
    masks = sorted(samples.glob("*/masks/*.png"))
    for mask in masks:
        soft = read_soft_mask(mask)
        assert image_size(mask) == soft.shape
        with Image.open(mask) as file:
            np.testing.assert_array_equal(soft, np.asarray(file.convert("RGB"))[..., 0])
        assert soft.max() == 255
        photo = samples / mask.parts[-3] / "real_images" / f"{mask.stem.rsplit('_', 1)[0]}.jpg"
        composites = (photo.parents[1] / "composite_images").glob(f"{mask.stem}_*.jpg")
        for image in (photo, *composites):
            assert shapes[image] == soft.shape, image
    assert len(photos) > 100
    assert len(masks) > 100


def test_the_genuine_list_leads_to_its_files(samples):
    entries = read_list(samples / "IHD_visible.txt")
    assert all(inside(samples, entry).is_file() for entry in entries)
    assert len(entries) == len(list(samples.glob("*/composite_images/*.jpg")))


def test_the_table_has_more_than_sixty_rows():
    assert sum(map(len, (IMAGES, MASKS, LINES, LISTS, ARCHIVES))) > 60
