"""Evaluation against scikit-learn, means and floors by hand, intervals by photograph, and the command."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics
from tiny_iharmony4 import TRAIN, make_data_set, with_lists
from tiny_photos import make_photos
from torch import nn

from dirl_lib.cli import main
from dirl_lib.data.cache import prepare
from dirl_lib.data.dataset import MaskedPhotos
from dirl_lib.data.iharmony4 import IHarmony4, read_split
from dirl_lib.data.transforms import Resize
from dirl_lib.evaluation import (
    CentrePrior,
    Constant,
    Estimate,
    Evaluation,
    EvaluationError,
    ImageScore,
    Untouched,
    bootstrap_interval,
    evaluate,
    read_evaluation,
)
from dirl_lib.images import ImageFileError, write_image, write_mask
from dirl_lib.metrics import score_images
from dirl_lib.models import PRESETS
from dirl_lib.models.dirl import build_dirl
from dirl_lib.types import Localization
from dirl_lib.weights import save_model

SIZE = 32


class Redness(nn.Module):
    """Says of each pixel how red it is, in steps, so that ties abound."""

    def forward(self, images):
        return Localization((images[:, :1] * 20).floor() / 20, (), {})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return with_lists(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    config = replace(PRESETS["paper"], width=0.125)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_model(path, build_dirl(config), config, working_size=None)
    return path


def scored(photo="p", score=0.5, **fields):
    """One image on which all three scores are the same."""
    image = ImageScore("model", "image", "", photo, None, 0.25, score, score, score, 0.125)
    return image._replace(**fields)


def rows(evaluation, system="model"):
    return {row.part: row for row in evaluation.table().rows if row.system == system}


# Image by image ------------------------------------------------------------------------------------------------


def test_every_image_scores_what_scikit_learn_says(root):
    data = IHarmony4(root, "trainval", size=SIZE)
    for image, sample in zip(evaluate(Redness(), data).images, data, strict=True):
        truth = sample.mask.flatten().numpy()
        prediction = Redness()(sample.image[None]).mask.flatten().numpy()
        marked = prediction > 0.5
        assert image.name == sample.name
        assert image.ap == pytest.approx(sklearn_metrics.average_precision_score(truth, prediction), abs=1e-9)
        assert image.f1 == pytest.approx(sklearn_metrics.f1_score(truth, marked))
        assert image.iou == pytest.approx(sklearn_metrics.jaccard_score(truth, marked))
        assert (image.region_area, image.predicted_area) == pytest.approx((truth.mean(), marked.mean()))


def test_every_image_says_where_it_comes_from(root):
    found = evaluate(Redness(), IHarmony4(root, "test", size=SIZE), training=read_split(root, "trainval"))
    assert [image[1:5] for image in found.images] == [
        ("c3_9_1", "HCOCO", "c3", False),
        ("c77_1_1", "HCOCO", "c77", True),
        ("f88_1_2", "HFlickr", "f88", True),
    ]
    assert found.label == "subset: HCOCO, HFlickr, split test, 3 images"


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (3, 0), (4, 2)])
def test_batch_size_and_workers_change_no_digit(root, batch_size, workers):
    data = IHarmony4(root, "trainval", size=SIZE)
    assert evaluate(Redness(), data, batch_size=batch_size, workers=workers) == evaluate(Redness(), data)


def test_a_store_gives_the_scores_of_the_files(tmp_path):
    records = make_photos(tmp_path, 3)
    prepare(records, tmp_path / "store", Resize(SIZE))
    stored = MaskedPhotos(records, SIZE, cache=tmp_path / "store")
    assert evaluate(Redness(), stored) == evaluate(Redness(), MaskedPhotos(records, SIZE))


def test_photographs_of_any_folder_have_no_parts_and_nothing_is_known_of_training(tmp_path):
    found = evaluate(Redness(), MaskedPhotos(make_photos(tmp_path, 3), SIZE))
    assert {(image.subset, image.unseen) for image in found.images} == {("", None)}
    assert [image.photo for image in found.images] == ["scene 0", "scene 1", "scene 2"]
    assert list(rows(found)) == ["all"]
    assert found.label == "3 images"


def test_a_picture_without_a_region_tells_only_how_much_is_marked(tmp_path):
    records = make_photos(tmp_path, 2)
    write_mask(records[0].mask_path, np.zeros((64, 96), dtype=bool))
    write_image(records[0].image_path, np.full((64, 96, 3), (255, 0, 0), dtype=np.uint8))
    found = evaluate(Redness(), MaskedPhotos(records, SIZE))
    assert found.images[0][5:] == (0, None, None, None, 1)
    row = rows(found)["all"]
    assert (row.images, row.photographs, row.empty, row.false_alarm) == (1, 1, 1, 1)
    assert row.ap == Estimate(found.images[1].ap, None, None)
    assert row.predicted_area == found.images[1].predicted_area
    assert "without region" in str(found.table())


def test_the_released_protocol_stretches_and_is_named(root, tmp_path):
    class Faint(Redness):
        def forward(self, images):
            found = super().forward(images)
            return found._replace(mask=found.mask / 4)

    data = IHarmony4(root, "test", size=SIZE)
    paper, released = evaluate(Faint(), data), evaluate(Faint(), data, protocol="released")
    assert (paper.protocol, released.protocol) == ("paper", "released")
    assert not any(image.iou for image in paper.images)
    assert all(image.iou > 0.05 for image in released.images)
    for sample, image in zip(data, released.images, strict=True):
        expected = score_images(Faint()(sample.image[None]).mask, sample.mask[None], protocol="released")
        assert image.f1 == expected.f1.item()
    released.write(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["protocol"] == "released"


@pytest.mark.parametrize("training", [True, False])
def test_the_model_runs_in_evaluation_mode_without_gradients_and_keeps_its_mode(root, training):
    seen = []

    class Spy(Redness):
        def forward(self, images):
            seen.append((self.training, torch.is_grad_enabled()))
            return super().forward(images)

    model = Spy().train(training)
    evaluate(model, IHarmony4(root, "test", size=SIZE))
    assert seen == [(False, False)]
    assert model.training is training


def test_the_mode_comes_back_after_an_error_too(root):
    class Broken(nn.Module):
        def forward(self, images):
            return Localization(images[:, :1] * float("nan"), (), {})

    model = Broken()
    with pytest.raises(ValueError, match="prediction holds 3072 NaN"):
        evaluate(model, IHarmony4(root, "test", size=SIZE))
    assert model.training


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_file_is_one_line_or_left_out_and_listed(tmp_path, workers):
    records = make_photos(tmp_path, 4)
    records[2].image_path.write_bytes(b"")
    data = MaskedPhotos(records, SIZE)
    with pytest.raises(ImageFileError, match=r"photo 2.png: the file is empty") as caught:
        evaluate(Redness(), data, workers=workers)
    assert "\n" not in str(caught.value)
    problems, done = [], []
    found = evaluate(Redness(), data, workers=workers, problems=problems, batch_size=2, progress=done.append)
    assert [image.name for image in found.images] == ["photo 0", "photo 1", "photo 3"]
    assert len(problems) == 1
    assert done == [2, 2]


def test_where_every_file_is_bad_there_is_no_table(tmp_path):
    records = make_photos(tmp_path, 1)
    records[0].image_path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of 1 images could be read, the first: .*photo 0.png"):
        evaluate(Redness(), MaskedPhotos(records, SIZE), problems=[])


def test_images_that_keep_their_shape_go_one_by_one(tmp_path):
    data = MaskedPhotos(make_photos(tmp_path, 2), Resize(SIZE, keep_aspect=True))
    assert len(evaluate(Redness(), data, batch_size=1).images) == 2
    with pytest.raises(ValueError, match="expected batch_size=1"):
        evaluate(Redness(), data)


def test_the_control_shows_each_untouched_photograph_once_with_each_of_its_masks(tmp_path):
    composites = make_data_set(tmp_path, [f"HCOCO/composite_images/c1_{end}.jpg" for end in ("1_1", "1_2", "2_1")])
    write_image(composites / "HCOCO/real_images/c1.jpg", np.full((48, 64, 3), 40, dtype=np.uint8))
    (composites / "le50_test.txt").write_text(
        "".join(f"HCOCO/composite_images/c1_{end}.jpg\n" for end in ("1_1", "1_2", "2_1"))
    )
    data = Untouched(IHarmony4(composites, "test", size=SIZE))
    assert [sample.name for sample in data] == ["c1_1", "c1_2"]
    assert float(data[0].image.max()) < 0.2
    found = evaluate(Redness(), data, training=[])
    assert [image[2:5] for image in found.images] == [("HCOCO", "c1", True)] * 2
    assert found.label.startswith("untouched photographs behind subset: HCOCO")


# Floors --------------------------------------------------------------------------------------------------------


def floor_scores(floor, mask, protocol="paper"):
    mask = torch.tensor(mask, dtype=torch.float32).view(1, 1, 4, 4)
    found = score_images(floor(torch.rand(1, 3, 4, 4)).mask, mask, protocol=protocol)
    return [value.item() for value in found[:4]]


def test_a_constant_scores_the_share_of_the_region():
    top_row = [[1] * 4, [0] * 4, [0] * 4, [0] * 4]
    assert floor_scores(Constant(), top_row) == [0.25, 0.4, 0.25, 1]
    assert floor_scores(Constant(), top_row, "released") == [0.25, 0, 0, 0]


def test_the_centre_prior_knows_the_middle_by_hand():
    """Four pixels in the middle, e^-0.25, are above 0.5; then come 8 at the sides, then 4 corners.

    Two hits among 4 pixels and the third among 16: AP = 2/3 * 2/4 + 1/3 * 3/16; F1 = 2 * 2 / (4 + 3); IoU = 2 / 5.
    """
    mask = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert floor_scores(CentrePrior(), mask) == pytest.approx([19 / 48, 4 / 7, 2 / 5, 1 / 4])
    prior = CentrePrior()(torch.rand(2, 3, 4, 4)).mask
    assert prior.shape == (2, 1, 4, 4)
    assert prior[1, 0, 1, 1].item() == pytest.approx(np.exp(-0.25))
    assert prior[0, 0, 0, 3].item() == pytest.approx(np.exp(-2.25))


def test_the_centre_prior_marks_27_percent_of_any_shape():
    for height, width in ((224, 224), (100, 300)):
        marked = (CentrePrior()(torch.zeros(1, 3, height, width)).mask > 0.5).float().mean()
        assert marked.item() == pytest.approx(np.pi * 2 * np.log(2) / 16, abs=0.003)


def test_floors_stand_in_the_same_table_over_the_same_images(root):
    data = IHarmony4(root, "test", size=SIZE)
    found = evaluate(Redness(), data, name="red", floors=True, training=read_split(root, "trainval"))
    assert [(row.part, row.system) for row in found.table().rows] == [
        (part, system)
        for part in ("all", "HCOCO", "HFlickr", "unseen photographs")
        for system in ("red", "centre prior", "all of it")
    ]
    everything = rows(found, "all of it")["all"]
    assert everything.images == 3
    assert everything.ap.mean == pytest.approx(np.mean([float(sample.mask.mean()) for sample in data]))


def test_one_system_by_itself_has_the_scores_it_has_among_the_floors(root):
    data = IHarmony4(root, "test", size=SIZE)
    both = evaluate(Redness(), data, name="red", floors=True)
    alone = evaluate(Redness(), data, name="red")
    assert both.only("red") == alone
    with pytest.raises(ValueError, match="found no scores of 'unknown', expected one of: red, "):
        both.only("unknown")


# Means and intervals -------------------------------------------------------------------------------------------


def test_means_weigh_each_image_the_same_by_hand():
    images = (
        scored("c1", subset="HCOCO", ap=0.2, f1=0.1, iou=0.0, unseen=True, predicted_area=0.5),
        scored("c1", subset="HCOCO", ap=0.4, f1=0.3, iou=0.2, unseen=True, predicted_area=0.1),
        scored("c2", subset="HCOCO", ap=0.9, f1=0.8, iou=0.7, unseen=False, predicted_area=0.0),
        scored("f1", subset="HFlickr", ap=0.5, f1=0.4, iou=0.3, unseen=False, predicted_area=0.2),
    )
    parts = rows(Evaluation(images, "paper", "four"))
    assert {part: (row.images, row.photographs) for part, row in parts.items()} == {
        "all": (4, 3),
        "HCOCO": (3, 2),
        "HFlickr": (1, 1),
        "unseen photographs": (2, 1),
    }
    means = {part: [row.ap.mean, row.f1.mean, row.iou.mean, row.predicted_area] for part, row in parts.items()}
    assert means["all"] == pytest.approx([0.5, 0.4, 0.3, 0.2])
    assert means["HCOCO"] == pytest.approx([0.5, 0.4, 0.3, 0.2])
    assert means["HFlickr"] == pytest.approx([0.5, 0.4, 0.3, 0.2])
    assert means["unseen photographs"] == pytest.approx([0.3, 0.2, 0.1, 0.3])
    assert parts["all"].ap.low < 0.5 < parts["all"].ap.high


def test_a_single_photograph_has_no_interval():
    parts = rows(Evaluation((scored("p", 0.2), scored("p", 0.6)), "paper", "two"))
    assert parts["all"].ap == Estimate(pytest.approx(0.4), None, None)


def test_photographs_of_one_name_in_two_subsets_are_two():
    images = (scored("1", subset="A"), scored("1", subset="B"))
    assert rows(Evaluation(images, "paper", "two"))["all"].photographs == 2


def test_without_a_region_anywhere_there_are_no_means():
    nothing = scored(ap=None, f1=None, iou=None, region_area=0.0, predicted_area=0.5)
    row = rows(Evaluation((nothing,), "paper", "one"))["all"]
    assert row[2:] == (0, 0, None, None, None, None, 1, 0.5)


def interval(values, photos):
    low, high = bootstrap_interval(np.array(values)[:, None], photos, np.random.default_rng(0))
    return low[0], high[0]


def test_composites_of_one_photograph_do_not_narrow_the_interval():
    """Eight equal composites of each photograph say no more than one; taken for eight they would say sqrt(8) more."""
    of_photo = np.random.default_rng(1).random(40)
    values, photos = np.repeat(of_photo, 8), np.repeat(np.arange(40), 8)
    low, high = interval(values, photos)
    assert (low, high) == pytest.approx(interval(of_photo, range(40)))
    too_low, too_high = interval(values, range(320))
    assert (high - low) / (too_high - too_low) == pytest.approx(np.sqrt(8), rel=0.1)


def test_the_interval_is_the_normal_one_where_images_are_many_and_independent():
    values = np.random.default_rng(2).random(1000)
    error = values.std() / np.sqrt(1000)
    expected = (values.mean() - 1.96 * error, values.mean() + 1.96 * error)
    assert interval(values, range(1000)) == pytest.approx(expected, abs=0.1 * error)


def test_about_95_of_100_intervals_hold_the_truth():
    """30 photographs with two to five composites each; both vary, around 0. Percentiles fall a little short with 30."""
    rng, held = np.random.default_rng(3), 0
    for _ in range(200):
        photos = np.repeat(np.arange(30), rng.integers(2, 6, 30))
        values = rng.normal(size=30)[photos] + 0.5 * rng.normal(size=len(photos))
        low, high = interval(values, photos)
        held += low <= 0 <= high
    assert 0.89 <= held / 200 <= 0.99


def test_a_table_is_the_same_each_time_it_is_made():
    images = tuple(scored(str(photo), photo / 10) for photo in range(8))
    assert Evaluation(images, "paper", "8").table() == Evaluation(images, "paper", "8").table()


# Tables and files ----------------------------------------------------------------------------------------------

THREE = Evaluation(
    (scored("p", 0.25), scored("p", 0.75), scored("q", ap=None, f1=None, iou=None)), "paper", "three images"
)


def test_columns_stand_under_each_other():
    head, line = str(THREE.table()).splitlines()
    assert line.split() == ["all", "model", "2", "1", "50.00", "0.5000", "50.00", "12.50", "1", "12.50"]
    for title, cell in (("AP %", "50.00"), ("F1", "0.5000"), ("without region", " 1")):
        assert line[head.index(title) + len(title) - len(cell) :].startswith(cell)


def test_markdown_has_one_line_a_row():
    head, rule, line = THREE.table().markdown().splitlines()
    assert {text.count("|") for text in (head, rule, line)} == {11}
    assert "| 50.00 | 0.5000 | 50.00 |" in line


def test_an_interval_stands_behind_its_mean():
    found = str(Evaluation((scored("p", 0.0), scored("q", 1.0)), "paper", "two").table())
    assert "50.00 [0.00, 100.00]  0.5000 [0.0000, 1.0000]" in found


def test_every_digit_comes_back_from_the_files(root, tmp_path):
    data = IHarmony4(root, "test", size=SIZE)
    found = evaluate(Redness(), data, floors=True, training=read_split(root, "trainval"))
    found.write(tmp_path / "new" / "folder", weights={"a": "b"})
    again = read_evaluation(tmp_path / "new" / "folder")
    assert again == found
    assert again.table() == found.table()
    summary = json.loads((tmp_path / "new" / "folder" / "summary.json").read_text())
    assert summary["data"] == found.label
    assert summary["weights"] == {"a": "b"}
    assert {"command", "commit", "versions", "hardware", "date"} <= summary.keys()
    assert summary["table"][0]["ap"]["mean"] == found.table().rows[0].ap.mean


def test_none_and_odd_names_come_back(tmp_path):
    odd = Evaluation((scored('a, "b"', name="é\n", unseen=False), THREE.images[2]), "paper", "odd")
    odd.write(tmp_path)
    assert read_evaluation(tmp_path) == odd


@pytest.mark.parametrize(
    ("file", "content", "error", "says"),
    [
        ("per_image.csv", None, FileNotFoundError, "no such file; expected a folder written by"),
        ("summary.json", "{", EvaluationError, "found no protocol and data"),
        ("summary.json", '{"protocol": "mine", "data": ""}', EvaluationError, "found the protocol 'mine'"),
        ("per_image.csv", "", EvaluationError, "found the columns , expected system"),
        ("per_image.csv", "name,ap\n", EvaluationError, "found the columns name, ap, expected system"),
        ("per_image.csv", ("0.75", "much"), EvaluationError, "line 3: found 'model,image,"),
        ("per_image.csv", ("0.125", ""), EvaluationError, "line 2: found 'model,image,"),
    ],
)
def test_damaged_files_are_refused(tmp_path, file, content, error, says):
    THREE.write(tmp_path)
    path = tmp_path / file
    if content is None:
        path.unlink()
    else:
        path.write_text(path.read_text().replace(*content) if isinstance(content, tuple) else content)
    with pytest.raises(error, match=says) as caught:
        read_evaluation(tmp_path)
    assert file in str(caught.value)


# The command ---------------------------------------------------------------------------------------------------


def run(*arguments):
    return main(["evaluate", *map(str, arguments), "--device", "cpu"])


def test_the_command_says_what_was_measured_and_stores_it(root, weights, tmp_path, capsys):
    assert run(root, "--weights", weights, "--size", SIZE, "--out", tmp_path / "scores") == 0
    shown = capsys.readouterr().out
    for words in ("subset: HCOCO, HFlickr", "32 x 32", "tiny.safetensors (SHA-256 ", "protocol: paper", "centre prior"):
        assert words in shown
    stored = read_evaluation(tmp_path / "scores")
    assert str(stored.table()) in shown
    assert rows(stored, "tiny")["unseen photographs"].images == 2
    summary = json.loads((tmp_path / "scores" / "summary.json").read_text())
    assert summary["config"]["width"] == 0.125
    assert len(summary["weights"]["tiny.safetensors"]) == 64
    assert summary["size_px"] == SIZE


def test_the_command_takes_two_folders_and_keeps_going(weights, tmp_path, capsys):
    for room in ("photos", "masks"):
        (tmp_path / room).mkdir()
    for photo in make_photos(tmp_path / "made", 3):
        photo.image_path.rename(tmp_path / "photos" / f"{photo.name}.png")
        photo.mask_path.rename(tmp_path / "masks" / f"{photo.name}.png")
    options = [tmp_path / "photos", tmp_path / "masks", "--weights", weights, "--size", SIZE]
    assert run(*options, "--protocol", "released", "--batch-size", 2) == 0
    assert "protocol: released" in capsys.readouterr().out
    (tmp_path / "photos" / "photo 1.png").write_bytes(b"")
    assert run(*options) == 1
    assert "photo 1.png: the file is empty" in capsys.readouterr().err
    assert run(*options, "--keep-going") == 1
    shown = capsys.readouterr()
    assert "1 left out" in shown.err
    assert "all     tiny" in shown.out


def test_the_command_takes_a_table(weights, tmp_path, capsys):
    photos = make_photos(tmp_path, 4)
    lines = [f"{one.image_path.name},{one.mask_path.name},{one.split}\n" for one in photos]
    (tmp_path / "index.csv").write_text("image,mask,split\n" + "".join(lines))
    assert run(tmp_path / "index.csv", "--weights", weights, "--size", SIZE, "--split", "test") == 0
    assert "images: 1 images, at 32 x 32" in capsys.readouterr().out


def test_the_command_shows_untouched_photographs(root, weights, capsys):
    assert run(root, "--weights", weights, "--size", SIZE, "--untouched") == 0
    assert "untouched photographs behind subset: HCOCO, HFlickr" in capsys.readouterr().out


def test_without_a_training_list_the_command_says_that_unseen_is_unknown(weights, tmp_path, capsys):
    composites = make_data_set(tmp_path, TRAIN[:2])
    (composites / "le50_test.txt").write_text("".join(f"{entry}\n" for entry in TRAIN[:2]))
    assert run(composites, "--weights", weights, "--size", SIZE) == 0
    shown = capsys.readouterr().out
    assert "which photographs are unseen is not known: " in shown
    assert "unseen photographs" not in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["a", "b", "c"], "found 3 sources"),
        (["nothing.csv"], "no such table"),
        (["{root}", "--weights", "none.safetensors"], "none.safetensors: no such weight file"),
        (["{root}", "--released", "none.pth", "none.pth"], "none.pth: no such weight file"),
        (["{root}", "--split", "tset"], "found the split 'tset'"),
        (["{root}", "--kind", "natural"], "found --kind"),
        (["{root}", "--untouched", "--cache", "store"], "found --cache"),
        (["a", "b", "--split", "test"], "found --split"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(root, weights, tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    known = [] if {"--weights", "--released"} & set(arguments) else ["--weights", weights]
    assert run(*(word.format(root=root) for word in arguments), *known) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    assert says in error
    assert not list(tmp_path.iterdir())


def test_a_device_that_is_not_there_is_one_line(root, weights, capsys):
    assert main(["evaluate", str(root), "--weights", str(weights), "--device", "gpu7"]) == 1
    assert "error: found no device 'gpu7' here" in capsys.readouterr().err


def test_no_warning_reaches_the_user(root, weights):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(root, "--weights", weights, "--size", SIZE) == 0
