"""Padding with zeros: what it leaves alone, and where it takes coverage."""

import numpy as np
import pytest
from scipy.special import erf

from geomem import shell_mass
from geomem.geometry.padding import Padding, padded


def test_it_changes_nothing_but_coverage(rng):
    train, heldout = rng.normal(size=(60, 12)), rng.normal(size=(40, 12))
    found = Padding.of(heldout, train, [12, 100, 3000])
    assert [*found.geometries] == [12, 100, 3000] and found.change < 1e-9
    first, *others = found.geometries.values()
    for other in others:  # W with other noise: four standard errors of twice 480 draws
        np.testing.assert_allclose(other.weight.mean, first.weight.mean, atol=4 * 0.35 / 240**0.5)
    for curve in found.overlaps.values():
        np.testing.assert_allclose(curve.mean, found.overlaps[12].mean, atol=1e-12)
    starts = [*found.starts.values()]
    assert starts == sorted(starts, reverse=True) and starts[-1] < starts[0] / 2
    edges = [geometry.regimes.covered for geometry in found.geometries.values()]
    assert edges[1].high < edges[0].low and edges[2].high < edges[1].low


def test_what_does_not_hold_the_images_is_left_out(rng):
    few = rng.normal(size=(9, 6))
    assert [*Padding.of(few, few[::-1] + 1, [2, 6]).geometries] == [6]
    with pytest.raises(ValueError, match="5 numbers do not hold points of 6"):
        padded(few, 5)


@pytest.mark.parametrize("c", [1.0, 5.0])
def test_padded_far_enough_everything_is_covered_as_often_as_by_one_shell(c):
    """(|Z + r|^2 - d) / sqrt(2 d) is normal in the limit, and the shell all below sqrt(2 c)."""
    r = np.array([0.0, 1.0, 10.0, 40.0])
    np.testing.assert_allclose(shell_mass(r, 10**9, c), erf(np.sqrt(c)), atol=2e-3)
    masses = [shell_mass(r[2:], d, c) for d in (64, 256, 1024, 4096, 16384)]
    assert np.all(np.diff(masses, axis=0) >= 0) and np.all(masses[-1] > masses[0])
