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
# # Notebook: swapping the denoiser at some noise levels
#
# The paper claims that the denoiser which answers at medium noise decides whether samples are
# copies, and that at large and small noise it does not matter (its Table 1). What came out here:
#
# ```{outcome} swaps
# ```
#
# The chapter is [](../book/swaps.md).

# %% tags=["parameters"]
preset: str = "digits-unet"  # in {digits-mlp, digits-unet, cifar10-luma, cifar10-rgb, cifar10}
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 0  # training images N of the small model, 0 for the preset's number, in [0, inf)
changes: str = ""  # further settings of both models: names, each with an equals sign and its value
n_samples: int = 256  # samples of each condition, the paper's number, in [8, inf)
n_cumulative: int = 128  # samples at each switch of the cumulative swap, in [8, inf)
solver: str = "heun"  # how to sample, euler as in the paper, in {heun, euler}
n_heldout: int = 500  # held-out images, at most; fewer where the set has fewer, in [20, inf)
c: float = 5.0  # shell parameter of Lemma 4.5, in (0, inf)
level: float = 0.8  # C and W at least this high: the danger zone, in (0, 1)
trainings: int = 3  # of the small model, where early stopping is judged, in [1, inf)
stop_share: float = 0.125  # of the steps, where it is also stopped, in (0, 1)
seed: int = 0  # seed of training, noise and samples, in [0, inf)
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator

import geomem
from geomem.companion import figures
from geomem.diffusion import presets, sampler
from geomem.memorization import ratio_test, quality, remedies
from geomem.memorization.copy_range import CopyRange
from geomem.geometry.intervals import paired_difference
from geomem.plots import STYLE, drawing
from geomem.diffusion import zoo
from geomem.memorization import swaps
from geomem.memorization.hump import place
from geomem.geometry.intervals import student
from geomem.memorization.stopping import Stopping, split_heldout
from geomem.memorization.swaps import PAPER_STEPS, PAPER_TABLE
from geomem.geometry.window import Window

plt.style.use(STYLE)
small, large = presets.pair(
    preset, dataset=dataset, n_train=n_train, changes=changes, seed=seed, device=device
)
data, everything = small.data.load(), large.data.load()
quality.unseen_images(data.train, everything.train)  # two models, not one: says so if not
seeds = range(seed, seed + trainings)
repeated = [presets.changed(small, {"train.seed": s}) for s in seeds]
*plain, many = zoo.train_or_load([*repeated, large])
few = plain[0]
heldout = data.heldout[:n_heldout]
distinct = ratio_test.DistinctImages(data.train, device)
names = {"small": f"small, N = {len(data.train):,}"}
names["large"] = f"large, N = {len(everything.train):,}"
levels = geomem.karras_sigmas()
print(f"{data.name}: {n_samples} samples of each condition, {solver}, the paper's 18 levels")

# %% [markdown]
# ## The windows
#
# Three are the paper's: large, medium and small noise, as steps of its 18-step grid. `danger` is
# its narrower zone for CIFAR-10 (Figure 10), `medium_e6` medium noise as its appendix E.6 has it.
# `zone` is what our rule finds from coverage and concentration of this small set. `copy` reaches
# down to where a copy can still be undone.
#
# A wide window may change more for its width alone. So `danger` and `copy` have controls (ours):
# windows as wide in $\log \sigma$ above them, at larger noise, and below, placed without an
# overlap so that they hold as many steps of the grid as they can.

# %%
settings = dict(c=c, level=level, seed=seed, device=device)
reach = CopyRange.of(distinct, heldout, many.denoise, **settings)
zone_found = reach.geometry.regimes.medium is not None
windows = {name: Window.of_steps(*steps, levels) for name, steps in PAPER_STEPS.items()}
windows |= {"zone": reach.zone, "copy": reach.window}
controlled = {f"{name}_{side}": name for name in ("danger", "copy") for side in ("above", "below")}
for name, of in controlled.items():
    windows[name] = windows[of].controls(levels)[name.removeprefix(f"{of}_")]
