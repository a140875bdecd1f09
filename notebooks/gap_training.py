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
# # Notebook: gap training, and what it costs
#
# **Claim.** A model that hardly trains at medium noise memorizes far less (the paper's Figure 4).
# Whether its samples stay as good is measured, not assumed, and compared with simply stopping
# early. The chapter is [](../book/gap_training.md).

# %% tags=["parameters"]
preset: str = "digits-unet"  # how to train, in {digits-mlp, digits-unet, cifar10-luma, cifar10}
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 0  # training images N of the small model, 0 for the preset's number, in [0, inf)
changes: str = ""  # further settings of both models: names, each with an equals sign and its value
gap_low: float = 0.0  # lower end of the gap, data units, 0 for the rule's, in [0, inf)
gap_high: float = 0.0  # upper end of the gap, data units, 0 for the rule's, in [0, inf)
gap_keep: float = 0.1  # share of the noise levels drawn in the gap that is kept, in [0, 1]
zone_gap: bool = True  # also a gap of the danger zone alone, of which nothing is kept
n_samples: int = 512  # samples of each model at each snapshot, in [20, inf)
n_heldout: int = 500  # held-out images, at most; fewer where the set has fewer, in [20, inf)
solver: str = "heun"  # how to sample, euler as in the paper, in {heun, euler}
inception: bool = False  # also FID, by the extra `fid` and Inception's weights
n_sigmas: int = 18  # noise levels of the denoising error, in [5, inf)
c: float = 5.0  # shell parameter of Lemma 4.5, in (0, inf)
level: float = 0.8  # C and W at least this high: the danger zone, in (0, 1)
seed: int = 0  # seed of training, noise and samples, in [0, inf)
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np

from geomem import digitized, drawing, experiments, figures, memorization, quality, sampler
from geomem import store, swaps, train
from geomem.window import Window

plt.style.use(figures.STYLE)
small, large = experiments.pair(
    preset, dataset=dataset, n_train=n_train, changes=changes, seed=seed, device=device
)
fid = quality.InceptionFeatures(device=train.device_of(device)) if inception else None
data, everything = small.data.load(), large.data.load()
unseen = quality.unseen_images(data.train, everything.train)
heldout = data.heldout[:n_heldout]
distinct = memorization.DistinctImages(data.train, device)
print(f"{data.name}: {len(data.train)} training images, {len(heldout)} held-out images")

# %% [markdown]
# ## The gap
#
# Its upper end is that of the danger zone, by our rule. Its lower end is half of the level where
# a copy can still be undone ([](../book/swaps.md)), since the zone alone is too narrow. For that
# rule the large model's error is needed. The paper leaves out the zone itself: the `zone gap`.
# Ends are rounded to two digits, so that the last bit of a sum does not make another model.

# %%
plain, many = store.train_or_load([small, large])
settings = dict(c=c, level=level, seed=seed, device=device)
reach = swaps.CopyRange.of(distinct, heldout, many.denoise, **settings)
ends = (gap_low or reach.window.low, gap_high or reach.window.high)
rounded = [float(f"{end:.2g}") for end in ends]
gaps = {"gap": (Window(*rounded), gap_keep)}
if zone_gap and reach.regimes.medium:
    gaps["zone gap"] = (Window(*(float(f"{end:.2g}") for end in reach.regimes.medium)), 0.0)
law = small.train.for_images(data.train).noise
mass = {n: float(law.cdf(w.high) - law.cdf(w.low)) for n, (w, _) in gaps.items()}
for name, (window, keep) in gaps.items():
    print(
        f"{name}: {window}, where {mass[name]:.0%} of the draws fall; {keep:.0%} of them are kept"
    )

# %% [markdown]
# ## The models
#
# All differ from the plain small model in one thing. The dummy class is a second class of as many
# images of noise; samples are drawn from the first. (Its mean and standard deviation are set to
# the real images': those of both classes together would shift the noise levels it is trained at.)

