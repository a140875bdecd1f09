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
# # Notebook: trained models at large noise
#
# **Claim.** At large noise trained models answer nearly as the Gaussian denoiser, as far as
# training reaches; a remainder stays that is their own. The chapter is
# [](../book/trained_large_noise.md).

# %% tags=["parameters"]
preset: str = "digits-unet"  # how to train, in {digits-mlp, digits-unet, cifar10-luma, cifar10}
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 0  # training images N of the small model, 0 for the preset's number, in [0, inf)
changes: str = ""  # further settings of both models: names, each with an equals sign and its value
n_heldout: int = 500  # held-out images, at most; fewer where the set has fewer, in [2, inf)
n_sigmas: int = 17  # noise levels, evenly spaced in log sigma, in [5, inf)
sigma_min: float = 0.2  # smallest noise level, data units, in (0, inf)
sigma_max: float = 80.0  # largest noise level, data units, in (0, inf)
image: int = 0  # held-out image that the strip shows, in [0, inf)
seed: int = 0  # seed of training, noise and samples, in [0, inf)
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import geomem
from geomem import curve, drawing, experiments, figures, store

plt.style.use(figures.STYLE)
small, large = experiments.pair(
    preset, dataset=dataset, n_train=n_train, changes=changes, seed=seed, device=device
)
models = store.train_or_load([small, large])
data, everything = small.data.load(), large.data.load().train
heldout = data.heldout[:n_heldout]
sets = {"small": data.train, "large": everything}  # the training set of each model
sigmas = np.geomspace(sigma_min, sigma_max, n_sigmas)
print(f"{data.name}: d = {heldout[0].size}, {len(heldout)} held-out images")

# %% [markdown]
# ## How far training reaches
#
# $\ln\sigma$ is normal in training, so it hardly ever draws a noise level near $\sigma = 80$, where
# sampling starts. Beyond its quantile 0.999 we call a network *hardly trained*. "Large noise" are here
# the levels at which the empirical and the Gaussian denoiser already agree: the mean squared
# distance of the two is below 1% of the variance of their training set.

# %%
config = models[0].experiment.train
often, reach = config.noise.quantile(np.array([0.99, 0.999]))
seen = config.steps * config.batch
beyond = {sigma: float(1 - config.noise.cdf(sigma)) for sigma in (reach, sigma_max)}
print(f"quantiles of the noise law: 0.99 at sigma = {often:.3g}, 0.999 at {reach:.3g}")
for sigma, share in beyond.items():
    print(f"of {seen:,} noisy images {seen * share:.2g} were above sigma = {sigma:.3g}")

# %% [markdown]
# ## Three denoisers, and the distances between them
#
# The empirical and the Gaussian denoiser are those of each model's own training set. The inputs
# are held-out images with noise, one draw each. Distances are squared and summed over pixels, and
# given as a share of the training set's variance $\operatorname{tr}\Sigma$, which is the distance
# between the best constant answer and a training image.

# %%
own_device = next(models[0].denoise.parameters()).device
noise = np.random.default_rng(seed).standard_normal(heldout.shape)


def answers(trained, train, clean, noise, sigma):
    """The model's, the empirical and the Gaussian denoiser's answers to noisy images."""
    noisy = torch.from_numpy(clean + sigma * noise).to(own_device)
    model = torch.cat([trained.denoise(part, sigma) for part in torch.split(noisy, 256)])
    empirical = geomem.empirical_denoiser(noisy, train, sigma, device=device)
    return model, empirical, geomem.gaussian_denoiser(noisy, train, sigma, device=device)


pairs = ("model to Gaussian", "model to empirical", "empirical to Gaussian")
distance = {}  # model -> pair -> ErrorCurve, as a share of the variance
common = {}  # model -> the share of "model to Gaussian" that is the same for every input
for (kind, train), trained in zip(sets.items(), models, strict=True):
    variance = train.reshape(len(train), -1).var(0, dtype=np.float64).sum()
    rows, shift = [], []
    for sigma in sigmas.tolist():
        model, empirical, gauss = answers(trained, train, heldout, noise, sigma)
        apart = [model - gauss, model - empirical, empirical - gauss]
        rows.append([a.square().flatten(1).sum(1).cpu().numpy() / variance for a in apart])
        shift.append(float(apart[0].mean(0).square().sum() / variance / rows[-1][0].mean()))
    common[kind] = np.array(shift)
    distance[kind] = {
        pair: curve.ErrorCurve.from_queries(sigmas, per_query.T)
        for pair, per_query in zip(pairs, np.swapaxes(rows, 0, 1), strict=True)
    }
    print(f"{kind}, N = {len(train):,}: sigma, {', '.join(pairs)}, share of the first in common")
    means = [distance[kind][pair].mean for pair in pairs]
    print(np.c_[sigmas, np.transpose(means), common[kind]].round(4))

