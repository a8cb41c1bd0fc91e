"""What the authors printed, as data: tables of paper and supplement, their training log, and what became of each here.

    TABLE_1["DIRL"].iou, ABLATION[9].scores.f1, TRAINING_LOG.ap
    [(claim.place, status(claim, checkout)) for claim in CLAIMS]

All scores are fractions in [0, 1]; the paper prints AP and IoU in per cent.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from dirl_lib.data.names import SUBSETS

__all__ = [
    "ABLATION",
    "CLAIMS",
    "CONSTANT",
    "LOG_BEGAN_AT_IOU",
    "LOG_EVALUATIONS",
    "TABLE_1",
    "TEST_PHOTOGRAPHS",
    "TRAINING_LOG",
    "AblationRow",
    "Claim",
    "Photographs",
    "Scores",
    "status",
]


class Scores(NamedTuple):
    """Means over the 7237 test images of iHarmony4."""

    ap: float
    f1: float
    iou: float


class AblationRow(NamedTuple):
    """One row of the supplement's Table 1; `models.PRESETS` has it under `preset`."""

    preset: str
    transition: str
    """As the paper writes it; "-" is none."""
    refinement: str
    decoder: str
    scores: Scores


class Photographs(NamedTuple):
    """The photographs behind the test composites of one sub-dataset."""

    test: int
    """How many there are."""
    also_in_training: int
    """How many of them show another recoloured object in the training list."""


class Claim(NamedTuple):
    """Something that paper, supplement or log shows, and the way to it from here."""

    place: str
    """Where it stands."""
    what: str
    """What it shows."""
    command: str
    """What makes it here; "" where nothing does yet."""
    needs: str
    """Data and compute."""
    record: str
    """The file of the checkout that proves it: a test, a notebook, the summary of a run; "" where none would."""


TABLE_1 = {
    "UNet": Scores(0.7490, 0.6717, 0.6474),
    "DeepLabv3": Scores(0.7569, 0.6902, 0.6601),
    "HRNet30": Scores(0.7533, 0.6765, 0.6549),
    "MFCN": Scores(0.4563, 0.3794, 0.2854),
    "MantraNet": Scores(0.6422, 0.5691, 0.5031),
    "MAGritte": Scores(0.7116, 0.6907, 0.6014),
    "H-LSTM": Scores(0.6021, 0.5239, 0.4707),
    "S2AM": Scores(0.4377, 0.3029, 0.2236),
    "DIRL": Scores(0.8002, 0.7317, 0.6785),
}
"""Table 1 of the paper, in its order."""

ABLATION = (
    AblationRow("row-01", "-", "-", "Reg", Scores(0.7490, 0.6717, 0.6474)),
    AblationRow("row-02", "-", "-", "GGD_sim", Scores(0.7691, 0.7055, 0.6531)),
    AblationRow("row-03", "-", "-", "GGD", Scores(0.7799, 0.7131, 0.6619)),
    AblationRow("row-04", "AIM", "-", "GGD", Scores(0.7786, 0.7116, 0.6594)),
    AblationRow("row-05", "BFI(↓)", "-", "GGD", Scores(0.7833, 0.7190, 0.6664)),
    AblationRow("row-06", "BFI(↑)", "-", "GGD", Scores(0.7806, 0.7127, 0.6649)),
    AblationRow("row-07", "BFI", "-", "GGD", Scores(0.7856, 0.7205, 0.6685)),
    AblationRow("row-08", "-", "DA", "GGD", Scores(0.7928, 0.7258, 0.6716)),
    AblationRow("row-09", "-", "MDA", "GGD", Scores(0.7938, 0.7311, 0.6765)),
    AblationRow("row-10", "BFI", "MDA", "GGD", Scores(0.8002, 0.7317, 0.6785)),
)
"""Table 1 of the supplement."""

TRAINING_LOG = Scores(0.7748, 0.7073, 0.6535)
"""The best line of the only training log in the history of the authors' repository (commit 4e25b54, removed by the next
one), under protocol "released". The checkpoint was chosen by IoU on the test list itself."""
LOG_BEGAN_AT_IOU = 0.6490
"""The best IoU before: the log covers epochs 39 to 60 of a training that had been resumed."""
LOG_EVALUATIONS = 8
"""How many times that log looks at the test list."""

CONSTANT = {
    "all": Scores(0.0886, 0.149, 0.0886),
    "HCOCO": Scores(0.0627, 0.110, 0.0627),
    "HAdobe5k": Scores(0.1226, 0.201, 0.1226),
    "HFlickr": Scores(0.1433, 0.231, 0.1433),
    "Hday2night": Scores(0.0640, 0.112, 0.0640),
}
"""The floor: what a constant reaches on the test list that marks every pixel (protocol "paper"). From the shares of the
regions, counted at full size."""

