"""The blocks of DIRL, one file for each panel of Fig. 2: encoder, BFI, MDA, GGD."""

from dirl_lib.blocks.bfi import AIM, BFI, BFIDown, BFIUp, NoTransition, window
from dirl_lib.blocks.encoder import Encoder
from dirl_lib.blocks.ggd import GGD, Decoder, GGDSim, Reg
from dirl_lib.blocks.mda import (
    CBAMChannelGate,
    CBAMSpatialGate,
    ChannelGate,
    DualAttention,
    ECAChannelGate,
    SpatialGate,
)

__all__ = [
    "AIM",
    "BFI",
    "GGD",
    "BFIDown",
    "BFIUp",
    "CBAMChannelGate",
    "CBAMSpatialGate",
    "ChannelGate",
    "Decoder",
    "DualAttention",
    "ECAChannelGate",
    "Encoder",
    "GGDSim",
    "NoTransition",
    "Reg",
    "SpatialGate",
    "window",
]
