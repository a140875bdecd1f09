"""Is it a denoiser? Its answers, held against two trivial ones, and against the usual mistakes.

A mistake is mended by asking and reading the network in another way; one whose mended answers are
right where the plain ones are wrong is what it looks like. Ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geomem.denoisers.adapter import TARGETS, Target, denoised, edm_target
from geomem.diffusion.network import EDMDenoiser
from geomem.diffusion.schedules import Schedule
from geomem.geometry.arrays import Array, Floats, check_count, check_sigmas
from geomem.geometry.denoiser import Denoiser, answer
from geomem.geometry.distances import Points, noise_like
from geomem.geometry.intervals import student_half

SMALL, LARGE = 0.05, 10.0  # noise levels over the standard deviation of the pixels
AWFUL = 2.0  # times the error of the better trivial answer: no denoiser, however little trained
TINY = 1e-30  # an error that is 0, of one that knows the images by heart: it has a logarithm
BETTER = 1.1  # times smaller, over the levels, is the error of another reading
SAID = {
    "x0": "the clean image",
    "epsilon": "the noise (epsilon), not the image",
    "v": "v, not the image",
    "image - noise": "a flow's velocity (data at t = 1), not the image",
    "noise - image": "a flow's velocity (data at t = 0), not the image",
    "score": "the score, not the image",
}
RANGES = {"[0, 1]": (0.0, 1.0), "[-1, 1]": (-1.0, 1.0), "[0, 255]": (0.0, 255.0)}
VP = "sqrt(alpha_bar) x + sqrt(1 - alpha_bar) z"
FLOW = "(x + sigma z) / (1 + sigma)"
BACKWARDS = "is asked at times that run the wrong way"
UNKNOWN = (
    "is worse than a trivial answer, and like no mistake that is known "
    "(is it trained, on such images?)"
)
NAMED = ("linear", "scaled_linear", "cosine")

Asked = Callable[[float, float, float], Tensor]  # a, c, level -> denoise(a y + c, level)
Numbers = Callable[[float], float]


class Mistake(NamedTuple):
    """What may be wrong, and the answer at sigma when it is mended.

    ``mend(ask, y, sigma)`` asks with a y + c and a level, as ``ask(a, c, level)``. A mild one
    leaves answers that are better than the trivial ones.
    """

    words: str
    mend: Callable[[Asked, Tensor, float], Tensor]
    mild: bool = False


@dataclass(frozen=True)
class DenoiserCheck:
    """What `check_denoiser` found.

    Attributes
    ----------
    sigma : (S,) noise levels, data units.
    error, of_input, of_mean : (S,) mean squared error per image, data units squared: of the
        denoiser, of its input taken for the answer, of the mean image.
    mistake : what it looks like; "" if it looks like a denoiser.
    """

    sigma: Floats
    error: Floats
    of_input: Floats
    of_mean: Floats
    mistake: str

    @property
    def passed(self) -> bool:
        """Whether no mistake is seen."""
        return not self.mistake

    @property
    def ratio(self) -> Floats:
        """(S,) its error over that of the better trivial answer."""
        return self.error / np.minimum(self.of_input, self.of_mean)

    def __str__(self) -> str:
        """In one line."""
        worst = int(self.ratio.argmax())
        trivial = "its input" if self.of_input[worst] < self.of_mean[worst] else "the mean image"
        held = (
            f"at sigma {self.sigma.min():.3g} to {self.sigma.max():.3g} its error is at most "
            f"{self.ratio[worst]:.3g} times that of {trivial} (at {self.sigma[worst]:.3g})"
        )
        return f"{'looks like a denoiser' if self.passed else self.mistake}: {held}."


def check_denoiser(
    denoise: Denoiser,
    train: Array,
    sigmas: Array | None = None,
    *,
    images: int = 32,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> DenoiserCheck:
    """Whether what is called a denoiser is one: better than two trivial answers, at every level.

    At small noise the input itself is a good answer, at large noise the mean image; a denoiser
    beats both. One that does not, or that would be better if it were read in another way, is told
    what it looks like: the noise, a velocity, v or a score taken for the image, an input that is
    not scaled, a time that is off or runs the wrong way, images of another range.

    Parameters
    ----------
    denoise : callable
        Any denoiser ``denoise(x, sigma)``; it sees float32 tensors.
    train : array (N, ...)
        Images that it was trained on, data units, at least 2; on others one that memorizes fails.
    sigmas : array (S,) or None
        Noise levels, data units, > 0; None for 5 from 0.05 to 10 times the root mean square
        deviation of the pixels from the mean image, within the denoiser's own sigma_min and
        sigma_max.
    images : int
        How many of them are taken, evenly spread, >= 2. Each is denoised once a level, if nothing
        is wrong nine times more, and else up to thirty.
    seed : int
        Seed of the noise.
    device : str or torch.device
        "auto", or a torch device.

    Returns
    -------
    DenoiserCheck
        ``passed``; ``mistake``, in words; ``sigma``, ``error``, ``of_input``, ``of_mean``, (S,)
        each, data units squared per image; as text one line.

    Raises
    ------
    ValueError
        If there are fewer than 2 images, values are not finite, or the denoiser fails.

    References
    ----------
    Ours; see :doc:`/book/setting`.

    Examples
    --------
    >>> from geomem import GaussianDenoiser, check_denoiser, load_dataset
    >>> train = load_dataset("digits", n_train=64).train
    >>> right = GaussianDenoiser(train)
    >>> check_denoiser(right, train).passed
    True
    >>> check_denoiser(lambda x, sigma: (x - right(x, sigma)) / sigma, train).mistake
    'predicts the noise (epsilon), not the image'
    """
    points = Points(train, "train", device)
    count = min(check_count("images", images), len(points))
    chosen = np.unique(np.linspace(0, len(points) - 1, count).astype(np.int64))
    if len(chosen) < 2:
        raise ValueError("check_denoiser: needs at least 2 images.")
    x = points.block(chosen)
    z = noise_like(np.random.default_rng(seed), x)
    shape, deviation = (-1, *points.shape[1:]), float((x - x.mean(0)).square().mean().sqrt())
    if not deviation > 0:
        raise ValueError("check_denoiser: the images are all equal; it needs some that differ.")
    levels = _levels(denoise, deviation) if sigmas is None else check_sigmas(sigmas)
    trial = _Trial(denoise, x.reshape(shape), z.reshape(shape), levels)
    plain = trial.errors(lambda ask, y, s: ask(1.0, 0.0, s))
    mean = np.full(len(levels), float((x - x.mean(0)).square().sum(1).mean()))
    of_input = levels**2 * float(z.square().sum(1).mean())
    words = _named(trial, plain, of_input, mean)
    return DenoiserCheck(levels, plain.mean(1), of_input, mean, words)


class _Trial:
    """One noisy version of each image at each level, and a denoiser asked about them."""

    def __init__(self, denoise: Denoiser, x: Tensor, z: Tensor, levels: Floats):
        self.denoise, self.x, self.z, self.levels = denoise, x, z, levels
        self.ask = cache(self._ask)  # several mistakes differ in how an answer is read only

    def noisy(self, sigma: float) -> Tensor:
        return self.x + sigma * self.z

    def _ask(self, sigma: float, a: float, c: float, level: float) -> Tensor:
        return answer(self.denoise, (a * self.noisy(sigma) + c).float(), level).double()

    def errors(self, mend: Callable[[Asked, Tensor, float], Tensor]) -> Floats:
        """(S, n) squared error of each image's answer, data units squared."""
        return np.stack([self.error(mend, s) for s in self.levels.tolist()])

    def mended(self, mend: Callable[[Asked, Tensor, float], Tensor]) -> Floats:
        """The same, NaN at the levels where the denoiser refuses to be asked so."""
        rows = np.full((len(self.levels), len(self.x)), np.nan)
        for row, s in zip(rows, self.levels.tolist(), strict=True):
            with suppress(ValueError, ArithmeticError, LookupError):
                row[:] = self.error(mend, s)
        return rows

    def error(self, mend: Callable[[Asked, Tensor, float], Tensor], s: float) -> Floats:
        found = mend(lambda a, c, level: self.ask(s, a, c, level), self.noisy(s), s)
        error: Floats = (found - self.x).square().flatten(1).sum(1).cpu().numpy()
        return error


