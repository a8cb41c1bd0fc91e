"""Every sentence that bad input meets, and where values are not looked at."""

import numpy as np
import pytest
import torch

from dirl_lib.checks import check_images, check_masks, check_probabilities, check_same_shape, values_can_be_read

GOOD = torch.zeros(1, 3, 32, 48)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_good_images_of_every_float_type_pass(dtype):
    check_images(torch.rand(2, 3, 32, 33).to(dtype))
    check_images(torch.tensor([0.0, 1.0]).repeat(1, 3, 32, 16).to(dtype))


@pytest.mark.parametrize(
    ("images", "error", "sentence"),
    [
        (np.zeros((32, 32, 3)), TypeError, r"of type ndarray, expected a torch tensor; dirl_lib.images.to_tensor"),
        (GOOD.byte(), TypeError, r"dtype torch.uint8, expected a floating-point tensor; .*images.float\(\) / 255"),
        (GOOD.long(), TypeError, r"dtype torch.int64, expected a floating-point tensor"),
        (GOOD[0], ValueError, r"shape \(3, 32, 48\), expected \(B, 3, H, W\); .*images\[None\]"),
        (GOOD[0, 0], ValueError, r"shape \(32, 48\), expected \(B, 3, H, W\): batch, channels"),
        (GOOD[:, :1], ValueError, r"shape \(1, 1, 32, 48\), expected .*grey images become RGB by .expand"),
        (GOOD[:, [0, 1, 2, 0]], ValueError, r"shape \(1, 4, 32, 48\), expected .*alpha channel by \[:, :3\]"),
        (GOOD.permute(0, 2, 3, 1), ValueError, r"channels come last here, move them with .permute\(0, 3, 1, 2\)"),
        (GOOD[:0], ValueError, r"shape \(0, 3, 32, 48\) and so no pixels"),
        (GOOD[..., :31], ValueError, r"32 x 31 pixels, expected at least 32 x 32: .*enlarge the image"),
        (GOOD + 255, ValueError, r"found maximum 255; it looks like 8-bit data, divide by 255"),
        (GOOD - 2.1, ValueError, r"found minimum -2.1; undo any normalisation"),
        (GOOD + 1.5, ValueError, r"found maximum 1.5; undo any normalisation"),
        (GOOD + float("inf"), ValueError, r"found maximum inf"),
        (GOOD.clone().index_fill(3, torch.tensor(0), float("nan")), ValueError, r"holds 96 NaN, expected finite"),
    ],
)
def test_bad_images_meet_one_clear_sentence(images, error, sentence):
    with pytest.raises(error, match=sentence):
        check_images(images)


def test_the_smallest_side_is_the_callers_choice():
    check_images(GOOD[..., :16], minimum=16)
    with pytest.raises(ValueError, match="expected at least 64 x 64"):
        check_images(GOOD, minimum=64)


def test_masks_may_be_soft_unless_they_must_be_binary():
    soft = torch.tensor([0.0, 0.25, 0.5, 1.0]).view(1, 1, 2, 2)
    check_masks(soft)
    with pytest.raises(ValueError, match=r"mask has 2 values between 0 and 1, expected only 0 and 1; resizing"):
        check_masks(soft, binary=True)


@pytest.mark.parametrize(
    ("mask", "error", "sentence"),
    [
        (torch.ones(1, 1, 2, 2, dtype=torch.bool), TypeError, r"truth has dtype torch.bool, .*write truth.float\(\)"),
        (torch.ones(1, 3, 4, 4), ValueError, r"truth has shape \(1, 3, 4, 4\), expected \(B, 1, H, W\)"),
        (torch.ones(1, 1, 4, 4) * 255, ValueError, r"truth must lie in \[0, 1\], found maximum 255; .*8-bit"),
    ],
)
def test_bad_masks_are_called_by_the_name_the_caller_knows(mask, error, sentence):
    with pytest.raises(error, match=sentence):
        check_masks(mask, name="truth")


def test_logits_are_recognised_as_no_probabilities():
    with pytest.raises(ValueError, match=r"prediction must lie in \[0, 1\], found maximum 3; logits .*torch.sigmoid"):
        check_probabilities(torch.full((1, 1, 2, 2), 3.0))


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"prediction has shape \(2, 1, 4, 4\) and mask \(1, 1, 4, 4\), expected the"):
        check_same_shape(torch.zeros(2, 1, 4, 4), torch.zeros(1, 1, 4, 4))


class Checked(torch.nn.Module):
    def forward(self, images):
        check_images(images)
        return images * 2


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
def test_values_are_not_looked_at_where_there_are_none_yet():
    assert values_can_be_read(GOOD)
    assert not values_can_be_read(GOOD.to("meta"))
    too_bright = GOOD + 7
    torch.export.export(Checked(), (too_bright,))
    torch.jit.trace(Checked(), (too_bright,), check_trace=False)
    compiled = torch.compile(Checked(), backend="eager", fullgraph=True)
    assert torch.equal(compiled(too_bright), too_bright * 2)


def test_shapes_are_checked_even_where_values_are_not():
    with pytest.raises(ValueError, match="enlarge the image"):
        check_images(torch.zeros(1, 3, 8, 8, device="meta"))
