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
# # Notebook: gap training, against early stopping
#
# The paper trains without the noise levels of its danger zone, and reports fewer copies and better
# images at once (its Figure 4). Here that is done with the zone that our rule finds, and with a
# wider window of ours; and beside each stands the cheapest remedy there is, to stop training
# early. The chapter is [](../book/gap_training.md).
#
# ```{outcome} gap_training
# ```

# %% tags=["parameters"]
preset: str = "digits-unet"  # in {digits-mlp, digits-unet, cifar10-luma, cifar10-rgb, cifar10}
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 0  # training images N of the small model, 0 for the preset's number, in [0, inf)
changes: str = ""  # further settings of both models: names, each with an equals sign and its value
gap_low: float = 0.0  # lower end of the danger zone, data units, 0 for our rule's, in [0, inf)
gap_high: float = 0.0  # upper end of the danger zone, data units, 0 for our rule's, in [0, inf)
copy_gap: bool = True  # also leave out our copy window, which reaches further down
gap_keep: float = 0.1  # share of the noise levels drawn in the copy window that is kept, in [0, 1]
none_kept: bool = True  # also our copy window with nothing kept, trained once
dummy: bool = True  # also the paper's baseline, a second class of noise
trainings: int = 3  # trainings of each kind, of seed, seed + 1, ..., in [1, inf)
repeat_all: bool = True  # false: the zone gap and the dummy class are trained once
stop_share: float = 0.125  # share of the training after which a fixed stop stops, in (0, 1]
n_samples: int = 512  # samples of each model, in [20, inf)
n_heldout: int = 500  # held-out images, at most; fewer where the set has fewer, in [20, inf)
solver: str = "heun"  # how to sample, euler as in the paper, in {heun, euler}
inception: bool = False  # also FID, by the extra `fid` and Inception's weights
n_sigmas: int = 18  # noise levels of the denoising error, in [5, inf)
c: float = 5.0  # shell parameter of Lemma 4.5, in (0, inf)
level: float = 0.8  # C and W at least this high: the danger zone, in (0, 1)
seed: int = 0  # seed of training, noise and samples, in [0, inf)
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np

from geomem import digitized
from geomem.companion import figures
from geomem.diffusion import presets, sampler
from geomem.memorization import ratio_test, quality
from geomem.memorization.copy_range import CopyRange
from geomem.plots import STYLE, drawing
from geomem.diffusion import zoo, train
from geomem.memorization import stopping, swaps
from geomem.memorization.remedies import Bench, copies_changed, error_ratio, told_apart
from geomem.geometry.window import Window

plt.style.use(STYLE)
small, large = presets.pair(
    preset, dataset=dataset, n_train=n_train, changes=changes, seed=seed, device=device
)
if stop_share not in (*small.train.snapshots, 1):
    known = ", ".join(map(str, small.train.snapshots))
    raise ValueError(f"stop_share: {stop_share} is none of the training's snapshots: {known}.")
data, everything = small.data.load(), large.data.load()
unseen = quality.unseen_images(data.train, everything.train)
heldout = data.heldout[:n_heldout]
choosing, judging = stopping.split_heldout(heldout)
distinct = ratio_test.DistinctImages(data.train, device)
print(f"{data.name}: {len(data.train)} training images, {len(heldout)} held-out images")

# %% [markdown]
# ## What is left out
#
# The paper leaves out the danger zone and keeps nothing: the *zone gap*. The *copy window* is ours:
# it reaches down to half of the level where a copy can still be undone ([](../book/swaps.md));
# with a tenth of its draws kept, and with none. Ends are rounded to two digits, so that the last
# bit of a sum does not make another model.

# %%
plain, many = zoo.train_or_load([small, large])
reach = CopyRange.of(distinct, heldout, many.denoise, c=c, level=level, seed=seed, device=device)
zone, window = (
    Window(*(float(f"{end:.2g}") for end in ends))
    for ends in (
        (gap_low or reach.zone.low, gap_high or reach.zone.high),
        (min(reach.window.low, gap_low or np.inf), gap_high or reach.window.high),
    )
)
gaps = {"zone gap": (zone, 0.0)}
if copy_gap:
    gaps["copy gap"] = (window, gap_keep)
