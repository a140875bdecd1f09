# %% [markdown]
# # Notebook: gap training, against early stopping
#
# The paper trains without the noise levels of its danger zone, and reports fewer copies and better
# images at once (its Figure 4). Here that is done with the zone that our rule finds, and with a
# wider window of ours; and beside each stands the cheapest remedy there is, to stop training
# early. The chapter is [](../book/gap_training.md).
#
# ```{outcome} gap_training
# ```

# %% tags=["parameters"]
preset: str = "digits-unet"  # which pair of models: a preset's name without -small or -large
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 0  # training images N of the small model, 0 for the preset's number, or in [2, 1e6]
changes: str = ""  # further settings of both models: names, each with an equals sign and its value
gap_low: float = 0.0  # the zone's lower end, 0: by our rule, or in [1e-6, 1e6], below gap_high
gap_high: float = 0.0  # the zone's upper end, data units, 0: by our rule, or in [1e-6, 1e6]
paper_gap: bool = True  # also the paper's gap, carried over; not where an end of the zone is given
copy_gap: bool = True  # also leave out our copy window, which reaches further down
gap_keep: float = 0.1  # share of the noise levels drawn in the copy window that is kept, in [0, 1]
none_kept: bool = True  # also our copy window with nothing kept, trained once
dummy: bool = True  # also the paper's baseline, a second class of noise
trainings: int = 3  # trainings of each kind, of seed, seed + 1, ..., in [1, 100]
repeat_all: bool = True  # false: zone gap, the paper's gap and dummy class are trained once
stop_share: float = 0.125  # share of the training after which a fixed stop stops, in (0, 1]
n_samples: int = 512  # samples of each model, in [20, 1e6]
n_heldout: int = 500  # held-out images, at most; fewer where the set has fewer, in [20, 1e6]
solver: str = "heun"  # how to sample, euler as in the paper, in {heun, euler}
inception: bool = False  # also FID, by the extra `fid` and Inception's weights
n_sigmas: int = 18  # noise levels of the denoising error, in [5, 1000]
c: float = 5.0  # shell parameter of Lemma 4.5, in [0.001, 1000]
level: float = 0.8  # C and W at least this high: the danger zone, in (0, 1)
seed: int = 0  # seed of training, noise and samples, in [0, 1e12]
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
from functools import partial

import numpy as np

from geomem import companion, digitized
from geomem.diffusion import presets
from geomem.digitized.stated import CARS_GAP
from geomem.geometry.intervals import below
from geomem.geometry.window import Window
from geomem.memorization import gaps, study, swaps
from geomem.memorization.case import Case
from geomem.memorization.gap import Gap
from geomem.memorization.stopping import Stopping
from geomem.plots import remedies

how = dict(n_heldout=n_heldout, stop_share=stop_share, seed=seed, device=device)
case = Case.of(preset, dataset, n_train, changes, **how)
small, data = case.small, [case.data]

# %% [markdown]
# ## What is left out
#
# The paper leaves out the danger zone and keeps nothing: the *zone gap*, where our rule puts the
# zone. Its own gap on its cars is wider than our rule's there: it begins where next to nothing is
# covered. *Carried over*, by coverage less concentration at its ends, it is the second gap. The
# *copy window* is ours:
# it reaches down to half of the level where a copy can still be undone ([](../book/swaps.md));
# with a tenth of its draws kept, and with none. Ends are rounded to two digits, so that the last
# bit of a sum does not make another model.

# %%
_, many = case.trained()
reach = companion.kept(case.copy_range)(many.denoise, c=c, level=level)
zone, window = gaps.zone_and_window(reach, gap_low, gap_high)
ours = {"copy gap": Gap(window, gap_keep)}
ours |= {"copy gap, none kept": Gap(window)} if none_kept else {}
given = bool(gap_low or gap_high)  # else by our rule
asked = paper_gap and not given
carried = gaps.carried_over(gaps.PAPER_BALANCES, reach.geometry) if asked else None
left_out = {"zone gap": Gap(zone)} | ({"paper gap": Gap(carried)} if carried else {})
left_out |= ours if copy_gap else {}
companion.Table(gaps.gaps_table(left_out, case.law))

# %% [markdown]
# ## The models
#
# All differ from the plain small model in one thing. The dummy class is a second class of as many
# images of noise; samples are drawn from the first.
#
# When would the held-out loss have said stop? Half of the held-out images choose: on them the
# training loss of the plain model is measured at each snapshot, and the lowest is taken. Nobody
# looks at copies for it. A second rule is simpler yet: stop after a fixed share of the steps.

