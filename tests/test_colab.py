"""The bootstrap cell in Colab and at home, with a stand-in for `google.colab` and for pip.

The same with Colab's own versions, a real pip and whole notebooks: `tools/rehearse_colab.py`.
"""

import ast
import json
import os
import subprocess
import sys
import tomllib

import pytest
import rehearse_colab
from course.colab import Source, bootstrap
from course.execution import Run
from course.notebooks import ROOT, notebook_paths, read
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from tiny_notebooks import cell, code, markdown, notebook, save, tiny

FORK = Source("https://github.com/ada-l/find-it", "main")

PIP = """\
import json, pathlib, sys

here = pathlib.Path(__file__).parent
(here / "calls.json").write_text(json.dumps(sys.argv[1:]))
if (here / "fails").exists():
    sys.exit("fatal: no such repository")
library = here / "dirl_lib"
library.mkdir()
(library / "__init__.py").touch()
(library / "nb.py").write_text("def setup(seed):\\n    return f'installed, seed {seed}'\\n")
"""
"""A pip that writes down how it is called and installs a library of three lines."""


@pytest.fixture
def machine(tmp_path):
    """A machine's folders: `site`, on Python's path, holds pip and, in time, the library; `content` is foreign."""
    site, content = tmp_path / "site", tmp_path / "content"
    site.mkdir()
    content.mkdir()
    (site / "pip.py").write_text(PIP, encoding="utf-8")
    return tmp_path


def run(machine, source, *, colab, folder="content"):
    """Run the bootstrap cell in a fresh Python without installed packages; print what it ends with."""
    (machine / "site/google/colab").mkdir(parents=True, exist_ok=True)
    (machine / "site/google/colab/__init__.py").touch()
    cell_code = bootstrap(source) + "\nprint(env)"
    start = "import google.colab\n" if colab else ""
    return subprocess.run(
        [sys.executable, "-S", "-c", start + cell_code],
        cwd=machine / folder,
        env={**os.environ, "PYTHONPATH": str(machine / "site")},
        capture_output=True,
        text=True,
        check=False,
    )


def calls(machine):
    path = machine / "site/calls.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def test_in_colab_the_library_is_installed_from_the_named_repository_and_nothing_else_is(machine):
    done = run(machine, FORK, colab=True)
    assert done.stdout == "installed, seed 0\n", done.stderr
    assert calls(machine) == ["install", "-q", "--no-deps", "git+https://github.com/ada-l/find-it@main"]


def test_a_second_run_installs_nothing(machine):
    run(machine, FORK, colab=True)
    (machine / "site/calls.json").unlink()
    assert run(machine, FORK, colab=True).stdout == "installed, seed 0\n"
    assert calls(machine) is None


def test_in_colab_without_a_repository_one_line_says_what_to_do(machine):
    done = run(machine, None, colab=True)
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: dirl_lib is not installed: run `make run` first; for Colab, `make badges REPO=owner/name`"
    )
    assert calls(machine) is None


def test_at_home_nothing_is_ever_installed(machine):
    done = run(machine, FORK, colab=False)
    assert "dirl_lib is not installed: run `make run` first" in done.stderr
    assert calls(machine) is None


@pytest.mark.parametrize("colab", [False, True])
def test_a_checkout_around_the_notebook_is_used_as_it_is(machine, colab):
    library = machine / "checkout/dirl_lib"
    library.mkdir(parents=True)
    (library / "__init__.py").touch()
    (library / "nb.py").write_text("def setup(seed):\n    return 'checkout'\n", encoding="utf-8")
    (machine / "checkout/notebooks").mkdir()
    assert run(machine, FORK, colab=colab, folder="checkout/notebooks").stdout == "checkout\n"
    assert calls(machine) is None


def test_a_repository_that_does_not_exist_is_told_by_pip_and_stops_the_cell(machine):
    (machine / "site/fails").touch()
    done = run(machine, FORK, colab=True)
    assert done.returncode == 1
    assert "fatal: no such repository" in done.stderr
    assert "git+https://github.com/ada-l/find-it@main" in done.stderr.splitlines()[-1]


# --- what Colab ships ---


@pytest.fixture(scope="module")
def shipped():
    """Package to version, as `tools/colab_versions.txt` lists them."""
    lines = [line.split("#")[0].strip() for line in rehearse_colab.VERSIONS.read_text(encoding="utf-8").splitlines()]
    parsed = [Requirement(line) for line in lines if line]
    return {each.name: str(each.specifier).removeprefix("==") for each in parsed}


def test_colab_ships_every_package_that_the_library_needs_in_its_range(shipped):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in map(Requirement, project["dependencies"]):
        assert shipped[requirement.name] in requirement.specifier, requirement.name
    assert "3.13" in SpecifierSet(project["requires-python"])


