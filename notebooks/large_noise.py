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
# # Notebook: large noise, where the denoiser is nearly Gaussian
#
# The paper claims that at large noise the empirical denoiser knows little more of the training set
# than its mean and covariance: it approaches the Gaussian denoiser (Theorem 4.11). We add the law:
# on noisy inputs the mean squared gap falls as $\|\kappa_3\|^2/2\sigma^4$. The chapter is
# [](../book/theorem_4_11.md).
#
# ```{outcome} large_noise
# ```

# %% tags=["parameters"]
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 1000  # training images N, in [2, inf)
draws: int = 4  # noise draws per training image, in [1, inf)
n_sigmas: int = 19  # noise levels, evenly spaced in log sigma, in [5, inf)
sigma_min: float = 0.3  # smallest noise level, data units, in (0, inf)
sigma_max: float = 300.0  # largest noise level, data units, in (0, inf)
image: int = 0  # held-out image that the strip shows, in [0, inf)
data_seed: int = -1  # seed of the random subset, -1 for the set's own order, in [-1, inf)
seed: int = 0  # seed of the noise, in [0, inf)
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np

import geomem
from geomem.companion import figures
from geomem.geometry import gaussian
from geomem.plots import STYLE, drawing

plt.style.use(STYLE)
data = geomem.load_dataset(
    dataset, n_train=n_train, n_heldout=image + 1, seed=None if data_seed < 0 else data_seed
)
sigmas = np.geomspace(sigma_min, sigma_max, n_sigmas)
flat = data.train.reshape(n_train, -1).astype(np.float64)
print(f"{data.name}: N = {n_train}, d = {flat.shape[1]}")

# %% [markdown]
# ## The gap and its law
#
# Each training image gets noise, and both denoisers answer. For contrast, the same for
# the symmetric cloud that holds each image and its reflection in the mean: its third
# cumulant is zero, and the gap falls faster, as $\|\kappa_4\|^2/6\sigma^6$. Neither law was
# fitted.

# %%
mirror = np.concatenate([flat, 2 * flat.mean(0) - flat])
gap = gaussian.linear_gap(flat, sigmas, draws=draws, seed=seed, device=device)
law = gaussian.linear_gap_law(flat, sigmas, device=device)
even = gaussian.linear_gap(mirror, sigmas, queries=flat, draws=draws, seed=seed, device=device)
even_law = gaussian.linear_gap_law(mirror, sigmas, order=4, device=device)
linear = gaussian.linear_mmse(flat, sigmas, device=device)
total = gaussian.linear_mmse(flat, [1e9], device=device)[0]
print("sigma, gap, gap / law, symmetric gap / law, gap / lmmse")
print(np.c_[sigmas, gap.mean, gap.mean / law, even.mean / even_law, gap.mean / linear].round(5))

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots(figsize=(4.8, 3.4))
for curve, name, marker, color, height in (
    (gap, "training set", "o", "C0", law),
    (even, "with mirror images", "s", "C1", even_law),
):
    ax.fill_between(sigmas, curve.low, curve.high, color=color, alpha=0.25, lw=0)
    ax.plot(sigmas, curve.mean, marker, color=color, ms=4.5, label=f"gap, {name}")
    power = r"$\|\kappa_3\|^2/2\sigma^4$" if height is law else r"$\|\kappa_4\|^2/6\sigma^6$"
    ax.plot(sigmas, height, color=color, ls="-" if height is law else "--", label=power)
