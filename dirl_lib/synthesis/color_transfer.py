"""The four colour transfers that made iHarmony4 (HCOCO and HFlickr), in the order of its variants 1 to 4.

Each method gives the colours of a region the statistics of reference colours, and each fits on one screen:

1. `reinhard`: mean and standard deviation in l-alpha-beta (Reinhard et al. 2001);
2. `xiao_ma`: mean and covariance in RGB (Xiao and Ma 2006);
3. `histogram`: the whole histogram, channel by channel (Fecker et al. 2008);
4. `idt`: the whole three-dimensional distribution (Pitie et al. 2007), then `regrain` gives back the fine texture.

Colours are float64 (N, 3), RGB in [0, 1], in any order; results may leave [0, 1] and are clipped by `recolor`.
A region without spread (one pixel, one colour) has nothing to stretch: it moves to the centre of the reference.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "METHODS",
    "histogram",
    "idt",
    "lab_to_rgb",
    "match_histograms",
    "recolor",
    "regrain",
    "reinhard",
    "rgb_to_lab",
    "xiao_ma",
]

Colors = NDArray[np.float64]

# Reinhard et al. 2001, "Color Transfer between Images", eq. 4: RGB to the responses L, M, S of the eye's three cones.
RGB_TO_LMS: Colors = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
# Ruderman et al. 1998 (eq. 6 of Reinhard et al.): light against dark, yellow against blue, red against green.
LMS_TO_LAB: Colors = np.diag([3**-0.5, 6**-0.5, 2**-0.5]) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
# ITU-R BT.601: light, and how far blue and red stand from it.
RGB_TO_YCBCR: Colors = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


def rgb_to_lab(colors: Colors) -> Colors:
    """RGB to l-alpha-beta, (N, 3): the axes along which the colours of natural photographs hardly correlate.

    Not CIELAB. Black has no logarithm: it counts as one step of 8 bits, 1/255.
    """
    log_lms: Colors = np.log10(np.maximum(colors, 1 / 255) @ RGB_TO_LMS.T)
    return log_lms @ LMS_TO_LAB.T


def lab_to_rgb(lab: Colors) -> Colors:
    """The inverse of `rgb_to_lab`, exact from 1/255 up (the paper prints the inverse matrix with four digits)."""
    lms: Colors = 10 ** (lab @ np.linalg.inv(LMS_TO_LAB).T)
    return lms @ np.linalg.inv(RGB_TO_LMS).T


def reinhard(colors: Colors, reference: Colors) -> Colors:
    """Mean and standard deviation of each l-alpha-beta channel become the reference's (Reinhard 2001, eq. 10, 11).

    Args:
        colors: (N, 3), the region.
        reference: (M, 3), the colours to take on.

    Returns:
        (N, 3), RGB, not clipped.
    """
    source, target = rgb_to_lab(colors), rgb_to_lab(reference)
    stretch = _ratio(target.std(axis=0), source.std(axis=0))
    return lab_to_rgb((source - source.mean(axis=0)) * stretch + target.mean(axis=0))


def xiao_ma(colors: Colors, reference: Colors) -> Colors:
    """Mean and covariance in RGB become the reference's (Xiao and Ma 2006, "Color transfer in correlated color space").

    Turn the cloud of colours onto its own axes, stretch each axis, turn it onto the axes of the reference. An axis has
    no sign of its own: here each pair points the same way. iHarmony4's program leaves the sign to the decomposition,
    and so its published example has blue skin: one axis is turned round.

    Args:
        colors: (N, 3), the region.
        reference: (M, 3), the colours to take on.

    Returns:
        (N, 3), RGB, not clipped. Where the region has no spread along an axis, none can be made.
    """
    axes, spread = _principal_axes(colors)
    target_axes, target_spread = _principal_axes(reference)
    target_axes = target_axes * np.where((axes * target_axes).sum(axis=0) < 0, -1.0, 1.0)
    stretched = (colors - colors.mean(axis=0)) @ axes * _ratio(target_spread, spread)
    moved: Colors = stretched @ target_axes.T + reference.mean(axis=0)
    return moved


def histogram(colors: Colors, reference: Colors) -> Colors:
    """The histograms of Y, Cb and Cr become the reference's (Fecker, Barkowsky and Kaup 2008).

    Args:
        colors: (N, 3), the region.
        reference: (M, 3), the colours to take on.

    Returns:
        (N, 3), RGB, not clipped.
    """
    return match_histograms(colors @ RGB_TO_YCBCR.T, reference @ RGB_TO_YCBCR.T) @ np.linalg.inv(RGB_TO_YCBCR).T


def match_histograms(values: Colors, reference: Colors) -> Colors:
    """Cumulative histogram matching, column by column: the value at rank q becomes the reference's at rank q.

    Args:
        values: (N, K), any K channels.
        reference: (M, K).

    Returns:
        (N, K), within the range of the reference. Equal values stay equal and share the middle of their ranks, so
        that a column of one value takes the median.
    """
    matched = np.empty_like(values)
    for k in range(values.shape[1]):
        _, index, counts = np.unique(values[:, k], return_inverse=True, return_counts=True)
        # Without the inverse, which nobody needs of the reference, NumPy sorts several times as fast.
        reference_levels, reference_counts = np.unique(reference[:, k], return_counts=True)
        matched[:, k] = np.interp(_mid_ranks(counts), _mid_ranks(reference_counts), reference_levels)[index]
    return matched


def idt(
    colors: Colors,
    reference: Colors,
    rng: np.random.Generator | None = None,
    *,
    iterations: int = 12,
) -> Colors:
    """Iterative distribution transfer: the three-dimensional distribution becomes the reference's (Pitie 2007).

    Matching histograms along the three axes of one frame leaves the colours right in that frame only. Turn the frame
    at random, match again, and again: two distributions that agree along every line are the same.

    Args:
        colors: (N, 3), the region.
        reference: (M, 3), the colours to take on.
        rng: chooses the frames; None takes the same ones each time.
        iterations: how many frames; the first is RGB itself.

    Returns:
        (N, 3), RGB, not clipped; grainy, which `regrain` mends.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    frame = np.eye(3)
    for _ in range(iterations):
        colors = match_histograms(colors @ frame, reference @ frame) @ frame.T
        frame, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    return colors


