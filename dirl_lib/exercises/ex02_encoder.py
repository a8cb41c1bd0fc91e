"""Exercises of notebook 02: the receptive field, the cost of a convolution, the bottleneck block."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dirl_lib.exercises.checking import NotAttempted, Wrong, exercise, expect_close

if TYPE_CHECKING:
    from torch import Tensor

Grow = Callable[..., tuple[int, int]]

# (field, jump, kernel, stride, dilation), each chosen so that one typical slip gives another answer.
GROW_CASES = [
    (1, 1, 3, 1, 1),
    (1, 1, 7, 2, 1),
    (7, 2, 3, 2, 1),
    (11, 4, 3, 1, 1),
    (5, 2, 1, 2, 1),
    (15, 1, 3, 1, 2),
    (49, 4, 5, 2, 3),
]


@exercise(
    "02.1",
    "one step of the receptive field, with dilation",
    hints=[
        "Without dilation: the outermost taps of the kernel lie kernel - 1 cells of the layer below apart, and "
        "those cells are `jump` pixels apart.",
        "With dilation d, neighbouring taps lie d cells apart, so the outermost ones d * (kernel - 1).",
        "The field grows by dilation * (kernel - 1) * jump with the old jump; the new jump is jump * stride.",
    ],
)
def check_grow(answer: Grow) -> str:
    for field, jump, kernel, stride, dilation in GROW_CASES:
        given = answer(field, jump, kernel, stride, dilation)
        if not (isinstance(given, tuple | list) and len(given) == 2):
            raise Wrong(f"the function should return two numbers, (field, jump); it returned {given!r}.")
        if None in given:
            raise NotAttempted
        _judge_step((field, jump, kernel, stride, dilation), (given[0], given[1]))
    return (
        "The measured field of every r_k obeys this rule, so you can say before any training how much of a photo "
        "a cell can compare."
    )


def _judge_step(case: tuple[int, int, int, int, int], given: tuple[int, int]) -> None:
    field, jump, kernel, stride, dilation = case
    call = f"grow(field={field}, jump={jump}, kernel={kernel}, stride={stride}, dilation={dilation})"
    right_field, right_jump = field + dilation * (kernel - 1) * jump, jump * stride
    if given[1] != right_jump:
        raise Wrong(
            f"{call} gives the jump {given[1]}, expected {right_jump}. Neighbouring outputs stand `stride` cells "
            f"of the layer below apart, and each of those is `jump` pixels from the next."
        )
    if given[0] == right_field:
        return
    reason = "Count pixels between the outermost taps of the kernel."
    if stride > 1 and given[0] == field + dilation * (kernel - 1) * right_jump:
        reason = "The taps of the kernel stand on the cells below, so the field grows by the old jump."
    elif given[0] == field + dilation * kernel * jump:
        reason = "A kernel of 3 taps has 2 gaps between its taps: kernel - 1, not kernel."
    elif dilation > 1 and given[0] == field + (kernel - 1) * jump:
        reason = "Dilation moves neighbouring taps apart; it makes every gap `dilation` times as wide."
    elif jump > 1 and given[0] == field + dilation * (kernel - 1):
        reason = "A gap between two taps is `jump` pixels wide, not one."
    raise Wrong(f"{call} gives the field {given[0]}, expected {right_field}. {reason}")


# (height, width, c_in, c_out, kernel, stride, padding, groups)
COST_CASES = [
    (8, 8, 1, 1, 3, 1, 1, 1),
    (8, 8, 5, 4, 3, 1, 1, 1),
    (6, 10, 4, 4, 3, 1, 1, 1),
    (16, 16, 4, 8, 3, 2, 1, 1),
    (15, 9, 4, 8, 7, 2, 3, 1),
    (12, 12, 4, 8, 3, 1, 0, 1),
    (8, 8, 8, 16, 3, 1, 1, 4),
    (256, 256, 3, 64, 3, 1, 1, 1),
]


@exercise(
    "02.2",
    "the multiply-adds of a convolution",
    hints=[
        "Two questions, one after the other: how many output cells are there, and what does one of them cost?",
        "out = (size + 2 * padding - kernel) // stride + 1, once for the height and once for the width.",
        "One output value costs kernel * kernel * (c_in // groups) multiply-adds; there are "
        "c_out * out_height * out_width output values.",
    ],
)
def check_conv_cost(answer: Callable[..., int]) -> str:
    for case in COST_CASES:
        height, width, c_in, c_out, kernel, stride, padding, groups = case
        given = answer(height, width, c_in, c_out, kernel, stride, padding, groups)
        expected = _counted_by_torch(*case)
        if given != expected:
            call = (
                f"conv_cost({height}, {width}, c_in={c_in}, c_out={c_out}, kernel={kernel}, "
                f"stride={stride}, padding={padding}, groups={groups})"
            )
            raise Wrong(f"{call} gives {given}, torch counts {expected}. {_cost_advice(case, given)}")
    return "The last case was the new stem at 256 x 256: 0.1 of the encoder's 77.8 billion."


def _counted_by_torch(
    height: int, width: int, c_in: int, c_out: int, kernel: int, stride: int, padding: int, groups: int
) -> int:
    import torch
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode

    # A "meta" tensor has a shape and no values: the count takes no time.
    conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, groups=groups, bias=False, device="meta")
    with FlopCounterMode(display=False) as counter:
        conv(torch.empty(1, c_in, height, width, device="meta"))
    flops: int = counter.get_total_flops()
    return flops // 2  # torch counts a multiply-add as two operations


def _cost_advice(case: tuple[int, int, int, int, int, int, int, int], given: object) -> str:
    height, width, c_in, c_out, kernel, stride, padding, groups = case
    out_height = (height + 2 * padding - kernel) // stride + 1
    out_width = (width + 2 * padding - kernel) // stride + 1
    per_cell = kernel * kernel * c_in * c_out
    right = out_height * out_width * per_cell // groups
    match given:
        case int() | float() if given == 2 * right:
            return "Count one multiplication and its addition as one."
        case int() | float() if groups > 1 and given == groups * right:
            return "With groups, an output channel looks at c_in // groups input channels only."
        case int() | float() if (out_height, out_width) != (height, width) and given * groups == (
            height * width * per_cell
        ):
            return "Count output cells, not input pixels: stride and padding change how many there are."
        case int() | float() if kernel > 1 and given * kernel == right:
            return "The kernel has kernel * kernel taps."
        case int() | float() if c_in > 1 and given * c_in == right:
            return "Every output value sums over all the input channels."
        case float():
            return "A count is a whole number; use // for the output size."
        case _:
            return "Output cells (stride and padding decide), times the cost of one of them."


# (channels in, middle channels, stride); four times the middle come out, as in ResNet50.
BLOCK_CASES = [(8, 2, 1), (6, 3, 1), (6, 3, 2)]


@exercise(
    "02.3",
    "ResNet50's bottleneck block",
    hints=[
        "The order: w1 and ReLU, w2 (with stride and padding=1) and ReLU, w3, then the addition, then ReLU.",
        "The shortcut is x itself if w_short is None, else F.conv2d(x, w_short, stride=stride).",
        "h = F.relu(F.conv2d(x, w1)); h = F.relu(F.conv2d(h, w2, stride=stride, padding=1)); h = F.conv2d(h, w3); "
        "return F.relu(h + shortcut).",
    ],
)
def check_bottleneck(answer: Callable[..., Tensor]) -> str:
    import torch

    generator = torch.Generator().manual_seed(23)
    for c_in, middle, stride in BLOCK_CASES:
        c_out = 4 * middle
        x = torch.randn(2, c_in, 8, 8, generator=generator)
        w1 = torch.randn(middle, c_in, 1, 1, generator=generator) / c_in**0.5
        w2 = torch.randn(middle, middle, 3, 3, generator=generator) / (9 * middle) ** 0.5
        w3 = torch.randn(c_out, middle, 1, 1, generator=generator) / middle**0.5
        projected = stride != 1 or c_in != c_out
        w_short = torch.randn(c_out, c_in, 1, 1, generator=generator) / c_in**0.5 if projected else None
        before = x.clone()
        given = answer(x, w1, w2, w3, stride=stride, w_short=w_short)
        if not torch.equal(x, before):
            raise Wrong("your block changes its input x in place; whoever called it still needs x.")
        what = f"the output for {c_in} -> {c_out} channels at stride {stride}"
        shape = (2, c_out, 8 // stride, 8 // stride)
        if not isinstance(given, torch.Tensor) or tuple(given.shape) != shape:
            found = tuple(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
            raise Wrong(
                f"{what} should be a tensor of shape {shape}, it is {found}. "
                f"The 3x3 convolution pads by 1, and both it and the shortcut have the stride."
            )
        expected = _by_torchvision(x, w1, w2, w3, stride, w_short)
        advice = _block_advice(given, _slips(x, w1, w2, w3, stride, w_short))
        expect_close(what, given, expected, hint=advice)
    return "That is torchvision's own block of ResNet50, weight for weight, without its batch norms."


def _by_torchvision(x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor, stride: int, w_short: Tensor | None) -> Tensor:
    import torch
    from torch import nn
    from torchvision.models.resnet import Bottleneck

    shortcut = None
    if w_short is not None:
        shortcut = nn.Conv2d(w_short.shape[1], w_short.shape[0], 1, stride=stride, bias=False)
    # nn.Identity takes and ignores the channel count that a norm layer is given.
    block = Bottleneck(x.shape[1], w1.shape[0], stride, shortcut, norm_layer=nn.Identity)
    weights = {"conv1.weight": w1, "conv2.weight": w2, "conv3.weight": w3}
    block.load_state_dict(weights if w_short is None else weights | {"downsample.weight": w_short})
    with torch.no_grad():
        output: Tensor = block(x)
    return output


def _slips(x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor, stride: int, w_short: Tensor | None) -> dict[str, Tensor]:
    """What typical slips give, by the advice that mends each."""
    import torch.nn.functional as F

    shortcut = x if w_short is None else F.conv2d(x, w_short, stride=stride)
    h1 = F.conv2d(x, w1)
    h2 = F.conv2d(F.relu(h1), w2, stride=stride, padding=1)
    h3 = F.conv2d(F.relu(h2), w3)
    linear = F.conv2d(F.conv2d(h1, w2, stride=stride, padding=1), w3)
    early = F.conv2d(F.relu(F.conv2d(x, w1, stride=stride)), w2, padding=1)
    return {
        "The last ReLU, after the addition, is missing.": h3 + shortcut,
        "The shortcut was not added.": F.relu(h3),
        "Add first, then ReLU: what is added may be negative.": F.relu(h3) + shortcut,
        "Add first, then ReLU; yours has a ReLU on both sides of the addition.": F.relu(F.relu(h3) + shortcut),
        "There is a ReLU after the first and after the second convolution, too.": F.relu(linear + shortcut),
        "The stride belongs to the 3x3 convolution; at the first 1x1 it skips three cells of four unseen.": F.relu(
            F.conv2d(F.relu(early), w3) + shortcut
        ),
    }


def _block_advice(given: Tensor, slips: dict[str, Tensor]) -> str:
    import torch

    for advice, result in slips.items():
        if torch.allclose(given.float(), result, rtol=1e-4, atol=1e-5):
            return advice
    return "Follow the order: w1, ReLU, w2, ReLU, w3, add the shortcut, ReLU."
