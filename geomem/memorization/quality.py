"""How good generated images are: Frechet and sliced Wasserstein distances.

The paper reports FID. On small images its Inception features mean little and its weights are
a download, so by default these distances compare features of the data's own: principal
components, and the last hidden layer of a small classifier trained on the same data. A
distance to held-out images says nothing alone: a copier scores what its training set scores, so
each must be read beside that of real held-out images and of the training set, at the same
number of images.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from geomem.data.sets import ImageSet
from geomem.geometry.arrays import Array, Floats, check_array, check_count, check_floats
from geomem.geometry.intervals import Estimate, jackknifed, mean_of

PASSES = 100_000  # labelled images that a classifier sees in training
INCEPTION = "weights-inception-2015-12-05-6726825d.pth"  # as torch-fidelity publishes them
MOST_DIRECTIONS = 100_000  # random ones, all held in memory
Features = Callable[[NDArray], Floats]  # images (n, C, H, W) -> features (n, k)


def unseen_images(few: Array, many: Array) -> NDArray:
    """The images (M - N, ...) of a set ``many`` (M, ...) after its first N, which are ``few``.

    Raises
    ------
    ValueError : fewer than 20 are left, too few to measure a distance to; or the set does not
        begin with ``few``; or these are no images.
    """
    few, many = (np.asarray(check_array(name, x)) for name, x in (("few", few), ("many", many)))
    n = len(few)
    if not np.array_equal(many[:n], few):
        raise ValueError("unseen_images: the larger set does not begin with the smaller one.")
    if len(many) - n < 20:
        raise ValueError(
            f"quality: of {len(many)} images the small models see {n}, which leaves too few that "
            "they have not seen; take a smaller n_train."
        )
    return many[n:]


def _flat(name: str, images: Array, d: int | None = None) -> Floats:
    """Images or features as (n, d) float64; ValueError as in `check_floats`, or for another d."""
    checked = check_floats(name, images)
    flat = checked.reshape(len(checked), -1)
    if d not in (None, flat.shape[1]):
        raise ValueError(f"{name}: expected {d} numbers of each image, got {flat.shape[1]}.")
    return flat


def _pair(a: Array, b: Array) -> tuple[Floats, Floats]:
    x = _flat("a", a)
    return x, _flat("b", b, x.shape[1])


def roughness(images: Array) -> Floats:
    """How much neighbouring pixels of each image differ: the median of their absolute differences.

    In a photograph most neighbours hardly differ and edges are few; grain is everywhere. Beside
    that of held-out images it tells the two apart, which distances between sets of samples that
    are far from both need not (ours). Of images with a flat ground it is 0.

    Parameters
    ----------
    images : array (N, C, H, W)
        Data units, H and W at least 2.

    Returns
    -------
    array (N,)
        Data units.

    Raises
    ------
    ValueError : as in `check_floats`, or for images without neighbours.
    """
    pixels = check_floats("images", images)
    if pixels.ndim != 4 or min(pixels.shape[2:]) < 2:
        raise ValueError(f"images: expected (N, C, H, W), H and W at least 2, got {pixels.shape}.")
    steps = [np.diff(pixels, axis=axis).reshape(len(pixels), -1) for axis in (2, 3)]
    return np.median(np.abs(np.concatenate(steps, axis=1)), axis=1)


def rougher(images: Array, real: Array) -> Estimate:
    """How many times as rough images are as real ones: the ratio of their mean `roughness`.

    Parameters
    ----------
    images, real : (N, C, H, W) and (M, C, H, W) data units, N at least 2.

    Returns
    -------
    Estimate
        Near 1 where both are as smooth, far above it for grain; its 95% interval is over the
        images, the real ones taken as known. NaN where more than a quarter of the real images
        have a flat ground: what a network leaves there would decide.
    """
    usual = roughness(real)
    flat = 4 * (usual == 0).sum() > len(usual)
    return Estimate(np.nan) if flat else mean_of(roughness(images)) / float(usual.mean())


def frechet_distance(a: Array, b: Array) -> float:
    """The Frechet distance of two sets of features, as if both were Gaussian.

    |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)), S the covariances (Heusel et al. 2017).
    Biased upwards for few images: compare only at equal numbers.

    Parameters
    ----------
    a, b : (n, k) and (m, k) features, n, m >= 2; further axes are flattened.

    Returns
    -------
    float >= 0, feature units squared.

    Raises
    ------
    ValueError : anything else, NaN, or values beyond 1e30.
    """
    x, y = _pair(a, b)
    if min(len(x), len(y)) < 2:
        raise ValueError(f"frechet_distance: needs 2 of each or more, got {len(x)} and {len(y)}.")
    # tr (S_a S_b)^(1/2) is the sum of the singular values of A B^T for any A, B with S = A^T A,
    # triangular ones here: no root of a nearly singular matrix is needed.
    centred = [(v - v.mean(0)) / np.sqrt(len(v) - 1) for v in (x, y)]
    roots = [np.asarray(np.linalg.qr(v, mode="r")) for v in centred]
    cross = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    spread = sum(float((v**2).sum()) for v in roots)
    return max(float(((x.mean(0) - y.mean(0)) ** 2).sum()) + spread - 2 * float(cross), 0.0)


def frechet_error(a: Array, b: Array, *, groups: int = 20) -> float:
    """The standard error of `frechet_distance` that comes from the choice of the images ``a``.

    By the jackknife that leaves out one group of images at a time: resampling with repeats, as
    the bootstrap does, would widen the distance itself. The images ``b`` count as given.

    Parameters
    ----------
    a, b : as in `frechet_distance`; the images a in an order that means nothing.
    groups : about equal groups to leave out, 2 <= groups <= n.
    """
    x, y = _pair(a, b)
    return _jackknife(lambda kept: frechet_distance(x[kept], y), len(x), groups)


def _jackknife(of: Callable[[NDArray[np.bool_]], float], n: int, groups: int) -> float:
    """The standard error of what is computed ``of`` the images kept, a mask over n of them."""
    if not 2 <= check_count("groups", groups) <= n:
        raise ValueError(f"jackknife: needs 2 to {n} groups of images, got {groups}.")
    number = np.arange(n) * groups // n
    left = np.array([of(number != g) for g in range(groups)])
    return float(np.sqrt((groups - 1) * left.var()))


def frechet_estimate(a: Array, b: Array) -> Estimate:
    """`frechet_distance` with its 95% interval over the choice of the images ``a``.

    a, b : features as there, 3 images in ``a`` or more: at most 20 groups of them are left out in
        turn, and what is kept has a spread of its own.
    """
    distance = frechet_distance(a, b)
    if len(a) < 3:
        raise ValueError(f"frechet_estimate: needs 3 images in a or more, got {len(a)}.")
    groups = min(20, len(a))
    return jackknifed(distance, frechet_error(a, b, groups=groups), groups)


def sliced_wasserstein(a: Array, b: Array, *, directions: int = 256, seed: int = 0) -> float:
    """The sliced 2-Wasserstein distance of two equally large sets of images, data units.

    The root of the mean over random unit directions of the squared distance in one dimension.

    Parameters
    ----------
    a, b : arrays (n, ...) of the same n.
    directions : random directions, 1 to 100,000; ``seed`` draws them.

    Raises
    ------
    ValueError : anything else, NaN, or values beyond 1e30.
    """
    x, y = _pair(a, b)
    if len(x) != len(y):
        raise ValueError(f"sliced_wasserstein: needs equal shapes, got {x.shape} and {y.shape}.")
    if check_count("directions", directions) > MOST_DIRECTIONS:
        raise ValueError(f"directions must be at most {MOST_DIRECTIONS:,}, got {directions:,}.")
    rays = np.random.default_rng(seed).standard_normal((x.shape[1], directions))
    rays /= np.linalg.norm(rays, axis=0)
    gap = np.sort(x @ rays, axis=0) - np.sort(y @ rays, axis=0)
    return float(np.sqrt((gap**2).mean()))


def sliced_estimate(a: Array, b: Array, *, seed: int = 0) -> Estimate:
    """`sliced_wasserstein` with its 95% interval over the choice of both sets of images.

    a, b : as there, 2 images or more in orders that mean nothing; at most 20 groups are left
        out of both in turn.
    """
    distance, (x, y) = sliced_wasserstein(a, b, seed=seed), _pair(a, b)
    groups = min(20, len(x))
    error = _jackknife(lambda kept: sliced_wasserstein(x[kept], y[kept], seed=seed), len(x), groups)
    return jackknifed(distance, error, groups)


@dataclass(frozen=True)
class PrincipalComponents:
    """The coordinates of images along the first k principal axes of reference images."""

    mean: Floats
    axes: Floats

    @classmethod
    def of(cls, images: Array, k: int = 16) -> PrincipalComponents:
        flat = _flat("images", images)
        mean = flat.mean(0)
        axes = np.linalg.svd(flat - mean, full_matrices=False)[2][: check_count("k", k)]
        return cls(mean, axes)

    def __call__(self, images: Array) -> Floats:
        return (_flat("images", images, len(self.mean)) - self.mean) @ self.axes.T


@dataclass(frozen=True)
class ClassifierFeatures:
    """The last hidden layer of a small classifier trained on labelled images.

    ``accuracy`` is its share of correct labels on held-out images, NaN where those have none
    (-1): a poor classifier makes poor features.
    """

    accuracy: float
    weights: tuple[NDArray, ...]
    biases: tuple[NDArray, ...]

    @classmethod
    def of(
        cls,
        images: Array,
        labels: NDArray[np.int64],
        heldout: Array,
        heldout_labels: NDArray[np.int64],
        *,
        seed: int = 0,
    ) -> ClassifierFeatures:
        """Train one with two hidden layers (128, 32); deterministic for a seed."""
        from sklearn.neural_network import MLPClassifier

        flat = _flat("images", images)
        other = _flat("heldout", heldout, flat.shape[1])
        labels, heldout_labels = _labels(labels, len(flat)), _labels(heldout_labels, len(other))
        if len(np.unique(labels)) < 2:
            raise ValueError("ClassifierFeatures: needs labels of at least two classes.")
        network = MLPClassifier((128, 32), random_state=seed)
        for _ in range(int(np.clip(PASSES / len(flat), 5, 100))):
            network.partial_fit(flat, labels, classes=np.unique(labels))
        known = heldout_labels >= 0
        accuracy = (
            float(network.score(other[known], heldout_labels[known])) if known.any() else np.nan
        )
        return cls(accuracy, tuple(network.coefs_[:-1]), tuple(network.intercepts_[:-1]))

    def __call__(self, images: Array) -> Floats:
        features = _flat("images", images, len(self.weights[0]))
        for weight, bias in zip(self.weights, self.biases, strict=True):
            features = np.maximum(features @ weight + bias, 0)
        return features


def _labels(labels: object, n: int) -> NDArray[np.int64]:
    found = np.asarray(labels)
    if found.shape != (n,) or found.dtype.kind not in "iu":
        raise ValueError(f"labels: expected a whole number for each of {n} images.")
    return found


def features_of(everything: ImageSet, unseen: NDArray, *, seed: int = 0) -> dict[str, Features]:
    """The features that the data themselves give: name -> features.

    Parameters
    ----------
    everything : the whole data set; where it has labels, a classifier is trained on them.
    unseen : (M, C, H, W) its images that no small model saw: what principal axes are taken of.
    seed : of the classifier.
    """
    labels = everything.labels
    features: dict[str, Features] = {"principal components": PrincipalComponents.of(unseen)}
    if len(np.unique(labels.train)) > 1:
        features["classifier features"] = ClassifierFeatures.of(
            everything.train, labels.train, everything.heldout, labels.heldout, seed=seed
        )
    return features


class InceptionFeatures:
    """The 2,048 pool features of Inception v3: `frechet_distance` on them is FID.

    The network is torch-fidelity's port of the original one, an extra of this package. Its
    weights are never downloaded here.

    Parameters
    ----------
    weights : the file of torch-fidelity's weights; default: in torch's cache of checkpoints.
    device : where to compute; ``batch`` images at a time.

    Raises
    ------
    ValueError : torch-fidelity or the weights are not there; says how to get them.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        *,
        device: str | torch.device = "cpu",
        batch: int = 64,
    ):
        path = Path(weights or Path(torch.hub.get_dir(), "checkpoints", INCEPTION))
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision of another torch
            raise ValueError(
                f"FID: torch-fidelity does not load ({error}); install it by: "
                "pip install -e '.[fid]'."
            ) from None
        if not path.is_file():
            raise ValueError(
                f"FID: no weights of Inception at {str(path)!r}; torch-fidelity's releases have "
                f"them as {INCEPTION}."
            )
        self.network = FeatureExtractorInceptionV3("inception", ["2048"], str(path)).to(device)
        self.device, self.batch = device, batch

    @torch.no_grad()
    def __call__(self, images: Array) -> Floats:
        """Features (n, 2048) of images (n, C, H, W) in [-1, 1], one channel or three."""
        array = check_array("images", images)
        if array.ndim != 4 or array.shape[1] not in (1, 3):
            raise ValueError(
                f"images: expected (n, C, H, W) of one channel or three, got {[*array.shape]}."
            )
        found = []
        for start in range(0, len(array), self.batch):
            part = torch.from_numpy(check_floats("images", array[start : start + self.batch]))
            pixels = part.clamp(-1, 1).add(1).mul(127.5).round().byte().expand(-1, 3, -1, -1)
            found.append(self.network(pixels.to(self.device))[0].double().cpu())
        return torch.cat(found).numpy()
