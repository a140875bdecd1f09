# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Notebook: two models, one small training set and one large
#
# The paper claims that the same network, trained in the same way, copies a small training set and
# does not copy from a large one that contains it. What came out here:
#
# ```{outcome} models
# ```
#
# The chapter is [](../book/models.md).

# %% tags=["parameters"]
preset: str = "digits-unet"  # in {digits-mlp, digits-unet, cifar10-luma, cifar10-rgb, cifar10}
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 0  # training images N of the small model, 0 for the preset's number, in [0, inf)
changes: str = ""  # further settings of both models: names, each with an equals sign and its value
n_samples: int = 256  # samples of each model, in [2, inf)
n_shown: int = 10  # of them in the picture, in [2, 12]
n_heldout: int = 500  # held-out images, at most; fewer where the set has fewer, in [2, inf)
solver: str = "heun"  # how to sample, euler as in the paper, in {heun, euler}
seed: int = 0  # seed of training, noise and samples, in [0, inf)
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

from geomem.companion import figures
from geomem.diffusion import presets, network, sampler, zoo
from geomem.memorization import ratio_test
from geomem.plots import STYLE, drawing

plt.style.use(STYLE)
small, large = presets.pair(
    preset, dataset=dataset, n_train=n_train, changes=changes, seed=seed, device=device
)
data = small.data.load()
heldout = data.heldout[:n_heldout]
d = heldout[0].size
print(f"{data.name}: d = {d}, {len(heldout)} held-out images")

# %% [markdown]
# ## What is trained
#
# Models that the store holds already are taken from there.

# %%
models = zoo.train_or_load([small, large])
everything = large.data.load().train
sizes = [len(data.train), len(everything)]
names = [f"{kind}, N = {n:,}" for kind, n in zip(("small", "large"), sizes, strict=True)]
facts = {}
for kind, name, trained, n in zip(("small", "large"), names, models, sizes, strict=True):
    config, run = trained.experiment.train, trained.record
    seconds = config.steps * run["seconds"] / run["steps_of_these_seconds"]
    facts |= {
        f"{kind}_n": f"{n:,}",
        f"{kind}_steps": f"{config.steps:,}",
        f"{kind}_images": f"{config.images:,}",
        f"{kind}_epochs": f"{config.images / n:,.0f}",
        f"{kind}_seconds": f"{seconds:,.0f}",
        "batch": f"{config.batch}",
        "weights": f"{sum(p.numel() for p in trained.denoise.parameters()):,}",
        "device": run["device"],
    }
    print(f"{name}: {config.model.network} of {facts['weights']} weights")
    print(f"  {facts[f'{kind}_steps']} steps of {config.batch} images: ", end="")
    print(f"{facts[f'{kind}_images']} images, {facts[f'{kind}_epochs']} epochs")
    print(f"  {seconds:,.0f} s on {run['device']}")

# %% [markdown]
# ## The loss, in training and after
#
# What training reports is the loss of the current weights on its own random batches. What is used
# is a moving average of the weights. So the snapshots of that average are measured again: the same
# weighted loss, on training and on held-out images, at noise levels that cut the noise law into
# equally likely slices.

# %%
slices = 12
averaged = {}  # model -> for each snapshot: step, loss, half its interval; of both kinds of images
for name, trained, own in zip(names, models, (data.train, everything), strict=True):
    config = trained.experiment.train
    levels = config.noise.quantile((np.arange(slices) + 0.5) / slices)
    weight = network.loss_weight(torch.from_numpy(levels), config.model.sigma_data).numpy() / d
    rows = []
    for share in (*config.snapshots, 1):
        for images in (own[:n_heldout], heldout):
            error = ratio_test.denoising_error(
                trained.at(share), images, levels, seed=seed, device=device
            )
            loss = (error.per_query * weight).mean(1)
            half = 1.96 * loss.std(ddof=1) / np.sqrt(len(loss))
            rows.append((config.step_of(share), loss.mean(), half))
    averaged[name] = np.array(rows[0::2]), np.array(rows[1::2])
    print(f"{name}: averaged weights, loss on training images | on held-out images")
    for (step, *of_train), (_, *of_test) in zip(*averaged[name], strict=True):
        print(f"  step {step:,.0f}: ", end="")
        print("{:.3f} ± {:.3f} | {:.3f} ± {:.3f}".format(*of_train, *of_test))

