"""A case: one data set, a small and a large model of it, and the images that judge them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from geomem.data.sets import ImageSet
from geomem.diffusion import fitting, presets
from geomem.diffusion.noise import NoiseLaw
from geomem.diffusion.presets import ConfigError, Experiment
from geomem.diffusion.train import device_of
from geomem.diffusion.zoo import Trained
from geomem.geometry.arrays import Floats
from geomem.geometry.denoiser import Denoiser
from geomem.geometry.regimes import Geometry, measure_regimes
from geomem.memorization import quality
from geomem.memorization.copy_range import CopyRange
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.quality import Features, unseen_images
from geomem.memorization.remedies import Bench
from geomem.memorization.stopping import Stopping, split_heldout

Key = tuple[str, int]  # the kind of a model, and the seed of its training


@dataclass(frozen=True)
class Case:
    """A small model that copies its training images, a large one that does not, and their images.

    Attributes
    ----------
    small, large : the experiments; they differ in their training images.
    data, everything : the images of each; the large set begins with the small one.
    distinct : the small training set, as the ratio test takes it.
    heldout : (Q, C, H, W) images that no model sees.
    own : whether all this is as the preset has it, of one whose trainings are known.
    """

    small: Experiment
    large: Experiment
    data: ImageSet
    everything: ImageSet
    distinct: DistinctImages
    heldout: NDArray
    own: bool

    @classmethod
    def of(
        cls,
        preset: str,
        dataset: str,
        n_train: int = 0,
        changes: str = "",
        *,
        n_heldout: int | None = None,
        stop_share: float | None = None,
        size: int = 0,
        seed: int = 0,
        device: str = "auto",
    ) -> Case:
        """Of a preset's name, as `geomem.diffusion.presets.pair` takes it.

        Parameters
        ----------
        n_heldout : held-out images, at most.
        stop_share : where remedies are judged: of the small training, after which it will be
            stopped, in (0, 1].
        size : side of the images, pixels, as `presets.resized` makes them; 0: as they are.
        seed, device : of training.

        Raises
        ------
        ConfigError : a share at which the training keeps no snapshot, and as `presets.pair`.
        ValueError : too few images are left to judge remedies by.
        """
        how: dict[str, Any] = {"n_train": n_train, "changes": changes, "size": size}
        small, large = presets.pair(preset, dataset=dataset, **how, seed=seed, device=device)
        data, everything = small.data.load(), large.data.load()
        if stop_share is not None:
            if stop_share not in (shares := (*small.train.snapshots, 1)):
                known = ", ".join(map(str, shares))
                raise ConfigError(f"stop_share: no snapshot at {stop_share} of the steps: {known}.")
            unseen_images(data.train, everything.train)
        distinct = DistinctImages(data.train, device)
        heldout = data.heldout[:n_heldout]
        own_data = presets.PRESETS[f"{preset}-small"].data.name
        own = (dataset, n_train, changes) == (own_data, 0, "") and preset not in presets.UNTRIED
        return cls(small, large, data, everything, distinct, heldout, own)

    @classmethod
    def several(cls, models: str, dataset: str, **how: Any) -> list[Case]:
        """Of text, as `geomem.diffusion.presets.listed` takes it.

        Parameters
        ----------
        models : the text; of "" there are none.
        dataset, how : of each, as in `of`.
        """
        return [cls.of(dataset=dataset, **one, **how) for one in presets.listed(models)]

    def trained(self) -> tuple[Trained, Trained]:
        """The small and the large model, trained now where the store does not hold them."""
        few, many = fitting.train_or_load([self.small, self.large])
        return few, many

    @property
    def names(self) -> dict[str, str]:
        """What the two models are called in tables and pictures."""
        sets = {"small": self.data, "large": self.everything}
        return {kind: f"{kind}, N = {len(images.train):,}" for kind, images in sets.items()}

    @property
    def network(self) -> str:
        """As what its networks see an image, in words: as a grid, or as a vector."""
        model, (height, width) = self.small.train.model, self.data.train.shape[-2:]
        if model.network != "unet":
            return "vector"
        return f"grid of {height // model.patch}x{width // model.patch}"

    @property
    def unseen(self) -> NDArray:
        """(M, C, H, W) the large set's other images, which the small models do not see.

        Raises
        ------
        ValueError : too few images are left to judge by.
        """
        return unseen_images(self.data.train, self.everything.train)

    @property
    def choosing(self) -> NDArray:
        """Half of the held-out images: on them is chosen when to stop."""
        return split_heldout(self.heldout)[0]

    @property
    def judging(self) -> NDArray:
        """The other half, which does not choose when to stop; the zone is measured on both."""
        return split_heldout(self.heldout)[1]

    @property
    def law(self) -> NoiseLaw:
        """Where the small model's training draws its noise levels."""
        return self.small.train.for_images(self.data.train).noise

    def geometry(self, *, c: float = 5.0, level: float = 0.8) -> Geometry:
        """Coverage, concentration and zone of the small training set: see `measure_regimes`."""
        train = self.small.train
        options: dict[str, Any] = {"c": c, "level": level, "seed": train.seed}
        return measure_regimes(self.heldout, self.distinct.images, **options, device=train.device)

    def copy_range(self, denoise: Denoiser, *, c: float = 5.0, level: float = 0.8) -> CopyRange:
        """Its zone and copy window, by a denoiser that does not copy: see `CopyRange.of`."""
        train = self.small.train
        options: dict[str, Any] = {"c": c, "level": level, "seed": train.seed}
        device = train.device
        return CopyRange.of(self.distinct, self.heldout, denoise, **options, device=device)

    @property
    def dummy(self) -> dict[str, Any]:
        """What a model with a dummy class changes: see `geomem.diffusion.presets.dummy`."""
        return presets.dummy(self.small, self.data.train)

    def train(
        self, settings: Mapping[str, Mapping[str, Any]], keys: Iterable[Key]
    ) -> dict[Key, Trained]:
        """Small models of several kinds, trained now where the store does not hold them.

        Parameters
        ----------
        settings : kind -> what it changes, as `geomem.diffusion.presets.changed` takes it.
        keys : kind and seed of each training.
        """
        wanted = {
            (kind, seed): presets.changed(self.small, {**settings[kind], "train.seed": seed})
            for kind, seed in keys
        }
        return dict(zip(wanted, fitting.train_or_load([*wanted.values()]), strict=True))

    def bench(
        self,
        *,
        n: int,
        sigmas: Floats,
        solver: str = "heun",
        features: Mapping[str, Features] | None = None,
        inception: bool = False,
    ) -> Bench:
        """The bench of its models, judged by the held-out images of `judging`.

        Parameters
        ----------
        n, sigmas, solver : as of `Bench`.
        features : name -> features of the Frechet distances; default `quality.features_of`.
        inception : also those of Inception, for FID.
        """
        seed, device = self.small.train.seed, device_of(self.small.train.device)
        found = dict(features or quality.features_of(self.everything, self.unseen, seed=seed))
        if inception:
            found["Inception features (FID)"] = quality.InceptionFeatures(device=device)
        options: dict[str, Any] = {"n": n, "sigmas": sigmas, "solver": solver}
        judges = self.distinct, self.judging, self.unseen
        return Bench(*judges, found, **options, seed=seed, device=device)

    def in_words(self, stops: Mapping[int, Stopping], stop_share: float) -> dict[str, str]:
        """Its data set, numbers of images and steps, and when it is stopped, as text, for prose."""
        sizes = {
            "n_train": len(self.data.train),
            "n_unseen": len(self.unseen),
            "n_choosing": len(self.choosing),
            "n_judging": len(self.judging),
            "n_steps": self.small.train.steps,
            "fixed_step": self.small.train.step_of(stop_share),
        }
        return {
            "dataset": self.data.name,
            "stop_steps": ", ".join(f"{stop.step:,}" for stop in stops.values()),
            "stop_share": f"{stop_share:.1%}",
            **{name: f"{size:,}" for name, size in sizes.items()},
        }
