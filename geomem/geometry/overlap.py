"""Coverage by overlap: can a noisy new image be told from a noisy training image (ours)?

Coverage by shells asks whether a noisy new image lies where noisy training images lie. That is
less than it seems: in many dimensions it does so long before the two can be confused. This asks
the latter. The noise around two images r apart is confused with probability

    1 - TV(N(x, sigma^2 I), N(x', sigma^2 I)) = 2 Q(r / (2 sigma)),  Q the normal tail,

whatever the dimension, and padding images with zeros changes nothing.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import ndtr

from geomem.geometry.arrays import Array, Floats, check_sigmas
from geomem.geometry.curve import Curve
from geomem.geometry.distances import nearest_distances


def overlap(distance: Floats | float, sigma: Floats | float) -> Floats:
    """How much the noise around two points at a distance overlaps: 2 Q(distance / (2 sigma)).

    Of all tests that tell one from the other, the best errs with half of it as probability.

    >>> round(float(overlap(2.0, 1.0)), 4)
    0.3173
    """
    return np.asarray(2 * ndtr(-np.asarray(distance) / (2 * np.asarray(sigma))))


def overlap_coverage(
    heldout: Array, train: Array, sigmas: Array, *, device: str | torch.device = "auto"
) -> Curve:
    """Mean overlap of the noise around a new image with that around its nearest training image.

    The overlap 1 - TV of two normal laws r apart is 2 Q(r / (2 sigma)), Q the normal tail,
    whatever the dimension: how often a noisy new image is taken for a noisy training image.

    Parameters
    ----------
    heldout : array (Q, ...)
        Images that the training set does not hold, in data units.
    train : array (N, ...)
        The training set.
    sigmas : array (S,)
        Noise levels, data units, > 0.
    device : str or torch.device
        "auto", or a torch device.

    Returns
    -------
    Curve
        Values in [0, 1], rising in sigma, with a 95% interval over the held-out images.

    Raises
    ------
    ValueError
        If sizes differ, values are not finite, or sigma <= 0.

    References
    ----------
    Ours, used in :doc:`/book/dimension` and :doc:`/book/covered`.

    Examples
    --------
    >>> from geomem import overlap_coverage
    >>> overlap_coverage([[0.0], [0.0]], [[2.0]], [1.0]).mean.round(4).tolist()
    [0.3173]
    """
    levels = check_sigmas(sigmas)
    distance = torch.as_tensor(nearest_distances(heldout, train, device=device)).cpu().numpy()
    return Curve.from_queries(levels, overlap(distance, levels), indicator=False)
