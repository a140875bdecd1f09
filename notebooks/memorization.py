# ---
# jupyter: {kernelspec: {display_name: Python 3, language: python, name: python3}}
# ---

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
preset: str = "digits-unet"  # in {digits-mlp, digits-unet, cifar10-luma, cifar10-rgb, cifar10}
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
seed: int = 0  # seed of training, noise and samples, in [0, 1e12]
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np

import geomem
from geomem import companion
from geomem.diffusion import presets
from geomem.geometry.intervals import Estimate, percent
from geomem.memorization.hump import Hump, goes_on
from geomem.memorization.paper_rates import SHAPE, PaperRates, Subsets
from geomem.memorization.ratio_test import DistinctImages, fraction_below
from geomem.plots import STYLE, drawing

plt.style.use(STYLE)
noise = dict(seed=seed, device=device)
pair = presets.pair(preset, dataset=dataset, n_train=n_train, changes=changes, **noise)
models = geomem.train_or_load(pair)
data, n_large = pair[0].data.load(), len(pair[1].data.load().train)
heldout, n = data.heldout[:n_heldout], len(data.train)
sigmas = np.geomspace(sigma_min, sigma_max, n_sigmas)

# %% [markdown]
# ## The rate at each noise level
#
# A held-out image gets noise, a denoiser answers, and the answer is memorized when it passes the
# ratio test $d_{1\mathrm{NN}} < d_{2\mathrm{NN}}/3$ against the *small* training set: the large
# model is judged by it too, as in the paper. For contrast, the small model on noisy training
# images: there a copy is the right answer.

# %%
distinct, options = DistinctImages(data.train, device), dict(draws=draws, **noise)
asked = {
    "empirical": geomem.EmpiricalDenoiser(distinct.images, device=device),
    "small": models[0].denoise,
    "large": models[1].denoise,
}
rates = {
    name: companion.kept(geomem.memorization_rates)(denoise, heldout, distinct, sigmas, **options)
    for name, denoise in asked.items()
}
exact, few, many = rates.values()
seen, on_train = data.train[:n_heldout], "small, on training images"
rates[on_train] = companion.kept(geomem.memorization_rates)(
    asked["small"], seen, distinct, sigmas, **options
)
shown = {name: [rate.estimate(i).percent for i in range(n_sigmas)] for name, rate in rates.items()}
companion.Table({"sigma": sigmas, **shown})

# %% tags=["hide-input"]
looks = [{"color": f"C{i}", "marker": "os^"[i], "ms": 3.5} for i in range(3)]
grey = {"color": "0.5", "ls": ":"}
fig, _ = drawing.magnified_rates(rates, [*looks, grey], ("small", "large"))
table = drawing.noise_table(rates, "fraction", "rate")
companion.figure(fig, "fig-memorization-rates", table, data=[data])

# %% [markdown]
# ## The paper's own curves
#
# Read off the paper's Figure 2 (CIFAR-10, 1,000 training images). Its empirical denoiser needs
# no training, so it can be tested: with `paper_subset`, four random subsets of 1,000 images are
# measured at the levels of the marks. Models of the paper's size (the preset `cifar10`) are
# measured there too.

# %%
paper = PaperRates.load()
subsets = Subsets.of_cifar10(4 if paper_subset else 0, paper.sigma, **noise)
ours = {f"empirical, subset {i}": rate for i, rate in enumerate(subsets.rates, 1)}
sets = [*subsets.sets]
if data.name == "cifar10" and data.train.shape == SHAPE:
    sets.append(data)
    for kind, name in (("small", "EDM, N = 1,000"), ("large", "EDM, N = 50,000")):
        rate = companion.kept(geomem.memorization_rates)(
            asked[kind], heldout, distinct, paper.sigma, **options
        )
        ours[name] = rate

# %% tags=["hide-input"]
fig, table = drawing.marks_and_curves(paper.sigma, paper.rates, ours)
companion.figure(fig, "fig-memorization-paper", table, data=[paper.source, *sets])

# %% [markdown]
# ## How the hump grows
#
# The same curve at the snapshots of the small model's training.

# %%
training, course = pair[0].train, {}
for share in (*(share for share in presets.QUARTERS if share in training.snapshots), 1):
    rate = companion.kept(geomem.memorization_rates)(
        models[0].at(share), heldout, distinct, sigmas, **options
    )
    course[f"step {training.step_of(share):,}"] = rate
highest = [rate.estimate(rate.peak).percent for rate in course.values()]
at = [sigmas[rate.peak] for rate in course.values()]
companion.Table({"after": [*course], "highest rate": highest, "at sigma": at})

# %% tags=["hide-input"]
shades = np.linspace(0.35, 0.95, len(course))
looks = [{"color": color, "ls": "-"} for color in plt.get_cmap("YlOrRd")(shades)]
fig, _ = drawing.noise_curves(course, looks, "memorization rate", height=3.6)
table = drawing.noise_table(course, "fraction", "rate")
companion.figure(fig, "fig-memorization-growth", table, data=[data])

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
hump = Hump.of(few, seed=seed)
geometry = companion.kept(geomem.measure_regimes)(
    heldout, distinct.images, c=c, level=level, **noise
)
area, where = hump.shares(geometry.zone), hump.place(geometry.zone)
shown = {f"{name} the zone": [share.percent] for name, share in area.items()}
companion.Table({"centre of the hump": [hump.centre], **shown})

