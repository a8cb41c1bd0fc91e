"""Where large data sets are looked for."""

import pytest

from dirl_lib.data.places import local_data


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch, tmp_path):
    monkeypatch.delenv("IHARMONY4_ROOT", raising=False)
    monkeypatch.setenv("DIRL_SAMPLE_DATA", str(tmp_path / "data" / "sample"))


def test_the_variable_goes_before_the_folder_beside_the_sample_data(monkeypatch, tmp_path):
    assert local_data("iHarmony4") is None
    beside = tmp_path / "data" / "iHarmony4"
    beside.mkdir(parents=True)
    assert local_data("iHarmony4") == beside
    monkeypatch.setenv("IHARMONY4_ROOT", str(tmp_path))
    assert local_data("iHarmony4") == tmp_path


def test_a_variable_that_names_nothing_is_a_mistake_and_not_an_absence(monkeypatch, tmp_path):
    monkeypatch.setenv("IHARMONY4_ROOT", str(tmp_path / "speling"))
    with pytest.raises(FileNotFoundError, match="mend or unset the variable IHARMONY4_ROOT"):
        local_data("iHarmony4")


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="expected one of iHarmony4, lalonde_efros"):
        local_data("coco")