# %%
new = {"plain": {}} | {name: gap.settings for name, gap in left_out.items()}
new |= {"dummy": case.dummy} if dummy else {}
seeds = range(seed, seed + trainings)
once = {"copy gap, none kept"} | (set() if repeat_all else {"zone gap", "paper gap", "dummy"})
models = case.train(new, [(k, s) for k in new for s in seeds if s == seed or k not in once])
broken = study.broken_down({**models, ("large", seed): many})
stops = {s: Stopping.of(models["plain", s], case.choosing, seed=seed) for s in seeds}
losses = {f"held-out loss, seed {s}": stop.losses for s, stop in stops.items()}
companion.Table({"step": stops[seed].steps, **losses})

# %% [markdown]
# ## Judged alike
#
# Copies: the ratio test against the training set. Error: on the other half of the held-out images.
# Quality: distances of the samples to real images that the small models have not seen; they stand
# between those of real held-out images and of the training set drawn with repeats, a perfect
# copier. One noise level lies in the middle of each gap, however narrow it is.

# %%
middles = [np.sqrt(gap.window.low * gap.window.high) for gap in left_out.values()]
sigmas = np.unique([*np.geomspace(0.01, 20, n_sigmas), *middles])
bench = case.bench(n=n_samples, sigmas=sigmas, solver=solver, inception=inception)
judged = companion.kept(study.judge_all)(bench, models, stops, stop_share)
plain = models["plain", seed]
inside = swaps.swap(plain.denoise, plain.at(stop_share), window)
judged["stopped inside", seed] = bench.judge(inside, small.train.images)
judged["large", seed] = bench.judge_trained(many)
references, found = bench.references(case.heldout), study.Study(judged)
texts = dict(keep=gap_keep, stop_share=stop_share, n_large=len(case.everything.train))
names = remedies.labels(found, zone, window, **texts)
(table := companion.Table(found.table(names, references)))

# %% [markdown]
# Those are the distances of the first training. Two kinds are told apart where the interval of
# their difference leaves no doubt: over trainings, or over samples where there is one training.

# %%
others = ("zone gap", "paper gap", "copy gap", "dummy")
pairs = [(kind, "plain") for kind in (*others, "stopped")]
pairs += [("stopped", kind) for kind in others] + [("zone gap", "dummy"), ("paper gap", "dummy")]
ratios = found.errors(("plain", *others), "stopped")
shaded = [zone, Window(window.low, zone.low)]
fig, plotted = remedies.beside(found, names, ratios, shaded, "stopped")
companion.figure(fig, "fig-gap-stopping", plotted, data=data)
(words := companion.Table(found.comparisons(pairs)))

# %% [markdown]
# When is the held-out loss lowest, and when do copies come? Then the paper's own course, read off
# its Figure 4: cars of CIFAR-10, gap [1, 5], nothing kept, FID. Distances relative to the
# baseline's last, since FID and ours have no common scale.

# %%
shares = [*(share for share in presets.QUARTERS if share in small.train.snapshots), 1]
steps = [small.train.step_of(share) for share in shares]
first = {kind: models[kind, seed] for kind in new}
course = companion.kept(study.course)(bench, first, shares, found)
fig, plotted = remedies.over_training(stops, course, steps, references)
companion.figure(fig, "fig-gap-training", plotted, data=data)

# %%
paper, pca = digitized.load("fig4_gap_training"), "principal components"
beside = "paper gap" if carried else "zone gap"  # which of ours is nearer to theirs
theirs, relative = gaps.paper_course(paper, beside), study.relative_course(shares, course, pca)
companion.figure(remedies.against_paper(theirs, relative), "fig-gap-paper", data=[*data, paper])

# %% [markdown]
# The trade-off: copies across, quality upwards; of each training one mark. And samples from the
# same eight initial noises in every row.

# %%
companion.figure(remedies.trade_off(found, names, references, pca), "fig-gap-tradeoff", data=data)
titles = {kind: kind.replace(" ", "\n", 1) for kind in names}
companion.figure(remedies.sheet(found, titles, 8, case.data.train), "fig-gap-samples", data=data)

# %% [markdown]
# ## What came out
#
# On the book's own data the trainings must go well, and our window must lower memorization. Nothing
# else must hold: what comes out is the finding.

# %%
must, claim = case.own, partial(companion.claim, must=False)
companion.claim("gap-trainings", "every training went well", None if broken else True, must=must)
theirs_too = (gap_low, gap_high) == CARS_GAP
zone_known = theirs_too or bool(reach.geometry.regimes.medium and not given)
if zone_known:
    claim("zone-fewer", "without the danger zone: fewer copies than plain", found.fewer("zone gap"))
    claim("zone-nearer", "zone gap: nearer to unseen images than plain", found.nearer("zone gap"))
