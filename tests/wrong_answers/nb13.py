"""Typical wrong answers to the exercises of notebook 13, each with the hint it must meet."""

import numpy as np


def the_difference_of_means(mean_all, mean_seen, _images, _seen):
    return mean_all - mean_seen


def equal_parts(mean_all, mean_seen, _images, _seen):
    return 2 * mean_all - mean_seen


def over_all_images(mean_all, mean_seen, images, seen):
    return (mean_all * images - mean_seen * seen) / images


def each_by_its_own_number(mean_all, mean_seen, images, seen):
    return mean_all * images / (images - seen) - mean_seen * seen / images


def the_mean_itself(mean_all, _mean_seen, _images, _seen):
    return mean_all


def chosen_on_the_test(_validation, test):
    best = int(test.mean(axis=1).argmax())
    return best, float(test[best].mean())


def reported_on_validation(validation, _test):
    best = int(validation.mean(axis=1).argmax())
    return best, float(validation[best].mean())


def the_best_of_both(validation, test):
    return int(validation.mean(axis=1).argmax()), float(test.mean(axis=1).max())


def by_the_highest_score(validation, test):
    best = int(validation.max(axis=1).argmax())
    return best, float(test[best].mean())


def the_mean_over_all(validation, test):
    return int(validation.mean(axis=1).argmax()), float(test.mean())


def the_last_checkpoint(validation, test):
    return len(validation) - 1, float(test[-1].mean())


def only_the_score(validation, test):
    return float(test[validation.mean(axis=1).argmax()].mean())


def _percentiles(means, low=2.5, high=97.5):
    return tuple(np.percentile(means, [low, high]))


def _by_photograph(values, photos, rng):
    sums, counts = np.bincount(photos, weights=values), np.bincount(photos)
    drawn = [rng.integers(len(counts), size=len(counts)) for _ in range(1000)]
    return np.array([sums[each].sum() / counts[each].sum() for each in drawn])


def by_composite(a, b, _photos, rng):
    difference = a - b
    return _percentiles([difference[rng.integers(len(a), size=len(a))].mean() for _ in range(1000)])


def not_paired(a, b, photos, rng):
    return _percentiles(_by_photograph(a, photos, rng) - _by_photograph(b, photos, rng))


def ninety_per_cent(a, b, photos, rng):
    return _percentiles(_by_photograph(a - b, photos, rng), 5, 95)


def one_standard_error(a, b, photos, rng):
    means = _by_photograph(a - b, photos, rng)
    return means.mean() - means.std(), means.mean() + means.std()


def spread_of_the_images(a, b, _photos, _rng):
    return _percentiles(a - b)


def the_other_way_round(a, b, photos, rng):
    return _percentiles(_by_photograph(b - a, photos, rng))


def half_as_many(a, b, photos, rng):
    sums, counts = np.bincount(photos, weights=a - b), np.bincount(photos)
    drawn = [rng.integers(len(counts), size=len(counts) // 2) for _ in range(1000)]
    return _percentiles([sums[each].sum() / counts[each].sum() for each in drawn])


def each_photograph_once(a, b, photos, rng):
    means = np.bincount(photos, weights=a - b) / np.bincount(photos)
    return _percentiles([means[rng.integers(len(means), size=len(means))].mean() for _ in range(1000)])


def ends_in_disorder(a, b, photos, rng):
    low, high = _percentiles(_by_photograph(a - b, photos, rng))
    return high, low


def the_mean_alone(a, b, _photos, _rng):
    return (a - b).mean()


WRONG = {
    "13.1": [
        (the_difference_of_means, "subtract sums"),
        (equal_parts, "not equally many"),
        (over_all_images, "over how many images"),
        (each_by_its_own_number, "divided by the same number"),
        (the_mean_itself, "subtract sums"),
    ],
    "13.2": [
        (chosen_on_the_test, "no say in the choice"),
        (reported_on_validation, "luckiest of all"),
        (the_best_of_both, "report that of the chosen one"),
        (by_the_highest_score, "means over the validation images"),
        (the_mean_over_all, "of the chosen checkpoint"),
        (the_last_checkpoint, "means over the validation images"),
        (only_the_score, "return two things"),
    ],
    "13.3": [
        (by_composite, "draw photographs"),
        (not_paired, "take a - b first"),
        (ninety_per_cent, "interval of 90 %"),
        (one_standard_error, "interval of 68 %"),
        (spread_of_the_images, "spread over images"),
        (the_other_way_round, "lies around -0"),
        (half_as_many, "as many photographs as there are"),
        (each_photograph_once, "photographs"),
        (ends_in_disorder, "not below the high end"),
        (the_mean_alone, "return two numbers"),
    ],
}
