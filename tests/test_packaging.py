"""What is installed, from which list, and what an import costs."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]

CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
"""Packages that conda-forge calls otherwise; matplotlib-base leaves the Qt window system out."""


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def environment():
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def requirements(project):
    """Every package of the course and its tests with its range."""
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *extras["course"], *extras["dev"]]
    parsed = [Requirement(line) for line in lines]
    return {each.name: each.specifier for each in parsed if each.name != project["name"]}


def conda_packages(environment):
    """Name to range of the conda part of environment.yml."""
    lines = [line for line in environment["dependencies"] if isinstance(line, str)]
    split = [re.fullmatch(r"([a-z0-9-]+)(.*)", line) for line in lines]
    return {match[1]: SpecifierSet(match[2]) for match in split}


def test_dev_holds_what_the_course_needs(project):
    assert f"{project['name']}[course,training,export]" in project["optional-dependencies"]["dev"]


def test_conda_gets_the_packages_and_ranges_of_pyproject_and_no_others(project, environment):
    asked = {CONDA_NAMES.get(name, name): specifier for name, specifier in requirements(project).items()}
    given = conda_packages(environment)
    given.pop("pip")
    assert given.pop("python") == SpecifierSet(project["requires-python"])
    assert given == asked


def test_conda_lists_no_package_twice(environment):
    lines = [line for line in environment["dependencies"] if isinstance(line, str)]
    assert len(conda_packages(environment)) == len(lines)


def test_conda_lets_pip_add_the_course_and_nothing_else(environment):
    assert environment["channels"] == ["conda-forge"]
    assert [each for each in environment["dependencies"] if not isinstance(each, str)] == [
        {"pip": ["-e .[training,export]"]}
    ]


def test_package_metadata_has_lower_bounds_and_no_pins(project):
    """An exact pin in metadata is what breaks a course on Colab; the one upper bound keeps ipywidgets usable there."""
    for name, specifier in requirements(project).items():
        operators = sorted(each.operator for each in specifier)
        assert operators == (["<", ">="] if name == "ipywidgets" else [">="]), name


def test_constraints_hold_every_requirement_in_its_range_and_no_address(project):
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "@" not in text
    assert not re.search(r"^-", text, re.MULTILINE)
    pinned = {}
    for line in text.splitlines():
        requirement = Requirement(line)
        pinned.setdefault(requirement.name, []).append(str(requirement.specifier).removeprefix("=="))
    for name, specifier in requirements(project).items():
        assert name in pinned, name
        assert all(version in specifier for version in pinned[name]), name


def test_the_bound_on_python_is_one_and_the_same(project):
    minimum = project["requires-python"].removeprefix(">=")
    numbers = minimum.replace(".", ", ")
    assert f"sys.version_info < ({numbers})" in (ROOT / "tools/install.sh").read_text(encoding="utf-8")
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert tool["ruff"]["target-version"] == f"py{minimum.replace('.', '')}"


IMPORT = """
import json, socket, sys

def refuse(*arguments, **named):
    raise OSError("no network here")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import {module}
print(json.dumps(sorted(sys.modules)))
"""

HEAVY = {"torch", "torchvision", "matplotlib", "skimage", "sklearn", "scipy", "IPython", "ipywidgets", "numpy", "PIL"}


def imported_by(module):
    """Top-level packages in memory after an import in a fresh Python without network."""
    code = IMPORT.format(module=module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize("module", ["dirl_lib", "dirl_lib.nb", "dirl_lib.exercises"])
def test_an_import_is_light_and_needs_no_network(module):
    assert imported_by(module) & HEAVY == set()


def test_the_network_is_really_closed_in_that_test():
    code = IMPORT.format(module="urllib.request") + "urllib.request.urlopen('http://127.0.0.1:9')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "no network here" in done.stderr


def test_the_built_package_holds_every_file_of_the_library(tmp_path):
    """Built from a copy, so that nothing is left in the checkout; no isolation, so that nothing is fetched."""
    source, out = tmp_path / "source", tmp_path / "out"
    out.mkdir()
    library = [path for path in (ROOT / "dirl_lib").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    for path in [*library, *(ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE"))]:
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    code = f"from setuptools import build_meta; print(build_meta.build_wheel({str(out)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    (wheel,) = out.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("dirl_lib/")}
    assert packed == {path.relative_to(ROOT).as_posix() for path in library}


def test_continuous_integration_runs_make_test():
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & 0o111
    lines = script.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    assert lines[-1] == "exec make test"


FAKE_PYTHON = """#!/bin/sh
[ "$1" = --version ] && echo "Python 3.9.18" && exit 0
exit 1
"""


def test_a_python_that_is_too_old_gets_one_clear_line(tmp_path):
    old = tmp_path / "python3.9"
    old.write_text(FAKE_PYTHON, encoding="utf-8")
    old.chmod(0o755)
    done = subprocess.run(
        ["sh", str(ROOT / "tools/install.sh")],
        env={"PYTHON": str(old), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: the course needs Python 3.11 or newer, found: Python 3.9.18.")
    assert "make run PYTHON=" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_make_without_a_target_lists_the_targets():
    done = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert names[:7] == ["help", "install", "run", "lab", "app", "test", "test-browser"]
    assert {*names[7:]} == {"test-colab", "check", "notebooks", "constraints", "badges", "student", "bundle", "clean"}
