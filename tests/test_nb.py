"""What notebooks start with and show with."""

import ast
import base64
import io
import random
import sys
import types
from html.parser import HTMLParser

import IPython.display
import numpy as np
import pytest
import torch
from PIL import Image

import dirl_lib.nb as nb


@pytest.fixture
def shown(monkeypatch):
    """Every (bundle, metadata) handed to IPython, in order."""
    calls = []

    def display(bundle, metadata=None, raw=False):
        assert raw
        calls.append((bundle, metadata or {}))

    monkeypatch.setattr(IPython.display, "display", display)
    return calls


@pytest.fixture
def plt():
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    with matplotlib.rc_context():
        yield pyplot
    pyplot.close("all")


# --- setup ---


@pytest.mark.parametrize(
    ("requested", "has_gpu", "profile", "device"),
    [
        (None, False, "quick", "cpu"),
        (None, True, "full", "cuda"),
        ("quick", True, "quick", "cpu"),
        ("full", False, "full", "cpu"),
        ("full", True, "full", "cuda"),
        ("", False, "quick", "cpu"),
    ],
)
def test_profile_and_device_follow_the_environment_then_the_hardware(monkeypatch, requested, has_gpu, profile, device):
    monkeypatch.delenv("DIRL_PROFILE", raising=False)
    if requested is not None:
        monkeypatch.setenv("DIRL_PROFILE", requested)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    env = nb.setup()
    assert (env.profile, env.device.type) == (profile, device)


def test_a_misspelt_profile_is_refused_with_the_two_that_exist(monkeypatch):
    monkeypatch.setenv("DIRL_PROFILE", "Quick")
    with pytest.raises(ValueError, match="DIRL_PROFILE is 'Quick', expected 'quick' or 'full'"):
        nb.setup()


def test_setup_seeds_python_numpy_and_torch():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002 - the state that is seeded

    nb.setup(seed=3)
    first = draw()
    expected = random.Random(3).random(), np.random.RandomState(3).rand()
    assert first[:2] == expected
    assert first[2] == torch.rand(1, generator=torch.Generator().manual_seed(3)).item()
    nb.setup(seed=3)
    assert draw() == first
    nb.setup(seed=4)
    assert draw() != first


def test_setup_leaves_the_number_of_threads_alone():
    before = torch.get_num_threads()
    nb.setup()
    assert torch.get_num_threads() == before


def test_no_text_of_a_figure_is_smaller_than_nine_points(plt):
    nb.setup()
    sizes = [
        plt.rcParams[f"{part}size"] for part in ("font.", "axes.title", "axes.label", "xtick.label", "ytick.label")
    ]
    assert min(sizes) >= 9
    assert plt.rcParams["legend.fontsize"] >= 9
    assert plt.rcParams["figure.dpi"] == plt.rcParams["savefig.dpi"] == 100


def test_the_profile_picks_one_of_two_values(monkeypatch):
    monkeypatch.setenv("DIRL_PROFILE", "quick")
    assert nb.setup().pick(quick=30, full=6000) == 30
    monkeypatch.setenv("DIRL_PROFILE", "full")
    assert nb.setup().pick(quick=30, full=6000) == 6000


def test_the_environment_shows_profile_device_seed_and_versions(monkeypatch):
    monkeypatch.setenv("DIRL_PROFILE", "quick")
    env = nb.setup(seed=5)
    for text in (repr(env), env._repr_html_()):
        for part in ("quick", "cpu", "5", torch.__version__.split("+")[0], np.__version__):
            assert part in text
    assert "\n" not in repr(env)
    assert env._repr_html_().count('<th scope="col">') == 3 + len(env.versions)


@pytest.mark.parametrize("has_gpu", [False, True])
def test_on_colab_without_a_gpu_the_menu_is_named_and_nothing_stops(monkeypatch, has_gpu):
    monkeypatch.delenv("DIRL_PROFILE", raising=False)
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert ("Runtime > Change runtime type" in repr(nb.setup())) is not has_gpu


def test_elsewhere_there_is_no_advice_about_colab():
    assert nb.setup().note == ""


# --- figures ---


def _pixels(bundle):
    (data,) = [value for kind, value in bundle.items() if kind.startswith("image/")]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def test_a_figure_is_shown_once_with_its_caption_as_alternative_text_and_below(shown, plt):
    nb.setup()
    fig, axes = plt.subplots(figsize=(4, 2.5))
    axes.plot([0, 1], [0, 1])
    nb.figure(fig, "The line `y = x`\n   rises.")
    (picture, metadata), (caption, _) = shown
    assert _pixels(picture).shape == (250, 400, 3)
    assert metadata == {"image/png": {"alt": "The line y = x rises."}}
    assert caption["text/plain"] == "The line `y = x` rises."
    assert caption["text/html"] == '<p class="dirl-caption"><em>The line <code>y = x</code> rises.</em></p>'
    assert not plt.fignum_exists(fig.number)


