"""Values read off the paper's figures, to be drawn as marks and never as our curves.

Read from published pictures to about one pixel; the numbers behind them are not known. What the
paper states in numbers is in `stated`.

- ``fig2_per_noise_memorization.csv``: Figure 2, CIFAR-10; percent of the denoised test images
  that are memorized: the empirical denoiser of 1,000 images, EDMs trained on 1,000 and 50,000;
  levels 5 to 14 of the 18-step grid. The last curve is about zero.
- ``fig4_gap_training.csv``: Figure 4, CIFAR-10 cars, 2,000 training images; FID, and percent of
  the samples that are memorized, against thousands of iterations: gap training, baseline, dummy
  class. The memorized percentages to about half a percent.
- ``figE3_max_weight.csv``: the figure of appendix E.3, "Max Posterior Weight (N=1000)", CIFAR-10;
  one random 1,000-image subset, 100 training base points, 400 corruptions each.
- ``fig5_celeba_curves.csv``: the coverage and maximum-weight curves of Figure 5, CelebA,
  1,024 down-sampled gray training images.
- ``fig5_celeba_gaps.csv``: the gaps of Figure 5, as DDPM steps and as noise levels, and the
  percent of samples memorized; the first row is training without a gap. Four percentages
  (74.97, 42.93, 13.45, 9.24) are given in the paper's text, the others decoded from the colours
  of the bars; 71 is the end of the colour scale, so the two are at least that.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Digitized:
    """A digitized table: ``table["sigma"]`` is a column; the rest is its provenance."""

    name: str
    source: str
    sha256: str
    columns: dict[str, np.ndarray]

    def __getitem__(self, column: str) -> np.ndarray:
        return self.columns[column]


def load(name: str) -> Digitized:
    """A digitized table by its file's name, e.g. ``load("figE3_max_weight")["sigma"]``."""
    content = (Path(__file__).parent / f"{name}.csv").read_bytes()
    header, *rows = content.decode().splitlines()
    values = np.loadtxt(rows, delimiter=",").T
    columns = dict(zip(header.split(","), values, strict=True))
    digest = hashlib.sha256(content).hexdigest()
    return Digitized(name, "read off a figure of the paper", digest, columns)
