"""Make fashion_mini.npz from the full Fashion-MNIST: python -m geomem.data.make_fashion_mini

The first 200 training images and the first 100 test images of each class, in canonical
order; deterministic, so a second run gives the same pixels.
"""

import numpy as np

from geomem.data.named import SHIPPED
from geomem.data.sets import load_dataset


def main() -> None:
    full = load_dataset("fashion-mnist")
    arrays = {}
    for part, images, each in (("train", full.train, 200), ("heldout", full.heldout, 100)):
        labels = getattr(full.labels, part)
        rows = np.sort(np.concatenate([np.flatnonzero(labels == k)[:each] for k in range(10)]))
        arrays[part] = np.rint((images[rows, 0] + 1) * 127.5).astype(np.uint8)
        arrays[f"{part}_labels"] = labels[rows].astype(np.uint8)
        arrays[f"{part}_indices"] = rows
    target = SHIPPED / "fashion_mini.npz"
    partial = target.with_suffix(".part.npz")
    np.savez_compressed(partial, **arrays)
    partial.replace(target)
    print(f"{target.name}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
