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
# # Notebook: samples on their way from noise to a copy
#
# The paper claims that copies come about at medium noise, in the danger zone, and that more samples
# are copies than the hump on held-out images says. What came out here:
#
# ```{outcome} trajectories
# ```
#
# The chapter is [](../book/trajectories.md).

# %% tags=["parameters"]
preset: str = "digits-unet"  # in {digits-mlp, digits-unet, cifar10-luma, cifar10-rgb, cifar10}
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 0  # training images N of the small model, 0 for the preset's number, in [0, inf)
changes: str = ""  # further settings of both models: names, each with an equals sign and its value
n_samples: int = 256  # samples of each model, in [2, inf)
steps: int = 36  # noise levels of the sampler, in [12, inf)
solver: str = "heun"  # how to sample, euler as in the paper, in {heun, euler}
n_heldout: int = 500  # held-out images, at most; fewer where the set has fewer, in [2, inf)
draws: int = 2  # noise draws per held-out image, in [1, inf)
c: float = 5.0  # shell parameter of Lemma 4.5, in (0, inf)
level: float = 0.8  # C and W at least this high: the danger zone, in (0, 1)
seed: int = 0  # seed of training, noise and samples, in [0, inf)
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.spatial.distance import cdist

import geomem
from geomem import Curve
from geomem.companion import figures
from geomem.diffusion import presets, sampler, zoo
from geomem.memorization import ratio_test
from geomem.plots import STYLE, drawing
from geomem.memorization.ratio_test import THIRD
from geomem.geometry.intervals import Fraction
from geomem.geometry.regimes import measure_regimes
from geomem.geometry.intervals import Estimate, percent

plt.style.use(STYLE)
np.set_printoptions(suppress=True, linewidth=100)
small, large = presets.pair(
    preset, dataset=dataset, n_train=n_train, changes=changes, seed=seed, device=device
)
models = zoo.train_or_load([small, large])
data = small.data.load()
heldout = data.heldout[:n_heldout]
n, n_large = len(data.train), len(large.data.load().train)
names = [f"small, N = {n:,}", f"large, N = {n_large:,}"]
levels = geomem.karras_sigmas(steps)
print(f"{data.name}: {n_samples} samples of each model, {steps} levels, {solver}")

# %% [markdown]
# ## The regimes
#
# Coverage and concentration of the *small* training set, as in [](../book/regimes.md).

# %%
distinct = ratio_test.DistinctImages(data.train, device)
geometry = measure_regimes(heldout, distinct.images, c=c, level=level, seed=seed, device=device)
coverage, zone = geometry.coverage, geometry.zone
print(f"danger zone: sigma from {geometry.zone_in_words}")

# %% [markdown]
# ## Following the samples
#
# At every level the sampler holds a state $x$, and the model's answer to it. Of the answer:
# the ratio $d_{1\mathrm{NN}}/d_{2\mathrm{NN}}$ and which training image is nearest. Of the state:
# whether it lies in a shell of the small training set.

# %%
noise = sampler.initial_noise(
    heldout.shape[1:], [(seed, i) for i in range(n_samples)], float(levels[0])
)
points = np.asarray(data.train, np.float64).reshape(n, -1)
r_in, r_out = geomem.shell_radii(points.shape[1], c)
solve = sampler.SOLVERS[solver]
ratios, nearest, inside = [], [], []  # of each model: (n_samples, levels and the sample itself)
fractions = []
for trained in models:
    where = next(trained.denoise.parameters()).device
    found, hit = [], []
    for step in solve(trained.denoise, noise.to(where), levels):
        found.append(ratio_test.neighbours(step.denoised, distinct))
        distance = cdist(step.x.flatten(1).cpu().numpy(), points)
        in_shell = (distance >= step.sigma * r_in) & (distance <= step.sigma * r_out)
        hit.append(in_shell.any(1))
    ratios.append(np.array([near.ratio for near in found]).T)
    nearest.append(np.array([near.index for near in found]).T)
    inside.append(np.array(hit).T[:, :-1])  # the sample has no noise, and no shell
    fractions.append(found[-1].fraction)  # the last answer is the sample itself
