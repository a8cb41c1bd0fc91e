"""The tools of the course: formulas, pages, conventions, and the running of notebooks."""

import contextlib
import copy
import io
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import check_notebooks
import pytest
import run_course
from course import colab, pages
from course.conventions import problems
from course.execution import execute
from course.formulas import FormulaError, to_mathml
from course.notebooks import (
    ROOT,
    CourseError,
    cleaned,
    exercise_cells,
    read,
    select,
    solved,
    title_block,
    with_measured_time,
    write,
)
from course.rendering import render, render_markdown
from nbformat.v4 import new_output
from tiny_notebooks import TITLE, cell, code, markdown, notebook, png, save, stream, tiny

# --- formulas ---


def tree(tex, display="inline"):
    text = to_mathml(tex, display)
    return ET.fromstring(re.search(r"<math.*</math>", text, re.DOTALL)[0])


def leaves(element):
    return [each.text for each in element.iter() if each.text]


@pytest.mark.parametrize(
    "tex",
    [
        r"\mathcal{L}_{\text{bce}}",
        r"\hat{M}_i \odot \tilde{x} \otimes \bar{y} \oplus \widehat{AB}",
        r"\begin{aligned} a &= b \\ &= c \end{aligned}",
        r"\begin{align} a &= b & c &= d \end{align}",
        r"f(x) = \begin{cases} 1 & \text{if } x > 0 \\ 0 & \text{otherwise} \end{cases}",
        r"\underbrace{a_1 + \dots + a_n}_{n\text{ terms}} \xrightarrow{f} \uparrow\downarrow \Rightarrow",
        r"\left[ \frac{\partial L}{\partial \hat{m}_{ij}} \right]_{i,j=1}^{H \times W}",
        r"\sum_{k=1}^{5} \prod_i \int_0^1 \sqrt{\sigma_x^2} \quad \forall x \in \mathbb{R}^{3 \times 3}",
        r"\operatorname{SSIM}(x, y), \mathrm{softmax}(z), \mathbf{W}^{\top}, \boldsymbol{\theta}, \lVert x \rVert_2",
        r"\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}, \lfloor x / 2 \rfloor, x \not= y, \mathbb{1}[x \ge \tau]",
    ],
)
def test_the_formulas_of_the_course_leave_no_tex_behind(tex):
    assert not re.search(r"[\\&]", "".join(leaves(tree(tex, "block"))))
    assert tree(tex).get("alttext") == tex


@pytest.mark.parametrize(
    ("tex", "complaint"),
    [
        (r"\unknowncommand{x}", r"cannot convert \\unknowncommand"),
        ("x^{2", r"cannot convert the formula \$x\^\{2\$"),
        (r"\frac{a}", "cannot convert the formula"),
        ("a &= b", "cannot convert"),
        (" ", "an empty formula"),
    ],
)
def test_a_formula_that_cannot_be_shown_is_refused(tex, complaint):
    with pytest.raises(FormulaError, match=complaint):
        to_mathml(tex)


def test_aligned_rows_touch_at_the_relation_and_keep_their_columns():
    cells = [each.get("style") for each in tree(r"\begin{aligned} a &= b \\ &= c \end{aligned}", "block").iter("mtd")]
    assert [style.partition(";")[0] for style in cells] == ["text-align: right", "text-align: left"] * 2


def test_a_word_in_upright_letters_is_one_identifier():
    assert leaves(tree(r"\mathrm{AP}")) == ["AP"]
    assert leaves(tree(r"\operatorname{SSIM}")) == ["SSIM"]


def test_the_index_of_a_minimum_stands_below_in_a_displayed_formula():
    assert tree(r"\min_{\theta} L", "block").find(".//munder") is not None
    assert tree(r"\min_{\theta} L").find(".//munder") is None


def test_a_function_stands_apart_from_its_argument_but_not_from_a_bracket():
    assert len(list(tree(r"\log x").iter("mspace"))) == 1
    assert len(list(tree(r"\log(x)").iter("mspace"))) == 0


def test_other_alphabets_are_spelt_with_their_own_characters():
    assert leaves(tree(r"\boldsymbol{M}\boldsymbol{\theta}")) == ["𝑴", "𝜽"]
    assert "mathvariant" not in ET.tostring(tree(r"\boldsymbol{M}"), encoding="unicode")


