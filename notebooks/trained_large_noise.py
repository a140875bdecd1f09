# %% [markdown]
# # Notebook: trained models at large noise
#
# At large noise models that memorize and models that do not behave the same, says an author of the
# paper. Both nearly as the Gaussian denoiser, whatever their training set? The chapter
# [](../book/trained_large_noise.md) says what that means; here it is measured.
#
# ```{outcome} trained_large_noise
# ```

# %% tags=["parameters"]
preset: str = "digits-unet"  # which pair of models: a preset's name without -small or -large
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 0  # training images N of the small model, 0 for the preset's number, or in [2, 1e6]
changes: str = ""  # further settings of both models: names, each with an equals sign and its value
n_heldout: int = 500  # held-out images, at most; fewer where the set has fewer, in [2, 1e6]
n_sigmas: int = 17  # noise levels, evenly spaced in log sigma, in [5, 1000]
sigma_min: float = 0.2  # smallest noise level, data units, in [1e-6, 1e6], below sigma_max
sigma_max: float = 80.0  # largest noise level, data units, in [1e-6, 1e6]
image: int = 0  # held-out image that the strip shows, in [0, 1e6]
seed: int = 0  # seed of training, noise and samples, in [0, 1e12]
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import numpy as np

from geomem import companion
from geomem.geometry.intervals import decided, every, less
from geomem.geometry.window import span
from geomem.memorization.case import Case
from geomem.memorization.linearity import Linearity, answers_to_one
from geomem.plots import drawing, pictures

noise = dict(seed=seed, device=device)
case = Case.of(preset, dataset, n_train, changes, n_heldout=n_heldout, **noise)
data, heldout = case.data, case.heldout
sets = {"small": data.train, "large": case.everything.train}  # the training set of each model
models = dict(zip(sets, case.trained(), strict=True))
sigmas = np.geomspace(sigma_min, sigma_max, n_sigmas)

# %% [markdown]
# ## How far training reaches
#
# $\ln\sigma$ is normal in training, so it hardly ever draws a noise level near $\sigma = 80$,
# where sampling starts. Beyond its quantile 0.999 we call a network *hardly trained*.

# %%
config = models["small"].experiment.train
often, reach = config.noise.quantile(np.array([0.99, 0.999]))
beyond = {sigma: config.images * (1 - config.noise.cdf(sigma)) for sigma in (reach, sigma_max)}
shown = {"above sigma": [*beyond], f"of {config.images:,} noisy images": [*beyond.values()]}
companion.Table(shown, digits=2)

# %% [markdown]
# ## Three denoisers, and the distances between them
#
# The empirical and the Gaussian denoiser are those of each model's own training set. The inputs
# are held-out images with noise, one draw each. Distances are squared and summed over pixels, and
# given as a share of the training set's variance $\operatorname{tr}\Sigma$. As a yardstick also
# the mean image: an answer that does not look at its input. For orientation the danger zone of the
# small set ([](../book/regimes.md)).

# %%
measure = companion.kept(Linearity.of)
found = {k: measure(of.denoise, sets[k], heldout, sigmas, **noise) for k, of in models.items()}
geometry = case.geometry()
titled = {case.names[kind]: of for kind, of in found.items()}
fig, table = pictures.distances(titled, geometry.regimes.medium, (reach, sigma_max), often)
companion.figure(fig, "fig-trained-large-noise", table, data=[data])

# %% [markdown]
# ## Nearer to which?
#
# Where the two closed forms differ, by 1% of the variance or more, a trained model can be nearer to
# one of them; the difference of its two distances is taken image by image. Where they agree the
# question has no answer.

# %%
reached = sigmas <= reach
where = {kind: of.where(reached) for kind, of in found.items()}
rows = {"large noise": "agreed", "nearer to the empirical": "empirical"}
rows |= {"to the Gaussian": "gaussian"}
shown = {row: [span(sigmas, of[name]) for of in where.values()] for row, name in rows.items()}
companion.Table({"model": [*found], **shown})

# %% [markdown]
# ## One image at large noise
#
# A held-out image under one noise draw, scaled to each level.

# %%
i = image % len(heldout)
clean, draw = heldout[i], np.random.default_rng(seed).standard_normal(heldout.shape)[i]
levels = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 80.0])
one = dict(image=clean, noise=draw, sigmas=levels, device=device)
few, many = (answers_to_one(of.denoise, sets[kind], **one) for kind, of in models.items())
rows = {"noisy": np.array([clean + sigma * draw for sigma in levels]), "empirical": few.empirical}
rows |= {"small": few.model, "Gauss": few.gaussian, "large": many.model}
companion.figure(drawing.strip(levels, rows, noisy=["noisy"]), "fig-trained-strip", data=[data])

# %% [markdown]
# ## What must hold
#
# Compared are the ends of 95% intervals, of both models. For the book's own models all but the last
# two must hold; for others it is said. The first asks little: a constant may pass it, too, so the
# last asks for more than the mean image does.

# %%
claim, must = companion.claim, case.own and preset.startswith("digits-")
must &= sigma_min <= 0.5 and sigma_max >= 80 and n_sigmas >= 15 and n_heldout >= 200
last = max(0, int(reached.sum()) - 1)  # the last level that training reaches
agreed = [(of, where[kind]["agreed"]) for kind, of in found.items()]
near = every(of.gaussian.below(0.05, at) for of, at in agreed)
says = "both: at large noise within 5% of the variance of the Gaussian denoiser"
claim("near-gaussian", says, near, must=must)
fading = [(of, of.apart(0.01, 0.1) & reached) for of in found.values()]
follow = [decided(at.any() and all(of.side[at] == 1), any(of.side[at] == -1)) for of, at in fading]
says = "both: where the closed forms still differ by 1 to 10%, nearer to the empirical one"
claim("follow-empirical", says, every(follow), must=must)
farther = [less(of.gap.estimate(last), of.gaussian.estimate(last)) for of in found.values()]
says = "both: where training's reach ends, farther from it than the empirical denoiser is"
at_reach = every(farther) if reached.any() else None  # a grid beyond it says nothing of it
claim("farther-at-reach", says, at_reach, must=must)
astray = [less(*map(of.gaussian.estimate, (last, -1))) for of in found.values()]
says = "both: hardly trained, they stray: farther at the last level than there"
claim("astray", says, every(astray) if reached.any() else None, must=False)
says = "both: at large noise nearer to the Gaussian denoiser than the mean image is"
claim("than-mean", says, every(of.than_mean(at) for of, at in agreed), must=False)

# %% tags=["remove-cell"]
d = heldout[0].size
for kind, of in found.items():
    companion.quote(**{kind: {"n": len(sets[kind]), **of.in_words(reached)}})
companion.quote(dataset=data.name, dimension=f"{d}", n_heldout=len(heldout), often=f"{often:.2g}")
far = "" if reached.any() else " (beyond it)"
companion.quote(reach=f"{reach:.2g}", reach_level=f"{sigmas[last]:.2g}{far}")
companion.quote(sigma_last=f"{sigmas[-1]:.2g}", noise_last=f"{sigmas[-1] * np.sqrt(d):,.0f}")
companion.quote(noisy=config.images, noisy_beyond=f"{beyond[reach]:,.0f}")
companion.quote(noisy_last=f"{beyond[sigma_max]:.1f}", zone=geometry.zone_in_words)
