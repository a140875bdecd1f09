"""Noise around a point lies in a thin shell (Lemma 4.5): drawn, and held against it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geomem.geometry.arrays import Floats
from geomem.geometry.coverage import shell_mass, shell_radii


@dataclass(frozen=True)
class NoiseShell:
    """Norms of standard normal vectors, and the shell that should hold nearly all of them.

    Attributes
    ----------
    d : the dimension.
    c : shell parameter of Lemma 4.5, > 0.
    norms : (n,) of n vectors of d numbers each.
    """

    d: int
    c: float
    norms: Floats

    @classmethod
    def of(cls, d: int, c: float = 5.0, *, n: int = 4000, seed: int = 0) -> NoiseShell:
        noise = np.random.default_rng(seed).standard_normal((n, d))
        return cls(d, c, np.linalg.norm(noise, axis=1))

    @property
    def radii(self) -> tuple[float, float]:
        """The inner and the outer radius, in units of sigma."""
        return shell_radii(self.d, self.c)

    @property
    def promised(self) -> float:
        """The share that Lemma 4.5 promises the shell, at least."""
        return float(1 - 2 * np.exp(-self.c))

    @property
    def mass(self) -> float:
        """The exact share."""
        return float(shell_mass(0.0, self.d, self.c))

    @property
    def seen(self) -> float:
        """The share of the vectors that lie in it."""
        low, high = self.radii
        return float(np.mean((self.norms >= low) & (self.norms <= high)))

    @property
    def as_exact(self) -> bool:
        """Whether the share seen is the exact one, with four standard errors allowed."""
        n = len(self.norms)
        margin = 4 * np.sqrt(self.mass * (1 - self.mass) / n) + 1 / n
        return bool(abs(self.seen - self.mass) <= margin)

    @property
    def in_words(self) -> dict[str, str]:
        """Radii, shares and the number of vectors, as text."""
        low, high = self.radii
        shares = {name: getattr(self, name) for name in ("promised", "mass", "seen")}
        return {
            "dimension": str(self.d),
            "around": f"{np.sqrt(self.d):.3g}",
            "r_in": f"{low:.2f}",
            "r_out": f"{high:.2f}",
            "n_seen": f"{len(self.norms):,}",
            **{name: f"{share:.4f}" for name, share in shares.items()},
        }
