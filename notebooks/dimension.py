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
# # Notebook: does the zone predict the hump?
#
# The paper explains the hump of memorization by the danger zone of the training set, in its own
# data space of 3,072 numbers an image. Does the zone predict the hump in other dimensions? The same
# images at several sizes: zone and hump, the level where a single switch decides, and three
# predictions. All of it is our addition. The chapter is [](../book/dimension.md).
#
# ```{outcome} dimension
# ```

# %% tags=["parameters"]
preset: str = "fashion-unet"  # in {fashion-unet, digits-unet, cifar10-luma, cifar10-rgb, cifar10}
dataset: str = "fashion-mini"  # data set: fashion-mini, digits, cifar10, fashion-mnist, or a path
sizes: str = "8 16 28"  # sides of the images, pixels; 0: as they are, with the preset's network
second_preset: str = "cifar10-luma"  # likewise for a second kind of images
second_dataset: str = ""  # its data set, or none
second_sizes: str = ""  # its sides
n_train: int = 0  # training images N of the small models, 0 for the preset's number, in [0, inf)
changes: str = ""  # further settings of the first models: names, each with an equals sign and value
second_changes: str = ""  # of the second
n_samples: int = 128  # samples of each model, in [20, inf)
n_switched: int = 64  # samples at each level of the switch, in [8, inf)
n_heldout: int = 500  # held-out images, at most; fewer where the set has fewer, in [20, inf)
n_sigmas: int = 18  # noise levels of the hump, evenly spaced in log sigma, in [5, inf)
c: float = 5.0  # shell parameter of Lemma 4.5, in (0, inf)
level: float = 0.8  # C and W at least this high: the danger zone, in (0, 1)
seed: int = 0  # seed of training, noise and samples, in [0, inf)
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np

import geomem
from geomem.companion import figures
from geomem.diffusion import presets, sampler, zoo
from geomem.memorization import ratio_test, swaps
from geomem.memorization.copy_range import CopyRange
from geomem.plots import STYLE, drawing
from geomem.memorization.hump import Hump
from geomem.geometry.intervals import Fraction
from geomem.geometry.overlap import overlap_coverage
from geomem.geometry.regimes import find_crossing
from geomem.geometry.window import Window

plt.style.use(STYLE)
kinds = [
    (preset, dataset, sizes, changes),
    (second_preset, second_dataset, second_sizes, second_changes),
]
runs = []  # one for every size: all that is said of it
for kind, (name, of, sides, new) in enumerate(kinds):
    for side in map(int, sides.split() if of else ()):
        pair = presets.pair(
            name, dataset=of, n_train=n_train, changes=new, seed=seed, device=device
        )
        pair = [presets.resized(e, side) for e in pair] if side else pair
        runs.append(SimpleNamespace(pair=pair, kind=kind))
models = iter(zoo.train_or_load([e for run in runs for e in run.pair]))
for run in runs:
    run.few, run.many = next(models), next(models)
    run.data = run.pair[0].data.load()
    run.heldout = run.data.heldout[:n_heldout]
    run.distinct = ratio_test.DistinctImages(run.data.train, device)
    run.d, colours = run.data.train[0].size, len(run.data.train[0])
    run.name = "{}x{}".format(*run.data.train.shape[2:]) + (" RGB" if colours == 3 else "")
    print(f"{run.data.name} {run.name}: d = {run.d}, N = {len(run.data.train)}")

# %% [markdown]
# ## Hump and zone
#
# The hump: the small model's memorization rate on noisy held-out images. Its centre is the mean of
# $\log\sigma$ weighted by the rate, with an interval over images.

# %%
sigmas = np.geomspace(0.02, 20, n_sigmas)
for run in runs:
    run.reach = CopyRange.of(
        run.distinct, run.heldout, run.many.denoise, c=c, level=level, seed=seed, device=device
    )
    run.zone, run.regimes = run.reach.zone, run.reach.geometry.regimes
    run.rate = ratio_test.memorization_rates(
        run.few.denoise, run.heldout, run.distinct, sigmas, seed=seed, device=device
    )
    run.hump = Hump.of(run.rate, seed=seed)
    run.centre, run.inside = run.hump.centre, run.hump.share(run.zone)
    print(f"{run.data.name} {run.name}: zone {run.reach.geometry.zone_in_words}")
    print(f"  hump at {run.centre}, {run.hump.place(run.zone)}; {run.inside.percent} in the zone")

