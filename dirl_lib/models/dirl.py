"""DIRL, Deep Inharmonious Region Localization: the four stages of Fig. 2 put together, and its presets."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dirl_lib.blocks.bfi import AIM, BFI, BFIDown, BFIUp, NoTransition, window
from dirl_lib.blocks.encoder import Backbone, Encoder, scaled
from dirl_lib.blocks.ggd import GGD, Decoder, GGDSim, Reg
from dirl_lib.blocks.mda import (
    CBAMChannelGate,
    CBAMSpatialGate,
    ChannelGate,
    DualAttention,
    ECAChannelGate,
    SpatialGate,
)
from dirl_lib.checks import check_images
from dirl_lib.types import Localization

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
COARSEST_STRIDE = 16  # r_5 is 16 times smaller than the image
SMALLEST_SIDE = 32  # two cells of r_5: below that there is no neighbourhood to compare a region with


class DIRL(nn.Module):
    """Image (B, 3, H, W) in [0, 1] -> `Localization`. Section 3, Fig. 2.

        r = encoder(image)          five features, fine to coarse
        b_k = transition_k(r)       BFI: neighbours exchange what they know, 32 channels each
        a_k, A_k = refinement_k(b)  MDA: keep what matters; A_k is where it looked
        mask = sigmoid(decoder(a))  GGD: back to full size under the guidance of a_5

    Any H, W from 32 up. Sizes that are no multiple of 16 are padded inside (the border is repeated to the right
    and downwards) and everything that leaves is cut back to the size of the image.

    Args:
        encoder, transition, refinement, decoder: the finished stages; `create_model` builds them from a preset.
            `refinement` has five blocks, or none: then a_k = b_k and there is no attention.
    """

    def __init__(
        self,
        encoder: Encoder,
        transition: nn.ModuleList,
        refinement: nn.ModuleList,
        decoder: Decoder,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.transition = transition
        self.refinement = refinement
        self.decoder = decoder
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    mean: Tensor
    std: Tensor

    def forward(self, images: Tensor, *, return_features: bool = False) -> Localization:
        """Find the inharmonious region of each image.

        Args:
            images: (B, 3, H, W), RGB, float in [0, 1], H and W at least 32.
            return_features: put r_1..r_5, b_1..b_5 and a_1..a_5 into `extras`.

        Raises:
            TypeError: the images are not a floating-point tensor.
            ValueError: wrong number of dimensions or channels, too small, NaN, or values outside [0, 1].
        """
        check_images(images, minimum=SMALLEST_SIDE)
        return self.localize((images - self.mean) / self.std, return_features=return_features)

    def localize(self, normalised: Tensor, *, return_features: bool = False) -> Localization:
        """`forward` for images that are normalised already, by ImageNet's mean and standard deviation."""
        height, width = normalised.shape[-2:]
        bottom, right = -height % COARSEST_STRIDE, -width % COARSEST_STRIDE
        x = F.pad(normalised, (0, right, 0, bottom), mode="replicate") if bottom or right else normalised

        r = self.encoder(x)
        b = [block(window(r, k)) for k, block in enumerate(self.transition, start=1)]
        if self.refinement:
            pairs = [block(b_k) for block, b_k in zip(self.refinement, b, strict=True)]
            a, attention = [a_k for a_k, _ in pairs], [A_k for _, A_k in pairs]
        else:
            a, attention = b, []
        mask = torch.sigmoid(self.decoder(a))

        extras: dict[str, Tensor] = {}
        if return_features:
            for letter, levels in (("r", r), ("b", b), ("a", a)):
                cropped = crop_levels(levels, height, width)
                extras |= {f"{letter}_{k}": level for k, level in enumerate(cropped, start=1)}
        return Localization(mask[..., :height, :width], crop_levels(attention, height, width), extras)


