"""Typical wrong answers to the exercises of notebook 00, each with the hint it must meet."""

import numpy as np
from skimage.color import rgb2lab
from skimage.filters import gaussian


def area_in_pixels(mask):
    area = mask.sum().item()
    return area, area <= 0.5


def area_in_per_cent(mask):
    area = 100 * mask.mean().item()
    return area, area <= 50


def area_of_the_background(mask):
    area = 1 - mask.mean().item()
    return area, area <= 0.5


def rule_that_drops_the_half(mask):
    area = mask.mean().item()
    return area, area < 0.5


def rule_turned_round(mask):
    area = mask.mean().item()
    return area, area > 0.5


def only_the_area(mask):
    return mask.mean().item()


def _colours(image):
    return rgb2lab(image.numpy(), channel_axis=0)[1:]


def _contrast(image, near, far):
    colours = _colours(image)
    return gaussian(colours, near, channel_axis=0) - gaussian(colours, far, channel_axis=0)


def odd_in_the_whole_picture(image):
    lab = rgb2lab(image.numpy(), channel_axis=0)
    return np.linalg.norm(lab - np.median(lab, axis=(1, 2), keepdims=True), axis=0)


def odd_among_the_nearest(image):
    return np.linalg.norm(_contrast(image, 4, 16), axis=0)


def odd_channel_by_channel(image):
    return _contrast(image, 8, 60)


def odd_upside_down(image):
    return -np.linalg.norm(_contrast(image, 8, 60), axis=0)


def odd_by_hue_without_care(image):
    red, blue = _contrast(image, 8, 60)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(blue > 0, red / blue, np.nan)


def odd_everywhere(image):
    return np.ones(image.shape[1:])


WRONG = {
    "00.1": [
        (area_in_pixels, "number of pixels"),
        (area_in_per_cent, "per cent"),
        (area_of_the_background, "background"),
        (rule_that_drops_the_half, "more than one half"),
        (rule_turned_round, "more than one half"),
        (only_the_area, "two things"),
    ],
    "00.2": [
        (odd_in_the_whole_picture, "its surroundings"),
        (odd_among_the_nearest, "beyond the region"),
        (odd_channel_by_channel, "one number a pixel"),
        (odd_upside_down, "upside down"),
        (odd_by_hue_without_care, "NaN"),
        (odd_everywhere, "the same everywhere"),
    ],
}
