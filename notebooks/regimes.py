# %% [markdown]
# # Notebook: three regimes and the danger zone
#
# The paper claims that between the noise levels that too few shells cover and those at which the
# posterior spreads over many training images lies a zone where coverage and concentration are
# both high. The chapter is [](../book/regimes.md).
#
# ```{outcome} regimes
# ```

# %% tags=["parameters"]
dataset: str = "digits"  # first data set, by name or path
second_dataset: str = "fashion-mini"  # second data set, by name or path
second_class: str = ""  # one class of the second set (automobile: the paper's cars); empty: all
n_train: int = 1000  # training images N of the first set, in [2, 1e6]
second_n_train: int = 1000  # training images N of the second set, in [2, 1e6]
n_heldout: int = 500  # held-out images, at most; fewer where a set has fewer, in [2, 1e6]
c: float = 5.0  # shell parameter of Lemma 4.5, in [0.001, 1000]
level: float = 0.8  # both curves at least this high: the danger zone, in (0, 1)
data_seed: int = -1  # seed of the random subset, -1 for the set's own order, in [-1, 1e12]
seed: int = 0  # seed of the noise and of the resampling, in [0, 1e12]
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import numpy as np

import geomem
from geomem import companion, digitized
from geomem.data.named import LOADERS
from geomem.digitized.stated import CARS_CROSSING, CELEBA_CROSSING
from geomem.geometry.crossings import Crossings
from geomem.geometry.intervals import every, little
from geomem.geometry.plane import Plane
from geomem.geometry.regimes import DRAWS, GRID, find_crossing
from geomem.geometry.sensitivity import Sensitivity
from geomem.memorization.distinct import DistinctImages
from geomem.plots import drawing, shells

if (second_dataset, second_class) == (dataset, ""):  # two times one set compares nothing
    second_dataset = "fashion-mini" if dataset == "digits" else "digits"
second = second_dataset, second_n_train, second_class or None
chosen = {"first": (dataset, n_train, None), "second": second}
sets, names = {}, {}
for key, (name, n, kind) in chosen.items():
    options = dict(n_train=n, seed=data_seed, classes=kind)
    some = min(n_heldout, len(geomem.load_dataset(name, **options).heldout))
    sets[key] = geomem.load_dataset(name, n_heldout=some, **options)
    names[key] = sets[key].name + (f" ({kind})" if kind else "")

# %% [markdown]
# ## Both curves on one axis
#
# $C_\sigma$ takes held-out images by its definition, $W_\sigma$ training images. The weight of
# held-out queries is drawn too: it is the only way in which we find the paper's own crossing for
# its cars ($\sigma \approx 1.9$, appendix E.4). `measure_regimes` is what every chapter takes the
# zone of a training set from, always on one grid of noise levels and with one number of draws.
# Where the zone begins at the latest is certified with 95% confidence, from distances alone.
# An image that repeats counts once, as to the models of this book: so one set has one zone.

# %%
measure, found, rows = companion.kept(Crossings.of), {}, []
for key, data in sets.items():
    once = data.train[DistinctImages(data.train, device).index]
    found[key] = one = measure(data.heldout, once, c=c, level=level, seed=seed, device=device)
    ends = one.regimes.covered, one.certified, one.regimes.concentrated
    rows.append((names[key], *ends, one.regimes.crossing, one.heldout))
headings = ["data", "zone begins", "at the latest", "zone ends", "crossing"]
companion.Table(drawing.from_rows([*headings, "crossing, held-out queries"], rows))

# %%
for id, (key, one) in zip(("fig-regimes", "fig-regimes-second"), found.items(), strict=True):
    paper = digitized.load("figE3_max_weight") if chosen[key] == ("cifar10", 1000, None) else None
    marks = {"W_sigma": (paper["sigma"], paper["max_weight"])} if paper else {}
    look = dict(regimes=one.regimes, marks=marks, height=2.8, every=3)
    companion.figure(drawing.noise_curves(one.curves, "probability", **look), id, data=[sets[key]])

