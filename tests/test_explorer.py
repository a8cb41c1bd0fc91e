"""The explorer without a browser: knobs are turned and buttons clicked by program, pictures and words are read."""

import datetime
import io
import threading

import ipywidgets as widgets
import numpy as np
import pytest
import torch
from PIL import Image

from dirl_lib import darkroom as darkroom_module
from dirl_lib import explorer as explorer_module
from dirl_lib.darkroom import (
    OUTSIDE,
    STRENGTHS,
    Curve,
    Darkroom,
    Photo,
    Question,
    describe,
    mask_from_bytes,
    network_name,
    photo_from_bytes,
    pictures,
    sample_photo,
    seen_from,
)
from dirl_lib.explorer import Explorer, contact_sheet, uploaded
from dirl_lib.images import ImageFileError, read_image, read_mask, to_tensor, write_image
from dirl_lib.metrics import score_images
from dirl_lib.plotting import strength_chart
from dirl_lib.synthesis.editing import Edit, apply_edit
from dirl_lib.synthesis.regions import Region
from dirl_lib.weights import load_model


@pytest.fixture(scope="module")
def cat():
    return sample_photo("chelsea")


@pytest.fixture(scope="module")
def cold(cat):
    question = Question(cat, Region(name="face"), Edit(temperature=-1.5))
    return question, Darkroom().answer(question)


@pytest.fixture(scope="module")
def opened():
    explorer = Explorer()
    assert explorer.wait()
    yield explorer
    explorer.close()


@pytest.fixture
def explorer(opened):
    """The one explorer of this module, as it was when it opened."""
    opened.knobs["photo"].value = None
    turn(opened, photo="chelsea", panel="Colour", network="dirl-small", threshold=0.5, opacity=0.4)
    opened.buttons["reset"].click()
    assert opened.wait()
    opened._history.clear()
    return opened


def turn(explorer, **values):
    for name, value in values.items():
        explorer.knobs[name].value = value
    assert explorer.wait()
    return explorer.answer


def shown(explorer, name):
    return np.asarray(Image.open(io.BytesIO(explorer.screens[name].value)))


def encoded(array, kind="png"):
    Image.fromarray(array).save(buffer := io.BytesIO(), kind)
    return buffer.getvalue()


def drop(upload, name, content):
    """What the page does when a file is chosen, in ipywidgets 7 and 8."""
    if widgets.__version__.startswith("7"):
        upload.set_trait("value", {name: {"metadata": {"name": name}, "content": content}})
    else:
        now = datetime.datetime.now(tz=datetime.UTC)
        file = {"name": name, "type": "image/png", "size": len(content), "last_modified": now}
        upload.value = ({**file, "content": memoryview(content)},)


# --- what is computed ---


def test_the_answer_is_the_networks_to_the_composite(cat, cold):
    question, answer = cold
    np.testing.assert_array_equal(answer.composite, apply_edit(cat.image, cat.masks["face"], question.edit))
    with torch.no_grad():
        mask = load_model("dirl-small")(to_tensor(answer.composite)).mask
    torch.testing.assert_close(answer.look.mask, mask[0, 0], rtol=1e-4, atol=1e-5)
    scores = score_images(mask, torch.from_numpy(cat.masks["face"])[None, None].float())
    assert answer.scores == pytest.approx((scores.ap.item(), scores.f1.item(), scores.iou.item()), abs=1e-3)
    assert answer.marked == pytest.approx(scores.area.item(), abs=1e-3)


def test_nothing_changed_is_nothing_to_find(cat):
    question = Question(cat, Region(name="face"))
    answer = Darkroom().answer(question)
    assert answer.scores is None
    np.testing.assert_array_equal(answer.composite, cat.image)
    assert "false alarm" in describe(question, answer)
    assert Darkroom().curve(question) is None


def test_a_threshold_asks_no_network(cat, monkeypatch):
    calls = []
    monkeypatch.setattr(darkroom_module, "look", lambda *of: calls.append(of) or [look(*of)])
    look = lambda model, images: darkroom_module.Look(model(images).mask[0, 0].detach(), (), (), ())  # noqa: E731
    darkroom, question = Darkroom(), Question(cat, Region(name="face"), Edit(tint=1.0))
    low, high = (darkroom.answer(question._replace(threshold=value)).marked for value in (0.01, 0.99))
    assert low > high
    assert len(calls) == 1
    darkroom.answer(question._replace(edit=Edit(tint=1.5)))
    assert len(calls) == 2