def _levels(denoise: Denoiser, deviation: float) -> Floats:
    least = float(getattr(denoise, "sigma_min", 0.0))
    most = float(getattr(denoise, "sigma_max", math.inf))
    low, high = (min(max(share * deviation, least), most) for share in (SMALL, LARGE))
    return np.geomspace(low, high, 5) if low < high else np.array([low])


def _named(trial: _Trial, plain: Floats, of_input: Floats, of_mean: Floats) -> str:
    """The mistake that it looks like, "" for none."""
    trivial, plain = np.minimum(of_input, of_mean), np.maximum(plain, TINY)
    failed, worst = plain.mean(1) > AWFUL * trivial, (plain.mean(1) / trivial).max()
    if failed.any() and (trivially := _resembled(trial)):
        return trivially
    # A mended answer has to be good, and not only nearer to a trivial one: better than the input
    # shrunk, which is the best that knows nothing of images but their spread.
    shrunk, most = 1 / (1 / of_input + 1 / of_mean), np.clip(worst / 10, 1.05, AWFUL)
    known_clock = isinstance(trial.denoise, EDMDenoiser)  # takes sigma, and not a time of its own
    found = dict[str, float]()
    for mistake in _mistakes(trial.x):
        if not failed.any() and (known_clock or not mistake.mild):
            continue
        mended = np.maximum(trial.mended(mistake.mend), TINY)
        known = ~np.isnan(mended[:, 0])
        if known.sum() <= len(known) / 2 or not known[failed].all():
            continue
        error = np.where(known, mended.mean(1), plain.mean(1))
        good = np.log(error / shrunk).mean() < -np.log(BETTER)
        right = good and np.all((error / trivial)[known] <= most)
        if right and (failed.any() or _better(mended, plain)):
            found.setdefault(mistake.words, float(np.log(error / trivial).mean()))
    if found:
        return min(found, key=lambda words: round(found[words], 2))  # of equals the first, simplest
    return UNKNOWN if failed.any() else ""


