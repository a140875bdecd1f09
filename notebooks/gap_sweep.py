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
second_dataset: str = ""  # a second data set, swept likewise, or none
second_n_train: int = 0  # N there
changes: str = ""  # further settings of all models: names, each with an equals sign and its value
gaps: str = "few"  # which gaps: a few, or also all nine of the paper, in {few, nine}
gap_keep: float = 0.0  # share of the noise levels drawn in a gap that is kept, in [0, 1]
trainings: int = 3  # trainings of each half of the zone, of seed, seed + 1, ..., in [1, inf)
n_samples: int = 512  # samples of each model, in [20, inf)
solver: str = "heun"  # how to sample, euler as in the paper, in {heun, euler}
n_heldout: int = 1000  # held-out images, at most; fewer where the set has fewer, in [20, inf)
c: float = 5.0  # shell parameter of Lemma 4.5, in (0, inf)
level: float = 0.8  # C and W at least this high: the danger zone, in (0, 1)
seed: int = 0  # seed of training, noise and samples, in [0, inf)
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import itertools
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import spearmanr

from geomem import digitized, drawing, experiments, figures, memorization, quality, sampler
from geomem import store, swaps
from geomem.swaps import PAPER_CELEBA_ZONE
from geomem.window import Window

plt.style.use(figures.STYLE)
sweeps = []  # all that is said of one data set; the book's numbers are those of the first
for name, n in ((dataset, n_train), (second_dataset, second_n_train)):
    if not name:
        continue  # no second data set
    small, large = experiments.pair(
        preset, dataset=name, n_train=n, changes=changes, seed=seed, device=device
    )
    data, everything = small.data.load(), large.data.load()
    s = SimpleNamespace(small=small, large=large, data=data, everything=everything)
    s.unseen = quality.unseen_images(data.train, everything.train)
    s.heldout = data.heldout[:n_heldout]
    s.distinct = memorization.DistinctImages(data.train, device)
    sweeps.append(s)
    print(f"{data.name}: {len(data.train)} training images, {len(s.heldout)} held-out images")

# %% [markdown]
# ## The zone
#
# By our rule, from coverage and concentration of the small training set. Where it finds no zone
# (they may cross below the level), the zone is taken from the crossing to twice that.

# %%
trained = iter(store.train_or_load([e for s in sweeps for e in (s.small, s.large)]))
for s in sweeps:
    s.plain, s.many = next(trained), next(trained)
    settings = dict(c=c, level=level, seed=seed, device=device)
    s.reach = swaps.CopyRange.of(s.distinct, s.heldout, s.many.denoise, **settings)
    s.zone = s.reach.zone
    print(f"{s.data.name}: danger zone {s.reach.zone_in_words}; ", end="")
    print(f"a copy can be undone down to sigma: {s.reach.edge_in_words}")

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
for s in sweeps:
    low, high = s.zone.low, s.zone.high
    middle = np.sqrt(low * high)
    wanted = {"low half": Window(low, middle), "high half": Window(middle, high), "zone": s.zone}
    wanted |= {
        f"paper's {name}": window.moved(PAPER_CELEBA_ZONE, s.zone)
        for name, (window, _) in [*tried.items()][1:]
        if gaps == "nine" or name in ("100-200", "100-350")
    }
    wanted["copy window"] = s.reach.window
    s.windows = {
        name: Window(*(float(f"{end:.2g}") for end in (window.low, window.high)))
        for name, window in wanted.items()
    }
    law = s.small.train.for_images(s.data.train).noise
    s.mass = {name: float(law.cdf(w.high) - law.cdf(w.low)) for name, w in s.windows.items()}
    print(f"{s.data.name}: share of the plain model's draws in each gap")
    for name, window in s.windows.items():
        print(f"  {name:15} {window}: {s.mass[name]:.0%}")

# %%
HALVES = ("low half", "high half")
again = [(half, other) for other in range(seed + 1, seed + trainings) for half in HALVES]
chosen = [
    experiments.changed(
        s.small,
        {
            "train.noise.gap_low": s.windows[name].low,
            "train.noise.gap_high": s.windows[name].high,
            "train.noise.gap_keep": gap_keep,
            "train.seed": of,
        },
    )
    for s in sweeps
    for name, of in [*((name, seed) for name in s.windows), *again]
]
trained, broken = iter(store.train_or_load(chosen)), []
for s in sweeps:
    s.models = {"plain": s.plain} | {name: next(trained) for name in s.windows}
    s.repeats = {f"{half}, seed {of}": next(trained) for half, of in again}
    print(f"{s.data.name}: mean loss after an eighth of the steps, and at the end")
    for name, model in (s.models | s.repeats | {"large": s.many}).items():
        before, after = model.course()
        broken += [f"{name} ({s.data.name})"] if model.broke_down else []
        print(f"  {name:15} {before:.3f} {after:.3f}")