def test_the_curve_ends_at_the_answer_and_begins_at_the_untouched(cold):
    question, answer = cold
    curve = Darkroom().curve(question)
    face = answer.region
    untouched = Darkroom().answer(question._replace(edit=Edit()))
    assert curve.strengths == STRENGTHS
    assert curve.inside[0] == pytest.approx(untouched.look.mask.numpy()[face].mean(), abs=1e-5)
    assert curve.inside[-1] == pytest.approx(answer.look.mask.numpy()[face].mean(), abs=1e-5)
    assert curve.outside[-1] == pytest.approx(answer.look.mask.numpy()[~face].mean(), abs=1e-5)
    assert curve.iou[-1] == pytest.approx(answer.scores.iou)


def test_a_curve_gives_way(cold):
    asked = []
    assert Darkroom().curve(cold[0], stop=lambda: asked.append(1) or len(asked) > 2) is None
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("inside", "threshold", "expected"),
    [
        ((0.1, 0.4, 0.6), 0.5, 0.75),
        ((0.6, 0.1, 0.9), 0.5, 0.0),
        ((0.1, 0.2, 0.3), 0.5, float("inf")),
        ((0.0, 0.8, 0.2), 0.4, 0.25),
    ],
)
def test_seen_from_is_the_first_crossing(inside, threshold, expected):
    curve = Curve((0.0, 0.5, 1.0), inside, inside, inside)
    assert seen_from(curve, threshold) == pytest.approx(expected)


def test_the_pictures_of_an_answer(cold):
    question, answer = cold
    found = pictures(question, answer)
    assert list(found) == ["picture", "mask", "overlay", "A_1", "A_2", "A_3", "A_4", "A_5", "b_5", "a_5"]
    assert found["picture"] is answer.composite
    bare = pictures(question._replace(opacity=0.0), answer)["overlay"]
    marked = answer.look.mask.numpy() > 0.5
    changed = (found["overlay"] != bare).any(axis=2)
    assert changed[marked].mean() > 0.7  # all but the outlines, which are drawn either way
    assert not changed[~marked].any()
    drawn = pictures(question._replace(drawing=True), answer)["picture"]
    assert (drawn != answer.composite).any()


def test_a_polygon_that_is_being_drawn_is_an_empty_region(cat):
    question = Question(cat, Region("polygon", corners="10,10 20,20"), Edit(exposure=1.0))
    answer = Darkroom().answer(question)
    assert not answer.region.any()
    assert describe(question, answer).startswith("chelsea: no region yet")


@pytest.mark.parametrize("corners", ["20,25", "20, 25  80 ,25"])
def test_the_first_corners_are_drawn_before_they_enclose_anything(cat, corners):
    question = Question(cat, Region("polygon", corners=corners, cursor=(50, 90)), drawing=True)
    answer = Darkroom().answer(question)
    drawn = (pictures(question, answer)["picture"] != answer.composite).any(axis=2)
    bare = question._replace(region=Region("polygon", cursor=(50, 90)))
    cross = (pictures(bare, answer)["picture"] != answer.composite).any(axis=2)
    height, width = cross.shape
    at, between = (int(height * 0.25), int(width * 0.20)), (int(height * 0.25), int(width * 0.50))
    assert drawn[at]
    assert drawn[between] == ("80" in corners)
    assert not cross[at]
    assert not cross[between]
    assert cross[int(height * 0.9), int(width * 0.5)]


@pytest.mark.parametrize("corners", ["10,10 90,90 50,50", "20,20 20,20 20,20", "0,0 100,0 0,0 100,0"])
def test_corners_on_one_line_are_a_polygon_that_is_still_being_drawn(cat, corners):
    question = Question(cat, Region("polygon", corners=corners), Edit(exposure=1.0), drawing=True)
    answer = Darkroom().answer(question)
    assert not answer.region.any()
    assert "no region yet" in describe(question, answer)


