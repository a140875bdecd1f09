"""What the geometry costs, as ratios measured in one run: python benchmarks/geometry.py

Both curves at N = 1,000 against the float64 matrix products that they cannot do without,
(2 + weight draws + coverage draws) of 1000 x 3072 x 1000, with one thread and with two; with
--busy also while another process spins, with --large also N = 50,000 with its peak memory.
Whatever is compared is measured in turns, and the best of each is printed.

The images are random, of CIFAR-10's size: some of its spectrum, and some all equally far from each
other, for what the bounds leave out depends on the distances.
"""

import argparse
import contextlib
import itertools
import resource
import subprocess
import sys
import time

import numpy as np
import torch

import geomem

N, D, SIGMAS, WEIGHT_DRAWS, COVERAGE_DRAWS = 1000, 3072, 20, 4, 8
PRODUCTS = 2 + WEIGHT_DRAWS + COVERAGE_DRAWS
THREADS = (1, 2)
TURNS = 5
LEVELS = np.geomspace(0.002, 80, SIGMAS)
RADIUS = 28  # root mean square distance to the mean, as CIFAR-10's


def images(n, decay, seed):
    """Random images whose standard deviations along their axes fall with a power."""
    scales = np.arange(1, D + 1) ** -decay
    rows = np.random.default_rng(seed).standard_normal((n, D), dtype=np.float32)
    rows *= (RADIUS * scales / np.linalg.norm(scales)).astype(np.float32)
    return rows


def seconds(action):
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def curves(train, heldout, queries=None):
    """Both, on the CPU, where the products are."""
    how = {"device": "cpu"}
    geomem.max_posterior_weight(train, LEVELS, queries=queries, draws=WEIGHT_DRAWS, **how)
    geomem.shell_coverage(heldout, train, LEVELS, draws=COVERAGE_DRAWS, **how)


@contextlib.contextmanager
def spinning():
    """Another process that takes a core for itself."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def compare(beside):
    """Print the best times of the products and the curves, by threads."""
    a, b = (torch.randn(N, D, dtype=torch.float64) for _ in range(2))
    actions = {"products": lambda: [a @ b.T for _ in range(PRODUCTS)]}
    for name, decay in (("as CIFAR-10", 0.75), ("equally far", 0.0)):
        sets = images(N, decay, 0), images(N, decay, 1)
        actions[name] = lambda sets=sets: curves(*sets)
    best = dict.fromkeys(itertools.product(THREADS, actions), float("inf"))
    for _, (threads, name) in itertools.product(range(TURNS), best):
        torch.set_num_threads(threads)
        best[threads, name] = min(best[threads, name], seconds(actions[name]))
    for threads in THREADS:
        products, *both = (best[threads, name] for name in actions)
        shown = (
            f"{name} {found:.2f} s, ratio {found / products:.2f}"
            for name, found in zip([*actions][1:], both, strict=True)
        )
        rate = 2 * N * N * D * PRODUCTS / 1e9 / products
        print(
            f"{beside}, {threads} thread{'s' * (threads > 1)}: "
            f"{PRODUCTS} products {products:.2f} s ({rate:.0f} GFLOP/s); "
            f"both curves, images {'; '.join(shown)}",
            flush=True,
        )


def large():
    """Print the time and the memory of 50,000 training images."""
    a, b = (torch.randn(N, D, dtype=torch.float64) for _ in range(2))
    floor = 50 * PRODUCTS * min(seconds(lambda: a @ b.T) for _ in range(TURNS))
    train, heldout = images(50 * N, 0.75, 0), images(N, 0.75, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    found = seconds(lambda: curves(train, heldout, train[:N]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"N = {50 * N}, {N} queries: {found:.0f} s, ratio {found / floor:.2f}")
    print(f"peak memory {peak:.2f} GiB, of which {before:.2f} GiB before the call")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--busy", action="store_true", help="also beside a process that spins")
    parser.add_argument("--large", action="store_true", help="also N = 50,000 (about two minutes)")
    asked = parser.parse_args()
    threads = torch.get_num_threads()
    print(f"N = {N}, d = {D}, {SIGMAS} noise levels, {torch.backends.cpu.get_cpu_capability()}")
    compare("idle")
    if asked.busy:
        with spinning():
            compare("busy")
    if asked.large:
        torch.set_num_threads(threads)
        large()


if __name__ == "__main__":
    main()
