# ---
# jupyter: {kernelspec: {display_name: Python 3, language: python, name: python3}}
# ---

# %% [markdown]
# # Notebook: does the zone predict the hump?
#
# The paper explains the hump of memorization by the danger zone of the training set, in its own
# data space of 3,072 numbers an image. Does the zone predict the hump in other dimensions? The same
# images at several sizes: zone and hump, the level where a single switch decides, and three
# predictions. All of it is our addition. The chapter is [](../book/dimension.md).
#
# ```{outcome} dimension
# ```

# %% tags=["parameters"]
preset: str = "fashion-unet"  # in {fashion-unet, digits-unet, cifar10-luma, cifar10-rgb, cifar10}
dataset: str = "fashion-mini"  # data set: fashion-mini, digits, cifar10, fashion-mnist, or a path
sizes: str = "8 16 28"  # sides of the images, pixels; 0: as they are, with the preset's network
second_preset: str = "cifar10-luma"  # likewise for a second kind of images
second_dataset: str = ""  # its data set, or none
second_sizes: str = ""  # its sides
n_train: int = 0  # training images N of the small models, 0 for the preset's number, or in [2, 1e6]
changes: str = ""  # further settings of the first models: names, each with an equals sign and value
second_changes: str = ""  # of the second
n_samples: int = 128  # samples of each model, in [20, 1e6]
n_switched: int = 64  # samples at each level of the switch, in [8, 1e6]
n_heldout: int = 500  # held-out images, at most; fewer where the set has fewer, in [20, 1e6]
n_sigmas: int = 18  # noise levels of the hump, evenly spaced in log sigma, in [5, 1000]
c: float = 5.0  # shell parameter of Lemma 4.5, in [0.001, 1000]
level: float = 0.8  # C and W at least this high: the danger zone, in (0, 1)
seed: int = 0  # seed of training, noise and samples, in [0, 1e12]
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np

from geomem import companion
from geomem.diffusion import presets, zoo
from geomem.memorization import ratio_test, dimension
from geomem.plots import STYLE, drawing

plt.style.use(STYLE)
kinds = [(preset, dataset, sizes, changes)]
kinds += [(second_preset, second_dataset, second_sizes, second_changes)]
asked = [(kind, int(side)) for kind in kinds if kind[1] for side in kind[2].split()]
pairs = []  # of each size the small and the large model's experiment
for (name, of, _, new), side in asked:
    settings = dict(dataset=of, n_train=n_train, changes=new, seed=seed, device=device)
    pair = presets.pair(name, **settings)
    pairs.append([presets.resized(one, side) if side else one for one in pair])
models = zoo.train_or_load([one for pair in pairs for one in pair])
data = [small.data.load() for small, _ in pairs]

# %% [markdown]
# ## What is measured
#
# - The **hump**: the small model's memorization rate on noisy held-out images. Its centre is the
#   mean of $\log\sigma$ weighted by the rate, with an interval over images.
# - Where a copy is **decided**: samples of one model that hands over to the other once, below a
#   level of the sampler ([](../book/swaps.md)). Half of the copies are decided at two levels: where
#   handing over to the large model leaves half, and where handing over to the small one brings half
#   about.
# - Three **predictions** from the training set and the large model alone: the middle of the
#   **zone** in $\log\sigma$; the **copy edge**, where twice the large model's error equals
#   $(d_\mathrm{NN}/3)^2$, the size of what the ratio test forgives; and **overlap**, where
#   concentration meets a coverage that asks whether the noise of a new image can be told from that
#   of its nearest training image, $2\,Q(d_{1\mathrm{NN}}/2\sigma)$, in place of shells.

# %%
levels, found = np.geomspace(0.02, 20, n_sigmas), []
options = dict(n=n_samples, n_switched=n_switched, c=c, level=level, seed=seed, device=device)
for few, many, images in zip(models[::2], models[1::2], data, strict=True):
    distinct, heldout = ratio_test.DistinctImages(images.train, device), images.heldout[:n_heldout]
    measured = few.denoise, many.denoise, distinct, heldout, levels
    found.append(companion.kept(dimension.Measured.of)(*measured, name=images.name, **options))
companion.Table(dimension.overview(found))

# %% [markdown]
# Each prediction is held against the centre of the hump and against the middle of the two levels of
# the switch, as a factor: 1 is right, 2 is twice too high.

# %%
ratios = dimension.factors(found)
compared = {"": [*dimension.overview(found)["images"], "*off on average by*"]}
for (prediction, target), ratio in ratios.items():
    compared[f"{prediction} / {target}"] = [*ratio, dimension.off(ratio)]
companion.Table(compared, digits=2)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(4.8, 4.6))
for place, one in enumerate(found):
    one.plot(ax, place, named=place == 0)
ticks = [f"{one.size}\n{one.name}\nd = {one.d:,}" for one in found]
ax.set(xticks=range(len(found)), xticklabels=ticks, yscale="log", xlim=(-0.6, len(found) - 0.4))
ax.tick_params(axis="x", labelsize=8.5)
ax.set_yticks(at := [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20], [f"{sigma:g}" for sigma in at])
ax.minorticks_off()
ax.set_ylabel(drawing.SIGMA_LABEL)
fig.legend(loc="outside lower center", ncol=2)
companion.figure(fig, "fig-dimension-zone", dimension.level_table(found), data=data)

