"""Rehearse the course as Colab runs it: its versions, the notebook file alone, the library installed by the bootstrap.

python tools/rehearse_colab.py             # all notebooks
python tools/rehearse_colab.py 00 10       # some of them
python tools/rehearse_colab.py --record    # all, and store what happened in results/colab.json

Installs what `tools/colab_versions.txt` lists into an environment of its own (Python 3.13 and 5 GB, the first time some
minutes). The library comes from the last commit of this checkout by git, as it would come from GitHub; the notebooks
are those that lie in notebooks/, committed or not. Rehearse what you will push: commit first. Not rehearsed: Colab's
own pages, its GPU, and whatever else is installed there.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from course.colab import Source, bootstrap
from course.execution import Run, execute
from course.notebooks import ROOT, CourseError, read, select

from dirl_lib.provenance import write_record

VERSIONS = ROOT / "tools/colab_versions.txt"

KERNEL = """\
{{"argv": ["{python}", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"],
  "display_name": "Colab", "language": "python",
  "env": {{"PYTHONPATH": "{stub}", "HOME": "{home}", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}}}}
"""


@dataclass(frozen=True)
class Rehearsal:
    """One notebook as Colab would run it."""

    run: Run
    bootstrap_seconds: float
    """Wall time of the bootstrap; in the first notebook of a rehearsal it installs the library."""


def main(arguments: list[str] | None = None) -> int:
    """Rehearse; 0 if every notebook ran and no package changed, 1 if not, 2 if nothing could start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", metavar="NAME", nargs="*", help="number or name of a notebook (default: all)")
    parser.add_argument("--record", action="store_true", help="store the result in results/colab.json")
    parser.add_argument(
        "--venv", type=Path, default=ROOT / "build/colab", metavar="DIR", help="environment (default: build/colab)"
    )
    options = parser.parse_args(arguments)
    try:
        paths = select(options.names)
        python = install(options.venv.absolute())
    except (CourseError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    before = installed(python)
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as scratch:
        content = prepare(Path(scratch), python)
        for path in paths:
            rehearsal = rehearse(path, content)
            figures[path.stem] = summary(rehearsal)
            print(f"{path.stem}: {figures[path.stem]}", flush=True)
            if rehearsal.run.failure:
                print(rehearsal.run.failure.report(path.name), file=sys.stderr)
        left = sorted(each.name for each in content.iterdir())
    after = installed(python)
    changed = sorted(before ^ {line for line in after if not line.startswith("dirl-lib")})
    missing = [line for line in check(python) if line.startswith("dirl-lib")]
    print(f"packages changed: {', '.join(changed) or 'none'}; the library lacks: {', '.join(missing) or 'nothing'}")
    print(f"left behind in the working directory: {', '.join(left) or 'nothing'}")
    if options.record:
        write_record(
            ROOT / "results/colab.json", {"notebooks": figures, "packages": sorted(before), "changed": changed}
        )
    failed = any(isinstance(each, dict) and each["failure"] for each in figures.values())
    return 1 if failed or changed or missing else 0


def install(venv: Path) -> Path:
    """Colab's versions in an environment of their own, without the library; returns its Python."""
    python = venv / "bin/python"
    # uv leaves byte code to the first start, in which no kernel would answer in time.
    compiling = {**os.environ, "UV_COMPILE_BYTECODE": "1"}
    uv = [sys.executable, "-m", "uv", "--quiet"]
    if not python.exists():
        subprocess.run([*uv, "venv", "--seed", "--python", "3.13", str(venv)], check=True)
    subprocess.run([*uv, "pip", "install", "--python", str(python), "-r", str(VERSIONS)], check=True, env=compiling)
    subprocess.run([*uv, "pip", "uninstall", "--python", str(python), "dirl-lib"], check=True)
    return python


def prepare(scratch: Path, python: Path) -> Path:
    """A stand-in for `google.colab`, a kernel that knows it, an empty home; returns the empty working directory."""
    stub, kernel, home, content = (scratch / name for name in ("stub", "jupyter/kernels/python3", "home", "content"))
    for folder in (stub / "google/colab", kernel, home, content):
        folder.mkdir(parents=True)
    # No google/__init__.py: other packages live in that name space, too.
    (stub / "google/colab/__init__.py").touch()
    (stub / "sitecustomize.py").write_text("import google.colab\n", encoding="utf-8")
    (kernel / "kernel.json").write_text(KERNEL.format(python=python, stub=stub, home=home), encoding="utf-8")
    os.environ["JUPYTER_PATH"] = str(scratch / "jupyter")
    return content


def rehearse(path: Path, content: Path) -> Rehearsal:
    """Run one notebook in a folder where nothing else of the course is."""
    notebook = read(path)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    notebook.cells[1].source = bootstrap(Source(ROOT.as_uri(), commit.stdout.strip()))
    starts: list[float] = []
    run = execute(notebook, content, on_cell=lambda *_: starts.append(time.perf_counter()))
    return Rehearsal(run, starts[1] - starts[0] if len(starts) > 1 else run.seconds)


def summary(rehearsal: Rehearsal) -> dict[str, object]:
    """What is told of a notebook: seconds, seconds of its bootstrap, where it stopped, what went to stderr."""
    run = rehearsal.run
    outputs = [(cell.id, output) for cell in run.notebook.cells for output in cell.get("outputs", [])]
    return {
        "seconds": round(run.seconds, 1),
        "bootstrap_seconds": round(rehearsal.bootstrap_seconds, 1),
        "failure": f"cell {run.failure.cell_id}: {run.failure.message}" if run.failure else "",
        "stderr": [f"cell {cell_id}: {each.text.strip()}" for cell_id, each in outputs if each.get("name") == "stderr"],
    }


def installed(python: Path) -> set[str]:
    """Every package of an environment with its version."""
    return set(_pip(python, "list", "--format=freeze"))


def check(python: Path) -> list[str]:
    """What packages of an environment lack, one line each."""
    return _pip(python, "check")


def _pip(python: Path, *arguments: str) -> list[str]:
    done = subprocess.run([python, "-m", "pip", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


if __name__ == "__main__":
    sys.exit(main())