TEST_PHOTOGRAPHS = dict(
    zip(
        SUBSETS,
        (Photographs(3392, 1389), Photographs(413, 0), Photographs(421, 8), Photographs(24, 0)),
        strict=True,
    )
)
"""Counted by name in `le50_test.txt` and `le50_train.txt`."""

_OF_A_GPU = "iHarmony4; one GPU, days (estimate)"

CLAIMS = (
    Claim(
        "Table 1, row DIRL",
        "AP 80.02 %, F1 0.7317, IoU 67.85 %",
        "dirl train --recipe paper --data IHARMONY4 --cache cache/288 --out runs/paper",
        _OF_A_GPU,
        "results/paper/summary.json",
    ),
    Claim(
        "Table 1, row DIRL",
        "the same numbers from the authors' weights",
        "dirl evaluate IHARMONY4 --released encoder_epochbest.pth decoder_epochbest.pth --protocol released "
        "--out results/authors",
        "iHarmony4's test images, the two files; one GPU, minutes, or one CPU core, hours (estimate)",
        "results/authors/summary.json",
    ),
    Claim(
        "Table 1, other rows",
        "eight other systems",
        "",
        "later work (notebook 11)",
        "",
    ),
    Claim(
        "Supplement, Table 1",
        "ten rows of the ablation",
        "dirl ablate --recipe paper --data IHARMONY4 --cache cache/288 --out runs/ablation",
        f"{_OF_A_GPU}, for each row and seed",
        "results/iharmony4_ablation/row-03/seed-0/summary.json",
    ),
    Claim(
        "Training log",
        "AP 77.48 %, F1 0.7073, IoU 65.35 %",
        "dirl train --recipe released --data IHARMONY4 --cache cache/256 --out runs/released",
        _OF_A_GPU,
        "results/released/summary.json",
    ),
    Claim(
        "Section 4.1",
        "lists of 64,255 and 7,237 composites",
        "dirl data check IHARMONY4 --lists results/iharmony4",
        "iHarmony4; CPU cores, an hour or two (estimate)",
        "results/iharmony4/report.json",
    ),
    Claim(
        "Fig. 1",
        "composites over their masks",
        "python tools/make_readme_picture.py",
        "nothing; sample photographs instead of iHarmony4's",
        "docs/composites.jpg",
    ),
    Claim(
        "Fig. 2",
        "the network, as released: masks and maps to 1e-5",
        "python -m pytest tests/test_golden.py",
        "the authors' reference numbers; seconds",
        "tests/test_golden.py",
    ),
    Claim(
        "Section 3.5, Eqs. 1 to 3",
        "the losses, as released: to 2e-6",
        "python -m pytest tests/test_losses.py",
        "the authors' reference numbers; seconds",
        "tests/test_losses.py",
    ),
    Claim(
        "Supplement, Eqs. 1 to 3",
        "AP, F1 and IoU, as released",
        "python -m pytest tests/test_metrics.py",
        "the authors' reference numbers; seconds",
        "tests/test_metrics.py",
    ),
    Claim(
        "Supplement, Fig. 1",
        "BFI and AIM in their three positions",
        "python tools/run_course.py 03",
        "nothing; seconds",
        "notebooks/03_bfi.ipynb",
    ),
    Claim(
        "Fig. 3; supplement, Figs. 3 and 4",
        "masks of DIRL (those of other systems: later work)",
        "dirl predict PHOTOS -o OUT --released encoder_epochbest.pth decoder_epochbest.pth",
        "the authors' two files, or --weights of a trained network; seconds",
        "",
    ),
    Claim(
        "Supplement, Fig. 2",
        "attention of DA and of MDA side by side",
        "python tools/run_course.py 10",
        "nothing; dirl-small and its twin without supervision, sample photographs; seconds",
        "notebooks/10_attention.ipynb",
    ),
)
"""Every table and figure of paper and supplement, and the log."""


def status(claim: Claim, checkout: str | Path) -> str:
    """What became of a claim, by the files that are there.

    Args:
        claim: of `CLAIMS`.
        checkout: the kit's own folder.

    Returns:
        "no command yet", "not run", "recorded" (a run's summary), "tested" or "shown" (on other photographs);
        "no checkout here" where the library is installed without its records, as on Colab.
    """
    if not claim.command:
        return "no command yet"
    if not (Path(checkout) / "dirl_lib").is_dir():
        return "no checkout here"
    if not (Path(checkout) / claim.record).is_file():
        return "not run"
    return {"results": "recorded", "tests": "tested"}.get(claim.record.split("/")[0], "shown")