# %% [markdown]
# For orientation the danger zone of the small set ([](../book/regimes.md)).

# %%
coverage = geomem.shell_coverage(heldout, data.train, sigmas, draws=4, seed=seed, device=device)
posterior = geomem.max_posterior_weight(data.train, sigmas, draws=4, seed=seed, device=device)
try:
    zone = geomem.find_regimes(coverage, posterior, seed=seed).medium
except ValueError as nothing:  # a grid that does not reach far enough
    print(nothing)
    zone = None
print("danger zone:", "none" if zone is None else "{:.3g} to {:.3g}".format(*zone))

# %% tags=["hide-input", "remove-output"]
fig, axes = plt.subplots(1, 2, figsize=(4.8, 3.8), sharey=True)
table = {"sigma [data units]": sigmas}
for ax, (kind, curves) in zip(axes, distance.items(), strict=True):
    for (pair, shown), style in zip(curves.items(), ("C0o-", "C1s--", "k:"), strict=True):
        (line,) = ax.plot(sigmas, shown.mean, style, ms=3.5, label=pair)
        ax.fill_between(
            sigmas, shown.low, shown.high, color=line.get_color(), alpha=0.25, lw=0
        )
        table[f"{kind}, {pair} [share of the variance]"] = shown.mean
        table[f"low, {kind}, {pair} [share of the variance, 95% interval]"] = shown.low
        table[f"high, {kind}, {pair} [share of the variance, 95% interval]"] = shown.high
    ax.axvline(often, color="0.5", ls=":", lw=1)
    if reach < sigma_max:
        ax.axvspan(reach, sigma_max, facecolor="none", edgecolor="0.8", hatch="///", lw=0, zorder=0)
    if zone is not None:
        ax.axvspan(*zone, color="0.9", lw=0, zorder=0)
    ax.set(yscale="log", ylim=(3e-5, 2), title=f"{kind}, N = {len(sets[kind]):,}")
    ax.set_xlim(sigma_min, sigma_max)
    drawing.sigma_axis(ax, probability=False)
axes[0].set_ylabel("mean squared distance / variance")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncol=2)
zone_words = "" if zone is None else " Grey: the danger zone of the small set."
figures.save(
    fig,
    "fig-trained-large-noise",
    title="Trained, empirical and Gaussian denoiser at large noise",
    caption=(
        f"Mean squared distances between the answers of a trained model and of the empirical and "
        f"Gaussian denoiser of its training set, on {len(heldout)} noisy held-out images of "
        f"{data.name}, as a share of the variance of the training set. Dotted line: the quantile "
        f"0.99 of the noise law of training ($\\sigma = {often:.3g}$). Hatched: beyond its quantile "
        f"0.999 ($\\sigma = {reach:.3g}$), hardly trained.{zone_words} Bands: 95% intervals over "
        f"images."
    ),
    alt=(
        "Two panels of three curves on logarithmic axes. The distance between the empirical and "
        "the Gaussian denoiser falls steeply with noise. The distances of the trained model to "
        "both fall together to a low floor, and rise again at the right where it is hardly trained."
    ),
    table=table,
    paper_item="Theorem 4.11",
    claim="ours",
    data=[data],
    seeds={"training": seed, "noise": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-trained-large-noise
# :again:
# ```

# %% [markdown]
# ## Nearer to which?
#
# The two closed forms differ visibly at medium noise. There a trained model can be nearer to one
# of them; the difference of its two distances is taken image by image. Where the closed forms
# agree the question has no answer.

# %%
towards = {}  # model -> (mean, half width) of distance to Gaussian minus distance to empirical
for kind, curves in distance.items():
    difference = curves[pairs[0]].per_query - curves[pairs[1]].per_query
    half = 1.96 * difference.std(0, ddof=1) / np.sqrt(len(difference))
    towards[kind] = difference.mean(0), half
    for side, sure in (
        ("empirical", difference.mean(0) - half > 0),
        ("Gaussian", difference.mean(0) + half < 0),
    ):
        levels = ", ".join(f"{s:.2g}" for s in sigmas[sure & (sigmas <= reach)]) or "none"
        print(f"{kind}: nearer to the {side} denoiser at sigma = {levels}")
gaps = {kind: curves[pairs[2]].mean for kind, curves in distance.items()}
agreed = {kind: (gap < 0.01) & (sigmas <= reach) for kind, gap in gaps.items()}
fading = {kind: (gap >= 0.01) & (gap < 0.1) & (sigmas <= reach) for kind, gap in gaps.items()}

# %% [markdown]
# ## One image at large noise
#
# A held-out image under one noise draw, scaled to each level.

# %%
levels = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 80.0])
clean, draw = (a[image % len(heldout)][None] for a in (heldout, noise))
strip = {"noisy": [clean + sigma * draw for sigma in levels]}
for (kind, train), trained in zip(sets.items(), models, strict=True):
    for sigma in levels.tolist():
        for name, answer in zip(
            (f"{kind}", f"empirical, {kind}", f"Gauss, {kind}"),
            answers(trained, train, clean, draw, sigma),
            strict=True,
        ):
            strip.setdefault(name, []).append(answer.cpu().numpy())
