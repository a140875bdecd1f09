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
# # Notebook: memorization at every noise level
#
# The paper claims that a model trained on few images answers noisy *held-out* images with copies of
# training images in the middle of the noise levels, in the danger zone, and hardly at either end:
# the hump of its Figure 2. Trained on many images, it does so nowhere. What came out here:
#
# ```{outcome} memorization
# ```
#
# The chapter is [](../book/memorization.md).

# %% tags=["parameters"]
preset: str = "digits-unet"  # in {digits-mlp, digits-unet, cifar10-luma, cifar10-rgb, cifar10}
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 0  # training images N of the small model, 0 for the preset's number, in [0, inf)
changes: str = ""  # further settings of both models: names, each with an equals sign and its value
n_heldout: int = 500  # held-out images, at most; fewer where the set has fewer, in [2, inf)
draws: int = 2  # noise draws per held-out image, in [1, inf)
n_sigmas: int = 18  # noise levels, evenly spaced in log sigma, in [5, inf)
sigma_min: float = 0.01  # smallest noise level, data units, in (0, inf)
sigma_max: float = 20.0  # largest noise level, data units, in (0, inf)
c: float = 5.0  # shell parameter of Lemma 4.5, in (0, inf)
level: float = 0.8  # C and W at least this high: the danger zone, in (0, 1)
paper_subset: bool = False  # also: the empirical denoiser on CIFAR-10, to the paper's marks
seed: int = 0  # seed of training, noise and samples, in [0, inf)
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
import matplotlib.pyplot as plt
import numpy as np

import geomem
from geomem import digitized
from geomem.companion import figures
from geomem.diffusion import presets, zoo
from geomem.memorization import ratio_test
from geomem.plots import STYLE, drawing
from geomem.memorization.hump import Hump
from geomem.geometry.regimes import measure_regimes
from geomem.geometry.intervals import Estimate, percent
from geomem.geometry.window import Window

plt.style.use(STYLE)
np.set_printoptions(suppress=True, linewidth=100)
small, large = presets.pair(
    preset, dataset=dataset, n_train=n_train, changes=changes, seed=seed, device=device
)
models = zoo.train_or_load([small, large])
data = small.data.load()
heldout = data.heldout[:n_heldout]
n, n_large = len(data.train), len(large.data.load().train)
names = ["empirical", f"small, N = {n:,}", f"large, N = {n_large:,}"]
sigmas = np.geomspace(sigma_min, sigma_max, n_sigmas)
options = dict(draws=draws, seed=seed, device=device)
print(f"{data.name}: d = {heldout[0].size}, {len(heldout)} held-out images, {draws} draws each")

# %% [markdown]
# ## The rate at each noise level
#
# A held-out image gets noise, a denoiser answers, and the answer is memorized when it passes the
# ratio test $d_{1\mathrm{NN}} < d_{2\mathrm{NN}}/3$ against the *small* training set: the large
# model is judged by it too, as in the paper. For contrast, the small model on noisy training
# images: there a copy is the right answer.

# %%
distinct = ratio_test.DistinctImages(data.train, device)
denoisers = [
    lambda x, sigma: geomem.empirical_denoiser(x, distinct.images, sigma, device=device),
    *(trained.denoise for trained in models),
]
empirical, few, many = (
    ratio_test.memorization_rates(denoise, heldout, distinct, sigmas, **options)
    for denoise in denoisers
)
on_train = ratio_test.memorization_rates(
    denoisers[1], data.train[:n_heldout], distinct, sigmas, **options
)
floor = ratio_test.memorized_fraction(heldout, distinct)
hump = Hump.of(few, seed=seed)
k = hump.peak


def rate_at(curve, i):
    """The rate at one level, with its interval."""
    return Estimate(curve.mean[i], curve.low[i], curve.high[i])


peak = rate_at(few, k).percent
print("sigma, empirical, small, its interval, large, small on training images")
print(np.c_[sigmas, empirical.mean, few.mean, few.low, few.high, many.mean, on_train.mean].round(4))
print(f"the hump: {peak} at sigma = {sigmas[k]:.3g}; clean held-out images: {floor}")

