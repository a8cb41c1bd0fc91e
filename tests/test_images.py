"""The door for pictures: what comes in upright and RGB, what is refused with one line, what goes out in one step."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from dirl_lib import images
from dirl_lib.images import (
    ImageFileError,
    check_same_size,
    mask_to_tensor,
    read_image,
    read_mask,
    to_array,
    to_tensor,
    write_image,
    write_mask,
)

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def corners() -> np.ndarray:
    """2 x 3 pixels, all different enough to see any turn or flip."""
    return np.array([[RED, GREEN, BLUE], [WHITE, (0, 0, 0), (128, 64, 32)]], dtype=np.uint8)


def saved(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)
    return path


def refusal(path: Path, read=read_image) -> str:
    with pytest.raises(ImageFileError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_comes_out_upright(tmp_path, orientation):
    upright = corners()
    # How the sensor must have stored the picture so that this EXIF value brings it back (EXIF 2.3, tag 274).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    path = saved(tmp_path / "turned.png", Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    np.testing.assert_array_equal(read_image(path), upright)


def test_a_mask_is_turned_with_its_photograph(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    stored = np.rot90(np.array([[255, 0, 0], [0, 0, 255]], dtype=np.uint8), 1)
    path = saved(tmp_path / "m.png", Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    np.testing.assert_array_equal(read_mask(path), [[True, False, False], [False, False, True]])


def test_grey_becomes_three_equal_channels(tmp_path):
    path = saved(tmp_path / "g.png", Image.fromarray(np.array([[0, 100, 255]], dtype=np.uint8)))
    np.testing.assert_array_equal(read_image(path), [[[0] * 3, [100] * 3, [255] * 3]])


def test_a_palette_gives_its_colours_and_not_its_numbers(tmp_path):
    path = saved(tmp_path / "p.png", Image.fromarray(corners()).convert("P", palette=Image.Palette.ADAPTIVE))
    np.testing.assert_array_equal(read_image(path), corners())


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_lie_on_white_in_a_photograph_and_outside_a_mask(tmp_path, mode):
    picture = Image.new("RGBA", (2, 1), (255, 255, 255, 255))
    picture.putpixel((1, 0), (255, 255, 255, 0))
    path = tmp_path / "a.png"
    if mode == "P":
        palette = Image.new("P", (2, 1), 0)
        palette.putpalette([255, 255, 255, 255, 255, 255])
        palette.putpixel((1, 0), 1)
        palette.save(path, transparency=1)
    else:
        picture.convert(mode).save(path)
    np.testing.assert_array_equal(read_image(path), [[WHITE, WHITE]])
    np.testing.assert_array_equal(read_mask(path), [[True, False]])


def test_half_transparent_red_is_pink(tmp_path):
    path = saved(tmp_path / "half.png", Image.new("RGBA", (1, 1), (255, 0, 0, 128)))
    np.testing.assert_allclose(read_image(path)[0, 0].astype(int), [255, 127, 127], atol=1)


def test_cmyk_is_read_as_the_colour_that_was_printed(tmp_path):
    path = saved(tmp_path / "c.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=100)
    np.testing.assert_allclose(read_image(path).mean(axis=(0, 1)), [255, 0, 0], atol=3)


def test_sixteen_bits_are_scaled_and_not_clipped_to_white(tmp_path):
    levels = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)
    path = saved(tmp_path / "deep.png", Image.fromarray(levels))
    np.testing.assert_array_equal(read_image(path)[..., 0], [[0, 1, 128, 255]])
    np.testing.assert_array_equal(read_mask(path), [[False, False, True, True]])


def test_float_grey_from_0_to_1_is_read_and_any_other_range_is_refused(tmp_path):
    path = saved(tmp_path / "f.tif", Image.fromarray(np.array([[0, 0.5, 1]], dtype=np.float32)))
    np.testing.assert_array_equal(read_image(path)[0, :, 0], [0, 128, 255])
    path = saved(tmp_path / "h.tif", Image.fromarray(np.array([[0, 300]], dtype=np.float32)))
    assert "0 to 300, expected 0 to 1" in refusal(path)


def test_a_mask_is_cut_above_one_half(tmp_path):
    levels = np.array([[0, 1, 127, 128, 254, 255]], dtype=np.uint8)
    path = saved(tmp_path / "m.png", Image.fromarray(levels))
    np.testing.assert_array_equal(read_mask(path), levels / 255 > 0.5)


def test_grey_in_a_mask_does_not_become_a_pattern_of_dots(tmp_path):
    path = saved(tmp_path / "m.png", Image.new("L", (16, 16), 100))
    assert not read_mask(path).any()


def test_a_mask_of_three_equal_channels_is_a_mask(tmp_path):
    path = saved(tmp_path / "m.png", Image.new("RGB", (3, 2), WHITE))
    assert read_mask(path).shape == (2, 3)
    assert read_mask(path).all()


def test_a_one_bit_mask_is_read(tmp_path):
    path = saved(tmp_path / "m.png", Image.fromarray(np.array([[True, False]])))
    np.testing.assert_array_equal(read_mask(path), [[True, False]])


def test_a_photograph_is_no_mask(tmp_path):
    assert "coloured" in refusal(saved(tmp_path / "x.png", Image.fromarray(corners())), read_mask)


def test_labels_0_and_1_are_not_taken_for_an_empty_mask(tmp_path):
    path = saved(tmp_path / "m.png", Image.fromarray(np.array([[0, 1]], dtype=np.uint8)))
    np.testing.assert_array_equal(read_mask(path), [[False, True]])


def test_an_empty_mask_is_allowed(tmp_path):
    assert not read_mask(saved(tmp_path / "m.png", Image.new("L", (4, 4)))).any()


def test_what_was_read_may_be_written_to(tmp_path):
    array = read_image(saved(tmp_path / "x.png", Image.fromarray(corners())))
    array[:] = 0
    assert array.flags.owndata


@pytest.mark.parametrize("read", [read_image, read_mask])
def test_each_bad_file_meets_one_line_that_says_what_to_do(tmp_path, read):
    missing = tmp_path / "missing.jpg"
    assert "no such file" in refusal(missing, read)
    assert "folder" in refusal(tmp_path, read)
    empty = tmp_path / "empty.png"
    empty.touch()
    assert "0 bytes" in refusal(empty, read)
    page = tmp_path / "page.jpg"
    page.write_text("<!DOCTYPE html>\n<html>Not found</html>")
    assert "text beginning with '<!DOCTYPE html>" in refusal(page, read)
    noise = tmp_path / "noise.png"
    noise.write_bytes(bytes([0x80, 0x81, 0xFE]) * 100)
    assert "unknown kind" in refusal(noise, read)


@pytest.mark.parametrize("ending", ["jpg", "png"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_a_file_that_was_cut_short_is_refused(tmp_path, ending, part):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = io.BytesIO()
    Image.fromarray(pixels).save(whole, {"jpg": "JPEG", "png": "PNG"}[ending])
    path = tmp_path / f"cut.{ending}"
    path.write_bytes(whole.getvalue()[: int(part * len(whole.getvalue()))])
    assert "cut short" in refusal(path)


def test_an_image_bomb_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path / "b.png", Image.new("L", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert "too large" in refusal(path)


def test_a_lab_image_is_refused(tmp_path):
    assert "CIELAB" in refusal(saved(tmp_path / "l.tif", Image.new("LAB", (2, 2))))


def test_a_mask_of_another_size_is_named_with_its_image():
    image, mask = np.zeros((4, 6, 3), np.uint8), np.zeros((6, 4), bool)
    with pytest.raises(ImageFileError, match=r"m\.png: found a mask of 6x4 .* expected 4x6 as in i\.jpg"):
        check_same_size(image, mask, "i.jpg", "m.png")
    check_same_size(image, mask.T, "i.jpg", "m.png")


def test_a_png_gives_back_what_was_written(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    write_image(tmp_path / "x.png", pixels)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), pixels)
    write_mask(tmp_path / "m.png", pixels[..., 0] > 99)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), pixels[..., 0] > 99)


def test_a_jpeg_keeps_the_colour_of_a_single_pixel_column(tmp_path):
    """With halved colour (4:2:0) red and blue columns one pixel wide would both turn purple."""
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2], stripes[:, 1::2] = RED, BLUE
    write_image(tmp_path / "x.jpg", stripes)
    assert np.abs(read_image(tmp_path / "x.jpg").astype(int) - stripes).mean() < 8


def test_the_same_pixels_give_the_same_bytes(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for name in ("a.jpg", "b.jpg", "a.png", "b.png"):
        write_image(tmp_path / name, pixels)
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "x.png"
    write_image(path, corners())
    monkeypatch.setattr(images.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_image(path, corners()[:, ::-1])
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.png"]
    np.testing.assert_array_equal(read_image(path), corners())


def test_a_written_file_has_the_usual_rights(tmp_path):
    write_image(tmp_path / "x.png", corners())
    (tmp_path / "usual").touch()
    assert (tmp_path / "x.png").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_writing_refuses_what_it_cannot_keep(tmp_path):
    with pytest.raises(ImageFileError, match=r"'\.bmp', expected \.png or \.jpg"):
        write_image(tmp_path / "x.bmp", corners())
    with pytest.raises(ImageFileError, match="float64"):
        write_image(tmp_path / "x.png", corners() / 255)
    with pytest.raises(ImageFileError, match="cannot write a mask as"):
        write_mask(tmp_path / "m.jpg", np.zeros((2, 2), bool))
    with pytest.raises(ImageFileError, match=r"compare with > 0\.5 first"):
        write_mask(tmp_path / "m.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(ImageFileError, match="does not exist; create it first"):
        write_image(tmp_path / "nowhere" / "x.png", corners())


@given(arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3))))
def test_array_to_tensor_and_back_is_the_identity(array):
    tensor = to_tensor(array)
    assert tensor.dtype == torch.float32
    assert tensor.shape == (1, 3, *array.shape[:2])
    assert tensor.min() >= 0
    assert tensor.max() <= 1
    np.testing.assert_array_equal(to_array(tensor), array)
    np.testing.assert_array_equal(to_array(tensor[0]), array)


def test_channels_stay_in_their_places():
    tensor = to_tensor(corners())
    assert tensor[0, :, 0, 2].tolist() == [0, 0, 1]
    assert tensor[0, :, 1, 2].tolist() == pytest.approx([128 / 255, 64 / 255, 32 / 255])


def test_a_mask_tensor_is_0_and_1():
    tensor = mask_to_tensor(np.array([[True, False]]))
    assert tensor.dtype == torch.float32
    assert tensor.tolist() == [[[[1.0, 0.0]]]]


def test_a_tensor_shares_no_memory_with_its_array():
    array = corners()
    mask = np.array([[True, False]])
    tensor, mask_tensor = to_tensor(array), mask_to_tensor(mask)
    array[:], mask[:] = 0, False
    assert tensor.max() == 1
    assert mask_tensor.max() == 1


def test_a_tensor_on_the_graph_can_be_shown():
    assert to_array(torch.full((3, 2, 2), 0.5, requires_grad=True)).tolist() == [[[128] * 3] * 2] * 2


@pytest.mark.parametrize("bad", [torch.nan, 1.5, -0.2, torch.inf])
def test_values_outside_0_to_1_are_not_wrapped_round(bad):
    tensor = torch.zeros(3, 2, 2)
    tensor[0, 0, 0] = bad
    with pytest.raises(ValueError, match=r"expected \[0, 1\]"):
        to_array(tensor)


def test_wrong_shapes_and_kinds_are_named():
    with pytest.raises(ValueError, match=r"float64 \(2, 3, 3\)"):
        to_tensor(corners() / 255)
    with pytest.raises(ValueError, match=r"uint8 \(2, 3\)"):
        mask_to_tensor(corners()[..., 0])
    with pytest.raises(ValueError, match="choose one of a batch"):
        to_array(torch.zeros(2, 3, 4, 4))
    with pytest.raises(ValueError, match="expected a float image"):
        to_array(torch.zeros(3, 4, 4, dtype=torch.uint8))
