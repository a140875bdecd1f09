# %% [markdown]
# # Notebook: your own model
#
# A network that predicts noise, as DDPM has it, and one of a flow, trained in plain torch on a few
# dozen images, until they memorize: no training code of this package is used. How does one see
# it, and what helps: a gap in the noise levels, or stopping early? All of it is our addition. The
# chapter is [](../book/your_own_model.md).
#
# ```{outcome} your_own_model
# ```

# %% tags=["parameters"]
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 32  # training images N, in [20, 1e6]
n_heldout: int = 500  # held-out images: half choose, half judge, in [40, 1e6]
ddpm_steps: int = 2500  # training steps of the network that predicts noise, in [50, 1e6]
flow_steps: int = 1500  # of the network that predicts velocity, in [50, 1e6]
width: int = 192  # width of both networks, in [2, 1e5]
keep: float = 0.1  # share of the draws in the suggested gap that is kept, in [0, 1]
trainings: int = 3  # trainings of each kind, of seed, seed + 1, ..., in [1, 100]
looks: int = 16  # how often each training is looked at, in [2, 1000]
n_samples: int = 512  # samples of each network, in [20, 1e6]
n_sigmas: int = 13  # noise levels of the denoising error, in [5, 1000]
seed: int = 0  # seed of training, noise and samples, in [0, 1e12]
device: str = "auto"  # where to measure; training is on the CPU, in {auto, cpu, cuda}

# %%
from copy import deepcopy
from functools import partial
from itertools import product

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import geomem
from geomem import companion
from geomem.geometry.intervals import above, below, every
from geomem.geometry.window import Window
from geomem.memorization.quality import PrincipalComponents, unseen_images
from geomem.memorization.remedies import Bench
from geomem.memorization.stopping import split_heldout
from geomem.memorization.study import Study
from geomem.plots import own, remedies
from geomem.report.asked import FEW

# %%
torch.set_num_threads(1)  # networks this small gain nothing by a second one
data = geomem.load_dataset(dataset, n_train=n_train)
choosing, judging = split_heldout(data.heldout[:n_heldout])
unseen = unseen_images(data.train, geomem.load_dataset(dataset).train)
apart = len(np.unique(geomem.DistinctImages(data.train, device, twins=True).group))
if min(apart, len(judging)) < FEW:  # before anything is trained: the audit at the end needs them
    raise ValueError(
        f"your_own_model: {apart} training images that are no near twins and {len(judging)} "
        f"held-out ones that judge (half of them) are too few; take {FEW} or more of each."
    )
images, batch = torch.from_numpy(np.asarray(data.train)).float(), 64

# %% [markdown]
# ## Two networks, one loop
#
# One small network serves both. DDPM counts noise in 1,000 timesteps, and its network predicts the
# noise; a flow goes from the image at $t = 0$ to the noise at $t = 1$, and its network predicts the
# velocity, noise less image.


# %%
class Net(nn.Module):
    def __init__(self, d: int, clock: float):
        super().__init__()
        self.clock = clock  # the largest time
        self.first, self.last = nn.Linear(d + 32, width), nn.Linear(width, d)
        norm, linear = partial(nn.LayerNorm, width), partial(nn.Linear, width, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(norm(), linear(), nn.SiLU(), linear()) for _ in range(3)
        )

    def forward(self, x, t):
        angle = t.to(x.dtype)[:, None] / self.clock * torch.arange(1, 17) * torch.pi
        h = self.first(torch.cat([x.flatten(1), angle.sin(), angle.cos()], 1))
        for block in self.blocks:
            h = h + block(h)
        return x + self.last(h).view_as(x)


# %%
alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)
steps, clocks = {"DDPM": ddpm_steps, "flow": flow_steps}, {"DDPM": 1000.0, "flow": 1.0}


