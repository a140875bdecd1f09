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
# # Notebook: which gap?
#
# **Claim.** It matters where in the danger zone training leaves a gap: its low-noise half is the
# effective side (the paper's Figures 5 and 9, on CelebA). Tested here on a second data set. The
# chapter is [](../book/gap_sweep.md).

# %% tags=["parameters"]
preset: str = "fashion-unet"  # in {fashion-unet, digits-mlp, digits-unet, cifar10-luma, cifar10}
dataset: str = "fashion-mini"  # data set: fashion-mini, digits, cifar10, fashion-mnist, or a path
n_train: int = 0  # training images N of the small model, 0 for the preset's number, in [0, inf)
changes: str = ""  # further settings of all models: names, each with an equals sign and its value
gaps: str = "few"  # which gaps: a few, or also all nine of the paper, in {few, nine}
gap_keep: float = 0.0  # share of the noise levels drawn in a gap that is kept, in [0, 1]
n_samples: int = 512  # samples of each model, in [20, inf)
solver: str = "heun"  # how to sample, euler as in the paper, in {heun, euler}
n_heldout: int = 1000  # held-out images, at most; fewer where the set has fewer, in [20, inf)
c: float = 5.0  # shell parameter of Lemma 4.5, in (0, inf)
level: float = 0.8  # C and W at least this high: the danger zone, in (0, 1)
seed: int = 0  # seed of training, noise and samples, in [0, inf)
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import itertools

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import spearmanr

from geomem import digitized, drawing, experiments, figures, memorization, quality, sampler
from geomem import store, swaps
from geomem.swaps import PAPER_CELEBA_ZONE, Window

plt.style.use(figures.STYLE)
small, large = experiments.pair(
    preset, dataset=dataset, n_train=n_train, changes=changes, seed=seed, device=device
)
data, everything = small.data.load(), large.data.load()
heldout = data.heldout[:n_heldout]
distinct = memorization.DistinctImages(data.train, device)
print(f"{data.name}: {len(data.train)} training images, {len(heldout)} held-out images")

# %% [markdown]
# ## The zone
#
# By our rule, from coverage and concentration of the small training set. Where it finds no zone
# (they may cross below the level), the zone is taken from the crossing to twice that.

# %%
plain, many = store.train_or_load([small, large])
settings = dict(c=c, level=level, seed=seed, device=device)
reach = swaps.CopyRange.of(distinct, heldout, many.denoise, **settings)
found, edge = reach.regimes, reach.edge
low, high = found.medium or (found.crossing.value, 2 * found.crossing.value)
zone, edge = Window(low, high), float(np.nanmin([edge, low]))
print(f"danger zone {zone}; a copy can be undone down to sigma = {edge:.3g}")

# %% [markdown]
# ## The gaps
#
# The halves of the zone have equal width in log sigma, so that only their place differs. The
# paper's gaps are moved: each lies in our zone where it lay in the paper's, [0.55, 1.3]. The last
# is ours, from half of the level where a copy can still be undone ([](../book/swaps.md)) to the
# zone's upper end. Ends are rounded to two digits, so that the last bit makes no other model.

# %%
paper = digitized.load("fig5_celeba_gaps")
tried = {}  # name -> window in the paper, percent memorized there; the first is without a gap
for first, last, *rest in zip(*(paper.columns[k] for k in paper.columns), strict=True):
    tried[f"{first:.0f}-{last:.0f}"] = Window(*rest[:2]), rest[2]
middle = np.sqrt(low * high)
wanted = {"low half": Window(low, middle), "high half": Window(middle, high), "zone": zone}
wanted |= {
    f"paper's {name}": window.moved(PAPER_CELEBA_ZONE, zone)
    for name, (window, _) in [*tried.items()][1:]
    if gaps == "nine" or name in ("100-200", "100-350")
}
wanted["copy window"] = Window(edge / 2, high)
windows = {
    name: Window(*(float(f"{end:.2g}") for end in (window.low, window.high)))
    for name, window in wanted.items()
}
law = small.train.for_images(data.train).noise
mass = {name: float(law.cdf(w.high) - law.cdf(w.low)) for name, w in windows.items()}
for name, window in windows.items():
    print(f"{name:15} {window}: {mass[name]:.0%} of the plain model's draws")