# %% [markdown]
# ## Samples: memorized, and how good
#
# As in [](../book/gap_training.md): the ratio test against the training set, and Frechet distances
# to real images that the small models have not seen. Beside them what real held-out images get,
# and the training set drawn with repeats, a perfect copier.

# %%
for s in sweeps:
    options = dict(seed=seed, solver=solver, device=next(s.plain.denoise.parameters()).device)
    networks = {name: model.denoise for name, model in s.models.items()} | {"large": s.many.denoise}
    shape = s.data.train.shape[1:]
    s.pictures = {
        name: sampler.sample(denoise, shape, n_samples, **options).numpy()
        for name, denoise in networks.items()
    }
    s.passed = {
        name: memorization.neighbours(images, s.distinct).memorized()
        for name, images in s.pictures.items()
    }
    s.share = {
        name: memorization.Fraction.of(int(yes.sum()), n_samples) for name, yes in s.passed.items()
    }
    s.change = {
        name: swaps.paired_difference(s.passed["plain"], yes, seed=seed)
        for name, yes in s.passed.items()
    }

# %%
for s in sweeps:
    s.n_quality = min(n_samples, len(s.heldout), len(s.unseen))
    of = quality.PrincipalComponents.of(s.unseen)
    target = of(s.unseen)
    repeats = np.random.default_rng(seed).integers(len(s.data.train), size=s.n_quality)
    real = np.random.default_rng(seed).permutation(s.heldout)  # a set's last images may differ
    judged = s.pictures | {"held-out": real, "training set": s.data.train[repeats]}
    s.distance = {
        name: quality.frechet_estimate(of(images[: s.n_quality]), target)
        for name, images in judged.items()
    }
    print(s.data.name)
    for name in judged:
        print(f"  {name:15} memorized {s.share.get(name, '-')}; distance {s.distance[name]}")
    print("  change of the memorized share against the plain model, paired by initial noise:")
    for name in s.windows:
        print(f"    {name}: {s.change[name]}")

# %% [markdown]
# The two halves, sample by sample from the same initial noise: how many more are memorized with
# the gap in the high-noise half than with the one in the low-noise half? Another training may
# change that by more than another set of samples would, so both halves are trained with several
# seeds, and the interval is Student's over the trainings (ours; of one, it is over the samples).

# %%
for s in sweeps:
    options = dict(solver=solver, device=next(s.plain.denoise.parameters()).device)
    passed = {(half, seed): s.passed[half] for half in HALVES}
    for (half, of), model in zip(again, s.repeats.values(), strict=True):
        images = sampler.sample(
            model.denoise, s.data.train.shape[1:], n_samples, seed=of, **options
        )
        passed[half, of] = memorization.neighbours(images, s.distinct).memorized()
    s.by_half = {
        key: memorization.Fraction.of(int(yes.sum()), n_samples) for key, yes in passed.items()
    }
    s.apart = {
        of: swaps.paired_difference(passed["low half", of], passed["high half", of], seed=of)
        for of in range(seed, seed + trainings)
    }
    for of, difference in s.apart.items():
        print(f"{s.data.name}, seed {of}: high half minus low half: {difference}")
    s.halves = s.apart[seed]
    if trainings > 1:
        s.halves = swaps.over_trainings([difference.value for difference in s.apart.values()])
    same = s.halves.low <= 0 <= s.halves.high
    how = f"lowers memorization {'more' if s.halves.low > 0 else 'less'} than"
    s.verdict = "is not to be told from" if same else how
    print(f"{s.data.name}: high half minus low half, {trainings} trainings: {s.halves}")

