"""What the geometry costs, as ratios measured in one run: python benchmarks/geometry.py [--large]

Both curves at N = 1,000 against the float64 matrix products that they cannot do without,
(2 + weight draws + coverage draws) of 1000 x 3072 x 1000; with --large also N = 50,000 with
its peak memory. The images are random of CIFAR-10's size: the cost depends on the shapes only.
"""

import argparse
import resource
import time

import numpy as np
import torch

import geomem

N, D, SIGMAS, WEIGHT_DRAWS, COVERAGE_DRAWS = 1000, 3072, 20, 4, 8


def best(action, repeats=5):
    """The shortest of several runs, in seconds, after one to warm up."""
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def curves(train, heldout, queries, sigmas):
    geomem.max_posterior_weight(train, sigmas, queries=queries, draws=WEIGHT_DRAWS)
    geomem.shell_coverage(heldout, train, sigmas, draws=COVERAGE_DRAWS)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="also N = 50,000 (about two minutes)")
    large = parser.parse_args().large
    rng = np.random.default_rng(0)
    # Spread as CIFAR-10 is: nearest neighbours at about 21, the rms radius at about 28.
    train = 0.5 * rng.standard_normal((N, D), dtype=np.float32)
    heldout = 0.5 * rng.standard_normal((N, D), dtype=np.float32)
    sigmas = np.geomspace(0.002, 80, SIGMAS)

    products = 2 + WEIGHT_DRAWS + COVERAGE_DRAWS
    a, b = (torch.randn(N, D, dtype=torch.float64) for _ in range(2))
    floor = products * best(lambda: a @ b.T)
    rate = 2 * N * N * D * products / 1e9
    both = best(lambda: curves(train, heldout, None, sigmas))
    print(f"{torch.get_num_threads()} threads, N = {N}, d = {D}, {SIGMAS} noise levels")
    print(f"{products} float64 products: {floor:.2f} s, {rate / floor:.0f} GFLOP/s")
    print(f"both curves: {both:.2f} s, {rate / both:.0f} GFLOP/s, ratio {both / floor:.2f}")

    if large:
        train = rng.standard_normal((50 * N, D), dtype=np.float32)
        train *= 0.5
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        start = time.perf_counter()
        curves(train, heldout, train[:N], sigmas)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"N = {50 * N}, {N} queries: {seconds:.0f} s, ratio {seconds / (50 * floor):.2f}")
        print(f"peak memory {peak:.2f} GiB, of which {before:.2f} GiB before the call")


if __name__ == "__main__":
    main()
