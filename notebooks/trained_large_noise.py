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
# The paper claims that at large noise trained models, too, are nearly linear: they answer as the
# Gaussian denoiser, whatever their training set. What came out here:
#
# ```{outcome} trained_large_noise
# ```
#
# The chapter is [](../book/trained_large_noise.md).

# %% tags=["parameters"]
preset: str = "digits-unet"  # in {digits-mlp, digits-unet, cifar10-luma, cifar10-rgb, cifar10}
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
from geomem.companion import figures
from geomem.diffusion import presets, zoo
from geomem.geometry import curve
from geomem.memorization import ratio_test
from geomem.plots import STYLE, drawing
from geomem.geometry.regimes import measure_regimes
from geomem.geometry.intervals import Estimate

plt.style.use(STYLE)
small, large = presets.pair(
    preset, dataset=dataset, n_train=n_train, changes=changes, seed=seed, device=device
)
models = zoo.train_or_load([small, large])
data, everything = small.data.load(), large.data.load().train
heldout = data.heldout[:n_heldout]
sets = {"small": data.train, "large": everything}  # the training set of each model
sigmas = np.geomspace(sigma_min, sigma_max, n_sigmas)
print(f"{data.name}: d = {heldout[0].size}, {len(heldout)} held-out images")

# %% [markdown]
# ## How far training reaches
#
# $\ln\sigma$ is normal in training, so it hardly ever draws a noise level near $\sigma = 80$,
# where sampling starts. Beyond its quantile 0.999 we call a network *hardly trained*.

# %%
config = models[0].experiment.train
often, reach = config.noise.quantile(np.array([0.99, 0.999]))
seen = config.images
beyond = {sigma: float(1 - config.noise.cdf(sigma)) for sigma in (reach, sigma_max)}
print(f"quantiles of the noise law: 0.99 at sigma = {often:.3g}, 0.999 at {reach:.3g}")
for sigma, share in beyond.items():
    print(f"of {seen:,} noisy images {seen * share:.2g} were above sigma = {sigma:.3g}")

# %% [markdown]
# ## Three denoisers, and the distances between them
#
# The empirical and the Gaussian denoiser are those of each model's own training set. The inputs
# are held-out images with noise, one draw each. Distances are squared and summed over pixels, and
# given as a share of the training set's variance $\operatorname{tr}\Sigma$. As a yardstick also
# the mean image: an answer that does not look at its input.

# %%
own_device = next(models[0].denoise.parameters()).device
noise = np.random.default_rng(seed).standard_normal(heldout.shape)


def answers(trained, train, clean, noise, sigma):
    """The model's, the empirical and the Gaussian denoiser's answers to noisy images."""
    noisy = torch.from_numpy(clean + sigma * noise).to(own_device)
    model = torch.cat([trained.denoise(part, sigma) for part in torch.split(noisy, 256)])
    empirical = geomem.empirical_denoiser(noisy, train, sigma, device=device)
    return model, empirical, geomem.gaussian_denoiser(noisy, train, sigma, device=device)


pairs = ("model to Gaussian", "model to empirical", "empirical to Gaussian", "mean to Gaussian")
distance = {}  # model -> pair -> ErrorCurve, as a share of the variance
variances = {}  # model -> tr Sigma, data units squared
common = {}  # model -> the share of "model to Gaussian" that is the same for every input
for (kind, train), trained in zip(sets.items(), models, strict=True):
    variance = variances[kind] = train.reshape(len(train), -1).var(0, dtype=np.float64).sum()
    centre = torch.from_numpy(train.mean(0, dtype=np.float64)).to(own_device)
    rows, shift = [], []
    for sigma in sigmas.tolist():
        model, empirical, gauss = answers(trained, train, heldout, noise, sigma)
        apart = [model - gauss, model - empirical, empirical - gauss, centre - gauss]
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
distinct = ratio_test.DistinctImages(data.train, device)
geometry = measure_regimes(heldout, distinct.images, seed=seed, device=device)
zone = geometry.regimes.medium
print("danger zone:", geometry.zone_in_words)

