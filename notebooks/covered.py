# %% [markdown]
# # Notebook: what coverage says, and what it does not
#
# The paper's picture of the danger zone begins where coverage rises. Coverage asks whether a noisy
# new image lies at the right *distance* from a training image. So it changes when images are padded
# with zeros, and it is high long before the two can be confused. Which coverage tells where a
# network copies? All of it is our addition. The chapter is [](../book/covered.md).
#
# ```{outcome} covered
# ```

# %% tags=["parameters"]
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
models: str = "digits-unet 0"  # whose humps are measured: presets, each with sides of images
second_dataset: str = "fashion-mini"  # a second data set, by name or path
second_models: str = "fashion-unet 8 16 28"  # its models; 0: images as they are
third_dataset: str = ""  # a third data set, of which only humps are measured, or none
third_models: str = ""  # its models
n_train: int = 1000  # training images N of the first set, in [2, 1e6]
second_n_train: int = 1000  # of the second, in [2, 1e6]
n_padded: int = 500  # of the first set, those that are padded, at most, in [2, 1e6]
n_heldout: int = 500  # held-out images, at most; fewer where a set has fewer, in [20, 1e6]
spaces: str = "64 1024 4096"  # to how many numbers images are padded; what is too few is left out
shells: str = "1 2 5 10"  # shell parameters c that are tried
heights: str = "0.5 0.8 0.9 0.95"  # levels of the rule that are tried
n_sigmas: int = 18  # noise levels of the humps, evenly spaced in log sigma, in [5, 1000]
c: float = 5.0  # shell parameter of Lemma 4.5, in [0.001, 1000]
level: float = 0.8  # C and W at least this high: the danger zone, in (0, 1)
data_seed: int = -1  # seed of the random subset, -1 for the set's own order, in [-1, 1e12]
seed: int = 0  # seed of training, noise and resampling, in [0, 1e12]
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import numpy as np

import geomem
from geomem import companion
from geomem.geometry.intervals import Estimate, Fraction, above, below, every, less, percent, some
from geomem.geometry.overlap import overlap
from geomem.geometry.padding import Padding
from geomem.geometry.regimes import DRAWS
from geomem.geometry.sensitivity import Sensitivity
from geomem.memorization import candidates
from geomem.memorization.case import Case
from geomem.memorization.candidates import Comparison, Predicted
from geomem.memorization.distinct import DistinctImages
from geomem.plots import covered, drawing


# %% [markdown]
# ## Padded with zeros
#
# An image with zeros at its end is the same image. Distances between images do not change, nor do
# posterior weights and the best denoiser, on any input: noise in the new numbers is equally far
# from all training images. So $W_\sigma$ stays, and so does what there is to learn. Shells grow.

# %%
other = second_dataset
if other == dataset:  # two times one set compares nothing
    other = "fashion-mini" if dataset == "digits" else "digits"
spent = dict(seed=seed, device=device)
rule, sizes = dict(c=c, level=level, **spent), [int(d) for d in spaces.split()]
asked, sets = {dataset: n_train, other: second_n_train}, {}
for name, n in asked.items():
    sets[name] = geomem.load_dataset(name, n_train=n, seed=data_seed)
once = {name: DistinctImages(data.train, device).index for name, data in sets.items()}
pairs = {k: (data.heldout[:n_heldout], data.train[once[k]]) for k, data in sets.items()}
heldout, few = pairs[dataset][0], pairs[dataset][1][:n_padded]
padding = companion.kept(Padding.of)(heldout, few, sizes, **rule)
companion.Table(padding.columns())

# %%
companion.figure(covered.padded(padding), "fig-covered-padding", data=[sets[dataset]])

# %% [markdown]
# ## Covered, and still told apart
#
# The noise around two points $r$ noise levels apart overlaps by $1 - \mathrm{TV} = 2\,Q(r/2)$: the
# best test of which of the two a noisy image came from errs with half of that. Here at the level
# where the zone begins.

# %%
measure, beside, rows, seldom = companion.kept(geomem.measure_regimes), {}, [], []
for name, pair in pairs.items():
    geometry = measure(*pair, **rule)
    begins = geometry.regimes.covered.value
    at_start = overlap(geomem.nearest_distances(*pair)[:, 0], begins)
    beside[name] = geometry, geomem.overlap_coverage(*pair, geometry.weight.sigma)
    rows.append((name, begins, np.median(at_start), *np.quantile(at_start, [0.05, 0.95])))
    seldom.append(Fraction.of(int((at_start < 0.05).sum()), len(at_start)))
headings = ("data", "zone begins", "overlap there: median", "5%", "95%")
companion.figure(covered.beside_overlap(beside), "fig-covered-overlap", data=[*sets.values()])
companion.Table(drawing.from_rows(headings, rows), digits=2)

# %% [markdown]
# ## Other shells, other levels
#
# Nobody measured $c$ and the level. Where the zone begins, for several of both, in round brackets
# where there is none since it would end before; where it ends depends on the level alone.

# %%
cs, levels = ([float(text) for text in of.split()] for of in (shells, heights))
tried = {}
for name, pair in pairs.items():
    weight, cover = beside[name][0].weight, companion.kept(geomem.shell_coverage)
    drawn = {c: cover(*pair, weight.sigma, c=c, draws=DRAWS, **spent) for c in cs}
    tried[name] = Sensitivity.of(drawn, weight, levels, seed=seed)
companion.Table(tried[dataset].columns())

# %%
companion.figure(covered.other_rules(tried), "fig-covered-rules", data=[*sets.values()])
companion.Table(tried[other].columns())

