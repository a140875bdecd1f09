# ---
# jupyter: {kernelspec: {display_name: Python 3, language: python, name: python3}}
# ---

# %% [markdown]
# # Notebook: two models, one small training set and one large
#
# The paper claims that the same network, trained in the same way, copies a small training set and
# does not copy from a large one that contains it. The chapter [](../book/models.md) says what
# that means; here both are trained, or taken from the store of trained models.
#
# ```{outcome} models
# ```

# %% tags=["parameters"]
preset: str = "digits-unet"  # in {digits-mlp, digits-unet, cifar10-luma, cifar10-rgb, cifar10}
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 0  # training images N of the small model, 0 for the preset's number, or in [2, 1e6]
changes: str = ""  # further settings of both models: names, each with an equals sign and its value
n_samples: int = 256  # samples of each model, in [2, 1e6]
n_shown: int = 10  # of them in the picture, in [2, 12]
n_heldout: int = 500  # held-out images, at most; fewer where the set has fewer, in [2, 1e6]
solver: str = "heun"  # how to sample, euler as in the paper, in {heun, euler}
seed: int = 0  # seed of training, noise and samples, in [0, 1e12]
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np

from geomem import companion
from geomem.diffusion import presets, sampler, zoo
from geomem.geometry.intervals import mean_of
from geomem.memorization import ratio_test
from geomem.memorization.stopping import LOSS_HEADERS, Stopping, plot_losses
from geomem.plots import STYLE, drawing

plt.style.use(STYLE)
pair = presets.pair(
    preset, dataset=dataset, n_train=n_train, changes=changes, seed=seed, device=device
)
models = zoo.train_or_load(pair)
data, everything = (experiment.data.load() for experiment in pair)
heldout, sizes = data.heldout[:n_heldout], [f"{len(x.train):,}" for x in (data, everything)]
names = [f"small, N = {sizes[0]}", f"large, N = {sizes[1]}"]

# %%
facts = {name: model.facts for name, model in zip(names, models, strict=True)}
companion.Table({"": [*models[0].facts], **{name: [*of.values()] for name, of in facts.items()}})

# %% [markdown]
# ## The loss, in training and after
#
# What training reports is the loss of the current weights on its own random batches. What is used
# is a moving average of the weights. So the snapshots of that average are measured again: the same
# weighted loss, on training and on held-out images, at 12 noise levels that cut the noise law into
# equally likely slices.

# %%
losses = [
    [Stopping.of(model, x, levels=12, seed=seed) for x in (own.train[:n_heldout], heldout)]
    for model, own in zip(models, (data, everything), strict=True)
]

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(4.8, 3.5), sharey=True)
rows, labels = [], ("average, training images", "average, held-out images")
for ax, name, model, courses in zip(axes, names, models, losses, strict=True):
    marks = dict(zip(labels, courses, strict=True))
    rows += [(name, *row) for row in plot_losses(ax, model.losses, marks)]
    ax.set_title(name)
axes[0].set_ylabel("weighted denoising loss")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncol=2)
table = drawing.from_rows(["model [name]", *LOSS_HEADERS], rows)
companion.figure(fig, "fig-training-losses", table, data=[data])

# %% [markdown]
# ## Samples, and their nearest training images
#
# Sample $i$ of both models starts from the same noise. Every sample is held against the *small*
# training set, by the ratio test $d_{1\mathrm{NN}} < d_{2\mathrm{NN}}/3$. Clean held-out images
# give the floor of the test.

# %%
distinct, shape = ratio_test.DistinctImages(data.train, device), heldout.shape[1:]
samples = [
    sampler.sample(model.denoise, shape, n_samples, seed=seed, solver=solver).numpy()
    for model in models
]
found = [ratio_test.neighbours(images, distinct) for images in samples]
rates = [near.fraction for near in found]
floor = ratio_test.memorized_fraction(heldout, distinct)
own_rate = ratio_test.memorized_fraction(samples[1], everything.train, device=device)
who = [*names, f"{names[1]}, against its own", "clean held-out images"]
companion.Table({"images": who, "memorized": [*rates, own_rate, floor]})

# %% [markdown]
# How far apart are the two samples of one noise, and those of two noises? Means, data units.

# %%
flat = [images.reshape(n_samples, -1) for images in samples]
together = mean_of(np.linalg.norm(flat[0] - flat[1], axis=1))
strangers = mean_of(np.linalg.norm(flat[0] - np.roll(flat[1], 1, 0), axis=1))
companion.Table({"samples from one noise": [together], "from two": [strangers]})

# %% tags=["hide-input"]
shown = min(n_shown, n_samples)
framed = [near.memorized()[:shown] for near in found]
rows = []
for kind, images, near in zip(("small", "large"), samples, found, strict=True):
    rows += [(kind, images[:shown]), ("nearest", data.train[near.index[:shown]])]
fig = drawing.image_grid(rows, [""] * shown, [framed[0], None, framed[1], None])
kinds = ("small, sample", "small", "large, sample", "large")
rows = [(f"{kind}: {what}", images) for kind, (what, images) in zip(kinds, rows, strict=True)]
table = drawing.pixel_table(np.arange(shown), rows, "sample [index]")
companion.figure(fig, "fig-model-samples", table, data=[data])

# %% [markdown]
# ## What must hold
#
# The small model memorizes and the large one does not, with their whole intervals. For the book's
# own models that must hold; for others it is said.

# %%
own = (dataset, n_train, changes) == (presets.PRESETS[f"{preset}-small"].data.name, 0, "")
must = own and preset != "cifar10" and n_samples >= 256
copies, calm = rates[0].low > 0.2, rates[1].high < 0.05
companion.claim("small-copies", "the small model memorizes: above 0.2", copies, must=must)
companion.claim("large-calm", "the large one does not: below 0.05", calm, must=must)
companion.claim("floor", "the test's floor is as low: below 0.05", floor.high < 0.05, must=must)

# %% tags=["remove-cell"]
quote = companion.quote
for kind, model, (seen, new) in zip(("small", "large"), models, losses, strict=True):
    last = {"train": seen.losses[-1], "test": new.losses[-1]}
    ends = {f"{what}_loss_last": loss.plus_minus(".3f", ".3f") for what, loss in last.items()}
    quote(**{f"{kind}_{key}": text for key, text in (model.facts | ends).items()})
best = losses[0][1].losses[losses[0][1].lowest]
quote(
    small_lowest_step=f"{losses[0][1].step:,}", small_test_loss_lowest=best.plus_minus(".3f", ".3f")
)
quote(
    dataset=data.name, heldout=f"{len(heldout):,}", moments=f"{len(seen.steps)}", shown=f"{shown}"
)
quote(small_rate=str(rates[0]), large_rate=str(rates[1]), large_own_rate=str(own_rate))
quote(small_framed=f"{framed[0].sum()}", large_framed=f"{framed[1].sum()}", floor=str(floor))
quote(paired=together.plus_minus(), strangers=strangers.plus_minus())
quote(solver=sampler.SOLVER_NAMES[solver])