# %%
own = small.train.for_images(data.train).model
chosen = {"plain": small} | {
    name: experiments.changed(
        small,
        {
            "train.noise.gap_low": window.low,
            "train.noise.gap_high": window.high,
            "train.noise.gap_keep": keep,
        },
    )
    for name, (window, keep) in gaps.items()
}
chosen["dummy"] = experiments.changed(
    small,
    {
        "data.dummy": True,
        "train.model.n_classes": 2,
        "train.model.mean": own.mean,
        "train.model.sigma_data": own.sigma_data,
    },
)
models = dict(zip(chosen, store.train_or_load([*chosen.values()]), strict=True))
shares = [*small.train.snapshots, 1]
steps = [small.train.step_of(share) for share in shares]
early = shares[min(1, len(shares) - 1)]  # of the snapshot that is used inside the gap only
denoisers = {(name, share): models[name].at(share) for name in models for share in shares}
denoisers |= {("dummy", share): denoisers["dummy", share].given(0) for share in shares}
denoisers["early inside", 1] = swaps.swap(plain.denoise, denoisers["plain", early], gaps["gap"][0])
denoisers["large", 1] = many.denoise

# %% [markdown]
# ## Did every training go well?
#
# A network that broke down while training memorizes nothing, and that is no success of a gap. So
# the loss must end below where it was after an eighth of the steps. (It differs between models
# also because they are trained at different noise levels.)

# %%
course = models | {"large": many}
broken = [name for name, trained in course.items() if trained.broke_down]
for name, trained in course.items():
    before, after = trained.course()
    print(f"{name}: mean loss {before:.3f} after an eighth of the steps, {after:.3f} at the end")

# %% [markdown]
# ## Samples: how many are memorized, and how good are they
#
# Memorized: the ratio test against the training set. Quality: the Frechet distance to real images
# that the small models have not seen, on principal components and on features of a classifier; and
# the sliced Wasserstein distance of the pixels to as many of them.
# A distance says nothing alone. It stands between that of real held-out images and that of the
# training set itself, drawn with repeats, at the same number of images: what a perfect copier gets.

# %%
shape = data.train.shape[1:]
options = dict(seed=seed, solver=solver, device=next(plain.denoise.parameters()).device)
pictures = {
    key: sampler.sample(denoise, shape, n_samples, **options).numpy()
    for key, denoise in denoisers.items()
}
passed = {
    key: memorization.neighbours(images, distinct).memorized() for key, images in pictures.items()
}
share_of = {
    key: memorization.Fraction.of(int(found_.sum()), n_samples) for key, found_ in passed.items()
}

change = {
    key: swaps.paired_difference(passed["plain", 1], found_, seed=seed)
    for key, found_ in passed.items()
}

# %%
n_quality = min(n_samples, len(heldout), len(unseen))
labels = everything.labels.train
features = {"principal components": quality.PrincipalComponents.of(unseen)}
accuracy = np.nan
if len(np.unique(labels)) > 1:
    features["classifier features"] = quality.ClassifierFeatures.of(
        everything.train, labels, data.heldout, data.labels.heldout, seed=seed
    )
    accuracy = features["classifier features"].accuracy
if fid is not None:
    features["Inception features (FID)"] = fid
repeats = np.random.default_rng(seed).integers(len(data.train), size=n_quality)
real = np.random.default_rng(seed).permutation(heldout)  # a set's last images may differ
judged = pictures | {("held-out", 1): real, ("training set", 1): data.train[repeats]}
judged = {key: images[:n_quality] for key, images in judged.items()}
distance = {}
for kind, of in features.items():
    target = of(unseen)
    distance[kind] = {
        key: quality.frechet_estimate(of(images), target) for key, images in judged.items()
    }
target = np.random.default_rng(seed).permutation(unseen)[:n_quality]
distance["sliced Wasserstein"] = {
    key: quality.sliced_estimate(images, target, seed=seed) for key, images in judged.items()
}
print(f"{n_quality} images against {len(unseen):,} unseen ones; the classifier: {accuracy:.1%}")
for key in judged:
    memorized = share_of.get(key, "-")
    values = "; ".join(f"{kind} {found_[key]}" for kind, found_ in distance.items())
    print(f"{key[0]:12} {key[1]:5}: memorized {memorized}; {values}")
