# %% [markdown]
# # Notebook: samples on their way from noise to a copy
#
# The paper claims that copies come about at medium noise, in the danger zone, and that more samples
# are copies than the hump on held-out images says. The chapter is [](../book/trajectories.md).
#
# ```{outcome} trajectories
# ```

# %% tags=["parameters"]
preset: str = "digits-unet"  # which pair of models: a preset's name without -small or -large
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
import numpy as np

import geomem
from geomem import companion
from geomem.diffusion import presets
from geomem.geometry.intervals import above, below, columns, less, percent
from geomem.memorization import trajectories
from geomem.memorization.case import Case
from geomem.plots import drawing, pictures

noise = dict(seed=seed, device=device)
case = Case.of(preset, dataset, n_train, changes, n_heldout=n_heldout, **noise)
few, many = case.trained()
data, heldout, distinct = case.data, case.heldout, case.distinct
levels = geomem.karras_sigmas(steps)
way = dict(sigmas=levels, seed=seed, solver=solver)

# %% [markdown]
# ## Following the samples
#
# At every level the sampler holds a state $x$, and the model's answer to it. Of the answer:
# the ratio $d_{1\mathrm{NN}}/d_{2\mathrm{NN}}$ and which training image is nearest. Of the state:
# whether it lies in a shell of the small training set. Beside it the other measure of the paper:
# the share of noisy *held-out* images whose denoised answers pass the same test.

# %%
geometry = companion.kept(case.geometry)(c=c, level=level)
follow = companion.kept(trajectories.Course.of)
course, other = (follow(of.denoise, distinct, n_samples, c=c, **way) for of in (few, many))
followed = dict(zip(case.names.values(), (course, other), strict=True))
inner = levels[(levels >= 0.01) & (levels <= 20)]
measure = companion.kept(geomem.memorization_rates)
rate = measure(few.denoise, heldout, distinct, inner, draws=draws, **noise)
fig, table = pictures.courses(geometry, followed, rate, "small, on held-out images")
companion.figure(fig, "fig-trajectories-course", table, data=[data])
companion.Table({"model": [*followed], "copies": [of.fraction for of in followed.values()]})

# %% [markdown]
# ## Which image, and whether a copy
#
# Two moments of a trajectory: from where on its nearest training image is the final one, and from
# where on the ratio test passes for good. Levels are those of the sampler; 0 is the sample itself.
# A copy is settled between two of them; where an end of the zone lies between these, it may be on
# either side.

# %%
when = trajectories.Settled.of(course, geometry.zone)
settled = trajectories.settled_shares(course, other)
small, large = (drawing.SERIES[name][0] for name in ("small", "large"))
looks = {"image, memorized": (small, "", "-"), "copy, memorized": (small, "X", "-")}
looks |= {"image, not memorized": (small, "", ":"), "image, large model": (large, "", "--")}
of_each = [looks[name] for name in settled]  # without copies some are not there
look = dict(unit="fraction", regimes=geometry.regimes, height=2.8, xlim=(0.01, 20))
fig, table = drawing.noise_curves(settled, "share that is settled", of_each, **look)
companion.figure(fig, "fig-trajectories-moments", table, data=[data])
surely, at_most = zip(*when.copies.values(), strict=True)
companion.Table({"the copy is settled": [*when.copies], "surely": surely, "at most": at_most})

# %% [markdown]
# ## Two samples
#
# The samples that end with the smallest and with the largest ratio, sampled again alone: sample $i$
# has a seed of its own.

# %%
wanted = np.array([5.0, 2.0, 1.0, 0.5, 0.2, 0.05])
strip = trajectories.Strip.of(course, few.denoise, data.train, wanted, seed=seed, solver=solver)
fig, table = drawing.strip(strip.sigma, strip.rows, strip.passed, noisy=strip.states)
companion.figure(fig, "fig-trajectories-strip", table, data=[data])

# %% [markdown]
# ## Where the states lie
#
# Coverage once more, of other inputs: the share of the sampler's own states inside a shell of the
# small training set, against $C_\sigma$ of noisy held-out images.

