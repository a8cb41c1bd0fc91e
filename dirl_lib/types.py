"""The two records that travel through the library: what a model answers, and what a data set gives."""

from typing import NamedTuple

from torch import Tensor


class Localization(NamedTuple):
    """What a model says about a batch of images.

    A NamedTuple, so that it survives `torch.compile`, `torch.export` and mixed precision.
    """

    mask: Tensor
    """(B, 1, H, W), probabilities in [0, 1]; 1 = inharmonious; the size of the images that came in."""
    attention: tuple[Tensor, ...]
    """A_1..A_5, finest first: A_k is (B, 1, ceil(H / 2^(k-1)), ceil(W / 2^(k-1))); () where a system has none."""
    extras: dict[str, Tensor]
    """Named tensors on request, such as the features "r_1".."r_5", "b_1".."b_5", "a_1".."a_5"; else empty."""


class Sample(NamedTuple):
    """One composite with its ground truth."""

    name: str
    """File stem of the composite; in iHarmony4 `<photo>_<mask>_<variant>`."""
    image: Tensor
    """The composite, (3, H, W), float32 in [0, 1], RGB."""
    mask: Tensor
    """(1, H, W), float32 in {0, 1}; 1 = inharmonious."""
    real: Tensor
    """The untouched photograph, (3, H, W); (3, 0, 0) where a data set gives none. DIRL never learns from it, but people
    want to see it."""
