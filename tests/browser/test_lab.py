"""The course and the app as readers see them, in headless Chromium. Not part of `make test`: `make test-browser`."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab import (
    FLAGS,
    ROOT,
    TOKEN,
    OpenNotebook,
    copy_course,
    errors_of,
    find_browser,
    options_of,
    serve,
    take_picture,
)
from PIL import Image

pytestmark = pytest.mark.browser
LAPTOP = {"width": 1366, "height": 768}
playwright = pytest.importorskip("playwright.sync_api", reason="`make test-browser` installs playwright")


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=find_browser(), args=FLAGS)
        yield browser.new_page(viewport=LAPTOP)
        browser.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address and checkout."""
    checkout = copy_course(tmp_path_factory.mktemp("lab"))
    options = ["--allow-root", f"--IdentityProvider.token={TOKEN}", *options_of("lab", checkout)]
    with serve(checkout, "jupyter lab", *options) as address:
        yield address, checkout


def find(checkout: Path, number: str) -> Path:
    (path,) = (checkout / "notebooks").glob(f"{number}_*.ipynb")
    return path


@pytest.mark.parametrize("number", ["00", "01", "10"])
def test_run_all_by_the_menu_leaves_no_error(page: Any, lab: tuple[str, Path], number: str) -> None:
    address, checkout = lab
    notebook = OpenNotebook(page, address, find(checkout, number))
    notebook.run_all()
    take_picture(page, f"{number}-run")
    assert_ran(notebook)


def assert_ran(notebook: OpenNotebook) -> None:
    saved = notebook.saved()
    assert errors_of(saved) == []
    code = [cell for cell in saved.cells if cell.cell_type == "code" and cell.source.strip()]
    assert all(cell.execution_count for cell in code)


@pytest.fixture(scope="module")
def explorer(page: Any, lab: tuple[str, Path]) -> OpenNotebook:
    """Notebook 12 after Run All, its last explorer in sight."""
    address, checkout = lab
    notebook = OpenNotebook(page, address, find(checkout, "12"))
    notebook.run_all()
    assert_ran(notebook)
    knob(page, "exposure").scroll_into_view_if_needed()
    take_picture(page, "12-explorer")
    return notebook


def knob(page: Any, name: str) -> Any:
    """The handle of a slider, by the words beside it."""
    label = page.locator(".widget-label", has_text=re.compile(rf"^{name}$"))
    return page.locator(".widget-slider", has=label).last.locator("[role=slider]")


def shown(page: Any) -> list[str]:
    """The addresses of the pictures; a new picture has a new one."""
    found: list[str] = page.locator("img.widget-image").evaluate_all("images => images.map(image => image.src)")
    return found


def wait_for(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)


@pytest.mark.usefixtures("explorer")
def test_a_slider_is_moved_by_the_keyboard_and_the_pictures_follow(page: Any) -> None:
    handle, before = knob(page, "exposure"), shown(page)
    value = handle.get_attribute("aria-valuenow")
    handle.focus()
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    wait_for(lambda: handle.get_attribute("aria-valuenow") != value)
    wait_for(lambda: shown(page) != before)
    time.sleep(3)  # the curve comes last
    take_picture(page, "12-moved")


@pytest.mark.usefixtures("explorer")
@pytest.mark.parametrize("screen", [(1280, 800), (1366, 768), (1920, 1080)])
def test_knobs_and_pictures_are_seen_together(page: Any, screen: tuple[int, int]) -> None:
    width, height = screen
    page.set_viewport_size({"width": width, "height": height})
    time.sleep(1)
    slider = knob(page, "exposure").bounding_box()
    places = [place for picture in page.locator("img.widget-image").all() if (place := picture.bounding_box())]
    beside = [place for place in places if abs(place["y"] - slider["y"]) < 200 and place["x"] > slider["x"]]
    assert len(beside) >= 3, "the pictures have moved below the knobs"
    assert all(place["x"] + place["width"] < width for place in beside)
    large = sorted(beside, key=lambda place: place["width"])[-3:]
    assert len({place["y"] for place in large}) == 1, "the titles take different numbers of lines"
    assert large[0]["width"] > width / 8.2
    barred = "box => getComputedStyle(box).overflowX == 'auto' && box.scrollWidth > box.clientWidth"
    boxes = page.locator(".dirl-explorer .widget-box")
    assert boxes.evaluate_all(f"boxes => boxes.filter({barred}).length") == 0
    assert boxes.evaluate_all("boxes => boxes.length") > 10
    page.set_viewport_size(LAPTOP)


