"""The loop: what it computes is what a plain loop computes, however it is interrupted or divided."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_photos import make_photos
from torch.utils.data import Dataset

from dirl_lib.data.composing import ComposedScenes
from dirl_lib.data.loading import EpochSampler
from dirl_lib.devices import OneDevice
from dirl_lib.models.dirl import build_dirl
from dirl_lib.recipes import TrainingRecipe, losses_of
from dirl_lib.training import TrainingError, fit
from dirl_lib.types import Sample
from dirl_lib.weights import about, load_network

RECIPE = TrainingRecipe(
    width=0.125, size=32, optimizer="adamw", learning_rate=1e-3, batch_size=4, epochs=3, milestones=(2,), log_every=1
)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def scenes(tmp_path):
    return ComposedScenes(make_photos(tmp_path / "photos", 10), 32)


def weights(run, name="last"):
    return load_file(run / f"{name}.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def totals(run):
    with (run / "log.csv").open(newline="") as file:
        return [(line["step"], line["total"]) for line in csv.DictReader(file)]


def test_it_computes_what_a_plain_loop_computes(scenes, tmp_path):
    trained = fit(RECIPE, scenes, out=tmp_path / "run", accelerator="cpu")

    torch.manual_seed(RECIPE.seed)
    network = build_dirl(RECIPE.config)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=RECIPE.weight_decay)
    losses = []
    for epoch in range(3):
        indices = list(EpochSampler(10, seed=0, epoch=epoch))
        for first in (0, 4):
            batch = [scenes[index] for index in indices[first : first + 4]]
            image, mask = (torch.stack([sample[part] for sample in batch]) for part in (1, 2))
            optimizer.param_groups[0]["lr"] = 1e-3 if epoch < 2 else 5e-4
            total = losses_of(RECIPE, network(image), mask)["total"]
            total.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(total.item())
    assert [line["total"] for line in trained.log] == losses
    assert same(network.state_dict(), trained.network.state_dict())


def test_the_loss_falls_on_images_it_sees_again(tmp_path):
    class Again(ComposedScenes):
        def __getitem__(self, index):
            return super().__getitem__(index % len(self))

    images = Again(make_photos(tmp_path / "photos", 4), 32)
    trained = fit(replace(RECIPE, epochs=30, milestones=(), learning_rate=3e-3), images, out=tmp_path / "run")
    assert trained.log[-1]["total"] < 0.75 * trained.log[0]["total"]


def test_stopping_and_going_on_gives_the_same_bits(scenes, tmp_path):
    recipe = replace(RECIPE, average=0.9, clip_norm=1.0)
    fit(recipe, scenes, scenes, out=tmp_path / "straight", accelerator="cpu")
    for _ in range(10):
        trained = fit(recipe, scenes, scenes, out=tmp_path / "halting", accelerator="cpu", minutes=0)
        if trained.finished:
            break
    assert trained.finished
    for name in ("last", "best", "state-00000006"):
        assert same(weights(tmp_path / "straight", name), weights(tmp_path / "halting", name))
    assert totals(tmp_path / "straight") == totals(tmp_path / "halting")
    assert (tmp_path / "straight/validation.csv").read_text() == (tmp_path / "halting/validation.csv").read_text()


KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from test_training import RECIPE
from dirl_lib.data.composing import ComposedScenes
from dirl_lib.training import fit
from tiny_photos import make_photos
scenes = ComposedScenes(make_photos(Path({photos!r}), 10), 32)
fit(replace(RECIPE, epochs=8), scenes, out={out!r}, accelerator="cpu", save_minutes=0)
"""


def test_kill_9_at_any_step_and_start_again(scenes, tmp_path):
    folder = scenes.photos[0].image_path.parent
    program = [sys.executable, "-c"]
    text = {"tests": str(Path(__file__).parent), "photos": str(folder)}
    recipe = replace(RECIPE, epochs=8)
    straight = ComposedScenes(scenes.photos, 32)
    fit(recipe, straight, out=tmp_path / "straight", accelerator="cpu")
    out = tmp_path / "killed"
    for steps in (2, 7):
        running = subprocess.Popen([*program, KILLED.format(**text, out=str(out))], stderr=subprocess.DEVNULL)
        limit = time.monotonic() + 120
        while running.poll() is None and time.monotonic() < limit:
            log = out / "log.csv"
            if log.exists() and len(log.read_text().splitlines()) > steps:
                os.kill(running.pid, signal.SIGKILL)
                break
            time.sleep(0.01)
        assert running.wait() == -signal.SIGKILL
    subprocess.run([*program, KILLED.format(**text, out=str(out))], check=True, stderr=subprocess.DEVNULL)
    assert same(weights(tmp_path / "straight", "state-00000016"), weights(out, "state-00000016"))
    assert totals(out) == totals(tmp_path / "straight")


