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
preset: str = "digits-unet"  # which pair of models: a preset's name without -small or -large
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
import numpy as np

from geomem import companion
from geomem.diffusion import sampler
from geomem.geometry.intervals import above, below, mean_of
from geomem.memorization import quality
from geomem.memorization.case import Case
from geomem.memorization.ratio_test import memorized_fraction
from geomem.memorization.samples import Samples
from geomem.memorization.stopping import Losses
from geomem.plots import pictures

options = dict(n_heldout=n_heldout, seed=seed, device=device)
case = Case.of(preset, dataset, n_train, changes, **options)
data, everything, heldout = case.data, case.everything, case.heldout
models = dict(zip(case.names.values(), case.trained(), strict=True))
facts = {name: model.facts for name, model in models.items()}
small, large = facts.values()
companion.Table({"": [*small], **{name: [*of.values()] for name, of in facts.items()}})

# %% [markdown]
# ## The loss, in training and after
#
# What training reports is the loss of the current weights on its own random batches. What is used
# is a moving average of the weights. So the snapshots of that average are measured again: the same
# weighted loss, on training and on held-out images, at 12 noise levels that cut the noise law into
# equally likely slices.

# %%
measure, losses = companion.kept(Losses.of), {}
for (name, model), own in zip(models.items(), (data, everything), strict=True):
    losses[name] = measure(model, own.train[:n_heldout], heldout, levels=12, seed=seed)
companion.figure(pictures.losses(losses), "fig-training-losses", data=[data])

# %% [markdown]
# ## Samples, and their nearest training images
#
# Sample $i$ of both models starts from the same noise. Every sample is held against the *small*
# training set, by the ratio test $d_{1\mathrm{NN}} < d_{2\mathrm{NN}}/3$. Clean held-out images
# give the floor of the test.

# %%
draw, how = companion.kept(Samples.of), dict(seed=seed, solver=solver)
few, many = (draw(of.denoise, case.distinct, n_samples, **how) for of in models.values())
drawn = dict(zip(case.names, (few, many), strict=True))
floor = memorized_fraction(heldout, case.distinct)
own_rate = memorized_fraction(many.pictures, everything.train, device=device)
who = [*models, f"{case.names['large']}, against its own", "clean held-out images"]
companion.Table({"images": who, "memorized": [few.copies, many.copies, own_rate, floor]})

# %% [markdown]
# How far apart are the two samples of one noise, and those of two noises? Means, data units.

# %%
one, other = (of.pictures.reshape(n_samples, -1) for of in drawn.values())
together = mean_of(np.linalg.norm(one - other, axis=1))
strangers = mean_of(np.linalg.norm(one - np.roll(other, 1, 0), axis=1))
shown = min(n_shown, n_samples)
companion.figure(pictures.samples(drawn, data.train, shown), "fig-model-samples", data=[data])
companion.Table({"samples from one noise": [together], "from two": [strangers]})

# %% [markdown]
# Not a copy is not yet an image. How much do neighbouring pixels differ (median), over what they
# do in clean held-out images? Near one, samples are as smooth as images; far above, grain.

# %%
rough = [quality.rougher(of.pictures, heldout) for of in drawn.values()]
companion.Table({"samples of": [*models], "as rough as new images, times": rough})

# %% [markdown]
# ## What must hold
#
# The small model memorizes and the large one does not, with their whole intervals. For the book's
# own models that must hold, on 256 samples and 500 held-out images or more; for others it is said,
# as is whether the large one makes images.

# %%
claim, must = companion.claim, case.own and n_samples >= 256
copies, calm = above(few.copies, 0.2), below(many.copies, 0.05)
claim("small-copies", "the small model memorizes: above 0.2", copies, must=must)
claim("large-calm", "the large one does not: below 0.05", calm, must=must)
says = "the test's floor is as low: below 0.05"
claim("floor", says, below(floor, 0.05), must=must and len(heldout) >= 500)
says = "the large model's samples are less than twice as rough as new images"
claim("large-smooth", says, below(rough[1], 2.0), must=False)

# %% tags=["remove-cell"]
of_small, of_large = (of.in_words for of in losses.values())
companion.quote(dataset=data.name, heldout=len(heldout), small_rough=rough[0], large_rough=rough[1])
companion.quote(small=small | of_small | dict(rate=few.copies, framed=few.passed[:shown].sum()))
companion.quote(large=large | of_large | dict(rate=many.copies, framed=many.passed[:shown].sum()))
companion.quote(moments=len(losses[case.names["small"]].train.steps), shown=shown)
companion.quote(large_own_rate=own_rate, floor=floor, paired=together.plus_minus())
companion.quote(strangers=strangers.plus_minus(), solver=sampler.SOLVER_NAMES[solver])
