"""Fixtures that every test may use."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference numbers and photographs beside the checkout; absent on a reader's machine."""
    if not (SHARED / "reference").is_dir():
        pytest.skip(f"the reference folder {SHARED.name}/ is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def reference(shared: Path) -> Path:
    """Golden values and manifests of the authors' implementation."""
    return shared / "reference"
