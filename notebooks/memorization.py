# %% [markdown]
# # Notebook: memorization at every noise level
#
# The paper claims that a model trained on few images answers noisy *held-out* images with copies of
# training images in the middle of the noise levels, in the danger zone, and hardly at either end:
# the hump of its Figure 2. Trained on many images, it does so nowhere. The chapter
# [](../book/memorization.md) says what that means; here it is measured.
#
# ```{outcome} memorization
# ```

# %% tags=["parameters"]
preset: str = "digits-unet"  # which pair of models: a preset's name without -small or -large
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 0  # training images N of the small model, 0 for the preset's number, or in [2, 1e6]
changes: str = ""  # further settings of both models: names, each with an equals sign and its value
n_heldout: int = 500  # held-out images, at most; fewer where the set has fewer, in [2, 1e6]
draws: int = 2  # noise draws per held-out image, in [1, 1000]
n_sigmas: int = 18  # noise levels, evenly spaced in log sigma, in [5, 1000]
sigma_min: float = 0.01  # smallest noise level, data units, in [1e-6, 1e6], below sigma_max
sigma_max: float = 20.0  # largest noise level, data units, in [1e-6, 1e6]
c: float = 5.0  # shell parameter of Lemma 4.5, in [0.001, 1000]
level: float = 0.8  # C and W at least this high: the danger zone, in (0, 1)
paper_subset: bool = False  # also: the empirical denoiser on CIFAR-10, to the paper's marks
live_dataset: str = ""  # data set of the live figure, or none: this one and its models
live_models: str = ""  # its pair of models: a preset, the side of its images, or 0, and changes
seed: int = 0  # seed of training, noise and samples, in [0, 1e12]
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import numpy as np

import geomem
from geomem import companion
from geomem.companion import live_figures
from geomem.diffusion import presets
from geomem.geometry import intervals
from geomem.geometry.intervals import Estimate, percent
from geomem.memorization.case import Case
from geomem.memorization.hump import Hump, lies_in
from geomem.memorization.paper_rates import SHAPE, PaperRates, Subsets
from geomem.memorization.side_by_side import SideBySide
from geomem.memorization.thresholds import NAMED, Thresholds
from geomem.plots import drawing, pictures

noise = dict(seed=seed, device=device)
case = Case.of(preset, dataset, n_train, changes, n_heldout=n_heldout, **noise)
small, large = case.trained()
data, heldout, distinct = case.data, case.heldout, case.distinct
sigmas = np.geomspace(sigma_min, sigma_max, n_sigmas)

# %% [markdown]
# ## The rate at each noise level
#
# A held-out image gets noise, a denoiser answers, and the answer is memorized when it passes the
# ratio test $d_{1\mathrm{NN}} < d_{2\mathrm{NN}}/3$ against the *small* training set: the large
# model is judged by it too, as in the paper. For contrast, the small model on noisy training
# images: there a copy is the right answer.

# %%
measure, options = companion.kept(geomem.memorization_rates), dict(draws=draws, **noise)
closed = geomem.EmpiricalDenoiser(distinct.images, device=device)
asked = {"empirical": closed, "small": small.denoise, "large": large.denoise}
rates = {name: measure(of, heldout, distinct, sigmas, **options) for name, of in asked.items()}
exact, few, many = rates.values()
on_train = measure(small.denoise, data.train[:n_heldout], distinct, sigmas, **options)
rates["small, on training images"] = on_train
shown = {name: [rate.estimate(i).percent for i in range(n_sigmas)] for name, rate in rates.items()}
companion.Table({"sigma": sigmas, **shown})

# %%
on_train_look = (drawing.SERIES["small"][0], "", ":")
look = dict(unit="fraction", name="rate", axis="share")
fig, table = drawing.noise_curves(rates, "memorization rate", [on_train_look], **look)
companion.figure(fig, "fig-memorization-rates", table, data=[data])

# %% [markdown]
# ## The paper's own curves
#
# Read off the paper's Figure 2 (CIFAR-10, 1,000 training images). Its empirical denoiser needs
# no training, so it can be tested: with `paper_subset`, the first 1,000 images, which we take for
# the paper's, and three random subsets are measured at the levels of the marks. Models of the
# paper's images (the presets `cifar10` and `cifar10-fast`) are measured there too.

# %%
paper = PaperRates.load()
subsets = Subsets.of_cifar10(4 if paper_subset else 0, paper.sigma, **noise)
ours = {f"empirical, subset {i}": rate for i, rate in enumerate(subsets.rates, 1)}
sets = [*subsets.sets]
if data.name == "cifar10" and data.train.shape == SHAPE:
    sets.append(data)
    for kind, name in (("small", "EDM, N = 1,000"), ("large", "EDM, N = 50,000")):
        ours[name] = measure(asked[kind], heldout, distinct, paper.sigma, **options)
fig, table = pictures.marks_and_curves(paper.sigma, paper.rates, ours)
companion.figure(fig, "fig-memorization-paper", table, data=[paper.source, *sets])

# %% [markdown]
# ## How the hump grows
#
# The same curve at the snapshots of the small model's training.