if zone_known and dummy:
    says = "without the danger zone: fewer copies than with a dummy class"
    claim("zone-than-dummy", says, found.fewer("zone gap", "dummy"))
if carried:
    says = "without the paper's gap, carried over: fewer copies than plain"
    claim("paper-fewer", says, found.fewer("paper gap"))
if dummy:
    claim("dummy-fewer", "with a dummy class: fewer copies than plain", found.fewer("dummy"))
    claim("dummy-nearer", "dummy: nearer to unseen images than plain", found.nearer("dummy"))

# %%
if copy_gap:
    says = "without our copy window: fewer copies than plain"
    usual = must and (c, level, gap_keep) == (5.0, 0.8, 0.1) and not broken
    claim("window-fewer", says, found.fewer("copy gap"), must=usual)
    claim("window-nearer", "copy gap: nearer to unseen images than plain", found.nearer("copy gap"))
if copy_gap and dummy:
    says = "without our copy window: fewer copies than with a dummy class"
    claim("window-than-dummy", says, found.fewer("copy gap", "dummy"))

# %%
gap = "copy gap" if copy_gap else "zone gap"  # that early stopping is held against
ratio, levels = ratios[gap], left_out[gap].window.contains(sigmas)
says = "stopped at the lowest held-out loss: fewer copies than plain"
claim("stopped-fewer", says, found.fewer("stopped"))
as_few = found.fewer("stopped", gap, by=0.05)
claim("stopped-as-few", "stopped early, as few copies: within 5%", as_few)
if levels.any():
    says = "inside the gap its held-out error is lower than the stopped model's, nowhere higher"
    claim("gap-error-lower", says, ratio.mostly_lower(levels))
says = "the gap's samples are nearer to unseen images than the stopped model's"
claim("gap-nearer", says, found.nearer(gap, "stopped"))
says = "the stopped model's samples are less than twice as rough as new images"
claim("stopped-smooth", says, below(found.rough("stopped"), 2.0))
says = "the gap's samples are less than twice as rough as new images"
claim("gap-smooth", says, below(found.rough(gap), 2.0))

# %% tags=["remove-cell"]
every = f"{trainings} trainings" if trainings > 1 else "one training"
zone_is = "the gap that this run was given" if given else "the danger zone"
absent = "not in this run"
companion.quote(**case.in_words(stops, stop_share), **bench.in_words())
companion.quote(**found.in_words(("plain", "stopped", *others), pairs))
companion.quote(**gaps.in_words(found, gap, left_out[gap].window))
companion.quote(gap={"copy gap": "our copy window", "zone gap": zone_is}[gap])
companion.quote(gap_trainings=every if copy_gap or repeat_all else "one training", trainings=every)
companion.quote(over=f"{every} and images" if trainings > 1 else "images")
companion.quote(zone_trainings=every if repeat_all else "one training", zone=zone.in_words)
companion.quote(zone_rule="" if zone_known or given else " (the rule finds none)", zone_is=zone_is)
companion.quote(zone_whose="the gap is given" if given else "our zone")
companion.quote(paper_window=carried.in_words if carried else "none")
companion.quote(paper_left_out=f"{carried.in_words}, all of it" if carried else absent)
companion.quote(kept=f"{gap_keep:.0%} of them are kept" + (", or none" if none_kept else ""))
companion.quote(copy_here="" if copy_gap else f" ({absent})", broken=study.broken_in_words(broken))
companion.quote(dummy_here="" if dummy else f" ({absent})", plain_error=ratios["plain"].in_words())
companion.quote(zone_mass=f"{left_out['zone gap'].mass(case.law):.0%}")
companion.quote(zone_gap_error=ratios["zone gap"].in_words(zone.contains(sigmas)))
companion.quote(window=window.in_words, window_mass=f"{ours['copy gap'].mass(case.law):.0%}")
companion.quote(table=table, words=words, **found.framed(("plain", "stopped", "zone gap"), 8))
companion.quote(stop_cost=f"{100 * found.cost('stopped'):.3g}%", snapshots=len(shares))
companion.quote(gap_relative=f"{relative[beside][-1][2].value:.2f}")
companion.quote(beside="that gap, carried over" if carried else "the danger zone")
companion.quote(beside_window=left_out[beside].window.in_words)
companion.quote(paper_gap_relative=f"{theirs[beside][-1][2].value:.2f}")
