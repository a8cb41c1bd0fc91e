"""Running a notebook on a fresh kernel: progress, wall time, peak memory, and a failure that says where."""

import copy
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, CellExecutionError, DeadKernelError
from nbconvert.filters import strip_ansi
from nbformat import NotebookNode

CELL_TIMEOUT_S = 600

PEAK_MEMORY = """
import pathlib
status = pathlib.Path("/proc/self/status")
try:
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        print(int(line.split()[1]) * 1024)
    else:
        import resource
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
except ImportError:
    print(0)
"""
"""Prints the most memory the kernel ever held, in bytes.

Linux tells it in /proc, in kibibytes; its `ru_maxrss` would count the process that started the kernel, too. macOS has
only the latter, in bytes, and Windows nothing.
"""


@dataclass(frozen=True)
class Failure:
    """The first cell that did not run to its end."""

    cell_number: int
    """Position among all cells, from 1."""
    cell_id: str
    source: str
    message: str
    """Kind and text of the error, one line."""

    def report(self, name: str) -> str:
        """The lines to print: notebook, cell, error, and the first lines of the cell."""
        head = self.source.splitlines()[:8]
        code = "\n".join(f"    | {line}" for line in head)
        more = "\n    | ..." if len(self.source.splitlines()) > len(head) else ""
        return f"FAILED {name}, cell {self.cell_number} (id {self.cell_id}): {self.message}\n{code}{more}"


@dataclass(frozen=True)
class Run:
    """One notebook, executed."""

    notebook: NotebookNode
    """A copy with fresh outputs, as far as it came."""
    seconds: float
    """Wall time with the start of the kernel."""
    peak_bytes: int
    """Most memory the kernel held; 0 where the system does not tell."""
    failure: Failure | None


def execute(
    notebook: NotebookNode,
    folder: Path,
    *,
    profile: str = "quick",
    on_cell: Callable[[int, int], None] = lambda _done, _total: None,
) -> Run:
    """Run a copy of a notebook from top to bottom on a fresh kernel; stop at the first error.

    Args:
        notebook: left as it is.
        folder: working directory of the kernel.
        profile: value of `DIRL_PROFILE` in the kernel.
        on_cell: called with number of cell (from 1) and of cells before each code cell.
    """
    notebook = _without_outputs(notebook)
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        skip_cells_with_tag="nbval-skip",
        extra_arguments=["--log-level=ERROR"],  # ipykernel greets with a warning about its own transport
        store_widget_state=False,
        record_timing=False,
    )
    start = time.perf_counter()
    failure = None
    with client.setup_kernel(env={**os.environ, "DIRL_PROFILE": profile}):
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type != "code":
                continue
            on_cell(index + 1, len(notebook.cells))
            failure = _run_cell(client, cell, index)
            if failure is not None:
                break
        peak_bytes = _peak_bytes(client)
    return Run(notebook, time.perf_counter() - start, peak_bytes, failure)


def _without_outputs(notebook: NotebookNode) -> NotebookNode:
    result = copy.deepcopy(notebook)
    for cell in result.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return result


def _run_cell(client: NotebookClient, cell: NotebookNode, index: int) -> Failure | None:
    try:
        client.execute_cell(cell, index)
    except CellExecutionError as error:
        message = f"{error.ename}: {strip_ansi(error.evalue)}"
    except (CellControlSignal, DeadKernelError) as error:
        message = f"{type(error).__name__}: {error}"
    else:
        return None
    return Failure(index + 1, cell.id, cell.source, message)


def _peak_bytes(client: NotebookClient) -> int:
    probe = nbformat.v4.new_code_cell(PEAK_MEMORY)
    client.nb.cells.append(probe)  # nbclient runs only what is a cell of its notebook
    try:
        client.execute_cell(probe, len(client.nb.cells) - 1, store_history=False)
    except (CellExecutionError, CellControlSignal, DeadKernelError):
        return 0
    finally:
        client.nb.cells.pop()
    return int("".join(output.get("text", "") for output in probe.outputs) or 0)
