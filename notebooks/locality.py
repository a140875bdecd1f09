# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Notebook: locality
#
# The paper claims that for stationary Gaussian data an output pixel of the optimal denoiser depends
# on an input pixel at distance $m$ by at most $T_\sigma / m$ (Theorem 4.10). The chapter is
# [](../book/theorem_4_10.md).
#
# ```{outcome} locality
# ```

# %% tags=["parameters"]
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
second_dataset: str = "fashion-mini"  # a second one, with longer rows
n_train: int = 1000  # training images N, in [2, inf)
low: float = 0.1  # smallest of the three noise levels, data units, in (0, inf)
middle: float = 0.5  # middle noise level, data units, in (0, inf)
high: float = 2.5  # largest of the three noise levels, data units, in (0, inf)
data_seed: int = -1  # seed of the random subset, -1 for the set's own order, in [-1, inf)
seed: int = 0  # seed of the random spectra of the last check, in [0, inf)
device: str = "cpu"  # where to compute; these sums are small, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, ScalarFormatter

import geomem
from geomem.plots import STYLE
from geomem.companion import figures
from geomem.geometry.locality import circulant_sensitivity, locality_bound

plt.style.use(STYLE)
subset = dict(seed=None if data_seed < 0 else data_seed)
sets = [
    geomem.load_dataset(name, n_train=n_train, n_heldout=1, **subset)
    for name in (dataset, second_dataset)
]
sigmas = np.array([low, middle, high])

# %% [markdown]
# ## The stationary part of the covariance
#
# Images are neither Gaussian nor stationary, and their rows are no circles. What the theorem can
# speak of is the circulant matrix nearest to the covariance of an image row: its eigenvalues are
# the mean power spectrum (periodogram) of the rows, after the mean image has been subtracted.

# %%
spectra, rows_of, bounds = [], [], []
for data in sets:
    images = data.train.astype(np.float64)
    width = images.shape[-1]
    rows = (images - images.mean(0)).reshape(-1, width)
    spectra.append(np.mean(np.abs(np.fft.fft(rows)) ** 2, axis=0) / width)
    rows_of.append(circulant_sensitivity(spectra[-1], sigmas))
    bounds.append(locality_bound(spectra[-1], sigmas))
    print(f"{data.name}: rows of {width} pixels, eigenvalues {spectra[-1].min():.3g} to")
    print(f"  {spectra[-1].max():.3g}; T_sigma {np.round(bounds[-1], 3)} at sigma {sigmas}")

# %% tags=["hide-input", "remove-output"]
for id, data, row, bound in zip(
    ("fig-locality", "fig-locality-wide"), sets, rows_of, bounds, strict=True
):
    width = row.shape[1]
    m = np.arange(1, width // 2 + 1)
    fig, ax = plt.subplots(figsize=(4.8, 3.4))
    handles = []
    for s, marker in enumerate("os^"):
        (line,) = ax.loglog(m, bound[s] / m)
        style = dict(color=line.get_color(), ms=5, mec="k", mew=0.5)
        (marks,) = ax.loglog(m, np.abs(row[s, m]), marker, **style)
        handles.append((line, marks))
    ticks = [k for k in (1, 2, 3, 4, 6, 8, 10, 14, 16) if k <= m[-1]]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel="distance $m$ along the row (pixels)", ylabel="sensitivity $|A_{0m}|$")
    ax.legend(handles, [rf"$\sigma = {sigma:g}$" for sigma in sigmas], loc="lower left")
    largest = np.max(np.abs(row[:, m]) * m / bound[:, None], axis=1)
    figures.save(
        fig,
        id,
        title=f"Sensitivity against distance, {data.name}",
        caption=(
            rf"How much an output pixel of the optimal denoiser depends on an input pixel $m$ "
            rf"further, $|A_{{0m}}|$ (marks), and the bound $T_\sigma / m$ of Theorem 4.10 "
            rf"(lines), for the stationary part of the rows of {data.name} (width {width}, "
            rf"{n_train} images): $\sigma = {low:g}$ (circles, solid), ${middle:g}$ (squares, "
            rf"dashed), ${high:g}$ (triangles, dash-dotted)."
        ),
        alt=(
            f"Sensitivity against pixel distance on logarithmic axes for three noise levels: "
            f"falling marks, each set below its straight line of slope minus one; at best a mark "
            f"reaches {largest.max():.0%} of its line."
        ),
        table={
            "distance [pixels]": np.tile(m, 3),
            "sigma [data units]": np.repeat(sigmas, len(m)),
            "sensitivity [dimensionless]": np.abs(row[:, m]).ravel(),
            "bound [dimensionless]": (bound[:, None] / m).ravel(),
        },
        paper_item="Theorem 4.10",
        claim="reconstruction",
        data=[data],
        seeds={"data": data_seed},
    )

# %% [markdown]
# ```{companion-figure} fig-locality
# :again:
# ```
#
# ```{companion-figure} fig-locality-wide
# :again:
# ```

# %% [markdown]
# ## What must hold
#
# Every mark lies below its line, for the data and for random spectra; and the box spectrum
# reaches its line.

# %%
ratios = []
for row, bound in zip(rows_of, bounds, strict=True):
    m = np.arange(1, row.shape[1] // 2 + 1)
    ratios.append(np.abs(row[:, m]) * m / bound[:, None])
below = all(np.all(ratio <= 1 + 1e-9) for ratio in ratios)
figures.claim("no sensitivity of the data's spectra is above its bound", below)
rng = np.random.default_rng(seed)
for n in range(2, 40):
    half = np.exp(3 * rng.standard_normal(n))
    random = half + np.roll(half[::-1], 1)
    m = np.arange(1, n // 2 + 1)
    row = np.abs(circulant_sensitivity(random, sigmas))[:, m]
    assert np.all(row * m <= locality_bound(random, sigmas)[:, None] * (1 + 1e-9))
box = np.zeros(28)
box[[-1, 0, 1]] = 1
reached = abs(circulant_sensitivity(box, middle)[14]) * 14 / locality_bound(box, middle)
assert abs(reached - 1) < 1e-9
levels = np.geomspace(1e-3, 1e3, 241)
curves = [locality_bound(spectrum, levels) for spectrum in spectra]
peaks = [levels[np.argmax(curve)] for curve in curves]
print(f"T_sigma is largest at sigma = {peaks[0]:.2g} and {peaks[1]:.2g}")
for curve in curves:
    assert curve[0] < 0.05 > curve[-1]
figures.record(
    dataset=sets[0].name,
    second_dataset=sets[1].name,
    width=str(rows_of[0].shape[1]),
    second_width=str(rows_of[1].shape[1]),
    low=f"{low:g}",
    middle=f"{middle:g}",
    high=f"{high:g}",
    bound=f"{bounds[0][1]:.3f}",
    second_bound=f"{bounds[1][1]:.3f}",
    ratio=f"{ratios[0].max():.2f}",
    second_ratio=f"{ratios[1].max():.2f}",
    second_far=f"{np.median(ratios[1][:, -1]):.2g}",
    peak=f"{peaks[0]:.2g}",
    second_peak=f"{peaks[1]:.2g}",
)
