# ---
# jupyter: {kernelspec: {display_name: Python 3, language: python, name: python3}}
# ---

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
import matplotlib.pyplot as plt
import numpy as np

import geomem
from geomem import companion, digitized
from geomem.data.named import LOADERS
from geomem.geometry.regimes import DRAWS, GRID, find_crossing, measure_regimes
from geomem.plots import STYLE, drawing

plt.style.use(STYLE)
if (second_dataset, second_class) == (dataset, ""):  # two times one set compares nothing
    second_dataset = "fashion-mini" if dataset == "digits" else "digits"
second = second_dataset, second_n_train, second_class or None
chosen = {"first": (dataset, n_train, None), "second": second}
sets, names = {}, {}
for key, (name, n, kind) in chosen.items():
    options = dict(n_train=n, seed=None if data_seed < 0 else data_seed, classes=kind)
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

# %%
found, heldout, crossings = {}, {}, {}
for key, data in sets.items():
    same = dict(seed=seed, device=device)
    found[key] = measure_regimes(data.heldout, data.train, c=c, level=level, **same)
    same |= dict(queries=data.heldout, draws=DRAWS)
    grid = found[key].coverage.sigma
    heldout[key] = geomem.max_posterior_weight(data.train, grid, **same)
    crossings[key] = find_crossing(found[key].coverage, heldout[key], seed=seed)

# %%
regimes = {key: geometry.regimes for key, geometry in found.items()}
table = {
    "data": list(names.values()),
    "zone begins": [one.covered for one in regimes.values()],
    "zone ends": [one.concentrated for one in regimes.values()],
    "crossing": [one.crossing for one in regimes.values()],
    "crossing, held-out queries": list(crossings.values()),
}
companion.Table(table)


# %%
def picture(key, id):
    """Both curves, the weight of held-out queries, and what was read off for the same data."""
    fig, ax = plt.subplots(figsize=(4.8, 4.0))
    drawing.shade_regimes(ax, regimes[key])
    found[key].plot(ax, ms=3, markevery=3)
    heldout[key].plot(ax, r"weight, held-out queries")
    table = found[key].table() | heldout[key].table("W_sigma, held-out", "probability")
    if chosen[key] == ("cifar10", 1000, None):
        paper = digitized.load("figE3_max_weight")
        drawing.plot_paper(ax, paper["sigma"], paper["max_weight"], "paper (E.3), read off")
        table["sigma read off [data units]"] = paper["sigma"]
        table["W_sigma read off [probability]"] = paper["max_weight"]
    drawing.sigma_axis(ax)
    ax.set_ylabel("probability")
    fig.legend(loc="outside lower center", ncol=2)
    companion.figure(fig, id, drawing.filled_up(table), data=[sets[key]])


# %% tags=["hide-input"]
picture("first", "fig-regimes")

# %% [markdown]
# ## A second data set

# %% tags=["hide-input"]
picture("second", "fig-regimes-second")

# %% [markdown]
# ## The rule on the paper's own curves
#
# The paper names its zone on CelebA, $[0.55, 1.3]$, and an intersection at $0.85$ (Figure 5).
# We read both curves off that figure and apply our rule to them.

# %%
celeba = digitized.load("fig5_celeba_curves")
columns = {"C_sigma": "coverage", "W_sigma": "max_weight"}
theirs = [geomem.Curve.from_table(celeba["sigma"], celeba[name]) for name in columns.values()]
check, higher = (geomem.find_regimes(*theirs, height) for height in (level, 0.85))

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(4.8, 3.8))
drawing.shade_regimes(ax, check)
ax.plot(celeba["sigma"], celeba["coverage"], "o", ms=4, label=r"$C_\sigma$, read off")
ax.plot(celeba["sigma"], celeba["max_weight"], "s", ms=4, label=r"$W_\sigma$, read off")
ax.axvspan(0.55, 1.3, ymax=0.06, color="k", lw=0, label="zone named in the paper")
drawing.sigma_axis(ax)
ax.set_ylabel("probability")
fig.legend(loc="outside lower center", ncol=2)
table = {f"{name} read off [probability]": celeba[column] for name, column in columns.items()}
table = {"sigma [data units]": celeba["sigma"], **table}
companion.figure(fig, "fig-regimes-celeba", table, data=[celeba])

# %% [markdown]
# ## What must hold
#
# There is a danger zone, the crossing lies inside it, and held-out queries cross earlier than
# training queries. For the data sets of this book, at the default level and shells, that must
# hold; for your own it is said.

# %%
must = {key: name in LOADERS and (c, level) == (5.0, 0.8) for key, (name, *_) in chosen.items()}
inside, earlier = {}, {}
for key, one in regimes.items():
    zone = one.medium or (np.inf, -np.inf)
    inside[key] = zone[0] < one.crossing.value < zone[1]
    earlier[key] = crossings[key].value < one.crossing.value
first, second = names.values()

# %%
there = regimes["first"].medium is not None
companion.claim("zone-first", f"{first}: there is a danger zone", there, must=must["first"])
says = f"{first}: the crossing lies inside it"
companion.claim("crossing-first", says, inside["first"], must=must["first"])
says = f"{first}: held-out queries cross earlier"
companion.claim("heldout-first", says, earlier["first"], must=must["first"])
says = f"{second}: the crossing lies inside a danger zone, held-out queries cross earlier"
companion.claim("second-set", says, inside["second"] and earlier["second"], must=must["second"])
near = abs(check.crossing.value - 0.85) < 0.03
companion.claim("crossing-celeba", "the paper's intersection, 0.85, within 0.03", near)
if chosen["second"] == ("cifar10", 2000, "automobile"):
    edges = regimes["second"].crossing, crossings["second"]
    near = [abs(edge.value - 1.9) < 0.1 for edge in edges]
    says = "cars cross at 1.9, within 0.1"
    companion.claim("cars-training", f"{says}: training queries", near[0], must=False)
    companion.claim("cars-heldout", f"{says}: held-out queries", near[1], must=False)

# %% tags=["remove-cell"]
for key, data in sets.items():
    zone, nearest = regimes[key], geomem.nearest_distances(data.heldout, data.train, device=device)
    said = dict(name=names[key], n_train=f"{len(data.train):,}", dimension=str(data.train[0].size))
    said |= dict(covered=str(zone.covered), concentrated=str(zone.concentrated))
    said |= dict(crossing=str(zone.crossing), crossing_value=f"{zone.crossing_value:.3f}")
    said |= dict(heldout_crossing=str(crossings[key]), nearest=f"{np.median(nearest):.3g}")
    companion.quote(**{f"{key}_{name}": text for name, text in said.items()})
companion.quote(second_item="Figure 8" if second_class == "automobile" else "Figure 3")
companion.quote(celeba_zone=f"{check.covered} to {check.concentrated}", draws=str(DRAWS))
companion.quote(celeba_crossing=str(check.crossing), levels=str(len(GRID)))
companion.quote(celeba_higher=f"{higher.covered} to {higher.concentrated}")
