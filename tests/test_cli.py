"""The command line: what each situation needs is one command, and bad input is one line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_iharmony4 import TRAIN, make_data_set, with_lists

from dirl_lib.cli import main
from dirl_lib.data.cache import PreparedStore
from dirl_lib.images import write_image, write_mask

SCRIPT = Path(__file__).resolve().parents[1] / "data_scripts" / "prepare_iharmony4.py"


@pytest.fixture
def folder_pair(tmp_path):
    """Six photographs of two colours each, with the mask of one of the two."""
    for room in ("photos", "masks"):
        (tmp_path / room).mkdir()
    for number in range(6):
        rng = np.random.default_rng(number)
        mask = np.zeros((64, 96), dtype=bool)
        mask[10:40, 20:60] = True
        colours = rng.integers(40, 215, (2, 3))
        picture = colours[mask.astype(int)] + rng.normal(0, 15, (64, 96, 3))
        write_image(tmp_path / "photos" / f"p{number}.png", picture.clip(0, 255).astype(np.uint8))
        write_mask(tmp_path / "masks" / f"p{number}.png", mask)
    return tmp_path / "photos", tmp_path / "masks"


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_with_iharmony4_check_and_prepare(tmp_path, capsys):
    root = with_lists(tmp_path / "data")
    assert run("data", "check", root) == 0
    assert "subset: HCOCO 22, HFlickr 21 composites" in capsys.readouterr().out
    assert run("data", "prepare", root, tmp_path / "store", "--size", 32, "--split", "test") == 0
    assert "3 of 3 images" in capsys.readouterr().out
    assert len(PreparedStore(tmp_path / "store")) == 3


def test_with_photographs_and_masks_synthesize_then_batches(tmp_path, folder_pair, capsys):
    from dirl_lib.data.iharmony4 import IHarmony4

    out = tmp_path / "composites"
    assert run("data", "synthesize", *folder_pair, out, "--workers", 1) == 0
    data = IHarmony4(out, "all", size=32)
    assert len(data) >= 6
    assert data[0].mask.any()
    assert run("data", "check", out) == 0
    assert run("data", "prepare", *folder_pair, tmp_path / "store", "--keep-aspect", "--size", 32) == 0
    assert PreparedStore(tmp_path / "store")["p0"][0].shape == (3, 32, 48)
    assert capsys.readouterr().err.count("error") == 0


def test_keep_going_leaves_out_counts_and_says_so_in_the_exit_code(tmp_path, folder_pair, capsys):
    (folder_pair[0] / "p3.png").write_bytes(b"")
    assert run("data", "prepare", *folder_pair, tmp_path / "store", "--size", 32) == 1
    assert "p3.png: the file is empty" in capsys.readouterr().err
    assert run("data", "prepare", *folder_pair, tmp_path / "store", "--size", 32, "--keep-going") == 1
    shown = capsys.readouterr()
    assert "5 of 6 images" in shown.out
    assert "1 left out" in shown.err


def last_line(text):
    return text.replace("\r", "\n").strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check", "nowhere"], "nowhere: no such folder"),
        (["prepare", "nowhere", "store"], "nowhere: no such folder"),
        (["prepare", "a", "b", "c", "store"], "found 3 sources"),
        (["prepare", "nothing.csv", "store"], "no such table"),
        (["prepare", "store"], "found 0 sources"),
        (["synthesize", "photos", "masks", "out"], "photos: no such folder"),
        (["unpack", "nothing.zip", "out"], "nothing.zip"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    assert run("data", *arguments) == 1
    error = last_line(capsys.readouterr().err)
    assert error.startswith("error: ")
    assert says in error
    assert not list(tmp_path.iterdir())


def test_bad_usage_is_exit_code_2(capsys):
    with pytest.raises(SystemExit) as caught:
        run("data", "chekc", "x")
    assert caught.value.code == 2
    assert "check" in capsys.readouterr().err


def test_interrupting_says_that_the_command_goes_on(tmp_path, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("dirl_lib.data.check.check", stop)
    assert run("data", "check", make_data_set(tmp_path, TRAIN[:1])) == 130
    assert last_line(capsys.readouterr().err) == "stopped; the same command goes on where it was"


def test_the_script_checks_and_prepares_in_one_go(tmp_path):
    root = with_lists(tmp_path / "data")
    command = [sys.executable, str(SCRIPT), str(root), "--store", str(tmp_path / "store"), "--size", "32"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "le50_train.txt: 40 composites" in done.stdout
    assert len(PreparedStore(tmp_path / "store")) == 43


@pytest.mark.parametrize("command", ["check", "prepare", "synthesize", "unpack"])
def test_every_command_has_help(capsys, command):
    with pytest.raises(SystemExit) as caught:
        run("data", command, "--help")
    assert caught.value.code == 0
    assert f"usage: dirl data {command}" in capsys.readouterr().out


def test_the_target_may_stand_after_an_option(tmp_path, folder_pair):
    assert run("data", "prepare", *folder_pair, "--size", 32, tmp_path / "store") == 0
    assert len(PreparedStore(tmp_path / "store")) == 6


def test_composites_are_not_recoloured_again(tmp_path, capsys):
    root = with_lists(tmp_path / "data")
    assert run("data", "synthesize", root, tmp_path / "out") == 1
    assert "name its real_images and masks" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_option_that_means_nothing_here_is_refused(tmp_path, folder_pair, capsys):
    assert run("data", "prepare", *folder_pair, tmp_path / "store", "--split", "test") == 1
    assert "found --split, which these sources do not have" in capsys.readouterr().err


def test_no_workers_is_bad_usage(tmp_path, folder_pair, capsys):
    with pytest.raises(SystemExit) as caught:
        run("data", "synthesize", *folder_pair, tmp_path / "out", "--workers", 0)
    assert caught.value.code == 2
    assert "expected a number from 1 up" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_names_every_command_and_starts_without_torch():
    program = "import sys; from dirl_lib.cli import main\ntry: main(['data', '--help'])\nexcept SystemExit: pass\n"
    program += "print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert all(name in shown for name in ("check", "prepare", "synthesize", "unpack"))
    assert shown.strip().endswith("False")
