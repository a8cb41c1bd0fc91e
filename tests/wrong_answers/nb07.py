"""Typical wrong answers to the exercises of notebook 07, each with the hint it must meet."""

import torch


def f1_from_iou(f1):
    return 2 * f1 / (1 + f1)


def half_of_f1(f1):
    return f1 / 2


def f1_over_two_plus_f1(f1):
    return f1 / (2 + f1)


def the_mask_itself(mask):
    return mask


def nothing_at_all(mask):
    return torch.zeros_like(mask)


def the_opposite(mask):
    return 0.4 * (1 - mask)


def all_alike(mask):
    return torch.full_like(mask, 0.4)


def below_zero(mask):
    return mask - 1


def one_number(mask):
    return 0.4 * mask.mean()


def _sorted(scores, truth):
    s, order = scores.sort(descending=True, stable=True)
    return s, truth[order].cumsum(0), torch.arange(1, len(s) + 1)


def f1_at_one_half(scores, truth):
    predicted = (scores > 0.5).float()
    return (2 * (predicted * truth).sum() / (predicted.sum() + truth.sum())).item()


def best_f1_with_parted_ties(scores, truth):
    _, found, k = _sorted(scores, truth)
    return (2 * found / (k + truth.sum())).max().item()


def best_f1_with_hits_first(scores, truth):
    order = (scores.double() + 1e-9 * truth).sort(descending=True).indices
    found, k = truth[order].cumsum(0), torch.arange(1, len(scores) + 1)
    return (2 * found / (k + truth.sum())).max().item()


def best_f1_of_unsorted_truth(scores, truth):
    k = torch.arange(1, len(scores) + 1)
    return (2 * truth.cumsum(0) / (k + truth.sum())).max().item()


def best_precision(scores, truth):
    _, found, k = _sorted(scores, truth)
    return (found / k).max().item()


def every_f1(scores, truth):
    _, found, k = _sorted(scores, truth)
    return 2 * found / (k + truth.sum())


WRONG = {
    "07.1": [
        (f1_from_iou, "the way back"),
        (half_of_f1, "denominator counts"),
        (f1_over_two_plus_f1, "do you get F back"),
    ],
    "07.2": [
        (the_mask_itself, r"IoU is 1\.000, expected 0"),
        (nothing_at_all, "AP is"),
        (the_opposite, "AP is"),
        (all_alike, "must stand above every other"),
        (below_zero, r"probabilities lie in \[0, 1\]"),
        (one_number, "tensor of shape"),
    ],
    "07.3": [
        (f1_at_one_half, r"F1 at 0\.5"),
        (best_f1_with_parted_ties, "enter together"),
        (best_f1_with_hits_first, "enter together"),
        (best_f1_of_unsorted_truth, "Sort the truth"),
        (best_precision, "highest precision"),
        (every_f1, "shape"),
    ],
}
