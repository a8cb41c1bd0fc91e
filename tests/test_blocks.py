"""Each block alone: against torchvision, against the equations, against what it is meant to see."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import resnet34, resnet50

from dirl_lib.blocks import (
    AIM,
    BFI,
    GGD,
    BFIDown,
    BFIUp,
    CBAMChannelGate,
    CBAMSpatialGate,
    ChannelGate,
    Decoder,
    DualAttention,
    ECAChannelGate,
    Encoder,
    GGDSim,
    NoTransition,
    Reg,
    SpatialGate,
    window,
)
from dirl_lib.blocks.bfi import C, D, U

CHANNELS = (4, 6, 8)  # of a window, fine to coarse; all different, so that a wrong wiring cannot fit


def features(channels=CHANNELS, size=16):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, c, size // 2**i, size // 2**i, generator=generator) for i, c in enumerate(channels)]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(("backbone", "torchvision_model"), [("resnet34", resnet34), ("resnet50", resnet50)])
def test_stages_1_to_4_are_torchvisions(backbone, torchvision_model):
    ours, theirs = Encoder(backbone).eval(), torchvision_model(weights=None).eval()
    layers = [theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4]
    x = torch.rand(1, 64, 16, 16)
    for stage, layer in zip(ours.stages, layers, strict=True):
        stage.load_state_dict(layer.state_dict())  # the same keys and shapes, or it raises
        torch.testing.assert_close(stage(x), layer(x), rtol=0, atol=0)
        x = stage(x)


@pytest.mark.parametrize(
    ("backbone", "width", "channels"),
    [
        ("resnet34", 1.0, (64, 128, 256, 512, 512)),
        ("resnet50", 1.0, (256, 512, 1024, 2048, 512)),
        ("resnet34", 0.25, (16, 32, 64, 128, 128)),
    ],
)
def test_the_encoder_keeps_full_resolution_and_halves_from_level_to_level(backbone, width, channels):
    encoder = Encoder(backbone, width=width).eval()
    assert encoder.channels == channels
    with torch.no_grad():
        r = encoder(torch.rand(2, 3, 64, 48))
    assert [tuple(x.shape) for x in r] == [(2, c, 64 // 2**i, 48 // 2**i) for i, c in enumerate(channels)]
    assert all(x.min() >= 0 for x in r)


def test_the_window_of_a_level_is_itself_and_its_neighbours():
    levels = [torch.tensor(k) for k in range(1, 6)]
    assert [[int(r) for r in window(levels, k)] for k in range(1, 6)] == [
        [1, 2],
        [1, 2, 3],
        [2, 3, 4],
        [3, 4, 5],
        [4, 5],
    ]


def test_the_units_change_size_as_their_names_say():
    x = torch.randn(2, 4, 8, 6)
    assert C(4, 5)(x).shape == (2, 5, 8, 6)
    assert D(4, 5)(x).shape == (2, 5, 4, 3)
    assert U(4, 5)(x).shape == (2, 5, 16, 12)


POSITIONS = [(CHANNELS[:2], 0), (CHANNELS, 1), (CHANNELS[1:], 1)]


@pytest.mark.parametrize("block", [BFI, BFIDown, BFIUp, AIM, NoTransition])
@pytest.mark.parametrize(("channels", "own"), POSITIONS, ids=["leftmost", "middle", "rightmost"])
def test_every_transition_answers_at_its_own_level(block, channels, own):
    levels = features(channels)
    assert block(channels, own, 5)(levels).shape == (2, 5, *levels[own].shape[-2:])


def test_bfi_in_the_middle_is_the_papers_equations():
    bfi = BFI(CHANNELS, 1, 5).eval()
    fine, own, coarse = features()
    (u_fine, u_own), (d_own, d_coarse) = bfi.top_down.steps, bfi.bottom_up.steps
    down_coarse, up_fine = coarse, fine
    down_own = u_own(down_coarse) + own
    down_fine = u_fine(down_own) + fine
    up_own = d_own(up_fine) + own
    up_coarse = d_coarse(up_own) + coarse
    to_k = bfi.aggregation.units
    expected = (
        to_k[0](torch.cat([down_fine, up_fine], 1))
        + to_k[1](torch.cat([down_own, up_own], 1))
        + to_k[2](torch.cat([down_coarse, up_coarse], 1))
    )
    assert [type(unit) for unit in to_k] == [D, C, U]
    torch.testing.assert_close(bfi((fine, own, coarse)), expected)


def hears(block, listener, levels):
    """For each level, whether the tensor that `listener` puts out depends on it."""
    levels = [level.requires_grad_() for level in levels]
    caught = []
    handle = listener.register_forward_hook(lambda _, __, out: caught.append(out))
    block(levels)
    handle.remove()
    gradients = torch.autograd.grad(caught[0].square().sum(), levels, allow_unused=True)
    return [g is not None and bool(g.any()) for g in gradients]


def test_bfi_carries_news_between_levels_two_steps_apart_and_aim_does_not():
    bfi, aim = BFI(CHANNELS, 1, 5).eval(), AIM(CHANNELS, 1, 5).eval()
    finest, own, coarsest = 0, 1, 2
    assert hears(bfi, bfi.aggregation.units[finest], features()) == [True, True, True]
    assert hears(aim, aim.merge[finest], features()) == [True, True, False]
    assert hears(aim, aim.merge[own], features()) == [True, True, True]
    assert hears(aim, aim.merge[coarsest], features()) == [False, True, True]


def test_one_stream_alone_carries_news_one_way_only():
    down, up = BFIDown(CHANNELS, 1, 5).eval(), BFIUp(CHANNELS, 1, 5).eval()
    assert hears(down, down.aggregation.units[2], features()) == [False, False, True]
    assert hears(down, down.aggregation.units[0], features()) == [True, True, True]
    assert hears(up, up.aggregation.units[0], features()) == [True, False, False]
    assert hears(up, up.aggregation.units[2], features()) == [True, True, True]
    plain = NoTransition(CHANNELS, 1, 5).eval()
    assert hears(plain, plain, features()) == [False, True, False]


GATES = {
    "figure": lambda c: (ChannelGate(c), SpatialGate(c, kernel_size=3)),
    "released": lambda c: (ECAChannelGate(), SpatialGate(c, kernel_size=7)),
    "cbam": lambda c: (CBAMChannelGate(c), CBAMSpatialGate()),
}


@pytest.mark.parametrize(("gates", "residual"), list(itertools.product(GATES, [False, True])))
def test_dual_attention_is_feature_times_channel_gate_times_spatial_gate(gates, residual):
    channel_gate, spatial_gate = GATES[gates](8)
    attention = DualAttention(channel_gate, spatial_gate, residual=residual).eval()
    b = torch.randn(2, 8, 6, 5)
    a, spatial = attention(b)
    weights = channel_gate(b)
    assert weights.shape == (2, 8, 1, 1)
    assert spatial.shape == (2, 1, 6, 5)
    assert ((weights > 0) & (weights < 1)).all()
    assert ((spatial > 0) & (spatial < 1)).all()
    c = b * weights
    torch.testing.assert_close(a, c * spatial + (c if residual else 0))


def test_the_released_channel_gate_slides_over_the_channel_axis():
    gate = ECAChannelGate()
    with torch.no_grad():
        gate.conv.weight.copy_(torch.tensor([[[1.0, 0.0, 0.0]]]))  # looks at the channel before its own
    b = torch.tensor([10.0, 20.0, 30.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2) / 10
    expected = torch.sigmoid(torch.tensor([0.0, 1.0, 2.0]))
    torch.testing.assert_close(gate(b).flatten(), expected)


def test_cbams_perceptron_is_shared_by_the_average_and_the_maximum():
    gate = CBAMChannelGate(32)
    b = torch.randn(1, 32, 4, 4)
    first, _, second = gate.mlp
    hidden = [F.relu(first(v)) for v in (b.mean((2, 3), keepdim=True), b.amax((2, 3), keepdim=True))]
    torch.testing.assert_close(gate(b), torch.sigmoid(second(hidden[0]) + second(hidden[1])))
    assert first.out_channels == 2


def test_ggd_multiplies_what_comes_up_with_what_comes_across():
    block = GGD(4).eval()
    top, context, a = torch.randn(1, 4, 3, 3), torch.randn(1, 4, 3, 3), torch.randn(1, 4, 6, 6)
    up = nn.UpsamplingBilinear2d(scale_factor=2)  # PyTorch's bilinear with aligned corners
    g = block.context(up(context))
    u = block.fuse(torch.cat([block.top(up(top)) * a, g], 1))
    out = block(top, context, a)
    torch.testing.assert_close(out.top, u)
    torch.testing.assert_close(out.context, g)


def test_the_simple_decoders_leave_the_context_alone():
    top, context, a = torch.randn(1, 4, 3, 3), torch.randn(1, 4, 3, 3), torch.randn(1, 4, 6, 6)
    for block in (GGDSim(4).eval(), Reg(4).eval()):
        out = block(top, context, a)
        assert out.context is context
        assert out.top.shape == a.shape


@pytest.mark.parametrize(("blocks", "a_1_counts"), [(4, True), (3, False)])
def test_a_1_reaches_the_mask_only_through_a_fourth_block(blocks, a_1_counts):
    decoder = Decoder([GGD(4) for _ in range(blocks)], 4)
    refined = [torch.randn(1, 4, 32 // 2**i, 32 // 2**i, requires_grad=True) for i in range(5)]
    logits = decoder(refined)
    assert logits.shape == (1, 1, 32, 32)
    gradients = torch.autograd.grad(logits.sum(), refined, allow_unused=True)
    assert [g is not None for g in gradients] == [a_1_counts, True, True, True, True]
