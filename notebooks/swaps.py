# ---
# jupyter: {kernelspec: {display_name: Python 3, language: python, name: python3}}
# ---

# %% [markdown]
# # Notebook: swapping the denoiser at some noise levels
#
# The paper claims that the denoiser which answers at medium noise decides whether samples are
# copies, and that at large and small noise it does not matter (its Table 1). The chapter is
# [](../book/swaps.md).
#
# ```{outcome} swaps
# ```

# %% tags=["parameters"]
preset: str = "digits-unet"  # in {digits-mlp, digits-unet, cifar10-luma, cifar10-rgb, cifar10}
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 0  # training images N of the small model, 0 for the preset's number, or in [2, 1e6]
changes: str = ""  # further settings of both models: names, each with an equals sign and its value
n_samples: int = 256  # samples of each condition, the paper's number, in [8, 1e6]
n_cumulative: int = 128  # samples at each switch of the cumulative swap, in [8, 1e6]
solver: str = "heun"  # how to sample, euler as in the paper, in {heun, euler}
n_heldout: int = 500  # held-out images, at most; fewer where the set has fewer, in [20, 1e6]
c: float = 5.0  # shell parameter of Lemma 4.5, in [0.001, 1000]
level: float = 0.8  # C and W at least this high: the danger zone, in (0, 1)
trainings: int = 3  # of the small model, where early stopping is judged, in [1, 100]
stop_share: float = 0.125  # of the steps, where it is also stopped, in (0, 1)
seed: int = 0  # seed of training, noise and samples, in [0, 1e12]
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np

import geomem
from geomem import companion
from geomem.diffusion import presets, sampler, zoo
from geomem.geometry.intervals import bars
from geomem.memorization import quality, ratio_test, remedies, stopping, swaps
from geomem.memorization.copy_range import CopyRange
from geomem.memorization.switch import Switch
from geomem.plots import STYLE, drawing

plt.style.use(STYLE)
changed = dict(dataset=dataset, n_train=n_train, changes=changes, seed=seed, device=device)
small, large = presets.pair(preset, **changed)
data, everything = small.data.load(), large.data.load()
quality.unseen_images(data.train, everything.train)  # two models, not one: says so if not
repeated = [presets.changed(small, {"train.seed": seed + i}) for i in range(trainings)]
*plain, many = zoo.train_or_load([*repeated, large])
few, heldout = plain[0], data.heldout[:n_heldout]
distinct, levels = ratio_test.DistinctImages(data.train, device), geomem.karras_sigmas()
sampled = dict(seed=seed, solver=solver)

# %% [markdown]
# ## The windows
#
# Three are the paper's: large, medium and small noise, as steps of its 18-step grid. `danger` is
# its narrower zone for CIFAR-10 (Figure 10), `medium_e6` medium noise as its appendix E.6 has it.
# `zone` is what our rule finds from coverage and concentration of this small set. `copy` reaches
# down to where a copy can still be undone. A wide window may change more for its width alone. So
# `danger` and `copy` have controls (ours): windows as wide in $\log \sigma$ above them, at larger
# noise, and below, placed without an overlap so that they hold as many steps as they can.

# %%
measured = dict(c=c, level=level, seed=seed, device=device)
reach = companion.kept(CopyRange.of)(distinct, heldout, many.denoise, **measured)
windows = swaps.windows_for(reach, levels)
held = {name: window.steps_in_words(levels) for name, window in windows.items()}
words = {name: window.in_words for name, window in windows.items()}
shown = {"window": list(windows), "sigma": list(words.values())}
companion.Table(shown | {"steps that it holds": list(held.values())})

# %% [markdown]
# ## The table
#
# Every condition has the same initial noise, sample by sample, so differences are paired. Windows
# that hold the same steps are one condition to the sampler, and sampled once.