def regrain(
    original: Colors,
    recolored: Colors,
    mask: NDArray[np.bool_],
    *,
    iterations: int = 60,
) -> Colors:
    """Give a recoloured region the texture of the original again (Pitie 2007, section 4).

    Smooth the change, not the picture. The paper asks for the J that has the gradients of the original I and the
    colours of the transfer T, the least of  sum phi |grad J - grad I|^2 + psi |J - T|^2.  In terms of the change
    D = J - I this says: D is smooth where I is smooth (phi), and stays T - I where I has edges (psi).

    iHarmony4's program smooths over the outline too, so that its change fades there; here all of the region changes.

    Args:
        original: (H, W, 3), RGB in [0, 1].
        recolored: (H, W, 3), T; read inside the mask only.
        mask: (H, W), the region; nothing flows over its outline.
        iterations: steps of Jacobi's method, each of which reaches one pixel further.

    Returns:
        (H, W, 3), J inside the mask, the original outside.
    """
    # Colours first, (3, H, W): weights that all three share are then applied along whole rows, which is much faster.
    before, after = (np.ascontiguousarray(np.moveaxis(picture, 2, 0)) for picture in (original, recolored))
    border, sides = ((0, 0), (1, 1), (1, 1)), ((1, 0), (-1, 0), (0, 1), (0, -1))
    below, above, right, left = (_shifted(np.pad(before, border, "edge"), side) for side in sides)
    steepness = np.sqrt(((below - above) ** 2 + (right - left) ** 2).sum(axis=0))  # |grad I|
    # Both weights as in Pitie's own program: from 5 of 256 grey levels on, an edge keeps the colours of T.
    psi = np.minimum(1, steepness * 256 / 5)
    phi = np.pad(np.where(mask, 30 / (1 + 10 * steepness), 0), border[1:])
    links = [_shifted(phi, side) for side in sides]

    total = np.maximum(psi + sum(links), 1e-12)  # the floor only keeps pixels outside from dividing by zero
    wanted = np.where(mask, after - before, 0)
    pull = psi * wanted
    padded = np.pad(wanted, border)  # the change D, with a border of zeros that stays
    flow, share = np.empty_like(pull), np.empty_like(pull)
    for _ in range(iterations):
        flow.fill(0)
        for link, side in zip(links, sides, strict=True):
            flow += np.multiply(link, _shifted(padded, side), out=share)
        flow += pull
        np.divide(flow, total, out=padded[:, 1:-1, 1:-1])
    return np.where(mask[..., None], original + np.moveaxis(padded[:, 1:-1, 1:-1], 0, 2), original)


