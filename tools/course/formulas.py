"""TeX formulas as MathML, which every current browser draws without a script and without the network.

latex2mathml does the translation; here its output is brought into MathML Core, the part that browsers
implement, and a formula that it did not understand is refused instead of shown half translated.
"""

import re
import xml.etree.ElementTree as ET
from typing import Literal

from latex2mathml.converter import convert

Display = Literal["inline", "block"]

REWRITES = {
    # latex2mathml knows the starred and the inner forms only by these names.
    r"\begin{aligned}": r"\begin{split}",
    r"\end{aligned}": r"\end{split}",
    # ... and numbers the rows of `align` itself.
    r"\begin{align}": r"\begin{align*}",
    r"\end{align}": r"\end{align*}",
    r"\not=": r"\neq",
}

TAG = re.compile(r"\\tag\{([^}]*)\}")

LIMITS = {"min", "max", "lim", "sup", "inf", "argmin", "argmax", "arg min", "arg max"}
"""Operators whose index stands below them in a displayed formula."""

FUNCTIONS = {"log", "ln", "exp", "sin", "cos", "tan", "tanh", "det", "sgn"} | LIMITS
"""Names that stand a little apart from the argument that follows them without a bracket."""

UNSTRETCHED = "⌊⌋⌈⌉‖|↑↓"
"""Signs that browsers would fit to the height of the whole line."""