# %% [markdown]
# ## Which coverage predicts where networks copy?
#
# Each candidate is a coverage and so gives a zone: from where it rises through the level to where
# $W_\sigma$ falls through it. Held against the hump of memorization of trained models: its two
# half-levels and its centre.
#
# - **shells**: the paper's, by the nearest image, $\Phi_{d,c}(d_{1\mathrm{NN}}/\sigma)$, the lower
#   bound of Theorem 4.8; and **padded shells**, the same after padding;
# - **intrinsic shells**: with the dimension $k$ of the images among each other in place of $d$;
# - **overlap**: $2\,Q(d_{1\mathrm{NN}}/2\sigma)$.

# %%
named = (dataset, models), (second_dataset, second_models), (third_dataset, third_models)
how = dict(n_heldout=n_heldout, seed=seed, device=device)
cases = [case for name, text in named if name for case in Case.several(text, name, **how)]
trained = geomem.train_or_load([case.small for case in cases])
noise, humps, late = np.geomspace(0.02, 20, n_sigmas), [], []
for case, model in zip(cases, trained, strict=True):
    geometry = companion.kept(case.geometry)(c=c, level=level)
    measured = model.denoise, case.distinct, case.heldout, noise, geometry.weight
    options = dict(name=case.data.name, space=max(sizes), c=c, **spent)
    humps.append(companion.kept(Predicted.of)(*measured, **options))
    late.append(humps[-1].zones(candidates.SHELLS, [level], level)[0, 0, 0])
    late[-1] /= geometry.regimes.covered.value
data = [case.data for case in cases]
companion.Table(candidates.measured(humps))

# %%
companion.figure(covered.humps_and_zones(humps, level), "fig-covered-zones", data=data)

# %%
found = Comparison.of(humps, level, seed)
(starts := companion.Table(candidates.starts(found)))

# %% [markdown]
# That was where each coverage passes the level, over where the hump begins. By which factor each is
# off on average: with the level of the rule; and with the level of coverage that suits the humps of
# the *other* data sets best, so that none is judged by a level made for another.

# %%
companion.figure(covered.how_far_off(found), "fig-covered-errors", data=data)
(off := companion.Table(candidates.errors(found)))

# %% [markdown]
# ## What came out
#
# That padding changes nothing that a model could learn must hold for any data. The rest is found.

# %%
claim, regimes = companion.claim, [of.regimes for of in padding.geometries.values()]
says = "padding changes no distance, no posterior weight and no answer of the best denoiser"
claim("padding-keeps", says, padding.change < 1e-6)
if len(regimes) > 1 and all(one.medium for one in regimes):
    lower = less(regimes[-1].covered, regimes[0].covered)
    claim("padding-moves", "padded, the zone begins at lower noise", lower, must=False)
if all(geometry.regimes.medium for geometry, _ in beside.values()):
    says = "where the zone begins the overlap of most new images is below 5%"
    claim("told-apart", says, every(above(one, 0.5) for one in seldom), must=False)
says = "the zone begins in one place, within a factor of 1.5, for all shells and levels tried"
claim("start-stays", says, every(below(one.spread, 1.5) for one in tried.values()), must=False)
paper, stay = candidates.SHELLS, candidates.STAY
if found.cases:
    farther = every(above(found.against(name, paper), 1) for name in stay)
    says = "at the rule's level the paper's shells are nearer to the humps than what padding leaves"
    claim("shells-nearer", says, farther, must=False)
    nearer = below(found.against(candidates.PADDED, paper), 1)
    padded = any(case.d < max(sizes) for case in found.cases)
    says = "and the same shells, padded, are nearer still"
    claim("padded-nearer", says, nearer if padded else None, must=False)
    near = some(found.within(name, fitted=how) for name in found.at_level for how in (False, True))
    says = "one of the zones is within a factor of two of every hump, at both ends and its centre"
    claim("within-two", says, near, must=False)
if len({case.name for case in found.cases}) > 1:  # levels of the other sets
    better = some(below(found.against(name, paper, fitted=True), 1) for name in stay)
    says = "with levels fitted elsewhere, what padding leaves alone is nearer than these shells"
    claim("stay-better", says, better, must=False)

# %% tags=["remove-cell"]
begun = {d: of.regimes.covered for d, of in padding.geometries.items()}
narrow, widest = min(begun), max(begun)
companion.quote(padded_n=len(few), padded_table=companion.Table(padding.columns()))
companion.quote(narrow=narrow, widest=widest, change=f"{padding.change:.1g}")
companion.quote(narrow_start=begun[narrow], widest_start=begun[widest])
companion.quote(sooner=f"{begun[narrow].value / begun[widest].value:.2g}")
end, *others = (of.concentrated for of in regimes)
moved = max((abs(one.value / end.value - 1) for one in others), default=0.0)
companion.quote(end_moved=percent(moved), end_half=Estimate(end.half / end.value).percent)
nothing = "an unknown size (fewer than two zones)"  # within a factor of which they begin
spreads = {name: of.spread for name, of in tried.items()}
spreads = {k: f"{of:.2g}" if np.isfinite(of.value) else nothing for k, of in spreads.items()}
for key, (name, begins, *overlaps) in zip(("first", "second"), (rows[0], rows[-1]), strict=True):
    said = dict(name=name, start=begins, tries=f"{2 / overlaps[0]:,.0f}")
    shares = dict(zip(("overlap", "least", "most"), map("{:.2g}".format, overlaps), strict=True))
    table = companion.Table(tried[name].columns())
    companion.quote(**{key: said | shares | dict(table=table, spread=spreads[name])})
spaces = sorted({max(*sizes, one.d) for one in humps})  # larger images stay as they are
companion.quote(late=candidates.latest(late), space=spaces, n_humps=len(found.cases))
companion.quote(n_measured=len(humps), humps=companion.Table(candidates.measured(humps)))
companion.quote(starts=starts, off=off, **candidates.in_words(found))
