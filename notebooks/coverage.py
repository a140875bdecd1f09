# ---
# jupyter: {kernelspec: {display_name: Python 3, language: python, name: python3}}
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
n_train: int = 1000  # training images N, in [2, 1e6]
n_heldout: int = 500  # held-out images, in [2, 1e6]
c: float = 5.0  # shell parameter of Lemma 4.5, in [0.001, 1000]
draws: int = 8  # noise draws per held-out image, in [1, 1000]
n_sigmas: int = 25  # noise levels, evenly spaced in log sigma, in [5, 1000]
sigma_min: float = 0.01  # smallest noise level, data units, in [1e-6, 1e6], below sigma_max
sigma_max: float = 100.0  # largest noise level, data units, in [1e-6, 1e6]
trials: int = 200  # trials of the E.2 study: fresh subset, one held-out image, in [2, 1e6]
corruptions: int = 10  # noise draws per trial of the E.2 study, in [1, 1000]
data_seed: int = -1  # seed of the random subset, -1 for the set's own order, in [-1, 1e12]
seed: int = 0  # seed of the noise and of the E.2 subsets, in [0, 1e12]
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import chi

import geomem
from geomem import companion
from geomem.data.named import LOADERS
from geomem.geometry.coverage import coverage_study
from geomem.plots import STYLE, drawing

plt.style.use(STYLE)
data_seed = None if data_seed < 0 else data_seed
data = geomem.load_dataset(dataset, n_train=n_train, n_heldout=n_heldout, seed=data_seed)
d = data.train[0].size
sigmas = np.geomspace(sigma_min, sigma_max, n_sigmas)

# %% [markdown]
# ## Where noise lies
#
# The norm of a standard normal vector of $\mathbb{R}^d$ concentrates near $\sqrt d$. The shell
# keeps what Lemma 4.5 promises, at least $1 - 2e^{-c}$, and in fact more.

# %%
r_in, r_out = geomem.shell_radii(d, c)
mass, promised = float(geomem.shell_mass(0.0, d, c)), 1 - 2 * np.exp(-c)
norms = np.linalg.norm(np.random.default_rng(seed).standard_normal((4000, d)), axis=1)
seen = np.mean((norms >= r_in) & (norms <= r_out))
companion.Table({"promised": [promised], "exact": [mass], "seen": [seen]}, digits=4)

# %% tags=["hide-input"]
fig, ax = plt.subplots()
radius = np.linspace(max(0, 2 * r_in - np.sqrt(d)), 2 * r_out - np.sqrt(d), 300)
density = chi.pdf(radius, d)
counts, edges, _ = ax.hist(norms, 40, density=True, color="0.75", label="4,000 noise vectors")
ax.plot(radius, density, label="chi density")
ax.axvspan(r_in, r_out, color="C2", alpha=0.15, lw=0, label="shell of Lemma 4.5")
ax.set(xlim=radius[[0, -1]], ylim=(0, 1.5 * density.max()), ylabel="density")
ax.set_xlabel(r"norm of the noise, $\|Z\|$ (units of $\sigma$)")
ax.legend(loc="upper left")
table = {"norm [units of sigma]": radius, "chi density [1/sigma]": density}
bins = {"bin of the histogram, left end [units of sigma]": edges, "its height [1/sigma]": counts}
companion.figure(fig, "fig-noise-shell", drawing.filled_up(table | bins))

# %% [markdown]
# ## Coverage
#
# First for the fixed training subset: every held-out image, with the same noise draws at every
# level. Then as the paper's appendix E.2 does it: each trial takes a fresh random training
# subset, one held-out image and a few corruptions, so the band includes the choice of subset.

# %%
same = dict(c=c, seed=seed, device=device)
coverage = geomem.shell_coverage(data.heldout, data.train, sigmas, draws=draws, **same)
pool = geomem.load_dataset(dataset, n_heldout=n_heldout, seed=data_seed)
fresh = min(n_train, len(pool.train) * 3 // 4)
size = dict(size=fresh, trials=trials, draws=corruptions)
study = coverage_study(pool.heldout, pool.train, sigmas, **size, **same)

# %% tags=["hide-input"]
fig, ax = plt.subplots()
coverage.plot(ax, "fixed subset", marker="o", ms=3.5)
study.plot(ax, "fresh subsets (E.2)", marker="s", ms=3.5)
ax.axhline(mass, color="0.4", lw=1, ls=":", label=f"mass of one shell, {mass:.4f}")
drawing.sigma_axis(ax)
ax.set_ylabel(r"coverage $C_\sigma$")
ax.legend(loc="center right")
table = {"sigma [data units]": sigmas}
table |= coverage.table("C_sigma, fixed subset", "probability")
table |= study.table("C_sigma, fresh subsets", "probability")
companion.figure(fig, "fig-shell-coverage", table, data=[data])

# %% [markdown]
# ## What must hold
#
# The shell holds what the lemma promises. At large noise coverage is the mass of a single shell; at
# small noise nothing is covered, where no held-out image is a copy. The E.2 study tells the same
# story as the fixed subset: the intervals of both meet.

# %%
margin = 4 * np.sqrt(mass * (1 - mass) / len(norms)) + 1 / len(norms)
near = abs(seen - mass) <= margin
companion.claim("shell-mass", "the simulated mass of the shell is the exact one", near)
companion.claim("shell-lemma", "it is at least what the lemma promises", mass >= promised)

# %%
nearest = geomem.nearest_distances(data.heldout, data.train)
must = dataset in LOADERS and nearest.min() > 0 and sigma_min <= 0.01
low = coverage.mean[0] < 0.01
companion.claim("coverage-small", "at small noise nothing is covered", low, must=must)
one = coverage.low[-1] - 0.01 <= mass <= coverage.high[-1] + 0.01
says = "at large noise coverage is the mass of one shell"
companion.claim("coverage-large", says, one, must=sigma_max >= 100)

# %%
meet = (study.low <= coverage.high + 0.02) & (coverage.low <= study.high + 0.02)
says, must = "the intervals of both meet at nine levels in ten", dataset in LOADERS and c >= 1
companion.claim("coverage-subsets", says, meet.mean() >= 0.9, must=must)

# %% tags=["remove-cell"]
companion.quote(dataset=data.name, dimension=str(d), around=f"{np.sqrt(d):.3g}")
companion.quote(r_in=f"{r_in:.2f}", r_out=f"{r_out:.2f}", nearest=f"{np.median(nearest):.3g}")
companion.quote(promised=f"{promised:.4f}", mass=f"{mass:.4f}", seen=f"{seen:.4f}")
companion.quote(first=coverage.estimate(0).percent, last=coverage.estimate(-1).percent)
companion.quote(sigma_half=f"{coverage.passes(0.5):.3g}", n_seen=f"{len(norms):,}")
companion.quote(fresh=f"{fresh:,}", pool=f"{len(pool.train):,}")