CHILDREN = {"mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "msubsup": 3, "munder": 2, "mover": 2, "munderover": 3}
"""How many arguments an element has."""

ALPHABETS = {
    # start of capitals, of small letters, of digits in Unicode's mathematical alphanumerics
    "bold": (0x1D400, 0x1D41A, 0x1D7CE),
    "bold-italic": (0x1D468, 0x1D482, None),
    "double-struck": (0x1D538, 0x1D552, 0x1D7D8),
    "sans-serif": (0x1D5A0, 0x1D5BA, 0x1D7E2),
    "monospace": (0x1D670, 0x1D68A, 0x1D7F6),
}
GREEK_BOLD_ITALIC = 0x1D736 - ord("α")


class FormulaError(ValueError):
    """A formula that cannot be shown; the message holds its source."""


def to_mathml(tex: str, display: Display = "inline") -> str:
    """One formula, without its dollars, as a `<math>` element.

    Args:
        tex: LaTeX of the kind MathJax reads; `\\tag{7}` becomes a number at the right margin.
        display: "inline" within a line, "block" on a line of its own.

    Raises:
        FormulaError: if a command is unknown, a brace is missing or a `&` stands outside an environment.
    """
    source = " ".join(tex.split())
    tag = TAG.search(source)
    body = TAG.sub("", source).strip()
    if not body:
        raise FormulaError(f"an empty formula: ${tex}$")
    for known, understood in REWRITES.items():
        body = body.replace(known, understood)
    try:
        text = convert(body, display=display).replace(' xmlns="http://www.w3.org/1998/Math/MathML"', "")
        root = ET.fromstring(text)
    except Exception as error:  # latex2mathml raises bare IndexErrors, too
        raise FormulaError(f"cannot convert the formula ${source}$: {type(error).__name__} {error}") from error

    _to_core(root, display)
    _check_complete(root, source)
    left_over = [leaf.text for leaf in root.iter() if leaf.text and ("\\" in leaf.text or leaf.text == "&")]
    if left_over:
        raise FormulaError(f"cannot convert {left_over[0]} in the formula ${source}$")

    root.set("alttext", source)
    math = ET.tostring(root, encoding="unicode")
    if display == "inline":
        return math
    number = f'<span class="equation-number">({tag[1]})</span>' if tag else ""
    return f'<div class="equation">{math}{number}</div>'


def _check_complete(root: ET.Element, source: str) -> None:
    """latex2mathml forgives a missing brace or argument and shows something else."""
    braces = re.sub(r"\\[{}]", "", source)
    if braces.count("{") != braces.count("}"):
        raise FormulaError(f"cannot convert the formula ${source}$: its braces do not pair")
    for element in root.iter():
        if len(element) != CHILDREN.get(element.tag, len(element)):
            raise FormulaError(f"cannot convert the formula ${source}$: a {element.tag} lacks an argument")


def _to_core(root: ET.Element, display: Display) -> None:
    for element in list(root.iter()):
        _space_functions(element)
        _merge_upright_letters(element)
        _unescape_text(element)
        _spell_variant(element)
        _align_table(element)
        _mend_arrow(element)
        if display == "block":
            _put_limits_below(element)
        if element.tag == "mspace" and element.get("width") == "negativethinmathspace":
            element.set("width", "-0.167em")
        if element.tag in {"mi", "mo"} and element.text and element.text in UNSTRETCHED and not element.attrib:
            element.tag = "mo"
            element.set("stretchy", "false")
        if element.tag == "mo" and len(element.text or "") > 1 and (element.text or "").isalpha():
            element.tag = "mi"  # a name is no relation sign: no wide gaps around it
        if element.tag == "mo" and element.text == "―":
            element.text = "¯"
            element.set("stretchy", "true")


def _merge_upright_letters(element: ET.Element) -> None:
    """\\mathrm{AP} arrives letter by letter, which browsers set apart; a word is one identifier."""
    word: ET.Element | None = None
    for child in list(element):
        if child.tag == "mi" and child.get("mathvariant") == "normal" and len(child) == 0:
            if word is None:
                word = child
            else:
                word.text = (word.text or "") + (child.text or "")
                element.remove(child)
        else:
            word = None
    for child in element:
        if child.get("mathvariant") == "normal" and len(child.text or "") > 1:
            del child.attrib["mathvariant"]


def _unescape_text(element: ET.Element) -> None:
    if element.tag == "mtext" and element.text:
        element.text = re.sub(r"\\([_%&#$])", r"\1", element.text)


def _spell_variant(element: ET.Element) -> None:
    """Browsers know `mathvariant` only as "normal"; the other alphabets have their own characters."""
    variant = element.get("mathvariant")
    if variant in (None, "normal"):
        return
    del element.attrib["mathvariant"]
    if variant in ALPHABETS and element.text:
        element.text = "".join(_in_alphabet(letter, variant) for letter in element.text)


def _in_alphabet(letter: str, variant: str) -> str:
    capital, small, digit = ALPHABETS[variant]
    if "A" <= letter <= "Z":
        return chr(capital + ord(letter) - ord("A"))
    if "a" <= letter <= "z":
        return chr(small + ord(letter) - ord("a"))
    if "0" <= letter <= "9" and digit is not None:
        return chr(digit + ord(letter) - ord("0"))
    if "α" <= letter <= "ω" and variant == "bold-italic":
        return chr(GREEK_BOLD_ITALIC + ord(letter))
    return letter


def _align_table(element: ET.Element) -> None:
    """Columns are aligned by style; an aligned equation touches at its relation sign."""
    if element.tag != "mtable":
        return
    touching = element.attrib.pop("columnspacing", None) is not None
    element.attrib.pop("rowspacing", None)
    for row in element.iterfind("mtr"):
        for column, cell in enumerate(row.iterfind("mtd")):
            alignment = cell.attrib.pop("columnalign", "center")
            apart = "2em" if column > 0 and column % 2 == 0 else "0"
            padding = f"0.4ex 0 0.4ex {apart}" if touching else "0.3ex 0.4em"
            cell.set("style", f"text-align: {alignment}; padding: {padding}")


def _mend_arrow(element: ET.Element) -> None:
    """An arrow with text above: browsers stretch it by themselves, and ignore relative paddings."""
    if element.tag not in {"mover", "munder", "munderover"}:
        return
    for child in element.iter("mpadded"):
        child.attrib.clear()
        child.set("lspace", "0.3em")
        child.set("style", "padding: 0 0.4em")
    base = element[0]
    if base.tag == "mstyle" and len(base) == 1 and base[0].text in {"→", "←"}:
        base[0].set("stretchy", "true")


def _put_limits_below(element: ET.Element) -> None:
    if element.tag == "msub" and (element[0].text or "") in LIMITS:
        element.tag = "munder"


def _space_functions(element: ET.Element) -> None:
    """A thin space around a function's name, as TeX sets it; none towards a bracket or an operator."""
    if element.tag not in {"mrow", "mtd", "math"}:
        return
    for child in list(element):
        scripted = child.tag in {"msub", "msup", "msubsup", "munder"}
        if (child[0] if scripted else child).text not in FUNCTIONS:
            continue
        position = list(element).index(child)
        following = element[position + 1] if position + 1 < len(element) else None
        if following is not None and following.tag != "mspace" and not _opens(following):
            element.insert(position + 1, ET.Element("mspace", width="0.167em"))
        before = element[position - 1] if position > 0 else None
        if before is not None and before.tag != "mspace" and (before.tag != "mo" or before.text in set(")]}")):
            element.insert(position, ET.Element("mspace", width="0.167em"))


def _opens(element: ET.Element) -> bool:
    return (element.text or "").startswith(("(", "["))