# %% tags=["hide-input", "remove-output"]
curves5 = digitized.load("fig5_celeba_curves")
bars = {
    s.data.name: [
        (name, s.windows.get(name), (of.value, of.low, of.high))
        for name, of in s.share.items()
        if name != "large"
    ]
    for s in sweeps
}
bars["the paper"] = [
    (
        name if window.high else "plain",
        window if window.high else None,
        (percent / 100, np.nan, np.nan),
    )
    for name, (window, percent) in tried.items()
]
tall = [max(1.5, 0.17 * len(rows)) for rows in bars.values()]  # what bars and their names need
fig, axes = plt.subplots(
    2 * len(bars),
    1,
    figsize=(4.8, 2.6 * len(bars) + sum(tall)),
    gridspec_kw={"height_ratios": [h for bar in tall for h in (1.4, bar)]},
)
colour = plt.get_cmap("viridis")
places = zip(bars.items(), [*sweeps, None], axes[::2], axes[1::2], strict=True)
for (source, rows), s, curve_ax, bar_ax in places:
    if s is None:  # the paper
        for column, look in (("coverage", "C0o"), ("max_weight", "C1s")):
            curve_ax.plot(curves5["sigma"], curves5[column], look, ms=3.5)
        ends, band = (0.05, 10), PAPER_CELEBA_ZONE
    else:
        coverage, weight = r"coverage $C_\sigma$", r"concentration $W_\sigma$"
        drawing.plot_curve(curve_ax, s.reach.coverage, coverage, color="C0")
        drawing.plot_curve(curve_ax, s.reach.weight, weight, color="C1", ls="--")
        ends, band = (min(0.05, s.reach.window.low / 1.5), max(10, 2 * s.zone.high)), s.zone
    curve_ax.set(title=source, xlim=ends)
    for ax in (curve_ax, bar_ax):
        ax.axvspan(band.low, band.high, color="0.9", lw=0, zorder=0)
    for place, (_, window, (memorized, *_)) in enumerate(rows):
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
    (source, f"memorized, {name}", *((w.low, w.high) if w else (np.nan, np.nan)), *memorized)
    for source, rows in bars.items()
    for name, w, memorized in rows
]
points += [
    (
        s.data.name,
        f"memorized, {half}, seed {of}",
        s.windows[half].low,
        s.windows[half].high,
        share.value,
        share.low,
        share.high,
    )
    for s in sweeps
    for (half, of), share in s.by_half.items()
    if of != seed
]
points += [
    (s.data.name, what, sigma, sigma, *values)
    for s in sweeps
    for what, curve in (("coverage", s.reach.coverage), ("concentration", s.reach.weight))
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
        r"Coverage, concentration and danger zone (shaded), and below them the gaps tried, "
        r"coloured by the share of memorized samples. Above: ours on "
        + " and ".join(rf"{s.data.name} ($N = {len(s.data.train):,}$)" for s in sweeps)
        + rf", {n_samples} samples of each model, {gap_keep:.0%} of the "
        rf"noise levels in a gap kept. Below: the paper's Figure 5, read off (CelebA, "
        rf"$N = 1{{,}}024$; DDPM steps; the first two gaps' 71% means at least that)."
    ),
    alt=(
        "Bars of gaps under curves of coverage and concentration. "
        + " ".join(
            f"On {s.data.name} {s.share['plain'].value:.0%} of the samples are memorized without a "
            f"gap, {s.share['low half'].value:.0%} with the low half left out, "
            f"{s.share['high half'].value:.0%} with the high half, "
            f"{s.share['copy window'].value:.0%} with the copy window."
            for s in sweeps
        )
    ),
    table=dict(zip(headers, map(list, zip(*points, strict=True)), strict=True)),
    paper_item="Figure 5",
    claim="paper",
    data=[*(s.data for s in sweeps), paper, curves5],
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
fig, axes = plt.subplots(
    len(sweeps), 1, figsize=(4.8, 1.5 + 2.7 * len(sweeps)), sharex=True, squeeze=False
)
for s, ax in zip(sweeps, axes[:, 0], strict=True):
    plane = np.array([(s.share[name].value, s.distance[name].value) for name in s.models])
    order = np.lexsort(plane.T[::-1])
    best = [i for k, i in enumerate(order) if (plane[i, 1] < plane[order[:k], 1]).all()]
    s.front = [[*s.models][i] for i in best]
    ax.plot(*plane[best].T, color="0.6", lw=1, drawstyle="steps-post", zorder=0, label="front")
    for i, name in enumerate([*s.models, "large"]):
        x, y = s.share[name], s.distance[name]
        bars_of = dict(
            xerr=[[x.value - x.low], [x.high - x.value]],
            yerr=[[y.value - y.low], [y.high - y.value]],
        )
        marker, grey = "os^DvPX*<>phd"[i % 13], "0.4" if name == "large" else f"C{i % 10}"
        ax.errorbar(x.value, y.value, **bars_of, fmt=marker, color=grey, lw=1, ms=6, label=name)
    ax.axhline(s.distance["held-out"].value, color="0.4", ls=":", label="real, held out")
    ax.axhline(s.distance["training set"].value, color="0.4", ls="--", label="training set")
    ax.set(title=s.data.name, ylim=(0, None), xlim=(-0.03, 1.03))
    ax.set_ylabel("Frechet distance,\nprincipal components")