# %% tags=["hide-input", "remove-output"]
fig, axes = plt.subplots(1, 2, figsize=(4.8, 4.1), sharey=True)
table = {"sigma [data units]": sigmas}
for ax, (kind, curves) in zip(axes, distance.items(), strict=True):
    for (pair, shown), style in zip(curves.items(), ("C0o-", "C1s--", "k:", "C2-."), strict=True):
        (line,) = ax.plot(sigmas, shown.mean, style, ms=3.5, label=pair)
        ax.fill_between(sigmas, shown.low, shown.high, color=line.get_color(), alpha=0.25, lw=0)
        table[f"{kind}, {pair} [share of the variance]"] = shown.mean
        table[f"low, {kind}, {pair} [share of the variance, 95% interval]"] = shown.low
        table[f"high, {kind}, {pair} [share of the variance, 95% interval]"] = shown.high
    ax.axvline(often, color="0.5", ls=":", lw=1)
    bands = [("danger\nzone", zone, {"color": "0.9"})] if zone else []
    if reach < sigma_max:
        hatched = {"facecolor": "w", "edgecolor": "0.85", "hatch": "///"}
        bands.append(("hardly\ntrained", (reach, sigma_max), hatched))
    for name, (low, high), style in bands:
        ax.axvspan(low, high, lw=0, zorder=0, **style)
        ax.text(np.sqrt(low * high), 2.5, name, ha="center", va="bottom", fontsize=9)
    ax.set_title(f"{kind}, N = {len(sets[kind]):,}", pad=32 if bands else 6)
    ax.set(yscale="log", ylim=(3e-5, 2), xlim=(sigma_min, sigma_max))
    drawing.sigma_axis(ax, probability=False)
axes[0].set_ylabel("mean squared distance / variance")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncol=2)
zone_words = "" if zone is None else " Grey: the danger zone of the small set."
figures.save(
    fig,
    "fig-trained-large-noise",
    title="Trained, empirical and Gaussian denoiser at large noise",
    caption=(
        f"Mean squared distances between the answers of a trained model, the empirical and the "
        f"Gaussian denoiser of its training set, and the mean image of that, as a share of the "
        f"variance of the set. Inputs: {len(heldout)} noisy held-out images of {data.name}. Dotted "
        f"line: the quantile 0.99 of training's noise law ($\\sigma = {often:.3g}$). Hatched: "
        f"beyond its quantile 0.999 ($\\sigma = {reach:.3g}$), hardly trained.{zone_words} Bands: "
        f"95% intervals over images."
    ),
    alt=(
        "Two panels of four curves on logarithmic axes. From the first noise level to the last, "
        + "; ".join(
            f"{kind} model: {pair} goes from {shown.mean[0]:.2g} to {shown.mean[-1]:.2g}, at least "
            f"{shown.mean.min():.2g}"
            for kind, curves in distance.items()
            for pair, shown in curves.items()
        )
        + "."
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
# Where the two closed forms differ, by 1% of the variance or more, a trained model can be nearer to
# one of them; the difference of its two distances is taken image by image. Where they agree the
# question has no answer.

# %%
towards = {}  # model -> where it is surely nearer to the empirical, and to the Gaussian denoiser
agreed, fading = {}, {}  # model -> levels of large noise, and the last before them
for kind, curves in distance.items():
    to_gauss, to_empirical, gap, _ = curves.values()
    agreed[kind] = (gap.mean < 0.01) & (sigmas <= reach)
    differ = (gap.mean >= 0.01) & (sigmas <= reach)
    fading[kind] = differ & (gap.mean < 0.1)
    nearer = to_gauss.per_query - to_empirical.per_query
    half = 1.96 * nearer.std(0, ddof=1) / np.sqrt(len(nearer))
    towards[kind] = (differ & (nearer.mean(0) > half), differ & (nearer.mean(0) < -half))
    for side, sure in zip(("empirical", "Gaussian"), towards[kind], strict=True):
        levels = ", ".join(f"{sigma:.2g}" for sigma in sigmas[sure]) or "none"
        print(f"{kind}: nearer to the {side} denoiser at sigma = {levels}")

# %% [markdown]
# ## One image at large noise
#
# A held-out image under one noise draw, scaled to each level.

# %%
levels = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 80.0])
clean, draw = (images[image % len(heldout)][None] for images in (heldout, noise))
shown_small, shown_large = (
    [answers(trained, train, clean, draw, sigma) for sigma in levels.tolist()]
    for trained, train in zip(models, sets.values(), strict=True)
)
rows = [("noisy", np.concatenate([clean / sigma + draw for sigma in levels]))]
for name, shown, i in (
    ("empirical", shown_small, 1),
    ("small", shown_small, 0),
    ("Gauss", shown_small, 2),
    ("large", shown_large, 0),
):
    rows.append((name, torch.cat([answer[i] for answer in shown]).cpu().numpy()))

