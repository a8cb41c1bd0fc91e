"""DIRL, Inharmonious Region Localization (Liang, Niu, Zhang, ICME 2021), as a library to be read.

dirl_lib.predict("holiday.jpg").overlay()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dirl_lib.prediction import predict

__all__ = ["__version__", "predict"]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """`predict` at its first use: whoever imports the package for something else does not wait for torch."""
    if name == "predict":
        from dirl_lib.prediction import predict

        return predict
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