# %%
chosen = {
    name: experiments.changed(
        small,
        {
            "train.noise.gap_low": window.low,
            "train.noise.gap_high": window.high,
            "train.noise.gap_keep": gap_keep,
        },
    )
    for name, window in windows.items()
}
models = {"plain": plain} | dict(zip(chosen, store.train_or_load([*chosen.values()]), strict=True))
broken = []
for name, trained in models.items():
    before, after = trained.course()
    broken += [name] if after >= before else []
    print(f"{name}: mean loss {before:.3f} after an eighth of the steps, {after:.3f} at the end")

# %% [markdown]
# ## Samples: memorized, and how good
#
# As in [](../book/gap_training.md): the ratio test against the training set, and Frechet distances
# to real images that the small models have not seen. Beside them what real held-out images get,
# and the training set drawn with repeats, a perfect copier.

# %%
options = dict(seed=seed, solver=solver, device=next(plain.denoise.parameters()).device)
denoisers = {name: trained.denoise for name, trained in models.items()} | {"large": many.denoise}
pictures = {
    name: sampler.sample(denoise, data.train.shape[1:], n_samples, **options).numpy()
    for name, denoise in denoisers.items()
}
passed = {
    name: memorization.neighbours(images, distinct).memorized() for name, images in pictures.items()
}
share = {n: memorization.Fraction.of(int(yes.sum()), n_samples) for n, yes in passed.items()}
change = {n: swaps.paired_difference(passed["plain"], yes, seed=seed) for n, yes in passed.items()}

# %%
n_quality = min(n_samples, len(heldout))
unseen = everything.train[len(data.train) :]
if len(unseen) < n_quality:  # the small set is (nearly) all there is
    unseen = everything.train
of = quality.PrincipalComponents.of(unseen)
target = of(unseen)
repeats = np.random.default_rng(seed).integers(len(data.train), size=n_quality)
judged = pictures | {"held-out": heldout, "training set": data.train[repeats]}
distance = {
    name: quality.frechet_estimate(of(images[:n_quality]), target)
    for name, images in judged.items()
}
for name in judged:
    print(f"{name:15} memorized {share.get(name, '-')}; distance {distance[name]}")
print("change of the memorized share against the plain model, paired by initial noise:")
for name in windows:
    print(f"  {name}: {change[name]}")

# %% [markdown]
# The two halves, sample by sample from the same initial noise: how many more are memorized with
# the gap in the high-noise half than with the one in the low-noise half?

# %%
halves = swaps.paired_difference(passed["low half"], passed["high half"], seed=seed)
print(f"high half minus low half: {halves}")