ax.set_xlabel("share of memorized samples")
fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncol=2)
marks = [(s, name) for s in sweeps for name in [*s.models, "large"]]
sets = " and ".join(
    f"{s.data.name} ({s.n_quality} of them to {len(s.unseen):,} images)" for s in sweeps
)
figures.save(
    fig,
    "fig-gap-plane",
    title="Memorization and quality of the gaps tried",
    caption=(
        f"Memorized share of {n_samples} samples against the Frechet distance to unseen real "
        f"images, on principal components (95% intervals), one mark for each gap, on {sets}. Grey "
        f"line: the front. Dotted: real held-out images; dashed: the training set drawn with "
        f"repeats, a perfect copier's score."
    ),
    alt=" ".join(
        f"On {s.data.name} the plain model memorizes {s.share['plain'].value:.2g} at distance "
        f"{s.distance['plain'].value:.2g}; on the front lie: {', '.join(s.front)}."
        for s in sweeps
    ),
    table={
        "data set [name]": [s.data.name for s, _ in marks],
        "model [name]": [name for _, name in marks],
        **{
            f"{what}, {column}": [getattr(getattr(s, of)[n], attribute) for s, n in marks]
            for what, of in (("memorized", "share"), ("distance", "distance"))
            for column, attribute in (
                ("value [fraction or feature units squared]", "value"),
                ("low [95% interval]", "low"),
                ("high [95% interval]", "high"),
            )
        },
    },
    paper_item="Figure 9",
    claim="paper",
    data=[s.data for s in sweeps],
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
# The same ten initial noises in every row, on the first data set.

# %% tags=["hide-input", "remove-output"]
s = sweeps[0]
rows = [
    (f"{name.replace(' ', chr(10))}\n{s.share[name].value:.0%}", images[:10])
    for name, images in s.pictures.items()
]
fig = drawing.image_grid(rows, [str(i) for i in range(10)], [yes[:10] for yes in s.passed.values()])
figures.save(
    fig,
    "fig-gap-sheets",
    title="Samples with each gap",
    caption=(
        f"Samples on {s.data.name} from ten initial noises (columns), of the plain model, of those "
        "with a gap, and of the large model. Red frame: memorized; the numbers are the memorized "
        f"shares of all {n_samples}."
    ),
    alt=(
        f"Rows of ten images. {int(s.passed['plain'][:10].sum())} of the plain model's have a red "
        f"frame, {int(s.passed['copy window'][:10].sum())} with the copy window left out."
    ),
    table=drawing.pixel_table(
        np.arange(10),
        [(name, images[:10]) for name, images in s.pictures.items()],
        "initial noise [index]",
    ),
    paper_item="Figures 20 to 23",
    claim="paper",
    data=[s.data],
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
s = sweeps[0]
nested = {  # (outer, inner) -> how many more are memorized with the outer gap
    (outer, inner): swaps.paired_difference(s.passed[inner], s.passed[outer], seed=seed)
    for outer, inner in itertools.permutations(s.windows, 2)
    if s.windows[outer].low <= s.windows[inner].low
    and s.windows[inner].high <= s.windows[outer].high
}
for (outer, inner), difference in nested.items():
    print(f"{outer} instead of {inner}, which lies inside: {difference}")
less = sum(difference.high < 0 for difference in nested.values())
more = sum(difference.low > 0 for difference in nested.values())
floors, left = np.array([(window.low, s.share[name].value) for name, window in s.windows.items()]).T
rank = np.nan
if np.ptp(left) > 0:  # ranks of equal shares mean nothing
    rank = float(spearmanr(floors, left).statistic)
effective = [name for name in s.windows if s.change[name].high < 0]
own_preset = experiments.PRESETS[f"{preset}-small"].data.name
must = (dataset, n_train, changes) == (own_preset, 0, "") and preset != "cifar10"
figures.claim("every training went well", not broken, must=must)
must = must and gap_keep == 0 and not broken
for s in sweeps[::-1]:  # the first last: it stays `s`
    of = "" if s is sweeps[0] else f"{s.data.name}: "
    share = s.share
    figures.claim(
        f"{of}the copy window lowers memorization",
        share["copy window"].high < share["plain"].low,
        must=must and not of,
    )
    figures.claim(
        f"{of}the low-noise half of the zone lowers memorization more than the high-noise half",
        s.halves.low > 0 and s.change["low half"].high < 0,
        must=False,
    )
wider = more == 0 and 2 * less > len(nested)
figures.claim("most gaps memorize less than those inside them, and none more", wider, must=False)


def table_of(s: SimpleNamespace) -> str:
    """Every gap of a sweep, what it leaves memorized, and at what distance: Markdown."""
    rows = ["| gap | noise levels | memorized | Frechet distance |", "|---|---|---|---|"]
    rows += [
        f"| {name} | {s.windows.get(name, 'none')} | {s.share[name]} | {s.distance[name]} |"
        for name in s.models
    ]
    return "\n".join(rows)


def halves_of(s: SimpleNamespace) -> str:
    """The two halves of a sweep, training by training: Markdown."""
    rows = [
        "| seed | low half left out | high half left out | high minus low |",
        "|---|---|---|---|",
    ]
    rows += [
        f"| {of} | {s.by_half['low half', of]} | {s.by_half['high half', of]} | {difference} |"
        for of, difference in s.apart.items()
    ]
    return "\n".join(rows)


price = s.distance["copy window"].low > s.distance["plain"].high
figures.claim("the copy window costs quality", price, must=False)
figures.record(
    dataset=s.data.name,
    n_train=f"{len(s.data.train):,}",
    n_samples=f"{n_samples:,}",
    n_quality=f"{s.n_quality:,}",
    n_unseen=f"{len(s.unseen):,}",
    n_steps=f"{s.small.train.steps:,}",
    gap_keep=f"{gap_keep:.0%}",
    n_gaps=str(len(s.windows)),
    zone_ends=s.reach.zone_in_words,
    edge=s.reach.edge_in_words,
    crossing=f"{s.reach.regimes.crossing.value:.2g}",
    **{name.replace(" ", "_"): str(s.share[name]) for name in s.share if "-" not in name},
    low_half_window=str(s.windows["low half"]),
    high_half_window=str(s.windows["high half"]),
    copy_window_window=str(s.windows["copy window"]),
    low_half_mass=f"{s.mass['low half']:.0%}",
    high_half_mass=f"{s.mass['high half']:.0%}",
    copy_window_mass=f"{s.mass['copy window']:.0%}",
    solver=sampler.SOLVER_NAMES[solver],
    low_half_change=str(s.change["low half"]),
    high_half_change=str(s.change["high half"]),
    zone_change=str(s.change["zone"]),
    copy_window_change=str(s.change["copy window"]),
    halves=str(s.halves),
    halves_verdict=s.verdict,
    halves_table=halves_of(s),
    halves_apart=str(sum(difference.low > 0 for difference in s.apart.values())),
    n_trainings=str(trainings),
    effective=", ".join(effective) or "none",
    nested=str(len(nested)),
    nested_less=str(less),
    nested_more=str(more),
    rank_floor=f"{rank:.2f}",
    front=", ".join(s.front),
    plain_distance=str(s.distance["plain"]),
    copy_window_distance=str(s.distance["copy window"]),
    held_out_distance=str(s.distance["held-out"]),
    copier_distance=str(s.distance["training set"]),
    large_distance=str(s.distance["large"]),
    quality_words="costs" if price else "shows no cost of",
    trainings="None of the trainings here broke down"
    if not broken
    else f"Broken down here: {', '.join(broken)}",
    table=table_of(s),
    second="".join(
        f"On {s.data.name}, $N = {len(s.data.train):,}$, danger zone {s.reach.zone_in_words}: "
        f"leaving out the low-noise half {s.verdict} leaving out the other (high minus low: "
        f"{s.halves}, trainings of each half: {trainings}). On the front lie: "
        f"{', '.join(s.front)}.\n\n{halves_of(s)}\n\n{table_of(s)}"
        for s in sweeps[1:]
    )
    or "Another data set: none in this run; the `cifar` profile sweeps the full Fashion-MNIST too.",
)