# %% tags=["hide-input", "remove-output"]
fig, (ax, zoom) = plt.subplots(2, 1, figsize=(4.8, 5.2), sharex=True, height_ratios=(3, 2))
curves = dict(zip(names, (empirical, few, many), strict=True))
for i, (name, curve) in enumerate(curves.items()):
    style = dict(color=f"C{i}", marker="os^"[i], ms=3.5)
    curve.plot(ax, name, **style)
    if curve is not empirical:
        curve.plot(zoom, None, **style)
ax.plot(sigmas, on_train.mean, color="0.5", ls=":", label="small, on training images")
drawing.sigma_axis(ax)
drawing.sigma_axis(zoom, probability=False)
ax.set(xlabel="", ylabel="memorization rate")
zoom.set(ylabel="magnified", ylim=(-0.03 * few.high[k], 1.15 * few.high[k]))
fig.legend(loc="outside lower center", ncol=2)
figures.save(
    fig,
    "fig-memorization-rates",
    title="Memorization rate against noise level",
    caption=(
        rf"Share of the denoised noisy held-out images of {data.name} that pass the ratio test "
        rf"against the small training set ({len(heldout)} images, {draws} draws each; bands: 95% "
        rf"intervals over images), for the empirical denoiser of that set and both "
        rf"models; below, the models alone, magnified. The small model's hump: {peak} at "
        rf"$\sigma = {sigmas[k]:.3g}$. Grey: the small model on noisy training images."
    ),
    alt=(
        "Memorization rate against noise level. The empirical denoiser's is "
        f"{empirical.mean[0]:.2g} at the smallest noise; the small model's is highest near sigma "
        f"{sigmas[k]:.2g}, {few.mean[k]:.2g}, and {few.mean[0]:.2g} and {few.mean[-1]:.2g} at the "
        f"ends; the large one reaches {many.mean.max():.2g} at most."
    ),
    table={
        "sigma [data units]": sigmas,
        **{
            f"{name}, {what}": getattr(curve, attribute)
            for name, curve in {**curves, "small on training images": on_train}.items()
            for what, attribute in (
                ("rate [fraction]", "mean"),
                ("low [fraction, 95% interval]", "low"),
                ("high [fraction, 95% interval]", "high"),
            )
        },
    },
    paper_item="Figure 2",
    claim="paper",
    data=[data],
    seeds={"training": seed, "noise": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-memorization-rates
# :again:
# ```

# %% [markdown]
# ## The paper's own curves
#
# Read off the paper's Figure 2 (CIFAR-10, 1,000 training images). Its empirical denoiser needs
# no training, so it can be tested: with `paper_subset`, four random subsets of 1,000 images are
# measured at the levels of the marks. Models of the paper's size (the preset `cifar10`) are
# measured there too.

# %%
paper = digitized.load("fig2_per_noise_memorization")
marks = {
    "empirical": paper["emp_1k_pct"] / 100,
    "EDM, N = 1,000": paper["edm_1k_pct"] / 100,
    "EDM, N = 50,000": paper["edm_50k_pct"] / 100,
}
excess = marks["EDM, N = 1,000"] - marks["EDM, N = 1,000"].min()  # the last digit is misread
paper_centre = np.exp(excess @ np.log(paper["sigma"]) / excess.sum())
paper_peak = percent(marks["EDM, N = 1,000"].max())
print(f"the paper's hump: at most {paper_peak}, centre {paper_centre:.3g}")
ours, sets, agreement = {}, [paper], {}
if paper_subset:
    sets += [
        geomem.load_dataset("cifar10", n_train=1000, n_heldout=1000, seed=seed + i)
        for i in range(4)
    ]
    subsets = [
        ratio_test.memorization_rates(
            lambda x, sigma, own=s.train: geomem.empirical_denoiser(x, own, sigma, device=device),
            s.heldout,
            s.train,
            paper["sigma"],
            seed=seed,
            device=device,
        )
        for s in sets[1:]
    ]
    ours |= {f"empirical, subset {i}": curve for i, curve in enumerate(subsets, 1)}
    values = np.array([curve.mean for curve in subsets])
    apart = np.abs(marks["empirical"] - values)
    low = np.min([curve.low for curve in subsets], 0) - 0.005  # for the reading
    high = np.max([curve.high for curve in subsets], 0) + 0.005
    within = (low <= marks["empirical"]) & (marks["empirical"] <= high)
    paper_zone = measure_regimes(
        sets[1].heldout, sets[1].train, c=c, level=level, seed=seed, device=device
    ).regimes
    agreement = {
        "paper_zone": f"{paper_zone.covered} to {paper_zone.concentrated}",
        "paper_check": f"{within.sum()} of {len(within)} marks lie within the four 95% bands, half "
        f"a percent allowed for the reading. The largest difference of each subset from the marks "
        f"is between {percent(apart.max(1).min())} and {percent(apart.max(1).max())}",
    }
    print("sigma, the paper's empirical denoiser, four subsets")
    print(np.c_[paper["sigma"], marks["empirical"], values.T].round(3))
    print(agreement)
paper_scale = data.name == "cifar10" and data.train.shape == (1000, 3, 32, 32)
if paper_scale:
    sets.append(data)
    for name, trained in zip(names[1:], models, strict=True):
        ours[name] = ratio_test.memorization_rates(
            trained.denoise, heldout, distinct, paper["sigma"], **options
        )

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots(figsize=(4.8, 3.6))
for i, (name, values) in enumerate(marks.items()):
    ax.plot(paper["sigma"], values, "x+1"[i], color=f"C{i}", ms=7, mew=1.5, label=f"paper: {name}")
for name, curve in ours.items():
    first = name == "empirical, subset 1"
    color = "C0" if "subset" in name else f"C{names.index(name)}"
    label = "ours: empirical" if first else None if "subset" in name else f"ours: {name}"
    curve.plot(ax, label, color=color, ls="-", lw=1)
drawing.sigma_axis(ax)
ax.set_ylabel("memorization rate")
fig.legend(loc="outside lower center", ncol=2)
figures.save(
    fig,
    "fig-memorization-paper",
    title="The paper's memorization rates on CIFAR-10",
    caption=(
        "Marks: the paper's Figure 2, read off: CIFAR-10, the empirical denoiser of 1,000 images "
        "and EDMs trained on 1,000 and 50,000."
        + (
            " Blue lines: our empirical denoiser of four random subsets of 1,000 images, on 1,000 "
            f"held-out images each (bands: 95% intervals): {agreement['paper_check']}."
            if paper_subset
            else ""
        )
        + (" Other lines: our models." if paper_scale else "")
    ),
    alt=(
        "Marks read off the paper: the empirical denoiser's memorization rate falls from 1 to 0 "
        "as noise grows; that of EDM trained on 1,000 images has a hump of about 0.27 between "
        "sigma 1 and 5; on 50,000 images it stays at zero."
    ),
    table={
        "sigma [data units]": paper["sigma"],
        **{f"{name}, read off [fraction]": values for name, values in marks.items()},
        **{f"{name}, ours [fraction]": curve.mean for name, curve in ours.items()},
    },
    paper_item="Figure 2",
    claim="paper" if ours else "ours",  # the marks alone are no measurement
    data=sets,
    seeds={"training": seed, "noise": seed, "data": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-memorization-paper
# :again:
# ```

# %% [markdown]
# ## How the hump grows
#
# The same curve at the snapshots of the small model's training.

# %%
shares = [*(s for s in presets.QUARTERS if s in small.train.snapshots), 1]
course = [
    ratio_test.memorization_rates(models[0].at(share), heldout, distinct, sigmas, **options)
    for share in shares
]
for share, curve in zip(shares, course, strict=True):
    j = curve.mean.argmax()
    print(f"step {small.train.step_of(share):6,}: at most {rate_at(curve, j).percent}, ", end="")
    print(f"at sigma = {sigmas[j]:.3g}")

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots(figsize=(4.8, 3.4))
shades = plt.get_cmap("YlOrRd")(np.linspace(0.35, 0.95, len(shares)))
for share, curve, shade in zip(shares, course, shades, strict=True):
    ax.plot(sigmas, curve.mean, color=shade, ls="-", label=f"step {small.train.step_of(share):,}")
ax.fill_between(sigmas, few.low, few.high, color=shades[-1], alpha=0.25, lw=0)
drawing.sigma_axis(ax, probability=False)
ax.set_ylabel("memorization rate")
ax.legend()
figures.save(
    fig,
    "fig-memorization-growth",
    title="The hump over training",
    caption=(
        f"Memorization rate of the small model ($N = {n}$) on held-out images of {data.name}, "
        f"after {', '.join(f'{small.train.step_of(s):,}' for s in shares)} steps (band: 95% "
        "interval over images, of the last)."
    ),
    alt=(
        "Memorization rate against noise level at several moments of training. At most it is "
        + ", ".join(
            f"{curve.mean.max():.2g} after {small.train.step_of(share):,} steps"
            for share, curve in zip(shares, course, strict=True)
        )
        + "."
    ),
    table={
        "sigma [data units]": sigmas,
        **{
            f"step {small.train.step_of(share)}, {what}": getattr(curve, attribute)
            for share, curve in zip(shares, course, strict=True)
            for what, attribute in (
                ("rate [fraction]", "mean"),
                ("low [fraction, 95% interval]", "low"),
                ("high [fraction, 95% interval]", "high"),
            )
        },
    },
    paper_item="Figure 2",
    claim="ours",
    data=[data],
    seeds={"training": seed, "noise": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-memorization-growth
# :again:
# ```

# %% [markdown]
# ## The hump and the danger zone
#
# Where the hump lies is said by its centre, the mean of $\log\sigma$ weighted by the rate: the
# peak's own level is only known up to the grid. Its interval comes from resampling the images.

# %%
print(f"centre of the hump: sigma = {hump.centre}; half its peak from {hump.half.in_words}")

# %% [markdown]
# Coverage $C_\sigma$ of the held-out images and posterior concentration $W_\sigma$ of the small
# training set, on a finer grid. The danger zone is our rule of [](../book/regimes.md): both at
# least `level`. What is said of the two follows from the intervals: the hump ends with the zone
# where less than a tenth of its area lies beyond.

# %%
geometry = measure_regimes(heldout, distinct.images, c=c, level=level, seed=seed, device=device)
coverage, weight, zone = geometry.coverage, geometry.weight, geometry.zone
centre, where = hump.centre, hump.place(zone)
at_centre = ["none", "none"]  # without a hump there is no centre
if np.isfinite(centre.value):
    at_centre = [
        percent(float(np.interp(np.log(centre.value), np.log(y.sigma), y.mean)))
        for y in (coverage, weight)
    ]
beyond = {"below": Window(0.0, zone.low), "above": Window(zone.high, np.inf)}
area = {name: hump.share(window) for name, window in (beyond | {"inside": zone}).items()}
story = []
for side in beyond if few.mean.any() else ():
    words = "whether that is more than a tenth is not sure"
    if area[side].high < 0.1:
        words = "on this side it ends with the zone"
    elif area[side].low > 0.1:
        words = "it goes on there"
    story.append(f"{side.title()} the zone lie {area[side].percent} of its area: {words}.")
if few.mean.any() and area["below"].low > 0.1:
    story.append(
        "Our reading: coverage asks whether an input lies *in* a shell; a network does not stop at "
        "the rim of what it has seen."
    )
print(f"danger zone: {geometry.zone_in_words}; the centre lies {where}")
print(f"at the centre C = {at_centre[0]}, W = {at_centre[1]}; of the hump's area lie")
print(", ".join(f"{share.percent} {name}" for name, share in area.items()))
print(*story)

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots(figsize=(4.8, 3.9))
drawing.shade_regimes(ax, geometry.regimes)
coverage.plot(ax, r"coverage $C_\sigma$", color="C0", ls="-")
weight.plot(ax, r"weight $W_\sigma$", color="C2", ls="-.")
drawing.sigma_axis(ax)
ax.set(ylabel="probability", xlim=(sigma_min, sigma_max))
rate = ax.twinx()
rate.grid(False)
few.plot(rate, "small model's rate (right axis)", color="C1", marker="s", ms=3.5)
height = 1.5 * few.high[k]
rate.set_ylim(-0.03 * height, 1.03 * height)
rate.set_ylabel("memorization rate", color="C1")
rate.spines["right"].set(visible=True, color="C1")
rate.tick_params(axis="y", colors="C1")
fig.legend(loc="outside lower center", ncol=2)
headers = ["quantity [name]", "sigma [data units]", "value [fraction]"]
headers += ["low [fraction, 95% interval]", "high [fraction, 95% interval]"]
rows = [
    (name, *row)
    for name, curve in (("C_sigma", coverage), ("W_sigma", weight), ("rate, small model", few))
    for row in zip(curve.sigma, curve.mean, curve.low, curve.high, strict=True)
]
figures.save(
    fig,
    "fig-memorization-zone",
    title="The hump, coverage and posterior concentration",
    caption=(
        rf"Coverage $C_\sigma$ of the held-out images, posterior concentration $W_\sigma$ "
        rf"($c = {c:g}$), and the small model's memorization rate on its own axis (right), on "
        rf"{data.name} with $N = {n}$. Danger zone, both at least {level:g}: "
        rf"{geometry.zone_in_words}. Centre of the hump: $\sigma =$ {centre}, {where}."
    ),
    alt=(
        "Coverage, posterior weight and the small model's memorization rate against noise level. "
        f"Where coverage and weight are both at least {level:g}: {geometry.zone_in_words}. Centre "
        f"of the rate: sigma {centre}; coverage there: {at_centre[0]}, weight: {at_centre[1]}."
    ),
    table=dict(zip(headers, zip(*rows, strict=True), strict=True)),
    paper_item="Figures 2 and 3",
    claim="ours",
    data=[data],
    seeds={"training": seed, "noise": seed, "resampling": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-memorization-zone
# :again:
# ```

# %% [markdown]
# ## One third is a choice
#
# The share that passes $d_{1\mathrm{NN}} < t\, d_{2\mathrm{NN}}$ for every $t$, at the hump's
# peak. Two controls say what passes without memorization: the clean held-out images, and the large
# model's answers to the same inputs.

# %%
thresholds = np.sort(np.append(np.linspace(0.1, 0.9, 33), 1 / 3))
clean = ratio_test.neighbours(heldout, distinct).ratio
answers = ["small model's answers", "large model's answers"]
by_threshold = {
    name: np.array([(r.mean[k], r.low[k], r.high[k]) for r in map(curve.at, thresholds)])
    for name, curve in zip(answers, (few, many), strict=True)
}
floors = [ratio_test.fraction_below(clean, t) for t in thresholds]
by_threshold["clean held-out images"] = np.array([(f.value, f.low, f.high) for f in floors])
third, one_half = (int(np.abs(thresholds - t).argmin()) for t in (1 / 3, 0.5))
at_threshold = {
    name: [Estimate(*values[i]).percent for i in (third, one_half)]
    for name, values in by_threshold.items()
}
for name, (at_third, at_half) in at_threshold.items():
    print(f"{name}: 1/3: {at_third}, 1/2: {at_half}")

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots(figsize=(4.8, 3.6))
for (name, values), color in zip(by_threshold.items(), ("C1", "C2", "0.4"), strict=True):
    mean, low, high = values.T
    ax.plot(thresholds, mean, color=color, label=name)
    ax.fill_between(thresholds, low, high, color=color, alpha=0.25, lw=0)
for value, label in ((1 / 3, "1/3"), (1 / 2, "1/2")):
    ax.axvline(value, color="k", lw=0.8, ls=":")
    ax.text(value, 1.02, label, ha="center", va="bottom", transform=ax.get_xaxis_transform())
ax.set(xlabel="threshold $t$ of the ratio test", ylabel="share that passes", ylim=(-0.02, 1.02))
fig.legend(loc="outside lower center")
figures.save(
    fig,
    "fig-memorization-thresholds",
    title="The ratio test at other thresholds",
    caption=(
        rf"Share with $d_{{1\mathrm{{NN}}}} < t\,d_{{2\mathrm{{NN}}}}$ on {data.name}: held-out "
        rf"images with noise of level $\sigma = {sigmas[k]:.3g}$, the peak of the hump, denoised "
        "by the small and by the large model, and the clean held-out images themselves (bands: 95% "
        "intervals). The paper takes $t = 1/3$."
    ),
    alt=(
        "Three rising curves against the threshold. The share that passes at one third, and at "
        "one half: "
        + "; ".join(f"{name}, {a} and {b}" for name, (a, b) in at_threshold.items())
        + "."
    ),
    table={
        "threshold [ratio]": thresholds,
        **{
            f"{name}, {what}": values[:, i]
            for name, values in by_threshold.items()
            for i, what in enumerate(
                ("share [fraction]", "low [fraction, 95%]", "high [fraction, 95%]")
            )
        },
    },
    paper_item="Section 3, the criterion of memorization",
    claim="ours",
    data=[data],
    seeds={"training": seed, "noise": seed},
    device=device,
)

# %% [markdown]
# ```{companion-figure} fig-memorization-thresholds
# :again:
# ```

# %% [markdown]
# ## What must hold
#
# The small model's hump stands out of both ends, the ends and the large model are calm, and the
# empirical denoiser copies ever more as noise falls: all with whole intervals. For the book's own
# models that must hold; for others it is said.

# %%
own = (dataset, n_train, changes) == (presets.PRESETS[f"{preset}-small"].data.name, 0, "")
must = own and preset != "cifar10" and len(heldout) >= 500 and (sigma_min, sigma_max) == (0.01, 20)
ends = (sigmas >= 5) | (sigmas <= 0.02)
figures.claim(
    "the small model's peak is above both ends", few.low[k] > few.high[[0, -1]].max(), must=must
)
figures.claim("its ends are calm: below 0.02", bool(np.all(few.high[ends] < 0.02)), must=must)
figures.claim("the large model is calm: below 0.02", bool(np.all(many.high < 0.02)), must=must)
falling = np.all(empirical.low[1:] <= empirical.high[:-1])
figures.claim("the empirical denoiser's rate nowhere rises", bool(falling), must=must)
figures.claim("it ends above 0.95", bool(empirical.low[0] > 0.95), must=must)
if geometry.regimes.medium:  # whatever comes out is the finding
    figures.claim("the hump's centre lies in the danger zone", where == "inside it", must=False)
    most = area["inside"].low > 0.5
    figures.claim("most of the hump's area lies in the danger zone", bool(most), must=False)
if paper_subset:
    figures.claim("our four bands hold at least 8 of the paper's 10 marks", within.sum() >= 8)
figures.record(
    dataset=data.name,
    n_train=f"{n:,}",
    n_large=f"{n_large:,}",
    n_heldout=f"{len(heldout):,}",
    draws=f"{draws}",
    denoised=f"{draws * len(heldout):,}",
    peak=peak,
    sigma_peak=f"{sigmas[k]:.2g}",
    half_from=f"{hump.half.low:.2g}" if few.mean.any() else "none",
    half_to=f"{hump.half.high:.2g}" if few.mean.any() else "none",
    ends_high=percent(few.high[ends].max()) if ends.any() else "none",
    large_most=percent(many.mean.max()),
    large_high=percent(many.high.max()),
    empirical_peak=percent(empirical.mean[k]),
    empirical_low=rate_at(empirical, 0).percent,
    train_low=percent(on_train.mean[0]),
    zone=geometry.zone_in_words,
    zone_from=str(geometry.regimes.covered),
    zone_to=str(geometry.regimes.concentrated),
    where=where,
    centre=str(centre),
    coverage_centre=at_centre[0],
    weight_centre=at_centre[1],
    **{f"area_{name}": share.percent for name, share in area.items()},
    story=" ".join(story),
    steps=", ".join(f"{small.train.step_of(s):,}" for s in shares),
    course=", ".join(percent(curve.mean.max()) for curve in course),
    **{
        f"{when}_{who}": value
        for who, values in zip(("small", "large", "clean"), at_threshold.values(), strict=True)
        for when, value in zip(("third", "half"), values, strict=True)
    },
    paper_peak=paper_peak,
    paper_centre=f"{paper_centre:.2g}",
    paper_check=agreement.get("paper_check", "In this run that was not measured"),
    paper_zone=agreement.get("paper_zone", "not measured in this run"),
    paper_beside=(  # for the table of claims
        f"; the paper's marks: centre {paper_centre:.2g}, zone of such images "
        f"{agreement['paper_zone']}"
        if paper_subset
        else ""
    ),
)
