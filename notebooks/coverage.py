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
# # Notebook: shells and coverage
#
# The paper claims that noise around a point lies in a thin shell (Lemma 4.5), and that the shells
# around the training images reach held-out noisy images only once the noise is large enough:
# $C_\sigma$ (Definition 4.6) rises from 0 to nearly 1. The chapter is [](../book/coverage.md).
#
# ```{outcome} coverage
# ```

# %% tags=["parameters"]
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 1000  # training images N, in [2, inf)
n_heldout: int = 500  # held-out images, in [2, inf)
c: float = 5.0  # shell parameter of Lemma 4.5, in (0, inf)
draws: int = 8  # noise draws per held-out image, in [1, inf)
n_sigmas: int = 25  # noise levels, evenly spaced in log sigma, in [5, inf)
sigma_min: float = 0.01  # smallest noise level, data units, in (0, inf)
sigma_max: float = 100.0  # largest noise level, data units, in (0, inf)
trials: int = 200  # trials of the E.2 study: fresh subset, one held-out image, in [2, inf)
corruptions: int = 10  # noise draws per trial of the E.2 study, in [1, inf)
data_seed: int = -1  # seed of the random subset, -1 for the set's own order, in [-1, inf)
seed: int = 0  # seed of the noise and of the E.2 subsets, in [0, inf)
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import chi

import geomem
from geomem.companion import figures
from geomem.plots import STYLE, drawing
from geomem.geometry.intervals import Estimate
from geomem.data.named import LOADERS

plt.style.use(STYLE)
subset = dict(seed=None if data_seed < 0 else data_seed)
data = geomem.load_dataset(dataset, n_train=n_train, n_heldout=n_heldout, **subset)
d = data.train[0].size
sigmas = np.geomspace(sigma_min, sigma_max, n_sigmas)
print(f"{data.name}: N = {n_train}, d = {d}, {n_heldout} held-out images, c = {c}")

# %% [markdown]
# ## Where noise lies
#
# The norm of a standard normal vector of $\mathbb{R}^d$ concentrates near $\sqrt d$. The shell
# keeps what Lemma 4.5 promises, at least $1 - 2e^{-c}$, and in fact more.

# %%
r_in, r_out = geomem.shell_radii(d, c)
mass, promised = float(geomem.shell_mass(0.0, d, c)), 1 - 2 * np.exp(-c)
norms = np.linalg.norm(np.random.default_rng(seed).standard_normal((4000, d)), axis=1)
inside = np.mean((norms >= r_in) & (norms <= r_out))
print(f"shell [{r_in:.4f}, {r_out:.4f}]")
print(f"promised {promised:.5f}, exact {mass:.5f}, seen {inside:.5f}")

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots()
radius = np.linspace(max(0, 2 * r_in - np.sqrt(d)), 2 * r_out - np.sqrt(d), 300)
density = chi.pdf(radius, d)
counts, edges, _ = ax.hist(norms, 40, density=True, color="0.75", label="4,000 noise vectors")
ax.plot(radius, density, label="chi density")
ax.axvspan(r_in, r_out, color="C2", alpha=0.15, lw=0, label="shell of Lemma 4.5")
ax.set(
    xlabel=r"norm of the noise, $\|Z\|$ (units of $\sigma$)", ylabel="density", xlim=radius[[0, -1]]
)
ax.set_ylim(0, 1.5 * density.max())
ax.legend(loc="upper left")
figures.save(
    fig,
    "fig-noise-shell",
    title="The norm of Gaussian noise and its shell",
    caption=(
        rf"The norm of standard normal noise in $d = {d}$ dimensions, and the shell of "
        rf"Lemma 4.5 with $c = {c:g}$, from {r_in:.2f} to {r_out:.2f}. The lemma promises a "
        rf"probability of {promised:.4f}; the exact one is {mass:.4f}."
    ),
    alt=(
        f"A narrow bell-shaped density of the norm of noise around {np.sqrt(d):.3g}, inside a "
        f"shaded band from {r_in:.3g} to {r_out:.3g} that holds nearly all of it."
    ),
    table={
        "norm [units of sigma]": radius,
        "chi density [1/sigma]": density,
        "bin of the histogram, left end [units of sigma]": np.append(edges, [np.nan] * 259),
        "its height [1/sigma]": np.append(counts, [np.nan] * 260),
    },
    paper_item="Lemma 4.5",
    claim="paper",
    seeds={"noise": seed},
)

# %% [markdown]
# ```{companion-figure} fig-noise-shell
# :again:
# ```

# %% [markdown]
# ## Coverage
#
# First for the fixed training subset: every held-out image, with the same noise draws at every
# level. Then as the paper's appendix E.2 does it: each trial takes a fresh random training
# subset, one held-out image and a few corruptions, so the band includes the choice of subset.

