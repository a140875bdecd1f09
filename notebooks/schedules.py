# %% [markdown]
# # Notebook: the zone on other clocks
#
# Posterior weights, shells and the danger zone are measured at a noise level $\sigma$. DDPM and
# flow matching count time in other ways and rescale the noisy image. We add that nothing else
# changes: every $\sigma$ has one time on their clocks, and there the quantities are the same. The
# chapter is [](../book/schedules.md).
#
# ```{outcome} schedules
# ```

# %% tags=["parameters"]
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 1000  # training images N, in [2, 1e6]
n_heldout: int = 500  # held-out images, in [2, 1e6]
c: float = 5.0  # shell parameter of Lemma 4.5, in [0.001, 1000]
level: float = 0.8  # both curves at least this high: the danger zone, in (0, 1)
data_seed: int = -1  # seed of the random subset, -1 for the set's own order, in [-1, 1e12]
seed: int = 0  # seed of the noise and of the resampling, in [0, 1e12]
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import numpy as np

import geomem
from geomem import Schedule, companion
from geomem.geometry.intervals import Estimate
from geomem.memorization.distinct import DistinctImages
from geomem.plots import clocks

data = geomem.load_dataset(dataset, n_train=n_train, n_heldout=n_heldout, seed=data_seed)
images = data.train[DistinctImages(data.train, device).index]  # repeats count once
how = dict(c=c, seed=seed, device=device)
geometry = companion.kept(geomem.measure_regimes)(data.heldout, images, level=level, **how)
found = geometry.regimes

# %% [markdown]
# ## The zone, on every clock
#
# The ends of the zone and the crossing of both curves, with their intervals, at their times. A
# time that a schedule does not have is "none".

# %%
ddpm = [Schedule.ddpm(name) for name in ("linear", "scaled_linear", "cosine")]
flows = [Schedule.flow(data_at=end) for end in (1, 0)]
schedules = [Schedule.edm(), Schedule.vp(), *ddpm, *flows]
begins, stops = (found.covered, found.concentrated) if found.medium else 2 * [Estimate(np.nan)]
ends = {"begins": begins, "ends": stops, "crossing": found.crossing}
table = {"schedule": [s.name for s in schedules], "its time": [s.clock for s in schedules]}
table |= {name: [s.read(end) for s in schedules] for name, end in ends.items()}
(table := companion.Table(table))

# %%
companion.figure(clocks.rulers(geometry, schedules[1:]), "fig-zone-clocks", data=[data])

# %% [markdown]
# ## The same numbers in their coordinates
#
# A network of the schedule sees $a\,(x + \sigma z)$. So its training set is $a\,x_1, \dots, a\,x_N$
# and its noise has the standard deviation $a\sigma$. Coverage and concentration measured there, at
# the ends of the zone and halfway, with the same noise.

# %%
levels = np.geomspace(geometry.zone.low, geometry.zone.high, 3)
cover = geomem.shell_coverage(data.heldout, images, levels, **how).mean
weight = geomem.max_posterior_weight(images, levels, seed=seed, device=device).mean
apart = []
for schedule in (Schedule.vp(), Schedule.flow()):
    for a, sigma, here, sharp in zip(schedule.scale(levels), levels, cover, weight, strict=True):
        train, heldout = a * images, a * data.heldout
        there = geomem.shell_coverage(heldout, train, [a * sigma], **how).mean[0]
        points = geomem.max_posterior_weight(train, [a * sigma], seed=seed, device=device).mean[0]
        apart.append((schedule.name, sigma, here, there, sharp, points))
names = ["schedule", "sigma", "C at sigma", "C on its clock", "W at sigma", "W on its clock"]
companion.Table(dict(zip(names, zip(*apart, strict=True), strict=True)), digits=5)

# %% [markdown]
# ## What must hold
#
# Both pairs of columns agree, up to the rounding of pixels that are rescaled: coverage counts
# draws, of which rounding may move one across the edge of a shell.

# %%
_, _, *numbers = (np.array(column) for column in zip(*apart, strict=True))
same = max(np.abs(numbers[0] - numbers[1]).max(), np.abs(numbers[2] - numbers[3]).max())
says = "coverage and weight are the same on the clocks of VP and of flow matching, within 0.001"
companion.claim("same-on-clocks", says, same < 1e-3)

# %% tags=["remove-cell"]
clock = {"edm": schedules[0], "linear": ddpm[0], "flow": flows[0]}
read = {name: f"{s.read(begins)} to {s.read(stops)}" for name, s in clock.items()}
read = read if found.medium else dict.fromkeys(read, "none")
spans = dict(zip(("linear", "scaled", "cosine"), (s.sigma([0, 999]) for s in ddpm), strict=True))
spans = {n: " to ".join(f"{float(f'{x:.3g}'):,g}" for x in of) for n, of in spans.items()}
companion.quote(dataset=data.name, dimension=str(data.train[0].size), table=table, **read)
companion.quote(zone=geometry.zone_in_words, same=f"{same:.1g}")
companion.quote(levels=spans, half=begins / 2, half_end=stops / 2)
