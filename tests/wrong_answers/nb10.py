"""Typical wrong answers to the exercises of notebook 10, each with a pattern of the hint it must earn."""

import torch
import torch.nn.functional as F


def hit(attention, mask, offset=0.5, number=None):
    (height, width), (tall, wide) = attention.shape[-2:], mask.shape[-2:]
    number = attention.flatten(1).argmax(dim=1) if number is None else number
    y = ((number // width + offset) / height * tall).long().clamp(max=tall - 1)
    x = ((number % width + offset) / width * wide).long().clamp(max=wide - 1)
    return mask[torch.arange(len(mask)), 0, y, x]


def most_of_the_cell(attention, mask):
    share = F.interpolate(mask, size=attention.shape[-2:], mode="area").flatten(1)
    return share[torch.arange(len(mask)), attention.flatten(1).argmax(dim=1)] > 0.5


def share_of_the_cell(attention, mask):
    share = F.interpolate(mask, size=attention.shape[-2:], mode="area").flatten(1)
    return share[torch.arange(len(mask)), attention.flatten(1).argmax(dim=1)]


def one_for_the_batch(attention, mask):
    cells = attention.shape[-2] * attention.shape[-1]
    return hit(attention, mask, number=attention.flatten().argmax().expand(len(mask)) % cells)


def divided_by_the_height(attention, mask):
    height, width = attention.shape[-2:]
    number = attention.flatten(1).argmax(dim=1)
    return hit(attention, mask, number=(number % height * width + number // height).clamp(max=height * width - 1))


def gated(block, b):
    c = b * block.channel_gate(b)
    return c, block.spatial_gate(c)


def without_residual(block, b):
    c, attention = gated(block, b)
    return c * attention.mean(dim=(2, 3), keepdim=True)


def always_residual(block, b):
    c, attention = gated(block, b)
    return c * attention.mean(dim=(2, 3), keepdim=True) + c


def over_the_batch(block, b):
    c, attention = gated(block, b)
    return c * attention.mean() + (c if block.residual else 0)


def without_the_channel_gate(block, b):
    flat = block.spatial_gate(b * block.channel_gate(b)).mean(dim=(2, 3), keepdim=True)
    return b * flat + (b if block.residual else 0)


def gate_on_b(block, b):
    c = b * block.channel_gate(b)
    return c * block.spatial_gate(b).mean(dim=(2, 3), keepdim=True) + (c if block.residual else 0)


WRONG = {
    "10.1": [
        (lambda feature: feature.mean(dim=1), "Plus and minus cancel"),
        (lambda feature: feature.mean(dim=1).abs(), "cancelled already"),
        (lambda feature: feature.abs().sum(dim=1), "sum over the channels"),
        (lambda feature: feature.abs().amax(dim=1), "largest channel"),
        (lambda feature: feature.square().mean(dim=1).sqrt(), "root of the mean square"),
        (lambda feature: feature.abs().mean(dim=(2, 3)), "one value a place"),
        (lambda feature: float(feature.abs().mean()), "one value a place"),
    ],
    "10.2": [
        (lambda attention, mask: hit(attention, mask, offset=0.0), "upper left corner"),
        (most_of_the_cell, "most of the cell"),
        (share_of_the_cell, "0 or 1, not the share"),
        (one_for_the_batch, "its own brightest cell"),
        (divided_by_the_height, "n // w and n % w"),
        (lambda attention, mask: hit(attention, mask).mean(), "one 0 or 1 an image"),
        (lambda attention, mask: 1 - hit(attention, mask), "expected"),
    ],
    "10.3": [
        (lambda block, b: block(b)[0], "still in use"),
        (lambda block, b: block(b), "a tuple of 2"),
        (without_residual, "residual is missing"),
        (always_residual, "no residual"),
        (over_the_batch, "averaged over the batch"),
        (without_the_channel_gate, "channel gate is missing"),
        (gate_on_b, "not at b"),
        (lambda block, b: block(b)[0].mean(dim=(2, 3), keepdim=True).expand_as(b), "You have averaged a_k"),
    ],
}