def test_what_does_not_count_asks_no_network(cat, monkeypatch):
    calls = []
    monkeypatch.setattr(darkroom_module, "look", lambda *of: calls.append(of) or [look(*of)])
    look = lambda model, images: darkroom_module.Look(model(images).mask[0, 0].detach(), (), (), ())  # noqa: E731
    darkroom, question = Darkroom(), Question(cat, Region(name="face", cursor=(1, 1)), Edit(tint=1.0))
    darkroom.answer(question)
    for other in (
        question._replace(region=Region(name="face", cursor=(9, 9), across=(0, 5))),
        question._replace(reference="coffee/cup"),  # without a transfer
        question._replace(drawing=True),
    ):
        darkroom.answer(other)
    assert len(calls) == 1
    darkroom.answer(question._replace(reference="coffee/cup", edit=Edit(tint=1.0, method="reinhard")))
    assert len(calls) == 2


def test_a_network_is_named_so_that_two_files_can_be_told_apart():
    assert network_name("dirl-small-da") == "dirl-small-da"
    assert network_name("runs/paper/best.safetensors") == "paper/best"


def test_an_edit_that_changes_no_pixel_has_no_curve(cat):
    question = Question(cat, Region(name="face"), Edit(method="idt", amount=0.0, exposure=0.0))
    assert Darkroom().curve(question) is None
    hardly = question._replace(edit=Edit(exposure=0.001))  # less than one step of 255
    assert Darkroom().answer(hardly).scores is None
    assert Darkroom().curve(hardly) is None


def test_where_there_is_no_rest_the_curve_has_none(cat):
    whole = Region("rectangle", across=(0, 100), down=(0, 100))
    assert np.isnan(Darkroom().curve(Question(cat, whole, Edit(exposure=1.0))).outside).all()


def test_the_words_name_whose_colours_were_taken(cat):
    question = Question(cat, Region(name="face"), Edit(method="reinhard"), reference="coffee/cup")
    assert "reinhard 100%, colours of coffee/cup. " in describe(question, Darkroom().answer(question))


def test_a_reference_from_the_sample_and_from_the_rest_of_the_photograph(cat):
    darkroom = Darkroom()
    question = Question(cat, Region(name="face"), Edit(method="reinhard"))
    mean = {
        reference: darkroom.answer(question._replace(reference=reference)).composite[cat.masks["face"]].mean(axis=0)
        for reference in (OUTSIDE, "coffee/cup")
    }
    rest = cat.image[~cat.masks["face"]].mean(axis=0)
    assert np.abs(mean[OUTSIDE] - rest).max() < np.abs(mean["coffee/cup"] - rest).max()
    with pytest.raises(ValueError, match="found the reference 'coffee/tea', expected one of: rest of this photo, "):
        darkroom.answer(question._replace(reference="coffee/tea"))


@pytest.mark.parametrize("shape", [(40, 30), (1000, 500), (3, 900), (700, 1)])
def test_photographs_of_any_shape_are_shrunk_and_answered(shape):
    photo = photo_from_bytes("mine.png", encoded(np.full((*shape, 3), 100, np.uint8)))
    assert max(photo.image.shape) <= 256
    assert photo.full_size == shape
    answer = Darkroom().answer(Question(photo, Region("rectangle", (0, 100), (0, 100)), Edit(exposure=1.0)))
    assert answer.look.mask.shape == photo.image.shape[:2]
    assert all(each.ndim == 3 for each in pictures(Question(photo, Region()), answer).values())


@pytest.mark.parametrize("name", ["web page.jpg", "a\nb" * 200])
def test_a_dropped_file_that_is_no_picture_is_one_short_line_with_its_name(name):
    with pytest.raises(ImageFileError) as caught:
        photo_from_bytes(name, b"<html>not found</html>")
    line = str(caught.value)
    assert "found text beginning with '<html>not" in line
    assert line.startswith(("web page.jpg:", "a\\nba\\nb"))
    assert "\n" not in line
    assert len(line) < 300


