"""Prediction: any file and any size in, pictures at the photograph's own size out, and the command `dirl predict`."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from PIL import Image
from torch import nn

import dirl_lib
from dirl_lib import plotting, prediction
from dirl_lib.cli import main
from dirl_lib.images import ImageFileError, read_image, read_mask, to_tensor, write_image
from dirl_lib.models import PRESETS, AtWorkingSize
from dirl_lib.models.dirl import build_dirl
from dirl_lib.prediction import ORANGE, Prediction, predict, predict_with
from dirl_lib.types import Localization
from dirl_lib.weights import load_model, save_model

SMALL = replace(PRESETS["paper"], width=0.125)


class Red(nn.Module):
    """Answers with the red channel and remembers what it was shown."""

    def forward(self, images, *, return_features=False):  # noqa: ARG002 (as every model)
        self.shown = tuple(images.shape)
        return Localization(images[:, :1], (), {})


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "small.safetensors"
    save_model(path, build_dirl(SMALL).to(memory_format=torch.contiguous_format), SMALL, working_size=64)
    return path


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def hot_corner(height=60, width=90):
    """Black, with a red block at the top right."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:20, -20:, 0] = 255
    return picture


# What goes in -----------------------------------------------------------------------------------------------------


def test_path_image_array_and_tensor_give_the_same_answer(tmp_path, weights):
    array = noise(70, 101)
    write_image(tmp_path / "x.png", array)
    found = predict(tmp_path / "x.png", weights=weights)
    assert found.probability.shape == (70, 101)
    assert found.probability.dtype == np.float32
    assert found.probability.std() > 0
    assert 0 <= found.probability.min() <= found.probability.max() <= 1
    np.testing.assert_array_equal(found.image, array)
    for same in (str(tmp_path / "x.png"), Image.fromarray(array), array, to_tensor(array)[0], to_tensor(array)):
        np.testing.assert_array_equal(predict(same, weights=weights).probability, found.probability)


def test_the_answer_is_the_models_own_where_nothing_needs_shrinking(weights):
    array = noise(70, 101)
    with torch.no_grad():
        expected = load_model(weights)(to_tensor(array)).mask[0, 0].numpy()
    np.testing.assert_allclose(predict(array, weights=weights).probability, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("as_file", [True, False])
def test_a_turned_photograph_is_answered_as_it_is_seen(tmp_path, as_file):
    upright = hot_corner()
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / "turned.jpg"
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(path, exif=exif, quality=95)
    with Image.open(path) as stored:
        found = predict_with(Red(), path if as_file else stored)
    assert found.probability.shape == (60, 90)
    assert found.image.shape == (60, 90, 3)
    assert found.probability[:16, -16:].min() > 0.9
    found.probability[:24, -24:] = 0
    assert found.probability.max() < 0.1


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA", "CMYK", "P", "I;16", "1"])
def test_files_of_every_mode_are_answered(tmp_path, mode):
    grey = Image.fromarray(noise(40, 50)[..., 0])
    picture = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    picture.save(path)
    np.testing.assert_allclose(predict_with(Red(), path).probability, read_image(path)[..., 0] / 255, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (300, 1), (20, 31), (5, 3000)])
def test_tiny_and_long_pictures_are_answered_at_their_own_size(shape):
    model = AtWorkingSize(build_dirl(SMALL), 64).eval()
    for found in (predict_with(model, noise(*shape)), predict_with(build_dirl(SMALL).eval(), noise(*shape))):
        assert found.probability.shape == shape
        assert np.isfinite(found.probability).all()
        assert found.overlay().shape == found.heat_map().shape == (*shape, 3)


