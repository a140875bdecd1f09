"""Pictures of a reader's own networks: watched in training, and asked who was in it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator

from geomem.memorization.membership import Membership
from geomem.memorization.monitor import Monitor
from geomem.plots.beside import name_curves
from geomem.plots.drawing import (
    SERIES,
    SIGMA_LABEL,
    Drawn,
    log_axis,
    noise_table,
    sigma_axis,
    style,
)
from geomem.plots.files import COLUMN

SHIFTS = {"plain": 0.86, "stopped": 1, "copy gap": 1.16}  # of the kinds that are drawn: in sigma


def watched(found: Mapping[str, Monitor]) -> Drawn:
    """The loss and the copies of each of some trainings, one below the other."""
    fig, axes = plt.subplots(2 * len(found), 1, figsize=(COLUMN, 3.0 * len(found)))
    for loss, copies, (kind, watch) in zip(axes[::2], axes[1::2], found.items(), strict=True):
        watch.plot(loss, copies)
        loss.set(title=kind, xlabel="")
        for ax in (loss, copies):
            log_axis(ax, "x")
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    tables = [watch.table() for watch in found.values()]
    which = [kind for kind, watch in found.items() for _ in watch.looks]
    headings = ["step [count]", *[*tables[0]][1:]]
    columns = np.hstack([np.array([*table.values()]) for table in tables])
    return fig, {"model [name]": which, **dict(zip(headings, columns, strict=True))}


def told_apart(attacks: Mapping[tuple[str, str], Membership]) -> Drawn:
    """The area under the curve of an attack at each level, a panel for each kind of network.

    attacks : a kind of network and how it was trained -> what the attacker finds; of trainings
        those of `SHIFTS` are drawn, and all are in the table.
    """
    kinds = [*dict.fromkeys(kind for kind, _ in attacks)]
    size = (COLUMN, 2.2 * len(kinds))
    fig, axes = plt.subplots(len(kinds), 1, figsize=size, sharex=True, squeeze=False)
    for kind, ax in zip(kinds, axes[:, 0], strict=True):
        for name, shift in SHIFTS.items():
            auc, look = attacks[kind, name].auc, style(SERIES[name], ms=4, elinewidth=1)
            ends = auc.mean - auc.low, auc.high - auc.mean
            ax.errorbar(shift * auc.sigma, auc.mean, ends, label=name, **look)
            ax.axhline(0.5, color="0.4", lw=1, ls=":")
        sigma_axis(ax, probability=False)
        ax.set(title=kind, ylabel="AUC", xlabel="")
    ax.set_xlabel(SIGMA_LABEL)
    name_curves(axes[0, 0], columns=3)
    curves = {f"{kind}, {name}": attack.auc for (kind, name), attack in attacks.items()}
    return fig, noise_table(curves, "probability")
