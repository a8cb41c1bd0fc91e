"""Badges and bootstrap cells: what is written, that it can be undone, and that it belongs together."""

import json
import re
import shutil
import subprocess

import badges
import pytest
from course.colab import BOOTSTRAP, Source, bootstrap, named_source, parse_source, with_badge
from course.conventions import problems
from course.notebooks import ROOT, CourseError, notebook_paths, read, title_block
from course.rendering import render
from tiny_notebooks import TITLE, cell, code, save, tiny

FORK = Source("https://github.com/ada-l/find-it", "summer/2027")
BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/ada-l/find-it/blob/summer/2027/notebooks/42_tiny.ipynb)"
)


# --- which repository ---


@pytest.mark.parametrize(
    "repository",
    [
        "ada-l/find-it",
        "ada-l/find-it/",
        "https://github.com/ada-l/find-it",
        "https://github.com/ada-l/find-it/",
        "https://github.com/ada-l/find-it.git",
        "https://token@github.com/ada-l/find-it.git",
        "git@github.com:ada-l/find-it.git",
        "ssh://git@github.com/ada-l/find-it.git",
    ],
)
def test_a_repository_is_named_by_owner_and_name_or_by_an_address(repository):
    assert parse_source(repository, "summer/2027") == FORK


def test_a_name_may_hold_dots():
    assert parse_source("a/b.c", "v1.0").address == "https://github.com/a/b.c"


@pytest.mark.parametrize(
    "repository",
    [
        "",
        "find-it",
        "ada-l/",
        "ada-l/find-it//",
        "/find-it",
        "ada-l/find-it/tree",
        "-ada/find-it",
        "ada--l/find-it",
        "ada_l/find-it",
        "ada-l/..",
        "ada-l/find it",
        'ada-l/find"it',
        "ada-l/find-it\n",
        "https://gitlab.com/ada-l/find-it",
        "https://github.com.example.org/ada-l/find-it",
        "/srv/git/find-it",
    ],
)
def test_what_is_no_repository_on_github_is_refused_in_one_line(repository):
    with pytest.raises(CourseError, match=r"found the repository .*, expected owner/name or its address") as refused:
        parse_source(repository, "main")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("branch", ["", "-x", "/x", "x/", "a..b", "a//b", "a b", 'a"b', "a#b", "a.lock", "x.", "a\n"])
def test_what_is_no_branch_is_refused(branch):
    with pytest.raises(CourseError, match="found the branch"):
        parse_source("ada-l/find-it", branch)


# --- texts ---


def test_the_bootstrap_names_its_source_in_two_lines_and_differs_in_nothing_else():
    assert named_source(BOOTSTRAP) is None
    assert named_source(bootstrap(FORK)) == FORK
    changed = [
        after
        for before, after in zip(BOOTSTRAP.splitlines(), bootstrap(FORK).splitlines(), strict=True)
        if before != after
    ]
    assert [line.partition("  #")[0] for line in changed] == [
        'REPO = "https://github.com/ada-l/find-it"',
        'BRANCH = "summer/2027"',
    ]


def test_a_badge_stands_below_the_title_once_and_goes_without_a_trace():
    badged = with_badge(TITLE, "42_tiny.ipynb", FORK)
    assert badged.split("\n\n")[:3] == [*TITLE.split("\n\n")[:1], BADGE, TITLE.split("\n\n")[1]]
    assert with_badge(badged, "42_tiny.ipynb", FORK) == badged
    other = Source("https://github.com/b/c", "main")
    assert with_badge(badged, "42_tiny.ipynb", other) == with_badge(TITLE, "42_tiny.ipynb", other)
    assert with_badge(badged, "42_tiny.ipynb", None) == TITLE


def test_without_a_title_there_is_no_place_for_a_badge():
    with pytest.raises(CourseError, match="does not begin with a title"):
        with_badge("Text.\n\nMore.", "42_tiny.ipynb", FORK)


# --- the command ---