# %% tags=["hide-input", "remove-output"]
curves5 = digitized.load("fig5_celeba_curves")
bars = {
    data.name: [("none", None, share["plain"].value)]
    + [(name, windows[name], share[name].value) for name in windows],
    "the paper": [
        (name if window.high else "none", window if window.high else None, percent / 100)
        for name, (window, percent) in tried.items()
    ],
}
tall = max(1.5, 0.17 * (1 + len(windows)))  # as high as so many bars and their names need
fig, axes = plt.subplots(
    4, 1, figsize=(4.8, 6.2 + 1.2 * tall), gridspec_kw={"height_ratios": [1.4, tall, 1.4, 1.7]}
)
colour = plt.get_cmap("viridis")
for (source, rows), curve_ax, bar_ax in zip(bars.items(), axes[::2], axes[1::2], strict=True):
    if source == "the paper":
        for column, look in (("coverage", "C0o"), ("max_weight", "C1s")):
            curve_ax.plot(curves5["sigma"], curves5[column], look, ms=3.5)
        ends, band = (0.05, 10), PAPER_CELEBA_ZONE
    else:
        drawing.plot_curve(curve_ax, reach.coverage, r"coverage $C_\sigma$", color="C0")
        drawing.plot_curve(curve_ax, reach.weight, r"concentration $W_\sigma$", color="C1", ls="--")
        ends, band = (min(0.05, edge / 3), max(10, 2 * high)), zone
    curve_ax.set(title=source, xlim=ends)
    for ax in (curve_ax, bar_ax):
        ax.axvspan(band.low, band.high, color="0.9", lw=0, zorder=0)
    for place, (_, window, memorized) in enumerate(rows):
        ends_of = (window.low, window.high) if window else ends
        bar_ax.barh(
            place,
            ends_of[1] - ends_of[0],
            left=ends_of[0],
            height=0.7 if window else 0.12,
            color=colour(memorized),
            zorder=2,
        )
        note = dict(xytext=(4, 0), textcoords="offset points", va="center", fontsize=8.5)
        bar_ax.annotate(f"{memorized:.0%}", (ends_of[1], place), annotation_clip=False, **note)
    bar_ax.set(yticks=range(len(rows)), yticklabels=[name for name, *_ in rows], xlim=ends)
    bar_ax.invert_yaxis()
    drawing.sigma_axis(curve_ax)
    curve_ax.set_xlabel("")
    drawing.sigma_axis(bar_ax, probability=False)
