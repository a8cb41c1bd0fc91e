"""Published numbers are those that the authors printed, and docs/REPRODUCTION.md says what the data say."""

import re
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dirl_lib.data.iharmony4 import PUBLISHED, SUBSETS
from dirl_lib.models import PRESETS, create_model
from dirl_lib.published import (
    ABLATION,
    CLAIMS,
    CONSTANT,
    LOG_BEGAN_AT_IOU,
    TABLE_1,
    TEST_PHOTOGRAPHS,
    TRAINING_LOG,
    Claim,
    Scores,
    status,
)
from dirl_lib.recipes import RECIPES

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = (ROOT / "docs" / "REPRODUCTION.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def paper(reference):
    return (reference / "paper_fulltext.txt").read_text(encoding="utf-8")


def as_printed(scores: Scores) -> list[str]:
    return [f"{100 * scores.ap:.2f}", f"{scores.f1:.4f}", f"{100 * scores.iou:.2f}"]


@pytest.mark.golden
def test_table_1_is_the_papers(paper):
    printed = dict(re.findall(r"^(\S+)(?: \[\d+\])?\t(\d\d\.\d\d\t0\.\d{4}\t\d\d\.\d\d)$", paper, re.MULTILINE))
    names = {"HRNet": "HRNet30", "Dirl": "DIRL"}
    assert {names.get(name, name): cells.split("\t") for name, cells in printed.items()} == {
        name: as_printed(scores) for name, scores in TABLE_1.items()
    }


@pytest.mark.golden
def test_the_ablation_is_the_supplements(paper):
    rows = re.findall(r"^(\d+)\t(\S+)(?: \[1\])?\t(\S+)\t(\S+)\t(\S+)\t(\S+)\t(\S+)$", paper, re.MULTILINE)
    arrows = {r"BFI(\downarrow)": "BFI(↓)", r"BFI(\uparrow)": "BFI(↑)"}
    printed = [(f"row-{int(number):02d}", arrows.get(kind, kind), *rest) for number, kind, *rest in rows]
    assert printed == [(*row[:4], *as_printed(row.scores)) for row in ABLATION]


def test_a_row_is_the_preset_of_its_name():
    for row in ABLATION:
        config = PRESETS[row.preset]
        assert config.decoder == row.decoder.lower()
        assert config.transition == {"-": "none", "BFI(↓)": "bfi_down", "BFI(↑)": "bfi_up"}.get(
            row.transition, row.transition.lower()
        )
        assert (config.refinement != "none", config.supervise_attention) == (
            row.refinement != "-",
            row.refinement == "MDA",
        )


def test_counts_of_photographs_are_possible():
    for name in SUBSETS:
        composites, unseen = (PUBLISHED[which].counts[name] for which in ("le50_test", "le50_test_unseen"))
        photographs = TEST_PHOTOGRAPHS[name]
        assert photographs.also_in_training <= composites - unseen
        assert photographs.test - photographs.also_in_training <= unseen
        assert (photographs.also_in_training == 0) == (composites == unseen)


def test_the_floor_of_all_is_the_mean_of_the_parts():
    counts = PUBLISHED["le50_test"].counts
    for field, digits in (("ap", 4), ("f1", 3), ("iou", 4)):
        mean = sum(getattr(CONSTANT[name], field) * count for name, count in counts.items()) / sum(counts.values())
        assert mean == pytest.approx(getattr(CONSTANT["all"], field), abs=10**-digits)


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        (Claim("", "", "", "", "results/there.json"), "no command yet"),
        (Claim("", "", "dirl", "", "results/absent.json"), "not run"),
        (Claim("", "", "dirl", "", ""), "not run"),
        (Claim("", "", "dirl", "", "results/there.json"), "recorded"),
        (Claim("", "", "dirl", "", "tests/there.json"), "tested"),
        (Claim("", "", "dirl", "", "docs/there.json"), "shown"),
    ],
)
def test_the_status_of_a_claim_goes_by_files(tmp_path, claim, said):
    for folder in ("dirl_lib", "results", "tests", "docs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "there.json").touch()
    assert status(claim, tmp_path) == said


def test_without_a_checkout_nothing_is_called_not_run(tmp_path):
    """On Colab a notebook's folder holds no record, whatever was run."""
    assert status(Claim("", "", "dirl", "", "tests/test_golden.py"), tmp_path) == "no checkout here"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.place}: {claim.what}")
