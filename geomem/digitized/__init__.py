"""Values read off the paper's figures, to be drawn as marks and never as our curves.

Read from published pictures to about one pixel; the paper's own numbers are not known.

- ``figE3_max_weight.csv``: the figure of appendix E.3, "Max Posterior Weight (N=1000)", CIFAR-10;
  one random 1,000-image subset, 100 training base points, 400 corruptions each.
- ``fig5_celeba_curves.csv``: the coverage and maximum-weight curves of Figure 5, CelebA,
  1,024 down-sampled gray training images.
"""

from pathlib import Path

import numpy as np


def load(name: str) -> dict[str, np.ndarray]:
    """A digitized table as columns by name, e.g. ``load("figE3_max_weight")["sigma"]``."""
    path = Path(__file__).parent / f"{name}.csv"
    columns = path.read_text().splitlines()[0].split(",")
    return dict(zip(columns, np.loadtxt(path, delimiter=",", skiprows=1).T, strict=True))