def _better(mended: Floats, plain: Floats) -> bool:
    """Whether other answers are much better over the levels, surely so, and not worse at any."""
    known = ~np.isnan(mended[:, 0])
    scale = plain[known].mean(1)
    gain = -np.log(mended[known].mean(1) / scale)
    each = ((plain - mended)[known] / scale[:, None]).mean(0)
    sure = each.mean() > 2 * student_half(each)
    # At small noise another level may suit a network that knows its images by heart, or that was
    # trained less there. A clock that is off shows at large noise, too, where all are alike.
    beyond = gain[-2:].max() > np.log(BETTER)
    return bool(gain.mean() > np.log(BETTER) and sure and beyond and np.all(gain > -0.05))


def _resembled(trial: _Trial) -> str:
    """Which of the trivial answers it gives, "" for none."""
    answers = [trial.ask(s, 1.0, 0.0, s) for s in trial.levels.tolist()]
    mean = trial.x.mean(0)

    def near(targets: list[Tensor], scales: list[float]) -> bool:
        pairs = zip(answers, targets, scales, strict=True)
        return all(float((a - t).square().mean()) < 0.05 * u**2 for a, t, u in pairs)

    levels = trial.levels.tolist()
    if near([trial.noisy(s) for s in levels], levels):
        return "answers with its input, whatever the noise (is it trained?)"
    if near([mean] * len(levels), [float((trial.x - mean).square().mean().sqrt())] * len(levels)):
        return "answers with the mean image, whatever it is shown (is it trained?)"
    return ""


def _mistakes(x: Tensor) -> Iterator[Mistake]:
    """What is usually wrong."""
    yield from _readings()
    yield from _clocks()
    low, high = min(float(x.min()), 0), float(x.max())
    own = next((name for name, (a, b) in RANGES.items() if a <= low and high <= b), None)
    for name, (a, b) in RANGES.items():
        if own not in (None, name):
            k = (b - a) / (RANGES[own][1] - RANGES[own][0])
            words = f"works on images in {name}, and these are in {own}"
            yield Mistake(words, _moved(k, a - k * RANGES[own][0]))
    mean, std = float(x.mean()), float(x.std())
    words = "works on images of mean 0 and variance 1, and these are not"
    yield Mistake(words, _moved(1 / std, -mean / std))


