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
# **Claim.** Which denoiser answers at medium noise decides whether samples are copies; at large
# and small noise it does not matter (the paper's Table 1). The chapter is
# [](../book/swaps.md).

# %% tags=["parameters"]
preset: str = "digits-unet"  # how to train, in {digits-mlp, digits-unet, cifar10-luma, cifar10}
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 0  # training images N of the small model, 0 for the preset's number, in [0, inf)
changes: str = ""  # further settings of both models: names, each with an equals sign and its value
n_samples: int = 256  # samples of each condition, the paper's number, in [8, inf)
n_cumulative: int = 128  # samples at each switch of the cumulative swap, in [8, inf)
solver: str = "heun"  # how to sample, euler as in the paper, in {heun, euler}
n_heldout: int = 500  # held-out images, at most; fewer where the set has fewer, in [2, inf)
c: float = 5.0  # shell parameter of Lemma 4.5, in (0, inf)
level: float = 0.8  # C and W at least this high: the danger zone, in (0, 1)
seed: int = 0  # seed of training, noise and samples, in [0, inf)
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np

import geomem
from geomem import drawing, experiments, figures, memorization, quality, sampler, store, swaps
from geomem.swaps import PAPER_STEPS, PAPER_TABLE
from geomem.window import Window

plt.style.use(figures.STYLE)
small, large = experiments.pair(
    preset, dataset=dataset, n_train=n_train, changes=changes, seed=seed, device=device
)
data, everything = small.data.load(), large.data.load()
quality.unseen_images(data.train, everything.train)  # two models, not one: says so if not
few, many = store.train_or_load([small, large])
heldout = data.heldout[:n_heldout]
distinct = memorization.DistinctImages(data.train, device)
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
reach = swaps.CopyRange.of(distinct, heldout, many.denoise, **settings)
windows = {name: Window.of_steps(*steps) for name, steps in PAPER_STEPS.items()}
windows |= {"zone": reach.zone, "copy": reach.window}
controlled = {f"{name}_{side}": name for name in ("danger", "copy") for side in ("above", "below")}
for name, of in controlled.items():
    windows[name] = windows[of].controls(levels)[name.removeprefix(f"{of}_")]
inside_steps = {}
for name, window in windows.items():
    inside = window.steps(levels)
    inside_steps[name] = f"steps {inside[0]} to {inside[-1]}" if len(inside) else "no step at all"
    print(f"{name:12} {window}: {inside_steps[name]}")
print(f"a copy can be undone down to sigma: {reach.edge_in_words}; the window begins at half of it")

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
    passed[key] = memorization.neighbours(samples[key], distinct).memorized()
    share[key] = memorization.Fraction.of(int(passed[key].sum()), n_samples)
    change[key] = swaps.paired_difference(passed[base, ""], passed[key], seed=seed)
    print(
        f"{base:5} swapped in {name or 'no window':12}: {share[key].count} of {n_samples}, ", end=""
    )
    print(f"{share[key]}; change {change[key]}")
compared = controlled | {"zone": "copy"}
beyond = {
    name: swaps.paired_difference(passed["small", name], passed["small", of], seed=seed)
    for name, of in compared.items()
}
for name, difference in beyond.items():
    print(f"small base, {compared[name]} instead of {name}: {difference}")

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots(figsize=(4.8, 5.6))
rows = ["", *PAPER_STEPS, "zone", "copy"]
for name, of in controlled.items():  # they follow the window that they are as wide as
    rows.insert(rows.index(of) + 1 + name.endswith("below"), name)
