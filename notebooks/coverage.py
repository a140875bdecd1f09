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
import numpy as np

import geomem
from geomem import companion
from geomem.data.named import LOADERS
from geomem.geometry import intervals
from geomem.geometry.coverage import coverage_study
from geomem.geometry.difference import Difference
from geomem.geometry.noise_shell import NoiseShell
from geomem.plots import drawing, shells

data = geomem.load_dataset(dataset, n_train=n_train, n_heldout=n_heldout, seed=data_seed)
sigmas = np.geomspace(sigma_min, sigma_max, n_sigmas)

# %% [markdown]
# ## Where noise lies
#
# The norm of a standard normal vector of $\mathbb{R}^d$ concentrates near $\sqrt d$. The shell
# keeps what Lemma 4.5 promises, at least $1 - 2e^{-c}$, and in fact more.

# %%
shell = NoiseShell.of(data.train[0].size, c, seed=seed)
shares = {"promised": [shell.promised], "exact": [shell.mass], "seen": [shell.seen]}
companion.figure(shells.noise_shell(shell), "fig-noise-shell")
companion.Table(shares, digits=4)

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
curves = {"fixed subset": coverage, "fresh subsets": study}
look = dict(name="C_sigma", across={f"mass of one shell, {shell.mass:.4f}": shell.mass})
looks = [drawing.SERIES["C_sigma"], ("0.45", "s", "--")]
label, less = r"coverage $C_\sigma$", ("fresh less\nfixed", Difference.of(study, coverage))
fig, table = drawing.noise_curves(curves, label, looks, difference=less, **look)
table |= less[1].table("fresh less fixed", "probability")
companion.figure(fig, "fig-shell-coverage", table, data=[data])

# %% [markdown]
# ## What must hold
#
# The shell holds what the lemma promises. At large noise coverage is the mass of a single shell; at
# small noise nothing is covered, where no held-out image is a copy. The E.2 study tells the same
# story as the fixed subset: the intervals of both meet.

# %%
claim, own = companion.claim, dataset in LOADERS
claim("shell-mass", "the simulated mass of the shell is the exact one", shell.as_exact)
claim("shell-lemma", "it is at least what the lemma promises", shell.mass >= shell.promised)
nearest = geomem.nearest_distances(data.heldout, data.train)
must = own and nearest.min() > 0 and sigma_min <= 0.01
# Of a grid that begins later, or ends earlier, neither is known.
none = intervals.decided(coverage.mean[0] < 0.01, coverage.low[0] >= 0.01)
none = none if sigma_min <= 0.01 else None
claim("coverage-small", "at small noise nothing is covered", none, must=must)
one = coverage.low[-1] - 0.01 <= shell.mass <= coverage.high[-1] + 0.01
says = "at large noise coverage is the mass of one shell"
claim("coverage-large", says, one if sigma_max >= 100 else None, must=sigma_max >= 100)
meet = (study.low <= coverage.high + 0.02) & (coverage.low <= study.high + 0.02)
says = "the intervals of both meet at nine levels in ten"
claim("coverage-subsets", says, meet.mean() >= 0.9, must=own and c >= 1)

# %% tags=["remove-cell"]
companion.quote(dataset=data.name, **shell.in_words, nearest=np.median(nearest))
companion.quote(first=coverage.estimate(0).percent, last=coverage.estimate(-1).percent)
companion.quote(sigma_half=coverage.passes(0.5), fresh=fresh, pool=len(pool.train))
