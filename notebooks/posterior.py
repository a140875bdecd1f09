# ---
# jupyter: {kernelspec: {display_name: Python 3, language: python, name: python3}}
# ---

# %% [markdown]
# # Notebook: posterior weights and the empirical denoiser
#
# The paper claims that at small noise a noisy training image is explained by one training point
# alone, at large noise by none in particular: $W_\sigma$ (Definition 4.1) falls from 1 to nearly
# $1/N$. The chapter [](../book/posterior.md) says what that means; here it is computed.
#
# ```{outcome} posterior
# ```

# %% tags=["parameters"]
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 1000  # training images N, in [2, 1e6]
n_queries: int = 1000  # training images that noise is added to, in [2, 1e6]
draws: int = 8  # noise draws per image, in [1, 1000]
n_sigmas: int = 25  # noise levels, evenly spaced in log sigma, in [9, 1000]
sigma_min: float = 0.01  # smallest noise level, data units, in [1e-6, 1e6], below sigma_max
sigma_max: float = 100.0  # largest noise level, data units, in [1e-6, 1e6]
image: int = 0  # held-out image that the strip shows, in [0, 1e6]
data_seed: int = -1  # seed of the random subset, -1 for the set's own order, in [-1, 1e12]
seed: int = 0  # seed of the noise, in [0, 1e12]
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.special import log_softmax

import geomem
from geomem import companion, digitized
from geomem.geometry.distances import rms_radius
from geomem.geometry.intervals import percent
from geomem.plots import STYLE, drawing

plt.style.use(STYLE)
data_seed = None if data_seed < 0 else data_seed
data = geomem.load_dataset(dataset, n_train=n_train, n_heldout=image + 1, seed=data_seed)
sigmas = np.geomspace(sigma_min, sigma_max, n_sigmas)

# %% [markdown]
# ## Posterior concentration
#
# Each query is a training image; each noise draw serves every noise level. The band is the
# 95% interval over queries.

# %%
same = dict(draws=draws, seed=seed, device=device)
weight = geomem.max_posterior_weight(data.train, sigmas, queries=data.train[:n_queries], **same)

# %% [markdown]
# For CIFAR-10 with $N = 1000$ the paper shows this curve (the figure of its appendix E.3), and
# then crosses mark values read off that picture. Their bars are our interval for an experiment
# of the paper's size, 100 base points. A cross agrees where its bar meets our curve, with 0.006
# allowed for the reading: at large noise, where the bars are shorter than that, all crosses lie
# below our curve by a nearly constant amount, as a zero line misread by a pixel would put them.

# %%
same = (data.name, n_train) == ("cifar10", 1000)
paper = digitized.load("figE3_max_weight") if same else None
if paper:
    at, grid = np.log(paper["sigma"]), np.log(sigmas)
    ours = np.interp(at, grid, weight.mean)
    spread = 1.96 / 10 * np.interp(at, grid, weight.per_query.std(0))

# %% tags=["hide-input"]
fig, ax = plt.subplots()
weight.plot(ax, r"$W_\sigma$, training queries", marker="o", ms=3.5)
ax.axhline(1 / n_train, color="0.4", lw=1, ls=":", label=f"floor 1/N = {1 / n_train:.2g}")
drawing.sigma_axis(ax)
ax.set_ylabel("mean of the largest posterior weight")
table = {"sigma [data units]": sigmas, **weight.table("W_sigma", "probability")}
if paper:
    marks = dict(fmt="kx", capsize=2, label="paper (E.3), read off")
    ax.errorbar(paper["sigma"], paper["max_weight"], spread, **marks)
    table["sigma read off [data units]"] = paper["sigma"]
    table["W_sigma read off [probability]"] = paper["max_weight"]
ax.legend(loc="lower left", bbox_to_anchor=(0, 0.06))
companion.figure(fig, "fig-max-posterior-weight", drawing.filled_up(table), data=[data])

# %% [markdown]
# ## What the empirical denoiser does to one image
#
# One held-out image, one noise draw scaled to each level. The denoised image is the posterior
# mean over the training set: a training image at small noise, their average at large noise.

# %%
levels = np.array([0.1, 0.3, 1.0, 3.0, 10.0, 30.0])
clean, high = data.heldout[image], levels[:, None, None, None]
noisy = clean + high * np.random.default_rng(seed).standard_normal(clean.shape)
denoised = geomem.empirical_denoiser(noisy, data.train, levels, device=device)
largest = geomem.posterior_weights(noisy, data.train, levels, device=device).max(1)
companion.Table({"sigma": levels, "largest weight": largest})

# %% tags=["hide-input"]
rows = [("noisy", noisy / np.maximum(1, high)), ("denoised", denoised)]
fig = drawing.image_grid(rows, [f"{level:g}" for level in levels])
fig.supxlabel(drawing.SIGMA_LABEL, fontsize=10.5)
companion.figure(fig, "fig-denoiser-strip", drawing.pixel_table(levels, rows), data=[data])

# %% [markdown]
# ## Why double precision
#
# The same expansion of the squared distances in single precision, for training images with noise
# of the smallest level of the EDM grid: how far the log-weights are off, in nats.

# %%
flat = data.train.reshape(n_train, -1)
inputs = (flat + 0.002 * np.random.default_rng(seed).standard_normal(flat.shape)).astype(np.float32)


def log_weights(kind):
    x, y = inputs.astype(kind), flat.astype(kind)
    squared = (x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T
    return log_softmax(-squared.astype(np.float64) / (2 * 0.002**2), axis=1)


error = np.abs(log_weights(np.float32) - log_weights(np.float64)).max()
companion.Table({"largest error in single precision, nats": [error]})

# %% [markdown]
# ## What must hold
#
# $W_\sigma$ never rises with $\sigma$ (the intervals allow for chance) and never falls below its
# floor. It starts at 1 where no training image stands twice. How near it comes to its floor depends
# on the largest noise level, and is said.

# %%
single = len(np.unique(flat, axis=0)) == n_train and sigma_min <= 0.01
rises = np.any(weight.mean[1:] > weight.high[:-1])
companion.claim("weight-falls", "W never rises with sigma", not rises)
above = np.all(weight.mean >= 1 / n_train - 1e-12)
companion.claim("weight-floor", "W is at least 1/N", above)
companion.claim("weight-one", "W starts at 1", weight.mean[0] > 0.99, must=single)
near = weight.mean[-1] < 10 / n_train
companion.claim("weight-ends-low", "W ends near its floor: below 10/N", near, must=False)
if paper:
    apart = np.abs(paper["max_weight"] - ours)
    inside = np.all(apart <= spread + 0.006)
    companion.claim("weight-paper", "our curve is in the intervals of the paper's", inside)

# %% tags=["remove-cell"]
off = np.linalg.norm(denoised[-1] - data.train.mean(0)) / rms_radius(data.train)
companion.quote(dataset=data.name, dimension=str(clean.size), floor=percent(1 / n_train))
companion.quote(first=weight.estimate(0).percent, last=weight.estimate(-1).percent)
companion.quote(sigma_half=f"{weight.passes(0.5):.3g}", single_precision=f"{error:.0f}")
companion.quote(mean_distance=f"{off:.0%}", largest=", ".join(f"{peak:.2g}" for peak in largest))
companion.quote(first_weight=f"{largest[0]:.3g}", last_weight=f"{largest[-1]:.3g}")
worst = apart.argmax() if paper else None
companion.quote(e3_difference=f"{apart[worst]:.3f}" if paper else "no crosses")
companion.quote(e3_sigma=f"{paper['sigma'][worst]:.3g}" if paper else "none")
