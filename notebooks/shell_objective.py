# %% [markdown]
# # Notebook: the shell-only objective
#
# The paper claims that while the shells around the training images are disjoint, a denoiser that is
# trained on them alone can do anything elsewhere (Theorem 4.9). We add that two such denoisers
# disagree on a noisy new image with probability up to $1 - C_\sigma$, and how little the whole
# loss, which counts all the noise, tells them apart. The chapter is [](../book/theorem_4_9.md).
#
# ```{outcome} shell_objective
# ```

# %% tags=["parameters"]
dataset: str = "digits"  # data set: digits, fashion-mini, cifar10, fashion-mnist, or a path
n_train: int = 1000  # training images N, in [2, 1e6]
n_heldout: int = 500  # held-out images, in [2, 1e6]
c: float = 5.0  # shell parameter of Lemma 4.5, in [0.001, 1000]
plane_c: float = 0.05  # shell parameter of the two-dimensional pictures, in [0.001, 0.5)
draws: int = 4  # noise draws per image, in [1, 1000]
n_sigmas: int = 25  # noise levels, evenly spaced in log sigma, in [5, 1000]
sigma_min: float = 0.01  # smallest noise level, data units, in [1e-6, 1e6], below sigma_max
sigma_max: float = 100.0  # largest noise level, data units, in [1e-6, 1e6]
data_seed: int = -1  # seed of the random subset, -1 for the set's own order, in [-1, 1e12]
seed: int = 0  # seed of the noise, in [0, 1e12]
device: str = "auto"  # where to compute, in {auto, cpu, cuda}

# %%
from dataclasses import replace
from functools import partial

import numpy as np

import geomem
from geomem import companion
from geomem.data.named import LOADERS
from geomem.geometry import intervals
from geomem.geometry.difference import Difference
from geomem.geometry.shell_objective import most_lost, shell_losses
from geomem.plots import drawing, shells

data = geomem.load_dataset(dataset, n_train=n_train, n_heldout=n_heldout, seed=data_seed)
d = data.train[0].size
sigmas = np.geomspace(sigma_min, sigma_max, n_sigmas)

# %% [markdown]
# ## Shells in the plane
#
# In two dimensions a shell that holds nearly all the noise is no shell but a disc. To see rings
# we take a small $c$: they are thin, and they hold only a part of the noise. In the dimension of
# images shells are both thin and nearly full. Where the rings of the closest pair touch, all are
# disjoint below.

# %%
points = np.array([[-1.9, 0.9], [-0.3, 1.5], [1.7, 1.1], [0.9, -1.2], [-1.2, -1.1]])
touch = geomem.disjoint_sigma(points, plane_c)
levels = {"disjoint": 0.6 * touch, "the first touch": touch, "overlapping": 1.8 * touch}
companion.figure(shells.in_the_plane(points, plane_c, levels), "fig-shells-plane")

# %% [markdown]
# ## Two minimizers
#
# Both send every shell to its point, so both lose nothing on the shells. One is the empirical
# denoiser elsewhere and pulls everything to training points; the other leaves everything where
# it is.

# %%
plane_sigma = 0.95 * touch
pull = partial(geomem.empirical_denoiser, train=points, sigma=plane_sigma, device="cpu")
minimizer = partial(geomem.shell_minimizer, points, plane_sigma, c=plane_c, device="cpu")
minimizers = {"pulls": minimizer(pull), "leaves alone": minimizer(np.copy)}
losses = [shell_losses(m, points, plane_sigma, plane_c, seed=seed) for m in minimizers.values()]
on, whole = zip(*losses, strict=True)
companion.figure(shells.fields(points, plane_c, plane_sigma, minimizers), "fig-two-minimizers")
companion.Table({"off the shells": [*minimizers], "loss on the shells": on, "in all": whole})

# %% [markdown]
# ## How often they disagree on new images
#
# The same on images: one minimizer leaves its input alone off the shells, the other answers the
# mid-grey image. Disagreement and coverage are measured with noise of their own. An image that is
# there twice has one shell.

# %%
train = data.train[np.sort(np.unique(data.train, axis=0, return_index=True)[1])]
threshold = geomem.disjoint_sigma(train, c, device=device)
minimizer = partial(geomem.shell_minimizer, train, sigma_min, c=c, device=device)
alone, grey = minimizer(np.copy), minimizer(np.zeros_like)
apart = geomem.disagreement(alone, grey, data.heldout, sigmas, draws=draws, seed=seed)
cover = partial(geomem.shell_coverage, data.heldout, data.train, c=c, draws=draws, device=device)
coverage, same_noise = cover(sigmas, seed=seed + 1), cover(sigmas, seed=seed)
ends = dict(low=1 - coverage.high, high=1 - coverage.low)
uncovered = replace(coverage, mean=1 - coverage.mean, **ends)
less = Difference.of(apart, uncovered)

# %%
curves = {r"$1 - C_\sigma$": uncovered, "two minimizers disagree": apart}
looks, below = [("k", "", "-"), ("C0", "o", "")], {"shells disjoint below": threshold}
look = dict(down=below, difference=("circles\nless line", less))
fig, _ = drawing.noise_curves(curves, "probability", looks, **look)
table = drawing.noise_table({"disagreement": apart}, "probability")
table["1 - C_sigma [probability]"] = uncovered.mean
table |= less.table("disagreement less (1 - C_sigma)", "probability")
companion.figure(fig, "fig-minimizer-disagreement", table, data=[data])