def _readings() -> Iterator[Mistake]:
    """Another answer than the image, another scale or clock of what is asked."""
    for name in ("epsilon", "v", "image - noise", "noise - image", "score"):
        yield _read(f"predicts {SAID[name]}", _one, _same, TARGETS[name])
    for name in ("x0", "epsilon", "v"):
        words = f"predicts {SAID[name]}, and is to be shown {VP}"
        yield _read(words, _vp, _same, TARGETS[name])
        for kind in NAMED:
            asked = f"{words} at a timestep of DDPM's {kind} schedule"
            yield _read(asked, _vp, _timestep(Schedule.ddpm(kind)), TARGETS[name])
    for name in ("x0", "epsilon", "image - noise", "noise - image"):
        words = f"predicts {SAID[name]}, and is to be shown {FLOW}"
        yield _read(words, _flow, _same, TARGETS[name])
        for time, level in FLOW_TIMES.items():
            yield _read(f"{words} at the time {time}", _flow, level, TARGETS[name])
    for unit in (0.5, 1.0):
        words = f"is EDM's F, to be preconditioned with sigma_data {unit:g}"
        yield _read(words, _c_in(unit), lambda s: math.log(s) / 4, edm_target(unit))


def _read(words: str, scale: Numbers, level: Numbers, target: Target) -> Mistake:
    def mend(ask: Asked, y: Tensor, s: float) -> Tensor:
        return denoised(y, ask(scale(s), 0.0, level(s)), np.array(s), target)

    return Mistake(words, mend)


def _clocks() -> Iterator[Mistake]:
    """A level or a time that is off, of a network that is otherwise read rightly."""
    yield _leveled("takes its noise level for twice what it is", lambda s: s / 2)
    yield _leveled("takes its noise level for half of what it is", lambda s: 2 * s)
    yield _leveled("wants the variance, not the standard deviation", lambda s: s**2)
    named = {name: Schedule.ddpm(name) for name in NAMED}
    for (right, own), (other, wrong) in permutations(named.items(), 2):
        words = f"is asked at the timesteps of DDPM's {other} schedule, and has the {right} one"
        yield from _warped(words, _at(own, wrong, lambda t: t), _vp, mild=True)
    for own in named.values():
        yield from _warped(BACKWARDS, _at(own, own, lambda t: 999 - t), _vp)
    yield from _warped(BACKWARDS, lambda s: 1 / s, _flow)


def _leveled(words: str, level: Numbers) -> Mistake:
    return Mistake(words, lambda ask, y, s: ask(1.0, 0.0, level(s)), mild=True)


def _at(own: Schedule, taken: Schedule, time: Numbers) -> Numbers:
    """The level at which one schedule has the time that another one has at sigma."""
    timestep = _timestep(own)
    return lambda s: float(taken.sigma(time(timestep(s))))


def _warped(words: str, taken: Numbers, scale: Numbers, mild: bool = False) -> Iterator[Mistake]:
    """A network asked at the time of another level: ``taken`` is where it has the right time."""
    for name in ("x0", "epsilon", "v") if scale is _vp else ("x0", "noise - image"):
        yield Mistake(words, _answered_at(taken, scale, TARGETS[name]), mild)


def _answered_at(
    taken: Numbers, scale: Numbers, target: Target
) -> Callable[[Asked, Tensor, float], Tensor]:
    def mend(ask: Asked, y: Tensor, s: float) -> Tensor:
        other = taken(s)
        a = scale(s) / scale(other)
        p, q = (float(number[0]) for number in target(np.array([other])))
        m = ask(a, 0.0, other)  # what it made of the network's answer is undone
        return denoised(y, p * m + q * (a * y - m) / other, np.array(s), target)

    return mend


def _moved(k: float, c: float) -> Callable[[Asked, Tensor, float], Tensor]:
    """Images in other units: the network's are k x + c."""
    return lambda ask, y, s: (ask(k, c, k * s) - c) / k


def _timestep(schedule: Schedule) -> Numbers:
    """The timestep of a level; of one that it does not have the first or the last."""
    return lambda s: float(schedule.time(np.clip(s, *schedule.ends)))


def _one(s: float) -> float:
    return 1.0


def _same(s: float) -> float:
    return s


def _vp(s: float) -> float:
    return 1 / math.hypot(1, s)


def _c_in(sigma_data: float) -> Numbers:
    return lambda s: 1 / math.hypot(s, sigma_data)


def _flow(s: float) -> float:
    return 1 / (1 + s)


FLOW_TIMES: dict[str, Numbers] = {
    "t = 1 / (1 + sigma)": _flow,
    "t = sigma / (1 + sigma)": lambda s: s / (1 + s),
    "1000 sigma / (1 + sigma)": lambda s: 1000 * s / (1 + s),
}
