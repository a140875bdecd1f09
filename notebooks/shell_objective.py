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
# # Notebook: the shell-only objective
#
# The paper claims that while the shells around the training images are disjoint, a denoiser that is
# trained on them alone can do anything elsewhere (Theorem 4.9). We add that two such denoisers
# disagree on a noisy new image with probability up to $1 - C_\sigma$. The chapter is
# [](../book/theorem_4_9.md).
#
# ```{outcome} shell_objective
# ```

# %% tags=["parameters"]
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 1000  # training images N, in [2, inf)
n_heldout: int = 500  # held-out images, in [2, inf)
c: float = 5.0  # shell parameter of Lemma 4.5, in (0, inf)
plane_c: float = 0.05  # shell parameter of the two-dimensional pictures, in (0, 0.5)
draws: int = 4  # noise draws per image, in [1, inf)
n_sigmas: int = 25  # noise levels, evenly spaced in log sigma, in [5, inf)
sigma_min: float = 0.01  # smallest noise level, data units, in (0, inf)
sigma_max: float = 100.0  # largest noise level, data units, in (0, inf)
data_seed: int = -1  # seed of the random subset, -1 for the set's own order, in [-1, inf)
seed: int = 0  # seed of the noise, in [0, inf)
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Annulus

import geomem
from geomem.companion import figures
from geomem.plots import STYLE, drawing
from geomem.geometry.intervals import Estimate
from geomem.geometry.shell_objective import disagreement, disjoint_sigma, shell_minimizer

plt.style.use(STYLE)
subset = dict(seed=None if data_seed < 0 else data_seed)
data = geomem.load_dataset(dataset, n_train=n_train, n_heldout=n_heldout, **subset)
d = data.train[0].size
sigmas = np.geomspace(sigma_min, sigma_max, n_sigmas)
print(f"{data.name}: N = {n_train}, d = {d}, {n_heldout} held-out images, c = {c}")

# %% [markdown]
# ## Shells in the plane
#
# In two dimensions a shell that holds nearly all the noise is no shell but a disc. To see rings
# we take a small $c$: they are thin, and they hold only a part of the noise. In the dimension of
# images shells are both thin and nearly full.

# %%
points = np.array([[-1.9, 0.9], [-0.3, 1.5], [1.7, 1.1], [0.9, -1.2], [-1.2, -1.1]])
r_in, r_out = geomem.shell_radii(2, plane_c)
ring_mass = float(geomem.shell_mass(0.0, 2, plane_c))
touch = disjoint_sigma(points, plane_c)
scales = np.array([0.6, 1.0, 1.8])
print(f"rings from {r_in:.2f} to {r_out:.2f} sigma hold {ring_mass:.0%} of the noise")
print(f"the rings of the closest pair touch at sigma = {touch:.3g}")