# %% [markdown]
# ## What the whole loss can tell
#
# The shells leave out little noise, and with a larger $c$ next to none, while the level below which
# they are disjoint moves little. An answer with pixels in $[-1, 1]$ is off by at most $2\sqrt d$:
# below that level any such fill has at most this whole loss. Where training images go beyond, as
# latents do, the range is widened to theirs. Beside it $d\sigma^2$, what leaving the noise alone
# would lose there, and how many noisy new images these shells cover.

# %%
some_c = [c, 20.0, 50.0]
edges = np.array([geomem.disjoint_sigma(train, one, device=device) for one in some_c])
lowest, highest = min(-1.0, float(train.min())), max(1.0, float(train.max()))
bound = (highest - lowest) * np.sqrt(d)  # the B of the theorem
lost = [most_lost(d, one, bound) for one in some_c]
covered = [cover([edge], c=one, seed=seed) for edge, one in zip(edges, some_c, strict=True)]
columns = {"c": some_c, "disjoint below": edges, "whole loss at most": lost}
columns |= {"d sigma^2": d * edges**2, "covered": [at.estimate(0).percent for at in covered]}
(thick := companion.Table(columns, digits=3))

# %% [markdown]
# ## What two of them do to images
#
# Just below the level of $c = 20$: noisy training images and noisy new ones, and the answers of two
# denoisers that agree on the shells and so on the training images. Elsewhere one is the empirical
# denoiser, the other the Gaussian one, both clipped to that range.

# %%
sigma, two = 0.99 * edges[1], (geomem.EmpiricalDenoiser, geomem.GaussianDenoiser)
shown = np.concatenate([train[:2], data.heldout[:4]])
noisy = shown + sigma * np.random.default_rng(seed).standard_normal(shown.shape)
rows = [("noisy", noisy)]
for kind, name in zip(two, ("empirical", "Gaussian"), strict=True):
    fill = partial(kind(data.train, device=device), sigma=sigma)
    answer = geomem.shell_minimizer(train, sigma, fill, some_c[1], device=device)
    rows.append((name, np.clip(answer(noisy), lowest, highest)))
whole_of = [float(((images - shown)[:2] ** 2).sum()) for _, images in rows[1:]]
copies, kept = (np.square((images - shown)[2:]).sum((1, 2, 3)).mean() for _, images in rows[1:])

# %%
fig = drawing.image_grid(rows, ["training"] * 2 + ["new"] * 4)
table = drawing.pixel_table(np.arange(len(shown)), rows, "image [index]")
companion.figure(fig, "fig-minimizers-images", table, data=[data])

# %% [markdown]
# ## What must hold
#
# Both minimizers lose nothing on their own shells though their whole losses differ; with the same
# noise, disagreement is $1 - C_\sigma$ to the last image.

# %%
companion.claim("nothing-lost", "two minimizers lose nothing on the shells", on == (0, 0))
companion.claim("free-elsewhere", "they differ off the shells", whole[0] < whole[1])
exact = np.allclose(apart.per_query, 1 - same_noise.per_query, rtol=0, atol=1e-9)
companion.claim("disagreement", "with the same noise disagreement is 1 - C for each image", exact)
not_so = apart.high[0] <= 0.99 or apart.low[-1] >= 0.1
differ = intervals.decided(apart.mean[0] > 0.99 > 0.1 > apart.mean[-1], not_so)
says = "on new images they differ at small noise only"
reaches = sigma_min <= 0.01 and sigma_max >= 100  # of a shorter grid an end is not known
new = geomem.nearest_distances(data.heldout, data.train, device=device).min() > 0
must = reaches and new and dataset in LOADERS and c == 5  # a thin shell holds little noise anywhere
companion.claim("small-noise-only", says, differ if reaches else None, must=must)
says = "just below the level of c = 20 both answer the training images exactly"
companion.claim("training-exact", says, max(whole_of) == 0)

# %% tags=["remove-cell"]
r_out, mass = geomem.shell_radii(d, c)[1], float(geomem.shell_mass(0.0, d, c))
at_threshold = cover([threshold], seed=seed).mean[0]
companion.quote(dataset=data.name, dimension=str(d), r_out=f"{r_out:.2f}", threshold=threshold)
companion.quote(delta=2 * threshold * r_out, lowest=f"{lowest:.2g}", highest=f"{highest:.2g}")
companion.quote(missed=f"{1 - mass:.2g}", promised=f"{2 * np.exp(-c):.2g}", n_points=len(points))
companion.quote(coverage_at_threshold=f"{at_threshold:.2g}", sigma_half=apart.passes(0.5))
companion.quote(touch=touch, ring_mass=f"{100 * float(geomem.shell_mass(0.0, 2, plane_c)):.0f}%")
companion.quote(differ_first=apart.estimate(0).percent, differ_last=apart.estimate(-1).percent)
companion.quote(whole_memorizer=whole[0], whole_bystander=whole[1], plane_sigma=plane_sigma)
companion.quote(thick=thick, thick_sigma=sigma, error_empirical=copies)
companion.quote(error_gaussian=kept, noise_energy=d * sigma**2, one_in=f"{bound**2 / lost[1]:.0e}")