METHODS: dict[str, Callable[[Colors, Colors], Colors]] = {
    "reinhard": reinhard,
    "xiao_ma": xiao_ma,
    "histogram": histogram,
    "idt": idt,
}
"""The four, in iHarmony4's order: variant 1 to 4 of a HCOCO or HFlickr name."""


def recolor(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    reference_colors: NDArray[np.uint8],
    method: str,
    rng: np.random.Generator | None = None,
) -> NDArray[np.uint8]:
    """Recolour one region of a photograph; outside the mask not one pixel changes.

    Args:
        image: uint8, (H, W, 3), RGB.
        mask: bool, (H, W); True = recolour, anywhere from one pixel to all.
        reference_colors: uint8, (M, 3): the colours to take on, for instance `other_image[other_mask]`.
        method: a key of `METHODS`. "idt" is followed by `regrain`.
        rng: chooses the frames of "idt"; None takes the same ones each time. The other methods have no chance in them.

    Returns:
        uint8, (H, W, 3), a new array: rounded, and clipped to the 256 steps.

    Raises:
        ValueError: a wrong dtype or shape, a mask of another size, an empty mask, no reference, an unknown method.
    """
    _check(image, mask, reference_colors, method)
    colors, reference = image[mask] / 255, reference_colors / 255
    recolored = image / 255
    if method == "idt":
        recolored[mask] = idt(colors, reference, rng)
        near = _box_around(mask)
        recolored[near] = regrain(image[near] / 255, recolored[near], mask[near])
    else:
        recolored[mask] = METHODS[method](colors, reference)
    result = image.copy()
    result[mask] = np.rint(recolored[mask].clip(0, 1) * 255).astype(np.uint8)
    return result


def _check(image: NDArray[np.uint8], mask: NDArray[np.bool_], reference_colors: NDArray[np.uint8], method: str) -> None:
    if method not in METHODS:
        raise ValueError(f"found the method {method!r}, expected one of {', '.join(METHODS)}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"found an image of {_kind(image)}, expected uint8 (H, W, 3); see images.read_image")
    if mask.dtype != np.bool_ or mask.shape != image.shape[:2]:
        raise ValueError(
            f"found a mask of {_kind(mask)}, expected bool {image.shape[:2]} as the image; compare with > 0.5 first"
        )
    if not mask.any():
        raise ValueError("found an empty mask, expected at least one True; nothing is marked to be recoloured")
    if reference_colors.dtype != np.uint8 or reference_colors.ndim != 2 or reference_colors.shape[1] != 3:
        raise ValueError(
            f"found reference colours of {_kind(reference_colors)}, expected uint8 (M, 3); take image[mask]"
        )
    if len(reference_colors) == 0:
        raise ValueError("found no reference colours, expected at least one; the reference mask is empty")


def _kind(array: NDArray[np.generic]) -> str:
    return f"{array.dtype} {array.shape}"


def _box_around(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The part of the picture that a region can feel: its bounding box and one pixel more, for the gradients."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(max(rows[0] - 1, 0), rows[-1] + 2), slice(max(columns[0] - 1, 0), columns[-1] + 2)


def _ratio(wanted: Colors, found: Colors) -> Colors:
    """wanted / found; 1 where there is no spread (up to rounding), as there is nothing to stretch then."""
    flat = found < 1e-7
    return np.where(flat, 1.0, wanted / np.where(flat, 1.0, found))


def _principal_axes(colors: Colors) -> tuple[Colors, Colors]:
    """The axes of the cloud of colours, as columns, (3, 3), and the standard deviation along each, (3,)."""
    centred = colors - colors.mean(axis=0)
    axes, variance, _ = np.linalg.svd(centred.T @ centred / len(colors))
    return axes, np.sqrt(variance)


def _mid_ranks(counts: NDArray[np.intp]) -> Colors:
    """The mid-ranks in (0, 1) of levels that occur so many times each, from the lowest up."""
    ends = counts.cumsum()
    ranks: Colors = (ends - counts / 2) / ends[-1]
    return ranks


def _shifted(padded: Colors, side: tuple[int, int]) -> Colors:
    """The neighbour of each pixel on one side, from an array (..., H + 2, W + 2) with a border of one."""
    height, width = padded.shape[-2] - 2, padded.shape[-1] - 2
    return padded[..., 1 + side[0] : 1 + side[0] + height, 1 + side[1] : 1 + side[1] + width]