inside_steps = {}
for name, window in windows.items():
    inside = window.steps(levels)
    inside_steps[name] = f"steps {inside[0]} to {inside[-1]}" if len(inside) else "no step at all"
    if len(inside) == 1:
        inside_steps[name] = f"step {inside[0]}"
    print(f"{name:12} {window.in_words}: {inside_steps[name]}")
print(f"a copy can be undone down to sigma: {reach.edge}; the window begins at half of it")

# %% [markdown]
# ## The table
#
# Every condition has the same initial noise, sample by sample, so differences are paired. Windows
# that hold the same steps are one condition to the sampler, and sampled once.

# %%
denoisers = {"small": few.denoise, "large": many.denoise}
other = {"small": "large", "large": "small"}
conditions = {(base, ""): denoisers[base] for base in denoisers} | {
    (base, name): swaps.swap(denoisers[base], denoisers[other[base]], window)
    for base in denoisers
    for name, window in windows.items()
}
shape = data.train.shape[1:]
options = dict(seed=seed, solver=solver, device=next(few.denoise.parameters()).device)
drawn, samples, passed, share, change = {}, {}, {}, {}, {}
for key, denoise in conditions.items():
    base, name = key
    same = base, inside_steps.get(name, "no step at all")
    if same not in drawn:
        drawn[same] = sampler.sample(denoise, shape, n_samples, **options)
    samples[key] = drawn[same]
    near = ratio_test.neighbours(samples[key], distinct)
    passed[key], share[key] = near.memorized(), near.fraction
    change[key] = paired_difference(passed[base, ""], passed[key], seed=seed)
    print(f"{base:5} swapped in {name or 'no window':12}: {share[key]}; change {change[key]}")
compared = controlled | {"zone": "copy"}
beyond = {
    name: paired_difference(passed["small", name], passed["small", of], seed=seed)
    for name, of in compared.items()
}
for name, difference in beyond.items():
    print(f"small base, {compared[name]} instead of {name}: {difference}")

# %% [markdown]
# ## Early stopping, beside it
#
# A swap needs a second model, trained on many images. The baseline (ours) needs a part of the
# first: the small model's training, stopped early. Once where the loss on held-out images is
# lowest, and once after a fixed share of the steps. Every other held-out image chooses when to
# stop; the rest, which no model has seen, judge the denoising error and the quality. All of it for
# several trainings of the small model, each with initial noises of its own.

# %%
choosing, judging = split_heldout(heldout)
features = quality.features_of(everything, judging, seed=seed)
inner = levels[(levels >= 0.01) & (levels <= 20)][::-1]
bench = remedies.Bench(
    distinct, judging, judging, features, n=n_samples, sigmas=inner, seed=seed, solver=solver,
    device=options["device"],
)  # fmt: skip
swapped = [name for name in ("medium", "zone", "copy") if len(windows[name].steps(levels))]
judged, stop_steps = {}, []  # condition -> one `Judged` a training; where the loss says stop
for trained in plain:
    config = trained.experiment.train
    stopping = Stopping.of(trained, choosing, seed=seed)
    stop_steps.append(stopping.step)
    tried = {"": (trained.denoise, config.images)}
    for name in swapped:
        mixed = swaps.swap(trained.denoise, many.denoise, windows[name])
        tried[name] = (mixed, config.images + many.experiment.train.images)
    for name, part in (("stop_loss", stopping.best), ("stop_share", stop_share)):
        tried[name] = (trained.at(part), config.step_of(part) * config.batch)
    for name, (denoise, images) in tried.items():
        found = bench.judge(denoise, images, seed=config.seed)
        judged.setdefault(name, []).append(found)
judged["large"] = [bench.judge(many.denoise, many.experiment.train.images)] * trainings
print(f"held-out loss lowest at steps {stop_steps} of {small.train.steps:,}")
for name, each in judged.items():
    print(f"{name or 'no swap':10}: copies {', '.join(str(found.copies) for found in each)}")
    for kind in each[0].distance:
        print(f"  {kind}: {', '.join(str(found.distance[kind]) for found in each)}")