# %%
coverage = geomem.shell_coverage(
    data.heldout, data.train, sigmas, c=c, draws=draws, seed=seed, device=device
)
pool = geomem.load_dataset(dataset, n_heldout=n_heldout, **subset)
rng = np.random.default_rng(seed)
per_trial = []
for trial in range(trials):
    fresh = rng.choice(len(pool.train), min(n_train, len(pool.train) * 3 // 4), replace=False)
    query = pool.heldout[rng.integers(n_heldout)][None]
    curve = geomem.shell_coverage(
        query,
        pool.train[fresh],
        sigmas,
        c=c,
        draws=corruptions,
        seed=seed + 1 + trial,
        device=device,
    )
    per_trial.append(curve.per_query[0])
study = geomem.Curve.from_queries(sigmas, np.array(per_trial), indicator=True)
passes = coverage.mean[0] < 0.5 < coverage.mean.max()
half = float(np.exp(np.interp(0.5, coverage.mean, np.log(sigmas)))) if passes else np.nan
rise = f"passes 1/2 at $\\sigma = {half:.3g}$" if passes else "does not pass 1/2 on this grid"
nearest = geomem.nearest_distances(data.heldout, data.train, 1, device=device)[:, 0]
print(f"C rises through 1/2 at sigma = {half:.3g}; E.2 subsets of {len(fresh)} images")
print(
    f"distance of a held-out image to its nearest training image: median {np.median(nearest):.3g}"
)

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots()
coverage.plot(ax, "fixed subset", marker="o", ms=3.5)
study.plot(ax, "fresh subsets (E.2)", marker="s", ms=3.5)
ax.axhline(mass, color="0.4", lw=1, ls=":", label=f"mass of one shell, {mass:.4f}")
drawing.sigma_axis(ax)
ax.set_ylabel(r"coverage $C_\sigma$")
ax.legend(loc="center right")
figures.save(
    fig,
    "fig-shell-coverage",
    title="Shell coverage against noise level",
    caption=(
        rf"Coverage $C_\sigma$ on {data.name} ($N = {n_train}$, $c = {c:g}$): the probability that "
        rf"a noisy held-out image lies in the shell of some training image. Circles: one training "
        rf"subset, {n_heldout} held-out images, {draws} draws each. Squares: the procedure of "
        rf"appendix E.2, {trials} trials with fresh subsets of {len(fresh)} images and "
        rf"{corruptions} corruptions. Bands: 95% intervals, over images and over trials. It {rise}."
    ),
    alt=(
        f"Coverage against noise level on a logarithmic axis: from {coverage.mean[0]:.2g} at "
        f"sigma {sigmas[0]:.2g} up to {coverage.mean[-1]:.3g} at {sigmas[-1]:.3g}, one half at "
        f"sigma {half:.2g}; one curve for each of two procedures."
    ),
    table={
        "sigma [data units]": sigmas,
        "C_sigma, fixed subset [probability]": coverage.mean,
        "low, fixed subset [probability, 95% interval]": coverage.low,
        "high, fixed subset [probability, 95% interval]": coverage.high,
        "C_sigma, fresh subsets [probability]": study.mean,
        "low, fresh subsets [probability, 95% interval]": study.low,
        "high, fresh subsets [probability, 95% interval]": study.high,
    },
    paper_item="Definition 4.6; the study of appendix E.2",
    claim="paper",
    data=[data],
    seeds={"noise": seed, "subsets": seed, "data": data_seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-shell-coverage
# :again:
# ```

# %% [markdown]
# ## What must hold
#
# At large noise coverage is the mass of a single shell, which is at least what the lemma promises;
# at small noise nothing is covered, where no held-out image is a copy; and the E.2 study tells the
# same story as the fixed subset.

# %%
margin = 4 * np.sqrt(mass * (1 - mass) / len(norms)) + 1 / len(norms)
figures.claim("the simulated mass of the shell is the exact one", abs(inside - mass) <= margin)
figures.claim("it is at least what the lemma promises", mass >= promised)
figures.claim(
    "at large noise coverage is the mass of one shell",
    coverage.low[-1] - 0.01 <= mass <= coverage.high[-1] + 0.01,
    must=sigma_max >= 100,
)
figures.claim(
    "at small noise nothing is covered",
    coverage.mean[0] < 0.01,
    must=nearest.min() > 0 and sigma_min <= 0.01 and dataset in LOADERS,
)
overlap = (study.low <= coverage.high + 0.02) & (coverage.low <= study.high + 0.02)
print(f"the intervals of both procedures meet at {overlap.sum()} of {n_sigmas} noise levels")
figures.claim("at nine levels in ten", overlap.mean() >= 0.9, must=dataset in LOADERS and c >= 1)
ends = [Estimate(coverage.mean[i], coverage.low[i], coverage.high[i]) for i in (0, -1)]
figures.record(
    dataset=data.name,
    n_train=str(n_train),
    dimension=str(d),
    r_in=f"{r_in:.2f}",
    r_out=f"{r_out:.2f}",
    promised=f"{promised:.4f}",
    mass=f"{mass:.4f}",
    sigma_half=f"{half:.3g}",
    c=f"{c:g}",
    seen=f"{inside:.4f}",
    n_seen=f"{len(norms):,}",
    first=ends[0].percent,
    last=ends[1].percent,
    sigma_first=f"{sigmas[0]:.3g}",
    sigma_last=f"{sigmas[-1]:.3g}",
    nearest=f"{np.median(nearest):.3g}",
    fresh=f"{len(fresh):,}",
    pool=f"{len(pool.train):,}",
)