def test_a_tag_becomes_the_number_of_the_equation():
    text = to_mathml(r"a = b \tag{7}", "block")
    assert '<span class="equation-number">(7)</span>' in text
    assert "7" not in leaves(tree(r"a = b \tag{7}", "block"))


# --- text and pages ---


def test_formulas_are_found_between_dollars_and_not_in_code():
    text = render_markdown(
        "The mask $M$ costs `$5`.\n\n$$\na = b\n$$\n\nand\n\\begin{equation}\nc = d\n\\end{equation}"
    )
    assert text.count("<math") == 3
    assert text.count('display="block"') == 2
    assert "<code>$5</code>" in text


def test_a_displayed_formula_stands_between_paragraphs():
    text = render_markdown("Before\n$$a$$\nafter.")
    assert re.fullmatch(r'<p>Before</p>\n<div class="equation">.*</div>\n<p>after\.</p>\s*', text, re.DOTALL)


def test_links_between_notebooks_become_links_between_pages():
    text = render_markdown("[a](03_bfi.ipynb) [b](03_bfi.ipynb#goals) [c](https://example.org/x.ipynb)")
    assert re.findall(r'href="([^"]*)"', text) == ["03_bfi.html", "03_bfi.html#goals", "https://example.org/x.ipynb"]


def test_headings_of_one_page_have_different_anchors():
    body = render(notebook(markdown("a", "## Goals"), markdown("b", "## Goals\n\n### A `gate`")))
    assert [heading.anchor for heading in body.headings] == ["Goals", "Goals-2", "A-gate"]


def test_headings_have_the_anchors_that_jupyterlab_gives_them():
    body = render(notebook(markdown("a", '## 3. The "odd" & explorer')))
    assert [heading.anchor for heading in body.headings] == ["3.-The-odd-explorer"]


def test_a_solution_is_a_closed_box_with_coloured_code():
    text = render_markdown(cell(tiny(), "solution-42-1").source)
    assert re.search(r'<details><summary>Solution</summary>.*<div class="highlight">.*</details>', text, re.DOTALL)


def test_the_bootstrap_is_folded_away():
    text = render(tiny()).html
    assert text.count("<details") == 2
    assert re.search(r'<details class="setup">.*importlib.*</details>.*id="add"', text, re.DOTALL)


def test_a_picture_and_its_caption_become_one_figure_with_alternative_text():
    caption = {"text/html": '<p class="dirl-caption"><em>A <code>grey</code> square.</em></p>', "text/plain": "-"}
    shown = code(
        "c", "x", png(alt='A "grey" square.'), {"output_type": "display_data", "data": caption, "metadata": {}}
    )
    text = render(notebook(shown)).html
    assert text.count("<figure>") == text.count("<img") == 1
    assert 'alt="A &quot;grey&quot; square."' in text
    assert "<figcaption>A <code>grey</code> square.</figcaption>" in text


def test_what_a_program_prints_is_never_taken_for_html():
    shown = code("c", "x", stream("<script>alert(1)</script>"), stream("\x1b[31mred\x1b[0m & <b>"))
    text = render(notebook(shown)).html
    assert "<script>" not in text
    assert "red &amp; &lt;b&gt;" in text
    assert "\x1b" not in text


def test_a_formula_that_fails_names_its_cell():
    with pytest.raises(FormulaError, match=r"cell here: cannot convert \\foo"):
        render(notebook(markdown("here", r"$\foo$")))