@pytest.mark.parametrize(
    ("bad", "kind", "says"),
    [
        (np.zeros((4, 4, 3)), ValueError, r"found an array of float64 \(4, 4, 3\), expected uint8 \(H, W, 3\)"),
        (np.zeros((4, 4), np.uint8), ValueError, r"uint8 \(4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"uint8 \(0, 4, 3\)"),
        (torch.zeros(2, 3, 40, 40), ValueError, "choose one of a batch"),
        (torch.full((3, 40, 40), 255.0), ValueError, "divide by 255"),
        (Image.new("RGBA", (4, 4)), ValueError, r"mode RGBA, expected RGB or L; hand over its file"),
        (None, TypeError, "type NoneType, expected a path"),
        (Path("nothing.jpg"), ImageFileError, "nothing.jpg: no such file"),
    ],
)
def test_what_is_no_photograph_meets_one_line(bad, kind, says):
    with pytest.raises(kind, match=says) as caught:
        predict_with(Red(), bad)
    assert "\n" not in str(caught.value)


def test_an_answer_that_is_no_probability_is_refused():
    with pytest.raises(ValueError, match="prediction holds 2500 NaN"):
        predict_with(lambda images: Localization(images[:, :1] * torch.nan, (), {}), noise(50, 50))


# Sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "shown"), [((300, 200), (300, 200)), ((1024, 300), (512, 150)), ((20, 2000), (32, 512))]
)
def test_a_model_without_working_size_is_shown_at_most_512_pixels(shape, shown):
    model = Red()
    predict_with(model, noise(*shape))
    assert model.shown == (1, 3, *shown)


def test_a_model_with_working_size_is_shown_at_most_twice_that():
    shown = []
    model = AtWorkingSize(Red(), 64)
    model.register_forward_pre_hook(lambda _, inputs: shown.append(tuple(inputs[0].shape[-2:])))
    predict_with(model, noise(1000, 1000))
    predict_with(model, noise(100, 100))
    assert shown == [(128, 128), (100, 100)]


def test_a_shrunk_copy_averages_and_a_region_comes_back_where_it_was():
    stripes = np.zeros((1536, 1536, 3), np.uint8)
    stripes[:, ::2] = 255
    # One pixel out of three would be 0 or 1.
    np.testing.assert_allclose(predict_with(Red(), stripes).probability, 0.5, atol=0.1)
    block = np.zeros((1536, 1200, 3), np.uint8)
    block[300:600, 600:1200] = 255
    wrong = predict_with(Red(), block).mask() != (block[..., 0] > 0)
    assert wrong[:298].sum() == wrong[303:597].sum() - wrong[303:597, 597:603].sum() == 0