# %%
table = companion.kept(swaps.SwapTable.of)(
    few.denoise, many.denoise, windows, distinct, n_samples, **sampled
)
shares = [[table.share(base, name) for name in ("", *windows)] for base in ("small", "large")]
names = ["none", *windows]
companion.Table({"window of the other": names, "small": shares[0], "large": shares[1]})

# %% [markdown]
# ## Early stopping, beside it
#
# A swap needs a second model, trained on many images. The baseline (ours) needs a part of the
# first: the small model's training, stopped early. Once where the loss on held-out images is
# lowest, and once after a fixed share of the steps. Every other held-out image chooses when to
# stop; the rest, which no model has seen, judge the denoising error and the quality. All of it for
# several trainings of the small model, each with initial noises of its own.

# %%
choosing, judging = stopping.split_heldout(heldout)
features = quality.features_of(everything, judging, seed=seed)
inner = levels[(levels >= 0.01) & (levels <= 20)][::-1]
options = dict(n=n_samples, sigmas=inner, device=sampler.device_of(few.denoise), **sampled)
bench = remedies.Bench(distinct, judging, judging, features, **options)
wanted = {name: windows[name] for name in ("medium", "zone", "copy")}
beside = companion.kept(swaps.StopOrSwap.of)(bench, plain, many, wanted, choosing, stop_share)
beside.add_to(table)  # the first training, whose initial noises are those of the table
companion.Table(beside.columns)

# %% tags=["hide-input"]
titles = swaps.TITLES | {"stop_share": f"stopped at\n{stop_share:.3g} of the steps"}
names = {"small": f"small, N = {len(data.train):,}"}
names["large"] = f"large, N = {len(everything.train):,}"
fig = drawing.swap_table(table, titles, names)
companion.figure(fig, "fig-swap-table", table.table(titles), data=[data])

# %% [markdown]
# ## One switch
#
# A window has two edges, and both are choices. With a single switch there is one: begin with one
# denoiser at large noise, go on with the other below a level. The curve falls (or rises) where
# the decision is taken. A switch lies midway, in $\log \sigma$, between two steps of the grid, as
# the edges of the windows do; at infinity the other denoiser answers alone, at 0 never.

# %%
switch = companion.kept(Switch.of)(few.denoise, many.denoise, distinct, n_cumulative, **sampled)
zone = reach.zone if reach.geometry.regimes.medium else None
turn, turned = [switch.begun, switch.ended], switch.against(zone)
shown = {"half of the copies": list(turned), "at sigma": turn}
companion.Table(shown | {"against the danger zone": list(turned.values())})

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(4.8, 4.0))
drawing.shade_regimes(ax, reach.geometry.regimes)
switch.curve("small").plot(ax, "small, then large below", color="C1", marker="o", ms=4)
switch.curve("large").plot(ax, "large, then small below", color="C2", marker="s", ms=4)
if np.isfinite(reach.edge.value):
    ax.axvline(reach.edge.value, color="k", ls="--", lw=1, label="undone down to here")
at, ends = bars(turn)
half = [switch.alone["small"].mean() / 2] * 2
ax.errorbar(at, half, xerr=ends, fmt="kD", ms=4, capsize=2, zorder=4)
drawing.sigma_axis(ax)
ax.set(xlim=(0.002, 90), ylabel="share of memorized samples")
ax.set_xlabel(r"switch at noise level $\sigma$ (data units)")
fig.legend(loc="outside lower center", ncol=2)
companion.figure(fig, "fig-swap-cumulative", switch.table(), data=[data])

# %% [markdown]
# ## What a swap and what stopping early do to new images
#
# The denoising error on the held-out images that judge, over that of the large model: the swapped
# model is the large one inside its window, and the overtrained small one outside.

# %%
ratios = [beside.error_ratio(name) for name in ("plain", "medium", "stop_loss", "stop_share")]
told = beside.told_apart
companion.Table({"stopped against swapped, by": list(told), "samples": list(told.values())})