def test_a_dropped_mask_must_fit_the_file():
    photo = photo_from_bytes("p.png", encoded(np.full((400, 600, 3), 90, np.uint8)))
    mask = np.zeros((400, 600), np.uint8)
    mask[:200] = 255
    found = mask_from_bytes("m.png", encoded(mask), photo).masks["mask file"]
    assert found.shape == photo.image.shape[:2] == (171, 256)
    assert found.mean() == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ImageFileError, match=r"m\.png: found a mask of 200x600 .*, expected 400x600 as in p\.png"):
        mask_from_bytes("m.png", encoded(mask[:200]), photo)
    with pytest.raises(ImageFileError, match=r"m\.png: found a mask without a marked pixel"):
        mask_from_bytes("m.png", encoded(0 * mask), photo)


# --- the widgets ---


def test_a_slider_moves_every_picture_and_the_words(explorer):
    before = {name: screen.value for name, screen in explorer.screens.items()}
    assert explorer.words.value.startswith("chelsea: nothing is changed yet")
    answer = turn(explorer, temperature=-1.5)
    assert all(screen.value != before[name] for name, screen in explorer.screens.items())
    np.testing.assert_array_equal(shown(explorer, "picture"), answer.composite)
    assert f"IoU {answer.scores.iou:.2f}" in explorer.words.value
    assert explorer.curve_words.value.startswith("Seen from ")


@pytest.mark.parametrize("name", ["exposure", "temperature", "tint", "saturation", "contrast"])
def test_each_slider_reaches_its_edit(explorer, name):
    answer = turn(explorer, **{name: 0.5})
    face = sample_photo("chelsea").masks["face"]
    np.testing.assert_array_equal(
        answer.composite, apply_edit(sample_photo("chelsea").image, face, Edit(**{name: 0.5}))
    )