if copy_gap and none_kept:
    gaps["copy gap, none kept"] = (window, 0.0)
law = small.train.for_images(data.train).noise
mass = {name: float(law.cdf(w.high) - law.cdf(w.low)) for name, (w, _) in gaps.items()}
for name, (left_out, keep) in gaps.items():
    print(f"{name}: {left_out}, {mass[name]:.0%} of the plain model's draws; {keep:.0%} kept")

# %% [markdown]
# ## The models
#
# All differ from the plain small model in one thing. The dummy class is a second class of as many
# images of noise; samples are drawn from the first. (Its mean and standard deviation are set to
# the real images': those of both classes together would shift the noise levels it is trained at.)

# %%
own = small.train.for_images(data.train).model
kinds = {"plain": {}} | {
    name: {
        "train.noise.gap_low": left_out.low,
        "train.noise.gap_high": left_out.high,
        "train.noise.gap_keep": keep,
    }
    for name, (left_out, keep) in gaps.items()
}
if dummy:
    kinds["dummy"] = {
        "data.dummy": True,
        "train.model.n_classes": 2,
        "train.model.mean": own.mean,
        "train.model.sigma_data": own.sigma_data,
    }
seeds = range(seed, seed + trainings)
once = {"copy gap, none kept"} | (set() if repeat_all else {"zone gap", "dummy"})
wanted = {
    (kind, s): presets.changed(small, {**new, "train.seed": s})
    for kind, new in kinds.items()
    for s in seeds
    if s == seed or kind not in once
}
models = dict(zip(wanted, zoo.train_or_load([*wanted.values()]), strict=True))
broken = [f"{kind}, seed {s}" for (kind, s), m in models.items() if m.broke_down]
broken += ["large"] if many.broke_down else []
print("broken down:", broken or "none: every loss ends below where it was after an eighth")

# %% [markdown]
# ## When would the held-out loss have said stop?
#
# Half of the held-out images choose: on them, the training loss of the plain model is measured at
# each snapshot, and the snapshot where it is lowest is taken. Nobody looks at copies for it. The
# other half judges. A second rule is simpler yet: stop after a fixed share of the steps.

# %%
stops = {s: stopping.Stopping.of(models["plain", s], choosing, seed=seed) for s in seeds}
for s, stop in stops.items():
    losses = ", ".join(
        f"{step:,}: {loss.value:.3f}" for step, loss in zip(stop.steps, stop.losses, strict=True)
    )
    print(f"seed {s}: lowest at step {stop.step:,}; {losses}")


# %%
def network(kind: str, s: int, share: float = 1):
    """A denoiser of these images, and how many its training took."""
    found = models[kind, s].at(share)
    images = small.train.step_of(share) * small.train.batch
    return (found.given(0) if kind == "dummy" else found), images


denoisers = {(kind, s): network(kind, s) for kind, s in models}
for s in seeds:
    denoisers["stopped", s] = network("plain", s, stops[s].best)
    denoisers["fixed stop", s] = network("plain", s, stop_share)
early = network("plain", seed, stop_share)[0]
inside = swaps.swap(plain.denoise, early, window)
denoisers["stopped inside", seed] = inside, small.train.images
denoisers["large", seed] = many.denoise, large.train.images

# %% [markdown]
# ## Judged alike
#
# Copies: the ratio test against the training set. Error: on the held-out images that judge.
# Quality: distances of the samples to real images that the small models have not seen; they stand
# between those of real held-out images and of the training set drawn with repeats, a perfect
# copier.

# %%
features = quality.features_of(everything, unseen, seed=seed)
if inception:
    features["Inception features (FID)"] = quality.InceptionFeatures(device=train.device_of(device))
bench = Bench(
    distinct,
    judging,
    unseen,
    features,
    n=n_samples,
    sigmas=np.geomspace(0.01, 20, n_sigmas),
    seed=seed,
    solver=solver,
    device=next(plain.denoise.parameters()).device,
)
judged = {key: bench.judge(*denoiser, seed=key[1]) for key, denoiser in denoisers.items()}
references = bench.references(heldout)
distances = [*references["held-out"]]


def of(kind: str, other: str = "plain") -> list:
    """What became of each training of a kind, where there is one of the other as well."""
    return [judged[kind, s] for s in seeds if {(kind, s), (other, s)} <= judged.keys()]


