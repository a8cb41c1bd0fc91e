"""Typical wrong answers to the exercises of notebook 04, each with a pattern of the hint it must earn."""

import torch
import torch.nn.functional as F


def eca_scores(means, kernel, padding="zeros"):
    row, taps = means.view(1, 1, -1), kernel.view(1, 1, 3)
    if padding == "none":
        return F.conv1d(row, taps).view(-1)
    if padding == "zeros":
        return F.conv1d(row, taps, padding=1).view(-1)
    return F.conv1d(F.pad(row, (1, 1), mode=padding), taps).view(-1)


def centre(picture, offset=0.5):
    height, width = picture.shape[-2:]
    y, x = (torch.arange(height) + offset) / height, (torch.arange(width) + offset) / width
    total = picture.sum(dim=(1, 2, 3))
    y_mean = (picture.sum(dim=(1, 3)) * y).sum(dim=1) / total
    x_mean = (picture.sum(dim=(1, 2)) * x).sum(dim=1) / total
    return torch.stack([y_mean, x_mean], dim=1)


def drift_of_brightest(attention, mask):
    def place(picture):
        width = picture.shape[-1]
        index = picture.flatten(1).argmax(dim=1)
        return (torch.stack([index // width, index % width], 1) + 0.5) / torch.tensor(picture.shape[-2:])

    return (place(attention) - place(mask)).norm(dim=1)


def drift_without_normalising(attention, mask):
    def moments(picture):
        return centre(picture) * picture.sum(dim=(1, 2, 3))[:, None]

    return (moments(attention) - moments(mask)).norm(dim=1)


def drift_of_the_shrunk_mask(attention, mask):
    shrunk = F.interpolate(mask, size=attention.shape[-2:], mode="area")
    return (centre(attention) - centre(shrunk)).norm(dim=1)


ABOVE_THE_MEAN = torch.eye(3) - 1 / 3

WRONG = {
    "04.1": [
        (lambda means, kernel: eca_scores(means, kernel), "sigmoid"),
        (lambda means, kernel: eca_scores(means, kernel, "none").sigmoid(), "two weights too few"),
        (lambda means, kernel: eca_scores(means, kernel, "circular").sigmoid(), "ring"),
        (lambda means, kernel: eca_scores(means, kernel, "replicate").sigmoid(), "end channel once more"),
        (lambda means, kernel: eca_scores(means, kernel.flip(0)).sigmoid(), "swapped"),
        (lambda means, kernel: eca_scores(means, kernel).softmax(0), "softmax"),
        (lambda means, kernel: means * eca_scores(means, kernel).sigmoid(), "gated means"),
        (lambda means, kernel: float((means * kernel[0]).sum()), "one weight a channel"),
    ],
    "04.2": [
        ((torch.zeros(3, 3), torch.tensor([5.0, -5.0, -5.0])), "every photograph"),
        ((30 * torch.eye(3), torch.zeros(3)), "mean of all three"),
        ((60 * torch.eye(3), torch.full((3,), -30.0)), "mean of all three"),
        ((-50 * ABOVE_THE_MEAN, torch.zeros(3)), "mean of all three"),
        ((ABOVE_THE_MEAN, torch.zeros(3)), "too timid"),
        ((50 * ABOVE_THE_MEAN, torch.zeros(3, 1)), "shape"),
        ((50 * ABOVE_THE_MEAN, None), "still None"),
    ],
    "04.3": [
        (lambda attention, mask: (centre(attention, 0) - centre(mask, 0)).norm(dim=1), "middle of a cell"),
        (drift_of_brightest, "brightest"),
        (drift_of_the_shrunk_mask, "Resize neither"),
        (drift_without_normalising, "add up to 1"),
        (lambda attention, mask: (centre(attention) - centre(mask)).square().sum(1), "square root"),
        (lambda attention, mask: (centre(attention) - centre(mask)).abs().sum(1), "sum of the two differences"),
        (lambda attention, mask: (centre(attention) - centre(mask)).norm(), "one distance an image"),
    ],
}