def test_a_drag_ends_with_a_pause_or_another_knob(explorer, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(explorer_module.time, "monotonic", lambda: clock[0])
    for after, name, value in (
        (0, "exposure", 0.5),
        (0.3, "exposure", 1.0),
        (5, "exposure", 1.5),
        (0.1, "threshold", 0.3),
    ):
        clock[0] += after
        explorer.knobs[name].value = value
    for exposure, threshold in ((1.5, 0.5), (1.0, 0.5), (0.0, 0.5)):
        explorer.buttons["undo"].click()
        assert (explorer.knobs["exposure"].value, explorer.knobs["threshold"].value) == (exposure, threshold)


def test_undo_takes_a_whole_drag_back_and_reset_can_be_undone(explorer, monkeypatch):
    monkeypatch.setattr(explorer_module.time, "monotonic", lambda: 1.0)
    start = explorer.screens["picture"].value
    explorer.buttons["reset"].click()  # which changes nothing, and so is no move
    for value in (0.1, 0.2, 0.3):
        explorer.knobs["exposure"].value = value
    turn(explorer, tint=1.0)
    explorer.buttons["undo"].click()
    assert (explorer.knobs["exposure"].value, explorer.knobs["tint"].value) == (0.3, 0.0)
    explorer.buttons["reset"].click()
    assert explorer.knobs["exposure"].value == 0.0
    explorer.buttons["undo"].click()
    assert explorer.knobs["exposure"].value == 0.3
    explorer.buttons["undo"].click()
    assert explorer.wait()
    assert explorer.screens["picture"].value == start
    explorer.buttons["undo"].click()
    assert explorer.note.value == "Nothing to undo."


def test_another_photograph_says_what_becomes_of_the_edit_and_undo_brings_the_first_one_back(explorer):
    cold = turn(explorer, temperature=-1.5).composite
    turn(explorer, photo="coffee")
    assert explorer.note.value == "Opened coffee. The edit is kept; Reset removes it."
    assert explorer.words.value.startswith("coffee, ")
    drop(explorer.knobs["own"], "mine.png", encoded(np.full((60, 90, 3), 120, np.uint8)))
    assert explorer.wait()
    assert explorer.knobs["photo"].value is None
    for name in ("coffee", "chelsea"):
        explorer.buttons["undo"].click()
        assert explorer.wait()
        assert explorer.knobs["photo"].value == name
    np.testing.assert_array_equal(explorer.answer.composite, cold)
    explorer.buttons["reset"].click()
    turn(explorer, photo="coffee")
    assert explorer.note.value == "Opened coffee."
    assert "curve will show" in explorer.curve_words.value


def test_undo_after_a_file_whose_folder_is_no_longer_listed(explorer, tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write_image(tmp_path / folder / "p.png", np.full((50, 60, 3), 90, np.uint8))
    turn(explorer, folder=f'  "{tmp_path / "one"}"  ')  # as a file manager copies it
    first = explorer.answer.composite
    turn(explorer, folder=str(tmp_path / "two"))
    explorer.knobs["folder"].value = ""
    assert explorer.note.value.startswith("Opened p.png. Its region is a rectangle")
    explorer.buttons["undo"].click()
    assert explorer.wait()
    assert explorer.knobs["file"].value is None
    np.testing.assert_array_equal(explorer.answer.composite, first)


def test_the_panel_opens_with_new_upload_buttons(explorer):
    dead = [explorer.knobs[name] for name in ("own", "own_mask")]
    turn(explorer, panel="Photo")
    assert all(upload.comm is None for upload in dead)
    drop(explorer.knobs["own"], "mine.png", encoded(np.full((60, 90, 3), 120, np.uint8)))
    assert explorer.wait()
    assert explorer.words.value.startswith("mine.png: ")


def test_every_kind_of_region_can_be_chosen(explorer):
    turn(explorer, panel="Region", exposure=1.0, kind="rectangle", across=(0.0, 50.0), down=(0.0, 100.0))
    assert explorer.answer.region.mean() == pytest.approx(0.5, abs=0.01)
    turn(explorer, kind="polygon")
    for x, y in ((0.0, 0.0), (100.0, 0.0), (0.0, 100.0)):
        turn(explorer, x=x, y=y)
        explorer.buttons["add"].click()
    assert explorer.knobs["corners"].value == "0,0 100,0 0,100"
    turn(explorer, corners="0, 0 100,0  0 ,100")
    assert explorer.wait()
    assert explorer.answer.region.mean() == pytest.approx(0.5, abs=0.01)
    explorer.buttons["remove"].click()
    assert explorer.wait()
    assert explorer.knobs["corners"].value == "0,0 100,0"
    assert not explorer.answer.region.any()
    turn(explorer, corners="0,0 here")
    explorer.buttons["add"].click()
    assert explorer.note.value.startswith("No answer: found the corner ")
    small = turn(explorer, kind="grow", tolerance=5.0).region.sum()
    assert turn(explorer, tolerance=30.0).region.sum() > small
    assert explorer.knobs["across"].layout.display == "none"
    assert not explorer.knobs["tolerance"].layout.display


def test_a_region_that_is_none_is_a_line_and_the_next_one_is_answered(explorer):
    assert turn(explorer, kind="rectangle", across=(50.0, 50.0)) is None
    assert explorer.note.value.startswith("No answer: found an outline that covers no pixel")
    assert explorer.words.value == explorer.curve_words.value == ""  # not those of the answer before
    blank = {name: screen.value for name, screen in explorer.screens.items()}
    assert len(set(blank.values())) == 1
    assert turn(explorer, across=(20.0, 50.0)) is not None
    assert explorer.note.value == ""
    turn(explorer, across=(50.0, 50.0))
    explorer.buttons["reset"].click()
    assert explorer.wait()
    assert explorer.knobs["across"].value == (25.0, 75.0)
    assert explorer.answer is not None


def test_looking_differently_asks_no_network_not_even_for_the_curve(explorer):
    turn(explorer, temperature=-1.5)
    passes = []
    model = explorer._darkroom._models["dirl-small"]
    hook = model.register_forward_hook(lambda *_: passes.append(1))
    before = explorer.screens["curve"].value
    turn(explorer, threshold=0.3)
    turn(explorer, opacity=0.9)
    turn(explorer, panel="Region", x=20.0, tolerance=40.0)
    turn(explorer, reference="coffee/cup")
    assert explorer.screens["curve"].value != before  # the threshold is drawn into it
    assert not passes
    turn(explorer, temperature=-1.0)
    assert len(passes) == 1 + len(STRENGTHS)
    hook.remove()


def hold_first(monkeypatch, name, *, then=lambda answer: answer):
    """Let the first call of a function of the explorer's module or of the darkroom's wait until it is let go."""
    module = darkroom_module if hasattr(darkroom_module, name) else explorer_module
    whole, inside, go = getattr(module, name), threading.Event(), threading.Event()

    def held(*of, **options):
        if inside.is_set():
            return whole(*of, **options)
        inside.set()
        assert go.wait(60)
        return then(whole(*of, **options))

    monkeypatch.setattr(module, name, held)
    return inside, go


def test_an_old_error_does_not_stand_beside_a_new_answer(explorer, monkeypatch):
    def fails(_):
        raise RuntimeError("out of memory")

    inside, go = hold_first(monkeypatch, "look", then=fails)
    explorer.knobs["exposure"].value = 1.0
    assert inside.wait(60)
    explorer.knobs["exposure"].value = 1.5
    go.set()
    assert explorer.wait()
    assert explorer.note.value == ""
    assert "exposure +1.5" in explorer.words.value


def test_the_curve_of_the_photograph_before_is_not_drawn(explorer, monkeypatch):
    inside, go = hold_first(monkeypatch, "_chart")
    explorer.knobs["exposure"].value = 1.0
    assert inside.wait(60)  # the curve is being drawn
    old = []
    explorer.curve_words.observe(lambda change: old.append(change["new"]), names="value")
    explorer.buttons["reset"].click()
    go.set()
    assert explorer.wait()
    assert old == ["Recolour the region: a curve will show how strong the edit must be."]
    explorer.curve_words.unobserve_all()


def test_another_network_gives_another_answer(explorer):
    first = turn(explorer, temperature=-1.0)
    second = turn(explorer, network="dirl-small-da")
    assert (first.look.mask != second.look.mask).any()
    assert explorer.words.value.count("dirl-small-da") == 1


def test_files_of_ones_own_and_their_errors(explorer, tmp_path):
    before = explorer.screens["picture"].value
    drop(explorer.knobs["own"], "page<b>.jpg", b"<html>no</html>")
    assert explorer.note.value.startswith("Not opened: page&lt;b&gt;.jpg: found text beginning with")
    assert explorer.screens["picture"].value == before
    picture = np.random.default_rng(0).integers(0, 255, (90, 300, 3)).astype(np.uint8)
    drop(explorer.knobs["own"], "mine.png", encoded(picture))
    assert explorer.wait()
    assert explorer.knobs["photo"].value is None
    assert explorer.knobs["kind"].value == "rectangle"
    assert "given" not in explorer.knobs["kind"].options  # there is no mask yet
    assert shown(explorer, "picture").shape == (77, 256, 3)
    assert not explorer.knobs["own"].value
    drop(explorer.knobs["own_mask"], "mask.png", encoded(np.eye(90, 300, dtype=np.uint8)))
    drop(explorer.knobs["own_mask"], "mask.png", encoded(np.full((90, 300), 255, np.uint8)))
    assert explorer.wait()
    assert explorer.answer.region.all()
    assert explorer.note.value == "The region is that of mask.png."
    assert explorer.knobs["kind"].options[0] == explorer.knobs["kind"].value == "given"
    write_image(tmp_path / "b.png", picture)
    write_image(tmp_path / "a.png", picture[:, :90])
    (tmp_path / "c.jpg").write_bytes(b"")
    explorer.knobs["folder"].value = str(tmp_path / "none")
    assert "none: found that it cannot be listed (No such file or directory)" in explorer.note.value
    explorer.knobs["folder"].value = str(tmp_path / "c.jpg")
    assert "c.jpg: the file is empty" in explorer.note.value
    turn(explorer, folder=str(tmp_path / "b.png"))
    assert explorer.note.value.startswith("Opened b.png.")
    (tmp_path / "empty").mkdir()
    explorer.knobs["folder"].value = str(tmp_path / "empty")
    assert "empty: found no picture in it, expected files that end in .bmp, " in explorer.note.value
    explorer.knobs["folder"].value = str(tmp_path)
    assert explorer.wait()
    assert shown(explorer, "picture").shape == (90, 90, 3)
    explorer.knobs["file"].value = str(tmp_path / "c.jpg")
    assert "the file is empty" in explorer.note.value
    assert explorer.knobs["file"].value == str(tmp_path / "a.png")  # whose picture is shown
    explorer.knobs["folder"].value = "~nobody-of-this-name/pictures"
    assert "~nobody-of-this-name/pictures: found that it cannot be listed (no such folder)" in explorer.note.value


def test_a_folder_of_many_files_whose_first_is_broken(explorer, tmp_path, monkeypatch):
    monkeypatch.setattr(explorer_module, "MOST_FILES", 2)
    (tmp_path / "a.jpg").write_bytes(b"")
    for name in "bcd":
        write_image(tmp_path / f"{name}.png", np.full((50, 60, 3), 90, np.uint8))
    before = explorer.words.value
    turn(explorer, folder=str(tmp_path))
    assert "a.jpg: the file is empty" in explorer.note.value
    assert explorer.note.value.endswith("The first 2 of 4 pictures are offered.")
    assert (explorer.knobs["file"].value, explorer.knobs["photo"].value) == (None, "chelsea")
    assert explorer.words.value == before
    assert turn(explorer, file=str(tmp_path / "b.png")).composite.shape == (50, 60, 3)


def test_saving_never_overwrites_and_says_where(explorer, tmp_path):
    turn(explorer, temperature=-1.5, out=str(tmp_path / "new"))
    explorer.buttons["save"].click()
    explorer.buttons["save"].click()
    ends = ("figure", "found", "picture", "region")
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == [f"explorer-00{n}_{end}.png" for n in (1, 2) for end in ends]
    assert explorer.note.value.startswith("Saved as explorer-002_figure.png")
    assert str(tmp_path / "new") in explorer.note.value
    saved = tmp_path / "new/explorer-001"
    np.testing.assert_array_equal(read_image(f"{saved}_figure.png"), explorer.sheet())
    np.testing.assert_array_equal(read_image(f"{saved}_picture.png"), explorer.answer.composite)
    np.testing.assert_array_equal(read_mask(f"{saved}_region.png"), explorer.answer.region)
    np.testing.assert_array_equal(read_mask(f"{saved}_found.png"), explorer.answer.look.mask.numpy() > 0.5)
    (tmp_path / "file").touch()
    explorer.knobs["out"].value = str(tmp_path / "file")
    explorer.buttons["save"].click()
    assert "file cannot be written (File exists)" in explorer.note.value
    for name, line in (("", "Not saved: found no folder"), ("~nobody-of-this-name/x", "Not saved: ")):
        explorer.knobs["out"].value = name
        explorer.buttons["save"].click()
        assert explorer.note.value.startswith(line)


def test_an_error_of_the_network_becomes_a_line(explorer, monkeypatch):
    def fails(*_):
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(darkroom_module, "look", fails)
    assert turn(explorer, exposure=2.0) is None
    assert explorer.note.value == "No answer: out of\\nmemory"


def test_every_knob_is_described_and_every_screen_has_a_fixed_frame(explorer):
    for name, knob in explorer.knobs.items():
        assert knob.description or name == "panel", name
    for screen in explorer.screens.values():
        assert "px" in screen.layout.width  # neither the picture nor what stands beside it decides
        assert "px" in screen.layout.height


def test_knobs_of_a_transfer_are_pale_without_one(explorer):
    pale = [explorer.knobs[name] for name in ("reference", "amount")]
    assert all(knob.disabled for knob in pale)
    turn(explorer, method="reinhard")
    assert not any(knob.disabled for knob in pale)


def test_without_a_region_the_curve_asks_for_one_and_nothing_is_saved(explorer, tmp_path):
    turn(explorer, exposure=1.0, kind="polygon", corners="0,0; 100,0", out=str(tmp_path / "new"))
    assert explorer.curve_words.value.startswith("Set three corners")
    explorer.buttons["save"].click()
    assert explorer.note.value == "Nothing saved: there is no region yet."
    assert not (tmp_path / "new").exists()


def test_a_curve_that_is_no_longer_of_the_question_is_pale(explorer, monkeypatch):
    curve = explorer.screens["curve"]
    turn(explorer, temperature=-1.5)
    assert "dirl-old" not in curve._dom_classes
    inside, go = hold_first(monkeypatch, "look")
    explorer.knobs["temperature"].value = -1.0
    assert inside.wait(60)
    assert "dirl-old" in curve._dom_classes
    assert explorer.curve_words.value == "The curve follows when your hand rests."
    go.set()
    assert explorer.wait()
    assert "dirl-old" not in curve._dom_classes
    assert explorer.curve_words.value.startswith("Seen from ")


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ((0.1, 0.7, 0.8), "Seen from 33% of the edit on: "),
        ((0.1, 0.7, 0.3), "First seen at 33% of the edit, but not at every strength above"),
        ((0.1, 0.2, 0.3), "On average over the region the probability stays below"),
        ((0.6, 0.2, 0.9), "The mean probability in the region is above the threshold even untouched"),
    ],
)
def test_the_curve_in_words_is_true_for_curves_that_fall(inside, words):
    curve = Curve((0.0, 0.5, 1.0), inside, inside, inside)
    assert explorer_module._curve_in_words(curve, 0.5, there_is_a_region=True).startswith(words)