def train(kind, seed, gap):
    torch.manual_seed(seed)
    net = Net(images[0].numel(), clocks[kind])
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    adam = torch.optim.Adam(net.parameters())
    pace = torch.optim.lr_scheduler.OneCycleLR(adam, 4e-3, steps[kind], pct_start=0.05)
    weights = gap.timestep_weights(alpha_bar)  # without a gap: torch.ones(1000)
    for step in range(1, steps[kind] + 1):
        x = images[torch.randint(len(images), (batch,))]
        z = torch.randn_like(x)
        if kind == "DDPM":
            t = torch.multinomial(weights, batch, replacement=True)
            a = alpha_bar[t].view(-1, 1, 1, 1)
            noisy, target = a.sqrt() * x + (1 - a).sqrt() * z, z
        else:
            t = gap.flow_times(torch.rand(batch), data_at=0)  # without a gap: torch.rand(batch)
            s = t.view(-1, 1, 1, 1)
            noisy, target = (1 - s) * x + s * z, z - x
        adam.zero_grad()
        (net(noisy, t) - target).square().mean().backward()
        adam.step()
        pace.step()
        average.update_parameters(net)
        yield step, average


# %% [markdown]
# To geomem each is a denoiser, once it is told the schedule and what is predicted.

# %%
take, flow = partial(geomem.denoiser, quiet=True), geomem.Schedule.flow(data_at=0)
asked = {"DDPM": partial(take, schedule=alpha_bar, prediction="epsilon")}
asked["flow"] = partial(take, schedule=flow, prediction="velocity")
for kind, clock in clocks.items():
    print(asked[kind](Net(images[0].numel(), clock)))

# %% [markdown]
# ## A gap, from the images alone
#
# Where to train less needs no network: a Gaussian of the images, shrunk, stands in for one. Beside
# it the danger zone alone, of which nothing is kept, as the paper prescribes.

# %%
suggest = companion.kept(geomem.suggest_gap)
gap = suggest(data.train, choosing, keep=keep, seed=seed, device=device)
left_out = ({"zone gap": geomem.Gap(gap.zone)} if gap.zone else {}) | {"copy gap": gap}
print(gap.evidence)
(units := companion.Table({"in": [*gap.in_words()], "the gap": [*gap.in_words().values()]}))

# %% [markdown]
# ## Trained until they memorize, and watched
#
# A monitor looks at every training now and then, at the loss on held-out images and at the copies
# among a few samples. By the held-out images alone it says when it would have stopped; here
# training goes on, to see what stopping saves. The network of the best look is kept. What
# `companion.kept` marks is computed once: a colour changed below trains nothing again.


# %%
@companion.kept
def watched(kind, seed):
    watch, told = geomem.Monitor(data.train, choosing, quiet=True, device=device), None
    when = {*np.geomspace(50, steps[kind], looks).astype(int).tolist()}
    for step, average in train(kind, seed, geomem.Gap(Window(0, 0))):
        if step in when:
            watch.look(step, asked[kind](average))
            if watch.best == step and told is None:
                best = deepcopy(average.module)
            told = step if watch.stop and told is None else told
    return watch, told, average.module, best


@companion.kept
def trained(kind, seed, gap):
    *_, (_, average) = train(kind, seed, gap)
    return average.module


# %% [markdown]
# All are judged alike: by samples from the same noises, by the other half of the held-out images,
# and by the distance to real images that no network here has seen.

# %%
features = {"principal components": PrincipalComponents.of(unseen)}
bench = Bench(
    geomem.DistinctImages(data.train, device), judging, unseen, features,
    n=n_samples, sigmas=np.geomspace(0.03, 30, n_sigmas), seed=seed, device=device,
)  # fmt: skip
judge, seeds = companion.kept(bench.judge), range(seed, seed + trainings)
monitors, told, denoisers, judged = {}, {}, {}, {kind: {} for kind in steps}
for kind, s in product(steps, seeds):
    monitors[kind, s], told[kind, s], *networks = watched(kind, s)
    networks += [trained(kind, s, gap) for gap in left_out.values()]
    for name, network in zip(["plain", "stopped", *left_out], networks, strict=True):
        done = (name == "stopped" and told[kind, s]) or steps[kind]
        denoise = denoisers[kind, name, s] = asked[kind](network)
        judged[kind][name, s] = judge(denoise, batch * done, seed=s)