# %%
in_training = {}  # model -> step, loss of its batch, mean over a quarter of the steps done
for name, trained in zip(names, models, strict=True):
    total, end = np.append(0, trained.losses.cumsum()), len(trained.losses)
    steps = np.unique(np.geomspace(1, end, 400).astype(int))
    low, high = steps - steps // 8 - 1, np.minimum(steps + steps // 8, end)
    mean = (total[high] - total[low]) / (high - low)
    in_training[name] = np.c_[steps, trained.losses[steps - 1], mean]

# %% tags=["hide-input", "remove-output"]
fig, axes = plt.subplots(1, 2, figsize=(4.8, 3.5), sharey=True)
headers = ["model [name]", "curve [name]", "step [count]", "loss [weighted, 1]"]
headers += ["half width of the interval [weighted, 1, 95%]"]
table = []
for ax, name in zip(axes, names, strict=True):
    steps, batch, mean = in_training[name].T
    ax.plot(steps, batch, color="0.8", ls="-", lw=0.7, label="one batch")
    ax.plot(steps, mean, color="0.4", ls="-", label="running mean")
    for what, curve, style in (
        ("average, training images", averaged[name][0], "C0o-"),
        ("average, held-out images", averaged[name][1], "C1s:"),
    ):
        ax.errorbar(*curve.T, fmt=style, ms=5, capsize=2, elinewidth=1, label=what)
        table += [(name, what, *row) for row in curve.tolist()]
    for what, values in (("one batch", batch), ("running mean", mean)):
        table += [(name, what, *row, np.nan) for row in zip(steps, values, strict=True)]
    ax.set(xscale="log", yscale="log", title=name, xlabel="training step")
