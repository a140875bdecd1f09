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
import numpy as np

import geomem
from geomem import companion
from geomem.data.named import LOADERS
from geomem.geometry.distances import rms_radius
from geomem.geometry.intervals import decided, percent
from geomem.geometry.paper_weights import PaperWeights
from geomem.geometry.posterior import single_precision_error
from geomem.plots import drawing

data = geomem.load_dataset(dataset, n_train=n_train, n_heldout=image + 1, seed=data_seed)
sigmas = np.geomspace(sigma_min, sigma_max, n_sigmas)

# %% [markdown]
# ## Posterior concentration
#
# Each query is a training image; each noise draw serves every noise level. The band is the
# 95% interval for this training set: over the noise and, where not all its images are queries,
# over which are.

# %%
same = dict(draws=draws, seed=seed, device=device)
weight = geomem.max_posterior_weight(data.train, sigmas, queries=min(n_queries, n_train), **same)

# %% [markdown]
# For CIFAR-10 with $N = 1000$ the paper shows this curve (the figure of its appendix E.3), and
# then crosses mark values read off that picture. Their bars are our interval for an experiment
# of the paper's size, 100 base points. A cross agrees where its bar meets our curve, with 0.006
# allowed for the reading: at large noise, where the bars are shorter than that, all crosses lie
# below our curve by a nearly constant amount, as a zero line misread by a pixel would put them.

# %%
paper = PaperWeights.against(weight) if (data.name, n_train) == ("cifar10", 1000) else None
marks = {"W_sigma": paper.marks} if paper else {}
floor = {f"floor 1/N = {1 / n_train:.2g}": 1 / n_train}
curves = {r"$W_\sigma$, training queries": weight}
look = dict(looks=[drawing.SERIES["W_sigma"]], marks=marks, across=floor)
fig, _ = drawing.noise_curves(curves, "mean largest posterior weight", **look)
table = drawing.noise_table({"W_sigma": weight}, "probability", marks=marks)
companion.figure(fig, "fig-max-posterior-weight", table, data=[data])

# %% [markdown]
# ## What the empirical denoiser does to one image
#
# One held-out image, one noise draw scaled to each level. The denoised image is the posterior
# mean over the training set: a training image at small noise, their average at large noise.

# %%
levels = np.array([0.1, 0.3, 1.0, 3.0, 10.0, 30.0])
clean, high = data.heldout[image], levels[:, None, None, None]
noisy = clean + high * np.random.default_rng(seed).standard_normal(clean.shape)
denoise = geomem.EmpiricalDenoiser(data.train, device=device)
denoised, largest = denoise(noisy, levels), denoise.weights(noisy, levels).max(1)
rows = {"noisy": noisy, "denoised": denoised}
companion.figure(drawing.strip(levels, rows, noisy=["noisy"]), "fig-denoiser-strip", data=[data])
companion.Table({"sigma": levels, "largest weight": largest})

# %% [markdown]
# ## Why double precision
#
# The same expansion of the squared distances in single precision, for training images with noise
# of the smallest level of the EDM grid: how far the log-weights are off, in nats.

# %%
error = single_precision_error(data.train, 0.002, seed=seed)
companion.Table({"largest error in single precision, nats": [error]})

# %% [markdown]
# ## What must hold
#
# $W_\sigma$ never rises with $\sigma$ (the intervals allow for chance) and never falls below its
# floor. It starts at 1 where no training image stands twice, or nearly so: for the data sets of
# this book that must hold, for your own it is said. How near it comes to its floor depends on the
# largest noise level, and is said.

# %%
claim, mean = companion.claim, weight.mean
single = len(np.unique(data.train, axis=0)) == n_train and dataset in LOADERS
single = single and sigma_min <= 0.01
claim("weight-falls", "W never rises with sigma", np.all(mean[1:] <= weight.high[:-1]))
claim("weight-floor", "W is at least 1/N", np.all(mean >= 1 / n_train - 1e-12))
one = decided(mean[0] > 0.99, weight.high[0] <= 0.99)
one = one if sigma_min <= 0.01 else None  # a grid may begin where it has fallen
claim("weight-one", "W starts at 1", one, must=single)
ends_low = True if mean[-1] < 10 / n_train else None  # it falls on beyond a grid that ends early
claim("weight-ends-low", "W ends near its floor: below 10/N", ends_low, must=False)
if paper:
    reached = np.isfinite(paper.apart).all()
    agrees = paper.agrees if reached else None  # a cross beyond our grid is beside no curve
    claim("weight-paper", "our curve is in the intervals of the paper's", agrees, must=reached)

# %% tags=["remove-cell"]
off = np.linalg.norm(denoised[-1] - data.train.mean(0)) / rms_radius(data.train)
companion.quote(dataset=data.name, dimension=str(clean.size), floor=percent(1 / n_train))
companion.quote(first=weight.estimate(0).percent, last=weight.estimate(-1).percent)
companion.quote(sigma_half=weight.passes(0.5), n_queries=min(n_queries, n_train))
companion.quote(single_precision=f"{error:.0f}", largest=[f"{peak:.2g}" for peak in largest])
companion.quote(mean_distance=f"{off:.0%}", first_weight=largest[0], last_weight=largest[-1])
companion.quote(e3=paper.in_words if paper else {"difference": "no crosses", "sigma": "none"})