shades = fig.colorbar(plt.cm.ScalarMappable(cmap=colour), ax=axes, location="bottom", aspect=40)
shades.set_label("share of memorized samples")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncol=2)
points = [
    (source, f"memorized, {name}", *((w.low, w.high) if w else (np.nan, np.nan)), value, *interval)
    for source, rows in bars.items()
    for name, w, value in rows
    for interval in [
        (np.nan, np.nan)
        if source == "the paper"
        else (share["plain" if name == "none" else name].low,
              share["plain" if name == "none" else name].high)
    ]
]  # fmt: skip
points += [
    (data.name, what, sigma, sigma, *values)
    for what, curve in (("coverage", reach.coverage), ("concentration", reach.weight))
    for sigma, *values in zip(curve.sigma, curve.mean, curve.low, curve.high, strict=True)
]
points += [
    ("the paper", what, sigma, sigma, value, np.nan, np.nan)
    for what, column in (("coverage", "coverage"), ("concentration", "max_weight"))
    for sigma, value in zip(curves5["sigma"], curves5[column], strict=True)
]
headers = ["source [name]", "quantity [name]", "sigma, low [data units]"]
headers += ["sigma, high [data units]", "value [fraction]"]
headers += ["low [fraction, 95% interval]", "high [fraction, 95% interval]"]
figures.save(
    fig,
    "fig-gap-sweep",
    title="Which gap lowers memorization",
    caption=(
        rf"Coverage, concentration and danger zone (shaded), and below them the gaps tried, "
        rf"coloured by the share of memorized samples. Above: ours on {data.name}, "
        rf"$N = {len(data.train):,}$, {n_samples} samples of each model, {gap_keep:.0%} of the "
        rf"noise levels in a gap kept. Below: the paper's Figure 5, read off (CelebA, "
        rf"$N = 1{{,}}024$; DDPM steps; the first two gaps' 71% means at least that)."
    ),
    alt=(
        f"Bars of gaps under curves of coverage and concentration. Without a gap "
        f"{share['plain'].value:.0%} of our samples are memorized, with the low half left out "
        f"{share['low half'].value:.0%}, with the high half {share['high half'].value:.0%}, with "
        f"the copy window {share['copy window'].value:.0%}."
    ),
    table=dict(zip(headers, map(list, zip(*points, strict=True)), strict=True)),
    paper_item="Figure 5",
    claim="paper",
    data=[data, paper, curves5],
    seeds={"training": seed, "samples": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-gap-sweep
# :again:
# ```

# %% [markdown]
# ## Memorization against quality
#
# The front holds the models that no other one beats in both.

# %% tags=["hide-input", "remove-output"]
plane = np.array([(share[name].value, distance[name].value) for name in models])
order = np.lexsort(plane.T[::-1])
front = [i for k, i in enumerate(order) if (plane[i, 1] < plane[order[:k], 1]).all()]
fig, ax = plt.subplots(figsize=(4.8, 4.2))
ax.plot(*plane[front].T, color="0.6", lw=1, drawstyle="steps-post", zorder=0, label="front")
for i, name in enumerate([*models, "large"]):
    x, y = share[name], distance[name]
    bars_of = dict(
        xerr=[[x.value - x.low], [x.high - x.value]], yerr=[[y.value - y.low], [y.high - y.value]]
    )
    marker, grey = "os^DvPX*<>phd"[i % 13], "0.4" if name == "large" else f"C{i % 10}"
    ax.errorbar(x.value, y.value, **bars_of, fmt=marker, color=grey, lw=1, ms=6, label=name)
ax.axhline(distance["held-out"].value, color="0.4", ls=":", label="real, held out")
ax.axhline(distance["training set"].value, color="0.4", ls="--", label="training set")
ax.set(xlabel="share of memorized samples", ylim=(0, None), xlim=(-0.03, 1.03))
ax.set_ylabel("Frechet distance,\nprincipal components")
fig.legend(loc="outside lower center", ncol=2)
figures.save(
    fig,
    "fig-gap-plane",
    title="Memorization and quality of the gaps tried",
    caption=(
        rf"Memorized share of {n_samples} samples on {data.name} against the Frechet distance of "
        rf"{n_quality} of them to {len(unseen):,} unseen real images, on principal components (95% "
        rf"intervals), one mark for each gap. Grey line: the front. Dotted: real held-out images; "
        rf"dashed: the training set drawn with repeats, a perfect copier's score."
    ),
    alt=(
        f"The plain model memorizes {share['plain'].value:.2g} at distance "
        f"{distance['plain'].value:.2g}; on the front lie: "
        f"{', '.join([*models][i] for i in front)}."
    ),
    table={
        "model [name]": [*models, "large"],
        **{
            f"{what}, {column}": [getattr(values[n], attribute) for n in [*models, "large"]]
            for what, values in (("memorized", share), ("distance", distance))
            for column, attribute in (
                ("value [fraction or feature units squared]", "value"),
                ("low [95% interval]", "low"),
                ("high [95% interval]", "high"),
            )
        },
    },
    paper_item="Figure 9",
    claim="paper",
    data=[data],
    seeds={"training": seed, "samples": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-gap-plane
# :again:
# ```

# %% [markdown]
# ## Samples
#
# The same ten initial noises in every row.

# %% tags=["hide-input", "remove-output"]
rows = [
    (f"{name.replace(' ', chr(10))}\n{share[name].value:.0%}", pictures[name][:10])
    for name in denoisers
]
fig = drawing.image_grid(rows, [str(i) for i in range(10)], [passed[n][:10] for n in denoisers])
for ax in fig.axes[::10]:
    ax.yaxis.label.set(rotation=0, ha="right", va="center", fontsize=7.5)
figures.save(
    fig,
    "fig-gap-sheets",
    title="Samples with each gap",
    caption=(
        f"Samples on {data.name} from ten initial noises (columns), of the plain model, of those "
        "with a gap, and of the large model. Red frame: memorized; the numbers are the memorized "
        f"shares of all {n_samples}."
    ),
    alt=(
        f"Rows of ten images. {int(passed['plain'][:10].sum())} of the plain model's have a red "
        f"frame, {int(passed['copy window'][:10].sum())} with the copy window left out."
    ),
    table=drawing.pixel_table(
        np.arange(10), [(name, pictures[name][:10]) for name in denoisers], "initial noise [index]"
    ),
    paper_item="Figures 20 to 23",
    claim="paper",
    data=[data],
    seeds={"training": seed, "samples": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-gap-sheets
# :again:
# ```

# %% [markdown]
# ## What must hold
#
# Whether the low-noise half is the effective side is a test, not a condition: the claim says so,
# and the chapter repeats it in words that come from the numbers. What must hold is that the copy
# window lowers memorization.

# %%
low_side = halves.low > 0
same = halves.low <= 0 <= halves.high
verdict = "lowers memorization more than" if low_side else "lowers memorization less than"
verdict = "is not to be told from" if same else verdict
nested = {  # (outer, inner) -> how many more are memorized with the outer gap
    (outer, inner): swaps.paired_difference(passed[inner], passed[outer], seed=seed)
    for outer, inner in itertools.permutations(windows, 2)
    if windows[outer].low <= windows[inner].low and windows[inner].high <= windows[outer].high
}
for (outer, inner), difference in nested.items():
    print(f"{outer} instead of {inner}, which lies inside: {difference}")
less = sum(difference.high < 0 for difference in nested.values())
more = sum(difference.low > 0 for difference in nested.values())
floors, left = np.array([(windows[name].low, share[name].value) for name in windows]).T
rank = np.nan
if np.ptp(left) > 0:  # ranks of equal shares mean nothing
    rank = float(spearmanr(floors, left).statistic)
effective = [name for name in windows if change[name].high < 0]
own_preset = experiments.PRESETS[f"{preset}-small"].data.name
must = (dataset, n_train, changes) == (own_preset, 0, "") and preset != "cifar10"
figures.claim("every training went well", not broken, must=must and preset != "digits-mlp")
must = must and gap_keep == 0 and not broken
figures.claim(
    "the copy window lowers memorization", share["copy window"].high < share["plain"].low, must=must
)
figures.claim(
    "the low-noise half of the zone lowers memorization more than the high-noise half",
    low_side,
    must=False,
)
wider = more == 0 and 2 * less > len(nested)
figures.claim("most gaps memorize less than those inside them, and none more", wider, must=False)
price = distance["copy window"].low > distance["plain"].high
figures.claim("the copy window costs quality", price, must=False)
figures.record(
    dataset=data.name,
    n_train=f"{len(data.train):,}",
    n_samples=f"{n_samples:,}",
    n_quality=f"{n_quality:,}",
    n_unseen=f"{len(unseen):,}",
    n_steps=f"{small.train.steps:,}",
    gap_keep=f"{gap_keep:.0%}",
    n_gaps=str(len(windows)),
    zone_ends=str(zone) if found.medium else f"{zone}, as the rule finds none,",
    edge=f"{edge:.2g}",
    crossing=f"{found.crossing.value:.2g}",
    **{name.replace(" ", "_"): str(share[name]) for name in [*denoisers] if "-" not in name},
    low_half_window=str(windows["low half"]),
    high_half_window=str(windows["high half"]),
    copy_window_window=str(windows["copy window"]),
    low_half_mass=f"{mass['low half']:.0%}",
    high_half_mass=f"{mass['high half']:.0%}",
    copy_window_mass=f"{mass['copy window']:.0%}",
    solver=sampler.SOLVER_NAMES[solver],
    low_half_change=str(change["low half"]),
    high_half_change=str(change["high half"]),
    zone_change=str(change["zone"]),
    copy_window_change=str(change["copy window"]),
    halves=str(halves),
    halves_verdict=verdict,
    effective=", ".join(effective) or "none",
    nested=str(len(nested)),
    nested_less=str(less),
    nested_more=str(more),
    rank_floor=f"{rank:.2f}",
    front=", ".join([*models][i] for i in front),
    plain_distance=str(distance["plain"]),
    copy_window_distance=str(distance["copy window"]),
    held_out_distance=str(distance["held-out"]),
    copier_distance=str(distance["training set"]),
    large_distance=str(distance["large"]),
    quality_words="costs" if price else "shows no cost of",
    trainings="None of the trainings here broke down"
    if not broken
    else f"Broken down here: {', '.join(broken)}",
    table="; ".join(
        f"{name} {windows[name]}: {share[name]}, distance {distance[name].value:.2g}"
        for name in windows
    ),
)