# %% tags=["hide-input"]
fig, table = drawing.zone_and_rate(geometry, few, (sigma_min, sigma_max))
companion.figure(fig, "fig-memorization-zone", table, data=[data])

# %% [markdown]
# ## One third is a choice
#
# The share that passes $d_{1\mathrm{NN}} < t\, d_{2\mathrm{NN}}$ for every $t$, at the hump's
# peak. Two controls say what passes without memorization: the clean held-out images, and the large
# model's answers to the same inputs.

# %%
thresholds = np.sort(np.append(np.linspace(0.1, 0.9, 33), 1 / 3))
clean = geomem.neighbours(heldout, distinct).ratio
passed = {
    "small model's answers": [few.at(t).estimate(few.peak) for t in thresholds],
    "large model's answers": [many.at(t).estimate(few.peak) for t in thresholds],
    "clean held-out images": [fraction_below(clean, t) for t in thresholds],
}
at = {t: int(np.abs(thresholds - t).argmin()) for t in (1 / 3, 0.5)}
shown = {f"t = {t:.2g}": [share[i].percent for share in passed.values()] for t, i in at.items()}
companion.Table({"share that passes": [*passed], **shown})

# %% tags=["hide-input"]
fig, table = drawing.threshold_curves(thresholds, passed, ("C1", "C2", "0.4"))
companion.figure(fig, "fig-memorization-thresholds", table, data=[data])

# %% [markdown]
# ## What must hold
#
# The small model's hump stands out of both ends, the ends and the large model are calm, and the
# empirical denoiser copies ever more as noise falls: all with whole intervals. For the book's own
# models that must hold; for others it is said. Of the danger zone, whatever comes out is found.

# %%
own = (dataset, n_train, changes) == (presets.PRESETS[f"{preset}-small"].data.name, 0, "")
must = own and preset != "cifar10" and len(heldout) >= 500 and (sigma_min, sigma_max) == (0.01, 20)
# Five is far above the zone of small images; of large ones the zone itself may lie there.
beyond = max(5.0, 2 * geometry.zone.high) if geometry.regimes.medium else 5.0
ends, claim = (sigmas >= beyond) | (sigmas <= 0.02), companion.claim
stands_out = few.low[few.peak] > few.high[[0, -1]].max()
claim("peak-above-ends", "the small model's peak is above both ends", stands_out, must=must)
claim("ends-calm", "its ends are calm: below 0.02", np.all(few.high[ends] < 0.02), must=must)
claim("large-calm", "the large model is calm: below 0.02", np.all(many.high < 0.02), must=must)
falls = np.all(exact.low[1:] <= exact.high[:-1])
claim("empirical-falls", "the empirical denoiser's rate nowhere rises", falls, must=must)
claim("empirical-copies", "it ends above 0.95", exact.low[0] > 0.95, must=must)
if geometry.regimes.medium:
    inside, most = where == "inside it", area["inside"].low > 0.5
    claim("centre-in-zone", "the hump's centre lies in the danger zone", inside, must=False)
    claim("area-in-zone", "most of the hump's area lies in the danger zone", most, must=False)
if paper_subset:
    says = "our four bands hold at least 8 of the paper's 10 marks"
    claim("paper-marks", says, subsets.held(paper.rates["empirical"]).sum() >= 8)

# %% tags=["remove-cell"]
quote, top = companion.quote, few.peak
quote(dataset=data.name, n_train=f"{n:,}", n_large=f"{n_large:,}", n_heldout=f"{len(heldout):,}")
quote(denoised=f"{draws * len(heldout):,}", train_low=percent(rates[on_train].mean[0]))
quote(peak=few.estimate(top).percent, sigma_peak=f"{sigmas[top]:.2g}")
quote(empirical_peak=percent(exact.mean[top]), empirical_low=exact.estimate(0).percent)
edges = zip(("half_from", "half_to"), (hump.half.low, hump.half.high), strict=True)
quote(**{name: f"{edge:.2g}" if few.mean.any() else "none" for name, edge in edges})
quote(ends_high=percent(few.high[ends].max()) if ends.any() else "none", beyond=f"{beyond:.2g}")
quote(large_most=percent(many.mean.max()), large_high=percent(many.high.max()))
quote(zone=geometry.zone_in_words, where=where, centre=str(hump.centre))
quote(zone_from=str(geometry.regimes.covered), zone_to=str(geometry.regimes.concentrated))
for name, curve in (("coverage", geometry.coverage), ("weight", geometry.weight)):
    quote(**{f"{name}_centre": Estimate(curve.between(hump.centre.value)).percent})
quote(**{f"area_{name}": share.percent for name, share in area.items()})
quote(below=goes_on(area["below"]), above=goes_on(area["above"]))
quote(steps=", ".join(name.removeprefix("step ") for name in course))
quote(course=", ".join(percent(rate.mean.max()) for rate in course.values()))
for who, share in zip(("small", "large", "clean"), passed.values(), strict=True):
    third, one_half = (share[i].percent for i in at.values())
    quote(**{f"third_{who}": third, f"half_{who}": one_half})
quote(paper_peak=percent(paper.rates["EDM, N = 1,000"].max()), paper_centre=f"{paper.centre:.2g}")
check, measured = subsets.in_words(paper.rates["empirical"]), dict(c=c, level=level, **noise)
quote(paper_check=check, paper_zone=(paper_zone := subsets.zone_in_words(**measured)))
beside = f"; the paper's marks: centre {paper.centre:.2g}, zone of such images {paper_zone}"
quote(paper_beside=beside if paper_subset else "")
