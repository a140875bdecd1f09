"""Subsets and clusters of a finite set, found from its distances alone (ours).

What they are for: n_sigma(D) = N W_sigma(D), the integral of the largest of N noise densities,
counts the points that noise of level sigma leaves apart. It grows with the set,

    n(S) <= n(D) for S in D,

and two sets share at least what their closest points share, Q the normal tail:

    n(A and B together) <= n(A) + n(B) - 2 Q(gap / (2 sigma)),  gap the least distance between them.

So any subset bounds W_sigma from below and any tree of clusters from above; here good ones are
chosen. Whatever is chosen, the bounds hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform
from scipy.special import ndtr

from geomem.geometry.arrays import Floats

Indices = NDArray[np.intp]
UNEVEN = 0.9  # a cluster with a part of more than this share of it adds little to that part


def farthest_first(distances: Floats) -> Indices:
    """The points in an order in which each is the one farthest from all before it: (N,).

    Its first P points are spread nearly as well as P points can be, for every P (Gonzalez 1985).
    """
    order = [int(distances.max(1).argmax())]
    nearest = distances[order[0]].copy()
    for _ in range(len(distances) - 1):
        nearest[order[-1]] = -1  # a copy of it may still come
        order.append(int(nearest.argmax()))
        np.minimum(nearest, distances[order[-1]], out=nearest)
    return np.array(order)


def thinned(distances: Floats, sigma: float) -> Indices:
    """A subset with a large union bound |S| - sum_{i, j in S} Q(d_ij / (2 sigma)): its indices.

    The point whose neighbours cost most goes first, as long as it costs more than it counts.
    """
    shared = ndtr(distances * (-0.5 / sigma))
    np.fill_diagonal(shared, 0)
    cost = shared.sum(1)
    while cost[worst := int(cost.argmax())] > 0.5:
        cost -= shared[worst]
        cost[worst] = -np.inf
    return np.flatnonzero(np.isfinite(cost))


@dataclass(frozen=True)
class Clusters:
    """Ward's tree of N points, from single points to all: cluster N + k joins two earlier ones.

    Attributes
    ----------
    parts : (N - 1, 2) which two.
    gaps : (N - 1,) the least distance between them, data units.
    measured : (K,) the k whose points' distances to their own mean are known; the last is all.
    sizes : (K,) how many points these clusters have.
    radii : (sum of sizes,) the distances, cluster after cluster, data units.
    """

    parts: Indices
    gaps: Floats
    measured: Indices
    sizes: Indices
    radii: Floats

    @classmethod
    def of(cls, distances: Floats) -> Clusters:
        """The tree of points with these (N, N) distances, data units.

        A cluster of which one part has nearly all points is not measured: so the time grows as
        N^2 and ``radii`` as N log N whatever the tree.
        """
        parts = linkage(squareform(distances, checks=False), "ward")[:, :2].astype(int)
        members = {i: np.array([i]) for i in range(len(distances))}
        gaps, measured, radii = np.empty(len(parts)), [], []
        for k, (a, b) in enumerate(parts):
            one, other = members.pop(a), members.pop(b)
            gaps[k] = distances[np.ix_(one, other)].min()
            members[len(distances) + k] = both = np.concatenate([one, other])
            if max(len(one), len(other)) <= UNEVEN * len(both) or k == len(parts) - 1:
                squared = (distances[np.ix_(both, both)] ** 2).mean(1)
                measured.append(k)
                radii.append(np.sqrt(np.maximum(squared - squared.mean() / 2, 0)))
        sizes = np.array([*map(len, radii)])
        return cls(parts, gaps, np.array(measured), sizes, np.concatenate(radii))

    def counted(self, own: Floats, levels: Floats) -> Floats:
        """n_sigma of all points from above: (S,), from that of each measured cluster, (K, S)."""
        n = len(self.parts) + 1
        shared = 2 * ndtr(-self.gaps[:, None] / (2 * levels))
        limit = np.full((n - 1, len(levels)), np.inf)
        limit[self.measured] = own
        count = np.ones((2 * n - 1, len(levels)))
        for k, (a, b) in enumerate(self.parts):
            count[n + k] = np.minimum(limit[k], count[a] + count[b] - shared[k])
        return count[-1]
