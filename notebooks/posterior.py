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
n_train: int = 1000  # training images N, in [2, inf)
n_queries: int = 1000  # training images that noise is added to, in [2, inf)
draws: int = 8  # noise draws per image, in [1, inf)
n_sigmas: int = 25  # noise levels, evenly spaced in log sigma, in [9, inf)
sigma_min: float = 0.01  # smallest noise level, data units, in (0, inf)
sigma_max: float = 100.0  # largest noise level, data units, in (0, inf)
image: int = 0  # held-out image that the strip shows, in [0, inf)
data_seed: int = -1  # seed of the random subset, -1 for the set's own order, in [-1, inf)
seed: int = 0  # seed of the noise, in [0, inf)
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.special import log_softmax

import geomem
from geomem import digitized
from geomem.companion import figures
from geomem.plots import STYLE, drawing
from geomem.geometry.intervals import Estimate, percent

plt.style.use(STYLE)
data = geomem.load_dataset(
    dataset, n_train=n_train, n_heldout=image + 1, seed=None if data_seed < 0 else data_seed
)
sigmas = np.geomspace(sigma_min, sigma_max, n_sigmas)
queries = data.train[:n_queries]
print(f"{data.name}: N = {n_train}, d = {data.train[0].size}, {len(queries)} queries")

# %% [markdown]
# ## Posterior concentration
#
# Each query is a training image; each noise draw serves every noise level. The band is the
# 95% interval over queries.

# %%
weight = geomem.max_posterior_weight(
    data.train, sigmas, queries=queries, draws=draws, seed=seed, device=device
)
passes = weight.mean[0] > 0.5 > weight.mean[-1]
half = float(np.exp(np.interp(-0.5, -weight.mean, np.log(sigmas)))) if passes else np.nan
fall = f"passes 1/2 at $\\sigma = {half:.3g}$" if passes else "does not pass 1/2 on this grid"
print(f"sigma at which W falls through 1/2: {half:.3g}; the floor 1/N is {1 / n_train:.2g}")

# %% [markdown]
# For CIFAR-10 with $N = 1000$ the paper shows this curve (the figure of its appendix E.3), and
# then crosses mark values read off that picture. Their bars are our interval for an experiment
# of the paper's size, 100 base points. A cross agrees where its bar meets our curve, with 0.006
# allowed for the reading: at large noise, where the bars are shorter than that, all crosses lie
# below our curve by a nearly constant amount, as a zero line misread by a pixel would put them.

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots()
drawing.plot_curve(ax, weight, r"$W_\sigma$, training queries", marker="o", ms=3.5)
ax.axhline(1 / n_train, color="0.4", lw=1, ls=":", label=f"floor 1/N = {1 / n_train:.2g}")
drawing.sigma_axis(ax)
ax.set_ylabel("mean of the largest posterior weight")
table = {
    "sigma [data units]": weight.sigma,
    "W_sigma [probability]": weight.mean,
    "low [probability, 95% interval]": weight.low,
    "high [probability, 95% interval]": weight.high,
}
reading = ""
if (data.name, n_train) == ("cifar10", 1000):
    paper = digitized.load("figE3_max_weight")
    at = np.log(paper["sigma"])
    ours = np.interp(at, np.log(sigmas), weight.mean)
    spread = 1.96 / 10 * np.interp(at, np.log(sigmas), weight.per_query.std(0))
    ax.errorbar(
        paper["sigma"],
        paper["max_weight"],
        spread,
        fmt="kx",
        capsize=2,
        label="paper (E.3), read off",
    )
    blank = np.full(n_sigmas - len(at), np.nan)
    table["sigma read off [data units]"] = np.concatenate([paper["sigma"], blank])
    table["W_sigma read off [probability]"] = np.concatenate([paper["max_weight"], blank])
    gap = np.abs(paper["max_weight"] - ours)
    print("sigma, paper, ours, half width for 100 base points")
    print(np.c_[paper["sigma"], paper["max_weight"], ours, spread].round(4))
    figures.claim("our curve is in the intervals of the paper's", np.all(gap <= spread + 0.006))
    figures.record(e3_difference=f"{gap.max():.3f}")
    reading = (
        f" Crosses: read off the paper's figure, bars for its 100 base points; the largest "
        f"difference is {gap.max():.3f}, at $\\sigma = {paper['sigma'][gap.argmax()]:.3g}$."
    )
