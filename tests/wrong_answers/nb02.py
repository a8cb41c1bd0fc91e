"""Typical wrong answers to the exercises of notebook 02, each with the hint it must meet."""

# ruff: noqa: ARG001 - most of the slips consist in an argument that is not looked at.

import torch.nn.functional as F


def grow_with_new_jump(field, jump, kernel, stride, dilation=1):
    jump = jump * stride
    return field + dilation * (kernel - 1) * jump, jump


def grow_by_whole_kernel(field, jump, kernel, stride, dilation=1):
    return field + dilation * kernel * jump, jump * stride


def grow_without_dilation(field, jump, kernel, stride, dilation=1):
    return field + (kernel - 1) * jump, jump * stride


def grow_without_jump(field, jump, kernel, stride, dilation=1):
    return field + dilation * (kernel - 1), jump * stride


def grow_with_added_stride(field, jump, kernel, stride, dilation=1):
    return field + dilation * (kernel - 1) * jump, jump + stride


def grow_only_the_field(field, jump, kernel, stride, dilation=1):
    return field + dilation * (kernel - 1) * jump


def _cells(height, width, kernel, stride, padding):
    rows = (height + 2 * padding - kernel) // stride + 1
    columns = (width + 2 * padding - kernel) // stride + 1
    return rows * columns


def cost_in_flops(height, width, c_in, c_out, kernel, stride=1, padding=0, groups=1):
    cells = _cells(height, width, kernel, stride, padding)
    return 2 * cells * c_out * kernel * kernel * c_in // groups


def cost_per_input_pixel(height, width, c_in, c_out, kernel, stride=1, padding=0, groups=1):
    return height * width * c_out * kernel * kernel * c_in // groups


def cost_without_groups(height, width, c_in, c_out, kernel, stride=1, padding=0, groups=1):
    return _cells(height, width, kernel, stride, padding) * c_out * kernel * kernel * c_in


def cost_with_one_kernel_side(height, width, c_in, c_out, kernel, stride=1, padding=0, groups=1):
    return _cells(height, width, kernel, stride, padding) * c_out * kernel * c_in // groups


def cost_of_one_input_channel(height, width, c_in, c_out, kernel, stride=1, padding=0, groups=1):
    return _cells(height, width, kernel, stride, padding) * c_out * kernel * kernel


def cost_with_true_division(height, width, c_in, c_out, kernel, stride=1, padding=0, groups=1):
    rows = (height + 2 * padding - kernel) / stride + 1
    columns = (width + 2 * padding - kernel) / stride + 1
    return rows * columns * c_out * kernel * kernel * c_in // groups


def _shortcut(x, w_short, stride):
    return x if w_short is None else F.conv2d(x, w_short, stride=stride)


def _branch(x, w1, w2, w3, stride):
    h = F.relu(F.conv2d(x, w1))
    return F.conv2d(F.relu(F.conv2d(h, w2, stride=stride, padding=1)), w3)


def block_without_last_relu(x, w1, w2, w3, stride=1, w_short=None):
    return _branch(x, w1, w2, w3, stride) + _shortcut(x, w_short, stride)


def block_without_shortcut(x, w1, w2, w3, stride=1, w_short=None):
    return F.relu(_branch(x, w1, w2, w3, stride))


def block_with_relu_before_adding(x, w1, w2, w3, stride=1, w_short=None):
    return F.relu(_branch(x, w1, w2, w3, stride)) + _shortcut(x, w_short, stride)


def block_with_stride_first(x, w1, w2, w3, stride=1, w_short=None):
    h = F.relu(F.conv2d(x, w1, stride=stride))
    h = F.conv2d(F.relu(F.conv2d(h, w2, padding=1)), w3)
    return F.relu(h + _shortcut(x, w_short, stride))


def block_without_padding(x, w1, w2, w3, stride=1, w_short=None):
    h = F.relu(F.conv2d(x, w1))
    return F.relu(F.conv2d(F.relu(F.conv2d(h, w2, stride=stride)), w3))


def block_without_inner_relu(x, w1, w2, w3, stride=1, w_short=None):
    h = F.conv2d(F.conv2d(x, w1), w2, stride=stride, padding=1)
    return F.relu(F.conv2d(h, w3) + _shortcut(x, w_short, stride))


def block_that_overwrites_its_input(x, w1, w2, w3, stride=1, w_short=None):
    shortcut = _shortcut(x, w_short, stride)
    return shortcut.add_(_branch(x, w1, w2, w3, stride)).relu_()


WRONG = {
    "02.1": [
        (grow_with_new_jump, "the old jump"),
        (grow_by_whole_kernel, "kernel - 1, not kernel"),
        (grow_without_dilation, "Dilation moves neighbouring taps apart"),
        (grow_without_jump, "`jump` pixels wide, not one"),
        (grow_with_added_stride, r"gives the jump 2, expected 1\."),
        (grow_only_the_field, "two numbers"),
    ],
    "02.2": [
        (cost_in_flops, "one multiplication and its addition as one"),
        (cost_per_input_pixel, "output cells, not input pixels"),
        (cost_without_groups, "c_in // groups"),
        (cost_with_one_kernel_side, r"kernel \* kernel taps"),
        (cost_of_one_input_channel, "sums over all the input channels"),
        (cost_with_true_division, "whole number"),
    ],
    "02.3": [
        (block_without_last_relu, "last ReLU"),
        (block_without_shortcut, "shortcut was not added"),
        (block_with_relu_before_adding, "what is added may be negative"),
        (block_with_stride_first, "stride belongs to the 3x3"),
        (block_without_padding, "pads by 1"),
        (block_without_inner_relu, "after the first and after the second"),
        (block_that_overwrites_its_input, "in place"),
    ],
}