class PageReader(HTMLParser):
    """Anchors, links, what the browser would fetch, and pictures of a page."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.fetched, self.without_alt = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if "id" in attributes:
            assert attributes["id"] not in self.ids, attributes["id"]
            self.ids.add(attributes["id"])
        if tag == "a":
            self.links.append(attributes["href"])
        elif "src" in attributes or "href" in attributes:
            self.fetched.append(attributes.get("src", attributes.get("href")))
        if tag == "img" and not attributes.get("alt"):
            self.without_alt.append(attributes["src"][:40])


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """Three notebooks, the last of which fails, run and printed."""
    folder, out = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("pages") / "course"
    numbered = {
        number: TITLE.replace("42", number).replace("A tiny notebook", f"Number {number}")
        for number in ["12", "34", "56"]
    }
    plain = code(
        "hello",
        'import os, time\nprint("profile", os.environ["DIRL_PROFILE"], flush=True)\ntime.sleep(1)\nprint("later")',
    )
    save(notebook(markdown("title", numbered["12"]), plain), folder, "12_first.ipynb")
    picture = code(
        "picture", "from dirl_lib import nb\nfrom matplotlib.figure import Figure\nnb.figure(Figure(), 'Paper.')"
    )
    text = markdown(
        "text", "## A part\n\n[Back](12_first.ipynb), [part](#A-part), [card](../docs/MODEL_CARD.md): $a^2$."
    )
    save(notebook(markdown("title", numbered["34"]), text, picture), folder, "34_second.ipynb")
    broken = code("broken", "value = 1\nraise ZeroDivisionError('on purpose')")
    save(
        notebook(markdown("title", numbered["56"]), broken, code("never", "print('reached')")), folder, "56_third.ipynb"
    )
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    return folder, out, before


@pytest.fixture(scope="module")
def printed(course):
    folder, out, _ = course
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        code = run_course.main(["--notebooks", str(folder), "--out", str(out)])
    return code, stdout.getvalue(), stderr.getvalue()


@pytest.mark.notebook
def test_a_failing_notebook_is_loud_and_the_others_go_on(course, printed):
    code, stdout, stderr = printed
    assert code == 1
    assert re.search(r"12_first.ipynb +ok +[\d.]+ s +\d+ MiB", stdout)
    assert re.search(r"34_second.ipynb +ok", stdout)
    assert re.search(r"56_third.ipynb +FAILED", stdout)
    assert "FAILED 56_third.ipynb, cell 2 (id broken): ZeroDivisionError: on purpose\n    | value = 1\n" in stderr
    assert stderr.endswith("1 failed:\n  FAILED 56_third.ipynb, cell 2 (id broken): ZeroDivisionError: on purpose\n")
    assert f"open {course[1] / 'index.html'}" in stdout


@pytest.mark.notebook
def test_running_leaves_the_notebooks_as_they_are(course, printed):
    folder, _, before = course
    assert printed
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.notebook
def test_pages_fetch_nothing_and_every_link_arrives(course, printed):
    assert printed
    out = course[1]
    read_pages = {path.name: PageReader(path.read_text(encoding="utf-8")) for path in out.glob("*.html")}
    assert set(read_pages) == {"index.html", "12_first.html", "34_second.html", "56_third.html"}
    for name, page in read_pages.items():
        assert all(address.startswith("data:") for address in page.fetched), name
        assert not page.without_alt, name
        for link in page.links:
            file, _, anchor = link.partition("#")
            if file.endswith("MODEL_CARD.md"):
                assert (out / file).resolve() == ROOT / "docs/MODEL_CARD.md"
                continue
            assert (file or name) in read_pages, link
            assert not anchor or anchor in read_pages[file or name].ids, link
    assert "url(" not in (out / "index.html").read_text(encoding="utf-8")


@pytest.mark.notebook
def test_pages_tell_profile_neighbours_and_failure(course, printed):
    assert printed
    out = course[1]
    first, second, third, index = (
        (out / f"{name}.html").read_text(encoding="utf-8") for name in ("12_first", "34_second", "56_third", "index")
    )
    assert "profile quick\nlater" in first  # one block, though it was printed at two times
    assert re.search(r'rel="prev"><small>Previous</small>12 · Number 12', second)
    assert re.search(r'rel="next"><small>Next</small>56 · Number 56', second)
    assert 'rel="prev"' not in first
    assert "This notebook stopped in cell 2" in third
    assert "reached" not in re.sub(r'<section class="cell code" id="never">.*', "", third, flags=re.DOTALL)
    assert "stopped with an error" in index
    records = json.loads((out / "runs.json").read_text(encoding="utf-8"))
    assert 20e6 < records["12_first"]["peak_bytes"] < 2e9


@pytest.mark.notebook
def test_writing_stores_outputs_counts_and_time_and_nothing_of_the_run(tmp_path, capsys):
    source = tiny()
    cell(source, "title").source = TITLE.replace("about 5 s", "about ? s")
    cell(source, "add").metadata.execution = {"iopub.execute_input": "2026-01-01"}
    source.metadata.widgets = {"state": {}}
    cell(source, "check-42-1").source = 'print("not attempted yet", square(3))'
    for each in source.cells:
        if each.cell_type == "code":
            each.outputs, each.execution_count = [], None
    path = save(source, tmp_path)
    assert run_course.main(["--write", "--notebooks", str(tmp_path), "--out", str(tmp_path / "out"), "42"]) == 0
    stored = read(path)
    assert [each.execution_count for each in stored.cells if each.cell_type == "code"] == [1, 2, 3, 4]
    assert cell(stored, "add").outputs[0].text == "sum: 2\n"
    assert re.search(r"quick profile: about \d+ s", cell(stored, "title").source)
    assert dict(cell(stored, "add").metadata) == {}
    assert "widgets" not in stored.metadata
    assert stored.metadata.kernelspec.name == "python3"
    assert [each.id for each in stored.cells] == [each.id for each in tiny().cells]
    assert path.read_text(encoding="utf-8").endswith("}\n")
    assert "open" in capsys.readouterr().out


@pytest.mark.notebook
def test_writing_twice_changes_nothing(tmp_path):
    path = save(tiny(), tmp_path)
    first = execute(read(path), tmp_path)
    write(with_measured_time(cleaned(first.notebook), first.seconds), path)
    once = path.read_bytes()
    second = execute(read(path), tmp_path)
    write(cleaned(second.notebook), path)
    assert path.read_bytes() == once


@pytest.mark.notebook
def test_a_notebook_that_fails_is_not_stored(tmp_path):
    broken = tiny()
    cell(broken, "add").source = "raise ValueError"
    path = save(broken, tmp_path)
    before = path.read_bytes()
    assert run_course.main(["--write", "--notebooks", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert path.read_bytes() == before


@pytest.mark.notebook
def test_a_kernel_that_dies_is_a_failure_with_its_cell(tmp_path):
    dead = notebook(markdown("title", TITLE), code("dies", "import os\nos._exit(3)"))
    run = execute(dead, tmp_path)
    assert run.failure.cell_id == "dies"
    assert "DeadKernelError" in run.failure.message


def test_full_outputs_are_never_stored(capsys):
    with pytest.raises(SystemExit):
        run_course.main(["--write", "--profile", "full"])
    assert "outputs of the quick profile only" in capsys.readouterr().err


@pytest.mark.parametrize("tool", [run_course, check_notebooks])
def test_an_unknown_notebook_is_answered_with_those_that_exist(tool, capsys):
    assert tool.main(["98"]) == 2
    assert re.search(r"error: no notebook '98'; there are: \d\d_", capsys.readouterr().err)


def test_without_notebooks_nothing_is_called_a_success(tmp_path, capsys):
    assert run_course.main(["--notebooks", str(tmp_path)]) == 2
    assert "error: no notebooks in" in capsys.readouterr().err


def test_notebooks_are_chosen_by_number_name_or_file(tmp_path):
    for name in ("03_bfi.ipynb", "04_mda.ipynb", "05_ggd.ipynb"):
        save(tiny(), tmp_path, name)
    assert [path.name for path in select(["05", "notebooks/03_bfi.ipynb"], tmp_path)] == [
        "03_bfi.ipynb",
        "05_ggd.ipynb",
    ]
    assert len(select([], tmp_path)) == 3


# --- reading notebooks ---


def test_the_title_block_is_read():
    block = title_block(tiny())
    assert (block.number, block.title, block.description) == (
        "42",
        "A tiny notebook",
        "What a notebook of the course looks like.",
    )
    assert block.facts["Data"] == "none"


@pytest.mark.parametrize(
    ("stored", "seconds", "expected"),
    [
        ("?", 0.4, "5"),
        ("?", 12.1, "15"),
        ("?", 15.0, "15"),
        ("20", 24.9, "20"),
        ("20", 25.2, "30"),
        ("20", 12, "20"),
        ("20", 11.9, "15"),
    ],
)
def test_the_measured_time_is_rounded_up_and_kept_while_it_is_roughly_right(stored, seconds, expected):
    source = notebook(markdown("title", TITLE.replace("about 5 s", f"about {stored} s")))
    assert f"quick profile: about {expected} s" in with_measured_time(source, seconds).cells[0].source


def test_a_solution_takes_the_place_of_its_stub():
    result = solved(tiny())
    assert cell(result, "exercise-42-1").source == "def square(x):\n    return x * x"
    assert [each.number for each in exercise_cells(tiny())] == ["42.1"]


def test_a_file_that_is_no_notebook_is_named(tmp_path):
    path = tmp_path / "42_tiny.ipynb"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(CourseError, match=r"42_tiny\.ipynb is not a readable notebook"):
        read(path)
    assert problems(path)


# --- conventions ---


def test_a_notebook_that_keeps_to_the_conventions_has_no_problems(tmp_path):
    assert problems(save(tiny(), tmp_path)) == []


def test_the_documentation_shows_the_bootstrap_that_is_asked_for():
    text = (ROOT / "docs/NOTEBOOKS.md").read_text(encoding="utf-8")
    assert "\n".join(f"    {line}".rstrip() for line in colab.BOOTSTRAP.splitlines()) in text


def _set(cell_id, **changes):
    def spoil(spoilt):
        for key, value in changes.items():
            cell(spoilt, cell_id)[key] = value

    return spoil


def _meta(cell_id, **changes):
    return lambda spoilt: cell(spoilt, cell_id).metadata.update(changes)


def _strip(spoilt):
    for each in spoilt.cells:
        if each.cell_type == "code":
            each.outputs, each.execution_count = [], None


def _append(*cells):
    return lambda spoilt: spoilt.cells.extend(copy.deepcopy(cells))


SPOILT = {
    "stripped": (_strip, "execution counts are None, None, None, None, expected 1 to 4: the outputs are stripped"),
    "outputs removed": (_set("add", outputs=[]), "cell add: shows something, but its output is missing"),
    "counts": (_set("add", execution_count=7), "execution counts are 1, 7, 3, 4"),
    "title": (_set("title", source="# Tiny"), "should begin with a title"),
    "number": (_set("title", source=TITLE.replace("42", "43")), "the title says 43, the file is 42_tiny"),
    "table": (
        _set("title", source=TITLE.replace("| Data ", "| Date ")),
        "one table, the columns Needs, Time, Data, Paper",
    ),
    "description": (
        _set("title", source=TITLE.replace("What a notebook of the course looks like.\n\n", "")),
        "in a sentence",
    ),
    "no time": (_set("title", source=TITLE.replace("quick profile", "quick")), "should hold 'quick profile: about"),
    "time not measured": (_set("title", source=TITLE.replace("about 5 s", "about ? s")), "not measured yet"),
    "too slow": (_set("title", source=TITLE.replace("about 5 s", "about 65 s")), "about 65 s, at most 60"),
    "bootstrap": (_set("bootstrap", source="import dirl_lib"), "should be the bootstrap"),
    "bootstrap compared": (_meta("bootstrap", tags=[]), "needs the tag nbval-ignore-output"),
    "no reason": (_meta("bootstrap", reason=" "), "cell bootstrap: is exempt from comparison without a reason"),
    "two exempt": (
        _meta("add", tags=["nbval-skip"], reason="r"),
        "2 of 4 code cells are exempt from comparison, at most 1",
    ),
    "comment marker": (_set("add", source="# NBVAL_IGNORE_OUTPUT\nprint(2)"), "markers are tags"),
    "unknown tag": (_meta("add", tags=["slow"]), "cell add: unknown tag slow"),
    "editor": (_meta("add", collapsed=True), "cell add: collapsed in the metadata"),
    "long cell": (_set("add", source="x = 1\n" * 30 + "print(x)"), "cell add: 31 lines, at most 30"),
    "long line": (_set("add", source=f"print('{'x' * 90}')"), "cell add: a line of 99 characters"),
    "magic": (_set("add", source="%matplotlib inline\nprint(2)"), "cell add: magics"),
    "empty": (_set("sum", source=" "), "cell sum: is empty"),
    "two code cells": (lambda spoilt: spoilt.cells.pop(2), "cell add: follows a code cell"),
    "local path in code": (
        _set("add", source="print(open('/home/me/x'))"),
        "cell add: names a path of one machine, '/home/m'",
    ),
    "local path in output": (
        _set("add", outputs=[stream("C:\\Users\\me")]),
        "cell add: the output names a path of one machine",
    ),
    "address": (_set("add", outputs=[stream("<object at 0x7f3a2b1c>")]), "holds an address that changes"),
    "stderr": (
        _set("add", outputs=[stream("careful", "stderr")]),
        "cell add: something is written to stderr: 'careful'",
    ),
    "error": (
        _set("add", outputs=[new_output("error", ename="ValueError", evalue="", traceback=[])]),
        "cell add: the stored output is an error, ValueError",
    ),
    "figure without text": (_set("add", outputs=[png(alt="")]), "cell add: a figure without alternative text"),
    "skipped level": (_set("task", source="#### Exercise"), "cell task: a heading of level 4 below one of level 2"),
    "second title": (_set("task", source="# Exercise"), "cell task: a second heading of level 1"),
    "image without text": (
        _set("sum", source="## A\n\n![](a.png)"),
        "cell sum: the image a.png has no alternative text",
    ),
    "remote image": (_set("sum", source="## A\n\n![a](https://a.org/a.png)"), "comes from the network"),
    "dead link": (_set("sum", source="## A\n\n[a](43_none.ipynb)"), "links to 43_none.ipynb, which does not exist"),
    "formula": (_set("sum", source="## A\n\n$\\foo$"), r"cell sum: cannot convert \\foo"),
    "widget state": (lambda spoilt: spoilt.metadata.update(widgets={"a": 1}), "hold a widget state"),
    "kernel": (
        lambda spoilt: spoilt.metadata.update(kernelspec={"name": "mine", "display_name": "x"}),
        "not called python3",
    ),
    "no check": (
        _set("check-42-1", source="print(1)", id="other"),
        r"exercise 42\.1: the next code cell should have the id check-42-1",
    ),
    "other check": (_set("check-42-1", source='print(check("42.2", square))'), r'and call check\("42\.1", '),
    "no solution": (
        lambda spoilt: spoilt.cells.pop(),
        r"exercise 42\.1: a cell with the id solution-42-1 should follow",
    ),
    "solves another": (_meta("solution-42-1", solves="exercise-42-2"), '"solves": "exercise-42-1"'),
    "solution untagged": (_meta("solution-42-1", tags=[]), "should be a markdown cell with the tag solution"),
    "open solution": (_set("solution-42-1", source="```python\nx\n```"), "should be wrapped in <details>"),
    "two blocks": (
        _set(
            "solution-42-1",
            source="<details><summary>Solution</summary>\n\n```python\nx\n```\n```python\ny\n```\n\n</details>",
        ),
        "should hold exactly one ```python block",
    ),
    "solution is no Python": (
        _set("solution-42-1", source="<details><summary>Solution</summary>\n\n```python\ndef (\n```\n\n</details>"),
        r"exercise 42\.1: the solution is not Python",
    ),
    "stub id": (_set("exercise-42-1", id="stub"), "cell stub: a cell with the tag exercise is code with an id like"),
    "stray solution": (
        _append(markdown("extra", "x", tags=["solution"])),
        "cell extra: has the tag solution, but there is no stub",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_breaks_a_convention_is_named_with_its_cell(tmp_path, name):
    spoil, complaint = SPOILT[name]
    spoilt = tiny()
    spoil(spoilt)
    found = problems(save(spoilt, tmp_path))
    assert any(re.search(complaint, problem) for problem in found), found


def test_one_exempt_cell_in_ten_is_allowed_and_no_more(tmp_path):
    def with_exempt(exempt, total):
        cells = []
        for number in range(total - 4):
            cells.append(markdown(f"m{number}", "Text."))
            tags = {"tags": ["nbval-ignore-output"], "reason": "hardware"} if number < exempt - 1 else {}
            cells.append(code(f"c{number}", f"x = {number}", count=number + 5, **tags))
        result = tiny()
        result.cells.extend(cells)
        return problems(save(result, tmp_path))

    assert with_exempt(2, 20) == []
    assert with_exempt(3, 30) == []
    assert any("3 of 29 code cells are exempt" in problem for problem in with_exempt(3, 29))


def test_large_files_and_bad_names_are_refused(tmp_path):
    large = tiny()
    cell(large, "sum").source += "x" * 650_000
    assert any("bytes, at most 650,000" in problem for problem in problems(save(large, tmp_path)))
    assert any(
        "not of the form NN_snake_case" in problem for problem in problems(save(tiny(), tmp_path, "42-Tiny.ipynb"))
    )


def test_memory_that_is_not_told_is_called_unknown():
    assert pages.describe_memory(0) == "unknown"
    assert pages.describe_memory(512 * 2**20) == "512 MiB"
