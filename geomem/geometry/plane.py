"""Five training points of the plane: all of the paper's geometry where it can be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from geomem.geometry.arrays import Floats
from geomem.geometry.coverage import shell_coverage, shell_mass
from geomem.geometry.curve import Curve
from geomem.geometry.posterior import max_posterior_weight
from geomem.geometry.regimes import Regimes, find_regimes

POINTS = ((-1.9, 0.9), (-0.3, 1.5), (1.7, 1.1), (0.9, -1.2), (-1.2, -1.1))
THIN = 0.05  # a shell parameter with which shells of the plane are thin rings


@dataclass(frozen=True)
class Plane:
    """Both curves and the regimes of a few training points of the plane, on fixed draws.

    In two dimensions a shell that holds nearly all the noise is a disc, and a ring that is thin
    holds little of it: what makes shells both thin and full is a large dimension.

    Parameters
    ----------
    points : (N, 2) training points, data units.
    c : shell parameter of Lemma 4.5, > 0; 1 gives a disc with 97% of the noise.
    half : new points are uniform on the square around the origin with this half side.
    n : how many new points, at least as many as training points.
    draws : noise draws of each point.
    level : of the rule for the danger zone.
    seed : of the new points and of the noise.

    Examples
    --------
    >>> plane = Plane(draws=8)
    >>> bool(plane.coverage.mean[0] < 0.2 and plane.weight.mean[0] > 0.99)
    True
    """

    points: Sequence[Sequence[float]] | Floats = POINTS
    c: float = 1.0
    half: float = 2.5
    n: int = 32
    draws: int = 256
    level: float = 0.8
    seed: int = 0

    @property
    def sigma(self) -> Floats:
        """The noise levels of both curves, data units."""
        return np.geomspace(0.05, 10, 49)

    @property
    def fresh(self) -> Floats:
        """The new points, (n, 2)."""
        stream = np.random.default_rng(self.seed)
        return stream.uniform(-self.half, self.half, (self.n, 2)).round(3)

    @property
    def noise(self) -> Floats:
        """The noise of all points, (draws, n, 2), as `shell_coverage` draws it.

        Row q is that of new point q, and of training point q.
        """
        streams = (np.random.default_rng([self.seed, k]) for k in range(self.draws))
        return np.stack([stream.standard_normal((self.n, 2)) for stream in streams])

    @cached_property
    def coverage(self) -> Curve:
        """C_sigma of the new points."""
        how = dict[str, Any](c=self.c, draws=self.draws, seed=self.seed, device="cpu")
        return shell_coverage(self.fresh, np.array(self.points), self.sigma, **how)

    @cached_property
    def weight(self) -> Curve:
        """W_sigma of the training points."""
        how = dict[str, Any](draws=self.draws, seed=self.seed, device="cpu")
        return max_posterior_weight(np.array(self.points), self.sigma, **how)

    @cached_property
    def regimes(self) -> Regimes:
        """The three regimes; ValueError where a curve does not pass the level."""
        return find_regimes(self.coverage, self.weight, self.level, seed=self.seed)

    @property
    def handed(self) -> dict[str, Any]:
        """What the live figure computes from: the same points and noise, in single precision."""
        single = {"fresh": self.fresh, "noise": self.noise}
        handed: dict[str, Any] = {k: array.astype(np.float32) for k, array in single.items()}
        handed |= {"sigma": self.sigma, "points": np.ravel(self.points)}
        return handed | {name: getattr(self, name) for name in ("c", "level", "half")}

    @property
    def in_words(self) -> dict[str, str]:
        """The settings, the zone and what shells hold and cover, these and thin ones, as text."""
        settings = ("c", "level", "n", "draws", "half")
        said = {"thin": f"{THIN:g}", **{name: f"{getattr(self, name):g}" for name in settings}}
        zone = self.regimes
        said |= {"covered": str(zone.covered), "concentrated": str(zone.concentrated)}
        said["most_thin"] = f"{replace(self, c=THIN).coverage.mean.max():.2f}"
        held = {"held": self.c, "held_thin": THIN}
        return said | {k: f"{shell_mass(0.0, 2, c):.0%}" for k, c in held.items()}

    def at(self, sigma: float) -> Floats:
        """The new points with the first noise of each: (n, 2)."""
        moved: Floats = self.fresh + sigma * self.noise[0]
        return moved