# %% [markdown]
# ## Where a copy is decided
#
# Samples of both models, and of one model that hands over to the other once, below a level of the
# sampler ([](../book/swaps.md)). Half of the copies are decided at two levels: where handing over
# to the large model leaves half, and where handing over to the small one brings half about.


# %%
def half_levels(few, many, distinct, shape, whole):
    """The two levels of a single switch, small to large and large to small, at half the copies."""
    levels = geomem.karras_sigmas()
    edges = np.sqrt(levels[:-1] * levels[1:])[4:16]  # between levels of the sampler: 16 to 0.013
    found = []
    for base, other in ((few, many), (many, few)):
        passed = []
        for edge in edges:
            below = swaps.swap(base, other, Window(0.0, float(edge)))
            images = sampler.sample(below, shape, n_switched, seed=seed, device=where)
            passed.append(ratio_test.neighbours(images, distinct).memorized())
        order = slice(None) if base is few else slice(None, None, -1)  # in which the share rises
        found.append(
            swaps.half_level(edges[order], np.array(passed)[order], whole[:n_switched], seed=seed)
        )
    return found


for run in runs:
    where = next(run.few.denoise.parameters()).device
    shape = run.data.train.shape[1:]
    run.pictures, run.near = {}, {}
    for name, model in (("small", run.few), ("large", run.many)):
        images = sampler.sample(model.denoise, shape, n_samples, seed=seed, device=where).numpy()
        run.pictures[name] = images
        run.near[name] = ratio_test.neighbours(images, run.distinct)
    passed = run.near["small"].memorized()
    run.share = Fraction.of(int(passed.sum()), n_samples)
    run.large_share = Fraction.of(int(run.near["large"].memorized().sum()), n_samples)
    run.switch = half_levels(run.few.denoise, run.many.denoise, run.distinct, shape, passed)
    print(
        f"{run.data.name} {run.name}: copies {run.share}; half decided at",
        *run.switch,
    )

# %% [markdown]
# ## Three predictions
#
# From the training set and the large model alone, without a model that memorizes:
#
# - the **zone**: the middle of the danger zone, in $\log\sigma$;
# - the **copy edge**: where twice the large model's error equals $(d_\mathrm{NN}/3)^2$, the size
#   of what the ratio test forgives ([](../book/swaps.md));
# - **overlap**: where concentration meets a coverage that asks whether the noise of a new image can
#   be told from that of its nearest training image, $2\,Q(d_{1\mathrm{NN}}/2\sigma)$, in place of
#   shells.
#
# Each is held against the centre of the hump and against the middle of the two levels of the
# switch, as a factor: 1 is right, 2 is twice too high.

# %%
PREDICTIONS = ("zone", "copy edge", "overlap")
for run in runs:
    weight = run.reach.geometry.weight
    run.overlap = overlap_coverage(run.heldout, run.distinct.images, weight.sigma, device=device)
    run.predicted = {
        "zone": np.sqrt(run.zone.low * run.zone.high) if run.regimes.medium else np.nan,
        "copy edge": run.reach.edge.value,
        "overlap": find_crossing(run.overlap, weight, seed=seed).value,
    }
    begun, ended = sorted(estimate.value for estimate in run.switch)
    run.measured = {  # a level, and from where to where it may lie
        "hump": (run.centre.value, run.centre.low, run.centre.high),
        "switch": (np.sqrt(begun * ended), begun, ended),
    }
    for target, (at, *_) in run.measured.items():
        factors = ", ".join(f"{name} {run.predicted[name] / at:.2g}" for name in PREDICTIONS)
        print(f"{run.data.name} {run.name}, {target} at {at:.2g}: {factors}")
factor = {  # predicted over measured, for every size
    (name, target): np.array([run.predicted[name] / run.measured[target][0] for run in runs])
    for target in ("hump", "switch")
    for name in PREDICTIONS
}


def off(name: str, target: str) -> float:
    """By which factor a prediction is off, on average over the sizes where both are known."""
    known = factor[name, target][np.isfinite(factor[name, target])]
    return float(np.exp(np.abs(np.log(known)).mean())) if len(known) else np.inf


def growth(kind: int) -> str:
    """How zone, hump, switch and copy edge grow from the smallest to the largest size of a kind."""
    first, *_, last = sorted((run for run in runs if run.kind == kind), key=lambda run: run.d)
    levels = {
        "the middle of the zone": lambda run: run.predicted["zone"],
        "the centre of the hump": lambda run: run.measured["hump"][0],
        "the level of the switch": lambda run: run.measured["switch"][0],
        "the copy edge": lambda run: run.predicted["copy edge"],
        "the overlap": lambda run: run.predicted["overlap"],
    }
    times = ", ".join(
        f"{what} by a factor of {of(last) / of(first):.2g}" for what, of in levels.items()
    )
    return f"On {first.data.name}, from {first.name} to {last.name}, grow: {times}."