# %% tags=["hide-input", "remove-output"]
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
preset_data = presets.PRESETS[f"{preset}-small"].data.name
must = preset.startswith("digits-") and dataset == preset_data and (n_train, changes) == (0, "")
must &= n_sigmas >= 15 and sigma_min <= 0.5 and sigma_max >= 80 and n_heldout >= 200
last = max(0, int((sigmas <= reach).sum()) - 1)  # the last level that training reaches
for kind, (to_gauss, _, gap, _) in ((k, curves.values()) for k, curves in distance.items()):
    figures.claim(
        f"{kind}: at large noise within 5% of the variance of the Gaussian denoiser",
        bool(agreed[kind].any() and np.all(to_gauss.high[agreed[kind]] < 0.05)),
        must=must,
    )
    figures.claim(
        f"{kind}: where the closed forms still differ by 1 to 10%, nearer to the empirical one",
        bool(fading[kind].any() and np.all(towards[kind][0][fading[kind]])),
        must=must,
    )
    figures.claim(
        f"{kind}: where training's reach ends, farther from it than the empirical denoiser is",
        bool(to_gauss.low[last] > gap.high[last]),
        must=must,
    )
    figures.claim(
        f"{kind}: hardly trained, it strays: farther at the last level than there",
        bool(to_gauss.low[-1] > to_gauss.high[last]),
        must=False,
    )


def share(shown, i):
    """A distance in percent of the variance, with its interval."""
    return Estimate(shown.mean[i], shown.low[i], shown.high[i]).percent


def span(chosen):
    """The noise levels from the first to the last chosen one."""
    if not chosen.any():
        return "no level"
    first, last = sigmas[chosen][[0, -1]]
    return f"{first:.2g}" if first == last else f"{first:.2g} to {last:.2g}"


numbers = {}
for kind, curves in distance.items():
    to_gauss, _, gap, constant = curves.values()
    first = int(agreed[kind].argmax()) if agreed[kind].any() else last
    numbers |= {
        f"{kind}_n": f"{len(sets[kind]):,}",
        f"{kind}_agreed": span(agreed[kind]),
        f"{kind}_empirical": span(towards[kind][0]),
        f"{kind}_gaussian": span(towards[kind][1]),
        f"{kind}_farther": span((to_gauss.low > constant.high) & (sigmas <= reach)),
        f"{kind}_common": f"{100 * common[kind][last]:.0f}%",
        f"{kind}_astray": f"{np.sqrt(to_gauss.mean[-1] * variances[kind]):.2g}",
        **{
            f"{kind}_{what}_{where}": share(shown, i)
            for what, shown in (("model", to_gauss), ("gap", gap), ("mean", constant))
            for where, i in (("first", first), ("reach", last), ("last", -1))
        },
    }
figures.record(
    dataset=data.name,
    preset=preset,
    dimension=f"{heldout[0].size}",
    n_heldout=f"{len(heldout):,}",
    often=f"{often:.2g}",
    reach=f"{reach:.2g}",
    reach_level=f"{sigmas[last]:.2g}",
    sigma_last=f"{sigmas[-1]:.2g}",
    noise_last=f"{sigmas[-1] * np.sqrt(heldout[0].size):,.0f}",
    noisy=f"{seen:,}",
    noisy_beyond=f"{seen * beyond[reach]:,.0f}",
    noisy_last=f"{seen * beyond[sigma_max]:.1f}",
    zone=geometry.zone_in_words,
    **numbers,
)
