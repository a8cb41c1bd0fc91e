"""Exercises of notebook 05: the gradient of a product, the GGD block, the features that a decoder hears."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeVar

from dirl_lib.exercises.checking import NotAttempted, Wrong, exercise, expect_close

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dirl_lib.blocks.ggd import GGD, Decoder, Streams

    M = TypeVar("M", bound=nn.Module)


@exercise(
    "05.1",
    "the gradient of a product",
    hints=[
        "Hold a still: how much does z = u * a change when u grows by a little?",
        "By the chain rule, what arrives from above is multiplied by the slope: by a on the way to u.",
        "return upstream * a, upstream * u.",
    ],
)
def check_product_gradients(answer: Callable[[Tensor, Tensor, Tensor], Any]) -> str:
    import torch

    generator = torch.Generator().manual_seed(51)
    for shape in ((3,), (2, 4, 5, 5)):
        u, a, upstream = torch.randn(3, *shape, generator=generator).unbind()
        given = _pair(answer(u.clone(), a.clone(), upstream.clone()), "product_gradients")
        u_leaf, a_leaf = u.clone().requires_grad_(), a.clone().requires_grad_()
        expected = torch.autograd.grad(u_leaf * a_leaf, [u_leaf, a_leaf], upstream)
        for name, one, right in zip(("u", "a"), given, expected, strict=True):
            advice = _matching(one, _gradient_slips(name, u, a, upstream))
            expect_close(f"the gradient for {name}, shape {shape},", one, right, hint=advice)
    return "Where one stream is 0, the other learns nothing: the product routes the gradient as it routes the signal."


def _gradient_slips(name: str, u: Tensor, a: Tensor, upstream: Tensor) -> dict[str, Tensor]:
    own, other = (u, a) if name == "u" else (a, u)
    return {
        "You scale it by the stream itself; it is the other stream that scales it.": upstream * own,
        "What arrives from above, upstream, is missing.": other,
        "That is upstream handed on as it is, the gradient of a sum.": upstream,
        "This is the product itself, not its slope.": u * a,
        "The slope of u * a with respect to one stream is the other one alone.": upstream * u * a,
    }


@exercise(
    "05.2",
    "the GGD block",
    hints=[
        "Both streams are up-sampled and convolved first; only then do they meet anything.",
        "Top stream: times a_k. Then torch.cat([top stream, context stream], dim=1) goes through conv_fuse.",
        "t_k = conv_top(upsample(top)) * a_k; g_k = conv_context(upsample(context)); "
        "return conv_fuse(torch.cat([t_k, g_k], dim=1)), g_k.",
    ],
)
def check_ggd_step(answer: Callable[..., Any]) -> str:
    import torch

    from dirl_lib.blocks.ggd import GGD

    for seed, channels, side in ((52, 4, 6), (53, 3, 5)):
        torch_state = torch.get_rng_state()
        torch.manual_seed(seed)
        block = _shifted(GGD(channels))
        top, context = torch.randn(2, 2, channels, side, side).unbind()
        a_k = torch.randn(2, channels, 2 * side, 2 * side)
        torch.set_rng_state(torch_state)
        with torch.no_grad():
            inputs = (top.clone(), context.clone(), a_k.clone())
            given = _pair(answer(*inputs, block.top, block.context, block.fuse), "ggd_step")
            expected: Streams = block(top, context, a_k)
            slips = [_context_slips(block, context), _top_slips(block, top, context, a_k)]
        if isinstance(given[1], torch.Tensor) and given[1].shape == context.shape:
            raise Wrong("new_context is as small as what came in; the up-sampled and convolved context goes on.")
        # The context first: a slip there spoils the new top as well.
        for name, one, right, known in zip(
            ("new_context", "new_top"), (given[1], given[0]), (expected.context, expected.top), slips, strict=True
        ):
            expect_close(f"{name} for {channels} channels", one, right, hint=_matching(one, known))
    return "One product for the skip, one concatenation for the context: both ways for streams to meet."


def _context_slips(block: GGD, context: Tensor) -> dict[str, Tensor]:
    import torch.nn.functional as F

    from dirl_lib.blocks.ggd import upsample

    return {
        "The context is up-sampled, but not convolved.": upsample(context),
        "The order is up-sample, then convolve.": upsample(block.context(context)),
        "Bilinear, but with align_corners=True, as in section 3.": block.context(
            F.interpolate(context, scale_factor=2, mode="bilinear", align_corners=False)
        ),
        "GGD up-samples bilinearly (upsample), not by repeating pixels.": block.context(
            F.interpolate(context, scale_factor=2, mode="nearest")
        ),
        "No activation stands in GGD: the released one has none.": F.relu(block.context(upsample(context))),
        "That is the top stream's convolution; the context has its own.": block.top(upsample(context)),
    }


def _top_slips(block: GGD, top: Tensor, context: Tensor, a_k: Tensor) -> dict[str, Tensor]:
    import torch
    import torch.nn.functional as F

    from dirl_lib.blocks.ggd import upsample

    raised, g_k = block.top(upsample(top)), block.context(upsample(context))

    def fuse(*streams: Tensor) -> Tensor:
        fused: Tensor = block.fuse(torch.cat(streams, dim=1))
        return fused

    return {
        "Concatenate the top stream first, the context second.": fuse(g_k, raised * a_k),
        "The top stream never meets a_k: multiply the two before the concatenation.": fuse(raised, g_k),
        "The skip is multiplied in, not added.": fuse(raised + a_k, g_k),
        "a_k is multiplied onto the top stream before the fusion, not onto its result.": fuse(raised, g_k) * a_k,
        "Multiply after the convolution of the top stream, not before it.": fuse(block.top(upsample(top) * a_k), g_k),
        "a_k gates the top stream only; the context goes round the gate.": fuse(raised * a_k, g_k * a_k),
        "No activation stands in GGD: the released one has none.": F.relu(fuse(raised * a_k, g_k)),
        "This is t_k; the concatenation with the context and conv_fuse are missing.": raised * a_k,
    }


@exercise(
    "05.3",
    "the levels that a decoder hears",
    hints=[
        "Make copies of the features that require gradients, run the decoder, and ask for the gradient of a sum.",
        "torch.autograd.grad(logits.sum(), inputs, allow_unused=True) gives None where a feature is never used. "
        "A gradient may also exist and be zero everywhere.",
        "Keep level k (counted from 1) if its gradient g is not None and bool(g.any()).",
    ],
)
def check_levels_heard(answer: Callable[[nn.Module, list[Tensor]], Any]) -> str:
    import torch

    torch_state = torch.get_rng_state()
    torch.manual_seed(54)
    features = [torch.randn(1, 4, 32 >> k, 32 >> k) for k in range(5)]
    shut = [*features[:2], torch.zeros_like(features[2]), *features[3:]]
    cases = [
        ("four GGD blocks", _decoder("GGD", 4), features, {1, 2, 3, 4, 5}),
        ("three GGD blocks", _decoder("GGD", 3), features, {2, 3, 4, 5}),
        ("four GGD_sim blocks and a_3 = 0", _decoder("GGDSim", 4), shut, {1, 2, 3}),
        ("four GGD blocks and a_3 = 0", _decoder("GGD", 4), shut, {1, 2, 3, 5}),
    ]
    torch.set_rng_state(torch_state)
    for name, decoder, inputs, expected in cases:
        before = [a_k.detach().clone() for a_k in inputs]
        found = _levels(answer(decoder, inputs))
        if found != expected:
            raise Wrong(f"for {name}, found {_set(found)}, expected {_set(expected)}. {_advice(found, expected)}")
        if not all(torch.equal(a_k, old) for a_k, old in zip(inputs, before, strict=True)):
            raise Wrong(f"for {name}, the levels are right, but your function changed the features it was given.")
        if any(a_k.requires_grad for a_k in inputs):
            raise Wrong("the levels are right, but the caller's features require gradients now; work on copies.")
    return "A few lines that tell what a network listens to, whatever its figure promises."


def _decoder(kind: str, blocks: int) -> Decoder:
    from dirl_lib.blocks import ggd

    block = getattr(ggd, kind)
    return _shifted(ggd.Decoder([block(4) for _ in range(blocks)], 4))


def _shifted(module: M) -> M:
    """In evaluation mode, with norms that shift and scale: a forgotten one shows, and zeros do not stay zeros."""
    from torch import nn

    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.weight, mean=1, std=0.2)
            nn.init.normal_(norm.bias)
    return module.eval()


def _levels(given: Any) -> set[int]:
    if given is None:
        raise NotAttempted
    if isinstance(given, str | dict) or not isinstance(given, Iterable):
        raise Wrong(f"levels_heard should return a set of levels such as {{2, 3}}, it is a {type(given).__name__}.")
    levels = set(given)
    if not all(isinstance(k, Integral) and not isinstance(k, bool) for k in levels):
        raise Wrong("the set should hold the numbers of the levels, such as {2, 3}, and nothing else.")
    return levels


def _advice(found: set[int], expected: set[int]) -> str:
    if found == {k - 1 for k in expected}:
        return "Levels count from 1: a_1 is the first feature of the list."
    if found == {1, 2, 3, 4, 5}:
        return "A gradient may exist and be zero everywhere; and .grad of an earlier call is still there."
    if not found:
        return "Not a single one? Perhaps you collect the silent ones, or your copies require no gradients."
    if found == {1, 2, 3, 4, 5} - expected:
        return "These are the silent ones; asked for are the levels that are heard."
    return "A level is heard if its gradient is neither None nor zero everywhere."


def _set(levels: set[int]) -> str:
    return "{" + ", ".join(map(str, sorted(levels))) + "}"


def _pair(given: Any, name: str) -> Sequence[Any]:
    if given is None:
        raise NotAttempted
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise Wrong(f"{name} should return a pair of tensors, it is a {type(given).__name__}.")
    return given


def _matching(given: Any, slips: dict[str, Tensor]) -> str:
    import torch

    for advice, result in slips.items():
        if (
            isinstance(given, torch.Tensor)
            and given.shape == result.shape
            and torch.allclose(given.float(), result, rtol=1e-4, atol=1e-5)
        ):
            return advice
    return ""