found = {kind: Study(judged[kind]) for kind in steps}

# %%
firsts = {kind: monitors[kind, seed] for kind in steps}
companion.figure(own.watched(firsts), "fig-own-watched", data=[data])

# %% [markdown]
# ## What each bought

# %%
names = {"plain": "to the end", "stopped": "stopped early", "zone gap": "zone left out"}
names = {name: label for name, label in names.items() if name in found["DDPM"]}
names |= {"copy gap": f"gap, {keep:.0%} kept"}
shown = dict(names=names, sigmas=(0.3, 1, 3), distance="principal components")
tables = {kind: companion.Table(study.overview(**shown)) for kind, study in found.items()}
tables["DDPM"]

# %%
beneath = Window(gap.window.low, gap.zone.low if gap.zone else gap.window.high)
shaded = [gap.zone or beneath, beneath]
others = [name for name in names if name != "stopped"]
for id, study in zip(("fig-own-ddpm", "fig-own-flow"), found.values(), strict=True):
    ratios = study.errors(others, "stopped")
    fig, table = remedies.beside(study, names, ratios, shaded, "stopped")
    companion.figure(fig, id, table, data=[data])
tables["flow"]

# %% [markdown]
# Samples of the flow from the same eight initial noises; a red double frame marks a copy.

# %%
titles = {name: name.replace(" ", "\n") for name in names}
fig, table = remedies.sheet(found["flow"], titles, 8, data.train)
companion.figure(fig, "fig-own-samples", table, data=[data])

# %% [markdown]
# ## Who was in the training set?
#
# An attacker who can ask the network takes an image that it denoises well for a training image. At
# which noise levels does he tell? Images that no network was trained on, from the same part of the
# collection as the training images, are the control: what tells them from the held-out ones is
# no membership.