# %%
training, course = case.small.train, {}
shares = [*(share for share in presets.QUARTERS if share in training.snapshots), 1]
for share in shares:
    rate = measure(small.at(share), heldout, distinct, sigmas, **options)
    course[f"step {training.step_of(share):,}"] = rate
highest = [rate.estimate(rate.peak).percent for rate in course.values()]
at = [sigmas[rate.peak] for rate in course.values()]
looks = drawing.shades("YlOrRd", len(course))
fig, table = drawing.noise_curves(course, "memorization rate", looks, **look)
companion.figure(fig, "fig-memorization-growth", table, data=[data])
companion.Table({"after": [*course], "highest rate": highest, "at sigma": at})

# %% [markdown]
# ## The hump and the danger zone
#
# Where the hump lies is said by its centre, the mean of $\log\sigma$ weighted by the rate: the
# peak's own level is only known up to the grid. Its interval comes from resampling the images.
# Coverage $C_\sigma$ of the held-out images and posterior concentration $W_\sigma$ of the small
# training set are measured on a finer grid. The danger zone is our rule of [](../book/regimes.md):
# both at least `level`. The hump ends with the zone where less than a tenth of its area lies
# beyond.

# %%
hump, geometry = Hump.of(few, seed=seed), companion.kept(case.geometry)(c=c, level=level)
area, zone_found = hump.shares(geometry.zone), geometry.regimes.medium is not None
shown = {f"{name} the zone": [share.percent] for name, share in area.items()}
fig, table = pictures.zone_and_rate(geometry, few, (sigma_min, sigma_max))
companion.figure(fig, "fig-memorization-zone", table, data=[data])
companion.Table({"centre of the hump": [hump.centre], **shown})

# %% [markdown]
# ## One image through all denoisers
#
# What these rates count, for one held-out image: what each denoiser answers to it under growing
# noise. The chapter has the same figure with everything computed in the page, for any image, noise
# and level. Networks too heavy for that have smaller ones in their place (`live_models`).

# %%
live = [*Case.several(live_models, live_dataset, n_heldout=n_heldout, **noise), case][0]
pair = dict(zip(live.names, live.trained(), strict=True))
new = live.heldout, live.distinct, sigmas
seen = {f"copies, {k} model": measure(of.denoise, *new, **options) for k, of in pair.items()}
around, peak = companion.kept(live.geometry)(c=c, level=level), next(iter(seen.values())).peak
beside = SideBySide.of(live.distinct, *(of.denoise for of in pair.values()), seed=seed)
offered = live.heldout[:24]
chosen, draw = beside.first_copied(offered, sigmas[peak])
steps = sigmas[peak] * np.array([0.1, 0.4, 1.0, 2.0, 5.0, 20.0])
fig, table = pictures.side_by_side(beside, offered[chosen], steps, draw)
companion.figure(fig, "fig-denoisers", table, data=[live.data])

# %%
curves = {"coverage C": around.coverage, "concentration W": around.weight, **seen}
sizes = {"small": len(live.data.train), "large": len(live.everything.train)}
begin = dict(image=chosen, draw=draw, sigma=sigmas[peak], c=c)
zone = around.zone if around.regimes.medium else None
live_figures.attach_denoisers(beside, offered, curves, zone=zone, n=sizes, **begin)

# %% [markdown]
# ## How far an answer must go to be a copy
#
# A new image has a margin: what lies nearer to it than that passes the ratio test with no training
# image. So a denoiser copies at most as often as its errors reach beyond the margins (ours). The
# errors are those of one answer to each held-out image, of the small model early in its training,
# at its end, and of the large one.

# %%
networks = {"early": small.at(shares[0]), "small": small.denoise, "large": large.denoise}
bound, allowed = companion.kept(geomem.copy_bound), 0.05  # the share of copies that is certified
certified = {k: bound(of, heldout, distinct, sigmas, **noise) for k, of in networks.items()}
told = {name: of.in_words(few.peak, allowed) for name, of in certified.items()}
headings = {"edge": f"{percent(allowed)} certified up to", "first": "first copy at"}
headings |= {"measured": "at the peak: measured", "beyond": "certified"}
rows = {says: [of[key] for of in told.values()] for key, says in headings.items()}
companion.Table({"network": [*told], **rows})

# %%
first = next(iter(course))
titles = [f"small model at {first}", "small model", "large model"]
fig, table = pictures.copy_bounds(dict(zip(titles, certified.values(), strict=True)), allowed)
companion.figure(fig, "fig-copy-bound", table, data=[data])

# %% [markdown]
# ## One third is a choice
#
# The share that passes $d_{1\mathrm{NN}} < t\, d_{2\mathrm{NN}}$ for every $t$, at the hump's
# peak. Two controls say what passes without memorization: the clean held-out images, and the large
# model's answers to the same inputs.

