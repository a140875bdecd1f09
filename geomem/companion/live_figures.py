"""What the live figures with images take from a run, small enough for a page (ours).

`attach_denoisers` is for ``book/_assets/live/denoisers.js``, which computes all answers in the
reader's browser, those of the networks by ``network.js``; `attach_switch` is for ``switch.js``,
which shows what the notebook has sampled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geomem.companion.live import attach_live
from geomem.diffusion.network import EDMDenoiser
from geomem.geometry.arrays import Floats
from geomem.geometry.coverage import shell_radii
from geomem.geometry.curve import Curve
from geomem.geometry.window import Window
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.ratio_test import near
from geomem.memorization.side_by_side import SideBySide
from geomem.memorization.switch import Switch

MOST = 1e6  # bytes of a figure's images and networks, of `LIMIT` for all live figures as text
SIDE = 32  # pixels, to which images are shrunk where they are only shown
HEAD = ("network", "multipliers", "blocks", "patch", "channels", "size", "mean", "sigma_data")


def network(denoiser: EDMDenoiser, dtype: str = "float16") -> dict[str, Any]:
    """A network as ``network.js`` reads it.

    Parameters
    ----------
    denoiser : without classes.
    dtype : of the weights, "float16" or "float32".

    Returns
    -------
    Its ``config``; ``sizes``, name and number of the weights of each part; ``weights``, all in one.

    Raises
    ------
    ValueError : a class-conditional network, which ``network.js`` does not know.
    """
    if denoiser.config.n_classes:
        raise ValueError("network: a live figure has no classes.")
    parts = {
        name.removeprefix("network."): part.detach().cpu().numpy().ravel()
        for name, part in denoiser.state_dict().items()
    }
    return {
        "config": {name: getattr(denoiser.config, name) for name in HEAD},
        "sizes": [[name, part.size] for name, part in parts.items()],
        "weights": np.concatenate([*parts.values()]).astype(dtype),
    }


def halved(denoiser: EDMDenoiser) -> EDMDenoiser:
    """The network with its weights rounded to float16, as a page has it."""
    rounded = deepcopy(denoiser)
    rounded.load_state_dict({k: v.half().float() for k, v in denoiser.state_dict().items()})
    return rounded


def attach_denoisers(
    beside: SideBySide,
    heldout: NDArray,
    curves: Mapping[str, Curve],
    *,
    zone: Window | None,
    n: Mapping[str, int],
    image: int = 0,
    draw: int = 0,
    sigma: float = 0.3,
    c: float = 5.0,
) -> None:
    """Keep the data of the figure "denoisers", and beside it the networks, loaded when it is seen.

    Where they are too heavy for a page, only that is kept, and the page says so.

    Parameters
    ----------
    beside : the networks, their small training set and the noise.
    heldout : (Q, C, H, W) the held-out images to choose from, data units.
    curves : name -> coverage, weight, and the rates of the small and the large model, in this
        order; the figure's noise levels are those of the last.
    zone : the danger zone, data units.
    n : training images of "small" and "large".
    image, draw, sigma : held-out image, noise draw and noise level that it starts with.
    c : shell parameter.
    """
    images = torch.as_tensor(beside.train.images).flatten(1).cpu().numpy()
    shape = [int(side) for side in heldout.shape[1:]]
    centre = images.mean(0, dtype=np.float64)
    _, singular, axes = np.linalg.svd(images - centre, full_matrices=False)
    levels = [*curves.values()][-1].sigma
    keys = ("coverage", "weight", "small", "large")  # as the style sheet calls them
    networks = {name: network(one) for name, one in beside.networks.items()}
    values: dict[str, Any] = {
        "shape": shape,
        "train": _exact(images),
        "numbers": np.asarray(beside.train.index, np.int32),
        "version": _version(networks),
        "heldout": _exact(heldout.reshape(len(heldout), -1)),
        "noise": beside.noise.reshape(len(beside.noise), -1),
        "centre": centre,
        "axes": axes.astype(np.float32),
        "variances": singular**2 / len(images),
        "radii": shell_radii(images.shape[1], c),
        "curves": [
            {"key": key, "name": name, "sigma": curve.sigma, "mean": curve.mean}
            for key, (name, curve) in zip(keys, curves.items(), strict=True)
        ],
        "zone": [zone.low, zone.high] if zone else None,
        "low": levels[0],
        "high": levels[-1],
        "n": dict(n),
        "start": {"sigma": sigma, "image": image, "noise": draw},
    }
    if (heavy := _weight([networks, values])) > MOST:
        networks, values = {}, {"heavy": f"{heavy / 1e6:.1f} MB"}
    version = values.get("version", "")  # that of the page, which may be of another build
    attach_live("denoisers-networks", version=version, networks=networks)
    attach_live("denoisers", **values)


def rounding(beside: SideBySide, image: NDArray, sigmas: Floats, draw: int = 0) -> float:
    """The largest change of a pixel by `halved` networks, at some levels; data units."""
    page = replace(beside, networks={name: halved(of) for name, of in beside.networks.items()})
    ours, theirs = (of.answers(image, sigmas, draw) for of in (beside, page))
    return max(float(np.abs(ours[name] - theirs[name]).max()) for name in beside.networks)


def attach_switch(switch: Switch, train: DistinctImages, zone: Window | None) -> None:
    """Keep the data of the figure "switch": its first samples at each level, and their originals.

    Parameters
    ----------
    switch : with the samples that it has ``shown``.
    train : what copies would be of.
    zone : the danger zone, data units.
    """
    first = {base: torch.from_numpy(shown).flatten(0, 1) for base, shown in switch.shown.items()}
    found = {base: near(images, train) for base, images in first.items()}
    copied = np.concatenate([one.index[one.memorized()] for one in found.values()])
    numbers = np.unique(copied)  # of the originals; where there is no copy, none is shown
    originals = torch.as_tensor(train.images)[np.searchsorted(train.index, numbers)].cpu()
    which = {
        base: np.where(one.memorized(), np.searchsorted(numbers, one.index), -1)
        for base, one in found.items()
    }
    shares = {
        base: np.array([row.mean() for row in (switch.alone[other], *rows, switch.alone[base])])
        for (base, rows), other in zip(switch.passed.items(), ("large", "small"), strict=True)
    }
    ends = np.exp(1.5 * np.log(switch.sigma[[0, -1]]) - 0.5 * np.log(switch.sigma[[1, -2]]))
    half = np.log(switch.begun.value)
    attach_live(
        "switch",
        shape=list(_shrunk(first["small"][:1]).shape[1:]),
        shown=switch.shown["small"].shape[1],
        n=len(switch.alone["small"]),
        sigma=switch.sigma,
        high=ends[0],
        low=ends[1],
        start=int(np.argmin(np.abs(np.log(switch.sigma[::-1]) - np.nan_to_num(half)))) + 1,
        zone=[zone.low, zone.high] if zone else None,
        shares=shares,
        pictures={base: _pixels(images) for base, images in first.items()},
        ratio={base: one.ratio for base, one in found.items()},
        originals_of={base: of.astype(np.int32) for base, of in which.items()},
        originals=_pixels(originals),
        numbers=numbers.astype(np.int32),
    )


def _exact(images: NDArray) -> NDArray:
    """Images in the smaller of float16 and float32 that holds them."""
    half = images.astype(np.float16)
    return half if np.array_equal(half, images) else images.astype(np.float32)


def _shrunk(images: torch.Tensor) -> torch.Tensor:
    """Images (n, C, H, W), halved until no side is above `SIDE`; latents as pictures show them."""
    if images.shape[1] not in (1, 3):
        images = images.mean(1, keepdim=True)
        low, high = (end((1, 2, 3), keepdim=True) for end in (images.amin, images.amax))
        images = 2 * (images - low) / (high - low).clamp(min=1e-12) - 1
    while max(images.shape[2:]) > SIDE:
        images = torch.nn.functional.avg_pool2d(images, 2)
    return images


def _pixels(images: torch.Tensor) -> NDArray[np.uint8]:
    """Images (n, C, H, W) of [-1, 1] as bytes (n, pixels), to be shown."""
    pixels = _shrunk(images.float()).flatten(1).numpy()
    return np.clip(np.round(127.5 * (pixels + 1)), 0, 255).astype(np.uint8)


def _version(networks: Mapping[str, Any]) -> str:
    """What tells networks from those of another build, which a browser may still keep."""
    found = hashlib.sha256()
    for one in networks.values():
        found.update(one["weights"].tobytes())
    return found.hexdigest()[:12]


def _weight(value: Any) -> int:
    """Bytes of the arrays in mappings and lists."""
    if isinstance(value, Mapping):
        return _weight([*value.values()])
    if isinstance(value, list):
        return sum(map(_weight, value))
    return value.nbytes if isinstance(value, np.ndarray) else 0