# %% [markdown]
# ## In the plane
#
# The same of five points of the plane, where all of it can be drawn: at small noise, in the zone,
# and at large noise. The live figure of the chapter computes this in the reader's browser, with
# these new points and this noise.

# %%
plane, levels = Plane(seed=seed), (0.2, 0.6, 2.5)
companion.figure(shells.regimes_in_the_plane(plane, levels), "fig-regimes-plane")
_ = companion.attach_live("plane", start=levels[1], **plane.handed)

# %% [markdown]
# ## Other levels
#
# The level is a convention. Where the zone begins and ends at others.

# %%
heights, measured = (0.5, 0.8, 0.9, 0.95), [one.geometry for one in found.values()]
tried = [Sensitivity.of({c: of.coverage}, of.weight, heights, seed=seed) for of in measured]
rules = {f"level {height:g}": [one.in_words(c, height) for one in tried] for height in heights}
(others := companion.Table({"data": [*names.values()], **rules}))

# %% [markdown]
# ## The rule on the paper's own curves
#
# The paper names its zone on CelebA, $[0.55, 1.3]$, and an intersection at $0.85$ (Figure 5).
# We read both curves off that figure and apply our rule to them.

# %%
celeba = digitized.load("fig5_celeba_curves")
columns = {"C_sigma": "coverage", "W_sigma": "max_weight"}
theirs = {k: geomem.Curve.from_table(celeba["sigma"], celeba[x]) for k, x in columns.items()}
coverage, weight = theirs.values()
rule = Sensitivity.of({c: coverage}, weight, (level, 0.85))
crossing = find_crossing(coverage, weight)
fig, table = shells.regimes_read_off(celeba, theirs, rule.zones[c, level])
companion.figure(fig, "fig-regimes-celeba", table, data=[celeba])

# %% [markdown]
# ## What must hold
#
# There is a danger zone, the crossing lies inside it, and held-out queries cross earlier than
# training queries. For the data sets of this book, at the default level and shells, that must
# hold, on 200 held-out images or more; for your own, and for fewer, it is said.

# %%
claim, (first, second) = companion.claim, found.values()
own = [name in LOADERS and (c, level) == (5.0, 0.8) for name, *_ in chosen.values()]
must = [ours and len(data.heldout) >= 200 for ours, data in zip(own, sets.values(), strict=True)]
of = names["first"]
claim("zone-first", f"{of}: there is a danger zone", first.has_zone, must=must[0])
claim("crossing-first", f"{of}: the crossing lies inside it", first.inside, must=must[0])
claim("heldout-first", f"{of}: held-out queries cross earlier", first.earlier, must=must[0])
says = f"{names['second']}: the crossing lies inside a danger zone, held-out queries cross earlier"
claim("second-set", says, every([second.inside, second.earlier]), must=must[1])
near = abs(crossing.value - CELEBA_CROSSING) < 0.03
claim("crossing-celeba", f"the paper's intersection, {CELEBA_CROSSING}, within 0.03", near)
if chosen["second"] == ("cifar10", 2000, "automobile"):
    says = f"cars cross at {CARS_CROSSING}, within 0.1"
    trained, new = (at - CARS_CROSSING for at in (second.regimes.crossing, second.heldout))
    claim("cars-training", f"{says}: training queries", little(trained, 0.1), must=False)
    claim("cars-heldout", f"{says}: held-out queries", little(new, 0.1), must=False)

# %% tags=["remove-cell"]
for key, data in sets.items():
    size = dict(n_train=len(data.train), dimension=str(data.train[0].size))
    companion.quote(**{key: {"name": names[key], **size, **found[key].in_words}})
companion.quote(second_item="Figure 8" if second_class == "automobile" else "Figure 3")
companion.quote(celeba_zone=rule.in_words(c, level), celeba_crossing=crossing)
companion.quote(celeba_higher=rule.in_words(c, 0.85), draws=DRAWS, plane=plane.in_words)
companion.quote(plane_levels=levels, levels=len(GRID), other_levels=others)
# As many images as bring what chance can add, with 95% confidence, below what the level leaves.
companion.quote(fewest=int(np.log(20) / (2 * (1 - level) ** 2)) + 1)
