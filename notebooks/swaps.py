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
preset: str = "digits-unet"  # which pair of models: a preset's name without -small or -large
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

import geomem
from geomem import companion
from geomem.companion import live_figures
from geomem.diffusion import presets, sampler
from geomem.digitized import stated
from geomem.geometry import intervals
from geomem.memorization import quality, remedies, swaps
from geomem.memorization.case import Case
from geomem.memorization.swap_course import SwapCourse
from geomem.memorization.switch import Switch
from geomem.plots import drawing, pictures

options = dict(n_heldout=n_heldout, stop_share=stop_share, seed=seed, device=device)
case = Case.of(preset, dataset, n_train, changes, **options)
repeated = [presets.changed(case.small, {"train.seed": seed + i}) for i in range(trainings)]
*plain, many = geomem.train_or_load([*repeated, case.large])
few, data, distinct = plain[0], case.data, case.distinct
levels = geomem.karras_sigmas()
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
reach = companion.kept(case.copy_range)(many.denoise, c=c, level=level)
windows = swaps.windows_for(reach, levels)
held = {name: window.steps_in_words(levels) for name, window in windows.items()}
words = {name: window.in_words for name, window in windows.items()}
shown = {"window": list(windows), "sigma": list(words.values())}
companion.Table(shown | {"steps that it holds": list(held.values())})

# %% [markdown]
# ## The table
#
# Every condition has the same initial noise, sample by sample, so differences are paired. Windows
# that hold the same steps are one condition to the sampler, and sampled once. Where one holds no
# step nothing can be swapped: it has no row.

# %%
models = few.denoise, many.denoise
table = companion.kept(swaps.SwapTable.of)(*models, windows, distinct, n_samples, **sampled)
names = [name for name in ("", *windows) if ("small", name) in table.passed]
shares = {base: [table.share(base, name) for name in names] for base in case.names}
companion.Table({"window of the other": ["none", *names[1:]], **shares})

# %% [markdown]
# ## Early stopping, beside it
#
# A swap needs a second model, trained on many images. The baseline (ours) needs a part of the
# first: the small model's training, stopped early. Once where the loss on held-out images is
# lowest, and once after a fixed share of the steps. Every other held-out image chooses when to
# stop; the rest, which no model has seen, judge the denoising error and the quality. All of it for
# several trainings of the small model, each with initial noises of its own.

# %%
features = quality.features_of(case.everything, case.judging, seed=seed)
inner = levels[(levels >= 0.01) & (levels <= 20)][::-1]
options = dict(n=n_samples, sigmas=inner, device=sampler.device_of(few.denoise), **sampled)
bench = remedies.Bench(distinct, case.judging, case.judging, features, **options)
wanted = {name: windows[name] for name in ("medium", "zone", "copy")}
judge = companion.kept(swaps.StopOrSwap.of)
beside = judge(bench, plain, many, wanted, case.choosing, stop_share)
beside.add_to(table)  # the first training, whose initial noises are those of the table
titles = swaps.TITLES | {"stop_share": f"stopped at\n{stop_share:.3g} of the steps"}
fig = pictures.swap_table(table, titles, case.names)
companion.figure(fig, "fig-swap-table", table.table(titles), data=[data])
companion.Table(beside.columns)

# %% [markdown]
# ## One switch
#
# A window has two edges, and both are choices. With a single switch there is one: begin with one
# denoiser at large noise, go on with the other below a level. The curve falls (or rises) where
# the decision is taken. A switch lies midway, in $\log \sigma$, between two steps of the grid, as
# the edges of the windows do; at infinity the other denoiser answers alone, at 0 never.

# %%
switch = companion.kept(Switch.of)(*models, distinct, n_cumulative, **sampled)
zone = reach.zone if reach.geometry.regimes.medium else None
turned = switch.against(zone)
shown = {"half of the copies": list(turned), "at sigma": [switch.begun, switch.ended]}
companion.figure(pictures.switched(switch, reach), "fig-swap-cumulative", data=[data])
companion.Table(shown | {"against the danger zone": list(turned.values())})
live_figures.attach_switch(switch, distinct, zone)

# %% [markdown]
# ## Early and late in training
#
# Is as much of the first copies decided in the zone as of those at the end of training? The small
# model after parts of its training, from the same noises: of its copies the share that is undone
# when the large model answers in a window.

# %%
parts = [part for part in case.small.train.snapshots if part >= 0.25]
follow = companion.kept(SwapCourse.of)
course = follow(few, many.denoise, wanted, distinct, parts, table, **sampled)
called = {name: " ".join(titles[name].split()) for name in wanted}
companion.figure(pictures.swap_course(course, called), "fig-swap-course", data=[data])

# %% [markdown]
# ## What a swap and what stopping early do to new images
#
# The denoising error on the held-out images that judge, over that of the large model: the swapped
# model is the large one inside its window, and the overtrained small one outside.