def test_the_same_figure_gives_the_same_bytes(shown, plt):
    for _ in range(2):
        fig, axes = plt.subplots(figsize=(3, 2))
        axes.imshow(np.random.default_rng(0).random((30, 40, 3)))
        nb.figure(fig, "Noise.")
    assert shown[0] == shown[2]


def test_a_figure_made_without_pyplot_is_shown_too(shown):
    from matplotlib.figure import Figure

    nb.figure(Figure(figsize=(2, 1)), "Nothing.")
    assert _pixels(shown[0][0]).shape == (100, 200, 3)


@pytest.mark.parametrize("caption", ["", "  \n"])
def test_a_figure_without_a_caption_is_refused(shown, plt, caption):
    with pytest.raises(ValueError, match="needs a caption"):
        nb.figure(plt.figure(), caption)
    assert shown == []


def _as_shown(plt, shown, pixels):
    """A picture drawn pixel by pixel, then shown and read back."""
    height, width = pixels.shape[:2]
    fig = plt.figure(figsize=(width / nb.DPI, height / nb.DPI), layout="none")
    fig.figimage(pixels)
    nb.figure(fig, "A picture.")
    return _pixels(shown[0][0]).astype(float), next(kind for kind in shown[0][0] if kind.startswith("image/"))


def test_a_photograph_is_a_jpeg_that_nobody_can_tell_from_the_original(shown, plt):
    from skimage import data

    photograph = np.pad(data.astronaut()[::2, ::2], ((20, 20), (20, 20), (0, 0)), constant_values=255)
    found, kind = _as_shown(plt, shown, photograph)
    assert kind == "image/jpeg"
    assert np.abs(found - photograph).mean() < 4  # of 255
    assert (found[:8] == 255).all()


def test_a_drawing_is_a_png_and_exact(shown, plt):
    drawing = np.full((120, 200, 3), 255, np.uint8)
    drawing[30:60, 40:160] = (230, 159, 0)
    found, kind = _as_shown(plt, shown, drawing)
    assert kind == "image/png"
    assert (found == drawing).all()


# --- tables ---


class _TableReader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.rows, self.styles, self.caption, self._inside = [], [], "", None

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "tr":
            self.rows.append([])
        if tag in {"th", "td"}:
            self.rows[-1].append("")
            self.styles.append(attributes["style"])
            if tag == "th":
                assert attributes["scope"] == "col"
        if tag in {"th", "td", "caption"}:
            self._inside = tag

    def handle_endtag(self, tag):
        if tag == self._inside:
            self._inside = None

    def handle_data(self, text):
        if self._inside == "caption":
            self.caption += text
        elif self._inside:
            self.rows[-1][-1] += text


def test_a_table_is_shown_as_html_and_as_aligned_text(shown):
    nb.table(
        ["step", "shape", "parameters", "loss"],
        [["`conv1`", torch.Size([1, 64, 56]), 1234567, 0.123456], ["r < 1", (2,), 8, 2.0]],
        caption="What leaves.",
    )
    ((bundle, _),) = shown
    reader = _TableReader()
    reader.feed(bundle["text/html"])
    assert reader.rows == [
        ["step", "shape", "parameters", "loss"],
        ["conv1", "1 × 64 × 56", "1,234,567", "0.1235"],
        ["r < 1", "2", "8", "2"],
    ]
    assert reader.caption == "What leaves."
    assert [style.rsplit(" ", 1)[-1] for style in reader.styles[:4]] == ["left", "left", "right", "right"]
    assert "<code>conv1</code>" in bundle["text/html"]
    assert "r &lt; 1" in bundle["text/html"]
    assert bundle["text/plain"].splitlines() == [
        "What leaves.",
        "step     shape        parameters    loss",
        "-------  -----------  ----------  ------",
        "`conv1`  1 × 64 × 56   1,234,567  0.1235",
        "r < 1    2                     8       2",
    ]


def test_a_truth_value_in_a_table_is_a_word(shown):
    nb.table(["agrees"], [[True], [False]])
    assert shown[0][0]["text/plain"].split() == ["agrees", "------", "yes", "no"]


def test_a_row_of_the_wrong_length_is_named(shown):
    with pytest.raises(ValueError, match="row 2 of the table has 1 cells, expected 2 for the columns a, b"):
        nb.table(["a", "b"], [[1, 2], [3]])
    assert shown == []


# --- sources ---


def test_the_source_of_a_function_is_shown_as_it_stands_in_the_library(shown):
    nb.show_source(nb.figure)
    ((bundle, _),) = shown
    assert bundle["text/markdown"].startswith("`dirl_lib/nb.py`\n\n```python\ndef figure(fig: Figure, caption: str)")
    assert ast.unparse(ast.parse(bundle["text/plain"])).startswith("def figure(")


def test_the_source_of_a_method_stands_at_the_left_margin(shown):
    nb.show_source(nb.Environment.pick)
    assert isinstance(ast.parse(shown[0][0]["text/plain"]).body[0], ast.FunctionDef)


@pytest.mark.parametrize("thing", [3, len])
def test_what_has_no_python_source_is_refused(thing):
    with pytest.raises(TypeError, match="no Python source for"):
        nb.show_source(thing)
