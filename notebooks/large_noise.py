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
n_train: int = 1000  # training images N, in [2, 1e6]
draws: int = 4  # noise draws per training image, in [1, 1000]
n_sigmas: int = 19  # noise levels, evenly spaced in log sigma, in [5, 1000]
sigma_min: float = 0.3  # smallest noise level, data units, in [1e-6, 1e6], below sigma_max
sigma_max: float = 300.0  # largest noise level, data units, in [1e-6, 1e6]
image: int = 0  # held-out image that the strip shows, in [0, 1e6]
data_seed: int = -1  # seed of the random subset, -1 for the set's own order, in [-1, 1e12]
seed: int = 0  # seed of the noise, in [0, 1e12]
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import numpy as np

import geomem
from geomem import companion
from geomem.geometry.distances import rms_radius
from geomem.geometry.gap_law import GapLaw
from geomem.geometry.gaussian import cumulant_norm2
from geomem.plots import drawing

data = geomem.load_dataset(dataset, n_train=n_train, n_heldout=image + 1, seed=data_seed)
flat = data.train.reshape(n_train, -1).astype(np.float64)
d = flat.shape[1]
sigmas = np.geomspace(sigma_min, sigma_max, n_sigmas)

# %% [markdown]
# ## The gap and its law
#
# Each training image gets noise, and both denoisers answer. For contrast, the same for
# the symmetric cloud that holds each image and its reflection in the mean: its third
# cumulant is zero, and the gap falls faster, as $\|\kappa_4\|^2/6\sigma^6$. Neither law was
# fitted.

# %%
mirror = np.concatenate([flat, 2 * flat.mean(0) - flat])
noise = dict(draws=draws, seed=seed, device=device)
own = companion.kept(GapLaw.of)(flat, sigmas, **noise)
even = companion.kept(GapLaw.of)(mirror, sigmas, order=4, queries=flat, **noise)
linear = geomem.linear_mmse(flat, sigmas, device=device)
share = [own.gap.estimate(i) / error for i, error in enumerate(linear)]
columns = {"gap over its law": own.ratio, "with mirror images": even.ratio}
columns |= {"sigma": sigmas, "gap over the affine error": share}
companion.Table({heading: column[::2] for heading, column in columns.items()})

# %%
curves = {"gap, training set": own.gap, r"$\|\kappa_3\|^2/2\sigma^4$": own.line}
curves |= {"gap, with mirror images": even.gap, r"$\|\kappa_4\|^2/6\sigma^6$": even.line}
looks = [("C0", "o", ""), ("C0", "", "-"), ("C1", "s", ""), ("C1", "", "--")]
label = r"$\mathbb{E}\,\|m_\sigma - m^G_\sigma\|^2$ (data units$^2$)"
ends = even.law[-1] / 3, 100 * own.gap.mean.max()
fig, _ = drawing.noise_curves(curves, label, looks, axis="log", ylim=ends)
unit = "data units squared"
table = drawing.noise_table({"gap": own.gap}, unit) | {f"law, kappa_3 [{unit}]": own.law}
table |= even.gap.table("gap with mirror images", unit) | {f"law, kappa_4 [{unit}]": even.law}
companion.figure(fig, "fig-linear-gap", table, data=[data])

# %% [markdown]
# ## The bound at one radius
#
# The theorem's bound holds for every input of a ball. Noisy images lie near the radius
# $\sqrt{\operatorname{tr}\Sigma + d\sigma^2}$; there it is compared with the root mean square gap.

# %%
spread, root = rms_radius(flat, device=device), np.sqrt(own.gap.mean)
bound = geomem.linear_gap_bound(flat, sigmas, np.sqrt(spread**2 + d * sigmas**2), device=device)
loose = bound / root
columns = {"sigma": sigmas, "bound": bound, "bound over root mean square gap": loose}
companion.Table({heading: column[::2] for heading, column in columns.items()}, digits=2)

# %% [markdown]
# ## One image at large noise
#
# A held-out image under one noise draw, scaled to each level, through both denoisers.

# %%
levels = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
clean, high = data.heldout[image], levels[:, None, None, None]
noisy = clean + high * np.random.default_rng(seed).standard_normal(clean.shape)
empirical = geomem.empirical_denoiser(noisy, data.train, levels, device=device)
affine = geomem.gaussian_denoiser(noisy, data.train, levels, device=device)
apart = np.linalg.norm((empirical - affine).reshape(len(levels), -1), axis=1)
rows = {"noisy": noisy, "empirical": empirical, "Gauss": affine}
companion.figure(drawing.strip(levels, rows, noisy=["noisy"]), "fig-large-noise-strip", data=[data])

# %% [markdown]
# ## What must hold
#
# The bound is never below the gap; and at the largest noise both laws are met, with a tenth allowed
# for the terms they leave out: where the noise is far larger than any image, and the first law
# larger than the second. Where no level is so, nothing is known.

# %%
settled = sigmas**2 > 30 * d
leads = settled & (even.law < 0.05 * own.law)
companion.claim("bound-holds", "the bound is nowhere below the gap", np.all(bound >= root))
says = "at large noise the squared gap follows its law, sigma to the power -4"
companion.claim("law-holds", says, own.holds(leads), must=bool(leads.any()))
says = "with mirror images it follows its own, sigma to the power -6"
companion.claim("mirror-law-holds", says, even.holds(settled), must=bool(settled.any()))

# %% tags=["remove-cell"]
within, telling = own.from_where(2), sigmas[bound < spread]
middle = int(np.abs(np.log(sigmas / 10)).argmin())
companion.quote(dataset=data.name, telling=telling[0] if len(telling) else "no level shown")
companion.quote(dimension=str(d), kappa_3=f"{cumulant_norm2(flat, device=device):.4g}")
companion.quote(variance=spread**2, within_two=within if np.isfinite(within) else "no level shown")
companion.quote(ratio_last=f"{own.ratio[-1]:.3f}", mirror_ratio_last=f"{even.ratio[-1]:.3f}")
companion.quote(sigma_middle=sigmas[middle], ratio_middle=f"{own.ratio[middle].value:.2f}")
companion.quote(share_first=f"{100 * share[0].value:.0f}%")
companion.quote(share_middle=f"{100 * share[middle].value:.2g}%")
companion.quote(loose_last=f"{float(f'{loose[-1]:.2g}'):,.0f}")
companion.quote(loose_middle=f"{float(f'{loose[middle]:.2g}'):,.0f}")
companion.quote(apart=[f"{distance:.2g}" for distance in apart])
