"""The mask explorer of notebook 12: choose a photograph and a region, recolour it, and watch mask and attention answer.

    Explorer()                                       # as the last line of a cell
    explorer = Explorer(photo="flower")
    explorer.knobs["exposure"].value = 1.5           # by program, as by hand
    explorer.wait()
    explorer.answer.scores, explorer.words.value

Only what ipywidgets 7.7 and 8 have in common is used, so it works in JupyterLab, Notebook, VS Code and Colab without an
extension. Every knob is reached by Tab and turned by the arrow keys. Pictures have fixed places: nothing jumps.
"""

from __future__ import annotations

import html
import io
import time
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import ipywidgets as widgets
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dirl_lib.darkroom import (
    OUTSIDE,
    Answer,
    Curve,
    Darkroom,
    Photo,
    Question,
    describe,
    mask_from_bytes,
    network_name,
    photo_from_bytes,
    photo_from_file,
    pictures,
    reference_names,
    sample_photo,
    seen_from,
    what_counts,
)
from dirl_lib.data.folders import IMAGE_ENDINGS
from dirl_lib.data.sample import list_samples
from dirl_lib.images import printable, write_image, write_mask
from dirl_lib.latest import LatestOnly
from dirl_lib.metrics import THRESHOLD
from dirl_lib.synthesis.color_transfer import METHODS
from dirl_lib.synthesis.editing import RANGES, Edit
from dirl_lib.synthesis.regions import KINDS, Place, Region, parse_corners
from dirl_lib.weights import IN_THE_BOX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Explorer", "contact_sheet", "uploaded"]

LEFT = 300
"""Pixels of a knob with its words."""
MAIN = f"clamp(156px, min((100cqw - {LEFT + 50}px) / 3, 21cqw), 384px)"
"""CSS length of the frame of each of the three large pictures: a third of what the knobs leave of the explorer's width,
and no more than leaves room for the maps below. In JupyterLab they stand beside the knobs from 1280 pixels on."""
SMALL = f"calc({MAIN} * 3 / 7 - 2px)"
"""CSS length of the frame of each of the seven maps, which together are as wide as the three large pictures."""
ACROSS = f"calc({MAIN} * 3 + 32px)"
"""CSS length of the three large pictures with their margins."""
STYLE_SHEET = """<style>
.dirl-explorer { container-type: inline-size; }
.dirl-explorer:focus { outline: none; }
.dirl-explorer .widget-html-content { line-height: 1.3; }
.dirl-explorer .dirl-old { opacity: 0.3; }
</style>"""
KEYS = """\
addEventListener("keydown", event => {
  if (event.target.closest?.(".dirl-explorer"))
    event.target.toggleAttribute("data-lm-suppress-shortcuts", !(event.ctrlKey || event.metaKey || event.altKey));
}, true);
addEventListener("click", event => {
  const explorer = event.target.closest?.(".dirl-explorer");
  if (explorer && !explorer.contains(document.activeElement))
    Object.assign(explorer, { tabIndex: -1 }).focus({ preventScroll: true });
});"""
"""Keys that go to the explorer are no commands of JupyterLab, for which x alone cuts the cell; with Ctrl they remain
commands. A click on a picture gives the keys to the explorer. Elsewhere than in JupyterLab this does nothing."""
MOST_FILES = 500
"""Of a folder so many pictures are offered; a longer list is slow in a browser."""

SCREENS = {
    "picture": "picture",
    "mask": "how sure: blue 0, yellow 1",
    "overlay": "orange found, blue region",
    "A_1": "A<sub>1</sub>",
    "A_2": "A<sub>2</sub>",
    "A_3": "A<sub>3</sub>",
    "A_4": "A<sub>4</sub>",
    "A_5": "A<sub>5</sub>",
    "b_5": "b<sub>5</sub>",
    "a_5": "a<sub>5</sub>",
}
"""What each picture is called on the page."""
LEGEND = "A: attention, fine to coarse; b, a: coarsest features before and after it."

