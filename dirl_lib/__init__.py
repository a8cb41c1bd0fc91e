"""DIRL, Inharmonious Region Localization (Liang, Niu, Zhang, ICME 2021), as a library to be read."""

__version__ = "0.1.0"
