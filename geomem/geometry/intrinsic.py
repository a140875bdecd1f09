"""The dimension of images, whatever the space that they lie in, and coverage by its shells (ours).

The shells of Lemma 4.5 are those of noise, which fills every number of an image, also those that
say nothing. Distances know nothing of these, nor does what is computed here.
"""

from __future__ import annotations

import numpy as np
import torch

from geomem.geometry.arrays import Array, Floats, check_sigmas
from geomem.geometry.coverage import shell_mass
from geomem.geometry.curve import Curve
from geomem.geometry.distances import nearest_distances
from geomem.geometry.intervals import Estimate, positive_mean


def intrinsic_dimension(
    heldout: Array, train: Array, *, device: str | torch.device = "auto"
) -> Estimate:
    """The dimension of a law of images, on the scale of a training set's nearest distances.

    In k dimensions, where points lie evenly, the logarithm of d_2NN / d_1NN is exponential with
    mean 1/k, whatever the density. So k is one over its mean over held-out images.

    Parameters
    ----------
    heldout : array (Q, ...)
        Images that the training set does not hold, Q >= 2; copies of one of its images say nothing
        and are left out.
    train : array (N, ...)
        The training set, N >= 2.
    device : str or torch.device
        "auto", or a torch device.

    Returns
    -------
    Estimate
        The dimension, > 0, with a 95% interval over the held-out images, the training set taken as
        given. Among few images in many dimensions it is too low, for there no place is even.

    Raises
    ------
    ValueError
        If sizes differ, values are not finite, or fewer than two held-out images have one nearest
        training image that they are no copy of.

    References
    ----------
    The estimator of :cite:t:`facco2017estimating`, with held-out queries; used in
    :doc:`/book/covered`.

    Examples
    --------
    >>> import numpy as np
    >>> from geomem import intrinsic_dimension
    >>> plane = np.random.default_rng(0).uniform(size=(4000, 2)) @ np.eye(2, 50)
    >>> print(intrinsic_dimension(plane[:2000], plane[2000:]))
    1.99 [1.9, 2.08]
    """
    return _two_nearest(_near(heldout, train, device))


def intrinsic_coverage(
    heldout: Array,
    train: Array,
    sigmas: Array,
    *,
    c: float = 5.0,
    device: str | torch.device = "auto",
) -> Curve:
    """Coverage by the nearest shell, with the dimension of the images in place of that of pixels.

    E Phi_{k,c}(d_1NN / sigma), k the `intrinsic_dimension`, at least 1: the lower bound of
    Theorem 4.8, were the images given in k numbers. Padding them with zeros changes nothing.

    Parameters
    ----------
    heldout : array (Q, ...)
        Images that the training set does not hold, in data units.
    train : array (N, ...)
        The training set.
    sigmas : array (S,)
        Noise levels, data units, > 0.
    c : float
        Shell parameter of `shell_radii`, > 0.
    device : str or torch.device
        "auto", or a torch device.

    Returns
    -------
    Curve
        Values in [0, 1], rising in sigma, with a 95% interval over the held-out images, k taken as
        given.

    Raises
    ------
    ValueError
        As `intrinsic_dimension`, or if sigma <= 0 or c <= 0.

    References
    ----------
    Ours, used in :doc:`/book/covered`.

    Examples
    --------
    >>> import numpy as np
    >>> from geomem import intrinsic_coverage
    >>> plane = np.random.default_rng(0).uniform(size=(400, 2)) @ np.eye(2, 50)
    >>> intrinsic_coverage(plane[:200], plane[200:], [0.01, 1.0]).mean.round(2).tolist()
    [0.61, 1.0]
    """
    near = _near(heldout, train, device)
    return nearest_coverage(near[:, 0], sigmas, max(1.0, _two_nearest(near).value), c)


def nearest_coverage(distance: Floats, sigmas: Array, dimension: float, c: float = 5.0) -> Curve:
    """Coverage by the nearest shell alone, E Phi_{d,c}(d_1NN / sigma), in any dimension d.

    In that of the images it is the lower bound of Theorem 4.8; in a larger one, that of the images
    padded with zeros.

    Parameters
    ----------
    distance : (Q,) d_1NN of held-out images, data units.
    sigmas : (S,) noise levels, data units, > 0.
    dimension, c : of the shell, as in `shell_radii`.
    """
    levels = check_sigmas(sigmas)
    return Curve.from_queries(
        levels, shell_mass(distance[:, None] / levels, dimension, c), indicator=True
    )


def _near(heldout: Array, train: Array, device: str | torch.device) -> Floats:
    """(Q, 2) the distances to the two nearest training images, on the host."""
    found = nearest_distances(heldout, train, 2, device=device)
    return torch.as_tensor(found).cpu().numpy()


def _two_nearest(near: Floats) -> Estimate:
    near = near[near[:, 0] > 0]
    steps = np.log(near[:, 1] / near[:, 0])
    steps = steps[steps > 0]  # a nearest image that is there twice says nothing of the dimension
    if len(steps) < 2:
        raise ValueError(
            "intrinsic_dimension: needs two held-out images, no copies, whose nearest training "
            "image is nearer than all others."
        )
    mean, low, high = (float(end[0]) for end in positive_mean(steps[:, None]))
    return Estimate(1 / mean, 1 / high, 1 / low)
