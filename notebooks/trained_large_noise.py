# ---
# jupyter: {kernelspec: {display_name: Python 3, language: python, name: python3}}
# ---

# %% [markdown]
# # Notebook: trained models at large noise
#
# The paper claims that at large noise trained models, too, are nearly linear: they answer as the
# Gaussian denoiser, whatever their training set. The chapter [](../book/trained_large_noise.md)
# says what that means; here it is measured.
#
# ```{outcome} trained_large_noise
# ```

# %% tags=["parameters"]
preset: str = "digits-unet"  # in {digits-mlp, digits-unet, cifar10-luma, cifar10-rgb, cifar10}
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
import matplotlib.pyplot as plt
import numpy as np

import geomem
from geomem import companion
from geomem.diffusion import presets
from geomem.geometry.window import span
from geomem.memorization.linearity import Linearity, answers_to_one
from geomem.memorization.ratio_test import DistinctImages
from geomem.plots import STYLE, drawing

plt.style.use(STYLE)
noise = dict(seed=seed, device=device)
pair = presets.pair(preset, dataset=dataset, n_train=n_train, changes=changes, **noise)
models = dict(zip(("small", "large"), geomem.train_or_load(pair), strict=True))
data, everything = pair[0].data.load(), pair[1].data.load().train
sets = {"small": data.train, "large": everything}  # the training set of each model
heldout, sigmas = data.heldout[:n_heldout], np.geomspace(sigma_min, sigma_max, n_sigmas)

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
found = {
    kind: companion.kept(Linearity.of)(model.denoise, sets[kind], heldout, sigmas, **noise)
    for kind, model in models.items()
}
geometry = geomem.measure_regimes(heldout, DistinctImages(data.train, device).images, **noise)
shown = {
    f"{kind}: {name}": [curve.estimate(i).percent for i in range(n_sigmas)]
    for kind, of in found.items()
    for name, curve in (("model to Gaussian", of.gaussian), ("empirical to Gaussian", of.gap))
}
companion.Table({"sigma": sigmas, **shown})

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(4.8, 4.1), sharey=True)
hatched = {"facecolor": "w", "edgecolor": "0.85", "hatch": "///"}
for ax, (kind, of) in zip(axes, found.items(), strict=True):
    ax.set(yscale="log", ylim=(3e-5, 2), xlim=(sigma_min, sigma_max))
    for (name, curve), style in zip(
        of.curves.items(), ("C0o-", "C1s--", "k:", "C2-."), strict=True
    ):
        (line,) = ax.plot(sigmas, curve.mean, style, ms=3.5, label=name)
        ax.fill_between(sigmas, curve.low, curve.high, color=line.get_color(), alpha=0.25, lw=0)
    ax.axvline(often, color="0.5", ls=":", lw=1)
    if zone := geometry.regimes.medium:
        drawing.named_band(ax, "danger\nzone", zone, 2.5, color="0.9")
    if reach < sigma_max:
        drawing.named_band(ax, "hardly\ntrained", (reach, sigma_max), 2.5, **hatched)
    ax.set_title(f"{kind}, N = {len(sets[kind]):,}", pad=32)
    drawing.sigma_axis(ax, probability=False)
axes[0].set_ylabel("mean squared distance / variance")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncol=2)
curves = {
    f"{kind}, {name}": curve for kind, of in found.items() for name, curve in of.curves.items()
}
table = drawing.noise_table(curves, "share of the variance", "distance")
companion.figure(fig, "fig-trained-large-noise", table, data=[data])

# %% [markdown]
# ## Nearer to which?
#
# Where the two closed forms differ, by 1% of the variance or more, a trained model can be nearer to
# one of them; the difference of its two distances is taken image by image. Where they agree the
# question has no answer.

# %%
reached = sigmas <= reach
agreed = {kind: ~of.apart(0.01) & reached for kind, of in found.items()}
empirical = {kind: of.apart(0.01) & reached & (of.side == 1) for kind, of in found.items()}
gaussian = {kind: of.apart(0.01) & reached & (of.side == -1) for kind, of in found.items()}
rows = {"large noise": agreed, "nearer to the empirical": empirical, "to the Gaussian": gaussian}
shown = {name: [span(sigmas, of) for of in chosen.values()] for name, chosen in rows.items()}
companion.Table({"model": [*found], **shown})