# %%
how = dict(sigmas=bench.sigmas, seed=seed, device=device)
tell = partial(geomem.membership, heldout=judging, **how)
strangers = unseen[:: max(1, len(unseen) // len(judging))]
first = {key: denoisers[(*key, seed)] for key in product(steps, names)}
attacks = {key: tell(denoise, data.train) for key, denoise in first.items()}
controls = {key: tell(denoise, strangers) for key, denoise in first.items()}
telling = {"at the worst level": [*attacks.values()], "of strangers": [*controls.values()]}
companion.Table({"network": [*map(", ".join, attacks)], **telling})

# %%
companion.figure(own.told_apart(attacks), "fig-own-membership", data=[data])

# %% [markdown]
# ## All at once
#
# `geomem.audit` makes one report of it. Of the flow's first trainings:

# %%
first = {names[name]: denoisers["flow", name, seed] for name in ("plain", "stopped", "copy gap")}
report = geomem.audit(data.train, judging, model=first, seed=seed, device=device, quiet=True)
compared = report.parts["compared"]
(audited := companion.Table(compared.tables["The models"]))

# %%
print(*compared.said, sep="\n")

# %% [markdown]
# ## What came out
#
# Of both networks at once; nothing of it must hold.

# %%
claim, both = partial(companion.claim, must=False), found.values()
says = "trained to the end both networks copy more than held-out images pass the test by chance"
floor = max(watch.floor.high for watch in monitors.values())
claim("copies", says, every(above(study.share("plain"), floor) for study in both))
says = "with the suggested gap: fewer copies than plain"
claim("gap-fewer", says, every(study.fewer("copy gap") for study in both))
says = "with the gap the held-out error inside it is below plain's, and nowhere there above it"
inside = gap.window.contains(bench.sigmas)
lower = [study.error("copy gap", "plain").mostly_lower(inside) for study in both]
claim("gap-error", says, every(lower) if inside.any() else None)
if gap.zone:
    says = "without the danger zone: fewer copies than plain"
    claim("zone-fewer", says, every(study.fewer("zone gap") for study in both))
    says = "with the suggested gap: fewer copies than without the danger zone"
    claim("gap-than-zone", says, every(study.fewer("copy gap", "zone gap") for study in both))

# %%
says = "stopped by held-out images alone: fewer copies than plain"
claim("stopped-fewer", says, every(study.fewer("stopped") for study in both))
says = "every monitor says stop, and what it keeps copies no more than new images pass by chance"
begun = {key: watch.copies_begin for key, watch in monitors.items()}
clean = [below(study.share("stopped"), floor) for study in both]
claim("stop-in-time", says, every([all(told.values()), *clean]))
says = "the gap's samples are nearer to unseen images than the stopped network's"
claim("gap-nearer", says, every(study.nearer("copy gap", "stopped") for study in both))
says = "and the stopped network's nearer than the gap's"
claim("stopped-nearer", says, every(study.nearer("stopped", "copy gap") for study in both))
says = "whatever the remedy, the denoising error tells training images better than strangers"
beyond = [controls[key].auc.below(one.auc.low[one.worst]) for key, one in attacks.items()]
claim("attack", says, every(beyond))

# %% tags=["remove-cell"]
every = f"{trainings} trainings" if trainings > 1 else "one training"
over = "images and samples"
worst = (one.auc.estimate(one.worst) for one in controls.values())
control = max(worst, key=lambda auc: auc.value)
companion.quote(every=every, over=f"trainings, {over}" if trainings > 1 else over)
companion.quote(zone=gap.zone.in_words if gap.zone else "none", gap=gap.window.in_words)
companion.quote(kept=f"{keep:.0%}", evidence=gap.evidence, units=units, n_judging=len(judging))
companion.quote(largest=f"{bench.sigmas[-1]:.2g}", audited=audited, audit=" ".join(compared.said))
companion.quote(n_choosing=len(choosing), n_unseen=len(unseen), n_quality=bench.compared)
companion.quote(strangers=len(strangers), control=f"{control:.2f}")
pairs = [("stopped", "plain"), ("copy gap", "plain"), ("zone gap", "plain")]
pairs += [("copy gap", "zone gap"), ("stopped", "copy gap")]
for kind, study in found.items():
    mine = [key for key in monitors if key[0] == kind]
    said = study.in_words(["plain", "stopped", "zone gap", "copy gap"], pairs)
    shares = {name.replace(" ", "_"): study.share(name).percent for name in names}
    asked_of = {name.replace(" ", "_"): attacks[kind, name] for name in names}
    worst = {name: (of.auc.estimate(of.worst), of.sigma[of.worst]) for name, of in asked_of.items()}
    attacked = {name: f"{auc:.2f} at σ = {level:.2g}" for name, (auc, level) in worst.items()}
    said |= dict(share={"zone_gap": "not in this run"} | shares, attack=attacked)
    said |= dict(attack_end=f"{attacks[kind, 'plain'].auc.estimate(-1):.2f}")
    against = {other: study.error("copy gap", other) for other in ("plain", "stopped")}
    said |= {f"error_{other}": ratio.in_words(inside) for other, ratio in against.items()}
    there = against["stopped"]
    said |= dict(error_outside=there.in_words(~inside), error_largest=there.estimate(-1))
    said |= dict(best=[monitors[key].best for key in mine], table=tables[kind])
    said |= dict(told=[told[key] or "never" for key in mine], **study.framed(names, 8))
    said |= dict(begin=[begun[key] or "never" for key in mine])
    said |= dict(distance=study.quality("copy gap", "stopped")["principal components"])
    companion.quote(**{kind.lower(): said})