# %%
answers = {"small model's answers": few, "large model's answers": many}
at = geomem.neighbours(heldout, distinct)
clean = {"clean held-out images": at.ratio}
passed = Thresholds.of(answers, few.peak, clean)
shown = {f"t = {NAMED[name]:.2g}": [*of.values()] for name, of in passed.named.items()}
looks = [drawing.SERIES["small"], drawing.SERIES["large"], ("0.4", "", "-.")]
companion.figure(pictures.thresholds(passed, looks), "fig-memorization-thresholds", data=[data])
companion.Table({"share that passes": [*passed.shares], **shown})

# %% [markdown]
# ## What must hold
#
# The small model's hump stands out of both ends, the ends and the large model are calm, and the
# empirical denoiser copies ever more as noise falls: all with whole intervals. For the book's own
# models that must hold; for others it is said. Of the danger zone, whatever comes out is found.

# %%
must = case.own and len(heldout) >= 500 and (sigma_min, sigma_max) == (0.01, 20)
# Five is far above the zone of small images; of large ones the zone itself may lie there.
beyond = max(5.0, 2 * geometry.zone.high) if zone_found else 5.0
ends, claim = [sigmas <= 0.02, sigmas >= beyond], companion.claim
peak, sides = few.estimate(few.peak), [few.estimate(i) for i in (0, -1)]
reached = [end.any() for end in ends]  # a grid that does not reach an end says nothing of it
stands_out = intervals.every(
    intervals.less(side, peak) if at else None for side, at in zip(sides, reached, strict=True)
)
claim("peak-above-ends", "the small model's peak is above both ends", stands_out, must=must)
calm = intervals.every(few.below(0.02, end) for end in ends)
claim("ends-calm", "its ends are calm: below 0.02", calm, must=must)
claim("large-calm", "the large model is calm: below 0.02", many.below(0.02), must=must)
falls = np.all(exact.low[1:] <= exact.high[:-1])
claim("empirical-falls", "the empirical denoiser's rate nowhere rises", falls, must=must)
claim("empirical-copies", "it ends above 0.95", intervals.above(exact.estimate(0), 0.95), must=must)
says = "every answer that passes the ratio test lies beyond the margin of its image"
held = all(np.all(of.passed <= of.beyond.per_query) for of in certified.values())
claim("copy-bound", says, held)
if zone_found:
    inside, most = lies_in(hump.centre, geometry.zone), intervals.above(area["inside"], 0.5)
    claim("centre-in-zone", "the hump's centre lies in the danger zone", inside, must=False)
    claim("area-in-zone", "most of the hump's area lies in the danger zone", most, must=False)
if paper_subset:
    says = "our four bands hold at least 8 of the paper's 10 marks"
    claim("paper-marks", says, subsets.held(paper.rates["empirical"]).sum() >= 8)

# %% tags=["remove-cell"]
top, centre = few.peak, hump.centre.value
at_ends = few.high[np.any(ends, axis=0)]
low, high = ("" if at else " (not measured)" for at in reached)
companion.quote(dataset=data.name, n_train=len(data.train), n_large=len(case.everything.train))
companion.quote(n_heldout=len(heldout), denoised=draws * len(heldout))
companion.quote(train_low=percent(on_train.mean[0]), peak=few.estimate(top).percent)
companion.quote(sigma_peak=f"{sigmas[top]:.2g}", empirical_peak=percent(exact.mean[top]))
companion.quote(empirical_low=exact.estimate(0).percent, beyond=f"{beyond:.2g}{high}")
companion.quote(ends_high=percent(at_ends.max()) if len(at_ends) else "none", near=f"σ ≤ 0.02{low}")
companion.quote(large_most=percent(many.mean.max()), large_high=percent(many.high.max()))
said = hump.in_words(geometry.zone)
against = "where", "below", "above", *(f"area_{name}" for name in area)  # a zone, if there is one
said |= {} if zone_found else dict.fromkeys(against, "nowhere: there is no zone")
companion.quote(zone=geometry.zone_in_words, early_step=first, allowed=percent(allowed), **said)
companion.quote(coverage_centre=Estimate(geometry.coverage.between(centre)).percent)
companion.quote(weight_centre=Estimate(geometry.weight.between(centre)).percent)
companion.quote(steps=[name.removeprefix("step ") for name in course])
companion.quote(course=[percent(rate.mean.max()) for rate in course.values()])
margin, plain = certified["small"].margin, (3 * at.first - at.second) / 4
middle = {"margin": margin, "plain": plain, "distance": at.first}
companion.quote(copy={**told, **{name: np.median(of) for name, of in middle.items()}})
one = offered[chosen]
shown = dict(image=chosen + 1, offered=len(offered), copies=beside.counted(one, steps, draw))
most = live_figures.rounding(beside, one, np.union1d(sigmas, steps), draw)
power = 10.0 ** np.floor(np.log10(max(most, 1e-9)))
shown |= {"rounding": f"{np.ceil(most / power) * power:.1g}"}  # a bound is rounded up
lighter = f"trained on {live.data.name}, lighter than those above"
shown |= {"models": "of this chapter" if live is case else lighter}
companion.quote(beside=sizes | shown | {"dataset": live.data.name})
companion.quote(**passed.in_words, paper=subsets.told(paper, c=c, level=level, **noise))