below = [ratio < THIRD for ratio in ratios]
memorized = below[0][:, -1]
for name, fraction in zip(names, fractions, strict=True):
    print(f"{name}: memorized in the end {fraction}")
ever = below[0].any(1)
lost = f"{(ever & ~memorized).sum()} of {ever.sum()}"
print(f"small model: of those that ever pass, not memorized in the end: {lost}")

# %% [markdown]
# Beside it the other measure of the paper: the share of noisy *held-out* images whose denoised
# answers pass the same test, at the same levels.

# %%
inner = levels[(levels >= 0.01) & (levels <= 20)]
options = dict(draws=draws, seed=seed, device=device)
rate = ratio_test.memorization_rates(models[0].denoise, heldout, distinct, inner, **options)
now = [Curve.from_queries(levels, b[:, :-1].astype(float), indicator=True) for b in below]
k = int(rate.mean.argmax())
at = int(np.flatnonzero(levels == inner[k])[0])
print("sigma, passing now: small, large; held-out images; quartiles of the ratio, small and large")
quartiles = [np.quantile(ratio, [0.25, 0.5, 0.75], axis=0)[:, :-1] for ratio in ratios]
held = np.full(steps, np.nan)
held[np.isin(levels, inner)] = rate.mean
print(np.c_[levels, now[0].mean, now[1].mean, held, *(q.T for q in quartiles)].round(3))

# %% tags=["hide-input", "remove-output"]
fig, (ax, lower) = plt.subplots(2, 1, figsize=(4.8, 5.4), sharex=True, height_ratios=(3, 2))
drawing.shade_regimes(ax, geometry.regimes)
for name, curve, quartile, style in zip(
    names, now, quartiles, (dict(color="C1", ls="-"), dict(color="C2", ls="-.")), strict=True
):
    curve.plot(ax, name, **style)
    lower.plot(levels, quartile[1], **style)
    lower.fill_between(levels, quartile[0], quartile[2], color=style["color"], alpha=0.25, lw=0)
rate.plot(ax, "small, on held-out images", color="k", ls=":")
drawing.sigma_axis(ax)
drawing.sigma_axis(lower)
if geometry.regimes.medium:
    lower.axvspan(zone.low, zone.high, color="0.85", lw=0, zorder=0)