strip = {name: np.concatenate(images) for name, images in strip.items()}

# %% tags=["hide-input", "remove-output"]
rows = [
    ("noisy", strip["noisy"] / levels[:, None, None, None]),
    ("empirical", strip["empirical, small"]),
    ("small", strip["small"]),
    ("Gauss", strip["Gauss, small"]),
    ("large", strip["large"]),
]
fig = drawing.image_grid(rows, [f"{level:g}" for level in levels])
fig.supxlabel(drawing.SIGMA_LABEL, fontsize=10.5)
figures.save(
    fig,
    "fig-trained-strip",
    title="One image at large noise through trained and closed-form denoisers",
    caption=(
        f"A held-out image of {data.name} with noise of level $\\sigma$ (top, divided by $\\sigma$ "
        f"to be seen), and the answers to it: of the empirical denoiser, the trained model and "
        f"the Gaussian denoiser, all of the small training set ($N = {len(data.train):,}$), and "
        f"of the model trained on the large one ($N = {len(everything):,}$). At $\\sigma = 80$ "
        f"the networks are hardly trained."
    ),
    alt=(
        "Five rows of six images. At the left the answers differ and look like an image each; "
        "at the right all are close to the blurred mean image."
    ),
    table=drawing.pixel_table(levels, rows),
    paper_item="Theorem 4.11; Equations 2 and 7",
    claim="ours",
    data=[data],
    seeds={"training": seed, "noise": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-trained-strip
# :again:
# ```

# %% [markdown]
# ## What must hold
#
# Compared are the ends of 95% intervals. For the book's own models it must hold; for others it is
# said.

# %%
preset_data = experiments.PRESETS[f"{preset}-small"].data.name
must = preset != "cifar10" and dataset == preset_data and (n_train, changes) == (0, "")
must &= n_sigmas >= 15 and sigma_min <= 0.5 and sigma_max >= 80 and n_heldout >= 200
numbers = {}
for kind, curves in distance.items():
    trained, gap = curves[pairs[0]], curves[pairs[2]]
    mean, half = towards[kind]
    held, last = agreed[kind], np.flatnonzero(sigmas <= reach)[-1]
    figures.claim(
        f"{kind}: at large noise, as far as trained, within 5% of the variance of the Gaussian",
        bool(held.any() and np.all(trained.high[held] < 0.05)),
        must=must,
    )
    figures.claim(
        f"{kind}: before that, where the closed forms still differ, nearer to the empirical one",
        bool(fading[kind].any() and np.all((mean - half)[fading[kind]] > 0)),
        must=must,
    )
    figures.claim(
        f"{kind}: the remainder is the network's own: at the reach 10 times the closed forms' gap",
        bool(trained.low[last] > 10 * gap.high[last]),
        must=must,
    )
    figures.claim(
        f"{kind}: hardly trained, it leaves: farther at the last level than at the reach",
        bool(trained.low[-1] > trained.high[last]),
        must=False,
    )
