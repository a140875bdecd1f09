# %% [markdown]
# # Notebook: what it costs at scale
#
# How long do both curves take of a training set of $10^6$ to $10^9$ images, on one core or on 64
# GPUs? The work is counted, what a core does in a second is measured here, and what other machines
# do is assumed. The chapter is [](../book/scale.md).
#
# ```{outcome} scale
# ```

# %% tags=["parameters"]
dataset: str = "fashion-mini"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 250  # training images N of the run that is timed first, in [10, 1e6]
n_queries: int = 250  # noisy images of each curve there, in [10, 1e6]
levels: int = 20  # noise levels, in [2, 1000]
pixels: int = 12288  # numbers in an image of the large sets, as in 64x64 of RGB, in [1, 1e9]
queries: int = 1000  # noisy images of each curve there, in [10, 1e9]
seed: int = 0  # seed of the images chosen and of the noise, in [0, 1e12]
device: str = "cpu"  # what is timed: one core, or one GPU, in {auto, cpu, cuda}

# %%
from dataclasses import replace

import numpy as np

import geomem
from geomem import companion
from geomem.diffusion.train import device_of
from geomem.geometry.cost import H100, Work, curves_seconds, this_machine
from geomem.machine import in_bytes, in_time
from geomem.plots.scale import measured_and_reckoned

data = geomem.load_dataset(dataset)
rng = np.random.default_rng(seed)
heldout = data.heldout[rng.integers(len(data.heldout), size=n_queries)]
train = data.train[rng.integers(len(data.train), size=4 * n_train)]

# %% [markdown]
# ## One run says what the others take
#
# Both curves of $N$ images drawn with replacement, timed on one core. What the products of matrices
# and the noise take of it is timed alone; the rest is what the noise levels take. That fits one
# number to one run. Two and four times the images, and twice the noise levels, test it.

# %%
how = dict(seed=seed, device=device_of(device))
first = Work(n_train, data.train[0].size, n_queries, levels, itemsize=4)
larger = ((1, 1), (2, 1), (4, 1), (2, 2))  # N and the levels, times so much
works = [replace(first, n=n * n_train, levels=k * levels) for n, k in larger]
took = [curves_seconds(heldout, train[: work.n], work, **how) for work in works]
here = this_machine(first, took[0], **how)
said = [sum(here.seconds(work)) for work in works]
columns = {"N": [work.n for work in works], "levels": [work.levels for work in works]}
companion.Table(columns | {"measured, s": took, "reckoned, s": said})

# %% [markdown]
# ## Other machines
#
# Of a GPU nothing is measured: its rates are assumptions, half of what is published of an H100.
# Each process reads its share of the training set from a disk, at 1 GB/s (assumed).

# %%
core = replace(here, read=H100.read, network=H100.network, latency=H100.latency)
unit = "core" if how["device"] == "cpu" else "GPU"
machines = {f"one {unit} as here": (core, 1), f"64 such {unit}s": (core, 64)}
machines |= {f"{k} GPU{'s' * (k > 1)} (assumed)": (H100, k) for k in (1, 8, 64)}
large = [Work(10**k, pixels, queries, levels) for k in range(6, 10)]
timed = [*zip(works[:3], took[:3], strict=True)]
fig, plotted = measured_and_reckoned(timed, here, large, machines)
companion.figure(fig, "fig-scale-times", plotted, data=[data])

# %%
sizes = {"N": [f"{work.n:.0e}".replace("e+0", "e") for work in large]}
sizes |= {"bytes, one a pixel": [in_bytes(work.bytes) for work in large]}
for name, (machine, k) in machines.items():
    sizes[name] = [in_time(sum(machine.seconds(work, k))) for work in large]
(table := companion.Table(sizes))

# %% [markdown]
# Where the time goes, of the largest set: nothing overlaps here, so a share of one half that could
# overlap would halve the time at best.

# %%
parts = {name: machine.seconds(large[-1], k) for name, (machine, k) in machines.items()}
shares = {name: [f"{x / sum(part):.0%}" for x in part] for name, part in parts.items()}
names = ["products", "noise levels", "reading", "drawing noise", "merging"]
(shared := companion.Table({"": names, **shares}))

# %% [markdown]
# ## What came out

# %%
off = np.exp(np.abs(np.log(np.array(said) / took)))
says = "what two and four times the images take is within a factor of 2 of what one run says"
companion.claim("time-of-sizes", says, bool(off[1:3].max() < 2), must=False)
says = "so is what twice the noise levels take"
companion.claim("time-of-levels", says, bool(off[3] < 2), must=False)

# %% tags=["remove-cell"]
companion.quote(dataset=data.name, unit=unit, d=first.d, pixels=f"{pixels:,}", table=table)
companion.quote(off_sizes=f"{off[1:3].max():.2f}", off_levels=f"{off[3]:.2f}", shared=shared)
companion.quote(products=f"{here.flops / 1e9:.0f}", terms=f"{here.terms / 1e6:.0f}")
companion.quote(ratio=f"{took[2] / (works[2].flops / here.flops):.1f}", passes=large[0].passes)
companion.quote(flops=f"{large[0].flops / large[0].n / 1e9:.2g}", memory=in_bytes(large[0].memory))
companion.quote(merged=in_bytes(large[0].merged), gpu=f"{H100.flops / 1e12:.0f}")
companion.quote(queries=f"{queries:,}", largest=in_bytes(large[-1].bytes))