for name in ("stop_loss", "stop_share"):
    key = "small", name  # of the first training, whose initial noises are those of the table
    samples[key], passed[key] = judged[name][0].pictures, judged[name][0].passed
    share[key] = judged[name][0].copies
    change[key] = paired_difference(passed["small", ""], passed[key], seed=seed)

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots(figsize=(4.8, 6.6))
rows = ["", *PAPER_STEPS, "zone", "copy", "stop_loss", "stop_share"]
for name, of in controlled.items():  # they follow the window that they are as wide as
    rows.insert(rows.index(of) + 1 + name.endswith("below"), name)
titles = {"": "no swap", "zone": "our zone", "copy": "copy window", "medium_e6": "medium, E.6"}
for name, of in controlled.items():
    side = "more" if name.endswith("above") else "less"
    titles[name] = f"wide as {titles.get(of, of)},\n{side} noise"
titles |= {"stop_loss": "stopped at\nthe lowest loss"}
titles |= {"stop_share": f"stopped at\n{stop_share:.3g} of the steps"}
is_control = np.array([name in controlled for name in rows])
for shift, base, style in (
    (-0.17, "small", dict(fmt="o", color="C0")),
    (0.17, "large", dict(fmt="s", color="C1")),
):
    has = np.array([(base, name) in share for name in rows])
    values = [share[base, name] for name in rows if (base, name) in share]
    middle = np.array([value.value for value in values])
    ends = np.abs(np.array([(value.low, value.high) for value in values]).T - middle)
    where = np.flatnonzero(has) + shift
    named, hollow = dict(label=f"base: {names[base]}"), dict(mfc="white")
    for kind, look in ((~is_control[has], named), (is_control[has], hollow)):
        ax.errorbar(middle[kind], where[kind], xerr=ends[:, kind], ms=5, **style, **look)
    paper = {name: PAPER_TABLE[base, name] / 100 for name in rows if (base, name) in PAPER_TABLE}
    places = [rows.index(name) + shift for name in paper]
    label = "paper, Table 1" if base == "small" else None
    ax.plot([*paper.values()], places, "kx", ms=6, mew=1.4, zorder=5, label=label)
