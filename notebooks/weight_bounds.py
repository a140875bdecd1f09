# ---
# jupyter: {kernelspec: {display_name: Python 3, language: python, name: python3}}
# ---

# %% [markdown]
# # Notebook: bounds on the posterior weight
#
# The paper claims that distances between training images say at which noise levels the largest
# posterior weight is near 1, and at which it no longer is (Theorem 4.2). Here they bound
# $W_\sigma$ from both sides at every noise level, and with the dimension and the number of images
# they set the scale of the danger zone. The chapter is [](../book/theorem_4_2.md).
#
# ```{outcome} weight_bounds
# ```

# %% tags=["parameters"]
dataset: str = "digits"  # data set of the bounds, by name or path
n_train: int = 1000  # training images N, in [2, 1e6]
draws: int = 4  # noise draws per training image, in [1, 1000]
n_sigmas: int = 25  # noise levels, evenly spaced in log sigma, in [5, 1000]
sigma_min: float = 0.1  # smallest noise level of the bounds, in [1e-6, 1e6], below sigma_max
sigma_max: float = 50.0  # largest noise level of the bounds, data units, in [1e-6, 1e6]
delta: float = 0.05  # failure probability of part A, in (0, 0.5)
low: float = 0.6  # the weight is at most this at large noise, in (0, 1), below high
high: float = 0.95  # the weight is at least this at small noise, in (0.5, 1)
scale_dataset: str = "fashion-mini"  # data set of the scale picture, by name or path
scale_train: str = "60,125,250,500,1000"  # training set sizes N, at the images' own size
scale_sizes: str = "7,14,28"  # side lengths after down-sampling, at the largest N
scale_heldout: int = 500  # held-out images there, in [2, 1e6]
c: float = 5.0  # shell parameter of Lemma 4.5, in [0.001, 1000]
level: float = 0.8  # both curves at least this high: the danger zone, in (0, 1)
data_seed: int = -1  # seed of the random subset, -1 for the set's own order, in [-1, 1e12]
seed: int = 0  # seed of the noise, in [0, 1e12]
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np

import geomem
from geomem import companion
from geomem.geometry.posterior_bounds import weight_bounds, weight_thresholds
from geomem.geometry.regimes import DRAWS
from geomem.geometry.scale import scale_table, zone_scale
from geomem.plots import STYLE, drawing

plt.style.use(STYLE)
data_seed = None if data_seed < 0 else data_seed
data = geomem.load_dataset(dataset, n_train=n_train, n_heldout=1, seed=data_seed)
sigmas = np.geomspace(sigma_min, sigma_max, n_sigmas)

# %% [markdown]
# ## All the bounds over the measured curve

# %%
weight = geomem.max_posterior_weight(data.train, sigmas, draws=draws, seed=seed, device=device)
bounds = weight_bounds(data.train, sigmas, seed=seed)
sigma_lo, sigma_hi = weight_thresholds(data.train, delta=delta, low=low, high=high)
measured = [weight.estimate(i) for i in range(n_sigmas)]
shown = {"sigma": sigmas, "at least": bounds.lower, "measured": measured, "at most": bounds.upper}
companion.Table({heading: column[::3] for heading, column in shown.items()})

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(4.8, 4.6))
bounds.plot(ax)
weight.plot(ax, r"$W_\sigma$, measured", color="k", ls="-", lw=2.4, zorder=4)
for x, name in ((sigma_lo.mean(), "lo"), (sigma_hi.mean(), "hi")):
    ax.axvline(x, color="k", ls=(0, (1, 1)), lw=1.2)
    ax.text(x, 1.04, rf"$\bar\sigma_{{\mathrm{{{name}}}}}$ (A)", ha="center", va="bottom")
ax.set_xlim(sigmas[0], sigmas[-1])
drawing.sigma_axis(ax)
ax.set_ylabel(r"largest posterior weight $W_\sigma$")
fig.legend(loc="outside lower center", ncol=2)
table = {"sigma [data units]": sigmas, **weight.table("W_sigma", "probability"), **bounds.table()}
companion.figure(fig, "fig-weight-bounds", table, data=[data])

# %% [markdown]
# ## The scale of the danger zone
#
# Two lengths of the data set two noise levels. Coverage turns on near $\sigma_{\mathrm{cov}} =
# d_{\mathrm{1NN}} / \sqrt{2\sqrt{cd} + 2c}$, with the median distance from a held-out image to
# its nearest training image. The weight falls on the scale of $\sigma^* =
# R_{\mathrm{rms}} / \sqrt{2\log N}$, $R_{\mathrm{rms}}$ being the root mean square distance to the
# mean image: a scale, not a threshold.

# %%
counts, sizes = ([int(n) for n in text.split(",")] for text in (scale_train, scale_sizes))
choices = [(n, None) for n in counts] + [(max(counts), size) for size in sizes]
scales = []
for n, size in choices:
    options = dict(n_train=n, n_heldout=scale_heldout, size=size, seed=data_seed)
    some = geomem.load_dataset(scale_dataset, **options)
    same = dict(c=c, level=level, seed=seed, device=device)
    scales.append(companion.kept(zone_scale)(some.heldout, some.train, **same))

