"""Both curves of a training set on disk against the same set in memory, in one run.

    python benchmarks/stream.py [--images N] [--queries Q] [--draws K] [--float32] [--folder DIR]

Random images of 64 x 64 x 3 are written to a file of N x 12,288 bytes (four times as many in
float32), which goes at the end. Of each run it prints the time, and the most memory of its own: not
that in which the system keeps files. The file is read cold, where the system forgets it when told.
"""

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch

import geomem

SHAPE, LEVELS, WRITTEN = (3, 64, 64), np.geomspace(0.002, 80, 20), 1000


class Peak:
    """The most memory of its own that this process takes in a ``with`` block, in GiB."""

    def __enter__(self):
        self.most, self.done = 0, threading.Event()
        self.watch = threading.Thread(target=self.look)
        self.watch.start()
        return self

    def look(self):
        while not self.done.wait(0.02):
            lines = Path("/proc/self/status").read_text().splitlines()
            own = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
            self.most = max(self.most, own / 2**20)

    def __exit__(self, *_):
        self.done.set()
        self.watch.join()


def write(path, n, dtype):
    held = np.lib.format.open_memmap(path, "w+", dtype=dtype, shape=(n, *SHAPE))
    rng = np.random.default_rng(0)
    for i in range(0, n, WRITTEN):
        some = rng.integers(0, 256, (min(WRITTEN, n - i), *SHAPE), np.uint8)
        held[i : i + WRITTEN] = some if dtype == np.uint8 else some / 127.5 - 1
    held.flush()


def forget(path):
    """What the system keeps of a file in memory."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measured(train, heldout, queries, draws):
    """Seconds and GiB of both curves, on the CPU, whose memory and threads are told."""
    how = {"draws": draws, "device": "cpu"}
    with Peak() as peak:
        start = time.perf_counter()
        geomem.max_posterior_weight(train, LEVELS, queries=queries, **how)
        geomem.shell_coverage(heldout, train, LEVELS, **how)
        return time.perf_counter() - start, peak


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--float32", action="store_true", help="not bytes")
    parser.add_argument("--folder", help="where the file is (default: that of temporary files)")
    asked = parser.parse_args()
    dtype = np.dtype(np.float32 if asked.float32 else np.uint8)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        path = Path(folder) / "images.npy"
        write(path, asked.images, dtype)
        size = path.stat().st_size / 2**30
        print(
            f"{asked.images:,} images of {SHAPE} in {dtype}, {size:.2f} GiB; {asked.queries:,} "
            f"queries, {asked.draws} draws, {len(LEVELS)} levels, {torch.get_num_threads()} threads"
        )
        mapped = np.load(path, mmap_mode="r")
        heldout = np.array(mapped[-asked.queries :])[::-1]
        some = mapped[: max(WRITTEN, asked.queries)]
        measured(some, heldout, asked.queries, asked.draws)  # warms up
        forget(path)
        seconds = {}
        for name in ("file", "memory"):
            train = mapped if name == "file" else np.array(mapped)
            seconds[name], peak = measured(train, heldout, asked.queries, asked.draws)
            print(f"from {name}: {seconds[name]:.1f} s, at most {peak.most:.2f} GiB of its own")
        print(f"speed from file over that from memory: {seconds['memory'] / seconds['file']:.2f}")


if __name__ == "__main__":
    main()