@pytest.mark.usefixtures("explorer")
def test_letters_typed_on_a_knob_are_no_commands_of_jupyterlab(page: Any) -> None:
    cells = page.locator(".jp-Notebook .jp-Cell").count()
    page.locator(".widget-toggle-buttons button", has_text="Region").last.click()
    kind = page.locator(".widget-dropdown", has_text="region").last.locator("select")
    kind.focus()
    page.keyboard.press("r")
    wait_for(lambda: kind.input_value() == "rectangle")
    for target in (kind, page.locator("button", has_text="Undo").last):
        target.focus()
        for key in ("x", "b", "m", "d", "d"):  # cut, new cell below, to Markdown, delete
            page.keyboard.press(key)
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells
    page.locator("img.widget-image").last.click()
    for key in ("x", "d", "d"):
        page.keyboard.press(key)
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells
    page.locator("button", has_text="Undo").last.focus()
    page.keyboard.press("Enter")
    wait_for(lambda: kind.input_value() == "given")
    page.locator(".widget-toggle-buttons button", has_text="Colour").last.click()


@pytest.mark.usefixtures("explorer")
def test_tab_reaches_the_next_slider(page: Any) -> None:
    knob(page, "exposure").focus()
    for _ in range(2):  # the number beside a slider can be typed into
        page.keyboard.press("Tab")
    assert knob(page, "temperature").evaluate("handle => handle === document.activeElement")


@pytest.mark.usefixtures("explorer")
def test_a_file_is_dropped_in_and_a_bad_one_meets_a_line(page: Any, tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), (30, 120, 200)).save(tmp_path / "sky.png")
    (tmp_path / "torn.png").write_bytes(b"no picture")
    page.locator(".widget-toggle-buttons button", has_text="Photo").last.click()
    before = shown(page)
    upload(page, tmp_path / "sky.png")
    wait_for(lambda: shown(page) != before)
    upload(page, tmp_path / "torn.png")
    wait_for(lambda: page.get_by_text("Not opened: torn.png").count() > 0)
    take_picture(page, "12-files")
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2500, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "camera.png", compress_level=0)  # 15 MB
    (tmp_path / "film.jpg").write_bytes(os.urandom(1 << 20) * 100)
    upload(page, tmp_path / "camera.png")
    wait_for(lambda: page.get_by_text("Opened camera.png.").count() > 0)
    upload(page, tmp_path / "film.jpg")
    wait_for(lambda: page.get_by_text("Not opened: film.jpg: found bytes of an unknown kind").count() > 0)
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count() == 0


def test_the_app_is_the_explorer_without_code(page: Any, tmp_path: Path) -> None:
    pytest.importorskip("voila", reason="`make test-browser` installs voila")
    app = ROOT / "tools" / "app.ipynb"
    with serve(tmp_path, "voila", *options_of("app", ROOT), str(app)) as address:
        page.goto(address)
        knob(page, "temperature").wait_for(timeout=120_000)
        wait_for(lambda: page.get_by_text("chelsea: nothing is changed yet").count() == 1)
        before = shown(page)
        knob(page, "temperature").focus()
        for _ in range(15):
            page.keyboard.press("ArrowLeft")
        wait_for(lambda: page.get_by_text("chelsea, temperature -0.75").count() == 1)
        assert shown(page) != before
        assert page.get_by_text("import").count() == 0
        time.sleep(3)  # the curve comes last
        take_picture(page, "app")


def upload(page: Any, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.locator("button.widget-upload", has_text="From disk").last.click()
    chooser.value.set_files(path)
