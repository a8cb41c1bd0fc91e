"""One notebook as HTML: text with formulas, code with colours, outputs with their captions.

nbconvert's Markdown knows where formulas begin and end in a notebook; everything else is drawn here, because
its templates fetch MathJax and require.js from the network.
"""

import html
import re
from dataclasses import dataclass, field

from nbconvert.filters import strip_ansi
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from course.formulas import FormulaError, to_mathml
from course.notebooks import BADGE, picture_kind


@dataclass(frozen=True)
class Heading:
    """An entry of the contents of a page."""

    level: int
    anchor: str
    text: str
    """HTML, as it stands in the heading."""


@dataclass
class Body:
    """A notebook as HTML."""

    html: str
    headings: list[Heading] = field(default_factory=list)
    """Levels 2 and 3."""


class CourseRenderer(IPythonRenderer):
    """nbconvert's Markdown renderer with formulas as MathML and with headings that are remembered."""

    def __init__(self, anchors: dict[str, int] | None = None) -> None:
        super().__init__(escape=False)
        self.headings: list[Heading] = []
        self._anchors = {} if anchors is None else anchors

    def inline_math(self, body: str) -> str:
        return to_mathml(body, "inline")

    def block_math(self, body: str) -> str:
        return to_mathml(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        if name in {"equation", "equation*"}:
            return to_mathml(body, "block")
        return to_mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")

    def heading(self, text: str, level: int, **_attributes: object) -> str:
        plain = re.sub(r"<[^>]*>", "", text)
        # As JupyterLab names it, so that a link arrives in both; what HTML would have to escape is left out.
        words = re.sub(r"[\"'&<>]", "", html.unescape(plain))
        anchor = "-".join(words.split()) or "section"
        self._anchors[anchor] = self._anchors.get(anchor, 0) + 1
        if self._anchors[anchor] > 1:
            anchor = f"{anchor}-{self._anchors[anchor]}"
        self.headings.append(Heading(level, anchor, text))
        link = f'<a class="anchor" href="#{anchor}" aria-label="Link to this section">#</a>' if level > 1 else ""
        return f'<h{level} id="{anchor}">{text}{link}</h{level}>\n'

    def block_code(self, code: str, info: str | None = None) -> str:
        if (info or "").strip() == "python":
            return code_html(code)
        return f'<pre class="plain">{html.escape(code)}</pre>\n'


def render_markdown(source: str, renderer: CourseRenderer | None = None) -> str:
    """Markdown as HTML.

    Raises:
        FormulaError: if a formula cannot be converted.
    """
    text = MarkdownWithMath(renderer=renderer or CourseRenderer()).render(source)
    text = re.sub(r"<table>", '<div class="scroll"><table>', text).replace("</table>", "</table></div>")
    return link_to_pages(re.sub(r"<p>(.*?)</p>", _free_equations, text, flags=re.DOTALL))


def _free_equations(paragraph: re.Match[str]) -> str:
    """Displayed formulas stand between paragraphs: HTML allows no block inside one."""
    parts = re.split(r'(<div class="equation">.*?</div>)', paragraph[1], flags=re.DOTALL)
    return "\n".join(
        part if part.startswith('<div class="equation">') else f"<p>{part.strip()}</p>"
        for part in parts
        if part.strip()
    )


def link_to_pages(text: str) -> str:
    """Links between notebooks as links between their pages."""
    return re.sub(r'href="((?!https?:)[^"#]+)\.ipynb(#[^"]*)?"', r'href="\1.html\2"', text)


def code_html(source: str) -> str:
    """Python with colours."""
    return str(highlight(source, PythonLexer(), HtmlFormatter(cssclass="highlight")))


def render(notebook: NotebookNode) -> Body:
    """The cells of a notebook, one after the other.

    Raises:
        FormulaError: if a formula cannot be converted; the message names the cell.
    """
    body, anchors = Body(""), dict[str, int]()
    parts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            renderer = CourseRenderer(anchors)
            try:
                # Pages need no network, and a badge is a picture from there.
                text = render_markdown(BADGE.sub("", cell.source, count=1), renderer)
            except FormulaError as error:
                raise FormulaError(f"cell {cell.id}: {error}") from error
            body.headings += [heading for heading in renderer.headings if heading.level in (2, 3)]
            parts.append(f'<section class="text" data-cell="{cell.id}">\n{text}</section>\n')
        elif cell.cell_type == "code":
            parts.append(_code_cell(cell))
    body.html = "".join(parts)
    return body


def _code_cell(cell: NotebookNode) -> str:
    count = cell.execution_count
    label = f'<span class="count" title="execution count">{count}</span>' if count else ""
    kind = "exercise" if "exercise" in cell.metadata.get("tags", []) else "code"
    shown = _outputs_html(cell.outputs)
    outputs = f'<div class="outputs">{shown}</div>' if shown else ""
    section = f'<section class="cell {kind}" id="{cell.id}">\n{label}{code_html(cell.source)}{outputs}</section>\n'
    if cell.id != "bootstrap":
        return section
    # The same in every notebook: a reader of pages needs it once at most.
    return f'<details class="setup"><summary>Set-up of this notebook</summary>\n{section}</details>\n'


def _outputs_html(outputs: list[NotebookNode]) -> str:
    """All outputs of a cell; a picture and the caption after it become one figure."""
    parts, rest = [], list(outputs)
    while rest:
        output = rest.pop(0)
        if picture_kind(output):
            caption = ""
            if rest and 'class="dirl-caption"' in rest[0].get("data", {}).get("text/html", ""):
                caption = rest.pop(0).data["text/html"]
            parts.append(_figure(output, caption))
        else:
            parts.append(_output_html(output))
    return "\n".join(parts)


def _figure(output: NotebookNode, caption: str) -> str:
    kind = picture_kind(output)
    alternative = html.escape(output.metadata.get(kind, {}).get("alt", ""))
    image = output.data[kind].replace("\n", "")
    words = re.sub(r"</?(?:p|em)\b[^>]*>", "", caption)
    below = f"<figcaption>{words}</figcaption>" if words else ""
    return f'<figure><img alt="{alternative}" src="data:{kind};base64,{image}">{below}</figure>'


def _output_html(output: NotebookNode) -> str:
    match output.output_type:
        case "stream":
            return f'<pre class="stream {output.name}">{html.escape(strip_ansi(output.text))}</pre>'
        case "error":
            return f'<pre class="error">{html.escape(strip_ansi(chr(10).join(output.traceback)))}</pre>'
    data = output.data
    if "application/vnd.jupyter.widget-view+json" in data:
        return '<p class="interactive">An interactive control: open this notebook in JupyterLab to use it.</p>'
    if "text/html" in data:
        return f'<div class="scroll">{data["text/html"]}</div>'
    if "text/markdown" in data:
        return f'<div class="source">{render_markdown(data["text/markdown"])}</div>'
    return f"<pre>{html.escape(strip_ansi(data.get('text/plain', '')))}</pre>"