titles = {"": "no swap", "zone": "our zone", "copy": "copy window", "medium_e6": "medium, E.6"}
titles |= {name: "as wide, more noise" for name in controlled if name.endswith("above")}
titles |= {name: "as wide, less noise" for name in controlled if name.endswith("below")}
is_control = np.array([name in controlled for name in rows])
for shift, base, style in (
    (-0.17, "small", dict(fmt="o", color="C0")),
    (0.17, "large", dict(fmt="s", color="C1")),
):
    values = [share[base, name] for name in rows]
    middle = np.array([value.value for value in values])
    ends = np.abs(np.array([(value.low, value.high) for value in values]).T - middle)
    where = np.arange(len(rows)) + shift
    named, hollow = dict(label=f"base: {names[base]}"), dict(mfc="white")
    for kind, look in ((~is_control, named), (is_control, hollow)):
        ax.errorbar(middle[kind], where[kind], xerr=ends[:, kind], ms=5, **style, **look)
    paper = {name: PAPER_TABLE[base, name] / 100 for name in rows if (base, name) in PAPER_TABLE}
    places = [rows.index(name) + shift for name in paper]
    label = "paper, Table 1" if base == "small" else None
    ax.plot([*paper.values()], places, "kx", ms=6, mew=1.4, zorder=5, label=label)