drawing.sigma_axis(ax)
ax.set_yscale("log")
ax.set_ylim(even_law[-1] / 3, 100 * gap.mean.max())
ax.set_ylabel(r"$\mathbb{E}\,\|m_\sigma - m^G_\sigma\|^2$ (data units$^2$)")
ax.legend(loc="lower left")
figures.save(
    fig,
    "fig-linear-gap",
    title="The gap between the empirical and the Gaussian denoiser",
    caption=(
        rf"Mean squared distance between the empirical and the Gaussian denoiser on noisy training "
        rf"images of {data.name} ($N = {n_train}$, {draws} draws each; bands: 95% intervals over "
        rf"images). Circles: the training set, with its law $\|\kappa_3\|^2/2\sigma^4$. Squares: "
        rf"the training set with its mirror images through the mean, with "
        rf"$\|\kappa_4\|^2/6\sigma^6$. The lines are computed, not fitted."
    ),
    alt=(
        "Two falling series of points on logarithmic axes; at large noise each lies on its "
        "straight line, of slope minus four for the training set, minus six with mirror images."
    ),
    table={
        "sigma [data units]": sigmas,
        "gap [data units squared]": gap.mean,
        "low [data units squared, 95% interval]": gap.low,
        "high [data units squared, 95% interval]": gap.high,
        "law, kappa_3 [data units squared]": law,
        "gap with mirror images [data units squared]": even.mean,
        "low with mirror images [data units squared, 95% interval]": even.low,
        "high with mirror images [data units squared, 95% interval]": even.high,
        "law, kappa_4 [data units squared]": even_law,
    },
    paper_item="Theorem 4.11",
    claim="reconstruction",
    data=[data],
    seeds={"noise": seed, "data": data_seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-linear-gap
# :again:
# ```

# %% [markdown]
# ## The bound at one radius
#
# The theorem's bound holds for every input of a ball. Noisy images lie near the radius
# $\sqrt{\operatorname{tr}\Sigma + d\sigma^2}$; there it is compared with the root mean square gap.

# %%
radius = np.sqrt(total + flat.shape[1] * sigmas**2)
bound = gaussian.linear_gap_bound(flat, sigmas, radius, device=device)
loose = bound / np.sqrt(gap.mean)
rho = np.linalg.norm(flat - flat.mean(0), axis=1).max()
print(f"bound over root mean square gap: {loose.min():.3g} to {loose.max():.3g}")
telling = sigmas[bound < np.sqrt(total)]
print("bound below the spread of the data from sigma =", telling[0] if len(telling) else "nowhere")

# %% [markdown]
# ## One image at large noise
#
# A held-out image under one noise draw, scaled to each level, through both denoisers.

# %%
levels = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
clean = data.heldout[image]
noise = np.random.default_rng(seed).standard_normal(clean.shape)
noisy = clean + levels[:, None, None, None] * noise
empirical = geomem.empirical_denoiser(noisy, data.train, levels, device=device)
affine = gaussian.gaussian_denoiser(noisy, data.train, levels, device=device)
apart = np.linalg.norm((empirical - affine).reshape(len(levels), -1), axis=1)
for level, distance in zip(levels, apart, strict=True):
    print(f"sigma = {level:4.0f}   the answers are {distance:.3g} apart")

# %% tags=["hide-input", "remove-output"]
rows = [
    ("noisy", noisy / levels[:, None, None, None]),
    ("empirical", empirical),
    ("Gauss", affine),
]
fig = drawing.image_grid(rows, [f"{level:g}" for level in levels])
fig.supxlabel("noise level $\\sigma$ (data units)", fontsize=10.5)
figures.save(
    fig,
    "fig-large-noise-strip",
    title="One image at large noise through two denoisers",
    caption=(
        rf"A held-out image of {data.name} with noise of level $\sigma$ (top, divided by $\sigma$ "
        rf"to be seen), the empirical denoiser's answer (middle) and the Gaussian denoiser's "
        rf"(bottom). Distances between the two answers, left to right: "
        rf"{', '.join(f'{distance:.2g}' for distance in apart)}."
    ),
    alt=(
        "Three rows of six images: noise, the empirical denoiser's answers and the Gaussian "
        "ones, which differ at the left and look the same, near the mean image, at the right."
    ),
    table=drawing.pixel_table(levels, rows),
    paper_item="Theorem 4.11; Equations 2 and 7",
    claim="ours",
    data=[data],
    seeds={"noise": seed, "data": data_seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-large-noise-strip
# :again:
# ```

# %% [markdown]
# ## What must hold
#
# The bound is never below the gap; the gap never exceeds what a nonlinear denoiser can gain at
# all; and at the largest noise both laws are met, with a tenth allowed for the terms they leave
# out.

# %%
figures.claim("the bound is nowhere below the gap", np.all(bound >= np.sqrt(gap.mean)))
assert np.all(gap.low <= linear)
margin = np.maximum(0.1 * law, 2 * (gap.high - gap.mean))
even_margin = np.maximum(0.1 * even_law, 2 * (even.high - even.mean))
settled = sigmas**2 > 30 * flat.shape[1]  # the noise far larger than any image
lawful = np.all(np.abs(gap.mean - law)[settled] <= margin[settled])
figures.claim("at large noise the squared gap follows its law, sigma to the power -4", lawful)
assert np.all(np.abs(even.mean - even_law)[settled] <= even_margin[settled])
off = np.flatnonzero(np.maximum(gap.mean / law, law / gap.mean) > 2)
within = sigmas[off[-1] + 1] if len(off) else sigmas[0]
middle = int(np.abs(np.log(sigmas / 10)).argmin())
figures.record(
    dataset=data.name,
    n_train=str(n_train),
    dimension=str(flat.shape[1]),
    kappa_3=f"{gaussian.cumulant_norm2(flat, device=device):.4g}",
    kappa_4=f"{gaussian.cumulant_norm2(mirror, 4, device=device):.4g}",
    variance=f"{total:.3g}",
    rho=f"{rho:.3g}",
    within_two=f"{within:.3g}",
    sigma_last=f"{sigmas[-1]:.3g}",
    ratio_last=f"{gap.mean[-1] / law[-1]:.3f} "
    f"[{gap.low[-1] / law[-1]:.3f}, {gap.high[-1] / law[-1]:.3f}]",
    mirror_ratio_last=f"{even.mean[-1] / even_law[-1]:.3f} "
    f"[{even.low[-1] / even_law[-1]:.3f}, {even.high[-1] / even_law[-1]:.3f}]",
    sigma_middle=f"{sigmas[middle]:.3g}",
    ratio_middle=f"{gap.mean[middle] / law[middle]:.2f}",
    share_first=f"{100 * gap.mean[0] / linear[0]:.0f}%",
    sigma_first=f"{sigmas[0]:.3g}",
    share_middle=f"{100 * gap.mean[middle] / linear[middle]:.2g}%",
    loose_last=f"{float(f'{loose[-1]:.2g}'):,.0f}",
    loose_middle=f"{float(f'{loose[middle]:.2g}'):,.0f}",
    telling=f"{telling[0]:.3g}" if len(telling) else "no level shown",
    apart_first=f"{apart[0]:.2g}",
    apart_last=f"{apart[-1]:.2g}",
)