print("change of the memorized share against the plain model, at the end, paired by initial noise:")
for name in [*models, "early inside"][1:]:
    print(f"  {name}: {change[name, 1]}")

# %% tags=["hide-input", "remove-output"]
looks = {
    "plain": dict(color="C1", marker="o", ls="-"),
    "gap": dict(color="C2", marker="s", ls="--"),
    "zone gap": dict(color="C3", marker="D", ls="-."),
    "dummy": dict(color="C0", marker="^", ls=":"),
    "large": dict(color="0.4", marker="*", ls="-"),
    "early inside": dict(color="k", marker="x"),
}
names = {
    "plain": "plain",
    "gap": f"gap {gaps['gap'][0]}",
    "zone gap": f"zone gap {gaps['zone gap'][0]}" if "zone gap" in gaps else "",
    "dummy": "dummy class",
    "early inside": "early inside the gap",
    "large": f"large, N = {len(everything.train):,}",
}
panels = {"memorized": share_of, **distance}
fig, axes = plt.subplots(len(panels), 1, figsize=(4.8, 2.1 * len(panels) + 0.8), sharex=True)
for ax, (kind, values) in zip(axes, panels.items(), strict=True):
    for name in models:
        rows = [values[name, share] for share in shares]
        mean, low, high = np.array([(r.value, r.low, r.high) for r in rows]).T
        ax.plot(steps, mean, ms=4.5, label=names[name], **looks[name])
        ax.fill_between(steps, low, high, color=looks[name]["color"], alpha=0.2, lw=0)
    if kind == "memorized":
        ax.set(ylabel="memorized share", ylim=(-0.03, 1.03))
        continue
    ax.axhline(values["held-out", 1].value, color="0.4", ls=":", label="real, held out")
    ax.axhline(values["training set", 1].value, color="0.4", ls="--", label="training set")
    ax.set(ylabel=f"Frechet distance,\n{kind}" if kind in features else kind, ylim=(0, None))