for (kind, s), found in judged.items():
    values = "; ".join(f"{name} {value}" for name, value in found.distance.items())
    print(f"{kind}, seed {s}: copies {found.copies}; {values}; {found.images:,} images")

# %% tags=["hide-input", "remove-output"]
looks = {
    "plain": dict(color="C1", marker="o", ls="-"),
    "stopped": dict(color="k", marker="X", ls="-"),
    "fixed stop": dict(color="0.5", marker="P", ls=":"),
    "zone gap": dict(color="C3", marker="D", ls="-."),
    "copy gap": dict(color="C2", marker="s", ls="--"),
    "copy gap, none kept": dict(color="C2", marker="v", ls=":"),
    "dummy": dict(color="C0", marker="^", ls=":"),
    "stopped inside": dict(color="0.3", marker="*", ls=":"),
    "large": dict(color="0.6", marker="h", ls="-"),
}
names = {
    "plain": "plain, to the end",
    "stopped": "plain, stopped:\nlowest held-out loss",
    "fixed stop": f"plain, stopped:\n{stop_share:.1%} of the steps",
    "zone gap": f"without the zone\n{zone.in_words}",
    "copy gap": f"without our window\n{window.in_words}, {gap_keep:.0%} kept",
    "copy gap, none kept": "without our window,\nnone kept",
    "dummy": "dummy class",
    "stopped inside": "stopped in our\nwindow only",
    "large": f"large,\nN = {len(everything.train):,}",
}
shown = [kind for kind in looks if (kind, seed) in judged]
fig, (ax, lower) = plt.subplots(2, 1, figsize=(4.8, 8.2), height_ratios=(1.5, 1))
for place, kind in enumerate(shown):
    color = looks[kind]["color"]
    for shift, one in zip((0, -0.22, 0.22, -0.33, 0.33), of(kind, kind), strict=False):
        share = one.copies
        ends = [[share.value - share.low], [share.high - share.value]]
        ax.errorbar(share.value, place + shift, xerr=ends, fmt=looks[kind]["marker"], color=color)
    cost = judged[kind, seed].images / judged["plain", seed].images
    ax.text(1.04, place, f"{cost:.0%}", va="center", fontsize=9)
ax.text(1.04, -0.75, "images\nseen", va="bottom", fontsize=9)
ax.set(yticks=range(len(shown)), yticklabels=[names[kind] for kind in shown], xlim=(-0.03, 1.03))
ax.tick_params(axis="y", labelsize=8.5)
ax.invert_yaxis()
ax.set_xlabel("share of memorized samples")
lower.axvspan(zone.low, zone.high, color="0.85", lw=0, zorder=0)
lower.axvspan(window.low, zone.low, color="0.94", lw=0, zorder=0)
lower.axhline(1, color="k", lw=1)
ratios = {}
for kind in ("plain", "zone gap", "copy gap", "dummy"):
    if (kind, seed) not in judged:
        continue
    ratios[kind] = ratio = error_ratio(
        [one.error for one in of(kind, "stopped")], [one.error for one in of("stopped", kind)]
    )
    lower.plot(ratio.sigma, ratio.value, ms=4, label=kind, **looks[kind])
    band = dict(color=looks[kind]["color"], alpha=0.2, lw=0)
    lower.fill_between(ratio.sigma, ratio.low, ratio.high, **band)