best = {target: min(PREDICTIONS, key=lambda n, t=target: off(n, t)) for _, target in factor}
for target, name in best.items():
    print(f"{target}: nearest on average is the {name}, off by a factor of {off(name, target):.2g}")

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots(figsize=(4.8, 4.6))
rows = []
for place, run in enumerate(runs):
    first = place == 0
    edges = run.regimes.covered, run.regimes.concentrated
    bar = dict(width=0.8, color="0.85", zorder=0, label="danger zone" if first else None)
    ax.bar(place, run.zone.high - run.zone.low, bottom=run.zone.low, **bar)
    half, at = run.hump.half, place - 0.2
    ax.plot([at, at], [half.low, half.high], color="C1", ls="-", lw=5, alpha=0.35)
    ends = [[run.centre.value - run.centre.low], [run.centre.high - run.centre.value]]
    label = "hump: centre, half-width" if first else None
    ax.errorbar(at, run.centre.value, yerr=np.abs(ends), fmt="o", color="C1", label=label)
    for estimate, marker, way in zip(
        run.switch, "v^", ("small to large", "large to small"), strict=True
    ):
        ends = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
        label = f"switch, {way}" if first else None
        ax.errorbar(place, estimate.value, yerr=np.abs(ends), fmt=marker, color="C0", label=label)
    for shift, name, look in ((0.2, "copy edge", "kX"), (0.2, "overlap", "C3D")):
        label = f"prediction: {name}" if first else None
        ax.plot(place + shift, run.predicted[name], look, ms=6, label=label)
    rows += [
        ("danger zone, low", run, edges[0].value, edges[0].low, edges[0].high),
        ("danger zone, high", run, edges[1].value, edges[1].low, edges[1].high),
        ("hump, centre", run, run.centre.value, run.centre.low, run.centre.high),
        ("hump, half-width", run, run.hump.curve.sigma[run.hump.peak], half.low, half.high),
        *(
            (f"switch, {way}", run, estimate.value, estimate.low, estimate.high)
            for way, estimate in zip(("small to large", "large to small"), run.switch, strict=True)
        ),
        *((f"prediction, {n}", run, run.predicted[n], np.nan, np.nan) for n in PREDICTIONS),
    ]