axes[0].set_ylabel("weighted denoising loss")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncol=2)
figures.save(
    fig,
    "fig-training-losses",
    title="Losses in training, and of the averaged weights",
    caption=(
        f"EDM's weighted denoising loss of both models on {data.name}; an untrained network has 1. "
        "Grey: the loss of single batches, and its mean over a window of a quarter of the "
        "steps done. Marks: the averaged weights, the model that is used, at "
        f"{len(curve)} moments, on up to {n_heldout} of its own training images (circles) and "
        f"{len(heldout)} held-out images (squares), at {slices} equally likely noise levels; "
        "bars: 95% intervals over images."
    ),
    alt=(
        "Two panels of loss against training step, both axes logarithmic. For the small training "
        "set the losses on training and on held-out images part widely; for the large one they "
        "stay close."
    ),
    table=dict(zip(headers, zip(*table, strict=True), strict=True)),
    paper_item="the models EDM-1K and EDM-50K",
    claim="ours",
    data=[data],
    seeds={"training": seed, "noise": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-training-losses
# :again:
# ```

# %% [markdown]
# ## Samples, and their nearest training images
#
# Sample $i$ of both models starts from the same noise. Every sample is held against the *small*
# training set, by the ratio test $d_{1\mathrm{NN}} < d_{2\mathrm{NN}}/3$. Clean held-out images
# give the floor of the test.

# %%
distinct = ratio_test.DistinctImages(data.train, device)
samples = [
    sampler.sample(m.denoise, heldout.shape[1:], n_samples, seed=seed, solver=solver).numpy()
    for m in models
]
found = [ratio_test.neighbours(images, distinct) for images in samples]
rates = [near.fraction for near in found]
floor = ratio_test.memorized_fraction(heldout, distinct)
own_rate = ratio_test.memorized_fraction(samples[1], everything, device=device)
for name, rate in zip((*names, "held-out images"), (*rates, floor), strict=True):
    print(f"{name}: memorized {rate}")
print(f"{names[1]}, held against its own training set: {own_rate}")

# %%
paired = np.linalg.norm((samples[0] - samples[1]).reshape(n_samples, -1), axis=1)
strangers = np.linalg.norm((samples[0] - np.roll(samples[1], 1, 0)).reshape(n_samples, -1), axis=1)
apart = [
    f"{x.mean():.3g} ± {1.96 * x.std(ddof=1) / np.sqrt(n_samples):.2g}" for x in (paired, strangers)
]
print(f"mean distance of the two samples from one noise: {apart[0]}; from two: {apart[1]}")

# %% tags=["hide-input", "remove-output"]
shown = min(n_shown, n_samples)
rows, framed = [], []
for kind, images, near in zip(("small", "large"), samples, found, strict=True):
    rows += [(kind, images[:shown]), ("nearest", data.train[near.index[:shown]])]
    framed += [near.memorized()[:shown], None]
fig = drawing.image_grid(rows, [""] * shown, framed)
figures.save(
    fig,
    "fig-model-samples",
    title="Samples of both models, and their nearest training images",
    caption=(
        f"Rows 1 and 3: samples of the {names[0]} and the {names[1]} model on {data.name}; each "
        "column starts from one noise ($\\sigma = 80$). Rows 2 and 4: the nearest image of the "
        f"small training set to the sample above. Red frame: memorized, $d_{{1\\mathrm{{NN}}}} < "
        f"d_{{2\\mathrm{{NN}}}}/3$. Of the small model's samples {rates[0]} are, of "
        f"the large model's {rates[1]} (95% Clopper-Pearson intervals). Shown are the first "
        f"{shown}, not chosen ones."
    ),
    alt=(
        f"Four rows of {shown} images. Of the small model's samples {framed[0].sum()} have a red "
        "frame, as near to the training image below as a copy; of the large model's "
        f"{framed[2].sum()} have one."
    ),
    table=drawing.pixel_table(
        np.arange(shown),
        [
            (f"{kind}: {what}", images)
            for kind, (what, images) in zip(
                ("small, sample", "small", "large, sample", "large"), rows, strict=True
            )
        ],
        "sample [index]",
    ),
    paper_item="Table 1 (without swaps)",
    claim="ours",
    data=[data],
    seeds={"training": seed, "samples": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-model-samples
# :again:
# ```

# %% [markdown]
# ## What must hold
#
# The small model memorizes and the large one does not, with their whole intervals. For the book's
# own models that must hold; for others it is said.

# %%
preset_data = presets.PRESETS[f"{preset}-small"].data.name
must = preset != "cifar10" and dataset == preset_data and (n_train, changes) == (0, "")
must &= n_samples >= 256
figures.claim("the small model memorizes: above 0.2", rates[0].low > 0.2, must=must)
figures.claim("the large one does not: below 0.05", rates[1].high < 0.05, must=must)
figures.claim("the test's floor is as low: below 0.05", floor.high < 0.05, must=must)
lowest = {name: int(of_test[:, 1].argmin()) for name, (_, of_test) in averaged.items()}
figures.record(
    dataset=data.name,
    n_samples=f"{n_samples}",
    solver=sampler.SOLVER_NAMES[solver],
    small_rate=str(rates[0]),
    large_rate=str(rates[1]),
    large_own_rate=str(own_rate),
    floor=str(floor),
    paired=apart[0],
    strangers=apart[1],
    **{
        f"{kind}_{what}_loss_{when}": "{1:.3f} ± {2:.3f}".format(*curve[i])
        for kind, name in zip(("small", "large"), names, strict=True)
        for what, curve in zip(("train", "test"), averaged[name], strict=True)
        for when, i in (("lowest", lowest[name]), ("last", -1))
    },
    **{
        f"{kind}_lowest_step": f"{averaged[name][1][lowest[name], 0]:,.0f}"
        for kind, name in zip(("small", "large"), names, strict=True)
    },
    **facts,
)