# %%
states = trajectories.shell_shares(course, other)
coverage = geometry.coverage
on_heldout = [coverage.interpolated(sigma) for sigma in levels]
middle = int(np.nanargmin([abs(at.value - 0.5) for at in on_heldout]))
drawn = {"held-out images": coverage, **states}
looks = {"held-out images": drawing.SERIES["C_sigma"]}
looks |= {"small, memorized": (small, "", "-"), "small, not memorized": (small, "", ":")}
of_each = [looks[name] for name in drawn if name in looks]
fig, _ = drawing.noise_curves(drawn, "share inside a shell", of_each, every=3, **look)
table = drawing.noise_table(states, "fraction")
table |= columns("C_sigma, held-out images", "fraction", on_heldout)
companion.figure(fig, "fig-trajectories-states", table, data=[data])

# %% [markdown]
# ## Both measures over training
#
# The memorized fraction of generated samples, and the peak of the rate on held-out images, at the
# snapshots of the small model.

# %%
parts = [part for part in presets.QUARTERS if part in case.small.train.snapshots]
judged = few, parts, distinct, heldout, n_samples, inner
moments = companion.kept(trajectories.over_training)(*judged, **way, draws=draws, device=device)
peak = rate.estimate(rate.peak)
moments.append(trajectories.Moment(case.small.train.steps, course.fraction, peak))
moment, generated, peaks = zip(*moments, strict=True)
shown = {"copies among samples": generated, "peak of the rate": [one.percent for one in peaks]}
companion.figure(pictures.over_training(moments), "fig-trajectories-training", data=[data])
companion.Table({"step": moment, **shown})

# %% [markdown]
# ## What must hold
#
# The small model memorizes and the large one does not; of the memorized samples nearly all have
# their nearest image settled at a higher level than the copy; and where coverage of held-out
# images passes one half, the memorized samples' states are covered more. All with whole
# intervals. For the book's own models that must hold; for others it is said. Whether most copies
# are settled in the danger zone is the question: whatever comes out is the finding.

# %%
claim, memorized = companion.claim, course.memorized
must = case.own and n_samples >= 256 and len(heldout) >= 500
share, calm = course.fraction, below(other.fraction, 0.05)
claim("small-copies", "the small model memorizes: above 0.2", above(share, 0.2), must=must)
claim("large-does-not", "the large one does not: below 0.05", calm, must=must)
says = "more samples are copies than the hump's peak says"
claim("samples-above-hump", says, less(peak, share), must=must)
earlier = None if when.earlier is None else above(when.earlier, 0.9)
claim("image-before-copy", "the image is settled before the copy: above 0.9", earlier, must=must)
says, own = "memorized samples' states are covered more", states.get("small, memorized")
covered = less(on_heldout[middle], own.estimate(middle)) if own else None
claim("copies-covered", says, covered, must=must and c == 5)
if geometry.regimes.medium and memorized.any():
    says = "most copies are settled inside the danger zone, however those on its edges are counted"
    claim("settled-in-zone", says, when.copies["inside"].above(0.5), must=False)

# %% tags=["remove-cell"]
heights = {name: curve.estimate(middle).percent for name, curve in states.items()}
companion.quote(n_train=len(data.train), n_heldout=len(heldout), zone=geometry.zone_in_words)
companion.quote(small=course.fraction, large=other.fraction, lost=course.lost)
companion.quote(rate_peak=peak.percent, sigma_peak=f"{inner[rate.peak]:.2g}")
companion.quote(now_at_peak=course.passing_at(inner[rate.peak]))
said = when.in_words
if not geometry.regimes.medium:  # of a zone that there is not
    ends = "named", "already", "kept", "sigma_edge"
    against = [key for key in said if key in ends or key.startswith(("surely_", "at_most_"))]
    said |= dict.fromkeys(against, "nothing (there is no zone)")
companion.quote(image_large=f"{trajectories.quarters(other.image_at)[1]:.2g}", **said)
companion.quote(least=f"{course.ratio[:, -1].min():.2g}", most=f"{course.ratio[:, -1].max():.2g}")
companion.quote(sigma_middle=f"{levels[middle]:.2g}")
companion.quote(middle_heldout=percent(on_heldout[middle].value), middle_large=heights["large"])
companion.quote(middle_memorized=heights.get("small, memorized", "none"))
companion.quote(middle_other=heights.get("small, not memorized", "none"))
companion.quote(generated=[percent(share.value) for share in generated])
companion.quote(steps_of_training=[*moment], peaks=[percent(share.value) for share in peaks])
