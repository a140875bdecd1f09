# %% [markdown]
# # Notebook: the denoising error, on training and on new images
#
# The paper claims that a model trained on few images denoises them better than new ones, and most
# so at medium noise, and that one trained on many does not (Figure 1). The chapter
# [](../book/denoising_error.md) says what that means; here it is measured.
#
# ```{outcome} denoising_error
# ```

# %% tags=["parameters"]
preset: str = "digits-unet"  # which pair of models: a preset's name without -small or -large
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 0  # training images N of the small model, 0 for the preset's number, or in [2, 1e6]
changes: str = ""  # further settings of both models: names, each with an equals sign and its value
n_heldout: int = 500  # held-out images, at most; fewer where the set has fewer, in [2, 1e6]
draws: int = 4  # noise draws per training image of the small set, in [1, 1000]
n_sigmas: int = 25  # noise levels, evenly spaced in log sigma, in [5, 1000]
sigma_min: float = 0.01  # smallest noise level, data units, in [1e-6, 1e6], below sigma_max
sigma_max: float = 20.0  # largest noise level, data units, in [1e-6, 1e6]
seed: int = 0  # seed of training, noise and samples, in [0, 1e12]
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import numpy as np

import geomem
from geomem import companion
from geomem.geometry.intervals import above, less
from geomem.memorization.case import Case
from geomem.memorization.generalization import Generalization
from geomem.plots import drawing

options = dict(seed=seed, device=device)
case = Case.of(preset, dataset, n_train, changes, n_heldout=n_heldout, **options)
small, large = case.trained()
data, everything, heldout = case.data, case.everything.train, case.heldout
n, d = len(data.train), data.train[0].size
sigmas = np.geomspace(sigma_min, sigma_max, n_sigmas)

# %% [markdown]
# ## The error of three denoisers
#
# $\mathrm{MSE}(\sigma) = \mathbb{E}\,\|m_\sigma(X_\sigma) - X\|^2$ (Eq. 5), summed over pixels as
# in the paper. $X$ is a held-out image, or an image of the denoiser's *own* training set: of the
# small set for the empirical denoiser and the small model, and for the large model of the large
# set, which contains the small one. For orientation the danger zone of the small set, where
# coverage and posterior weight are both at least 0.8 ([](../book/regimes.md)).

# %%
measure, drawn = companion.kept(Generalization.of), dict(noisy=draws * n, **options)
asked = {
    "empirical": (geomem.EmpiricalDenoiser(data.train, device=device), data.train),
    "small": (small.denoise, data.train),
    "large": (large.denoise, everything[:n_heldout]),
}
errors = {name: measure(*of, heldout, sigmas, **drawn) for name, of in asked.items()}
geometry = case.geometry()

# %%
curves = {f"{name}: {what}": c for name, of in errors.items() for what, c in of.curves.items()}
of_each = [drawing.SERIES[name] for name in errors]
looks = [(color, marker, line) for color, marker, _ in of_each for line in ("-", ":")]
label, zone = "MSE to the clean image\n(data units$^2$)", geometry.regimes.medium
look = dict(unit="data units squared", zone=zone, axis="plain", columns=3)
fig, table = drawing.noise_curves(curves, label, looks, name="MSE", every=3, **look)
companion.figure(fig, "fig-denoising-error", table, data=[data])

# %% [markdown]
# ## The gap
#
# Held-out minus training error. The two are means over different images, so the widths of their
# intervals add in squares. At small noise the empirical denoiser answers with the training image
# nearest to the input; its held-out error is then the squared distance to that.

# %%
gaps = {name: of.gap for name, of in errors.items()}
few, many = gaps["small"], gaps["large"]
places = {"first": 0, "peak": few.peak, "last": -1}
columns = {"denoiser": [*gaps]}
for i in places.values():
    columns[f"gap at sigma = {sigmas[i]:.3g}"] = [x.estimate(i).plus_minus() for x in gaps.values()]
companion.Table(columns)

