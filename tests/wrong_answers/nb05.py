"""Typical wrong answers to the exercises of notebook 05, each with a pattern of the hint it must earn."""

# ruff: noqa: ARG005 - most of the slips consist in an argument that is not looked at.

import torch
import torch.nn.functional as F

from dirl_lib.blocks.ggd import upsample


def ggd(top, context, a_k, conv_top, conv_context, conv_fuse, slip=""):
    """One GGD block with one slip in it."""
    up = {
        "outer edges": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False),
        "nearest": lambda x: F.interpolate(x, scale_factor=2, mode="nearest"),
    }.get(slip, upsample)
    raised, g_k = conv_top(up(top)), conv_context(up(context))
    t_k = {"added": raised + a_k, "no gate": raised, "gate first": conv_top(up(top) * a_k)}.get(slip, raised * a_k)
    side = {"gated context": g_k * a_k}.get(slip, g_k)
    pair = [side, t_k] if slip == "order" else [t_k, side]
    fused = conv_fuse(torch.cat(pair, dim=1))
    if slip == "activation":
        fused = F.relu(fused)
    passed_on = {"old context": context, "bare context": up(context)}.get(slip, g_k)
    return fused, passed_on


def with_slip(slip):
    return lambda *inputs: ggd(*inputs, slip=slip)


def gradients(decoder, features):
    inputs = [a_k.detach().clone().requires_grad_() for a_k in features]
    return torch.autograd.grad(decoder(inputs).sum(), inputs, allow_unused=True)


def gradient_exists(decoder, features):
    return {k for k, g in enumerate(gradients(decoder, features), start=1) if g is not None}


def counted_from_zero(decoder, features):
    return {k for k, g in enumerate(gradients(decoder, features)) if g is not None and g.any()}


def silent_ones(decoder, features):
    return {k for k, g in enumerate(gradients(decoder, features), start=1) if g is None or not g.any()}


def on_the_callers_tensors(decoder, features):
    for a_k in features:
        a_k.requires_grad_()
    decoder(features).sum().backward()
    return {k for k, a_k in enumerate(features, start=1) if a_k.grad is not None and a_k.grad.any()}


def read_off_the_figure(decoder, features):
    return {len(features) - k for k in range(len(decoder.blocks) + 1)}


def as_booleans(decoder, features):
    return [g is not None for g in gradients(decoder, features)]


WRONG = {
    "05.1": [
        (lambda u, a, upstream: (upstream * u, upstream * a), "the other stream"),
        (lambda u, a, upstream: (a, u), "upstream, is missing"),
        (lambda u, a, upstream: (upstream, upstream), "gradient of a sum"),
        (lambda u, a, upstream: upstream * u * a, "pair of tensors"),
        (lambda u, a, upstream: (u * a, u * a), "not its slope"),
    ],
    "05.2": [
        (with_slip("outer edges"), "align_corners=True"),
        (with_slip("nearest"), "not by repeating"),
        (with_slip("order"), "top stream first"),
        (with_slip("added"), "not added"),
        (with_slip("no gate"), "never meets a_k"),
        (with_slip("gate first"), "after the convolution"),
        (with_slip("gated context"), "round the gate"),
        (with_slip("activation"), "No activation"),
        (with_slip("old context"), "as small as what came in"),
        (with_slip("bare context"), "not convolved"),
        (lambda *inputs: ggd(*inputs)[0], "pair of tensors"),
    ],
    "05.3": [
        (gradient_exists, "may exist and be zero"),
        (counted_from_zero, "count from 1"),
        (silent_ones, "silent ones"),
        (on_the_callers_tensors, "work on copies"),
        (read_off_the_figure, "zero everywhere"),
        (as_booleans, "numbers of the levels"),
        (lambda decoder, features: 5, "set of levels"),
    ],
}
