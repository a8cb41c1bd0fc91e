"""The rule by which the reference numbers were made: weights and inputs as functions of their names alone.

Restated from the specification that comes with the reference numbers; its own check sums are tested in test_golden.py.
"""

import zlib

import numpy as np

NORM_LAYERS = ("bn", "bn1", "bn2", "bn3", "inbn", "norm")


def generator(name: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))


def belongs_to_norm(key: str) -> bool:
    parts = key.split(".")
    return parts[-2] in NORM_LAYERS or (len(parts) > 2 and parts[-3] == "downsample" and parts[-2] == "1")


def fill_tensor(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weight that the reference network has under `key` of the released files."""
    leaf = key.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    z = generator(key).standard_normal(shape)
    if leaf == "running_mean":
        value = 0.1 * z
    elif leaf == "running_var":
        value = 1 + 0.1 * np.abs(z)
    elif leaf == "bias":
        value = (0.1 if belongs_to_norm(key) else 0.01) * z
    elif len(shape) == 1:
        value = 1 + 0.1 * z
        if key.endswith((".bn2.weight", ".bn3.weight")):
            value = 0.3 * value
    else:
        gain = 0.25 if key.startswith("trans.") else 1.0 if key.startswith("decoder_layers.") else 2.0
        value = z * np.sqrt(gain / np.prod(shape[1:]))
    return value.astype(np.float32)


def make_input(n: int) -> np.ndarray:
    """float32 (1, 3, n, n), already normalised: waves, a disc, noise."""
    i, j = np.meshgrid(np.arange(n, dtype=np.float64), np.arange(n, dtype=np.float64), indexing="ij")
    disc = (i - 0.40 * n) ** 2 + (j - 0.55 * n) ** 2 < (0.22 * n) ** 2
    noise = generator(f"input{n}").standard_normal((3, n, n))
    planes = [
        0.8 * np.sin(2 * np.pi * (c + 1) * i / 37.0)
        + 0.8 * np.cos(2 * np.pi * j / (23.0 + 5 * c))
        + 0.9 * disc * (1.0 - 0.5 * c)
        + 0.3 * noise[c]
        for c in range(3)
    ]
    return np.stack(planes)[None].astype(np.float32)


def sample_index(size: int, count: int = 512) -> np.ndarray:
    """Where the stored samples of a flattened tensor were taken."""
    count = min(size, count)
    return np.floor(np.arange(count) * (size / count)).astype(np.int64)


def disc_mask(batch: int, height: int, width: int) -> np.ndarray:
    i, j = np.meshgrid(np.arange(height, dtype=np.float64), np.arange(width, dtype=np.float64), indexing="ij")
    ellipses = [
        ((i - (0.45 + 0.1 * k) * height) / (0.25 * height)) ** 2 + ((j - 0.5 * width) / ((0.2 + 0.1 * k) * width)) ** 2
        < 1
        for k in range(batch)
    ]
    return np.stack(ellipses)[:, None].astype(np.float32)


def soft_prediction(name: str, target: np.ndarray) -> np.ndarray:
    z = generator(name).standard_normal(target.shape)
    return (1 / (1 + np.exp(-(2.5 * target - 1.5 + 1.2 * z)))).astype(np.float32)
