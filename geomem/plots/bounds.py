"""Pictures of bounds on the posterior weight, and of the scale of the danger zone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

from geomem.geometry.curve import Curve
from geomem.geometry.posterior_bounds import WeightBounds
from geomem.geometry.scale import ZoneScale, scale_table
from geomem.plots.beside import name_curves
from geomem.plots.drawing import SERIES, Drawn, named_line, noise_table, sigma_axis, style
from geomem.plots.files import COLUMN


def both_sides(weight: Curve, bounds: WeightBounds, edges: Mapping[str, float]) -> Drawn:
    """The measured weight over its bounds from below, and again over those from above.

    edges : what part A says: a name -> a noise level, data units.
    """
    fig, axes = plt.subplots(2, 1, figsize=(COLUMN, 4.6), sharex=True)
    for ax, side in zip(axes, ("lower", "upper"), strict=True):
        bounds.plot(ax, side)
        weight.plot(ax, None, **style(SERIES["W_sigma"], marker="", lw=3, zorder=4))
        ax.set(xlim=weight.sigma[[0, -1]], ylabel=rf"$W_\sigma$, {side} bounds")
        sigma_axis(ax)
    axes[0].set_xlabel("")
    for name, sigma in edges.items():
        named_line(axes[0], name, sigma, 1.04)
    first = [line for line in axes[0].lines if line.get_label() == "orthogonal"]
    axes[0].legend(first, ["orthogonal"])
    name_curves(axes[1])  # all others
    return fig, noise_table({"W_sigma": weight}, "probability") | bounds.table()


def zone_scales(groups: Mapping[str, Sequence[ZoneScale]]) -> Drawn:
    """Measured zones and their scales, one row a training set, from above.

    groups : what varies in each of some groups, "N" or "d" -> its training sets.
    """
    fig, ax = plt.subplots(figsize=(COLUMN, 3.4))
    scales = [one for group in groups.values() for one in group]
    group = np.repeat(np.arange(len(groups)), [*map(len, groups.values())])
    place = -np.arange(len(scales)) - group.astype(float)  # a row between two groups
    starts = np.array([one.regimes.covered.value for one in scales])
    stops = np.array([one.regimes.concentrated.value for one in scales])
    zone = starts < stops
    label = "measured danger zone"
    ax.hlines(place[zone], starts[zone], stops[zone], color="0.75", lw=9, label=label)
    none: dict[str, Any] = dict(color="0.75", lw=1.5, ls=":")
    none["label"] = None if zone.all() else "no zone"
    ax.hlines(place[~zone], stops[~zone], starts[~zone], **none)
    covs, stars = [one.sigma_cov for one in scales], [one.sigma_star for one in scales]
    ax.plot(covs, place, "o", color="C0", ls="none", label=r"$\sigma_{\mathrm{cov}}$")
    ax.plot(stars, place, "D", color="C1", ls="none", mfc="w", mew=1.6, label=r"$\sigma^*$")
    varied = [by for by in groups for _ in groups[by]]
    names = [f"{by} = {getattr(one, by.lower())}" for by, one in zip(varied, scales, strict=True)]
    ax.set_yticks(place, names)
    ax.set_ylim(place[-1] - 0.7, 0.7)
    sigma_axis(ax, probability=False)
    name_curves(ax)
    return fig, {"varied [name]": varied, **scale_table(scales)}