# %%
label = "held-out $-$ training MSE\n(data units$^2$)"
fig, table = drawing.noise_curves(gaps, label, name="gap", every=2, **look)
companion.figure(fig, "fig-denoising-gap", table, data=[data])

# %% [markdown]
# ## The ratio
#
# Held-out over training error, of the two models; the empirical denoiser's training error goes to
# zero, and its ratio to infinity.

# %%
ratios = {name: errors[name].ratio for name in ("small", "large")}
ratio, calm = ratios.values()
at = {"first": 0, "max": ratio.peak, "at_gap": few.peak, "last": -1}
columns = {"model": [*ratios]}
for i in at.values():
    columns[f"ratio at sigma = {sigmas[i]:.3g}"] = [of.estimate(i) for of in ratios.values()]
companion.Table(columns)

# %%
look = dict(unit="1", name="ratio", zone=zone, axis="ratio")
fig, table = drawing.noise_curves(ratios, "held-out / training MSE", every=2, **look)
companion.figure(fig, "fig-denoising-ratio", table, data=[data])

# %% [markdown]
# ## What must hold
#
# Compared are the ends of 95% intervals. For the book's own models all but the last must hold; for
# others it is said. The last is where Figure 1 and its words need care.

# %%
claim, must = companion.claim, case.own
must &= sigma_min <= 0.02 and sigma_max >= 10 and n_sigmas >= 15 and n_heldout >= 200
says = "the small model's gap peaks in the middle: 3 times either end, with intervals apart"
claim("gap-peaks", says, few.stands_out(3), must=must)
says = "the large model does nearly as well on new images: the ratio is below 1.5 everywhere"
claim("large-ratio", says, calm.below(1.5), must=must)
says = "at small noise the empirical denoiser errs 1,000 times more on new images"
seen, unseen = (of.estimate(0) for of in errors["empirical"].curves.values())
copies = less(seen, unseen / 1000) if sigma_min <= 0.02 else None
claim("empirical-copies", says, copies, must=must)
says = "at small noise the small model's ratio is not calm: above 2"
rough = above(ratio.estimate(0), 2) if sigma_min <= 0.02 else None
claim("small-ratio", says, rough, must=False)

# %% tags=["remove-cell"]
config, first = case.small.train.for_images(data.train), {k: x.first for k, x in errors.items()}
companion.quote(dataset=data.name, dimension=f"{d:,}", small_n=n, large_n=len(everything))
companion.quote(n_heldout=len(heldout), noisy=draws * n, zone=geometry.zone_in_words)
companion.quote(sigma_first=sigmas[0], sigma_last=sigmas[-1], sigma_data=config.model.sigma_data)
companion.quote(nearest=(geomem.neighbours(heldout, case.distinct).first ** 2).mean())
companion.quote(law_above=f"{100 * (1 - config.noise.cdf(sigmas[-1])):.2g}%")
companion.quote(**{name: of.in_words(places.values()) for name, of in gaps.items()})
companion.quote(gap={name: few.estimate(i).plus_minus() for name, i in places.items()})
companion.quote(peak_sigma=f"{sigmas[few.peak]:.2g}", large_gap_sigma=f"{sigmas[many.peak]:.2g}")
companion.quote(ratio={name: ratio.estimate(i) for name, i in at.items()})
companion.quote(ratio_max_sigma=f"{sigmas[ratio.peak]:.2g}", small_first=f"{first['small']:.2g}")
companion.quote(large_ratio_first=calm.estimate(0), large_ratio_max=calm.estimate(calm.peak))
companion.quote(large_ratio_max_sigma=f"{sigmas[calm.peak]:.2g}")
companion.quote(noise_first=f"{d * sigmas[0] ** 2:.2g}", empirical_first=first["empirical"])
companion.quote(large_first=f"{first['large']:.2g}", new_first=first["small"] / first["large"])
companion.quote(empirical_train_first=f"{errors['empirical'].train.mean[0]:.2g}")
