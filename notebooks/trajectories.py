# ---
# jupyter: {kernelspec: {display_name: Python 3, language: python, name: python3}}
# ---

# %% [markdown]
# # Notebook: samples on their way from noise to a copy
#
# The paper claims that copies come about at medium noise, in the danger zone, and that more samples
# are copies than the hump on held-out images says. The chapter is [](../book/trajectories.md).
#
# ```{outcome} trajectories
# ```

# %% tags=["parameters"]
preset: str = "digits-unet"  # in {digits-mlp, digits-unet, cifar10-luma, cifar10-rgb, cifar10}
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 0  # training images N of the small model, 0 for the preset's number, or in [2, 1e6]
changes: str = ""  # further settings of both models: names, each with an equals sign and its value
n_samples: int = 256  # samples of each model, in [2, 1e6]
steps: int = 36  # noise levels of the sampler, in [12, 1000]
solver: str = "heun"  # how to sample, euler as in the paper, in {heun, euler}
n_heldout: int = 500  # held-out images, at most; fewer where the set has fewer, in [2, 1e6]
draws: int = 2  # noise draws per held-out image, in [1, 1000]
c: float = 5.0  # shell parameter of Lemma 4.5, in [0.001, 1000]
level: float = 0.8  # C and W at least this high: the danger zone, in (0, 1)
seed: int = 0  # seed of training, noise and samples, in [0, 1e12]
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np

import geomem
from geomem import companion
from geomem.diffusion import presets, zoo
from geomem.geometry.intervals import bars, columns, percent
from geomem.memorization import ratio_test, trajectories
from geomem.plots import STYLE, drawing

plt.style.use(STYLE)
changed = dict(dataset=dataset, n_train=n_train, changes=changes, seed=seed, device=device)
small, large = presets.pair(preset, **changed)
few, many = zoo.train_or_load([small, large])
data, n_large = small.data.load(), len(large.data.load().train)
heldout = data.heldout[:n_heldout]
levels = geomem.karras_sigmas(steps)
way, options = dict(sigmas=levels, seed=seed, solver=solver), dict(seed=seed, device=device)
names = [f"small, N = {len(data.train):,}", f"large, N = {n_large:,}"]

# %% [markdown]
# ## Following the samples
#
# At every level the sampler holds a state $x$, and the model's answer to it. Of the answer:
# the ratio $d_{1\mathrm{NN}}/d_{2\mathrm{NN}}$ and which training image is nearest. Of the state:
# whether it lies in a shell of the small training set. Beside it the other measure of the paper:
# the share of noisy *held-out* images whose denoised answers pass the same test.

# %%
distinct = ratio_test.DistinctImages(data.train, device)
geometry = companion.kept(geomem.measure_regimes)(
    heldout, distinct.images, c=c, level=level, **options
)
course = companion.kept(trajectories.Course.of)(few.denoise, distinct, n_samples, c=c, **way)
other = companion.kept(trajectories.Course.of)(many.denoise, distinct, n_samples, c=c, **way)
inner, memorized = levels[(levels >= 0.01) & (levels <= 20)], course.memorized
options["draws"] = draws
rate = companion.kept(geomem.memorization_rates)(few.denoise, heldout, distinct, inner, **options)
peak = int(rate.mean.argmax())
companion.Table({"model": names, "copies among samples": [course.fraction, other.fraction]})

# %% tags=["hide-input"]
fig, (ax, lower) = plt.subplots(2, 1, figsize=(4.8, 5.4), sharex=True, height_ratios=(3, 2))
drawing.shade_regimes(ax, geometry.regimes)
course.plot(ax, lower, names[0], "C1", "-")
other.plot(ax, lower, names[1], "C2", "-.")
rate.plot(ax, "small, on held-out images", color="k", ls=":")
drawing.sigma_axis(ax)
drawing.sigma_axis(lower)
if geometry.regimes.medium:
    lower.axvspan(geometry.zone.low, geometry.zone.high, color="0.85", lw=0, zorder=0)
lower.axhline(ratio_test.THIRD, color="k", lw=0.8, ls=":")
ax.set(xlabel="", ylabel="share that passes now", xlim=(0.01, 20))
lower.set_ylabel(r"$d_{1\mathrm{NN}}/d_{2\mathrm{NN}}$")
fig.legend(loc="outside lower center", ncol=2)
table = {"sigma [data units]": levels, **course.table(names[0]), **other.table(names[1])}
table["small, on held-out images [fraction]"] = np.full(steps, np.nan)
table["small, on held-out images [fraction]"][np.isin(levels, inner)] = rate.mean
companion.figure(fig, "fig-trajectories-course", table, data=[data])

# %% [markdown]
# ## Which image, and whether a copy
#
# Two moments of a trajectory: from where on its nearest training image is the final one, and from
# where on the ratio test passes for good. Levels are those of the sampler; 0 is the sample itself.

# %%
when = trajectories.Settled.of(course, geometry.zone)
companion.Table({"the copy is settled": list(when.copies), "copies": list(when.copies.values())})

# %% tags=["hide-input"]
settled = trajectories.settled_shares(course, other)
looks = [("C0", "-"), ("C1", "--"), ("0.5", ":"), ("C2", "-.")]
fig = drawing.share_curves(geometry.regimes, settled, looks, "share that is settled")
table = drawing.noise_table(settled, "fraction")
companion.figure(fig, "fig-trajectories-moments", table, data=[data])

# %% [markdown]
# ## Two samples
#
# The samples that end with the smallest and with the largest ratio, sampled again alone: sample $i$
# has a seed of its own.

# %%
wanted = np.array([5.0, 2.0, 1.0, 0.5, 0.2, 0.05])
alone = dict(seed=seed, solver=solver)
strip = trajectories.Strip.of(course, few.denoise, data.train, wanted, **alone)

