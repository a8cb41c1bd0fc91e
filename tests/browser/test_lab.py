"""The course as its readers see it: JupyterLab in headless Chromium. Not part of `make test`: `make test-browser`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import FLAGS, TOKEN, OpenNotebook, copy_course, errors_of, find_browser, serve

pytestmark = pytest.mark.browser
playwright = pytest.importorskip("playwright.sync_api", reason="`make test-browser` installs playwright")


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=find_browser(), args=FLAGS)
        yield browser.new_page(viewport={"width": 1366, "height": 768})
        browser.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address and checkout."""
    checkout = copy_course(tmp_path_factory.mktemp("lab"))
    options = ["--allow-root", f"--IdentityProvider.token={TOKEN}"]
    with serve(checkout, "lab", *options) as address:
        yield address, checkout


def find(checkout: Path, number: str) -> Path:
    (path,) = (checkout / "notebooks").glob(f"{number}_*.ipynb")
    return path


@pytest.mark.parametrize("number", ["00", "01", "10", "12"])
def test_run_all_by_the_menu_leaves_no_error(page: Any, lab: tuple[str, Path], number: str) -> None:
    address, checkout = lab
    notebook = OpenNotebook(page, address, find(checkout, number))
    notebook.run_all()
    saved = notebook.saved()
    notebook.take_picture(f"{number}-run")
    assert errors_of(saved) == []
    code = [cell for cell in saved.cells if cell.cell_type == "code" and cell.source.strip()]
    assert all(cell.execution_count for cell in code)