# %% [markdown]
# ## The curves
#
# At each size: coverage, concentration, coverage by overlap, and the rate, magnified to be seen.

# %% tags=["hide-input"]
fig, axes = plt.subplots(len(found), 1, figsize=(4.8, 1.75 * len(found) + 0.8), sharex=True)
for ax, one in zip(np.atleast_1d(axes), found, strict=True):
    one.plot_curves(ax)
    drawing.sigma_axis(ax)
    ax.set(xlabel="", xlim=(0.02, 50))
    ax.set_ylabel(f"{one.name}\n{one.size}", fontsize=9)
ax.set_xlabel(drawing.SIGMA_LABEL)
fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncol=2)
companion.figure(fig, "fig-dimension-curves", dimension.curve_table(found), data=data)

# %% [markdown]
# ## What a copy looks like
#
# Six samples at the largest size, copies first, each above the training image nearest to it; below,
# what the large model makes of the same noise.

# %%
largest, images = max(zip(found, data, strict=True), key=lambda each: each[0].d)
small, large = largest.small, largest.large
chosen = np.argsort(~small.near.memorized(), kind="stable")[:6]
copied = small.near.memorized()[chosen]
companion.Table({"sample": chosen, "d_1NN / d_2NN": small.near.ratio[chosen], "copy": copied})

# %% tags=["hide-input"]
rows = [("sample", small.pictures[chosen])]
rows += [("nearest\ntraining\nimage", images.train[small.near.index[chosen]])]
rows += [("large model,\nsame noise", large.pictures[chosen])]
fig = drawing.image_grid(rows, [str(i) for i in chosen], [copied, None, None])
pixels = drawing.pixel_table(chosen, rows, "initial noise [index]")
companion.figure(fig, "fig-dimension-copies", pixels, data=[images])

# %% [markdown]
# ## What came out
#
# That the models are what they should be must hold on the book's own data; where the hump lies is
# the finding.

# %%
own = dataset == presets.PRESETS[f"{preset}-small"].data.name
must = own and (sizes, n_train, changes, second_dataset) == ("8 16 28", 0, "", "")
well = not any(model.broke_down for model in models)
companion.claim("trained-well", "every training went well", well, must=must)
text = "every small model memorizes, no large one does"
copying = all(one.small.copies.low > 0.2 and one.large.copies.high < 0.05 for one in found)
companion.claim("small-copies", text, copying, must=must)
inside = [one for one in found if one.place == "inside it"]
if all(
    one.reach.geometry.regimes.medium for one in found
):  # where the rule finds no zone, nothing is predicted
    text = "the hump's centre lies in the zone at every size"
    companion.claim("centre-in-zone", text, inside == found, must=False)
    text = "the hump's centre lies in the zone at the largest size"
    companion.claim("centre-in-zone-largest", text, largest in inside, must=False)
if (near := dimension.within(found, "zone", "switch")) is not None:
    text = "zone: within a factor of two of the switch at every size"
    companion.claim("zone-near-switch", text, near, must=False)
if (near := dimension.within(found, "copy edge", "switch")) is not None:
    text = "copy edge: within a factor of two of the switch at every size"
    companion.claim("edge-near-switch", text, near, must=False)

# %% tags=["remove-cell"]
of_kind = [[one for one, (of, _) in zip(found, asked, strict=True) if of is kind] for kind in kinds]
where = [f"{one.name} {one.size}: σ = {one.hump.centre}, {one.place}" for one in found]
zones = [f"(zone {one.zone.in_words})" for one in found]
targets = {
    t: min((dimension.off(ratios[n, t]), n) for n in dimension.PREDICTIONS)
    for t in dimension.TARGETS
}
companion.quote(
    n_train=f"{len(data[0].train):,}",
    n_heldout=f"{len(data[0].heldout[:n_heldout]):,}",
    images=" and ".join(dict.fromkeys(one.name for one in found)),
    sizes=", ".join(one.size for one in found),
    n_sizes=str(len(found)),
    n_inside=str(len(inside)),
    inside_at=", ".join(f"{one.name} {one.size}" for one in inside) or "none of them",
    table=companion.Table(dimension.overview(found)).markdown,
    factors=companion.Table(compared, digits=2).markdown,
    largest=f"{largest.name} at {largest.size}",
    largest_d=f"{largest.d:,}",
    largest_centre=str(largest.hump.centre),
    largest_zone=largest.reach.geometry.zone_in_words,
    largest_place=largest.place,
    largest_inside=largest.hump.share(largest.zone).percent,
    largest_copies=str(small.copies),
    six=str(copied.sum()),
    growth=" ".join(filter(None, map(dimension.growth, of_kind))),
    places="; ".join(f"{at} {zone}" for at, zone in zip(where, zones, strict=True)),
    **{f"best_{t}": n if np.isfinite(by) else "one not known" for t, (by, n) in targets.items()},
    **{f"best_{t}_off": f"{by:.2g}" for t, (by, _) in targets.items()},
    zone_switch=", ".join(f"{x:.2g}" for x in ratios["zone", "switch"]),
    copy_edge_levels=", ".join(dimension.over_switch(one, "copy edge") for one in found),
)
