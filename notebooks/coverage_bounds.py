# ---
# jupyter: {kernelspec: {display_name: Python 3, language: python, name: python3}}
# ---

# %% [markdown]
# # Notebook: bounds on the coverage
#
# The paper claims that coverage is decided by the nearest training image (Theorem 4.8, its Fig. 6):
# the lower bound that uses no other nearly coincides with the measured $C_\sigma$. The chapter is
# [](../book/theorem_4_8.md).
#
# ```{outcome} coverage_bounds
# ```

# %% tags=["parameters"]
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 1000  # training images N, in [2, 1e6]
n_heldout: int = 500  # held-out images, in [2, 1e6]
c: float = 5.0  # shell parameter of Lemma 4.5, in [0.001, 1000]
draws: int = 8  # noise draws per held-out image, in [1, 1000]
n_sigmas: int = 25  # noise levels, evenly spaced in log sigma, in [5, 1000]
sigma_min: float = 0.05  # smallest noise level, data units, in [1e-6, 1e6], below sigma_max
sigma_max: float = 20.0  # largest noise level, data units, in [1e-6, 1e6]
data_seed: int = -1  # seed of the random subset, -1 for the set's own order, in [-1, 1e12]
seed: int = 0  # seed of the noise and of the Gaussian clouds, in [0, 1e12]
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np

import geomem
from geomem import companion
from geomem.plots import STYLE, drawing

plt.style.use(STYLE)
data_seed = None if data_seed < 0 else data_seed
data = geomem.load_dataset(dataset, n_train=n_train, n_heldout=n_heldout, seed=data_seed)
d = data.train[0].size
sigmas = np.geomspace(sigma_min, sigma_max, n_sigmas)

# %% [markdown]
# ## How far a shell reaches
#
# $\Phi_{d,c}(r)$ is the probability that noise around a point lands in the shell of another
# one, $r$ noise levels away. It falls from the mass of the shell to 0, between two envelopes that
# need no special function. The transition is at $r^2 = 2\sqrt{cd} + 2c$.

# %%
transition = 1 / float(geomem.coverage_sigma(1.0, d, c))
r = np.linspace(0, 2.5 * transition, 400)
phi = geomem.shell_mass(r, d, c)
lower, upper = geomem.shell_mass_envelopes(r, d, c)
middle = float(geomem.shell_mass(transition, d, c))

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(4.8, 3.4))
curves = {"upper envelope": upper, "Phi": phi, "lower envelope": lower}
names = ("upper envelope", r"$\Phi_{d,c}(r)$, exact", "lower envelope")
looks = ("C1--", "C0-", "C2-.")
for name, values, look in zip(names, curves.values(), looks, strict=True):
    ax.plot(r, values, look, label=name)
ax.axvline(transition, color="0.4", lw=1, ls=":")
ax.plot(transition, middle, "ko", ms=5)
text = rf"$d_{{\mathrm{{1NN}}}}/\sigma_{{\mathrm{{cov}}}} = {transition:.2f}$"
place = dict(xytext=(1.5 * transition, 0.44), va="center")
ax.annotate(text, (transition, middle), arrowprops=dict(arrowstyle="-", lw=0.8, shrinkB=4), **place)
ax.set(xlim=(0, r[-1]), ylim=(-0.03, 1.03), ylabel="probability of the shell")
ax.set_xlabel(r"distance over noise level, $r = \rho/\sigma$")
ax.legend(loc="upper right", bbox_to_anchor=(1, 0.95))
table = {
    f"{name} [probability]": curves[name] for name in ("Phi", "lower envelope", "upper envelope")
}
companion.figure(fig, "fig-shell-mass", {"distance over noise level [1]": r, **table})

# %% [markdown]
# ## Coverage between its bounds
#
# The bounds need distances only, no noise; the measured curve simulates the noise.

# %%
same = dict(c=c, device=device)
coverage = geomem.shell_coverage(data.heldout, data.train, sigmas, draws=draws, seed=seed, **same)
bounds = geomem.coverage_bounds(data.heldout, data.train, sigmas, **same)
nearest = geomem.nearest_distances(data.heldout, data.train, device=device)[:, 0]
reach = geomem.coverage_sigma(nearest, d, c)
sigma_cov, early, late = np.quantile(reach, [0.5, 0.05, 0.95])