def test_reset_takes_the_view_back_too_but_not_the_photograph(explorer):
    turn(explorer, photo="coffee", threshold=0.9, opacity=0.1, network="dirl-small-da", exposure=1.0)
    explorer.buttons["reset"].click()
    assert explorer.wait()
    values = {name: explorer.knobs[name].value for name in ("photo", "threshold", "opacity", "network", "exposure")}
    assert values == {"photo": "coffee", "threshold": 0.5, "opacity": 0.4, "network": "dirl-small", "exposure": 0.0}


def test_it_is_displayed_as_a_widget_with_words_for_where_there_is_none(explorer):
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("IPython.display.display", lambda *of, **options: shown.append((of[0], options)))
        explorer._ipython_display_()
    (bundle, options), (keys, _) = shown
    assert options == {"raw": True}
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.view.model_id
    assert "run this cell" in bundle["text/plain"]
    assert "data-lm-suppress-shortcuts" in keys["application/javascript"]
    assert keys["text/plain"] == ""


def test_a_closed_explorer_says_so():
    explorer = Explorer(photo="coffee", networks=["dirl-small"])
    explorer.close()
    explorer.knobs["exposure"].value = 1.0
    assert explorer.note.value.startswith("found a closed explorer")
    explorer.buttons["save"].click()
    assert explorer.note.value == "Nothing saved: there is no answer to save."