SOURCES = ("photo", "file")
EDITING = (*RANGES, "method", "reference")
VIEWING = ("threshold", "opacity", "network")
PLACING = ("kind", "given", "across", "down", "corners", "x", "y", "tolerance")
UNDONE = (*SOURCES, *EDITING, *VIEWING, *PLACING)
"""The knobs that undo takes back."""
ONE_DRAG = 1.0
"""Seconds: values of one knob that follow each other faster are one move."""

OF_KIND = {
    "given": ("given",),
    "rectangle": ("across", "down"),
    "polygon": ("x", "y", "corners"),
    "grow": ("x", "y", "tolerance"),
}
"""The knobs that belong to a kind of region; the others are hidden."""

PANELS = ("Photo", "Region", "Colour", "Save")


class _Moment(NamedTuple):
    """What undo brings back."""

    photo: Photo
    values: dict[str, Any]
    """Of the knobs, by name."""


class Explorer:
    """Knobs on the left, the network's answer on the right; displayed as it is.

    Args:
        photo: of the sample data, the one to begin with.
        networks: names of models of the kit, or weight files; None offers every model of the kit.
        folder: where "Save" writes; made when it is first needed.

    Raises:
        ValueError: no such photograph, or no network at all.
    """

    knobs: dict[str, Any]
    """Everything that has a value, by name: "photo", "kind", "exposure", "threshold", ..."""
    buttons: dict[str, Any]
    """"add", "remove", "undo", "reset", "save"."""
    screens: dict[str, Any]
    """The pictures as PNG, by the names of `darkroom.pictures`, and "curve"."""
    words: Any
    """The answer as a sentence (`darkroom.describe`)."""
    curve_words: Any
    """From which strength on the network sees the edit."""
    note: Any
    """The last error or the last thing saved, one line."""
    view: Any
    """All of it, to be displayed."""

    def __init__(
        self,
        *,
        photo: str = "chelsea",
        networks: Sequence[str] | None = None,
        folder: str | Path = "explorer",
    ) -> None:
        names = list(networks if networks is not None else sorted(IN_THE_BOX, key=len))
        if not names:
            raise ValueError("found no network, expected at least one: a model of the kit, or a weight file")
        self._photo = sample_photo(photo)
        self._darkroom = Darkroom()
        self._quiet = False
        self._history: list[_Moment] = []
        self._last_moved, self._last_time = "", 0.0
        self._question: Question | None = None
        self._answered: tuple[Question, Answer] | None = None
        self._make_knobs(names, str(folder))
        self._make_screens()
        self._offer_regions()
        self._present = self._positions()
        self._start = self._present.values
        self._listen()
        self.view = self._layout()
        self._worker = LatestOnly(self._show, self._fail, finish=self._show_curve)
        self._ask()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        view = {"model_id": self.view.model_id, "version_major": 2, "version_minor": 0}
        text = "The explorer: run this cell, and its knobs and pictures appear here."
        shown = {"text/plain": text, "application/vnd.jupyter.widget-view+json": view}
        display(shown, raw=True)  # type: ignore[no-untyped-call]
        display({"text/plain": "", "application/javascript": KEYS}, raw=True)  # type: ignore[no-untyped-call]

    @property
    def answer(self) -> Answer | None:
        """The newest answer; None before the first, and after a question that had none."""
        return self._answered[1] if self._answered else None

    def wait(self, timeout: float = 60.0) -> bool:
        """Wait until the pictures and the curve have followed the knobs; for programs. False if it took too long."""
        return self._worker.wait(timeout)

    def sheet(self) -> NDArray[np.uint8]:
        """The newest answer as one figure, uint8 (H, W, 3): what Save writes.

        Raises:
            ValueError: there is no answer.
        """
        if self._answered is None:
            raise ValueError("found no answer, expected one to show; wait for it, or turn another knob")
        question, answer = self._answered
        shown = pictures(question, answer)
        titles = {"picture": "picture", "mask": "how sure", "overlay": "overlay"} | {
            name: name for name in shown if "_" in name
        }
        words = f"{describe(question, answer)} {html.unescape(self.curve_words.value)}"
        return contact_sheet([(title, shown[name]) for name, title in titles.items()], words)

    def close(self) -> None:
        """Stop the thread; the widgets stay on the page and answer no more."""
        self._worker.close()

    # --- what there is to turn ---

    def _make_knobs(self, networks: list[str], folder: str) -> None:
        photos = list(dict.fromkeys(record.photo for record in list_samples()))
        one = RANGES | {"threshold": (0.0, 1.0), "opacity": (0.0, 1.0), "x": (0.0, 100.0), "y": (0.0, 100.0)}
        start = {name: getattr(Edit(), name) for name in RANGES} | {
            "threshold": THRESHOLD,
            "opacity": 0.4,
            "x": 50.0,
            "y": 50.0,
        }
        self.knobs = {name: _slider(name, start[name], *limits) for name, limits in one.items()}
        self.knobs |= {
            "photo": _dropdown("sample", photos, self._photo.name),
            "folder": _text("folder", "", "a folder of pictures"),
            "file": _dropdown("file", [], None),
            "kind": _dropdown("region", list(KINDS), "given"),
            "given": _dropdown("mask", [], None),
            "across": _range("left, right"),
            "down": _range("top, bottom"),
            "corners": _text("corners, %", "", "20,30 60,30 40,80"),
            "tolerance": _slider("tolerance", Region().tolerance, 0.0, 60.0),
            "method": _dropdown("transfer", [("none", ""), *((name, name) for name in METHODS)], ""),
            "reference": _dropdown("colours of", reference_names(), OUTSIDE),
            "network": _dropdown("network", [(network_name(name), name) for name in networks], networks[0]),
            "out": _text("to folder", folder, "explorer"),
            "panel": widgets.ToggleButtons(options=PANELS, value="Colour", style={"button_width": "70px"}),
        }
        self._make_uploads()
        self.buttons = {
            "add": _button("Add corner", "the cursor becomes a corner"),
            "remove": _button("Remove corner", "the last corner goes"),
            "undo": _button("Undo", "take the last move back"),
            "reset": _button("Reset", "everything but the photograph as it was at the beginning"),
            "save": _button("Save", "figure, picture, region and mask as PNG"),
        }
        self.words, self.note, self.curve_words = (widgets.HTML() for _ in range(3))

    def _make_uploads(self) -> None:
        """New ones each time the panel opens: one whose file was too large for the connection stays dead."""
        for name, title, take in (("own", "From disk", self._take_upload), ("own_mask", "Its mask", self._take_mask)):
            if name in self.knobs:
                self.knobs[name].close()
            upload = widgets.FileUpload(accept="image/*", description=title, layout=_box(width="144px"))
            if upload.has_trait("tooltip"):  # not in ipywidgets 7
                upload.tooltip = "a picture" if name == "own" else "its region, white on black"
            upload.observe(take, names="value")
            self.knobs[name] = upload

    def _make_screens(self) -> None:
        self.screens = {
            name: widgets.Image(value=BLANK, format="png", layout=_frame(MAIN if number < 3 else SMALL))
            for number, name in enumerate(SCREENS)
        }
        self.screens["curve"] = widgets.Image(value=BLANK, format="png", layout=_box(width="300px", height="165px"))

    def _listen(self) -> None:
        for name in (*EDITING, *PLACING, *VIEWING):
            self.knobs[name].observe(self._moved(name), names="value")
        actions: dict[str, Callable[[Any], None]] = {
            "photo": self._take_sample,
            "folder": self._list_folder,
            "file": self._take_file,
            "panel": lambda _: self._show_panel(),
        }
        for name, action in actions.items():
            self.knobs[name].observe(action, names="value")
        clicks = {
            "add": self._add_corner,
            "remove": self._remove_corner,
            "undo": self._undo,
            "reset": self._reset,
            "save": self._save,
        }
        for name, click in clicks.items():
            self.buttons[name].on_click(lambda _, click=click: click())

    def _layout(self) -> Any:
        knobs, buttons = self.knobs, self.buttons
        self._hints = {
            "polygon": _hint(
                "x and y move the cross, <i>Add corner</i> sets a corner there. (The picture takes no clicks.)"
            ),
            "grow": _hint(
                "x and y move the cross. What hangs together with it and looks alike is taken: a colour apart "
                "by 2 is just seen to differ."
            ),
        }
        self._corner_buttons = widgets.HBox([buttons["add"], buttons["remove"]])
        self._uploads = widgets.HBox([knobs["own"], knobs["own_mask"]])
        self._panels = {
            "Photo": [
                knobs["photo"],
                self._uploads,
                _hint("A mask is white on black, of equal size."),
                knobs["folder"],
                knobs["file"],
                _hint(
                    "A large file does not arrive? Open it by its folder. Are the buttons silent since? Change "
                    "the panel and come back."
                ),
            ],
            "Region": [
                *(knobs[name] for name in PLACING if name != "corners"),
                knobs["corners"],
                self._corner_buttons,
                *self._hints.values(),
            ],
            "Colour": [knobs[name] for name in (*list(RANGES)[:-1], "method", "reference", "amount")],
            "Save": [
                knobs["out"],
                buttons["save"],
                _hint("Four PNG files with a new number, pictures of 256 pixels; nothing is overwritten."),
            ],
        }
        self._panel = widgets.VBox(layout=_box(height="270px", width=f"{LEFT}px"))
        self._show_kind()
        self._show_panel()
        controls = widgets.VBox(
            [
                knobs["panel"],
                self._panel,
                widgets.HBox([buttons["undo"], buttons["reset"]]),
                knobs["network"],
                self.screens["curve"],
                self.curve_words,
            ],
            layout=_box(width=f"{LEFT + 16}px"),
        )
        titled = {
            name: widgets.VBox([_title(title), self.screens[name]], layout=_box(margin="0 4px 0 0", overflow="hidden"))
            for name, title in SCREENS.items()
        }
        large, small = list(titled.values())[:3], list(titled.values())[3:]
        self.words.layout.height = "84px"
        self.note.layout.height = "44px"
        self.curve_words.layout.height, self.curve_words.layout.width = "60px", f"{LEFT}px"
        answer = widgets.VBox(
            [
                widgets.HBox(large),
                widgets.HBox([knobs["threshold"], knobs["opacity"]]),
                widgets.HBox(small),
                _hint(LEGEND),
                self.words,
                self.note,
            ],
            layout=_box(width=ACROSS),
        )
        style = widgets.HTML(STYLE_SHEET, layout=_box(display="none"))
        view = widgets.HBox([style, controls, answer], layout=_box(flex_flow="row wrap", width="100%"))
        view.add_class("dirl-explorer")
        return view

    def _show_panel(self) -> None:
        if self.knobs["panel"].value == "Photo":
            self._make_uploads()
            self._uploads.children = [self.knobs["own"], self.knobs["own_mask"]]
        self._panel.children = self._panels[self.knobs["panel"].value]
        if self._question is not None:
            self._ask()  # the region is drawn while it is chosen

    def _show_kind(self) -> None:
        wanted = OF_KIND[self.knobs["kind"].value]
        for name in PLACING[1:]:
            self.knobs[name].layout.display = "" if name in wanted else "none"
        self._corner_buttons.layout.display = "" if "corners" in wanted else "none"
        for kind, hint in self._hints.items():
            hint.layout.display = "" if kind == self.knobs["kind"].value else "none"

    # --- from knobs to a question ---

    def _ask(self, told: str = "") -> None:
        """Ask what the knobs ask, and tell a line beside it."""
        names = (*PLACING, *VIEWING, "reference")
        value = {name: self.knobs[name].value for name in names}
        region = Region(
            value["kind"],
            name=value["given"] or "",
            across=value["across"],
            down=value["down"],
            corners=value["corners"],
            cursor=(value["x"], value["y"]),
            tolerance=value["tolerance"],
        )
        question = Question(
            self._photo,
            region,
            self._edit(),
            reference=value["reference"],
            network=value["network"],
            threshold=value["threshold"],
            opacity=value["opacity"],
            drawing=self.knobs["panel"].value == "Region",
        )
        self._age_curve(question)
        self._question = question
        self._light_up()
        self._tell(told)
        try:
            self._worker.submit(question)
        except RuntimeError as error:  # closed
            self._tell(str(error))

    def _age_curve(self, question: Question) -> None:
        """What the curve shows until the hand rests is that of a question before: say so."""
        before = self._question
        if before is None or question.photo is not before.photo:
            self.screens["curve"].value = BLANK
        if before is None or (what_counts(question), question.network) != (what_counts(before), before.network):
            self.screens["curve"].add_class("dirl-old")
            self.curve_words.value = "The curve follows when your hand rests."

    def _edit(self) -> Edit:
        return Edit(method=self.knobs["method"].value, **{name: self.knobs[name].value for name in RANGES})

    def _light_up(self) -> None:
        """Knobs that a transfer alone has are pale without one."""
        for name in ("reference", "amount"):
            self.knobs[name].disabled = not self.knobs["method"].value

    def _moved(self, name: str) -> Callable[[Any], None]:
        def moved(_change: Any) -> None:
            if name == "kind":
                self._show_kind()
            if self._quiet:
                return
            # A drag sends a hundred values; it is one move, and one undo takes it back.
            now = time.monotonic()
            if name != self._last_moved or now > self._last_time + ONE_DRAG:
                self._history.append(self._present)
            self._last_moved, self._last_time = name, now
            self._present = self._positions()
            self._ask()

        return moved

    def _positions(self) -> _Moment:
        return _Moment(self._photo, {name: self.knobs[name].value for name in UNDONE})

    @contextmanager
    def _one_move(self, told: str = "") -> Iterator[None]:
        """Several knobs turned at once, by program: one question at the end, with a line beside it."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False
            self._last_moved = ""
            self._present = self._positions()
            self._ask(told)

    def _undo(self) -> None:
        if not self._history:
            self._tell("Nothing to undo.")
            return
        self._photo, values = self._history.pop()
        with self._one_move():
            self._offer_masks()
            self._choose_sources(values)
            for name in (*EDITING, *PLACING, *VIEWING):
                self.knobs[name].value = values[name]

    def _reset(self) -> None:
        before = self._present
        with self._one_move():
            for name in (*EDITING, *PLACING, *VIEWING):
                if name not in ("kind", "given"):
                    self.knobs[name].value = self._start[name]
            self._choose_first_region()
        if self._present != before:
            self._history.append(before)

    # --- photographs and regions ---

    def _take(self, get: Callable[[], Photo], source: str = "own") -> None:
        """Another photograph; one that cannot be used leaves everything as it is and says why."""
        if self._quiet:
            return
        try:
            photo = get()
        except (OSError, ValueError) as error:
            self._tell(f"Not opened: {error}")
            self._choose_sources(self._present.values)
            return
        self._history.append(self._present)
        self._photo = photo
        kept = "" if self._edit().changes_nothing else " The edit is kept; Reset removes it."
        region = "" if photo.masks else " Its region is a rectangle in the middle, until you choose another."
        with self._one_move(f"Opened {photo.name}.{region}{kept}"):
            self._choose_sources({source: self.knobs[source].value} if source in SOURCES else {})
            self._offer_regions()

    def _choose_sources(self, values: Mapping[str, Any]) -> None:
        """Show where the photograph comes from, without opening anything; a source that is not named shows nothing."""
        quiet, self._quiet = self._quiet, True
        for name in SOURCES:
            offered = [option[1] if isinstance(option, tuple) else option for option in self.knobs[name].options]
            # The files of a folder are no longer offered once another folder is open.
            self.knobs[name].value = values.get(name) if values.get(name) in offered else None
        self._quiet = quiet

    def _take_sample(self, change: Any) -> None:
        if change["new"] is not None:
            self._take(partial(sample_photo, change["new"]), "photo")

    def _take_file(self, change: Any) -> None:
        if change["new"] is not None:
            self._take(partial(photo_from_file, change["new"]), "file")

    def _take_upload(self, change: Any) -> None:
        for name, content in uploaded(change["new"]):
            self._take(partial(photo_from_bytes, name, content))
        _emptied(self.knobs["own"])

    def _take_mask(self, change: Any) -> None:
        for name, content in uploaded(change["new"]):
            try:
                self._photo = mask_from_bytes(name, content, self._photo)
            except (OSError, ValueError) as error:
                self._tell(f"Not opened: {error}")
                continue
            self._history.append(self._present)
            with self._one_move(f"The region is that of {name}."):
                self._offer_masks()
                self.knobs["given"].value, self.knobs["kind"].value = "mask file", "given"
        _emptied(self.knobs["own_mask"])

    def _list_folder(self, change: Any) -> None:
        name = change["new"].strip().strip("\"'")  # as a file manager copies it
        if not name:
            return
        try:
            folder = Path(name).expanduser()
            if folder.is_file():
                self._take(partial(photo_from_file, folder))
                return
            files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS)
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: ~ of somebody who has no home here
            found = getattr(error, "strerror", None) or "no such folder"
            self._tell(
                f"{printable(name, 200)}: found that it cannot be listed ({found}), expected a folder of pictures"
            )
            return
        if not files:
            endings = ", ".join(sorted(IMAGE_ENDINGS))
            self._tell(f"{printable(name, 200)}: found no picture in it, expected files that end in {endings}")
            return
        options = [(printable(path.name, 60), str(path)) for path in files[:MOST_FILES]]
        self.knobs["file"].options = options
        self.knobs["file"].value = options[0][1]  # which opens it
        if len(files) > MOST_FILES:
            self.note.value += f" The first {MOST_FILES} of {len(files)} pictures are offered."

    def _offer_regions(self) -> None:
        self._offer_masks()
        self._choose_first_region()

    def _offer_masks(self) -> None:
        """What can be given; without a mask there is no such kind of region."""
        self.knobs["given"].options = list(self._photo.masks)
        self.knobs["kind"].options = [kind for kind in KINDS if kind != "given" or self._photo.masks]

    def _choose_first_region(self) -> None:
        masks = list(self._photo.masks)
        self.knobs["given"].value = masks[0] if masks else None
        self.knobs["kind"].value = "given" if masks else "rectangle"

    def _add_corner(self) -> None:
        self._change_corners(lambda corners: [*corners, (self.knobs["x"].value, self.knobs["y"].value)])

    def _remove_corner(self) -> None:
        self._change_corners(lambda corners: corners[:-1])

    def _change_corners(self, change: Callable[[list[Place]], list[Place]]) -> None:
        try:
            corners = change(parse_corners(self.knobs["corners"].value, least=0))
            text = " ".join(f"{x:g},{y:g}" for x, y in corners)
            parse_corners(text, least=0)
        except ValueError as error:
            self._tell(f"No answer: {error}")
            return
        self._last_moved = ""  # each click is a move of its own
        self.knobs["corners"].value = text

    # --- from a question to pictures; these three run in the worker's thread ---

    def _show(self, question: Question) -> None:
        answer = self._darkroom.answer(question)
        for name, picture in pictures(question, answer).items():
            self.screens[name].value = _png(picture)
        self.words.value = html.escape(describe(question, answer))
        self._answered = question, answer

    def _show_curve(self, question: Question) -> None:
        curve = self._darkroom.curve(question, stop=lambda: self._worker.waiting)
        chart = BLANK if curve is None else _chart(curve, question.threshold)
        if question is not self._question or self._worker.waiting:
            return  # by now it would be the curve of something else
        self.screens["curve"].value = chart
        self.screens["curve"].remove_class("dirl-old")
        there_is_a_region = self.answer is not None and bool(self.answer.region.any())
        self.curve_words.value = html.escape(_curve_in_words(curve, question.threshold, there_is_a_region))

    def _fail(self, question: Question, error: Exception) -> None:
        if question is not self._question:
            return  # a newer one is on its way, and what it meets is told
        self._answered = None
        for screen in self.screens.values():
            screen.value = BLANK  # the pictures of the question before would be taken for an answer
        self.words.value = self.curve_words.value = ""
        self._tell(f"No answer: {error}")

    def _tell(self, line: str) -> None:
        self.note.value = html.escape(printable(line, 400))

    # --- files ---

    def _save(self) -> None:
        name = self.knobs["out"].value.strip().strip("\"'")
        if not name:
            self._tell("Not saved: found no folder, expected its name, as explorer")
            return
        if not self.wait() or self._answered is None or self._answered[0] is not self._question:
            self._tell("Nothing saved: there is no answer to save.")
            return
        if not self._answered[1].region.any():
            self._tell("Nothing saved: there is no region yet.")
            return
        try:
            folder = Path(name).expanduser().resolve()
        except (OSError, RuntimeError, ValueError):  # RuntimeError: ~ of somebody who has no home here
            self._tell(f"Not saved: found {name!r}, expected the name of a folder")
            return
        question, answer = self._answered
        try:
            folder.mkdir(parents=True, exist_ok=True)
            start = _free_start(folder)
            write_image(folder / f"{start}_figure.png", self.sheet())
            write_image(folder / f"{start}_picture.png", answer.composite)
            write_mask(folder / f"{start}_region.png", answer.region)
            write_mask(folder / f"{start}_found.png", answer.look.mask.numpy() > question.threshold)
        except (OSError, ValueError) as error:
            found = getattr(error, "strerror", None) or error
            self._tell(f"Not saved: found that {folder} cannot be written ({found}), expected a folder of yours")
            return
        self._tell(f"Saved as {start}_figure.png, _picture, _region and _found in {folder}")


def uploaded(value: Any) -> list[tuple[str, bytes]]:
    """Names and contents of a `FileUpload`'s value: a dict in ipywidgets 7, a tuple in 8."""
    files = (
        [(name, each) for name, each in value.items()] if isinstance(value, dict) else [(f["name"], f) for f in value]
    )
    return [(name, bytes(each["content"])) for name, each in files]