# %% tags=["hide-input"]
labels = ("no swap", "large at medium noise", "stopped, lowest loss")
drawn = dict(zip((*labels, f"stopped, {stop_share:.3g} of steps"), ratios, strict=True))
looks = [("C1", "o", "-"), ("C2", "s", "--"), ("C0", "^", "-."), ("k", "D", ":")]
fig = drawing.error_ratios(drawn, looks, "held-out error / large model's")
companion.figure(fig, "fig-swap-stopping", drawing.noise_table(drawn, "ratio"), data=[data])

# %% [markdown]
# ## Samples
#
# The same eight initial noises under each condition, as in the paper's Figure 10, and the small
# model stopped at the lowest loss.

# %% tags=["hide-input"]
lines = [(of, name) for of in names for name in ("", *swaps.PAPER_STEPS)]
lines.insert(len(lines) // 2, ("small", "stop_loss"))
marks = [table.passed[key][:8] for key in lines]
eight = [np.asarray(table.pictures[key][:8]) for key in lines]
rows = [(f"{of[0].upper()} {titles[name]}", eight.pop(0)) for of, name in lines]
fig = drawing.image_grid(rows, [str(i) for i in range(8)], marks)
pixels = drawing.pixel_table(np.arange(8), rows, "initial noise [index]")
companion.figure(fig, "fig-swap-samples", pixels, data=[data])

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
companion.claim("trained-well", "every training went well", well, must=must)
drop, quarter = table.change("small", "medium"), table.share("small").value / 4
text = "the large denoiser at medium noise undoes memorization"
companion.claim("medium-undoes", text, drop.high < -0.2, must=must)
text = "the small denoiser at medium noise brings it about"
companion.claim("medium-brings", text, table.change("large", "medium").low > quarter, must=must)
text = "at large noise neither changes it by more than a tenth"
companion.claim("large-noise", text, table.most("large") < 0.1, must=must)
text = "at small noise neither changes it by more than a tenth"
companion.claim("small-noise", text, table.most("small") < 0.1, must=False)
text = "the large denoiser in the paper's danger zone alone undoes part of it"
companion.claim("danger-part", text, table.undoes_part("danger"), must=False)
text = "the copy window undoes more than windows as wide elsewhere"
more = max(table.beyond["copy_above"].high, table.beyond["copy_below"].high)
companion.claim("copy-window", text, more < -0.2, must=must)
if zone and len(zone.steps(levels)):
    text = "the large denoiser in our danger zone alone undoes part of it"
    companion.claim("zone-part", text, table.undoes_part("zone"), must=False)
    text = "a window that reaches below our danger zone undoes more"
    companion.claim("zone-too-narrow", text, table.beyond["zone"].high < 0, must=must)
if zone:  # whatever comes out of it is the finding
    text = "a single switch decides inside the danger zone"
    companion.claim("switch-inside", text, set(turned.values()) == {"inside it"}, must=False)
text = "stopped at the lowest held-out loss, no training keeps a tenth of its copies"
companion.claim("stopping-undoes", text, not beside.keeps_a_tenth, must=False)

# %% tags=["remove-cell"]
counts, named = [seen.sum() for seen in marks], [" ".join(row.split()) for row, _ in rows]
companion.quote(
    dataset=data.name,
    n_heldout=f"{len(heldout):,}",
    n_choosing=str(len(choosing)),
    n_judging=str(len(judging)),
    n_small=f"{len(data.train):,}",
    n_large=f"{len(everything.train):,}",
    solver=sampler.SOLVER_NAMES[solver],
    medium=words["medium"],
    copy_window=words["copy"],
    **{f"{name}_window": words[name] for name in ("danger", *[*swaps.COMPARED][:4])},
    **{f"{name}_steps": text for name, text in held.items()},
    **reach.in_words,
    **table.in_words,
    **switch.in_words(zone),
    **beside.in_words,
    steps=f"{small.train.steps:,}",
    share_step=f"{small.train.step_of(stop_share):,}",
    eight="; ".join(f"{n} in {row}" for n, row in zip(counts, named, strict=True)),
)