def test_a_damaged_state_costs_one_state(scenes, tmp_path, caplog):
    recipe = replace(RECIPE, epochs=1)
    fit(recipe, scenes, out=tmp_path / "run", save_minutes=0)
    path = tmp_path / "run/state-00000002.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[-5] ^= 1
    path.write_bytes(damaged)
    fit(RECIPE, scenes, out=tmp_path / "run")
    assert "state-00000002.safetensors is damaged: its checksum does not fit; going back" in caplog.text
    fit(RECIPE, scenes, out=tmp_path / "straight")
    assert same(weights(tmp_path / "run"), weights(tmp_path / "straight"))


def test_where_no_state_can_be_read_nothing_is_overwritten(scenes, tmp_path):
    fit(replace(RECIPE, epochs=1), scenes, out=tmp_path / "run")
    for path in (tmp_path / "run").glob("state-*"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="run: none of its 1 states can be read; start in another folder"):
        fit(RECIPE, scenes, out=tmp_path / "run")


def test_a_full_disk_leaves_the_state_before(scenes, tmp_path, monkeypatch):
    import dirl_lib.run_folder

    fit(replace(RECIPE, epochs=1), scenes, out=tmp_path / "run")
    before = weights(tmp_path / "run", "state-00000002")

    def full(path, content):  # noqa: ARG001
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dirl_lib.run_folder, "write_in_one_step", full)
    monkeypatch.setattr(dirl_lib.run_folder.RunFolder, "_write", staticmethod(lambda *_: None))
    message = r"step 6 could not be saved \(No space left on device\); state-00000002.safetensors is still there"
    with pytest.raises(OSError, match=message):
        fit(RECIPE, scenes, out=tmp_path / "run")
    assert same(before, weights(tmp_path / "run", "state-00000002"))


def test_only_the_last_two_states_are_kept(scenes, tmp_path):
    fit(RECIPE, scenes, out=tmp_path / "run", save_minutes=0)
    kept = sorted(path.name for path in (tmp_path / "run").glob("state-*"))
    assert kept == ["state-00000005.safetensors", "state-00000006.safetensors"]


def test_another_recipe_or_other_images_do_not_go_on(scenes, tmp_path):
    fit(replace(RECIPE, epochs=1), scenes, out=tmp_path / "run")
    with pytest.raises(ValueError, match=r"holds another run \(learning_rate: 0.001 there, 0.1 now\); choose another"):
        fit(replace(RECIPE, learning_rate=0.1), scenes, out=tmp_path / "run")
    with pytest.raises(ValueError, match=r"holds another run \(images: 10 there, 9 now"):
        fit(RECIPE, ComposedScenes(scenes.photos[:9], 32), out=tmp_path / "run")


class Even(Dataset[Sample]):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        image = torch.full((3, 32, 32), 0.5)
        return Sample(f"image {index % 4}", image, torch.ones(1, 32, 32), image)


def test_a_loss_that_is_no_number_names_its_images_and_not_those_of_the_next_look(tmp_path, monkeypatch):
    import dirl_lib.training

    class Watched(Even):
        names = []

        def __getitem__(self, index):
            sample = super().__getitem__(index)
            self.names.append(sample.name)
            return sample

    calls = []

    def poisoned(recipe, found, mask):
        calls.append(None)
        losses = losses_of(recipe, found, mask)
        return {"total": losses["total"] * (float("nan") if len(calls) == 3 else 1)}

    monkeypatch.setattr(dirl_lib.training, "losses_of", poisoned)
    images = Watched()
    with pytest.raises(TrainingError, match=r"the loss is nan at step 3; its images are ") as caught:
        fit(replace(RECIPE, batch_size=2, epochs=4, log_every=5), images, out=tmp_path / "run")
    assert f"its images are {', '.join(images.names[4:6])};" in str(caught.value)
    assert not list((tmp_path / "run").glob("state-*"))


def test_without_a_network_imagenet_weights_are_not_replaced_by_random_ones_in_silence(scenes, tmp_path, monkeypatch):
    import dirl_lib.training

    monkeypatch.setattr(dirl_lib.training, "load_imagenet", lambda _: False)
    recipe = TrainingRecipe(imagenet=True, size=32, epochs=1)
    with pytest.raises(TrainingError, match="ImageNet weights could not be downloaded, and the recipe asks for them"):
        fit(recipe, scenes, out=tmp_path / "run")


def test_too_few_images_for_a_batch(scenes, tmp_path):
    with pytest.raises(ValueError, match="found 10 images, expected at least one batch of 16; lower batch_size"):
        fit(replace(RECIPE, batch_size=16), scenes, out=tmp_path / "run")


def test_workers_change_no_bit(scenes, tmp_path):
    fit(RECIPE, scenes, out=tmp_path / "none")
    fit(RECIPE, scenes, out=tmp_path / "two", workers=2)
    assert same(weights(tmp_path / "none"), weights(tmp_path / "two"))


def test_without_lightning_one_device_computes_the_same(scenes, tmp_path, monkeypatch):
    import dirl_lib.training

    fit(RECIPE, scenes, out=tmp_path / "fabric", accelerator="cpu")
    monkeypatch.setattr(
        dirl_lib.training,
        "make_fabric",
        lambda *, accelerator, precision, **_: OneDevice(accelerator, precision),
    )
    fit(RECIPE, scenes, out=tmp_path / "alone", accelerator="cpu")
    assert same(weights(tmp_path / "fabric"), weights(tmp_path / "alone"))