def contact_sheet(tiles: Sequence[tuple[str, NDArray[np.uint8]]], text: str) -> NDArray[np.uint8]:
    """Titled pictures, five in a row, with a text below, uint8 (H, W, 3).

    Args:
        tiles: title and picture, uint8 (h, w, 3), each at most 256 pixels a side; smaller ones are enlarged.
        text: wrapped to the width.

    Raises:
        ValueError: no tiles.
    """
    if not tiles:
        raise ValueError("found no tiles, expected at least one titled picture")
    columns, side, head = 5, 256, 24
    rows = -(-len(tiles) // columns)
    scales = [side / max(picture.shape[:2]) for _, picture in tiles]
    sizes = [
        (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        for (_, picture), scale in zip(tiles, scales, strict=True)
    ]
    step = head + max(tall for _, tall in sizes) + 8
    font = ImageFont.load_default(size=15)
    width = columns * (side + 8)
    lines = _wrapped(text, font, width - 16)
    sheet = Image.new("RGB", (width, rows * step + 20 * len(lines) + 16), "white")
    pen = ImageDraw.Draw(sheet)
    for number, ((title, picture), size) in enumerate(zip(tiles, sizes, strict=True)):
        left, top = number % columns * (side + 8) + 4, number // columns * step
        pen.text((left, top + 3), title, fill="black", font=font)
        sheet.paste(Image.fromarray(picture).resize(size, Image.Resampling.NEAREST), (left, top + head))
    for number, line in enumerate(lines):
        pen.text((8, rows * step + 8 + 20 * number), line, fill="black", font=font)
    return np.asarray(sheet)


def _wrapped(text: str, font: Any, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _curve_in_words(curve: Curve | None, threshold: float, there_is_a_region: bool) -> str:
    if not there_is_a_region:
        return "Set three corners: then the polygon can be recoloured."
    if curve is None:
        return "Recolour the region: a curve will show how strong the edit must be."
    strength = seen_from(curve, threshold)
    if strength == 0:
        return (
            "The mean probability in the region is above the threshold even untouched: it is not the edit that is seen."
        )
    if strength > 1:
        return (
            "On average over the region the probability stays below the threshold, even with the whole edit; parts of "
            "it may be marked."
        )
    if any(p <= threshold for s, p in zip(curve.strengths, curve.inside, strict=True) if s >= strength):
        return f"First seen at {strength:.0%} of the edit, but not at every strength above: the curve falls again."
    return f"Seen from {strength:.0%} of the edit on: there the mean probability in the region exceeds the threshold."


def _chart(curve: Curve, threshold: float) -> bytes:
    from dirl_lib.plotting import strength_chart

    drawn = io.BytesIO()
    strength_chart(curve, threshold=threshold).savefig(drawn, format="png", dpi=100)
    return drawn.getvalue()


def _png(picture: NDArray[np.uint8]) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(picture).save(encoded, format="png", compress_level=1)  # a third of the time of the default
    return encoded.getvalue()


def _free_start(folder: Path) -> str:
    """The beginning of file names that is not taken yet: explorer-001, explorer-002, ..."""
    taken = {path.name.partition("_")[0] for path in folder.glob("explorer-*_*.png")}
    number = 1
    while f"explorer-{number:03d}" in taken:
        number += 1
    return f"explorer-{number:03d}"


def _emptied(upload: Any) -> None:
    """Forget the file, so that it can be chosen again; its value is read-only in ipywidgets 7."""
    upload.set_trait("value", type(upload.value)())


def _box(**settings: str) -> Any:
    return widgets.Layout(**settings)


def _frame(side: str) -> Any:
    return _box(width=side, height=side, object_fit="contain", object_position="left top")


def _title(text: str) -> Any:
    return _hint(f'<span style="font-size: 12px; white-space: nowrap">{text}</span>')


def _hint(text: str) -> Any:
    return widgets.HTML(text, layout=_box(margin="0"))


def _button(text: str, hint: str) -> Any:
    return widgets.Button(description=text, tooltip=hint, layout=_box(width="144px"))


BLANK = _png(np.full((8, 8, 3), 255, np.uint8))
STYLE = {"description_width": "84px"}
WIDTH = f"{LEFT - 12}px"


def _slider(name: str, value: float, low: float, high: float) -> Any:
    step, shown = (1.0, ".0f") if high > 10 else (0.05, ".2f")
    width = "calc(50% - 4px)" if name in ("threshold", "opacity") else WIDTH
    style = {"description_width": "66px"} if name in ("threshold", "opacity") else STYLE
    return widgets.FloatSlider(
        value,
        min=low,
        max=high,
        step=step,
        description=name,
        style=style,
        layout=_box(width=width),
        readout_format=shown,
    )


def _range(name: str) -> Any:
    return widgets.FloatRangeSlider(
        value=(25.0, 75.0),
        min=0.0,
        max=100.0,
        step=1.0,
        description=name,
        style=STYLE,
        layout=_box(width=WIDTH),
        readout_format=".0f",
    )


def _dropdown(name: str, options: list[Any], value: Any) -> Any:
    return widgets.Dropdown(options=options, value=value, description=name, style=STYLE, layout=_box(width=WIDTH))


def _text(name: str, value: str, example: str) -> Any:
    return widgets.Text(
        value, description=name, placeholder=example, continuous_update=False, style=STYLE, layout=_box(width=WIDTH)
    )