# %%
gap = coverage.mean - bounds.lower_nearest
widest = int(gap.argmax())
largest = coverage.estimate(widest) - bounds.lower_nearest[widest]
companion.Table({"largest gap to the lower bound": [largest], "at sigma": [sigmas[widest]]})

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(4.8, 3.4))
ax.axvspan(early, late, color="0.93", lw=0)
ax.axvline(sigma_cov, color="0.4", lw=1, ls=":", label=r"$\sigma_{\mathrm{cov}}$, median and 90%")
ax.plot(sigmas, bounds.upper_nearest, ":", color="C3", label=r"$N\,\Phi$ of the nearest")
ax.plot(sigmas, bounds.upper_sum, "--", color="C1", label="sum over all shells")
coverage.plot(ax, r"measured $C_\sigma$", color="C0", ls="-", marker="o", ms=4)
ax.plot(sigmas, bounds.lower_nearest, "kx-.", ms=5, label=r"$\Phi$ of the nearest (paper)")
drawing.sigma_axis(ax)
ax.set_ylabel(r"coverage $C_\sigma$ and its bounds")
ax.legend(loc="lower right", bbox_to_anchor=(1, 0.1), fontsize=9)
table = {"sigma [data units]": sigmas, **coverage.table("C_sigma", "probability")}
table["lower bound, nearest [probability]"] = bounds.lower_nearest
table["upper bound, sum [probability]"] = bounds.upper_sum
table["upper bound, N times nearest [probability]"] = bounds.upper_nearest
companion.figure(fig, "fig-coverage-bounds", table, data=[data])

# %% [markdown]
# ## Two cases of their own
#
# In low dimension the shells are wide and many at once are in reach: 50 Gaussian points in 16
# dimensions with $c = 1$, at $\sigma = 1$. And two training points at $-1$ and $1$ on the first
# axis, the held-out image at the origin: both shells are equally far away, so all bounds are one
# number and its double.

# %%
rng = np.random.default_rng(seed)
few, many = rng.standard_normal((50, 16)), rng.standard_normal((2000, 16))
axis, at = np.eye(1, d), float(geomem.coverage_sigma(1.0, d, c))
pair = np.concatenate([-axis, axis])
cases = [(many, few, 1.0, 1.0, 8), (0 * axis, pair, at, c, 4000)]
rows = []
for heldout, train, sigma, shell, times in cases:
    seen = geomem.shell_coverage(heldout, train, [sigma], c=shell, draws=times, seed=seed)
    ends = geomem.coverage_bounds(heldout, train, [sigma], c=shell)
    rows.append((ends.lower_nearest[0], seen.mean[0], ends.upper_sum[0]))
columns = dict(zip(("nearest", "coverage", "sum"), zip(*rows, strict=True), strict=True))
companion.Table({"case": ["d = 16", "two points"], **columns}, digits=2)

# %% [markdown]
# ## What must hold
#
# The bounds enclose the measured curve, up to the noise of the measurement. That the lower bound
# nearly coincides with the curve is the paper's word for its data; in lower dimension it need not.

# %%
slack = 4 * np.sqrt(0.25 / (n_heldout * draws))
says = "the paper's lower bound is below the measured coverage"
companion.claim("lower-bound", says, np.all(gap >= -slack))
below = np.all(coverage.mean <= bounds.upper_sum + slack)
companion.claim("upper-bound", "the sum over all shells is above it", below)
near = gap.max() < 0.05
companion.claim("coincides", "and nearly coincides: within 0.05 everywhere", near, must=False)

# %% tags=["remove-cell"]
useful = sigmas[bounds.upper_sum < 0.9]
companion.quote(dataset=data.name, dimension=str(d), transition=f"{transition:.2f}")
companion.quote(middle=f"{middle:.3f}", mass=f"{phi[0]:.4f}", nearest=f"{np.median(nearest):.3g}")
companion.quote(gap=f"{largest:.3f}", gap_sigma=f"{sigmas[widest]:.2g}", two_sigma=f"{at:.3f}")
companion.quote(sum_useful=f"{useful.max():.2g}" if len(useful) else "none")
edges = {"sigma_cov": sigma_cov, "sigma_cov_early": early, "sigma_cov_late": late}
companion.quote(**{name: f"{edge:.3g}" for name, edge in edges.items()})
for case, row in zip(("low_d", "two"), rows, strict=True):
    numbers = zip(("nearest", "coverage", "sum"), row, strict=True)
    companion.quote(**{f"{case}_{name}": f"{number:.2f}" for name, number in numbers})
