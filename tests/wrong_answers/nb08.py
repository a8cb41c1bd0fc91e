"""Typical wrong answers to the exercises of notebook 08, each with the hint it must meet."""


def rate(step, steps_per_epoch, *, warm=None, halvings=None):
    warm = min(1, (step + 1) / 4) if warm is None else warm
    halvings = sum(step >= epoch * steps_per_epoch for epoch in (3, 5)) if halvings is None else halvings
    return 0.001 * 0.5**halvings * warm


def rate_that_begins_at_zero(step, steps_per_epoch):
    return rate(step, steps_per_epoch, warm=min(1, step / 4))


def rate_with_milestones_to_come(step, steps_per_epoch):
    return rate(step, steps_per_epoch, halvings=sum(step < epoch * steps_per_epoch for epoch in (3, 5)))


def rate_without_warm_up(step, steps_per_epoch):
    return rate(step, steps_per_epoch, warm=1)


def rate_that_rises_for_ever(step, steps_per_epoch):
    return rate(step, steps_per_epoch, warm=(step + 1) / 4)


def rate_halved_one_step_late(step, steps_per_epoch):
    return rate(step, steps_per_epoch, halvings=sum(step > epoch * steps_per_epoch for epoch in (3, 5)))


def rate_with_milestones_in_steps(step, steps_per_epoch):
    return rate(step, steps_per_epoch, halvings=sum(step >= epoch for epoch in (3, 5)))


def rate_halved_once(step, steps_per_epoch):
    return rate(step, steps_per_epoch, halvings=int(step >= 3 * steps_per_epoch))


def _parts(images, masks, part):
    return zip(images.split(part), masks.split(part), strict=True)


def parts_summed(network, loss, images, masks, part):
    total = 0.0
    for image, mask in _parts(images, masks, part):
        value = loss(network(image), mask)
        value.backward()
        total += value.item()
    return total


def parts_all_alike(network, loss, images, masks, part):
    count = len(images.split(part))
    total = 0.0
    for image, mask in _parts(images, masks, part):
        value = loss(network(image), mask) / count
        value.backward()
        total += value.item()
    return total


def _weighted(network, loss, images, masks, part, *, forget=False, parts=None):
    total = 0.0
    for image, mask in list(_parts(images, masks, part))[:parts]:
        if forget:
            network.zero_grad()
        value = loss(network(image), mask) * len(image) / len(images)
        value.backward()
        total += value.item()
    return total


def parts_forgotten_in_between(network, loss, images, masks, part):
    return _weighted(network, loss, images, masks, part, forget=True)


def parts_but_the_first_alone(network, loss, images, masks, part):
    return _weighted(network, loss, images, masks, part, parts=1)


def parts_all_at_once(network, loss, images, masks, part):  # noqa: ARG001 - that it is not used is the mistake
    return _weighted(network, loss, images, masks, len(images))


def parts_without_blame(network, loss, images, masks, part):
    return sum(loss(network(image), mask).item() for image, mask in _parts(images, masks, part))


def parts_with_the_value_of_the_last(network, loss, images, masks, part):
    _weighted(network, loss, images, masks, part)
    return loss(network(images[-part:]), masks[-part:]).item()


def share_in_blocks(order, skip, rank, world):
    left = order[skip:]
    length = len(left) // world
    return left[rank * length : (rank + 1) * length]


def share_for_everybody(order, skip, rank, world):  # noqa: ARG001 - that it is not used is the mistake
    left = order[skip:]
    return left[: len(left) // world]


def share_with_a_rest(order, skip, rank, world):
    return order[skip:][rank::world]


def share_that_skips_nothing(order, skip, rank, world):  # noqa: ARG001 - that it is not used is the mistake
    return order[rank::world][: len(order) // world]


def share_that_skips_too_much(order, skip, rank, world):
    return order[rank::world][: len(order) // world][skip:]


WRONG = {
    "08.1": [
        (rate_that_begins_at_zero, "first of four"),
        (rate_with_milestones_to_come, "still to come"),
        (rate_without_warm_up, "warm-up is missing"),
        (rate_that_rises_for_ever, "min"),
        (rate_halved_one_step_late, ">=, not >"),
        (rate_with_milestones_in_steps, "multiply by steps_per_epoch"),
        (rate_halved_once, "second time"),
    ],
    "08.2": [
        (parts_summed, "sum of the parts"),
        (parts_all_alike, "small last part"),
        (parts_forgotten_in_between, "do not forget"),
        (parts_but_the_first_alone, "first part"),
        (parts_all_at_once, "at once"),
        (parts_without_blame, "no gradient"),
        (parts_with_the_value_of_the_last, "Add up the parts"),
    ],
    "08.3": [
        (share_in_blocks, "not in blocks"),
        (share_for_everybody, "twice"),
        (share_with_a_rest, "equally many"),
        (share_that_skips_nothing, "taken again"),
        (share_that_skips_too_much, "before sharing"),
    ],
}