BIG = """
import re, numpy as np
from pathlib import Path
from dirl_lib.prediction import predict_with
from dirl_lib.types import Localization
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
def model(images):
    print(*images.shape[-2:])
    return Localization(images[:, :1], (), {})
predict_with(model, np.zeros((64, 64, 3), np.uint8))
picture = np.ones((5000, 6000, 3), np.uint8)
before = peak()
predict_with(model, picture)
print((peak() - before) / picture[..., 0].size)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_30_megapixels_need_less_than_9_bytes_a_pixel_beyond_the_picture():
    """4 for the answer, 4 for a moment as Pillow shrinks the picture. As floats the picture alone would take 12."""
    done = subprocess.run([sys.executable, "-c", BIG], capture_output=True, text=True, check=True)
    small, big, bytes_a_pixel = done.stdout.splitlines()
    assert (small, big) == ("64 64", "427 512")
    assert 4 <= float(bytes_a_pixel) < 9


# Weights ----------------------------------------------------------------------------------------------------------


def test_weights_are_read_once_and_again_when_the_file_changes(weights, monkeypatch):
    read = []
    load = prediction.load_model
    monkeypatch.setattr(prediction, "load_model", lambda source: read.append(source) or load(source))
    first = predict(noise(40, 40), weights=weights)
    again = predict(noise(40, 40), weights=weights)
    assert len(read) == 1
    np.testing.assert_array_equal(first.probability, again.probability)
    torch.manual_seed(1)
    save_model(weights, build_dirl(SMALL), SMALL, working_size=64, note="another file")
    assert (predict(noise(40, 40), weights=weights).probability != first.probability).any()
    assert len(read) == 2


def test_missing_weights_and_devices_meet_one_line(weights):
    with pytest.raises(FileNotFoundError, match="nowhere: no such weight file"):
        predict(noise(40, 40), weights="nowhere")
    for device in ("cuda:77", "toaster"):
        with pytest.raises(ValueError, match=f"found no device '{device}' here; use cpu") as caught:
            predict(noise(40, 40), weights=weights, device=device)
        assert "\n" not in str(caught.value)


def test_predict_stands_at_the_top_of_the_library():
    assert dirl_lib.predict is predict
    with pytest.raises(AttributeError, match="no attribute 'predikt'"):
        _ = dirl_lib.predikt


# Pictures ---------------------------------------------------------------------------------------------------------


def test_the_mask_is_strictly_above_the_threshold():
    found = Prediction(np.array([[0.2, 0.5, 0.75]], np.float32), np.zeros((1, 3, 3), np.uint8))
    assert found.mask().tolist() == [[False, False, True]]
    assert found.mask(0.1).all()
    with pytest.raises(ValueError, match=r"threshold 50, expected a probability in \[0, 1\]"):
        found.mask(50)


def test_the_overlay_of_one_row_by_hand():
    """The mask begins at column 10: orange up to 1 pixel, dark up to 2 pixels on both sides, then 40 % orange."""
    probability = (np.arange(20) >= 10).astype(np.float32)[None]
    image = np.full((1, 20, 3), 100, np.uint8)
    filled = (152, 124, 60)  # 0.6 * 100 + 0.4 * (230, 159, 0)
    expected = [(100,) * 3] * 8 + [(0,) * 3] + [ORANGE] * 2 + [(0,) * 3] + [filled] * 8
    assert [tuple(pixel) for pixel in Prediction(probability, image).overlay()[0].tolist()] == expected
    assert (image == 100).all()


def test_an_empty_and_a_full_mask_have_no_outline():
    image = noise(30, 40)
    np.testing.assert_array_equal(Prediction(np.zeros((30, 40), np.float32), image).overlay(), image)
    full = Prediction(np.ones((30, 40), np.float32), image).overlay()
    np.testing.assert_allclose(full, 0.6 * image + 0.4 * np.array(ORANGE), atol=0.5)


def test_the_overlay_follows_the_threshold():
    found = Prediction(np.full((30, 40), 0.4, np.float32), np.zeros((30, 40, 3), np.uint8))
    assert not found.overlay().any()
    assert (found.overlay(threshold=0.3)[..., 0] == 92).all()


def test_orange_is_the_orange_of_the_figures():
    assert tuple(round(255 * value) for value in to_rgb(plotting.ORANGE)) == ORANGE


def test_the_heat_map_is_matplotlibs_on_a_scale_that_does_not_move():
    probability = np.array([[0, 0.1, 0.25, 0.4999], [0.5, 0.9, 0.999, 1]], np.float32)
    heat = Prediction(probability, np.zeros((2, 4, 3), np.uint8)).heat_map()
    np.testing.assert_array_equal(heat, colormaps["cividis"](probability, bytes=True)[..., :3])
    alone = Prediction(probability[:1, :2], np.zeros((1, 2, 3), np.uint8)).heat_map()
    np.testing.assert_array_equal(alone, heat[:1, :2])


# The command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def red(monkeypatch):
    monkeypatch.setattr("dirl_lib.weights.load_model", lambda _: Red())


def run(*arguments):
    return main(["predict", *map(str, arguments)])


def test_a_folder_is_predicted_image_by_image_and_again_with_the_same_bytes(tmp_path, weights, capsys):
    photos, out = tmp_path / "meine Photos ü", tmp_path / "a" / "out"
    (photos / "inside").mkdir(parents=True)
    for name in ("b.png", "A b.jpg", "日本.png", "inside/no.png"):
        write_image(photos / name, noise(50, 40))
    (photos / "notes.txt").write_text("no image")
    assert run(photos, "-o", out, "--weights", weights) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{photos}/{name}" for name in ("A b.jpg", "b.png", "日本.png")]
    stems, kinds = ("A b", "b", "日本"), ("mask.png", "overlay.jpg", "heat.png")
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    assert first.keys() == {f"{stem}_{kind}" for stem in stems for kind in kinds}
    assert run(photos, "-o", out, "--weights", weights) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first


@pytest.mark.usefixtures("red")
def test_the_line_and_the_files_say_what_was_found(tmp_path, capsys):
    write_image(tmp_path / "x.png", hot_corner())
    assert run(tmp_path / "x.png", "-o", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert said == f"{tmp_path}/x.png: 7.4% of the picture marked, largest probability 1.000; x_mask.png\n"
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "x_mask.png"), hot_corner()[..., 0] > 127)
    assert read_image(tmp_path / "out" / "x_overlay.jpg").shape == (60, 90, 3)
    heat = read_image(tmp_path / "out" / "x_heat.png")
    np.testing.assert_array_equal([heat[0, 0], heat[0, -1]], colormaps["cividis"]([0.0, 1.0], bytes=True)[:, :3])


@pytest.mark.usefixtures("red")
def test_the_threshold_reaches_the_mask(tmp_path):
    write_image(tmp_path / "x.png", np.full((40, 40, 3), 100, np.uint8))
    for threshold, marked in ((0.3, True), (0.5, False)):
        assert run(tmp_path / "x.png", "-o", tmp_path / "out", "--threshold", threshold) == 0
        assert read_mask(tmp_path / "out" / "x_mask.png").all() == marked
    with pytest.raises(SystemExit) as caught:
        run(tmp_path / "x.png", "-o", tmp_path / "out", "--threshold", "50%")
    assert caught.value.code == 2


@pytest.mark.usefixtures("red")
def test_a_picture_too_long_for_a_jpeg_is_laid_over_in_a_png(tmp_path):
    write_image(tmp_path / "x.png", noise(1, 65501))
    assert run(tmp_path / "x.png", "-o", tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"x_mask.png", "x_overlay.png", "x_heat.png"}


@pytest.mark.usefixtures("red")
def test_photographs_of_one_name_do_not_overwrite_each_other(tmp_path):
    places = ["one/cat.jpg", "one/Cat.png", "two/cat.jpg", "two/cat.png.png"]
    for value, place in enumerate(places):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        write_image(tmp_path / place, np.full((33 + value, 40, 3), 200, np.uint8))
    assert run(*(tmp_path / place for place in places), "-o", tmp_path / "out") == 0
    masks = {path.name: read_mask(path).shape[0] for path in (tmp_path / "out").glob("*_mask.png")}
    assert masks == {"cat_mask.png": 33, "Cat.png_mask.png": 34, "cat.jpg_mask.png": 35, "cat.png.png_mask.png": 36}


@pytest.mark.usefixtures("red")
def test_a_broken_file_stops_or_with_keep_going_is_left_out_and_counted(tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        write_image(photos / name, noise(40, 40))
    (photos / "b.png").write_bytes(b"<html>")
    assert run(photos, "-o", tmp_path / "out") == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out" / "c_mask.png").exists()
    assert run(photos, "-o", tmp_path / "out", "--keep-going") == 1
    shown = capsys.readouterr()
    assert "b.png: found text beginning with '<html>'" in shown.err
    assert "1 left out" in shown.err
    assert len(shown.out.splitlines()) == 2
    assert len(list((tmp_path / "out").iterdir())) == 6


@pytest.mark.usefixtures("red")
def test_results_never_land_among_the_photographs(tmp_path, capsys):
    write_image(tmp_path / "x.png", noise(40, 40))
    assert run(tmp_path, "-o", tmp_path / "nowhere" / "..") == 1
    assert "holds photographs, expected a folder for the results alone" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.usefixtures("red")
def test_a_link_in_the_results_folder_is_replaced_and_not_followed(tmp_path):
    write_image(tmp_path / "x.png", noise(40, 40))
    (tmp_path / "out").mkdir()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "out" / "x_mask.png").symlink_to(tmp_path / "precious")
    assert run(tmp_path / "x.png", "-o", tmp_path / "out") == 0
    assert (tmp_path / "precious").read_text() == "mine"
    assert read_mask(tmp_path / "out" / "x_mask.png").shape == (40, 40)


def test_bad_input_of_the_command_is_one_line_and_makes_no_folder(tmp_path, weights, capsys):
    (tmp_path / "empty").mkdir()
    write_image(tmp_path / "x.png", noise(40, 40))
    x, out = tmp_path / "x.png", tmp_path / "out"
    for arguments, says in (
        ([tmp_path / "empty", "--weights", weights], "empty: found no image"),
        ([x, "--weights", "nowhere"], "nowhere: no such weight file"),
        ([x, "--weights", weights, "--device", "toaster"], "found no device 'toaster' here"),
    ):
        assert run(*arguments, "-o", out) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert says in error
        assert error.count("\n") == 1
        assert not out.exists()