ax.legend(loc="lower left", bbox_to_anchor=(0, 0.06))
figures.save(
    fig,
    "fig-max-posterior-weight",
    title="Posterior concentration against noise level",
    caption=(
        rf"Posterior concentration $W_\sigma$ on {data.name} ($N = {n_train}$ training images): "
        rf"the mean, over {len(queries)} training images with {draws} noise draws each, of the "
        rf"largest posterior weight. Band: 95% interval over images. It {fall}." + reading
    ),
    alt=(
        f"The largest posterior weight against noise level on a logarithmic axis: from "
        f"{weight.mean[0]:.2g} at sigma {sigmas[0]:.2g} down to {weight.mean[-1]:.2g} at "
        f"{sigmas[-1]:.3g}; one half at sigma {half:.2g}."
    ),
    table=table,
    paper_item="Definition 4.1; the figure of appendix E.3",
    claim="paper",
    data=[data],
    seeds={"noise": seed, "data": data_seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-max-posterior-weight
# :again:
# ```

# %% [markdown]
# ## What the empirical denoiser does to one image
#
# One held-out image, one noise draw scaled to each level. The denoised image is the posterior
# mean over the training set: a training image at small noise, their average at large noise.

# %%
levels = np.array([0.1, 0.3, 1.0, 3.0, 10.0, 30.0])
clean = data.heldout[image]
noise = np.random.default_rng(seed).standard_normal(clean.shape)
noisy = clean + levels[:, None, None, None] * noise
denoised = geomem.empirical_denoiser(noisy, data.train, levels, device=device)
largest = geomem.posterior_weights(noisy, data.train, levels, device=device).max(1)
for level, peak in zip(levels, largest, strict=True):
    print(f"sigma = {level:5.1f}   largest weight {peak:.4f}")

# %% tags=["hide-input", "remove-output"]
rows = [
    ("noisy", noisy / np.maximum(1, levels[:, None, None, None])),
    ("denoised", denoised),
]
fig = drawing.image_grid(rows, [f"{level:g}" for level in levels])
fig.supxlabel("noise level $\\sigma$ (data units)", fontsize=10.5)
figures.save(
    fig,
    "fig-denoiser-strip",
    title="One image through the empirical denoiser",
    caption=(
        rf"A held-out image of {data.name} with noise of level $\sigma$ (top, divided by "
        rf"$\max(1, \sigma)$ to be seen) and the empirical denoiser's answer (bottom). Largest "
        rf"posterior weights, left to right: {', '.join(f'{peak:.2g}' for peak in largest)}."
    ),
    alt=(
        "Two rows of six images. Top: one image under growing noise. Bottom: its denoised "
        "version, one sharp training image at small noise and a blurred average at large noise."
    ),
    table=drawing.pixel_table(levels, rows),
    paper_item="Equation 2",
    claim="ours",
    data=[data],
    seeds={"noise": seed, "data": data_seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-denoiser-strip
# :again:
# ```

# %% [markdown]
# ## Why double precision
#
# The same expansion of the squared distances in single precision, for training images with noise
# of the smallest level of the EDM grid: how far the log-weights are off, in nats.

# %%
flat = data.train.reshape(n_train, -1)
inputs = flat + 0.002 * np.random.default_rng(seed).standard_normal(flat.shape)
gap2 = {}
for kind in (np.float32, np.float64):
    x, y = inputs.astype(np.float32).astype(kind), flat.astype(kind)
    gap2[kind] = ((x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T).astype(np.float64)
logs = [log_softmax(-gap / (2 * 0.002**2), axis=1) for gap in gap2.values()]
error = float(np.abs(logs[0] - logs[1]).max())
print(f"largest error of a log-weight in float32 at sigma = 0.002: {error:.3g} nats")

# %% [markdown]
# ## What must hold
#
# $W_\sigma$ never rises with $\sigma$ (the intervals allow for chance) and never falls below its
# floor. It starts at 1 where no training image stands twice. How near it comes to its floor depends
# on the largest noise level, and is said.

# %%
figures.claim("W never rises with sigma", np.all(weight.mean[1:] <= weight.high[:-1]))
figures.claim("W is at least 1/N", np.all(weight.mean >= 1 / n_train - 1e-12))
single = len(np.unique(flat, axis=0)) == n_train
figures.claim("W starts at 1", weight.mean[0] > 0.99, must=single and sigma_min <= 0.01)
figures.claim("W ends near its floor: below 10/N", weight.mean[-1] < 10 / n_train, must=False)
ends = [Estimate(weight.mean[i], weight.low[i], weight.high[i]) for i in (0, -1)]
mean = data.train.mean(0)
radius = np.sqrt(((data.train - mean) ** 2).sum((1, 2, 3)).mean())
figures.record(
    dataset=data.name,
    n_train=str(n_train),
    dimension=str(clean.size),
    sigma_half=f"{half:.3g}",
    first=ends[0].percent,
    last=ends[1].percent,
    sigma_first=f"{sigmas[0]:.3g}",
    sigma_last=f"{sigmas[-1]:.3g}",
    floor=percent(1 / n_train),
    single_precision=f"{error:.0f}",
    mean_distance=f"{np.linalg.norm(denoised[-1] - mean) / radius:.0%}",
    largest_level=f"{levels[-1]:g}",
    first_weight=f"{largest[0]:.3g}",
    last_weight=f"{largest[-1]:.3g}",
)