# %% [markdown]
# ## One image at large noise
#
# A held-out image under one noise draw, scaled to each level.

# %%
levels, i = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 80.0]), image % len(heldout)
clean, draw = heldout[i], np.random.default_rng(seed).standard_normal(heldout.shape)[i]
few, many = (
    answers_to_one(model.denoise, sets[kind], clean, draw, levels, device=device)
    for kind, model in models.items()
)
rows = [("noisy", np.array([clean / sigma + draw for sigma in levels]))]
rows += [("empirical", few.empirical), ("small", few.model), ("Gauss", few.gaussian)]
rows.append(("large", many.model))

# %% tags=["hide-input"]
fig = drawing.image_grid(rows, [f"{level:g}" for level in levels])
fig.supxlabel(drawing.SIGMA_LABEL, fontsize=10.5)
companion.figure(fig, "fig-trained-strip", drawing.pixel_table(levels, rows), data=[data])

# %% [markdown]
# ## What must hold
#
# Compared are the ends of 95% intervals, of both models. For the book's own models all but the last
# must hold; for others it is said.

# %%
own = (dataset, n_train, changes) == (presets.PRESETS[f"{preset}-small"].data.name, 0, "")
must = own and preset.startswith("digits-") and sigma_min <= 0.5 and sigma_max >= 80
must &= n_sigmas >= 15 and n_heldout >= 200
last = max(0, int(reached.sum()) - 1)  # the last level that training reaches
near = [agreed[k].any() and np.all(of.gaussian.high[agreed[k]] < 0.05) for k, of in found.items()]
says = "both: at large noise within 5% of the variance of the Gaussian denoiser"
companion.claim("near-gaussian", says, all(near), must=must)
fading = {kind: of.apart(0.01, 0.1) & reached for kind, of in found.items()}
follow = [fading[kind].any() and np.all(of.side[fading[kind]] == 1) for kind, of in found.items()]
says = "both: where the closed forms still differ by 1 to 10%, nearer to the empirical one"
companion.claim("follow-empirical", says, all(follow), must=must)
farther = [of.gaussian.low[last] > of.gap.high[last] for of in found.values()]
says = "both: where training's reach ends, farther from it than the empirical denoiser is"
companion.claim("farther-at-reach", says, all(farther), must=must)
astray = [of.gaussian.low[-1] > of.gaussian.high[last] for of in found.values()]
says = "both: hardly trained, they stray: farther at the last level than there"
companion.claim("astray", says, all(astray), must=False)

# %% tags=["remove-cell"]
quote, d = companion.quote, heldout[0].size
for kind, of in found.items():
    first = int(agreed[kind].argmax()) if agreed[kind].any() else last
    farther = (of.gaussian.low > of.mean.high) & reached
    chosen = {"agreed": agreed, "empirical": empirical, "gaussian": gaussian}
    quote(**{f"{kind}_{name}": span(sigmas, where[kind]) for name, where in chosen.items()})
    quote(**{f"{kind}_n": f"{len(sets[kind]):,}", f"{kind}_farther": span(sigmas, farther)})
    for name, curve in (("model", of.gaussian), ("gap", of.gap), ("mean", of.mean)):
        for where, i in (("first", first), ("reach", last), ("last", -1)):
            quote(**{f"{kind}_{name}_{where}": curve.estimate(i).percent})
    quote(**{f"{kind}_common": f"{100 * of.common[last]:.0f}%"})
    quote(**{f"{kind}_astray": f"{np.sqrt(of.gaussian.mean[-1] * of.variance):.2g}"})
quote(dataset=data.name, dimension=f"{d}", n_heldout=f"{len(heldout):,}")
quote(often=f"{often:.2g}", reach=f"{reach:.2g}", reach_level=f"{sigmas[last]:.2g}")
quote(sigma_last=f"{sigmas[-1]:.2g}", noise_last=f"{sigmas[-1] * np.sqrt(d):,.0f}")
quote(noisy=f"{config.images:,}", noisy_beyond=f"{beyond[reach]:,.0f}")
quote(noisy_last=f"{beyond[sigma_max]:.1f}", zone=geometry.zone_in_words)