# %% tags=["hide-input", "remove-output"]
fig, axes = plt.subplots(1, 3, figsize=(4.8, 2.1))
for ax, scale in zip(axes, scales, strict=True):
    level = scale * touch
    for point in points:
        ring = (level * r_out, level * (r_out - r_in))
        ax.add_patch(Annulus(point, *ring, fc="k", alpha=0.25, lw=0))
        ax.add_patch(Annulus(point, *ring, fc="none", ec="k", lw=0.7))
    ax.plot(*points.T, "k.", ms=5)
    ax.set(xlim=(-4, 4), ylim=(-4, 4), aspect="equal", xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
    ax.grid(False)
    ax.set_title(rf"$\sigma = {level:.2g}$")
for ax, name in zip(axes, ("disjoint", "the first touch", "overlapping"), strict=True):
    ax.set_xlabel(name)
figures.save(
    fig,
    "fig-shells-plane",
    title="Shells in the plane, from disjoint to overlapping",
    caption=(
        rf"The shells of {len(points)} points of the plane at three noise levels, $c = "
        rf"{plane_c:g}$. Below $\sigma = \delta / (2 r_{{\mathrm{{out}}}}) = {touch:.3g}$ all are "
        rf"disjoint, there the closest pair touches, above it they overlap (darker). The small $c$ "
        rf"makes them thin enough to see; they hold {100 * ring_mass:.0f}% of the noise only."
    ),
    alt=(
        "Five points with a grey ring around each, three times: small separate rings, rings of "
        "which two touch, and large rings that cross each other in many places."
    ),
    table={
        "sigma [data units]": scales * touch,
        "inner radius [data units]": scales * touch * r_in,
        "outer radius [data units]": scales * touch * r_out,
    },
    paper_item="Theorem 4.9; Equation 6",
    claim="reconstruction",
)

# %% [markdown]
# ```{companion-figure} fig-shells-plane
# :again:
# ```

# %% [markdown]
# ## Two minimizers
#
# Both send every shell to its point, so both lose nothing on the shells. One is the empirical
# denoiser elsewhere and pulls everything to training points; the other leaves everything where
# it is.

# %%
plane_sigma = 0.95 * touch
pull = partial(geomem.empirical_denoiser, train=points, sigma=plane_sigma, device="cpu")
memorizer = shell_minimizer(points, plane_sigma, pull, plane_c, device="cpu")
bystander = shell_minimizer(points, plane_sigma, np.copy, plane_c, device="cpu")

noise = np.random.default_rng(seed).standard_normal((2000, *points.shape))
norms = np.linalg.norm(noise, axis=2)
own = (r_in <= norms) & (norms <= r_out)
noisy = (points + plane_sigma * noise).reshape(-1, 2)
target = np.tile(points, (2000, 1))
own_losses = [
    float(np.mean(((m(noisy) - target) ** 2).sum(1) * own.ravel())) for m in (memorizer, bystander)
]
whole_losses = [float(np.mean(((m(noisy) - target) ** 2).sum(1))) for m in (memorizer, bystander)]
print(f"own-shell losses {own_losses}, whole losses {np.round(whole_losses, 3)}")

# %% tags=["hide-input", "remove-output"]
side = np.linspace(-3.05, 3.05, 17)
grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
fig, axes = plt.subplots(1, 2, figsize=(4.8, 2.95))
fields = [m(grid) - grid for m in (memorizer, bystander)]
for ax, field, name in zip(axes, fields, ("pulls to the points", "leaves alone"), strict=True):
    for point in points:
        size = (plane_sigma * r_out, plane_sigma * (r_out - r_in))
        ax.add_patch(Annulus(point, *size, fc="0.82", ec="0.6", lw=0.6))
    length = np.linalg.norm(field, axis=1)
    moved = length > 0
    arrows = field[moved] * np.minimum(1, 0.42 / length[moved])[:, None]
    ax.quiver(*grid[moved].T, *arrows.T, angles="xy", scale_units="xy", scale=1, width=0.008)
    ax.plot(*grid[~moved].T, "k.", ms=1.2)
    ax.plot(*points.T, "o", color="C1", ms=4.5, mec="k", mew=0.6, zorder=3)
    ax.set(xlim=(-3.3, 3.3), ylim=(-3.3, 3.3), aspect="equal", xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
    ax.grid(False)
    ax.set_title(f"off the shells:\n{name}")
figures.save(
    fig,
    "fig-two-minimizers",
    title="Two minimizers of the shell-only objective",
    caption=(
        rf"Two denoisers as fields of arrows along $m(y) - y$ (shortened), at "
        rf"$\sigma = {plane_sigma:.3g}$, where the shells (grey rings, $c = {plane_c:g}$) are "
        rf"disjoint. On every ring both answer its point (circle), so both have a shell-only loss "
        rf"of 0. Elsewhere the left one is the empirical denoiser, the right one leaves its input "
        rf"alone (dots)."
    ),
    alt=(
        "Two fields of arrows over the same five grey rings. On the rings the arrows of both point "
        "to the ring's centre; elsewhere the left field points to the nearest centre and the right "
        "one has dots instead of arrows."
    ),
    table={
        "y_1 [data units]": grid[:, 0],
        "y_2 [data units]": grid[:, 1],
        "m_1 - y_1, pulls [data units]": fields[0][:, 0],
        "m_2 - y_2, pulls [data units]": fields[0][:, 1],
        "m_1 - y_1, leaves alone [data units]": fields[1][:, 0],
        "m_2 - y_2, leaves alone [data units]": fields[1][:, 1],
    },
    paper_item="Theorem 4.9",
    claim="paper",
)

# %% [markdown]
# ```{companion-figure} fig-two-minimizers
# :again:
# ```

# %% [markdown]
# ## How often they disagree on new images
#
# The same on images: one minimizer leaves its input alone off the shells, the other answers the
# mid-grey image. Disagreement and coverage are measured with noise of their own.

# %%
threshold = disjoint_sigma(data.train, c, device=device)
alone = shell_minimizer(data.train, sigma_min, np.copy, c, device=device)
grey = shell_minimizer(data.train, sigma_min, np.zeros_like, c, device=device)
apart = disagreement(alone, grey, data.heldout, sigmas, draws=draws, seed=seed)
measure = partial(
    geomem.shell_coverage, data.heldout, data.train, sigmas, c=c, draws=draws, device=device
)
coverage, same_noise = measure(seed=seed + 1), measure(seed=seed)
at_threshold = geomem.shell_coverage(
    data.heldout, data.train, [threshold], c=c, draws=draws, seed=seed, device=device
)
half = float(np.exp(np.interp(-0.5, -apart.mean, np.log(sigmas))))
print(f"disjoint shells below sigma = {threshold:.3g}, coverage there {at_threshold.mean[0]:.3g}")
print(f"disagreement falls through 1/2 at sigma = {half:.3g}")

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots(figsize=(4.8, 3.4))
apart.plot(ax, "two minimizers disagree", ls="none", marker="o", ms=4.5, mfc="w")
ax.plot(sigmas, 1 - coverage.mean, "k-", lw=1.4, label=r"$1 - C_\sigma$", zorder=1)
ax.axvline(threshold, color="0.35", ls=":", lw=1.2)
ax.text(threshold * 0.85, 0.4, "shells\ndisjoint", ha="right", va="center", fontsize=9.5)
drawing.sigma_axis(ax)
ax.set_ylabel("probability")
ax.legend(loc="upper right")
figures.save(
    fig,
    "fig-minimizer-disagreement",
    title="How often two minimizers disagree on new images",
    caption=(
        rf"Two minimizers of the shell-only objective on {data.name} ($N = {n_train}$, $c = "
        rf"{c:g}$): how often they differ at a noisy held-out image (circles; {n_heldout} images, "
        rf"{draws} draws, 95% interval), and $1 - C_\sigma$ measured with other noise (line). "
        rf"Left of the dotted line, $\sigma = {threshold:.3g}$, all shells are disjoint."
    ),
    alt=(
        f"Probability against noise level: circles on a line that is 1 at small noise, falls "
        f"through one half at sigma {half:.2g} and is nearly 0 at large noise. The shells are "
        f"disjoint only left of {threshold:.2g}, where the two always disagree."
    ),
    table={
        "sigma [data units]": sigmas,
        "disagreement [probability]": apart.mean,
        "low [probability, 95% interval]": apart.low,
        "high [probability, 95% interval]": apart.high,
        "1 - C_sigma [probability]": 1 - coverage.mean,
    },
    paper_item="Theorem 4.9; Definition 4.6",
    claim="reconstruction",
    data=[data],
    seeds={"noise": seed, "noise of the coverage": seed + 1, "data": data_seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-minimizer-disagreement
# :again:
# ```

# %% [markdown]
# ## What must hold
#
# Both minimizers lose nothing on their own shells though their whole losses differ; with the same
# noise, disagreement is $1 - C_\sigma$ to the last image.

# %%
figures.claim("two minimizers lose nothing on the shells", own_losses == [0, 0])
figures.claim("they differ off the shells", whole_losses[0] < whole_losses[1])
gap = np.abs(apart.per_query - (1 - same_noise.per_query)).max()
print(f"with the same noise, disagreement and 1 - C differ by at most {gap:.1g} for any image")
assert gap < 1e-9
np.testing.assert_allclose(apart.mean, 1 - coverage.mean, atol=0.06)
differ = apart.mean[0] > 0.99 > 0.1 > apart.mean[-1]
figures.claim("on new images they differ at small noise only", differ)
ends = [Estimate(apart.mean[i], apart.low[i], apart.high[i]) for i in (0, -1)]
figures.record(
    dataset=data.name,
    n_train=str(n_train),
    dimension=str(d),
    delta=f"{2 * threshold * geomem.shell_radii(d, c)[1]:.3g}",
    r_out=f"{geomem.shell_radii(d, c)[1]:.2f}",
    threshold=f"{threshold:.3g}",
    coverage_at_threshold=f"{at_threshold.mean[0]:.2g}",
    sigma_half=f"{half:.3g}",
    missed=f"{1 - float(geomem.shell_mass(0.0, d, c)):.2g}",
    promised=f"{2 * np.exp(-c):.2g}",
    ring_mass=f"{100 * ring_mass:.0f}%",
    n_points=str(len(points)),
    differ_first=ends[0].percent,
    differ_last=ends[1].percent,
    sigma_first=f"{sigmas[0]:.3g}",
    sigma_last=f"{sigmas[-1]:.3g}",
    whole_memorizer=f"{whole_losses[0]:.3g}",
    whole_bystander=f"{whole_losses[1]:.3g}",
)