ax.set_yticks(range(len(rows)), [titles.get(name, name) for name in rows], fontsize=8.5)
ax.set(xlim=(-0.03, 1.03), xlabel="share of memorized samples", ylabel="swapped window")
ax.invert_yaxis()
fig.legend(loc="outside lower center", ncol=2)
span = {"": (np.nan, np.nan)} | {name: (w.low, w.high) for name, w in windows.items()}
figures.save(
    fig,
    "fig-swap-table",
    title="Memorization after a swap of the denoiser",
    caption=(
        rf"Share of {n_samples} samples on {data.name} that are memorized when the other model's "
        rf"denoiser answers inside a window of noise levels (95% intervals), for both bases. "
        rf"Large, medium, danger and small: the paper's steps of its grid (E.6: as its appendix "
        rf"has medium noise); our zone: {reach.geometry.zone_in_words}; copy window: "
        rf"{windows['copy'].in_words}. Open marks: controls as wide as the danger steps or as the "
        rf"copy window, at larger and at smaller noise. Last two rows: no swap, but the small "
        rf"model stopped early, at step {stop_steps[0]:,}, where its held-out loss is lowest, and "
        rf"after {stop_share:.3g} of its {small.train.steps:,} steps. Crosses: "
        rf"the paper's Table 1, on CIFAR-10 with $N = 1{{,}}000$ against 50,000."
    ),
    alt=(
        f"Without a swap the small model memorizes {share['small', ''].value:.2g} of its samples "
        f"and the large one {share['large', ''].value:.2g}; with the other denoiser at medium "
        f"noise it is {share['small', 'medium'].value:.2g} and "
        f"{share['large', 'medium'].value:.2g}. Each of two windows is followed by controls of "
        f"its width: the small model memorizes {share['small', 'copy'].value:.2g} with the copy "
        f"window, {share['small', 'copy_above'].value:.2g} with the control above it and "
        f"{share['small', 'copy_below'].value:.2g} with the one below; without a swap, stopped "
        f"where its held-out loss is lowest, {share['small', 'stop_loss'].value:.2g}."
    ),
    table={
        "base [name]": [base for base, _ in share],
        "window of the other model [name]": [
            titles.get(name, name).replace("\n", " ") for _, name in share
        ],
        "window, low [data units]": [span.get(name, span[""])[0] for _, name in share],
        "window, high [data units]": [span.get(name, span[""])[1] for _, name in share],
        "memorized [count]": [value.count for value in share.values()],
        "samples [count]": [n_samples] * len(share),
        "memorized [fraction]": [value.value for value in share.values()],
        "low [fraction, 95% interval]": [value.low for value in share.values()],
        "high [fraction, 95% interval]": [value.high for value in share.values()],
        "change by the swap [fraction]": [change[key].value for key in share],
        "change, low [fraction, 95% interval]": [change[key].low for key in share],
        "change, high [fraction, 95% interval]": [change[key].high for key in share],
        "paper, Table 1 [percent]": [PAPER_TABLE.get(key, np.nan) for key in share],
    },
    paper_item="Table 1",
    claim="paper",
    data=[data],
    seeds={"training": seed, "samples": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-swap-table
# :again:
# ```

# %% [markdown]
# ## One switch
#
# A window has two edges, and both are choices. With a single switch there is one: begin with one
# denoiser at large noise, go on with the other below a level. The curve falls (or rises) where
# the decision is taken. A switch lies midway, in $\log \sigma$, between two steps of the grid, as
# the edges of the windows do; at infinity the other denoiser answers alone, at 0 never.

# %%
edges = [Window.of_steps(i, i, levels).high for i in range(len(levels))] + [0.0]
copied, switched = {}, {}  # base -> of each level: which samples are copies, and their share
for base in ("small", "large"):
    found = []
    for edge in edges:
        below = swaps.swap(denoisers[base], denoisers[other[base]], Window(0.0, edge))
        drawn = sampler.sample(below, shape, n_cumulative, **options)
        found.append(ratio_test.neighbours(drawn, distinct))
    copied[base] = np.array([near.memorized() for near in found])
    switched[base] = [near.fraction for near in found]
whole = copied["small"][-1]  # never switched
between = np.array(edges[1:-1])  # the switches between two steps, which the axis can show
print("switch below sigma; small then large; large then small")
print(np.c_[edges, copied["small"].mean(1), copied["large"].mean(1)].round(3))
turn = {
    "begun": swaps.half_level(between, copied["small"][1:-1], whole, seed=seed),
    "ended": swaps.half_level(between[::-1], copied["large"][-2:0:-1], whole, seed=seed),
}
turned = dict.fromkeys(turn, "nowhere: there is no zone")
if zone_found:
    turned = {
        key: place(where, reach.zone) or "nowhere: it is not known" for key, where in turn.items()
    }
for key, where in turn.items():
    print(f"{key}: half of the small model's share is reached at sigma = {where}")
    print(f"  against the danger zone: {turned[key]}")

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots(figsize=(4.8, 4.0))
drawing.shade_regimes(ax, reach.geometry.regimes)
for label, values, style in (
    ("small, then large below", switched["small"], dict(color="C1", marker="o")),
    ("large, then small below", switched["large"], dict(color="C2", marker="s")),
):
    mean, low, high = np.array([(v.value, v.low, v.high) for v in values[1:-1]]).T
    ax.plot(between, mean, ms=4, label=label, **style)
    ax.fill_between(between, low, high, color=style["color"], alpha=0.25, lw=0)
if np.isfinite(reach.edge.value):
    ax.axvline(reach.edge.value, color="k", ls="--", lw=1, label="undone down to here")
for where in turn.values():
    # An interval of percentiles need not hold its estimate.
    ends = np.maximum([[where.value - where.low], [where.high - where.value]], 0)
    ax.errorbar(where.value, whole.mean() / 2, xerr=ends, fmt="kD", ms=4, capsize=2, zorder=4)
drawing.sigma_axis(ax)
ax.set(xlim=(0.002, 90), ylabel="share of memorized samples")
ax.set_xlabel(r"switch at noise level $\sigma$ (data units)")
fig.legend(loc="outside lower center", ncol=2)
figures.save(
    fig,
    "fig-swap-cumulative",
    title="Where it is decided that a sample is a copy",
    caption=(
        rf"Share of {n_cumulative} samples on {data.name} that are memorized when the denoiser "
        rf"is switched once, at the noise level of the axis, midway between two steps of the "
        rf"sampler (bands: 95% intervals). Black marks: "
        rf"where half of the copies are decided, {turn['begun']} and {turn['ended']}. Dashed: the "
        rf"level $\sigma$ ({reach.edge}) where "
        rf"$2\,\mathrm{{MSE}}(\sigma) = (d_\mathrm{{NN}}/3)^2$ "
        rf"for the large model, below which a copy can hardly be undone. Shaded: the danger "
        rf"zone, {reach.geometry.zone_in_words}."
    ),
    alt=(
        f"Two curves over the level of the switch, from {between[0]:.2g} to {between[-1]:.2g}. "
        f"The share of copies goes from {switched['small'][1].value:.2g} to "
        f"{switched['small'][-2].value:.2g} where the small model is followed by the large one, "
        f"and from {switched['large'][1].value:.2g} to {switched['large'][-2].value:.2g} the "
        f"other way round. Half is reached at {turn['begun']} and {turn['ended']}."
    ),
    table={
        "switch below sigma [data units]": edges,
        **{
            f"{base}, then the other, {what} [fraction]": [getattr(f, a) for f in values]
            for base, values in switched.items()
            for what, a in (("memorized", "value"), ("low, 95%", "low"), ("high, 95%", "high"))
        },
    },
    paper_item="Table 1, Figure 10",
    claim="ours",
    data=[data],
    seeds={"training": seed, "samples": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-swap-cumulative
# :again:
# ```

# %% [markdown]
# ## What a swap and what stopping early do to new images
#
# The denoising error on the held-out images that judge, over that of the large model: the swapped
# model is the large one inside its window, and the overtrained small one outside.

# %%
ratio = {
    name: remedies.error_ratio(*([f.error for f in judged[key]] for key in (name, "large")))
    for name in ("", "medium", "stop_loss", "stop_share")
}
beside = remedies.error_ratio(*([f.error for f in judged[k]] for k in ("stop_loss", "medium")))
apart = {"lower": beside.high < 1, "higher": beside.low > 1}
at_levels = {
    side: ", ".join(f"{sigma:.2g}" for sigma in inner[sure]) or "no level"
    for side, sure in apart.items()
}
for side, where in at_levels.items():
    print(f"stopped at the lowest loss, the error is surely {side} than swapped at {where}")
told = {
    kind: remedies.told_apart(
        *([f.distance[kind] for f in judged[key]] for key in ("stop_loss", "medium"))
    )
    for kind in judged["stop_loss"][0].distance
}
print("its samples against those of the swap:", told)

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots(figsize=(4.8, 3.9))
labels = {"": "no swap", "medium": "large at medium noise", "stop_loss": "stopped, lowest loss"}
labels |= {"stop_share": f"stopped, {stop_share:.3g} of steps"}
for (name, each), style in zip(ratio.items(), ("C1o-", "C2s--", "C0^-.", "kD:"), strict=True):
    (line,) = ax.plot(inner, each.value, style, ms=4, label=labels[name])
    ax.fill_between(inner, each.low, each.high, color=line.get_color(), alpha=0.2, lw=0)
ax.axhline(1, color="k", lw=1, ls="-", zorder=1)
drawing.sigma_axis(ax, probability=False)
ax.set(yscale="log", ylabel="held-out error / large model's")
ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
ax.yaxis.set_major_formatter("{x:g}")
ax.yaxis.set_minor_formatter("")
fig.legend(loc="outside lower center", ncol=2)
over = f"{trainings} trainings" if trainings > 1 else "images of one training"
figures.save(
    fig,
    "fig-swap-stopping",
    title="Held-out error of a swap and of early stopping",
    caption=(
        rf"Denoising error on {len(judging)} held-out images of {data.name} over that of the large "
        rf"model: the small model ({names['small']}), the same with the large one at medium noise, "
        rf"and stopped early, without any swap: where the loss on {len(choosing)} other held-out "
        rf"images is lowest (steps {', '.join(map(str, stop_steps))} of {small.train.steps:,}), "
        rf"and after {stop_share:.3g} of the steps. Bands: 95% intervals over {over}."
    ),
    alt=(
        "Four curves of the error ratio against noise level. The swapped model's is one inside its "
        f"window and that of the small model outside. Stopped at the lowest held-out loss the "
        f"small model's is at most {ratio['stop_loss'].value.max():.2g}, at the end of training "
        f"{ratio[''].value.max():.2g}."
    ),
    table={
        "sigma [data units]": inner,
        **{
            f"{labels[name]}, {what} [ratio]": getattr(each, attribute)
            for name, each in ratio.items()
            for what, attribute in (("value", "value"), ("low, 95%", "low"), ("high, 95%", "high"))
        },
    },
    paper_item="Table 1",
    claim="ours",
    data=[data],
    seeds={"training": seed, "samples": seed, "noise": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-swap-stopping
# :again:
# ```

# %% [markdown]
# ## Samples
#
# The same eight initial noises under each condition, as in the paper's Figure 10, and the small
# model stopped at the lowest loss.

# %%
lines = [(base, name) for base in ("small", "large") for name in ("", *PAPER_STEPS)]
lines.insert(len(lines) // 2, ("small", "stop_loss"))
for key in lines:
    print(f"{key[0]:5} {key[1] or 'no swap':8} {passed[key][:8].sum()} of 8 memorized")

# %% tags=["hide-input", "remove-output"]
pictures = [
    (f"{base[0].upper()} {titles.get(name, name)}", np.asarray(samples[base, name][:8]))
    for base, name in lines
]
fig = drawing.image_grid(pictures, [str(i) for i in range(8)], [passed[key][:8] for key in lines])
figures.save(
    fig,
    "fig-swap-samples",
    title="The same initial noise under each swap",
    caption=(
        rf"Samples on {data.name} from eight initial noises (columns). S: base {names['small']}, "
        rf"L: base {names['large']}; the name is the window of noise levels in which the other "
        rf"model answers, or says that the small one was stopped early. Red frame: memorized."
    ),
    alt=(
        f"{len(lines)} rows of eight images. Memorized, with a red frame: "
        + "; ".join(
            f"{passed[key][:8].sum()} in {row.replace(chr(10), ' ')}"
            for key, (row, _) in zip(lines, pictures, strict=True)
        )
        + "."
    ),
    table=drawing.pixel_table(np.arange(8), pictures, "initial noise [index]"),
    paper_item="Figure 10",
    claim="paper",
    data=[data],
    seeds={"training": seed, "samples": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-swap-samples
# :again:
# ```

# %% [markdown]
# ## What must hold
#
# Medium noise decides, large noise does not, in both directions and by the intervals of the
# paired differences; and the copy window does more than windows of its width elsewhere. Bringing
# it about means: at least a quarter of what the small model memorizes by itself.

# %%
must = (dataset, preset[:6]) == ("digits", "digits") and not changes and n_train == 0
must = must and n_samples >= 256  # of fewer the intervals may touch
well = not any(trained.broke_down for trained in (*plain, many))
figures.claim("every training went well", well, must=must)
drop, rise = change["small", "medium"], change["large", "medium"]
figures.claim("the large denoiser at medium noise undoes memorization", drop.high < -0.2, must=must)
quarter = share["small", ""].value / 4
figures.claim("the small denoiser at medium noise brings it about", rise.low > quarter, must=must)
for name in ("large", "small"):
    most = max(max(-change[base, name].low, change[base, name].high) for base in denoisers)
    figures.claim(
        f"at {name} noise neither changes it by more than a tenth",
        most < 0.1,
        must=must and name == "large",
    )
zones = {"danger": "the paper's danger zone"} | ({"zone": "our danger zone"} if zone_found else {})
for name, which in zones.items():
    only = change["small", name]
    if len(windows[name].steps(levels)):
        part = drop.high < only.low and only.high < 0
        figures.claim(f"the large denoiser in {which} alone undoes part of it", part, must=False)
more = max(beyond[f"copy_{side}"].high for side in ("above", "below"))
figures.claim("the copy window undoes more than windows as wide elsewhere", more < -0.2, must=must)
if zone_found and len(windows["zone"].steps(levels)):
    wider = beyond["zone"].high < 0
    figures.claim("a window that reaches below our danger zone undoes more", wider, must=must)
if zone_found:  # whatever comes out of it is the finding
    inside = set(turned.values()) == {"inside it"}
    figures.claim("a single switch decides inside the danger zone", inside, must=False)
undone = all(
    stopped.copies.high < whole_.copies.value / 10
    for stopped, whole_ in zip(judged["stop_loss"], judged[""], strict=True)
)
text = "stopped at the lowest held-out loss, no training keeps a tenth of its copies"
figures.claim(text, undone, must=False)


def over_trainings(name):
    """Copies, quality and cost of a condition as text, over the trainings of the small model."""
    each = judged.get(name, judged[""])  # a window without a step of the grid is no swap
    counts = ", ".join(str(found.copies.count) for found in each)
    images = sorted({f"{found.images:,}" for found in each})
    texts = {"copies": f"{counts} of {n_samples}", "images": ", ".join(images)}
    texts["classifier"] = "no labels"
    for kind in each[0].distance:
        values = [found.distance[kind] for found in each]
        several = len(values) > 1 and name != "large"
        mean = student([value.value for value in values]) if several else values[0]
        texts[kind.split()[0]] = str(mean)
    return texts


judged["large"] = judged["large"][:1]
figures.record(
    dataset=data.name,
    trainings=str(trainings),
    n_heldout=f"{len(heldout):,}",
    n_choosing=str(len(choosing)),
    n_judging=str(len(judging)),
    stop_steps=", ".join(f"{step:,}" for step in stop_steps),
    steps=f"{small.train.steps:,}",
    share_step=f"{small.train.step_of(stop_share):,}",
    stop_lower=at_levels["lower"],
    stop_higher=at_levels["higher"],
    stop_told="; ".join(f"{kind}: {words}" for kind, words in told.items()),
    **{
        f"{name or 'plain'}_{what}": text
        for name in ("", "medium", "zone", "copy", "stop_loss", "stop_share", "large")
        for what, text in over_trainings(name).items()
    },
    n_small=f"{len(data.train):,}",
    n_samples=str(n_samples),
    zone=reach.geometry.zone_in_words,
    zone_from=str(reach.geometry.regimes.covered),
    zone_to=str(reach.geometry.regimes.concentrated),
    copy_window=windows["copy"].in_words,
    edge=str(reach.edge),
    medium=windows["medium"].in_words,
    n_large=names["large"].split("= ")[1],
    **{f"{name}_steps": steps for name, steps in inside_steps.items()},
    **{f"{name}_window": windows[name].in_words for name in ("danger", *controlled)},
    **{f"beyond_{name}": str(difference) for name, difference in beyond.items()},
    n_cumulative=str(n_cumulative),
    solver=sampler.SOLVER_NAMES[solver],
    **{f"turn_{key}": str(where) for key, where in turn.items()},
    **{f"turned_{key}": words for key, words in turned.items()},
    **{f"{base}_{name or 'none'}": str(value) for (base, name), value in share.items()},
    **{f"{base}_{name or 'none'}_change": str(value) for (base, name), value in change.items()},
)
