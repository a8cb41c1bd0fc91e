"""From a moved slider to the new picture in the explorer: 100 moves through the real widgets and the real worker.

python benchmarks/explorer.py
python benchmarks/explorer.py --json results/explorer.json

The photograph is the sample's cat at 256 x 170, the network the one in the box. Each move sets the exposure, or in the
second row the threshold, and waits for all pictures and the words, which are written last; the next move follows at
once. In the third row the moves come while the curve of the last one is being drawn, which has to give way. What the
browser adds, some ten milliseconds for decoding, is not in these figures.
"""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path

import numpy as np
import torch

from dirl_lib.explorer import Explorer
from dirl_lib.provenance import write_record

MOVES = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the figures with their provenance")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: 1, as in the notebooks)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    explorer = Explorer()
    explorer.wait(600)
    exposures = np.linspace(0.5, 2.5, MOVES)
    results = {
        "exposure": measure(explorer, "exposure", exposures),
        "threshold": measure(explorer, "threshold", np.arange(MOVES) / MOVES),  # the words show two digits
        "exposure, curve under way": measure(explorer, "exposure", exposures[::-1] - 0.01, rest=0.2),
    }
    explorer.close()
    show(results)
    if options.json:
        record = {"benchmark": "explorer", "moves": MOVES, "threads": options.threads, "results": results}
        write_record(options.json, record)


def measure(explorer: Explorer, knob: str, values: np.ndarray, *, rest: float = 0.0) -> dict[str, float]:
    """Milliseconds from a move to the new words, which are written last; `rest` seconds between moves."""
    answered = threading.Event()

    def heard(_: object) -> None:
        answered.set()

    explorer.words.observe(heard, names="value")
    milliseconds = []
    for value in values:
        time.sleep(rest)
        answered.clear()
        started = time.perf_counter()
        explorer.knobs[knob].value = float(value)
        if not answered.wait(60):
            raise RuntimeError(f"the explorer gave no answer to {knob} {value:g} within a minute")
        milliseconds.append(1000 * (time.perf_counter() - started))
    explorer.words.unobserve(heard, names="value")
    explorer.wait()
    return {"p50": float(np.percentile(milliseconds, 50)), "p95": float(np.percentile(milliseconds, 95))}


def show(results: dict[str, dict[str, float]]) -> None:
    print(f"{'milliseconds to the new picture':34s}{'p50':>8s}{'p95':>8s}")
    for name, figures in results.items():
        print(f"{name:34s}{figures['p50']:8.0f}{figures['p95']:8.0f}")


if __name__ == "__main__":
    main()
