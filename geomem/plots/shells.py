"""Pictures of shells: of the noise itself, of what two have in common, and in the plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Annulus
from scipy.stats import chi, ncx2

from geomem.digitized import Digitized
from geomem.digitized.stated import CELEBA_CROSSING, CELEBA_ZONE
from geomem.geometry.arrays import Floats
from geomem.geometry.coverage import shell_mass, shell_radii
from geomem.geometry.coverage_bounds import coverage_sigma, shell_mass_envelopes
from geomem.geometry.curve import Curve
from geomem.geometry.noise_shell import NoiseShell
from geomem.geometry.plane import Plane
from geomem.geometry.regimes import Regimes
from geomem.plots.beside import legend_below, name_curves
from geomem.plots.cells import SIDE, nearest_point
from geomem.plots.drawing import (
    NAMES,
    SERIES,
    Drawn,
    filled_up,
    noise_curves,
    noise_table,
    plot_series,
    shade_regimes,
    sigma_axis,
)
from geomem.plots.files import COLUMN


def noise_shell(shell: NoiseShell) -> Drawn:
    """The norms of noise as a histogram, their law, and the shell."""
    (r_in, r_out), middle = shell.radii, np.sqrt(shell.d)
    fig, ax = plt.subplots()
    radius = np.linspace(max(0, 2 * r_in - middle), 2 * r_out - middle, 300)
    density = chi.pdf(radius, shell.d)
    named = f"{len(shell.norms):,} noise vectors"
    counts, edges, _ = ax.hist(shell.norms, 40, density=True, color="0.75", label=named)
    ax.plot(radius, density, label="chi density")
    ax.axvspan(r_in, r_out, color="C2", alpha=0.15, lw=0, label="shell of Lemma 4.5")
    ax.set(xlim=radius[[0, -1]], ylim=(0, 1.5 * density.max()), ylabel="density")
    ax.set_xlabel(r"norm of the noise, $\|Z\|$ (units of $\sigma$)")
    ax.legend(loc="upper left")
    return fig, filled_up(
        {
            "norm [units of sigma]": radius,
            "chi density [1/sigma]": density,
            "bin of the histogram, left end [units of sigma]": edges,
            "its height [1/sigma]": np.asarray(counts),
        }
    )


def shared_mass(d: int, c: float) -> Drawn:
    """The chance that noise around a point lands in the shell of another one, by their distance."""
    transition = 1 / float(coverage_sigma(1.0, d, c))
    r = np.linspace(0, 2.5 * transition, 400)
    lower, upper = shell_mass_envelopes(r, d, c)
    curves = {"Phi": shell_mass(r, d, c), "lower envelope": lower, "upper envelope": upper}
    looks = {"upper envelope": "C1--", "Phi": "C0-", "lower envelope": "C2-."}
    fig, ax = plt.subplots(figsize=(COLUMN, 2.6))
    for name, look in looks.items():
        label = r"$\Phi_{d,c}(r)$, exact" if name == "Phi" else name
        ax.plot(r, curves[name], look, label=label)
    middle = float(shell_mass(transition, d, c))
    ax.axvline(transition, color="0.4", lw=1, ls=":")
    ax.plot(transition, middle, "ko", ms=5)
    text = rf"$d_{{\mathrm{{1NN}}}}/\sigma_{{\mathrm{{cov}}}} = {transition:.2f}$"
    line: dict[str, Any] = dict(arrowstyle="-", lw=0.8, shrinkB=4)
    at = (2.45 * transition, 0.44)
    ax.annotate(text, (transition, middle), at, arrowprops=line, ha="right", va="center")
    ax.set(xlim=(0, r[-1]), ylim=(-0.03, 1.03), ylabel="probability of the shell")
    ax.set_xlabel(r"distance over noise level, $r = d_i/\sigma$")
    name_curves(ax)
    columns = {f"{name} [probability]": values for name, values in curves.items()}
    return fig, {"distance over noise level [1]": r, **columns}


def squared_norms(d: int, c: float) -> Drawn:
    """The squared distance of noise from a point 0, 1 and 1.5 transitions away, and its shell."""
    r_in, r_out = shell_radii(d, c)
    transition = 1 / float(coverage_sigma(1.0, d, c))
    fig, ax = plt.subplots(figsize=(COLUMN, 2.6))
    ax.axvspan(r_in**2, r_out**2, color="0.9", lw=0, label="the shell, squared")
    shifts = {0.0: "C0-", transition: "C1--", 1.5 * transition: "C2-."}
    first = float(ncx2.ppf(1e-4, d, 1e-9))  # 0 is no noncentrality to scipy
    last = float(ncx2.ppf(1 - 1e-4, d, (1.5 * transition) ** 2))
    squares = np.linspace(first, last, 400)
    table = {"squared distance [sigma^2]": squares}
    for r, look in shifts.items():
        density = ncx2.pdf(squares, d, max(r**2, 1e-9))
        ax.plot(
            squares,
            density,
            look,
            label=rf"$r = {r:.3g}$: {float(shell_mass(r, d, c)):.3g} of it inside",
        )
        table[f"density at r = {r:.3g} [1/sigma^2]"] = density
    ax.set(xlim=(first, last), ylim=(0, None), ylabel="density", yticks=[])
    ax.set_xlabel(r"squared distance $\|Z + r e_1\|^2$ (units of $\sigma^2$)")
    legend_below(fig)
    return fig, table


def in_the_plane(points: Floats, c: float, levels: Mapping[str, float]) -> Drawn:
    """The shells of (N, 2) points at some noise levels, side by side: title -> level."""
    radii = np.array(shell_radii(2, c))
    fig, axes = plt.subplots(1, len(levels), figsize=(COLUMN, 1.6))
    for ax, (name, level) in zip(axes, levels.items(), strict=True):
        rings(ax, points, *(level * radii), fc="k", alpha=0.25, lw=0)
        rings(ax, points, *(level * radii), fc="none", ec="k", lw=0.7)
        ax.plot(*points.T, "k.", ms=5)
        _square(ax, 4)
        ax.set(title=rf"$\sigma = {level:.2g}$", xlabel=name)
    sigma = np.array([*levels.values()])
    table = {"sigma [data units]": sigma, "inner radius [data units]": sigma * radii[0]}
    return fig, table | {"outer radius [data units]": sigma * radii[1]}


def regimes_read_off(source: Digitized, curves: Mapping[str, Curve], regimes: Regimes) -> Drawn:
    """Both curves of the paper's CelebA images as marks, our regimes of them, and its own zone.

    source : what was read off, with "sigma", "coverage" and "max_weight".
    curves : quantity of `SERIES` -> the curve through the marks.
    """
    looks = [(*SERIES[quantity][:2], "") for quantity in curves]  # marks, never a curve
    named = {NAMES[quantity]: curve for quantity, curve in curves.items()}
    look: dict[str, Any] = dict(regimes=regimes, height=2.8)
    fig, _ = noise_curves(named, "probability, read off", looks, **look)
    ax = fig.axes[0]
    ax.axvspan(*CELEBA_ZONE, ymax=0.06, color="k", lw=0)
    middle = CELEBA_CROSSING, 0.07
    ax.text(*middle, "zone named\nin the paper", ha="center", va="bottom")
    table = {"sigma [data units]": source["sigma"]}
    columns = {"C_sigma": source["coverage"], "W_sigma": source["max_weight"]}
    return fig, table | {f"{name} read off [probability]": columns[name] for name in curves}


def regimes_in_the_plane(plane: Plane, levels: Sequence[float]) -> Drawn:
    """The plane at some noise levels, above both curves: shells, cells, noisy new points.

    A new point is full where some shell holds it.
    """
    points, radii = np.array(plane.points), np.array(shell_radii(2, plane.c))
    columns = [f"level {i}" for i in range(len(levels))]
    rows: list[Any] = [columns, ["curves"] * len(levels)]
    fig, axes = plt.subplot_mosaic(rows, figsize=(COLUMN, 3.7), height_ratios=(1, 1.9))
    side = np.linspace(-SIDE, SIDE, 321)
    nearest = nearest_point(np.stack(np.meshgrid(side, side), -1).reshape(-1, 2), points)
    for column, sigma in zip(columns, levels, strict=True):
        ax, noisy = axes[column], plane.at(sigma)
        inner, outer = sigma * radii
        away = np.linalg.norm(noisy[:, None] - points, axis=2)
        held = np.any((inner <= away) & (away <= outer), axis=1)
        rings(ax, points, inner, outer, fc="k", alpha=0.12, lw=0)
        rings(ax, points, inner, outer, fc="none", ec="k", lw=0.6)
        edges = np.arange(len(points) - 1) + 0.5
        ax.contour(side, side, nearest.reshape(321, 321), edges, colors="0.4", linewidths=0.6)
        ax.plot(*noisy[held].T, "ko", ms=2.4)
        ax.plot(*noisy[~held].T, "o", ms=2.4, mec="k", mfc="w", mew=0.6)
        ax.plot(*points.T, "o", color="C1", ms=5, mec="k", mew=0.6)
        _square(ax, SIDE)
        ax.set_title(rf"$\sigma = {sigma:.2g}$")
    ax, curves = axes["curves"], {"C_sigma": plane.coverage, "W_sigma": plane.weight}
    shade_regimes(ax, plane.regimes)
    plot_series(ax, curves, marker="")
    sigma_axis(ax)
    ax.plot(levels, [ax.get_ylim()[0]] * len(levels), "k^", ms=7, clip_on=False, zorder=3)
    ax.set_ylabel("probability")
    name_curves(ax)
    return fig, noise_table(curves, "probability")


def fields(points: Floats, c: float, sigma: float, answers: Mapping[str, Any]) -> Drawn:
    """Where denoisers move places of the plane to, over the shells: name -> the denoiser."""
    side = np.linspace(-3.05, 3.05, 17)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    moved = {name: denoise(grid) - grid for name, denoise in answers.items()}
    fig, axes = plt.subplots(1, len(answers), figsize=(COLUMN, 2.3))
    table = {"y_1 [data units]": grid[:, 0], "y_2 [data units]": grid[:, 1]}
    for ax, (name, field) in zip(axes, moved.items(), strict=True):
        radii = (sigma * radius for radius in shell_radii(2, c))
        rings(ax, points, *radii, fc="0.82", ec="0.6", lw=0.6)
        arrows(ax, grid, field, longest=0.42)
        ax.plot(*points.T, "o", color="C1", ms=4.5, mec="k", mew=0.6, zorder=3)
        _square(ax, 3.3)
        ax.set_title(f"off the shells:\n{name}")
        table |= {f"m_{i + 1} - y_{i + 1}, {name} [data units]": field[:, i] for i in (0, 1)}
    return fig, table


def rings(ax: Axes, points: np.ndarray, inner: float, outer: float, **style: Any) -> None:
    """The shells of (N, 2) points of the plane."""
    for x, y in points:
        ax.add_patch(Annulus((x, y), outer, outer - inner, **style))


def arrows(ax: Axes, places: np.ndarray, field: np.ndarray, *, longest: float) -> None:
    """A field on (N, 2) places of the plane: arrows cut to a longest one, dots where it is 0."""
    length = np.linalg.norm(field, axis=1)
    moved = length > 0
    cut = field[moved] * np.minimum(1, longest / length[moved])[:, None]
    ax.quiver(*places[moved].T, *cut.T, angles="xy", scale_units="xy", scale=1, width=0.008)
    ax.plot(*places[~moved].T, "k.", ms=1.2)


def _square(ax: Axes, half: float) -> None:
    """A square of the plane around the origin, to its ``half`` side, framed and without ticks."""
    ends = (-half, half)
    ax.set(xlim=ends, ylim=ends, aspect="equal", xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
    ax.grid(False)