# %% tags=["hide-input"]
rows = [(title.split(": ")[1], images) for title, images in strip.rows.items()]
fig = drawing.image_grid(rows, [f"{sigma:.2g}" for sigma in strip.sigma], strip.passed)
fig.supxlabel(drawing.SIGMA_LABEL, fontsize=10.5)
pixels = drawing.pixel_table(strip.sigma, list(strip.rows.items()))
companion.figure(fig, "fig-trajectories-strip", pixels, data=[data])

# %% [markdown]
# ## Where the states lie
#
# Coverage once more, of other inputs: the share of the sampler's own states inside a shell of the
# small training set, against $C_\sigma$ of noisy held-out images.

# %%
states, coverage = trajectories.shell_shares(course, other), geometry.coverage
on_heldout = np.interp(np.log(levels), np.log(coverage.sigma), coverage.mean)
middle = int(np.abs(on_heldout - 0.5).argmin())

# %% tags=["hide-input"]
drawn = {"held-out images": coverage, **states}
looks = [("C0", ":"), ("C1", "-"), ("C1", "--"), ("C2", "-.")]
fig = drawing.share_curves(geometry.regimes, drawn, looks, "share inside a shell")
table = drawing.noise_table(states, "fraction")
table["C_sigma, held-out images [fraction]"] = on_heldout
companion.figure(fig, "fig-trajectories-states", table, data=[data])

# %% [markdown]
# ## Both measures over training
#
# The memorized fraction of generated samples, and the peak of the rate on held-out images, at the
# snapshots of the small model.

# %%
parts = [part for part in presets.QUARTERS if part in small.train.snapshots]
judged = few, parts, distinct, heldout, n_samples, inner
moments = companion.kept(trajectories.over_training)(*judged, **way | options)
moments.append(trajectories.Moment(small.train.steps, course.fraction, rate.estimate(peak)))
moment, generated, peaks = zip(*moments, strict=True)
shown = {"copies among samples": generated, "peak of the rate": [one.percent for one in peaks]}
companion.Table({"step": moment, **shown})

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(4.8, 3.2))
table = {"step [count]": moment}
measures = {"generated samples": generated, "held-out images, peak of the rate": peaks}
for (name, values), style in zip(measures.items(), ("C1s-", "ko:"), strict=True):
    ax.errorbar(moment, *bars(values), fmt=style, capsize=2, elinewidth=1, label=name)
    table |= columns(name, "fraction", values)
ax.set(xscale="log", xlabel="training step", ylabel="memorized", ylim=(-0.03, 1.03))
ax.set_xticks(moment, [f"{step:,}" for step in moment])
ax.minorticks_off()
ax.legend(loc="upper left")
companion.figure(fig, "fig-trajectories-training", table, data=[data])

# %% [markdown]
# ## What must hold
#
# The small model memorizes and the large one does not; of the memorized samples nearly all have
# their nearest image settled at a higher level than the copy; and where coverage of held-out
# images passes one half, the memorized samples' states are covered more. All with whole
# intervals. For the book's own models that must hold; for others it is said. Whether most copies
# are settled in the danger zone is the question: whatever comes out is the finding.

# %%
own = (presets.PRESETS[f"{preset}-small"].data.name, 0, "")
must = preset != "cifar10" and (dataset, n_train, changes) == own
must = must and n_samples >= 256 and len(heldout) >= 500
low, high = course.fraction.low, other.fraction.high
earlier = when.earlier is not None and when.earlier.low > 0.9
covered = states["small, memorized"].low[middle] if memorized.any() else 0.0
companion.claim("small-copies", "the small model memorizes: above 0.2", low > 0.2, must=must)
companion.claim("large-does-not", "the large one does not: below 0.05", high < 0.05, must=must)
text = "more samples are copies than the hump's peak says"
companion.claim("samples-above-hump", text, low > rate.high[peak], must=must)
text = "the image is settled before the copy: above 0.9"
companion.claim("image-before-copy", text, earlier, must=must)
text = "memorized samples' states are covered more"
companion.claim("copies-covered", text, covered > on_heldout[middle], must=must)
if geometry.regimes.medium and memorized.any():
    text = "most copies are settled inside the danger zone"
    companion.claim("settled-in-zone", text, when.copies["inside"].low > 0.5, must=False)

# %% tags=["remove-cell"]
heights = {name: curve.estimate(middle).percent for name, curve in states.items()}
companion.quote(
    n_train=f"{len(data.train):,}",
    n_heldout=f"{len(heldout):,}",
    small=str(course.fraction),
    large=str(other.fraction),
    lost=course.lost,
    zone=geometry.zone_in_words,
    zone_from=str(geometry.regimes.covered),
    zone_to=str(geometry.regimes.concentrated),
    rate_peak=peaks[-1].percent,
    sigma_peak=f"{inner[peak]:.2g}",
    now_at_peak=str(course.passing_at(inner[peak])),
    image_large=f"{trajectories.quarters(other.image_at)[1]:.2g}",
    **when.in_words,
    least=f"{course.ratio[:, -1].min():.2g}",
    most=f"{course.ratio[:, -1].max():.2g}",
    sigma_middle=f"{levels[middle]:.2g}",
    middle_heldout=percent(on_heldout[middle]),
    middle_memorized=heights.get("small, memorized", "none"),
    middle_other=heights.get("small, not memorized", "none"),
    middle_large=heights["large"],
    steps_of_training=", ".join(f"{step:,}" for step in moment),
    generated=", ".join(percent(share.value) for share in generated),
    peaks=", ".join(percent(peak.value) for peak in peaks),
)