# %%
labels = {"plain": "no swap", "medium": "large at medium noise"}
labels |= {"stop_loss": "stopped, lowest loss", "stop_share": f"stopped, {stop_share:.3g} of steps"}
drawn = {label: beside.error_ratio(name) for name, label in labels.items()}
looks = [drawing.SERIES[kind] for kind in ("plain", "swapped", "stopped", "fixed stop")]
fig, _ = drawing.noise_curves(drawn, "held-out error / large model's", looks, axis="ratio")
companion.figure(fig, "fig-swap-stopping", drawing.noise_table(drawn, "ratio"), data=[data])
told = beside.told_apart
companion.Table({"stopped against swapped, by": list(told), "samples": list(told.values())})

# %% [markdown]
# ## Samples
#
# The same eight initial noises under each condition, as in the paper's Figure 10, and the small
# model stopped at the lowest loss.

# %%
lines = [(of, name) for of in case.names for name in ("", *stated.SWAP_STEPS)]
lines.insert(len(lines) // 2, ("small", "stop_loss"))
fig, plotted = pictures.swapped_samples(table, lines, titles, 8, data.train)
companion.figure(fig, "fig-swap-samples", plotted, data=[data])
companion.Table(table.beside_paper(titles))

# %% [markdown]
# ## What must hold
#
# Medium noise decides, large noise does not, in both directions and by the intervals of the
# paired differences; and the copy window does more than windows of its width elsewhere. Undoing it
# and bringing it about mean: at least a quarter of what the small model memorizes by itself.

# %%
claim = companion.claim
must = case.own and preset.startswith("digits") and n_samples >= 256  # of fewer, intervals touch
well = None if any(one.broke_down for one in (*plain, many)) else True  # else nothing is known
claim("trained-well", "every training went well", well, must=must)
undone, brought = table.change("small", "medium"), table.change("large", "medium")
says = "the large denoiser at medium noise undoes memorization"
quarter = table.share("small").value / 4  # without a copy nothing can be undone
claim("medium-undoes", says, intervals.below(undone, -quarter) if quarter else None, must=must)
says = "the small denoiser at medium noise brings it about"
claim("medium-brings", says, intervals.above(brought, quarter) if quarter else None, must=must)
says = "at large noise neither changes it by more than a tenth"
claim("large-noise", says, table.little("large", 0.1), must=must)
says = "at small noise neither changes it by more than a tenth"
claim("small-noise", says, table.little("small", 0.1), must=False)
says = "the large denoiser in the paper's danger zone alone undoes part of it"
claim("danger-part", says, table.undoes_part("danger"), must=False)
usual = must and (c, level) == (5.0, 0.8)  # where other shells find the zone, it is said

# %%
if "copy_above" in table.beyond:
    more = (intervals.below(table.beyond[f"copy_{side}"], -0.2) for side in ("above", "below"))
    says = "the copy window undoes more than windows as wide elsewhere"
    claim("copy-window", says, intervals.every(more), must=usual)
if zone and len(zone.steps(levels)):
    says = "the large denoiser in our danger zone alone undoes part of it"
    claim("zone-part", says, table.undoes_part("zone"), must=False)
    says = "a window that reaches below our danger zone undoes more"
    claim("zone-too-narrow", says, intervals.below(table.beyond["zone"], 0), must=usual)
if zone:  # whatever comes out of it is the finding
    says = "a single switch decides inside the danger zone"
    claim("switch-inside", says, switch.decides_in(zone), must=False)
if zone and "zone" in course.windows:
    says = "the zone undoes as large a share of the copies at the end of training as of the first"
    claim("zone-along", says, course.as_much("zone"), must=False)
says = "stopped at the lowest held-out loss, every training keeps less than a tenth of its copies"
claim("stopping-undoes", says, beside.undone_by_stopping, must=False)

# %% tags=["remove-cell"]
asked = ("danger", *[*swaps.COMPARED][:4])
companion.quote(dataset=data.name, n_heldout=len(case.heldout), n_choosing=str(len(case.choosing)))
companion.quote(n_judging=str(len(case.judging)), n_small=len(data.train), medium=words["medium"])
companion.quote(n_large=len(case.everything.train), solver=sampler.SOLVER_NAMES[solver])
companion.quote(copy_window=words["copy"], **{f"{name}_window": words[name] for name in asked})
companion.quote(**{f"{name}_steps": text for name, text in held.items()}, **reach.in_words)
companion.quote(eight=table.counted(lines, titles, 8), **table.in_words, **switch.in_words(zone))
companion.quote(eight_table=companion.Table(table.beside_paper(titles)), **beside.in_words)
nowhere = "none (no step of the sampler lies there)"
companion.quote(**{f"{name}_course": nowhere for name in wanted} | course.in_words)
companion.quote(steps=case.small.train.steps, share_step=case.small.train.step_of(stop_share))
