# ---
# jupyter: {kernelspec: {display_name: Python 3, language: python, name: python3}}
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
n_train: int = 1000  # training images N, in [2, 1e6]
low: float = 0.1  # smallest of the three noise levels, in [1e-6, 1e6], below middle
middle: float = 0.5  # middle noise level, data units, in [1e-6, 1e6], below high
high: float = 2.5  # largest of the three noise levels, data units, in [1e-6, 1e6]
data_seed: int = -1  # seed of the random subset, -1 for the set's own order, in [-1, 1e12]
seed: int = 0  # seed of the random spectra of the last check, in [0, 1e12]
device: str = "cpu"  # where to compute; these sums are small, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, ScalarFormatter

import geomem
from geomem import companion
from geomem.geometry.locality import row_spectrum
from geomem.plots import STYLE

plt.style.use(STYLE)
data_seed = None if data_seed < 0 else data_seed
sigmas = np.array([low, middle, high])

# %% [markdown]
# ## The stationary part of the covariance
#
# Images are neither Gaussian nor stationary, and their rows are no circles. What the theorem can
# speak of is the circulant matrix nearest to the covariance of an image row: its eigenvalues are
# the mean power spectrum (periodogram) of the rows, after the mean image has been subtracted.

# %%
sets = [
    geomem.load_dataset(name, n_train=n_train, n_heldout=1, seed=data_seed)
    for name in (dataset, second_dataset)
]
spectra = [row_spectrum(data.train) for data in sets]


def measured(spectrum):
    """The distances 1 to n // 2 on a circle, the sensitivities there, and T at each level."""
    seen = np.abs(geomem.circulant_sensitivity(spectrum, sigmas))[:, 1 : len(spectrum) // 2 + 1]
    return np.arange(1, seen.shape[1] + 1), seen, geomem.locality_bound(spectrum, sigmas)[:, None]


bounds = [geomem.locality_bound(spectrum, sigmas) for spectrum in spectra]
columns = {f"bound, {data.name}": bound for data, bound in zip(sets, bounds, strict=True)}
companion.Table({"sigma": sigmas, **columns})


# %%
def picture(id, data, spectrum):
    """Sensitivities (marks) and their bounds (lines) against the distance m along the row."""
    fig, ax = plt.subplots(figsize=(4.8, 3.4))
    (m, seen, bound), handles = measured(spectrum), []
    for values, most, marker in zip(seen, bound / m, "os^", strict=True):
        (line,) = ax.loglog(m, most)
        style = dict(color=line.get_color(), ms=5, mec="k", mew=0.5)
        handles.append((line, *ax.loglog(m, values, marker, **style)))
    ticks = [k for k in (1, 2, 3, 4, 6, 8, 10, 14, 16) if k <= m[-1]]
    ax.xaxis.set(major_locator=FixedLocator(ticks), minor_locator=NullLocator())
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel="distance $m$ along the row (pixels)", ylabel="sensitivity $|A_{0m}|$")
    ax.legend(handles, [rf"$\sigma = {sigma:g}$" for sigma in sigmas], loc="lower left")
    table = {"distance [pixels]": np.tile(m, 3), "sigma [data units]": np.repeat(sigmas, len(m))}
    table["sensitivity [dimensionless]"] = seen.ravel()
    table["bound [dimensionless]"] = (bound / m).ravel()
    companion.figure(fig, id, table, data=[data])


# %% tags=["hide-input"]
picture("fig-locality", sets[0], spectra[0])
picture("fig-locality-wide", sets[1], spectra[1])

# %% [markdown]
# ## What must hold
#
# Every mark lies below its line, for the data and for random spectra.


# %%
def share(spectrum):
    """What part of its bound each sensitivity is."""
    m, seen, bound = measured(spectrum)
    return seen * m / bound


ratios, rng = [share(spectrum) for spectrum in spectra], np.random.default_rng(seed)
halves = [np.exp(3 * rng.standard_normal(n)) for n in range(2, 40)]
random = [share(half + np.roll(half[::-1], 1)) for half in halves]
below, there = (max(map(np.max, some)) <= 1 + 1e-9 for some in (ratios, random))
companion.claim("below-bound", "no sensitivity of the data's spectra is above its bound", below)
companion.claim("random-below", "nor one of random spectra", there)

# %% [markdown]
# And $T_\sigma$ is small at both ends, with one peak between them.

# %%
levels = np.geomspace(1e-3, 1e3, 241)
curves = [geomem.locality_bound(spectrum, levels) for spectrum in spectra]
peaks = [levels[np.argmax(curve)] for curve in curves]
calm = all(max(curve[0], curve[-1]) < 0.05 for curve in curves)
companion.claim("calm-ends", "the bound is below 0.05 at both ends of the noise levels", calm)

# %% tags=["remove-cell"]
for prefix, i in (("", 0), ("second_", 1)):
    said = dict(dataset=sets[i].name, width=str(len(spectra[i])), bound=f"{bounds[i][1]:.3f}")
    said |= dict(ratio=f"{ratios[i].max():.2f}", share=f"{ratios[i].max():.0%}")
    said |= dict(peak=f"{peaks[i]:.2g}")
    companion.quote(**{prefix + name: text for name, text in said.items()})
companion.quote(second_far=f"{np.median(ratios[1][:, -1]):.2g}")