# %%
table = {"varied [name]": ["N"] * len(counts) + ["d"] * len(sizes), **scale_table(scales)}
starts, stops = (table[f"zone {what} [sigma, data units]"] for what in ("begins", "ends"))
covs, stars = table["sigma_cov [data units]"], table["sigma* [data units]"]

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(4.8, 4.3))
place = -np.arange(len(scales)) - 1.0 * (np.arange(len(scales)) >= len(counts))  # two groups
zone = starts < stops
ax.hlines(place[zone], starts[zone], stops[zone], color="0.75", lw=9, label="measured danger zone")
none = dict(color="0.75", lw=1.5, ls=":", label=None if zone.all() else "no zone")
ax.hlines(place[~zone], stops[~zone], starts[~zone], **none)
ax.plot(covs, place, "o", color="C0", ls="none", label=r"$\sigma_{\mathrm{cov}}$")
ax.plot(stars, place, "D", color="C1", ls="none", mfc="white", mew=1.6, label=r"$\sigma^*$")
names = [f"N = {one.n}" for one in scales[: len(counts)]]
ax.set_yticks(place, names + [f"d = {one.d}" for one in scales[len(counts) :]])
drawing.sigma_axis(ax)
ax.set_ylim(place[-1] - 0.7, 0.7)
fig.legend(loc="outside lower center", ncol=2)
companion.figure(fig, "fig-danger-scale", table, data=[some])

# %% [markdown]
# ## How tight the bounds are
#
# The noise level up to which the bounds promise a weight, beside that up to which it was measured,
# and the same for a small weight at large noise; on a finer grid where the bound passes.


# %%
def promised(side, value):
    last = int(np.flatnonzero(getattr(bounds, side) >= value)[-1])
    fine = np.geomspace(sigmas[last], sigmas[min(last + 1, n_sigmas - 1)], 9)
    again = getattr(weight_bounds(data.train, fine, seed=seed), side)
    return geomem.Curve.from_table(fine, again).passes(value)


small = weight.passes(high), promised("lower", high)
large = weight.passes(0.05), promised("upper", 0.05)
columns = dict(zip(("measured", "promised"), zip(small, large, strict=True), strict=True))
companion.Table({"W_sigma": [f"at least {high:g} up to", "at most 0.05 from"], **columns})

# %% [markdown]
# ## Two points, a distance 1 apart
#
# Everything has a formula there: $W_\sigma = F(1/2\sigma)$, and every sharp bound equals it.

# %%
two = np.array([[0.0], [1.0]])
pair = weight_bounds(two, [0.25, 0.5, 1.0], seed=seed)
pair_lo, pair_hi = (edge[0] for edge in weight_thresholds(two, delta=delta, low=low, high=high))
sharp = {name: getattr(pair, name) for name in ("lower_sum", "upper_call", "lower_simplex")}
companion.Table({"sigma": pair.sigma, **sharp}, digits=6)

# %% [markdown]
# ## What must hold
#
# No bound is on the wrong side of the measured interval, and the thresholds of part A are in order.
# On the data of Remark 4.3 their averages are compared with the paper's.

# %%
enclosed = (bounds.lower <= weight.high + 1e-3) & (bounds.upper >= weight.low - 1e-3)
says = "no bound of part B is on the wrong side of the curve"
companion.claim("bounds-enclose", says, np.all(enclosed))
ordered = np.all(sigma_lo < sigma_hi)
companion.claim("thresholds-ordered", "part A: each image has its thresholds in order", ordered)
if (dataset, n_train, delta, low, high) == ("cifar10", 1000, 0.05, 0.6, 0.95):
    off = max(abs(sigma_lo.mean() / 2.25 - 1), abs(sigma_hi.mean() / 22.54 - 1))
    companion.claim("remark-4-3", "both averages of Remark 4.3, within 3%", off < 0.03, must=False)

# %% tags=["remove-cell"]
widest = int(np.argmax(bounds.upper - bounds.lower))
ratios = {"cov_ratio": starts / covs, "star_ratio": stops / stars}
pairs = dict(zip(("two_quarter", "two_half", "two_one"), pair.lower_sum, strict=True))
pairs |= {"two_lo": pair_lo}
companion.quote(dataset=data.name, dimension=str(data.train[0].size), scale_d=str(scales[0].d))
companion.quote(sigma_lo=f"{sigma_lo.mean():.3g}", sigma_lo_all=f"{sigma_lo.min():.3g}")
companion.quote(sigma_hi=f"{sigma_hi.mean():.3g}", sigma_hi_all=f"{sigma_hi.max():.3g}")
companion.quote(width=f"{bounds.width:.2f} ± {bounds.width_error:.2f}")
companion.quote(radius=f"{bounds.radius:.2f}", widest_sigma=f"{sigmas[widest]:.2g}")
companion.quote(widest_low=f"{bounds.lower[widest]:.2f}", widest_high=f"{bounds.upper[widest]:.2f}")
companion.quote(widest_true=f"{weight.mean[widest]:.2f}", two_hi=f"{pair_hi:.2f}")
companion.quote(small_true=f"{small[0]:.3g}", small_promised=f"{small[1]:.3g}")
companion.quote(large_true=f"{large[0]:.3g}", large_promised=f"{large[1]:.3g}")
companion.quote(**{name: f"{x.min():.2f} to {x.max():.2f}" for name, x in ratios.items()})
companion.quote(scale_n=str(max(counts)), scale_draws=str(DRAWS), part_a=f"{1 - delta:g}")
companion.quote(**{name: f"{value:.3f}" for name, value in pairs.items()})