@pytest.mark.parametrize("precision", ["bf16-mixed"])
def test_mixed_precision_trains_without_lightning_too(scenes, tmp_path, monkeypatch, precision):
    import dirl_lib.training

    recipe = replace(RECIPE, precision=precision, epochs=1, clip_norm=1.0)
    one = fit(recipe, scenes, out=tmp_path / "fabric", accelerator="cpu")
    monkeypatch.setattr(
        dirl_lib.training,
        "make_fabric",
        lambda *, accelerator, precision, **_: OneDevice(accelerator, precision),
    )
    two = fit(recipe, scenes, out=tmp_path / "alone", accelerator="cpu")
    assert two.log[0]["total"] == pytest.approx(one.log[0]["total"], rel=5e-3)


def test_accumulating_adds_up_to_the_whole_batch(scenes, tmp_path):
    """Exactly so for a network whose batch norm does not look at the batch; here only the images are compared."""
    seen = {}
    for accumulate in (1, 2):
        names = []

        class Watched(ComposedScenes):
            def __getitem__(self, index, names=names):
                names.append(index)
                return super().__getitem__(index)

        fit(replace(RECIPE, accumulate=accumulate), Watched(scenes.photos, 32), out=tmp_path / str(accumulate))
        seen[accumulate] = [sorted(names[first : first + 4]) for first in range(0, 24, 4)]
    assert seen[1] == seen[2]


def test_the_recipe_travels_with_the_weights(scenes, tmp_path):
    fit(RECIPE, scenes, scenes, out=tmp_path / "run")
    story = about(tmp_path / "run/best.safetensors")
    assert story["recipe"]["learning_rate"] == 1e-3
    assert story["working_size"] == 32
    assert story["images_seen"] in (8, 16, 24)
    assert story["data"]["images"] == 10
    network, _ = load_network(tmp_path / "run/last.safetensors")
    assert network(torch.rand(1, 3, 32, 32)).mask.shape == (1, 1, 32, 32)


def test_weights_to_begin_with(scenes, tmp_path):
    fit(RECIPE, scenes, out=tmp_path / "first")
    start = tmp_path / "first/last.safetensors"
    trained = fit(replace(RECIPE, learning_rate=1e-12), scenes, out=tmp_path / "second", start_from=start)
    torch.testing.assert_close(
        trained.network.encoder.stem.conv.weight, weights(tmp_path / "first")["encoder.stem.conv.weight"]
    )
    with pytest.raises(ValueError, match=r"last.safetensors: holds the network .*, expected the recipe's"):
        fit(replace(RECIPE, width=0.25), scenes, out=tmp_path / "third", start_from=start)


def test_a_log_for_tensorboard_and_pictures(scenes, tmp_path):
    fit(replace(RECIPE, epochs=1), scenes, scenes, out=tmp_path / "run")
    assert list((tmp_path / "run").glob("events.out.tfevents*"))
    assert [path.name for path in (tmp_path / "run/seen").iterdir()] == ["00000002.png"]
    assert json.loads((tmp_path / "run/recipe.json").read_text())["recipe"]["width"] == 0.125


TWO = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from test_training import RECIPE
from dirl_lib.data.composing import ComposedScenes
from dirl_lib.training import fit
from tiny_photos import make_photos
scenes = ComposedScenes(make_photos(Path({photos!r}), 10), 32)
fit(replace(RECIPE, learning_rate=1e-4), scenes, scenes, out={out!r}, accelerator="cpu", devices=2)
"""


def test_two_processes_are_one_with_the_same_batch(scenes, tmp_path):
    folder = scenes.photos[0].image_path.parent
    script = tmp_path / "two.py"
    script.write_text(TWO.format(tests=str(Path(__file__).parent), photos=str(folder), out=str(tmp_path / "two")))
    subprocess.run([sys.executable, str(script)], check=True, timeout=300, capture_output=True)
    fit(replace(RECIPE, learning_rate=1e-4), scenes, scenes, out=tmp_path / "one", accelerator="cpu")
    one, two = ([float(total) for _, total in totals(tmp_path / name)] for name in ("one", "two"))
    # Sums are taken in another order; that is all, for six steps.
    assert two == pytest.approx(one, rel=2e-4)
    assert len(two) == 6


@pytest.mark.parametrize(("world", "skip"), [(1, 0), (2, 0), (2, 4), (3, 1)])
def test_processes_share_an_epoch_and_a_resumed_one(world, skip):
    whole = list(EpochSampler(13, seed=5, epoch=2))[skip:]
    parts = [list(EpochSampler(13, seed=5, epoch=2, skip=skip, rank=rank, world=world)) for rank in range(world)]
    together = [index for turn in zip(*parts, strict=True) for index in turn]
    assert together == whole[: len(together)]
    assert len(whole) - len(together) < world


def test_after_a_resumed_epoch_come_whole_ones():
    sampler = EpochSampler(6, seed=5, epoch=2, skip=4)
    assert len(list(sampler)) == 2
    assert list(sampler) == list(EpochSampler(6, seed=5, epoch=3))