@pytest.fixture
def checkout(tmp_path):
    """The course's own notebooks and README in a folder of their own."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns(".*", "*.toml"))
    shutil.copy(ROOT / "README.md", tmp_path)
    return tmp_path


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(checkout, *arguments):
    return badges.main([*arguments, "--root", str(checkout)])


def test_writing_and_undoing_gives_the_same_bytes(checkout, capsys):
    run(checkout, "--undo")
    before = contents(checkout)
    assert run(checkout, "ada-l/find-it", "summer/2027") == 0
    badged = contents(checkout)
    assert all(badged[path] != before[path] for path in before)
    assert run(checkout, "ada-l/find-it", "summer/2027") == 0
    assert contents(checkout) == badged
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"{len(before) - 1} notebooks and README.md open https://github.com/ada-l/find-it in Colab, "
        f"branch summer/2027; 0 files changed"
    )
    assert run(checkout, "b/c") == 0
    assert run(checkout, "--undo") == 0
    assert contents(checkout) == before


def test_only_title_and_bootstrap_change(checkout):
    def rest(path):
        whole = json.loads(path.read_text(encoding="utf-8"))
        for each in whole["cells"][:2]:
            each["source"] = None
        return whole

    before = {path: rest(path) for path in notebook_paths(checkout / "notebooks")}
    run(checkout, "ada-l/find-it")
    assert {path: rest(path) for path in before} == before


def test_every_badge_opens_its_own_notebook_and_the_readme_opens_the_first(checkout):
    run(checkout, "ada-l/find-it", "main")
    paths = notebook_paths(checkout / "notebooks")
    link = r"\(https://colab\.research\.google\.com/github/ada-l/find-it/blob/main/(notebooks/\w+\.ipynb)\)"
    for path in paths:
        assert re.findall(link, read(path).cells[0].source) == [f"notebooks/{path.name}"]
        assert problems(path) == []
    text = (checkout / "README.md").read_text(encoding="utf-8")
    assert re.findall(link, text) == [f"notebooks/{paths[0].name}"]
    assert text.split("\n\n")[1].startswith("[![Open in Colab](")


def test_a_cell_above_the_bootstrap_stays_and_is_in_nobodys_way(checkout):
    path = checkout / "notebooks" / "07_metrics.ipynb"
    whole = read(path)
    whole.cells.insert(1, code("profile", 'import os\n\nos.environ["DIRL_PROFILE"] = "quick"'))
    save(whole, path.parent, path.name)
    assert run(checkout, "ada-l/find-it", "summer/2027") == 0
    edited = read(path)
    assert named_source(cell(edited, "bootstrap").source) == FORK
    assert "/ada-l/find-it/blob/summer/2027/notebooks/07_metrics.ipynb" in cell(edited, "title").source
    assert edited.cells[1] == whole.cells[1]


@pytest.mark.parametrize(
    ("branch", "is_known"),
    [("main", True), ("summer/2027", True), ("v1.0", True), ("origin/summer/2027", False), ("2027", False)],
)
def test_a_branch_that_git_does_not_know_is_written_with_a_warning(checkout, branch, is_known, capsys):
    for command in (
        ["init", "-q", "-b", "main"],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "--allow-empty", "-m", "first"],
        ["update-ref", "refs/remotes/origin/summer/2027", "HEAD"],
        ["tag", "v1.0"],
    ):
        subprocess.run(["git", *command], cwd=checkout, check=True)
    assert run(checkout, "ada-l/find-it", branch) == 0
    told = capsys.readouterr()
    assert f"branch {branch}; " in told.out
    warning = (
        f"warning: git knows no branch {branch} here; "
        "Colab opens nothing unless https://github.com/ada-l/find-it has it\n"
    )
    assert told.err == ("" if is_known else warning)


def test_outside_of_git_no_branch_is_doubted(checkout, monkeypatch, capsys):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(checkout.parent))
    assert run(checkout, "ada-l/find-it", "no-such-branch") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("git@github.com:ada-l/find-it.git", "https://github.com/ada-l/find-it"),
        ("https://github.com/ada-l/find-it", "https://github.com/ada-l/find-it"),
    ],
)
def test_without_a_name_the_remote_is_taken(checkout, remote, expected):
    subprocess.run(["git", "init", "-q"], cwd=checkout, check=True)
    subprocess.run(["git", "remote", "add", "origin", remote], cwd=checkout, check=True)
    assert run(checkout, "", "") == 0
    assert named_source(read(notebook_paths(checkout / "notebooks")[0]).cells[1].source) == Source(expected, "main")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "git knows no remote called origin; name the repository: make badges REPO=owner/name"),
        (("ada-l",), "found the repository 'ada-l', expected owner/name"),
        (("ada-l/find-it", "a b"), "found the branch 'a b'"),
    ],
)
def test_a_bad_name_is_one_line_and_changes_nothing(checkout, arguments, complaint, capsys):
    subprocess.run(["git", "init", "-q"], cwd=checkout, check=True)
    before = contents(checkout)
    assert run(checkout, *arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"error: {complaint}")
    assert told.err.count("\n") == 1
    assert contents(checkout) == before


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda of: cell(of, "bootstrap").update(id="start"), "two cells should have the ids title and bootstrap"),
        (
            lambda of: cell(of, "bootstrap").update(source=f"{BOOTSTRAP}\nenv.seed"),
            "bootstrap cell was changed by hand",
        ),
        (
            lambda of: cell(of, "bootstrap").update(source=bootstrap(FORK).replace("seed=0", "seed=1")),
            "bootstrap cell was changed by hand",
        ),
        (lambda of: cell(of, "title").update(source="No title."), "does not begin with a title"),
    ],
)
def test_one_notebook_without_a_place_stops_all(tmp_path, spoil, complaint, capsys):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "README.md").write_text("# Title\n\nText.\n", encoding="utf-8")
    save(tiny(), tmp_path / "notebooks", "41_whole.ipynb")
    spoilt = tiny()
    spoil(spoilt)
    save(spoilt, tmp_path / "notebooks", "42_tiny.ipynb")
    before = contents(tmp_path)
    assert run(tmp_path, "ada-l/find-it") == 2
    assert re.search(f"error: 42_tiny.ipynb: .*{complaint}", capsys.readouterr().err)
    assert contents(tmp_path) == before


def with_one_cell(text):
    whole = json.loads(text)
    return json.dumps({**whole, "cells": whole["cells"][:1]}).encode()


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        (
            "notebooks/07_metrics.ipynb",
            lambda text: f"<<<<<<< HEAD\n{text}".encode(),
            "is not a readable notebook: JSON",
        ),
        ("notebooks/07_metrics.ipynb", with_one_cell, ": two cells should have the ids title and bootstrap"),
        (
            "notebooks/07_metrics.ipynb",
            lambda _: b'{"cells": [{"id": "title"}]}',
            "is not a readable notebook: KeyError: 'source'",
        ),
        ("notebooks/07_metrics.ipynb", lambda _: b"[]", "is not a readable notebook: TypeError"),
        ("notebooks/07_metrics.ipynb", lambda _: b"\xff\xfe", "cannot be read: 'utf-8' codec"),
        ("README.md", lambda _: None, r"cannot be read: .*No such file"),
    ],
    ids=["merge marker", "one cell", "no source", "no notebook", "not UTF-8", "no README"],
)
def test_a_file_that_cannot_be_read_is_named_in_one_line_and_nothing_changes(checkout, name, change, complaint, capsys):
    changed = change((checkout / name).read_text(encoding="utf-8"))
    (checkout / name).unlink()
    if changed is not None:
        (checkout / name).write_bytes(changed)
    before = contents(checkout)
    assert run(checkout, "ada-l/find-it") == 2
    told = capsys.readouterr().err
    assert re.match(f"error: {name.rpartition('/')[2]} ?{complaint}", told)
    assert told.count("\n") == 1
    assert contents(checkout) == before


# --- that badge and bootstrap belong together ---


def badged(**changes):
    result = tiny()
    cell(result, "title").source = with_badge(TITLE, "42_tiny.ipynb", FORK)
    cell(result, "bootstrap").source = bootstrap(FORK)
    for cell_id, source in changes.items():
        cell(result, cell_id).source = source
    return result


def test_a_badge_is_no_breach_of_the_conventions_and_does_not_hide_the_description(tmp_path):
    assert problems(save(badged(), tmp_path)) == []
    assert title_block(badged()) == title_block(tiny())


@pytest.mark.parametrize(
    "changes",
    [
        {"title": TITLE},
        {"bootstrap": BOOTSTRAP},
        {"title": with_badge(TITLE, "41_other.ipynb", FORK)},
        {"bootstrap": bootstrap(Source(FORK.address, "main"))},
    ],
    ids=["no badge", "no repository", "another notebook", "another branch"],
)
def test_a_badge_that_does_not_fit_is_named(tmp_path, changes):
    found = problems(save(badged(**changes), tmp_path))
    assert any("the badge does not belong to the repository that the bootstrap names" in each for each in found), found


def test_another_remote_picture_in_the_title_is_still_refused(tmp_path):
    found = problems(save(badged(title=f"{TITLE}\n\n![a](https://a.org/a.png)"), tmp_path))
    assert any("comes from the network" in each for each in found)


def test_pages_need_no_network_for_a_badge():
    assert "colab" not in render(badged()).html.split("bootstrap")[0]


def test_the_notebooks_here_name_one_repository_or_none():
    named = {named_source(read(path).cells[1].source) for path in notebook_paths()}
    assert len(named) == 1
    (source,) = named
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_badge(text, notebook_paths()[0].name, source) == text


def test_no_account_is_written_down_as_a_place_holder():
    """What a reader would paste unchanged, as github.com/owner/name, must stand nowhere."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    place_holder = re.compile(r"github(?:\.com)?/(?:owner|your|user|account|<)", re.IGNORECASE)
    for name in filter(lambda each: each.endswith((".md", ".py", ".ipynb", ".toml", ".cff", ".yml")), tracked):
        if name != "tests/test_badges.py" and (ROOT / name).is_file():
            assert not place_holder.search((ROOT / name).read_text(encoding="utf-8")), name