drawing.sigma_axis(lower, probability=False)
lower.set(ylabel="held-out error /\nthe stopped model's", yscale="log", ylim=(0.4, 4))
lower.set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
lower.minorticks_off()
fig.legend(*lower.get_legend_handles_labels(), loc="outside lower center", ncol=4)
n_seeds = f"{trainings} trainings" if trainings > 1 else "one training"
figures.save(
    fig,
    "fig-gap-stopping",
    title="A gap against early stopping",
    caption=(
        rf"Above: memorized share of {n_samples} samples on {data.name} ($N = "
        rf"{len(data.train)}$), one mark for each training, with 95% intervals over samples, and "
        rf"how many images it has seen, of the plain model's. Below: denoising error on "
        rf"{len(judging)} held-out images over that of the plain model stopped at its lowest "
        rf"held-out loss (bands: 95% intervals over {n_seeds if trainings > 1 else 'images'}); "
        rf"above one, stopping is better. Shaded: the danger zone {zone.in_words}, and, "
        rf"lighter, the rest of our copy window, {window.in_words}."
    ),
    alt=(
        "Marks for each remedy. The plain model memorizes "
        f"{judged['plain', seed].copies.value:.2g} of its samples; stopped at its lowest held-out "
        f"loss {judged['stopped', seed].copies.value:.2g}; without the danger zone "
        f"{judged['zone gap', seed].copies.value:.2g}. Below, ratios of held-out errors."
    ),
    table={
        "quantity [name]": [
            *("memorized" for _ in judged),
            *("held-out error over the stopped model's" for r in ratios.values() for _ in r.sigma),
        ],
        "model [name]": [
            *(kind for kind, _ in judged),
            *(k for k, r in ratios.items() for _ in r.sigma),
        ],
        "training seed [index]": [
            *(s for _, s in judged),
            *("all" for r in ratios.values() for _ in r.sigma),
        ],
        "sigma [data units]": [
            *(np.nan for _ in judged),
            *(x for r in ratios.values() for x in r.sigma),
        ],
        "value [fraction or ratio]": [
            *(j.copies.value for j in judged.values()),
            *(x for r in ratios.values() for x in r.value),
        ],
        "low [95% interval]": [
            *(j.copies.low for j in judged.values()),
            *(x for r in ratios.values() for x in r.low),
        ],
        "high [95% interval]": [
            *(j.copies.high for j in judged.values()),
            *(x for r in ratios.values() for x in r.high),
        ],
        "images seen [count]": [
            *(j.images for j in judged.values()),
            *(np.nan for r in ratios.values() for _ in r.sigma),
        ],
    },
    paper_item="Figure 4",
    claim="ours",
    data=[data],
    seeds={"training": seed, "samples": seed, "classifier": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-gap-stopping
# :again:
# ```

# %% [markdown]
# ## Over the training
#
# When is the held-out loss lowest, and when do copies come?

# %%
quarters = [share for share in presets.QUARTERS if share in small.train.snapshots]
course = {
    (kind, share): bench.judge(*network(kind, seed, share)) for kind in kinds for share in quarters
} | {(kind, 1): judged[kind, seed] for kind in kinds}
shares = [*quarters, 1]
steps = [small.train.step_of(share) for share in shares]

# %% tags=["hide-input", "remove-output"]
panels = ["held-out loss", "memorized", *distances]
fig, axes = plt.subplots(len(panels), 1, figsize=(4.8, 1.9 * len(panels) + 1.2), sharex=True)
rows = []
for s, stop in stops.items():
    value, low, high = np.array([(e.value, e.low, e.high) for e in stop.losses]).T
    axes[0].plot(stop.steps, value, color="C1", lw=1)
    axes[0].fill_between(stop.steps, low, high, color="C1", alpha=0.2, lw=0)
    axes[0].plot(stop.step, min(value), **looks["stopped"])
    rows += [
        ("held-out loss", f"plain, seed {s}", *x)
        for x in zip(stop.steps, value, low, high, strict=True)
    ]
axes[0].set(ylabel="held-out loss")
for ax, panel in zip(axes[1:], panels[1:], strict=True):
    for kind in kinds:
        found = [course[kind, share] for share in shares]
        found = [one.copies if panel == "memorized" else one.distance[panel] for one in found]
        mean, low, high = np.array([(e.value, e.low, e.high) for e in found]).T
        ax.plot(steps, mean, ms=4.5, label=kind, **looks[kind])
        ax.fill_between(steps, low, high, color=looks[kind]["color"], alpha=0.2, lw=0)
        rows += [(panel, kind, *x) for x in zip(steps, mean, low, high, strict=True)]
    if panel == "memorized":
        ax.set(ylabel="memorized share", ylim=(-0.03, 1.03))
        continue
    ax.axhline(references["held-out"][panel].value, color="0.4", ls=":", label="real, held out")
    ax.axhline(references["training set"][panel].value, color="0.4", ls="--", label="training set")
    name = panel if panel == "sliced Wasserstein" else f"Frechet distance,\n{panel}"
    ax.set(ylabel=name, ylim=(0, None))
axes[-1].set(xlabel="training step", xscale="log")
axes[-1].set_xticks(steps, [f"{step:,}" for step in steps])
axes[-1].minorticks_off()
fig.legend(*axes[2].get_legend_handles_labels(), loc="outside lower center", ncol=2)
columns = [*zip(*rows, strict=True)]
figures.save(
    fig,
    "fig-gap-training",
    title="Memorization and quality over gap training",
    caption=(
        rf"On {data.name} ($N = {len(data.train)}$), from above: the plain model's loss on "
        rf"{len(choosing)} held-out images, of {n_seeds}, and its minimum (cross); memorized share "
        rf"of {n_samples} samples; distances of {bench.compared} of them to unseen real images "
        rf"(bands: 95% intervals). Dotted: real held-out images; dashed: the training set drawn "
        rf"with repeats, a perfect copier's score."
    ),
    alt=(
        f"The held-out loss is lowest at step {stops[seed].step:,}. At the end "
        f"the plain model memorizes {judged['plain', seed].copies.value:.2g} of its samples, the "
        f"one without the danger zone {judged['zone gap', seed].copies.value:.2g}; below, their "
        "distances over training."
    ),
    table=dict(
        zip(
            (
                "quantity [name]",
                "model [name]",
                "step [count]",
                "value [loss, fraction, feature units squared or data units]",
                "low [95% interval]",
                "high [95% interval]",
            ),
            map(list, columns),
            strict=True,
        )
    ),
    paper_item="Figure 4",
    claim="paper",
    data=[data],
    seeds={"training": seed, "samples": seed, "classifier": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-gap-training
# :again:
# ```

# %% [markdown]
# ## The paper's own course
#
# Read off the paper's Figure 4: cars of CIFAR-10, gap [1, 5], nothing kept, FID. Ours beside it
# over the share of the training done; distances relative to the baseline's last, since FID and our
# distances have no common scale.

# %% tags=["hide-input", "remove-output"]
paper = digitized.load("fig4_gap_training")
pca, end = "principal components", judged["plain", seed].distance["principal components"].value
courses = {}  # (source, model) -> share of the training, memorized, distance over the baseline's
for kind, column in (("plain", "baseline"), ("zone gap", "gap"), ("dummy", "dummy")):
    if kind not in kinds:
        continue
    fid = paper[f"fid_{column}"] / paper["fid_baseline"][-1]
    courses["paper", kind] = np.c_[
        paper["iterations_k"] / 40, paper[f"mem_{column}_pct"] / 100, fid
    ]
    found = [course[kind, share] for share in shares]
    courses["ours", kind] = np.array(
        [
            (s, one.copies.value, one.distance[pca].value / end)
            for s, one in zip(shares, found, strict=True)
        ]
    )
fig, panel = plt.subplots(2, 1, figsize=(4.8, 5.0), sharex=True)
for (source, kind), values in courses.items():
    theirs = dict(ls="none", ms=5) if source == "paper" else dict(ls="-", lw=1, marker="")
    for ax, column in zip(panel, values.T[1:], strict=True):
        ax.plot(values[:, 0], column, label=f"{source}: {kind}", **(looks[kind] | theirs))
panel[0].set(ylabel="memorized share", ylim=(-0.03, 1.03))
panel[1].set(ylabel="distance over\nthe baseline's last", xlabel="share of the training done")
panel[1].set_ylim(0, None)
fig.legend(*panel[0].get_legend_handles_labels(), loc="outside lower center", ncol=2)
figures.save(
    fig,
    "fig-gap-paper",
    title="Gap training in the paper and here",
    caption=(
        "Marks: the paper's Figure 4, read off: CIFAR-10 cars, $N = 2{,}000$, gap $[1, 5]$; below, "
        f"its FID as a share of the baseline's last. Lines: ours on {data.name}, the danger zone "
        f"{zone.in_words} left out; below, the Frechet distance on principal components, likewise."
    ),
    alt=(
        "In the paper the gap model ends with a smaller FID than the baseline, "
        f"{courses['paper', 'zone gap'][-1, 2]:.2f} of it; here the distance ends at "
        f"{courses['ours', 'zone gap'][-1, 2]:.2g} of the plain model's."
    ),
    table={
        "source [name]": [source for (source, _), values in courses.items() for _ in values],
        "model [name]": [kind for (_, kind), values in courses.items() for _ in values],
        **dict(
            zip(
                (
                    "share of the training [fraction]",
                    "memorized [fraction]",
                    "distance over the baseline's last [ratio]",
                ),
                np.concatenate([*courses.values()]).T,
                strict=True,
            )
        ),
    },
    paper_item="Figure 4",
    claim="paper",
    data=[data, paper],
    seeds={"training": seed, "samples": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-gap-paper
# :again:
# ```

# %% [markdown]
# ## The trade-off
#
# Copies across, quality upwards; of each training one mark.

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots(figsize=(4.8, 5.0))
marks = [(kind, s, found.copies, found.distance[pca]) for (kind, s), found in judged.items()]
for kind, s, x, y in marks:
    ends = dict(
        xerr=[[x.value - x.low], [x.high - x.value]], yerr=[[y.value - y.low], [y.high - y.value]]
    )
    look, label = looks[kind], names[kind].replace("\n", " ") if s == seed else None
    ax.errorbar(
        x.value, y.value, **ends, fmt=look["marker"], color=look["color"], lw=0.8, label=label
    )
ax.axhline(references["held-out"][pca].value, color="0.4", ls=":", label="real, held out")
ax.axhline(references["training set"][pca].value, color="0.4", ls="--", label="training set")
ax.set(xlabel="share of memorized samples", ylim=(0, None), xlim=(-0.03, 1.03))
ax.set_ylabel("Frechet distance,\nprincipal components")
fig.legend(loc="outside lower center", ncol=1, fontsize=9)
ENDS = {"value": "", "low": ", low, 95% interval", "high": ", high, 95% interval"}
columns = {"model [name]": [m[0] for m in marks], "training seed [index]": [m[1] for m in marks]}
columns |= {f"memorized{t} [fraction]": [getattr(m[2], e) for m in marks] for e, t in ENDS.items()}
columns |= {
    f"distance{t} [feature units squared]": [getattr(m[3], e) for m in marks]
    for e, t in ENDS.items()
}
figures.save(
    fig,
    "fig-gap-tradeoff",
    title="Memorization against quality",
    caption=(
        rf"Each training at its end on {data.name}: memorized share of {n_samples} samples against "
        rf"the Frechet distance on principal components of {bench.compared} of them to unseen real "
        rf"images (bars: 95% intervals over samples). Dotted: real held-out images; dashed: the "
        rf"training set drawn with repeats."
    ),
    alt=(
        "Memorized share across, Frechet distance upwards. The plain model ends at "
        f"{judged['plain', seed].copies.value:.2g} memorized with distance {end:.2g}; stopped at "
        f"its lowest held-out loss at {judged['stopped', seed].copies.value:.2g} with "
        f"{judged['stopped', seed].distance[pca].value:.2g}."
    ),
    table=columns,
    paper_item="Figures 4 and 9",
    claim="ours",
    data=[data],
    seeds={"training": seed, "samples": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-gap-tradeoff
# :again:
# ```

# %% [markdown]
# ## Samples
#
# The same eight initial noises in every row.

# %% tags=["hide-input", "remove-output"]
rows = [(kind.replace(" ", "\n", 1), judged[kind, seed].pictures[:8]) for kind in shown]
framed = [judged[kind, seed].passed[:8] for kind in shown]
fig = drawing.image_grid(rows, [str(i) for i in range(8)], framed)
figures.save(
    fig,
    "fig-gap-samples",
    title="Samples with and without a gap",
    caption=(
        f"Samples on {data.name} from eight initial noises (columns), of each remedy. "
        "Red frame: memorized."
    ),
    alt=(
        f"Rows of eight images. {int(framed[0].sum())} of the plain model's have a red frame, "
        f"{int(framed[1].sum())} of the stopped one's, "
        f"{int(judged['zone gap', seed].passed[:8].sum())} of the one without the danger zone."
    ),
    table=drawing.pixel_table(np.arange(8), rows, "initial noise [index]"),
    paper_item="Figures 20 to 23",
    claim="ours",
    data=[data],
    seeds={"training": seed, "samples": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-gap-samples
# :again:
# ```

# %% [markdown]
# ## What came out
#
# Two kinds of model are told apart where the interval of their difference leaves no doubt: over
# trainings, or over samples where there is one training only. No claim here but the first two must
# hold: what comes out is the finding.

# %%
own_data = presets.PRESETS[f"{preset}-small"].data.name
must = (dataset, n_train, changes) == (own_data, 0, "") and preset != "cifar10"
figures.claim("every training went well", not broken, must=must)


def changed(kind: str, other: str = "plain"):
    """The change of the share of copies from one kind to another; None without either."""
    pair = of(kind, other), of(other, kind)
    return copies_changed(*pair) if pair[0] else None


def quality_words(kind: str, other: str) -> dict[str, str]:
    """By each distance: better, worse, or not told apart."""
    pair = of(kind, other), of(other, kind)
    if not pair[0]:
        return dict.fromkeys(distances, "not in this run")
    return {
        name: told_apart([a.distance[name] for a in pair[0]], [b.distance[name] for b in pair[1]])
        for name in distances
    }


fewer = {
    "without the danger zone: fewer copies than plain": ("zone gap", "plain"),
    "with a dummy class: fewer copies than plain": ("dummy", "plain"),
    "without our copy window: fewer copies than plain": ("copy gap", "plain"),
    "without the danger zone: fewer copies than with a dummy class": ("zone gap", "dummy"),
    "without our copy window: fewer copies than with a dummy class": ("copy gap", "dummy"),
    "stopped at the lowest held-out loss: fewer copies than plain": ("stopped", "plain"),
}
for text, (kind, other) in fewer.items():
    if kind == "zone gap" and not (reach.geometry.regimes.medium or gap_low):
        continue  # the rule finds no zone, and none was given
    if (change := changed(kind, other)) is not None:
        ours = kind == "copy gap" and other == "plain" and gap_keep == 0.1
        figures.claim(text, change.high < 0, must=must and ours and not broken)
for kind in ("zone gap", "copy gap", "dummy"):
    if (kind, seed) in judged:
        words = set(quality_words(kind, "plain").values())
        figures.claim(
            f"{kind}: nearer to unseen images than plain", words == {"better"}, must=False
        )
        figures.claim(
            f"{kind}: no distance is worse than plain's", "worse" not in words, must=False
        )
gap = "copy gap" if copy_gap else "zone gap"  # the gap that early stopping is held against
left_out = window if copy_gap else zone
levels_in = np.array([bool(left_out.contains(s)) for s in bench.sigmas])
lower_at, higher_at = (ratios[gap].high < 1) & levels_in, (ratios[gap].low > 1) & levels_in
as_few = changed("stopped", gap)
figures.claim("stopped early, as few copies: within 5%", as_few.high < 0.05, must=False)
if levels_in.any():
    lower = 2 * lower_at.sum() > levels_in.sum() and not higher_at.any()
    text = "inside the gap its held-out error is lower than the stopped model's, nowhere higher"
    figures.claim(text, bool(lower), must=False)
stopped_words = quality_words("stopped", gap)
worse = "worse" in stopped_words.values() and "better" not in stopped_words.values()
figures.claim(
    "the gap's samples are nearer to unseen images than the stopped model's", worse, must=False
)


# %%
def row(kind: str) -> str:
    """A line of the table: copies of each training, distances and cost of the first."""
    first, shares = judged[kind, seed], ", ".join(f"{one.copies.count:,}" for one in of(kind, kind))
    values = " | ".join(str(first.distance[name]) for name in distances)
    cost = first.images / judged["plain", seed].images
    return f"| {names[kind].replace(chr(10), ' ')} | {shares} | {values} | {cost:.0%} |"


head = f"| | copies, of {n_samples:,} each | {' | '.join(distances)} | images seen |"
table = [head, "|---" * (3 + len(distances)) + "|", *map(row, shown)]
for name, title in (
    ("held-out", "real held-out images"),
    ("training set", "the training set itself"),
):
    values = " | ".join(str(references[name][kind]) for kind in distances)
    table.append(f"| {title} | | {values} | |")
compared = [("zone gap", "plain"), ("copy gap", "plain"), ("dummy", "plain"), ("stopped", "plain")]
compared += [("stopped", "zone gap"), ("stopped", "copy gap"), ("stopped", "dummy")]
compared += [("zone gap", "dummy")]
words = [f"| | copies | {' | '.join(distances)} |", "|---" * (2 + len(distances)) + "|"]
for kind, other in compared:
    if (change := changed(kind, other)) is not None:
        told = " | ".join(quality_words(kind, other).values())
        words.append(f"| {kind}, against {other} | {change} | {told} |")
print("\n".join(table), "\n\n" + "\n".join(words))


def told(ratio, inside) -> str:
    """At how many of the levels inside a window an error is lower or higher, in words."""
    if not inside.any():
        return "not known, since none of the levels measured lies there"
    lower, higher = (int(x.sum()) for x in ((ratio.high < 1) & inside, (ratio.low > 1) & inside))
    return f"lower at {lower} and higher at {higher} of {int(inside.sum())} levels"


# %%
stop_steps = ", ".join(f"{stop.step:,}" for stop in stops.values())
figures.record(
    dataset=data.name,
    n_train=f"{len(data.train):,}",
    n_samples=f"{n_samples:,}",
    n_quality=f"{bench.compared:,}",
    n_unseen=f"{len(unseen):,}",
    n_choosing=f"{len(choosing):,}",
    n_judging=f"{len(judging):,}",
    n_steps=f"{small.train.steps:,}",
    trainings=n_seeds,
    zone_trainings=n_seeds if repeat_all else "one training",
    solver=sampler.SOLVER_NAMES[solver],
    zone=zone.in_words,
    zone_rule="" if reach.geometry.regimes.medium or gap_low else " (the rule finds none)",
    zone_mass=f"{mass['zone gap']:.0%}",
    window=window.in_words if copy_gap else "not in this run",
    window_mass=f"{mass['copy gap']:.0%}" if copy_gap else "not in this run",
    gap_keep=f"{gap_keep:.0%}",
    stop_steps=stop_steps,
    stop_share=f"{stop_share:.1%}",
    stop_cost=f"{judged['stopped', seed].images / judged['plain', seed].images:.0%}",
    fixed_step=f"{small.train.step_of(stop_share):,}",
    **{
        f"{kind.replace(', ', '_').replace(' ', '_')}_memorized": (
            str(judged[kind, seed].copies) if (kind, seed) in judged else "not in this run"
        )
        for kind in looks
    },
    **{
        f"{kind.replace(' ', '_')}_{name.split()[0]}": (
            str(judged[kind, seed].distance[name]) if (kind, seed) in judged else "not in this run"
        )
        for kind in ("plain", "stopped", "zone gap", "copy gap", "dummy")
        for name in ("principal components", "classifier features", "sliced Wasserstein")
        if name in distances
    },
    **{
        f"{kind}_{other}_change".replace(" ", "_"): str(changed(kind, other) or "not in this run")
        for kind, other in {*compared, ("copy gap", "dummy")}
    },
    **{
        f"{kind.replace(' ', '_')}_error": told(ratios[kind], inside_)
        if kind in ratios
        else "not in this run"
        for kind, w in (("zone gap", zone), ("copy gap", window))
        for inside_ in [np.array([bool(w.contains(x)) for x in bench.sigmas])]
    },
    gap=gap.replace("copy gap", "our copy window").replace("zone gap", "the danger zone"),
    gap_window=str(left_out.in_words),
    gap_memorized=str(judged[gap, seed].copies),
    gap_change=str(as_few),
    gap_error=told(ratios[gap], levels_in),
    gap_error_plain=told(
        error_ratio([x.error for x in of(gap)], [x.error for x in of("plain", gap)]), levels_in
    ),
    gap_error_outside=told(ratios[gap], ~levels_in),
    plain_error=told(ratios["plain"], np.ones(n_sigmas, bool)),
    stopped_quality=", ".join(f"{word} by {name}" for name, word in stopped_words.items()),
    table="\n".join(table),
    words="\n".join(words),
    broken="None of the trainings here broke down"
    if not broken
    else f"Broken down here: {', '.join(broken)}",
    accuracy=f"{features['classifier features'].accuracy:.0%}"
    if "classifier features" in features
    else "not in this run",
    zone_relative=f"{courses['ours', 'zone gap'][-1, 2]:.2f}",
    paper_gap_relative=f"{courses['paper', 'zone gap'][-1, 2]:.2f}",
)