lower.axhline(THIRD, color="k", lw=0.8, ls=":")
ax.set(xlabel="", ylabel="share that passes now", xlim=(0.01, 20))
lower.set_ylabel(r"$d_{1\mathrm{NN}}/d_{2\mathrm{NN}}$")
fig.legend(loc="outside lower center", ncol=2)
figures.save(
    fig,
    "fig-trajectories-course",
    title="Memorization along the trajectories",
    caption=(
        rf"Top: share of {n_samples} trajectories of each model on {data.name} whose denoised "
        rf"image passes the ratio test at this level (bands: 95% intervals), and the same for "
        rf"noisy held-out images. Bottom: median and quartiles of the ratio along the "
        rf"trajectories; dotted: 1/3. Shaded: the danger zone, {geometry.zone_in_words}. "
        rf"Sampling runs from right to left."
    ),
    alt=(
        "Share that passes the ratio test against noise level. Of the small model's trajectories "
        f"{fractions[0].value:.2g} pass at the end, of the large model's {fractions[1].value:.2g}; "
        f"on held-out images it is {rate.mean[k]:.2g} at most, at sigma {inner[k]:.2g}."
    ),
    table={
        "sigma [data units]": levels,
        **{
            f"{name}, {what}": values
            for name, curve, quartile in zip(names, now, quartiles, strict=True)
            for what, values in (
                ("passing now [fraction]", curve.mean),
                ("low [fraction, 95% interval]", curve.low),
                ("high [fraction, 95% interval]", curve.high),
                ("lower quartile [ratio]", quartile[0]),
                ("median [ratio]", quartile[1]),
                ("upper quartile [ratio]", quartile[2]),
            )
        },
        "small, on held-out images [fraction]": held,
    },
    paper_item="Section 3, per-noise-level and trajectory-level memorization",
    claim="ours",
    data=[data],
    seeds={"training": seed, "samples": seed, "noise": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-trajectories-course
# :again:
# ```

# %% [markdown]
# ## Which image, and whether a copy
#
# Two moments of a trajectory: from where on its nearest training image is the final one, and from
# where on the ratio test passes for good. Levels are those of the sampler; 0 is the sample itself.

# %%
grid = np.append(levels, 0.0)
fixed = [  # the nearest image is final here and at every level after
    np.logical_and.accumulate((index == index[:, -1:])[:, ::-1], axis=1)[:, ::-1]
    for index in nearest
]
passed = np.logical_and.accumulate(below[0][:, ::-1], axis=1)[:, ::-1]
image_at, copy_at = grid[fixed[0].argmax(1)], grid[passed.argmax(1)]
count = int(memorized.sum())


def share_of(part, whole):
    """How many of some samples are in a part; None of no samples."""
    return Fraction.of(int((part & whole).sum()), int(whole.sum())) if whole.any() else None


def text(value):
    """A share or a level as text, also where there is none."""
    if value is None or isinstance(value, Fraction):
        return str(value or "none")
    return f"{value:.2g}" if np.isfinite(value) else "none"


earlier = share_of(image_at > copy_at, memorized)
moments = {}
for key, moment in (("image", image_at), ("copy", copy_at)):
    quarters = (0.25, 0.5, 0.75)
    values = (
        np.quantile(moment[memorized], quarters, method="inverted_cdf") if count else [np.nan] * 3
    )
    moments[key] = dict(zip(("late", "median", "early"), map(text, values), strict=True))
    print(f"{key} settled, of the memorized: sigma median and quartiles {moments[key]}")
print("image settled before the copy:", text(earlier))
settled_at = {"above": copy_at >= zone.high, "inside": zone.contains(copy_at)}
settled_at["below"] = copy_at < zone.low
decided_share = {where: share_of(part, memorized) for where, part in settled_at.items()}
for where, part in decided_share.items():
    print(f"copy settled {where} the danger zone: {text(part)}")
large_median = np.quantile(grid[fixed[1].argmax(1)], 0.5, method="inverted_cdf")
print(f"nearest image settled, large model: median {large_median:.2g}")
named = share_of(image_at >= zone.high, memorized)
print("nearest image settled above the danger zone:", text(named))

# %%
edge = int(np.abs(np.log(levels / zone.low)).argmin())
passing = below[0][:, edge]
already, kept = share_of(passing, memorized), share_of(memorized, passing)
print(
    f"at sigma = {levels[edge]:.3g}: of the memorized, {text(already)} pass; of those that ", end=""
)
print(f"pass, {text(kept)} are memorized in the end")

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots(figsize=(4.8, 4.1))
drawing.shade_regimes(ax, geometry.regimes)
groups = {
    "image, memorized": (fixed[0][memorized], dict(color="C0", ls="-")),
    "copy, memorized": (passed[memorized], dict(color="C1", ls="--")),
    "image, not memorized": (fixed[0][~memorized], dict(color="0.5", ls=":")),
    "image, large model": (fixed[1], dict(color="C2", ls="-.")),
}
settled = {
    name: Curve.from_queries(levels, rows[:, :-1].astype(float), indicator=True)
    for name, (rows, _) in groups.items()
    if len(rows)
}
for name, curve in settled.items():
    curve.plot(ax, name, **groups[name][1])
drawing.sigma_axis(ax)
ax.set(ylabel="share that is settled", xlim=(0.01, 20))
fig.legend(loc="outside lower center", ncol=2)
figures.save(
    fig,
    "fig-trajectories-moments",
    title="When the nearest image is settled, and when the copy is",
    caption=(
        rf"Share of the trajectories on {data.name} whose nearest training image is already the "
        rf"final one, and share of the memorized ones ({count} of {n_samples}) that pass the "
        rf"ratio test from here on (bands: 95% intervals). Shaded: the danger zone. Medians of the "
        rf"memorized: image at $\sigma =$ {moments['image']['median']}, copy at "
        rf"{moments['copy']['median']}."
    ),
    alt=(
        "Shares of trajectories that are settled; they rise to 1 as noise falls, from right to "
        f"left. Medians of the memorized: nearest image at sigma {moments['image']['median']}, "
        f"copy at {moments['copy']['median']}."
    ),
    table={
        "sigma [data units]": levels,
        **{
            f"{name}, {what}": getattr(curve, attribute)
            for name, curve in settled.items()
            for what, attribute in (
                ("share settled [fraction]", "mean"),
                ("low [fraction, 95% interval]", "low"),
                ("high [fraction, 95% interval]", "high"),
            )
        },
    },
    paper_item="Section 3, trajectory-level memorization",
    claim="ours",
    data=[data],
    seeds={"training": seed, "samples": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-trajectories-moments
# :again:
# ```

# %% [markdown]
# ## Two samples
#
# The samples that end with the smallest and with the largest ratio, sampled again alone: sample $i$
# has a seed of its own.

# %%
picked = [int(ratios[0][:, -1].argmin()), int(ratios[0][:, -1].argmax())]
wanted = np.array([5.0, 2.0, 1.0, 0.5, 0.2, 0.05])
columns = [*np.abs(np.log(levels[:, None] / wanted)).argmin(0).tolist(), steps]
where = next(models[0].denoise.parameters()).device
course = list(solve(models[0].denoise, noise[picked].to(where), levels))
rows, framed = [], []
for j, i in enumerate(picked):
    states = np.stack([course[s].x[j].cpu().numpy() / max(1, grid[s]) for s in columns])
    answers = np.stack([course[s].denoised[j].cpu().numpy() for s in columns])
    rows += [("state", states), ("answer", answers)]
    rows += [("nearest", data.train[nearest[0][i, columns]])]
    framed += [None, below[0][i, columns], None]
    print(f"sample {i}: ratios", ratios[0][i, columns].round(2))

# %% tags=["hide-input", "remove-output"]
fig = drawing.image_grid(rows, [f"{grid[s]:.2g}" for s in columns], framed)
fig.supxlabel("noise level $\\sigma$ (data units)", fontsize=10.5)
figures.save(
    fig,
    "fig-trajectories-strip",
    title="Two samples on their way",
    caption=(
        rf"Two samples of the small model on {data.name} at falling noise: the state (divided by "
        rf"$\max(1, \sigma)$ to be seen), the model's answer, and the training image nearest to "
        rf"the answer. Red frame: the answer passes the ratio test. Upper three rows: the sample "
        rf"that ends with the smallest ratio of the {n_samples}, "
        rf"{ratios[0][picked[0], -1]:.2g}; lower three: the one with the largest, "
        rf"{ratios[0][picked[1], -1]:.2g}."
    ),
    alt=(
        "Six rows of images as noise falls from left to right. In the upper three the answer "
        "comes closest to its nearest training image; in the lower three it stays farthest from "
        "one. A red frame marks an answer that is memorized."
    ),
    table=drawing.pixel_table(
        grid[columns],
        [
            (f"{sample}: {what}", images)
            for sample, part in (("smallest ratio", rows[:3]), ("largest ratio", rows[3:]))
            for what, images in part
        ],
    ),
    paper_item="Section 3, trajectory-level memorization",
    claim="ours",
    data=[data],
    seeds={"training": seed, "samples": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-trajectories-strip
# :again:
# ```

# %% [markdown]
# ## Where the states lie
#
# Coverage once more, of other inputs: the share of the sampler's own states inside a shell of the
# small training set, against $C_\sigma$ of noisy held-out images.

# %%
groups = {
    "small, memorized": (inside[0][memorized], dict(color="C1", ls="-")),
    "small, not memorized": (inside[0][~memorized], dict(color="C1", ls="--")),
    "large": (inside[1], dict(color="C2", ls="-.")),
}
states = {
    name: Curve.from_queries(levels, rows.astype(float), indicator=True)
    for name, (rows, _) in groups.items()
    if len(rows)
}
on_heldout = np.interp(np.log(levels), np.log(coverage.sigma), coverage.mean)
middle = int(np.abs(on_heldout - 0.5).argmin())
print("sigma,", ", ".join(states), ", held-out images")
print(np.c_[levels, *(curve.mean for curve in states.values()), on_heldout].round(3))

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots(figsize=(4.8, 4.0))
drawing.shade_regimes(ax, geometry.regimes)
coverage.plot(ax, r"held-out images: $C_\sigma$", color="C0", ls=":")
for name, curve in states.items():
    curve.plot(ax, name, **groups[name][1])
drawing.sigma_axis(ax)
ax.set(ylabel="share inside a shell", xlim=(0.01, 20))
fig.legend(loc="outside lower center", ncol=2)
figures.save(
    fig,
    "fig-trajectories-states",
    title="Coverage of the sampler's own states",
    caption=(
        rf"Share of the states along the trajectories on {data.name} that lie in a shell of the "
        rf"small training set ($N = {n}$, $c = {c:g}$), for samples of the small model that are "
        rf"memorized in the end, for those that are not, and for the large model (bands: 95% "
        rf"intervals), and coverage $C_\sigma$ of noisy held-out images. Shaded: the danger zone."
    ),
    alt=(
        "Shares inside a shell against noise level. At sigma "
        f"{levels[middle]:.2g}: held-out images, {percent(on_heldout[middle])}; "
        + "; ".join(f"{name}, {percent(curve.mean[middle])}" for name, curve in states.items())
        + "."
    ),
    table={
        "sigma [data units]": levels,
        **{
            f"{name}, {what}": getattr(curve, attribute)
            for name, curve in states.items()
            for what, attribute in (
                ("share inside a shell [fraction]", "mean"),
                ("low [fraction, 95% interval]", "low"),
                ("high [fraction, 95% interval]", "high"),
            )
        },
        "C_sigma, held-out images [fraction]": on_heldout,
    },
    paper_item="Definition 4.6 and section 4.2",
    claim="ours",
    data=[data],
    seeds={"training": seed, "samples": seed, "noise": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-trajectories-states
# :again:
# ```

# %% [markdown]
# ## Both measures over training
#
# The memorized fraction of generated samples, and the peak of the rate on held-out images, at the
# snapshots of the small model.

# %%
points_in_time = [*(s for s in presets.QUARTERS if s in small.train.snapshots), 1]
generated, peaks = [], []
for share in points_in_time:
    snapshot = models[0].at(share)
    if share == 1:
        generated.append(fractions[0])
        curve = rate
    else:
        images = sampler.sample(
            snapshot, heldout.shape[1:], n_samples, seed=seed, sigmas=levels, solver=solver
        )
        generated.append(ratio_test.memorized_fraction(images, distinct))
        curve = ratio_test.memorization_rates(snapshot, heldout, distinct, inner, **options)
    j = int(curve.mean.argmax())
    peaks.append(Estimate(curve.mean[j], curve.low[j], curve.high[j]))
    print(f"step {small.train.step_of(share):6,}: samples {generated[-1]}, ", end="")
    print(f"peak of the rate {peaks[-1].percent}")

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots(figsize=(4.8, 3.2))
moment = [small.train.step_of(share) for share in points_in_time]
for values, label, style in (
    (generated, "generated samples", "C1s-"),
    (peaks, "held-out images, peak of the rate", "ko:"),
):
    mean, low, high = np.array([(f.value, f.low, f.high) for f in values]).T
    bars = np.maximum([mean - low, high - mean], 0)
    ax.errorbar(moment, mean, bars, fmt=style, capsize=2, elinewidth=1, label=label)
ax.set(xscale="log", xlabel="training step", ylabel="memorized", ylim=(-0.03, 1.03))
ax.set_xticks(moment, [f"{step:,}" for step in moment])
ax.minorticks_off()
ax.legend(loc="upper left")
figures.save(
    fig,
    "fig-trajectories-training",
    title="The two measures of memorization over training",
    caption=(
        f"The small model on {data.name}: memorized fraction of {n_samples} generated samples, and "
        f"the peak over noise levels of the rate on noisy held-out images, at {len(moment)} "
        "moments of training (bars: 95% intervals)."
    ),
    alt=(
        "Two curves over training. From the first to the last moment shown, that of generated "
        f"samples goes from {generated[0].value:.2g} to {generated[-1].value:.2g}, the one on "
        f"held-out images from {peaks[0].value:.2g} to {peaks[-1].value:.2g}."
    ),
    table={
        "step [count]": moment,
        "generated samples memorized [fraction]": [f.value for f in generated],
        "low [fraction, 95% interval]": [f.low for f in generated],
        "high [fraction, 95% interval]": [f.high for f in generated],
        "peak of the rate on held-out images [fraction]": [p.value for p in peaks],
        "low of the peak [fraction, 95% interval]": [p.low for p in peaks],
        "high of the peak [fraction, 95% interval]": [p.high for p in peaks],
    },
    paper_item="Section 3, per-noise-level and trajectory-level memorization",
    claim="ours",
    data=[data],
    seeds={"training": seed, "samples": seed, "noise": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-trajectories-training
# :again:
# ```

# %% [markdown]
# ## What must hold
#
# The small model memorizes and the large one does not; of the memorized samples nearly all have
# their nearest image settled at a higher level than the copy; and where coverage of held-out
# images passes one half, the memorized samples' states are covered more. All with whole
# intervals. For the book's own models that must hold; for others it is said. Whether most copies
# are settled in the danger zone is the question: whatever comes out is the finding.

# %%
preset_data = presets.PRESETS[f"{preset}-small"].data.name
must = preset != "cifar10" and (dataset, n_train, changes) == (preset_data, 0, "")
must = must and n_samples >= 256 and len(heldout) >= 500
figures.claim("the small model memorizes: above 0.2", fractions[0].low > 0.2, must=must)
figures.claim("the large one does not: below 0.05", fractions[1].high < 0.05, must=must)
more = fractions[0].low > rate.high[k]
figures.claim("more samples are copies than the hump's peak says", bool(more), must=must)
first_image = earlier is not None and earlier.low > 0.9
figures.claim("the image is settled before the copy: above 0.9", first_image, must=must)
covered = states.get("small, memorized")
gained = covered is not None and covered.low[middle] > on_heldout[middle]
figures.claim("memorized samples' states are covered more", bool(gained), must=must)
if geometry.regimes.medium and count:
    most = decided_share["inside"].low > 0.5
    figures.claim("most copies are settled inside the danger zone", most, must=False)
figures.record(
    dataset=data.name,
    n_train=f"{n:,}",
    n_samples=f"{n_samples:,}",
    steps=f"{steps}",
    small=str(fractions[0]),
    large=str(fractions[1]),
    lost=lost,
    n_heldout=f"{len(heldout):,}",
    zone=geometry.zone_in_words,
    zone_from=str(geometry.regimes.covered),
    zone_to=str(geometry.regimes.concentrated),
    rate_peak=peaks[-1].percent,
    sigma_peak=f"{inner[k]:.2g}",
    now_at_peak=str(Fraction.of(int(below[0][:, at].sum()), n_samples)),
    **{f"{key}_{name}": v for key, values in moments.items() for name, v in values.items()},
    earlier=text(earlier),
    named=text(named),
    image_large=f"{large_median:.2g}",
    **{f"decided_{where}": text(part) for where, part in decided_share.items()},
    sigma_edge=f"{levels[edge]:.2g}",
    already=text(already),
    kept=text(kept),
    sigma_middle=f"{levels[middle]:.2g}",
    middle_heldout=percent(on_heldout[middle]),
    **{
        f"middle_{key}": Estimate(
            *(y[middle] for y in (states[name].mean, states[name].low, states[name].high))
        ).percent
        if name in states
        else "none"
        for key, name in zip(("memorized", "other", "large"), groups, strict=True)
    },
    steps_of_training=", ".join(f"{step:,}" for step in moment),
    generated=", ".join(percent(f.value) for f in generated),
    peaks=", ".join(percent(p.value) for p in peaks),
)
