# %% [markdown]
# # Notebook: locality
#
# The paper claims that for stationary Gaussian data an output pixel of the optimal denoiser depends
# on an input pixel at distance $j$ by at most $T_\sigma / j$ (Theorem 4.10). The chapter is
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
import numpy as np

import geomem
from geomem import companion
from geomem.geometry.locality import Locality, row_spectrum
from geomem.plots import drawing

sigmas = np.array([low, middle, high])
options = dict(n_train=n_train, n_heldout=1, seed=data_seed)
sets = [geomem.load_dataset(name, **options) for name in (dataset, second_dataset)]

# %% [markdown]
# ## The stationary part of the covariance
#
# Images are neither Gaussian nor stationary, and their rows are no circles. What the theorem can
# speak of is the circulant matrix nearest to the covariance of an image row: its eigenvalues are
# the mean power spectrum (periodogram) of the rows, after the mean image has been subtracted.

# %%
spectra = [row_spectrum(data.train) for data in sets]
found = [Locality.of(spectrum, sigmas) for spectrum in spectra]
for id, one, data in zip(("fig-locality", "fig-locality-wide"), found, sets, strict=True):
    companion.figure(drawing.alone(one), id, data=[data])
bounds = {f"bound, {data.name}": one.bound for data, one in zip(sets, found, strict=True)}
companion.Table({"sigma": sigmas, **bounds})

# %% [markdown]
# ## What must hold
#
# Every mark lies below its line, for the data and for random spectra.

# %%
rng = np.random.default_rng(seed)
halves = [np.exp(3 * rng.standard_normal(n)) for n in range(2, 40)]
random = [Locality.of(half + np.roll(half[::-1], 1), sigmas) for half in halves]
below, there = (max(one.share.max() for one in some) <= 1 + 1e-9 for some in (found, random))
companion.claim("below-bound", "no sensitivity of the data's spectra is above its bound", below)
companion.claim("random-below", "nor one of random spectra", there)

# %% [markdown]
# And $T_\sigma$ is small at both ends, with one peak between them.

# %%
levels = np.geomspace(1e-3, 1e3, 241)
curves = [geomem.locality_bound(spectrum, levels) for spectrum in spectra]
calm = all(max(curve[0], curve[-1]) < 0.05 for curve in curves)
full = all(np.min(spectrum) > 1e-4 for spectrum in spectra)  # else it is not promised
says = "the bound is below 0.05 at both ends of the noise levels"
companion.claim("calm-ends", says, calm, must=full)

# %% [markdown]
# ## Two spectra with zeros
#
# Where some eigenvalues are 0 the bound stays at small noise. And of constant images each pixel
# says little and all together everything: the influence of one, and the share beyond a quarter of
# the circle.

# %%
singular = float(geomem.locality_bound([1.0, 0.0, 0.0, 0.0], 1e-6))
row = geomem.circulant_sensitivity(1e4 * np.eye(1, 28)[0], 1.0)
far = row[8:21].sum() / row.sum()  # more than 7 pixels away, on either side
companion.Table({"bound": [singular], "each pixel": [row[1]], "beyond a quarter": [far]})

# %% tags=["remove-cell"]
for prefix, one, data, curve in zip(("", "second_"), found, sets, curves, strict=True):
    most = one.share.max()
    said = dict(dataset=data.name, width=str(data.train.shape[-1]), bound=f"{one.bound[1]:.3f}")
    said |= dict(ratio=f"{most:.2f}", share=f"{most:.0%}", peak=f"{levels[curve.argmax()]:.2g}")
    companion.quote(**{prefix + name: text for name, text in said.items()})
companion.quote(second_far=f"{np.median(found[1].share[:, -1]):.2g}")
companion.quote(singular=f"{singular:.2g}", constant_each=row[1], constant_far=f"{far:.0%}")