def crop_levels(levels: Iterable[Tensor], height: int, width: int) -> tuple[Tensor, ...]:
    """Levels 1, 2, ... of a padded image -> the image's own part; level k at size / 2^(k-1), rounded up."""
    return tuple(level[..., : -(-height // 2**i), : -(-width // 2**i)] for i, level in enumerate(levels))


Transition = Literal["none", "aim", "bfi_down", "bfi_up", "bfi"]
Refinement = Literal["none", "figure", "released", "cbam"]
DecoderKind = Literal["reg", "ggd_sim", "ggd"]


@dataclass(frozen=True)
class DIRLConfig:
    """All the numbers and choices of one DIRL; two configurations side by side are an ablation."""

    transition: Transition = "bfi"
    """What makes b_k out of neighbouring r: "none", "aim", "bfi_down", "bfi_up" or "bfi"."""
    refinement: Refinement = "figure"
    """The gates that make a_k out of b_k: "none", as in the "figure", as "released", or CBAM proper, "cbam"."""
    supervise_attention: bool = True
    """MDA (True) or DA (False): shall training hold A_k against the mask? Read by whoever adds up the losses."""
    decoder: DecoderKind = "ggd"
    """The decoder's block: "reg", "ggd_sim" or "ggd"."""
    decoder_blocks: int = 4
    """4: levels 4 to 1 (paper). 3: the mask is up-sampled from level 2 and a_1 never reaches it (released)."""
    backbone: Backbone = "resnet34"
    """The encoder's ResNet: "resnet34" (paper) or "resnet50"."""
    channels: int = 32
    """Channels of every b_k and a_k, and of the decoder."""
    width: float = 1.0
    """Scales `channels` and every channel count of the encoder."""

    def __post_init__(self) -> None:
        for field, kind in (
            ("transition", Transition),
            ("refinement", Refinement),
            ("decoder", DecoderKind),
            ("backbone", Backbone),
        ):
            value = getattr(self, field)
            if value not in get_args(kind):
                raise ValueError(f"{field} must be one of {', '.join(get_args(kind))}; found {value!r}")
        if self.decoder_blocks not in (3, 4):
            raise ValueError(f"decoder_blocks must be 3 (released) or 4 (paper); found {self.decoder_blocks!r}")
        if not self.width > 0:
            raise ValueError(f"width must be positive, 1 being the paper's network; found {self.width!r}")
        if self.supervise_attention and self.refinement == "none":
            raise ValueError("without refinement there is no attention to supervise; set supervise_attention=False")


PAPER = DIRLConfig()
_NO_ATTENTION = replace(PAPER, refinement="none", supervise_attention=False)

PRESETS: dict[str, DIRLConfig] = {
    "paper": PAPER,
    "released": replace(PAPER, refinement="released", decoder_blocks=3),
    "cbam": replace(PAPER, refinement="cbam"),
    "eca": replace(PAPER, refinement="released"),
    "da": replace(PAPER, supervise_attention=False),  # supplement, Fig. 2: the whole network, its attention untold
    # The ten rows of the supplement's Table 1.
    "row-01": replace(_NO_ATTENTION, transition="none", decoder="reg"),
    "row-02": replace(_NO_ATTENTION, transition="none", decoder="ggd_sim"),
    "row-03": replace(_NO_ATTENTION, transition="none"),
    "row-04": replace(_NO_ATTENTION, transition="aim"),
    "row-05": replace(_NO_ATTENTION, transition="bfi_down"),
    "row-06": replace(_NO_ATTENTION, transition="bfi_up"),
    "row-07": _NO_ATTENTION,
    "row-08": replace(PAPER, transition="none", supervise_attention=False),
    "row-09": replace(PAPER, transition="none"),
    "row-10": PAPER,
}

TRANSITIONS: dict[Transition, type[nn.Module]] = {
    "none": NoTransition,
    "aim": AIM,
    "bfi_down": BFIDown,
    "bfi_up": BFIUp,
    "bfi": BFI,
}
DECODERS: dict[DecoderKind, type[nn.Module]] = {"reg": Reg, "ggd_sim": GGDSim, "ggd": GGD}


def build_transition(kind: Transition, encoder_channels: Sequence[int], channels: int) -> nn.ModuleList:
    """Five blocks of one kind, each for its window of levels."""
    block = TRANSITIONS[kind]
    levels = range(1, 6)
    return nn.ModuleList(block(window(encoder_channels, k), own=min(k - 1, 1), out=channels) for k in levels)


def build_refinement(kind: Refinement, channels: int) -> nn.ModuleList:
    """Five dual attentions with the gates asked for, or none at all."""

    def dual_attention() -> DualAttention:
        if kind == "released":
            return DualAttention(ECAChannelGate(), SpatialGate(channels, kernel_size=7), residual=True)
        if kind == "cbam":
            return DualAttention(CBAMChannelGate(channels), CBAMSpatialGate(), residual=False)
        return DualAttention(ChannelGate(channels), SpatialGate(channels, kernel_size=3), residual=False)

    return nn.ModuleList() if kind == "none" else nn.ModuleList(dual_attention() for _ in range(5))


def build_dirl(config: DIRLConfig) -> DIRL:
    """The network that a configuration describes, with PyTorch's random initial weights."""
    channels = scaled(config.channels, config.width)
    encoder = Encoder(config.backbone, width=config.width)
    block = DECODERS[config.decoder]
    return DIRL(
        encoder,
        build_transition(config.transition, encoder.channels, channels),
        build_refinement(config.refinement, channels),
        Decoder([block(channels) for _ in range(config.decoder_blocks)], channels),
    )


def list_models() -> list[str]:
    """The names that `create_model` knows."""
    return list(PRESETS)


def create_model(name: str = "paper", *, width: float = 1.0, backbone: Backbone = "resnet34") -> DIRL:
    """A network by the name of its preset, with random weights.

    Args:
        name: "paper", "released", "cbam" and "eca" (the paper's network with those gates), "da" (the same to be trained
            without supervised attention), or
            "row-01" ... "row-10" for the rows of the supplement's Table 1.
        width: scales every channel count; 0.25 is 16 times fewer weights.
        backbone: "resnet34" (paper) or "resnet50".

    Raises:
        ValueError: unknown name, backbone, or a width that is not positive.

    See `dirl_lib.checkpoints` for ImageNet weights of the encoder and for the authors' trained weights.
    """
    if name not in PRESETS:
        raise ValueError(f"no model is called {name!r}; there are {', '.join(PRESETS)}")
    return build_dirl(replace(PRESETS[name], width=width, backbone=backbone))
