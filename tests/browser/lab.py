"""JupyterLab and Voila in a real browser: what the browser tests press and read."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TOKEN = "course"
PATIENCE = 300
"""Seconds that a notebook may take from start to end."""
SETTINGS = {
    # Cells that are not in sight are drawn as well, so that a test finds their widgets.
    "@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {"windowingMode": "none"},
    "@jupyterlab/docmanager-extension/plugin.jupyterlab-settings": {"autosave": False},
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": {"checkForUpdates": False, "fetchNews": "false"},
}


def find_browser() -> str:
    """Raises FileNotFoundError where there is none."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    raise FileNotFoundError(f"found none of {', '.join(BROWSERS)}; `make test-browser` installs one, or says how")


@contextmanager
def serve(folder: Path, program: str, *options: str) -> Iterator[str]:
    """A Python module on a free port, "jupyter lab" or "voila", as long as the block lasts; yields its address."""
    with (folder / "server.log").open("w") as log:
        port = _free_port()
        command = [sys.executable, "-m", *program.split(), f"--port={port}", "--no-browser", *options]
        environment = os.environ | {"JUPYTERLAB_SETTINGS_DIR": str(_settings(folder)), "DIRL_PROFILE": "quick"}
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(f"{address}/api" if "lab" in program else address, server, log.name)
            yield address
        finally:
            server.terminate()
            server.wait(30)


def options_of(target: str, checkout: Path) -> list[str]:
    """What the Makefile gives to the program that a target starts, for another checkout."""
    shown = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [word.replace(str(ROOT), str(checkout)) for word in shlex.split(shown) if word.startswith("--")]


def copy_course(folder: Path) -> Path:
    """A checkout to work in: the notebooks are copies, so that nothing a browser saves reaches the real ones."""
    checkout = folder / "course"
    checkout.mkdir()
    shutil.copytree(ROOT / "notebooks", checkout / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    for name in ("dirl_lib", "results", "docs", "data"):
        if (ROOT / name).exists():
            (checkout / name).symlink_to(ROOT / name)
    return checkout


class OpenNotebook:
    """One notebook in JupyterLab."""

    def __init__(self, page: Any, address: str, path: Path) -> None:
        self.page = page
        self.path = path
        page.goto(f"{address}/lab/tree/{path.relative_to(path.parents[1])}?token={TOKEN}&reset")
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        self._wait_until_idle()

    def run_all(self) -> None:
        """Run > Run All Cells, from the menu; then wait until the kernel has nothing left to do."""
        self.page.click(".lm-MenuBar-itemLabel:text-is('Run')")
        self.page.click(".lm-Menu-itemLabel:text-is('Run All Cells')")
        self._waiting.first.wait_for(state="attached", timeout=60_000)
        self._wait_until_idle()

    def saved(self) -> Any:
        """The notebook as it stands in the file after File > Save."""
        before = self.path.stat().st_mtime_ns
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("Control+s")
        _wait_until(lambda: self.path.stat().st_mtime_ns != before, 60, "the notebook was not saved")
        return nbformat.read(self.path, as_version=4)

    @property
    def _waiting(self) -> Any:
        return self.page.locator(".jp-InputPrompt", has_text="[*]:")

    def _wait_until_idle(self) -> None:
        deadline = time.monotonic() + PATIENCE
        quiet = 0
        while quiet < 3:
            busy = self._waiting.count()
            idle = self.page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").count()
            quiet = quiet + 1 if idle and not busy else 0
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.path.name}: not at its end after {PATIENCE} s, {busy} cells wait")
            time.sleep(0.5)


def take_picture(page: Any, name: str) -> None:
    """A picture of the window in `build/browser/`."""
    folder = ROOT / "build" / "browser"
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png")


def errors_of(notebook: Any) -> list[str]:
    """The errors in the outputs of a notebook, one line each."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [
        f"{cell.id}: {output.ename}: {output.evalue}"
        for cell in cells
        for output in cell.outputs
        if output.output_type == "error"
    ]


def _settings(folder: Path) -> Path:
    root = folder / "settings"
    for name, values in SETTINGS.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    return root


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(address: str, server: subprocess.Popen[bytes], log: str) -> None:
    def answers() -> bool:
        if server.poll() is not None:
            raise RuntimeError(f"the server ended: {Path(log).read_text()[-2000:]}")
        try:
            urllib.request.urlopen(address, timeout=2).close()
        except urllib.error.HTTPError:
            return True  # it is there, and wants its token
        except OSError:
            return False
        return True

    _wait_until(answers, 120, f"no answer from {address}")


def _wait_until(holds: Any, seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.3)