axes[-1].set_xlabel("training step")
fig.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncol=2)
figures.save(
    fig,
    "fig-gap-training",
    title="Memorization and quality over gap training",
    caption=(
        rf"Above: memorized share of {n_samples} samples on {data.name} ($N = {len(data.train)}$). "
        rf"Below: Frechet distance of {n_quality} of them to {len(unseen):,} unseen real "
        rf"images, and sliced Wasserstein distance to {n_quality} (bands: 95% intervals). Dotted: "
        rf"real held-out images; dashed: the training set drawn with repeats, a perfect copier's "
        rf"score. Gap: {gaps['gap'][1]:.0%} of the training's noise levels in it are kept"
        + ("; zone gap: none." if "zone gap" in gaps else ".")
    ),
    alt=(
        f"At the end the plain model memorizes {share_of['plain', 1].value:.2g} of its samples, "
        f"the gap model {share_of['gap', 1].value:.2g} and the dummy class "
        f"{share_of['dummy', 1].value:.2g}; below, their Frechet distances over training."
    ),
    table={
        "model [name]": [name for name in models for _ in shares],
        "step [count]": steps * len(models),
        **{
            f"{kind}, {what}": [
                getattr(values[name, share], attribute) for name in models for share in shares
            ]
            for kind, values in panels.items()
            for what, attribute in (
                ("value [fraction, feature units squared or data units]", "value"),
                ("low [95% interval]", "low"),
                ("high [95% interval]", "high"),
            )
        },
    },
    paper_item="Figure 4",
    claim="paper",
    data=[data],
    seeds={"training": seed, "samples": seed, "classifier": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-gap-training
# :again:
# ```

# %% [markdown]
# ## The paper's own course
#
# Read off the paper's Figure 4: cars of CIFAR-10, gap [1, 5], nothing kept, FID. Ours beside it
# over the share of the training done; distances relative to the baseline's last, since FID and our
# distances have no common scale.

# %%
paper = digitized.load("fig4_gap_training")
done = paper["iterations_k"] / 40
pca = distance["principal components"]
courses = {}  # (source, model) -> share of the training, memorized, distance over the baseline's
for name, column in (("plain", "baseline"), ("gap", "gap"), ("dummy", "dummy")):
    fid = paper[f"fid_{column}"] / paper["fid_baseline"][-1]
    courses["paper", name] = np.c_[done, paper[f"mem_{column}_pct"] / 100, fid]
    courses["ours", name] = np.array(
        [(s, share_of[name, s].value, pca[name, s].value / pca["plain", 1].value) for s in shares]
    )
for (source, name), rows in courses.items():
    print(f"{source}, {name}: at the end {rows[-1, 1]:.1%} memorized, distance {rows[-1, 2]:.2f}")

# %% tags=["hide-input", "remove-output"]
fig, panel = plt.subplots(2, 1, figsize=(4.8, 4.8), sharex=True)
for (source, name), rows in courses.items():
    look = looks[name] | (
        dict(ls="none", ms=5) if source == "paper" else dict(ls="-", lw=1, marker="")
    )
    for ax, values in zip(panel, rows.T[1:], strict=True):
        ax.plot(rows[:, 0], values, label=f"{source}: {name}", **look)
panel[0].set(ylabel="memorized share", ylim=(-0.03, 1.03))
panel[1].set(ylabel="distance over\nthe baseline's last", xlabel="share of the training done")
panel[1].set_ylim(0, None)
fig.legend(*panel[0].get_legend_handles_labels(), loc="outside lower center", ncol=3)
figures.save(
    fig,
    "fig-gap-paper",
    title="Gap training in the paper and here",
    caption=(
        "Marks: the paper's Figure 4, read off: CIFAR-10 cars, $N = 2{,}000$, gap $[1, 5]$; below, "
        f"its FID as a share of the baseline's last. Lines: ours on {data.name}, gap "
        f"{gaps['gap'][0]}; below, the Frechet distance on principal components, likewise."
    ),
    alt=(
        "In the paper the gap model and the dummy class end with a smaller FID than the baseline, "
        f"{courses['paper', 'gap'][-1, 2]:.2f} and {courses['paper', 'dummy'][-1, 2]:.2f} of it; "
        f"here the distances end at {courses['ours', 'gap'][-1, 2]:.2g} and "
        f"{courses['ours', 'dummy'][-1, 2]:.2g} of the plain model's."
    ),
    table={
        "source [name]": [source for (source, _), rows in courses.items() for _ in rows],
        "model [name]": [name for (_, name), rows in courses.items() for _ in rows],
        **dict(
            zip(
                (
                    "share of the training [fraction]",
                    "memorized [fraction]",
                    "distance over the baseline's last [ratio]",
                ),
                np.concatenate([*courses.values()]).T,
                strict=True,
            )
        ),
    },
    paper_item="Figure 4",
    claim="paper",
    data=[data, paper],
    seeds={"training": seed, "samples": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-gap-paper
# :again:
# ```

# %% [markdown]
# ## The trade-off
#
# Two baselines cost no training. Early stopping: the plain model's own snapshots. And its snapshot
# after a quarter of the training, used only inside the gap, the finished model outside.

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots(figsize=(4.8, 4.4))
for name in [*models, "early inside", "large"]:
    keys = [key for key in denoisers if key[0] == name]
    x, y = (np.array([v[key].value for key in keys]) for v in (share_of, pca))
    color, marker = looks[name]["color"], looks[name]["marker"]
    ax.plot(x, y, lw=1, ls="-", color=color)
    ax.errorbar(x[-1], y[-1], pca[keys[-1]].high - y[-1], color=color, lw=1, capsize=2)
    size = np.linspace(60, 12, len(x))[::-1]
    ax.scatter(x, y, s=size, color=color, marker=marker, zorder=3, label=names[name])
ax.axhline(pca["held-out", 1].value, color="0.4", ls=":", label="real, held out")
ax.axhline(pca["training set", 1].value, color="0.4", ls="--", label="training set")
ax.set(xlabel="share of memorized samples", ylim=(0, None), xlim=(-0.03, 1.03))
ax.set_ylabel("Frechet distance,\nprincipal components")
fig.legend(loc="outside lower center", ncol=2)
figures.save(
    fig,
    "fig-gap-tradeoff",
    title="Memorization against quality",
    caption=(
        rf"Each model at its snapshots (after {', '.join(f'{s:,}' for s in steps)} steps; the "
        rf"marks grow) on {data.name}: memorized share of {n_samples} samples against the Frechet "
        rf"distance on principal components of {n_quality} (bars, at the end of training: 95% "
        rf"intervals). The plain curve is early stopping. "
        rf"Dotted: real held-out images; dashed: the training set drawn with repeats."
    ),
    alt=(
        "Memorized share across, Frechet distance upwards. The plain model's snapshots run to the "
        f"right; the gap model ends at {share_of['gap', 1].value:.2g} memorized with distance "
        f"{pca['gap', 1].value:.2g}, the plain one at {share_of['plain', 1].value:.2g} with "
        f"{pca['plain', 1].value:.2g}."
    ),
    table={
        "model [name]": [name for name, _ in denoisers],
        "share of the training [fraction]": [share for _, share in denoisers],
        "memorized [fraction]": [share_of[key].value for key in denoisers],
        **{
            f"distance, {kind} [feature units squared or data units]": [
                values[key].value for key in denoisers
            ]
            for kind, values in distance.items()
        },
    },
    paper_item="Figures 4 and 9",
    claim="ours",
    data=[data],
    seeds={"training": seed, "samples": seed, "classifier": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-gap-tradeoff
# :again:
# ```

# %% [markdown]
# ## Samples
#
# The same eight initial noises in every row.

# %% tags=["hide-input", "remove-output"]
lines = [*((name, 1) for name in models), ("plain", early), ("early inside", 1), ("large", 1)]
titles = [*models, f"plain,\nstep {small.train.step_of(early):,}", "early\ninside", "large"]
rows = [(title, pictures[key][:8]) for title, key in zip(titles, lines, strict=True)]
fig = drawing.image_grid(rows, [str(i) for i in range(8)], [passed[key][:8] for key in lines])
figures.save(
    fig,
    "fig-gap-samples",
    title="Samples with and without a gap",
    caption=(
        f"Samples on {data.name} from eight initial noises (columns), of each model at the "
        f"end of its training, of the plain model after {small.train.step_of(early):,} steps, and "
        "of that snapshot used only inside the gap. Red frame: memorized."
    ),
    alt=(
        f"Rows of eight images. {int(passed['plain', 1][:8].sum())} of the plain model's have a "
        f"red frame, {int(passed['gap', 1][:8].sum())} of the gap model's."
    ),
    table=drawing.pixel_table(np.arange(8), rows, "initial noise [index]"),
    paper_item="Figures 20 to 23",
    claim="ours",
    data=[data],
    seeds={"training": seed, "samples": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-gap-samples
# :again:
# ```

# %% [markdown]
# ## The denoising error on held-out images
#
# No feature, no reference set: how well does each model denoise images it has not seen? As a ratio
# to the plain model's error, image by image with the same noise. Below one is better.

# %%
sigmas = np.geomspace(0.01, 20, n_sigmas)
errors = {
    name: memorization.denoising_error(
        denoisers[name, 1], heldout, sigmas, seed=seed, device=device
    )
    for name in [*models, "large"]
}
ratios = {}  # name -> ratio of the means and half its 95% interval, by linearization
for name, curve in errors.items():
    base = errors["plain"]
    ratio = curve.mean / base.mean
    half = 1.96 * (curve.per_query - ratio * base.per_query).std(0, ddof=1)
    ratios[name] = ratio, half / np.sqrt(len(heldout)) / base.mean
inside = np.array([bool(gaps["gap"][0].contains(s)) for s in sigmas])
print("sigma, inside the gap, plain model's error, ratios:", ", ".join([*errors][1:]))
print(
    np.c_[
        sigmas, inside, errors["plain"].mean, np.array([ratios[n][0] for n in [*errors][1:]]).T
    ].round(4)
)

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots(figsize=(4.8, 3.8))
ax.axvspan(gaps["gap"][0].low, gaps["gap"][0].high, color="0.93", lw=0, zorder=0)
ax.axhline(1, color=looks["plain"]["color"], lw=1, ls="-", label="plain")
for name in [*errors][1:]:
    ratio, half = ratios[name]
    ax.plot(sigmas, ratio, ms=4, label=names[name], **looks[name])
    band = dict(color=looks[name]["color"], alpha=0.2, lw=0)
    ax.fill_between(sigmas, ratio - half, ratio + half, **band)
drawing.sigma_axis(ax, probability=False)
ax.set(ylabel="held-out error / plain model's", ylim=(0, None))
fig.legend(loc="outside lower center", ncol=2)
figures.save(
    fig,
    "fig-gap-error",
    title="Held-out denoising error with a gap",
    caption=(
        rf"Denoising error on {len(heldout)} held-out images of {data.name}, as a ratio to the "
        rf"plain small model's (bands: 95% intervals over images, paired). Shaded: the gap "
        rf"{gaps['gap'][0]}."
    ),
    alt=(
        f"Ratios of held-out errors against noise level. Inside the gap the gap model's lies "
        f"between {ratios['gap'][0][inside].min():.2g} and {ratios['gap'][0][inside].max():.2g} "
        "of the plain model's."
        if inside.any()
        else "Ratios of held-out errors against noise level; the gap holds none of the levels."
    ),
    table={
        "sigma [data units]": sigmas,
        "plain model's error [data units squared]": errors["plain"].mean,
        **{
            f"{name}, {what}": values
            for name in [*errors][1:]
            for what, values in (
                ("over the plain model's [ratio]", ratios[name][0]),
                ("half of the interval [ratio, 95%]", ratios[name][1]),
            )
        },
    },
    paper_item="Figures 1 and 4",
    claim="ours",
    data=[data],
    seeds={"training": seed, "noise": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-gap-error
# :again:
# ```

# %% [markdown]
# ## What must hold
#
# The gap model memorizes less than the plain one, whole intervals apart. Quality is said in words
# that come from the numbers: two distances differ when they do so by more than the 95% interval of
# their difference. Early stopping is represented by the latest snapshot of the plain model that is
# not seen to memorize more than the gap model, sample by sample from the same initial noise.

# %%
stopped = None
for s in shares:
    more = swaps.paired_difference(passed["gap", 1], passed["plain", s], seed=seed)
    stopped = s if more.low <= 0 else stopped
verdict = {}
for label, a, b in (
    ("gap_plain", ("gap", 1), ("plain", 1)),
    ("dummy_plain", ("dummy", 1), ("plain", 1)),
    ("stopped_gap", ("plain", stopped), ("gap", 1)),
    ("inside_gap", ("early inside", 1), ("gap", 1)),
    ("gap_copier", ("gap", 1), ("training set", 1)),
):
    for kind, values in distance.items():
        words = "not compared"
        if a in values:
            one, other = values[a], values[b]
            apart_by = one.value - other.value
            half = np.hypot(one.high - one.value, other.high - other.value)
            words = "worse" if apart_by > 0 else "better"
            words = words if abs(apart_by) > half else "not told apart"
        verdict[f"{label}_{kind.split()[0]}"] = words
        print(f"{kind}: {a[0]} at {a[1]}, against {b[0]} at {b[1]}: {words}")

# %%
found = {verdict[key] for key in verdict if key.startswith("stopped_gap")}
if stopped is None:
    stopping = "None memorizes as little as the gap model, so stopping early does not get there."
elif {"worse", "better"} <= found:
    stopping = "The distances disagree about which of the two has the better samples."
elif "worse" in found:
    stopping = "Where the distances tell them apart, the gap buys what stopping does not."
elif "better" in found:
    stopping = (
        "Where the distances tell them apart, stopping does better: the gap buys nothing here."
    )
else:
    stopping = "No distance tells the two apart."
print(stopping)

# %%
own_preset = experiments.PRESETS[f"{preset}-small"].data.name
must = (dataset, n_train, changes) == (own_preset, 0, "") and preset != "cifar10"
figures.claim("every training went well", not broken, must=must)
must = must and (gap_low, gap_high, gap_keep) == (0, 0, 0.1) and not broken
memorizes_less = share_of["gap", 1].high < share_of["plain", 1].low
figures.claim("the gap model memorizes less than the plain one", memorizes_less, must=must)
dummy = share_of["dummy", 1]
below = dummy.high < share_of["plain", 1].low
figures.claim("the dummy class memorizes less than the plain model", below, must=False)
below = share_of["gap", 1].high < dummy.low
figures.claim("the gap memorizes less than the dummy class", below, must=False)
for name in ("gap", "dummy"):
    nearer = all(verdict[f"{name}_plain_{kind.split()[0]}"] == "better" for kind in distance)
    better = f"the {name} model's samples are nearer to unseen images, by all distances"
    figures.claim(better, nearer, must=False)
costs = any(verdict[f"gap_plain_{kind.split()[0]}"] == "worse" for kind in distance)
figures.claim("no loss of quality is seen by the distances", not costs, must=False)
better = ratios["gap"][0] + ratios["gap"][1] < 1
worse = ratios["gap"][0] - ratios["gap"][1] > 1
lowest = np.where(inside, ratios["gap"][0], np.inf).argmin()
KINDS = {"principal": "components", "classifier": "features", "sliced": "Wasserstein"}
ends = {"stopped": ("plain", stopped), "held_out": ("held-out", 1), "copier": ("training set", 1)}
for name in ("plain", "gap", "zone gap", "dummy", "early inside", "large"):
    ends[name.replace(" ", "_")] = (name, 1)
for name, key in ends.items():
    figures.record(
        **{
            f"{name}_memorized": str(share_of.get(key, "not in this run")),
            f"{name}_change": str(change.get(key, "not in this run")),
            **{
                f"{name}_{kind}": str(
                    distance.get(f"{kind} {what}", {}).get(key, "not in this run")
                )
                for kind, what in KINDS.items()
            },
        }
    )
for label in ("gap_plain", "dummy_plain", "stopped_gap", "inside_gap", "gap_copier"):
    for kind in KINDS:
        words = verdict.get(f"{label}_{kind}", "not compared")
        figures.record(**{f"{label}_{kind}": words})
figures.record(
    dataset=data.name,
    n_train=f"{len(data.train):,}",
    n_large=f"{len(everything.train):,}",
    n_samples=f"{n_samples:,}",
    n_quality=f"{n_quality:,}",
    solver=sampler.SOLVER_NAMES[solver],
    n_unseen=f"{len(unseen):,}",
    steps=", ".join(f"{step:,}" for step in steps),
    n_steps=f"{steps[-1]:,}",
    early_step=f"{small.train.step_of(early):,}",
    stopping=stopping,
    gap_rule="The ends were given."
    if gap_low or gap_high
    else "The upper end is that of the danger zone by our rule; the lower end is half of the level "
    "where a copy can still be undone. The window is ours.",
    stopped_step="none" if stopped is None else f"{small.train.step_of(stopped):,}",
    gap=str(gaps["gap"][0]),
    gap_mass=f"{mass['gap']:.0%}",
    gap_keep=f"{gap_keep:.0%}",
    zone=str(gaps["zone gap"][0]) if "zone gap" in gaps else "not in this run",
    zone_mass=f"{mass['zone gap']:.0%}" if "zone gap" in gaps else "not in this run",
    trainings="None of the trainings here broke down"
    if not broken
    else f"Broken down here: {', '.join(broken)}",
    accuracy=f"{accuracy:.1%}" if np.isfinite(accuracy) else "not in this run",
    levels_inside=str(int(inside.sum())),
    better_inside=str(int((better & inside).sum())),
    worse_outside=str(int((worse & ~inside).sum())),
    better_outside=str(int((better & ~inside).sum())),
    levels_outside=str(int((~inside).sum())),
    lowest_ratio=f"{ratios['gap'][0][lowest]:.2f}",
    lowest_sigma=f"{sigmas[lowest]:.2g}",
    highest_ratio=f"{ratios['gap'][0].max():.2f}",
    highest_sigma=f"{sigmas[ratios['gap'][0].argmax()]:.2g}",
    order=", ".join(sorted(models, key=lambda name: share_of[name, 1].value)),
    gap_relative=f"{courses['ours', 'gap'][-1, 2]:.2f}",
    paper_gap_relative=f"{courses['paper', 'gap'][-1, 2]:.2f}",
)