def test_what_cannot_be_opened_is_refused():
    with pytest.raises(ValueError, match="found no network, expected at least one"):
        Explorer(networks=[])
    with pytest.raises(ValueError, match="found no photo 'dog', expected one of: astronaut"):
        Explorer(photo="dog")


def test_uploads_are_read_in_the_way_of_both_versions():
    old = {"a.png": {"metadata": {"name": "a.png"}, "content": b"12"}}
    new = ({"name": "a.png", "content": memoryview(b"12")},)
    assert uploaded(old) == uploaded(new) == [("a.png", b"12")]
    assert uploaded({}) == uploaded(()) == []


def test_a_contact_sheet_holds_each_tile():
    red, blue = (np.full((40, 80, 3), colour, np.uint8) for colour in ([255, 0, 0], [0, 0, 255]))
    sheet = contact_sheet([("red", red), ("blue", blue)] * 3, "six " * 100)
    for colour in ([255, 0, 0], [0, 0, 255]):
        assert (sheet == colour).all(axis=2).sum() == 3 * 256 * 128
    with pytest.raises(ValueError, match="found no tiles"):
        contact_sheet([], "")


def test_the_strength_chart_shows_the_three_lines_and_the_threshold():
    curve = Curve((0.0, 1.0), (0.1, 0.9), (0.0, 0.2), (0.0, 0.7))
    (axes,) = strength_chart(curve, threshold=0.3).axes
    drawn = [list(line.get_ydata()) for line in axes.lines]
    assert drawn == [[0.1, 0.9], [0.0, 0.2], [0.0, 0.7], [0.3, 0.3]]


def test_two_photographs_are_the_same_only_if_they_are_one():
    image = np.zeros((4, 4, 3), np.uint8)
    assert Photo("a", image, (4, 4)) != Photo("a", image, (4, 4))