def test_the_notebooks_import_nothing_that_colab_lacks():
    cells = [each.source for path in notebook_paths() for each in read(path).cells if each.cell_type == "code"]
    used = set()
    for statement in (each for source in cells for each in ast.walk(ast.parse(source))):
        if isinstance(statement, ast.Import):
            used |= {alias.name.partition(".")[0] for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            used.add(statement.module.partition(".")[0])
    shipped = {"torch", "torchvision", "numpy", "PIL", "matplotlib", "skimage", "sklearn", "scipy", "safetensors"}
    assert used - set(sys.stdlib_module_names) <= shipped | {"ipywidgets", "IPython", "dirl_lib"}


def test_the_document_names_the_versions_that_are_assumed():
    lines = rehearse_colab.VERSIONS.read_text(encoding="utf-8").splitlines()
    assumed = [line.partition("==")[0] for line in lines if "assumed" in line]
    text = " ".join((ROOT / "docs/COLAB.md").read_text(encoding="utf-8").split())
    assert f"but for {' and '.join(assumed)}, which it lacks: theirs are assumed" in text


# --- the rehearsal ---


def test_the_library_is_that_of_the_last_commit_and_the_notebook_the_one_on_disk(tmp_path, monkeypatch):
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    ran = []
    monkeypatch.setattr(
        rehearse_colab, "execute", lambda notebook, *_, **__: ran.append(notebook) or Run(notebook, 0, 0, None)
    )
    uncommitted = notebook(markdown("title", "# 42"), code("bootstrap", ""), code("own", "'not committed'"))
    rehearse_colab.rehearse(save(uncommitted, tmp_path), tmp_path)
    assert head.stdout.strip() in ran[0].cells[1].source
    assert cell(ran[0], "own").source == "'not committed'"
    said = " ".join(rehearse_colab.__doc__.split())
    assert "The library comes from the last commit" in said
    assert "the notebooks are those that lie in notebooks/, committed or not" in said


@pytest.mark.notebook
def test_a_kernel_of_the_rehearsal_believes_to_be_in_colab_and_finds_nothing_of_the_course(tmp_path, monkeypatch):
    """The rehearsal's own parts, with the Python that runs this test in the place of Colab's."""
    monkeypatch.setenv("JUPYTER_PATH", "")
    content = rehearse_colab.prepare(tmp_path, sys.executable)
    probe = notebook(
        markdown("title", "# 42"),
        code("bootstrap", ""),
        code("see", "import os, sys\nprint('google.colab' in sys.modules, os.listdir(), os.environ['HOME'])"),
    )
    monkeypatch.setattr(rehearse_colab, "bootstrap", lambda source: f"print({source.address!r})")
    rehearsal = rehearse_colab.rehearse(save(probe, tmp_path), content)
    assert rehearsal.run.failure is None
    assert cell(rehearsal.run.notebook, "see").outputs[0].text == f"True [] {tmp_path / 'home'}\n"
    assert cell(rehearsal.run.notebook, "bootstrap").outputs[0].text == f"{ROOT.as_uri()}\n"
    assert rehearse_colab.summary(rehearsal)["failure"] == ""


@pytest.mark.notebook
def test_a_failing_notebook_is_told_with_its_cell(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", "")
    content = rehearse_colab.prepare(tmp_path, sys.executable)
    broken = tiny()
    cell(broken, "add").source = "import sys\nprint('careful', file=sys.stderr)\n1 / 0"
    monkeypatch.setattr(rehearse_colab, "bootstrap", lambda _: "")
    told = rehearse_colab.summary(rehearse_colab.rehearse(save(broken, tmp_path), content))
    assert told["failure"] == "cell add: ZeroDivisionError: division by zero"
    assert told["stderr"] == ["cell add: careful"]


def test_the_document_says_what_the_recorded_rehearsal_showed():
    record = json.loads((ROOT / "results/colab.json").read_text(encoding="utf-8"))
    text = " ".join((ROOT / "docs/COLAB.md").read_text(encoding="utf-8").split())
    runs = record["notebooks"]
    assert f"all {len(runs)} notebooks ran to their end, with nothing on stderr" in text
    assert all(run["failure"] == "" and run["stderr"] == [] for run in runs.values())
    assert f"which installs, took {runs['00_start_here']['bootstrap_seconds']:.0f} s" in text
    assert runs["00_start_here"]["bootstrap_seconds"] < 60
    assert record["changed"] == []
    assert {"ipywidgets==7.7.1", "torch==2.11.0", "ipython==7.34.0"} <= set(record["packages"])