ax.set(yticks=range(len(rows)), yticklabels=[titles.get(name, name) for name in rows])
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
        rf"has medium noise); our zone: {reach.zone_in_words}; copy window: {windows['copy']}. "
        rf"Open marks: controls as wide as the window listed before them, at larger and at smaller "
        rf"noise. Crosses: "
        rf"the paper's Table 1, on CIFAR-10 with $N = 1{{,}}000$ against 50,000."
    ),
    alt=(
        f"Without a swap the small model memorizes {share['small', ''].value:.2g} of its samples "
        f"and the large one {share['large', ''].value:.2g}; with the other denoiser at medium "
        f"noise it is {share['small', 'medium'].value:.2g} and "
        f"{share['large', 'medium'].value:.2g}. Each of two windows is followed by controls of "
        f"its width: the small model memorizes {share['small', 'copy'].value:.2g} with the copy "
        f"window, {share['small', 'copy_above'].value:.2g} with the control above it and "
        f"{share['small', 'copy_below'].value:.2g} with the one below."
    ),
    table={
        "base [name]": [base for base, _ in conditions],
        "window of the other model [name]": [
            f"{controlled[name]}, {titles[name]}" if name in controlled else titles.get(name, name)
            for _, name in conditions
        ],
        "window, low [data units]": [span[name][0] for _, name in conditions],
        "window, high [data units]": [span[name][1] for _, name in conditions],
        "memorized [count]": [share[key].count for key in conditions],
        "samples [count]": [n_samples] * len(conditions),
        "memorized [fraction]": [share[key].value for key in conditions],
        "low [fraction, 95% interval]": [share[key].low for key in conditions],
        "high [fraction, 95% interval]": [share[key].high for key in conditions],
        "change by the swap [fraction]": [change[key].value for key in conditions],
        "change, low [fraction, 95% interval]": [change[key].low for key in conditions],
        "change, high [fraction, 95% interval]": [change[key].high for key in conditions],
        "paper, Table 1 [percent]": [PAPER_TABLE.get(key, np.nan) for key in conditions],
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
# the decision is taken.

# %%
edges = [Window.of_steps(i, i).high for i in range(len(levels))] + [0.0]
switched = {}
for base in ("small", "large"):
    switched[base] = []
    for high in edges:
        below = swaps.swap(denoisers[base], denoisers[other[base]], Window(0.0, high))
        found_ = sampler.sample(below, shape, n_cumulative, **options)
        switched[base].append(memorization.memorized_fraction(found_, distinct))
begun = np.array([f.value for f in switched["small"]])
ended = np.array([f.value for f in switched["large"]])
whole = begun[-1]  # never switched: of the same samples
shown = np.array([*levels, levels[-1] * levels[-1] / levels[-2]])
print("switch below sigma; small then large; large then small")
print(np.c_[shown, begun, ended].round(3))


# %%
turn = {}
for key, values in (("begun", begun), ("ended", ended[::-1])):
    grid = np.log(shown if key == "begun" else shown[::-1])
    last = int(np.argmax(values >= whole / 2))  # where half is first reached, or 0
    part = slice(last - 1, last + 1)
    reached = whole > 0 and last > 0
    turn[key] = np.exp(np.interp(whole / 2, values[part], grid[part])) if reached else np.nan
    print(f"{key}: half of the small model's share is reached at sigma = {turn[key]:.3g}")

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots(figsize=(4.8, 4.0))
drawing.shade_regimes(ax, reach.regimes)
for label, values, style in (
    ("small, then large below", switched["small"], dict(color="C1", marker="o")),
    ("large, then small below", switched["large"], dict(color="C2", marker="s")),
):
    ax.plot(shown, [v.value for v in values], ms=4, label=label, **style)
    ends = [[v.low for v in values], [v.high for v in values]]
    ax.fill_between(shown, *ends, color=style["color"], alpha=0.25, lw=0)
if np.isfinite(reach.edge):
    ax.axvline(reach.edge, color="k", ls="--", lw=1, label="copies decided")
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
        rf"is switched once, at the noise level of the axis (bands: 95% intervals). Dashed: the "
        rf"level $\sigma$ ({reach.edge_in_words}) where "
        rf"$2\,\mathrm{{MSE}}(\sigma) = (d_\mathrm{{NN}}/3)^2$ "
        rf"for the large model, below which a copy can hardly be undone. Shaded: the danger "
        rf"zone, {reach.regimes.covered} to {reach.regimes.concentrated}."
    ),
    alt=(
        "Two curves over the level of the switch. From the small to the large model the share of "
        "copies rises as the switch comes later, at lower noise; from the large to the small it "
        "falls. Both turn at the lower part of medium noise."
    ),
    table={
        "switch below sigma [data units]": shown,
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
# ## Samples
#
# The same eight initial noises under each condition, as in the paper's Figure 10.

# %%
lines = [(base, name) for base in ("small", "large") for name in ("", *PAPER_STEPS)]
for key in lines:
    print(f"{key[0]:5} {key[1] or 'no swap':8} {passed[key][:8].sum()} of 8 memorized")

# %% tags=["hide-input", "remove-output"]
pictures = [
    (f"{base[0].upper()} {titles.get(name, name)}", samples[base, name][:8].numpy())
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
        rf"model answers. Red frame: memorized."
    ),
    alt=(
        f"{len(lines)} rows of eight images. Rows of the small model with red frames lose them "
        "when the large model answers at medium noise; rows of the large model gain them the other "
        "way."
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
figures.claim("every training went well", not (few.broke_down or many.broke_down), must=must)
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
for name, place in (("danger", "the paper's danger zone"), ("zone", "our danger zone")):
    only = change["small", name]
    if len(windows[name].steps(levels)):
        part = drop.high < only.low and only.high < 0
        figures.claim(f"the large denoiser in {place} alone undoes part of it", part, must=False)
wider = beyond["zone"].high < 0
figures.claim("a window that reaches below our danger zone undoes more", wider, must=must)
more = max(beyond[f"copy_{side}"].high for side in ("above", "below"))
figures.claim("the copy window undoes more than windows as wide elsewhere", more < -0.2, must=must)
figures.record(
    dataset=data.name,
    n_small=f"{len(data.train):,}",
    n_samples=str(n_samples),
    zone=reach.zone_in_words,
    copy_window=str(windows["copy"]),
    edge=reach.edge_in_words,
    medium=str(windows["medium"]),
    n_large=names["large"].split("= ")[1],
    **{f"{name}_steps": steps for name, steps in inside_steps.items()},
    **{f"{name}_window": str(windows[name]) for name in ("danger", *controlled)},
    **{f"beyond_{name}": str(difference) for name, difference in beyond.items()},
    n_cumulative=str(n_cumulative),
    solver=sampler.SOLVER_NAMES[solver],
    turn_begun=f"{turn['begun']:.2g}",
    turn_ended=f"{turn['ended']:.2g}",
    **{f"{base}_{name or 'none'}": str(value) for (base, name), value in share.items()},
    **{f"{base}_{name or 'none'}_change": str(value) for (base, name), value in change.items()},
)