def test_the_document_has_a_line_for_each_claim(claim):
    command = f"`{claim.command}`" if claim.command else "none yet"
    assert f"| {claim.place} | {claim.what} | {command} | {claim.needs} | {status(claim, ROOT)} |" in DOCUMENT


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.place}: {claim.what}")
def test_the_command_of_a_claim_is_one_that_exists(claim, capsys):
    from dirl_lib.cli import main

    words = claim.command.split()
    if words[:1] == ["dirl"]:
        subject = words[1:3] if words[1] == "data" else words[1:2]
        with pytest.raises(SystemExit):
            main([*subject, "--help"])
        usage = capsys.readouterr().out
        assert all(word in usage for word in words if word.startswith("--"))
    elif words:
        assert (ROOT / words[3 if words[1] == "-m" else 1]).is_file()


def test_the_document_prints_the_published_scores():
    for name, scores in (
        ("paper, Table 1", TABLE_1["DIRL"]),
        ("training log in the repository's history", TRAINING_LOG),
        ("DeepLabv3, the best other system of Table 1", TABLE_1["DeepLabv3"]),
    ):
        assert f"| {name} | {' | '.join(as_printed(scores))} |" in DOCUMENT
    below = (ours - theirs for ours, theirs in zip(TRAINING_LOG, TABLE_1["DIRL"], strict=True))
    assert f"| difference | {' | '.join(as_printed(Scores(*below)))} |" in DOCUMENT
    assert f"an IoU of {100 * LOG_BEGAN_AT_IOU:.2f} %" in DOCUMENT


def test_the_document_prints_the_overlap():
    test, unseen = PUBLISHED["le50_test"].counts, PUBLISHED["le50_test_unseen"].counts
    seen = {name: test[name] - unseen[name] for name in SUBSETS}
    for start, counts in (
        ("test composites", test),
        ("whose photograph is in training", seen),
        ("test photographs", {name: TEST_PHOTOGRAPHS[name].test for name in SUBSETS}),
        ("of them in training", {name: TEST_PHOTOGRAPHS[name].also_in_training for name in SUBSETS}),
    ):
        cells = " | ".join(f"{count:,}" for count in [*counts.values(), sum(counts.values())])
        assert f"| {start} | {cells}" in DOCUMENT


def operations(name: str, size: int) -> tuple[int, int]:
    """Of the forward pass, and with the backward pass, of one image."""
    with torch.device("meta"):  # shapes without memory
        network, image = create_model(name), torch.zeros(1, 3, size, size)
    counter = FlopCounterMode(display=False)
    with counter:
        answer = network(image)
        forward = counter.get_total_flops()
        sum(each.sum() for each in (answer.mask, *answer.attention)).backward()
    return forward, counter.get_total_flops()


@pytest.mark.parametrize(("name", "size"), [("released", 224), ("paper", 256), ("row-01", 256)])
def test_the_document_prints_the_operations_of_the_networks(name, size):
    forward, both = operations(name, size)
    assert re.search(rf"`{name}`, {size} x {size}[^|]*\| {forward / 1e9:.1f} G \| {both / 1e9:.1f} G", DOCUMENT)


@pytest.mark.parametrize(("name", "size"), [("released", 224), ("paper", 256)])
def test_the_document_prints_what_a_training_takes(name, size):
    total = operations(name, size)[1] * RECIPES[name].epochs * 57_830
    hours = " | ".join(f"{total / rate / 3600:.0f} h" for rate in (4e12, 20e12, 100e12))
    days = f"{total / 0.1e12 / 86400:.0f} days"
    assert f"| recipe `{name}` | {total / 1e18:.2f}e18 | {hours} | {days} |" in DOCUMENT


def test_the_document_prints_the_parameters():
    for name in ("released", "paper"):
        with torch.device("meta"):
            count = sum(weights.numel() for weights in create_model(name).parameters())
        assert f"`{name}` {count:,}" in DOCUMENT


def test_the_document_links_to_files_and_names_code_that_exist():
    for target in re.findall(r"\]\((?!http)([^)#]+)", DOCUMENT):
        assert (ROOT / "docs" / target).is_file()
    for path in re.findall(r"`((?:blocks|data)/\w+\.py|\w+\.py|tests/\w+\.py)`", DOCUMENT):
        assert (ROOT / path).is_file() or (ROOT / "dirl_lib" / path).is_file()
