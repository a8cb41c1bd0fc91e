"""Typical wrong answers to the exercises of notebook 06, each with the hint it must meet."""

import torch
import torch.nn.functional as F

C1 = 0.01**2


def entropy(t):
    return -(torch.special.xlogy(t, t) + torch.special.xlogy(1 - t, 1 - t))


def floor_with_plain_logarithm(mask, cell):
    t = F.avg_pool2d(mask, cell)
    return -(t * t.log() + (1 - t) * (1 - t).log()).mean()


def floor_as_sum(mask, cell):
    return entropy(F.avg_pool2d(mask, cell)).sum()


def floor_of_the_first_half(mask, cell):
    t = F.avg_pool2d(mask, cell)
    return -torch.special.xlogy(t, t).mean()


def floor_with_the_wrong_sign(mask, cell):
    return -entropy(F.avg_pool2d(mask, cell)).mean()


def floor_of_the_whole_image(mask, cell):  # noqa: ARG001 - that it is not used is the mistake
    return entropy(mask.mean())


def floor_in_bits(mask, cell):
    return entropy(F.avg_pool2d(mask, cell)).mean() / torch.log(torch.tensor(2.0))


def floor_of_every_cell(mask, cell):
    return entropy(F.avg_pool2d(mask, cell))


def _sums(prediction, mask):
    prediction, mask = prediction.flatten(1), mask.flatten(1)
    return (prediction * mask).sum(1), prediction.sum(1) + mask.sum(1)


def dice_of_the_pooled_batch(prediction, mask):
    return 1 - 2 * (prediction * mask).sum() / (prediction.sum() + mask.sum())


def dice_score(prediction, mask):
    shared, total = _sums(prediction, mask)
    return (2 * shared / total).mean()


def dice_without_the_two(prediction, mask):
    shared, total = _sums(prediction, mask)
    return 1 - (shared / total).mean()


def dice_that_is_iou(prediction, mask):
    shared, total = _sums(prediction, mask)
    return 1 - (shared / (total - shared)).mean()


def dice_with_epsilon(prediction, mask):
    shared, total = _sums(prediction, mask)
    return 1 - (2 * shared / (total + 1e-2)).mean()


def dice_undefined_on_empty_images(prediction, mask):
    shared, total = _sums(prediction, mask)
    return (1 - 2 * shared / total).mean()


def dice_with_a_nan_in_the_other_branch(prediction, mask):
    shared, total = _sums(prediction, mask)
    return torch.where(total == 0, 0, 1 - 2 * shared / total).mean()


def dice_without_gradient(prediction, mask):
    shared, total = _sums(prediction.detach(), mask)
    return torch.where(total == 0, 0, 1 - 2 * shared / total.masked_fill(total == 0, 1)).mean()


WRONG = {
    "06.1": [
        (C1 * (1 / 0.9 - 1), "take the square root"),
        ((C1 / 0.9) ** 0.5, "subtract it before"),
        ((C1 * 9) ** 0.5, "SSIM is 0.1"),
        (-((C1 / 9) ** 0.5), "not negative"),
        (0.01, r"Put your number into C1"),
    ],
    "06.2": [
        (floor_with_plain_logarithm, "xlogy"),
        (floor_as_sum, "mean over the cells"),
        (floor_of_the_first_half, "second half"),
        (floor_with_the_wrong_sign, "Mind the sign"),
        (floor_of_the_whole_image, "its own share t"),
        (floor_in_bits, "natural logarithm"),
        (floor_of_every_cell, "shape"),
    ],
    "06.3": [
        (dice_of_the_pooled_batch, "pooled the pixels"),
        (dice_score, "1 minus it"),
        (dice_without_the_two, "counts twice"),
        (dice_that_is_iou, "without minus I"),
        (dice_with_epsilon, "expected"),
        (dice_undefined_on_empty_images, "Where both are empty"),
        (dice_with_a_nan_in_the_other_branch, "gradient is not finite"),
        (dice_without_gradient, "does not reach the prediction"),
    ],
}