ticks = [f"{run.name}\n{run.data.name}\nd = {run.d:,}" for run in runs]
ax.set(xticks=range(len(runs)), xticklabels=ticks, yscale="log", xlim=(-0.6, len(runs) - 0.4))
ax.tick_params(axis="x", labelsize=8.5)
ax.set_yticks(ticks := [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20], [f"{t:g}" for t in ticks])
ax.minorticks_off()
ax.set_ylabel(drawing.SIGMA_LABEL)
fig.legend(loc="outside lower center", ncol=2)
places = "; ".join(f"{run.name}: {run.centre}, zone {run.zone.in_words}" for run in runs)
figures.save(
    fig,
    "fig-dimension-zone",
    title="Zone, hump and switch at several sizes",
    caption=(
        rf"The same images at several sizes, $N = {len(runs[0].data.train)}$. Grey: the danger "
        rf"zone by our rule. Orange: the centre of the small model's hump (95% interval over "
        rf"{len(runs[0].heldout)} images) and the levels with half its peak. Blue: where a single "
        rf"switch decides half of the copies of {n_switched} samples (bootstrap intervals). Black "
        rf"and pink: two other predictions of where copies are made."
    ),
    alt=f"Noise levels against image size. Centre of the hump and danger zone: {places}.",
    table={
        "quantity [name]": [row[0] for row in rows],
        "data set [name]": [row[1].data.name for row in rows],
        "dimension [pixels times channels]": [row[1].d for row in rows],
        "sigma [data units]": [row[2] for row in rows],
        "low [data units, 95% interval or half-width]": [row[3] for row in rows],
        "high [data units, 95% interval or half-width]": [row[4] for row in rows],
    },
    paper_item="Figures 2 and 3",
    claim="ours",
    data=[run.data for run in runs],
    seeds={"training": seed, "noise": seed, "samples": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-dimension-zone
# :again:
# ```

# %% [markdown]
# ## The curves
#
# At each size: coverage, concentration, coverage by overlap, and the rate, magnified to be seen.

# %% tags=["hide-input", "remove-output"]
fig, axes = plt.subplots(len(runs), 1, figsize=(4.8, 1.75 * len(runs) + 0.8), sharex=True)
rows = []
for ax, run in zip(np.atleast_1d(axes), runs, strict=True):
    top = max(run.rate.high.max(), 1e-9)
    ax.axvspan(run.zone.low, run.zone.high, color="0.85", lw=0, zorder=0)
    curves = {
        r"coverage $C_\sigma$": (run.reach.geometry.coverage, dict(color="C0", ls="-")),
        r"concentration $W_\sigma$": (run.reach.geometry.weight, dict(color="C2", ls="-.")),
        "coverage by overlap": (run.overlap, dict(color="C3", ls=":")),
    }
    for label, (curve, look) in curves.items():
        curve.plot(ax, label, **look)
        rows += [
            (label, run, *x)
            for x in zip(curve.sigma, curve.mean, curve.low, curve.high, strict=True)
        ]
    rate = run.rate
    rows += [
        ("rate", run, *x) for x in zip(rate.sigma, rate.mean, rate.low, rate.high, strict=True)
    ]
    ax.plot(rate.sigma, rate.mean / top, color="C1", marker="o", ms=3, label="rate, magnified")
    ax.fill_between(rate.sigma, rate.low / top, rate.high / top, color="C1", alpha=0.25, lw=0)
    drawing.sigma_axis(ax)
    ax.set(xlabel="", xlim=(0.02, 50))
    ax.set_ylabel(f"{run.data.name}\n{run.name}", fontsize=9)
    ax.text(
        0.99, 0.5, f"peak\n{rate.mean.max():.1%}", transform=ax.transAxes, ha="right", fontsize=9
    )
ax.set_xlabel(drawing.SIGMA_LABEL)
fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncol=2)
figures.save(
    fig,
    "fig-dimension-curves",
    title="Coverage, concentration and the hump at several sizes",
    caption=(
        "Coverage by shells, concentration and coverage by overlap, and the small model's "
        "memorization rate on held-out images, magnified to its highest interval (bands: 95% "
        "intervals over images). Shaded: the danger zone."
    ),
    alt=(
        "Panels from small to large images. In each coverage rises and concentration falls with "
        f"noise, and the rate is a hump; its centre against the zone: {places}."
    ),
    table={
        "quantity [name]": [row[0] for row in rows],
        "data set [name]": [row[1].data.name for row in rows],
        "dimension [pixels times channels]": [row[1].d for row in rows],
        "sigma [data units]": [row[2] for row in rows],
        "value [fraction]": [row[3] for row in rows],
        "low [fraction, 95% interval]": [row[4] for row in rows],
        "high [fraction, 95% interval]": [row[5] for row in rows],
    },
    paper_item="Figures 2 and 3",
    claim="ours",
    data=[run.data for run in runs],
    seeds={"training": seed, "noise": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-dimension-curves
# :again:
# ```

# %% [markdown]
# ## What a copy looks like
#
# Six samples at the largest size, copies first, each above the training image nearest to it; below,
# what the large model makes of the same noise.

# %%
run = max(runs, key=lambda run: run.d)
chosen = np.argsort(~run.near["small"].memorized(), kind="stable")[:6]
copied = run.near["small"].memorized()[chosen]
rows = [
    ("sample", run.pictures["small"][chosen]),
    ("nearest\ntraining\nimage", run.data.train[run.near["small"].index[chosen]]),
    ("large model,\nsame noise", run.pictures["large"][chosen]),
]
print(
    f"of six samples {copied.sum()} are copies; d_1NN / d_2NN",
    run.near["small"].ratio[chosen].round(2),
)

# %% tags=["hide-input", "remove-output"]
fig = drawing.image_grid(rows, [str(i) for i in chosen], [copied, None, None])
figures.save(
    fig,
    "fig-dimension-copies",
    title="Copies beside their originals",
    caption=(
        rf"Six samples of the small model ($N = {len(run.data.train)}$; {run.data.name}, "
        rf"{run.name}), copies first (red frame: the ratio test says so), above the nearest "
        rf"training image of each, and what the large model makes of the same initial noise. "
        rf"Memorized are {run.share} of the small model's samples."
    ),
    alt=(
        f"Three rows of six images. {int(copied.sum())} samples of the first row are framed as "
        "copies; the row below shows their training images. The last row, from the same noise by "
        "the model of many images, shows others."
    ),
    table=drawing.pixel_table(chosen, rows, "initial noise [index]"),
    paper_item="Section 3, the criterion of memorization",
    claim="ours",
    data=[run.data],
    seeds={"training": seed, "samples": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-dimension-copies
# :again:
# ```

# %% [markdown]
# ## What came out
#
# That the models are what they should be must hold on the book's own data; where the hump lies is
# the finding.

# %%
own = dataset == presets.PRESETS[f"{preset}-small"].data.name
must = own and (sizes, n_train, changes, second_dataset) == ("8 16 28", 0, "", "")
broken = [f"{run.name}" for run in runs for model in (run.few, run.many) if model.broke_down]
figures.claim("every training went well", not broken, must=must)
copying = all(run.share.low > 0.2 and run.large_share.high < 0.05 for run in runs)
figures.claim("every small model memorizes, no large one does", copying, must=must)
within = [run.hump.place(run.zone) == "inside it" for run in runs]
largest = max(runs, key=lambda run: run.d)
if all(run.regimes.medium for run in runs):  # where the rule finds no zone, nothing is predicted
    figures.claim("the hump's centre lies in the zone at every size", all(within), must=False)
    inside = within[runs.index(largest)]
    figures.claim("the hump's centre lies in the zone at the largest size", inside, must=False)
for (name, target), found in factor.items():
    if np.isfinite(found).all():  # and then over all of where the target may lie
        ends = [run.predicted[name] / end for run in runs for end in run.measured[target][1:]]
        near = all(0.5 < x < 2 for x in ends)
        figures.claim(
            f"{name}: within a factor of two of the {target} at every size", near, must=False
        )


def line(run) -> str:
    """A row of the chapter's table."""
    decided = f"{run.switch[0]} and {run.switch[1]}"
    cells = (
        f"{run.data.name}, {run.name}",
        f"{run.d:,}",
        run.share,
        f"{run.regimes.covered} to {run.regimes.concentrated}",
        run.centre,
        run.hump.place(run.zone),
        run.inside.percent,
        decided,
    )
    return f"| {' | '.join(map(str, cells))} |"


head = "| images | d | copies among samples | zone | hump's centre | against the zone "
head += "| its area in the zone | switch decides at |"
table = [head, "|---" * 8 + "|", *map(line, runs)]
head = f"| | {' | '.join(f'{n} / {t}' for n, t in factor)} |"
factors = [head, "|---" * (1 + len(factor)) + "|"]
for i, run in enumerate(runs):
    cells = [f"{found[i]:.2g}" if np.isfinite(found[i]) else "–" for found in factor.values()]
    factors.append(f"| {run.data.name}, {run.name} | {' | '.join(cells)} |")
cells = [f"{off(*key):.2g}" if np.isfinite(off(*key)) else "–" for key in factor]
factors.append(f"| *off on average by* | {' | '.join(cells)} |")
print("\n".join([*table, "", *factors]))
figures.record(
    n_train=f"{len(runs[0].data.train):,}",
    n_samples=f"{n_samples:,}",
    n_switched=f"{n_switched:,}",
    n_heldout=f"{len(runs[0].heldout):,}",
    images=" and ".join(dict.fromkeys(run.data.name for run in runs)),
    sizes=", ".join(run.name for run in runs),
    n_sizes=str(len(runs)),
    n_inside=str(sum(within)),
    inside_at=", ".join(
        f"{r.data.name} {r.name}" for r, yes in zip(runs, within, strict=True) if yes
    )
    or "none of them",
    table="\n".join(table),
    factors="\n".join(factors),
    largest=f"{largest.data.name} at {largest.name}",
    largest_d=f"{largest.d:,}",
    largest_centre=str(largest.centre),
    largest_zone=largest.reach.geometry.zone_in_words,
    largest_place=largest.hump.place(largest.zone),
    largest_inside=largest.inside.percent,
    growth=" ".join(
        growth(kind)
        for kind in dict.fromkeys(run.kind for run in runs)
        if sum(run.kind == kind for run in runs) > 1
    ),
    places="; ".join(
        f"{r.data.name} {r.name}: σ = {r.centre}, {r.hump.place(r.zone)} (zone {r.zone.in_words})"
        for r in runs
    ),
    best_hump=best["hump"] if np.isfinite(off(best["hump"], "hump")) else "none",
    best_hump_off=f"{off(best['hump'], 'hump'):.2g}",
    best_switch=best["switch"] if np.isfinite(off(best["switch"], "switch")) else "none",
    best_switch_off=f"{off(best['switch'], 'switch'):.2g}",
    **{
        f"{n.replace(' ', '_')}_{t}": ", ".join(f"{x:.2g}" for x in found)
        for (n, t), found in factor.items()
    },
)
