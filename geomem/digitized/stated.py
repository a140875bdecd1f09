"""Numbers that the paper states, and what can be counted in the frames of its Figure 10.

What was read off curves and bars lies in the tables beside this module.
"""

from collections.abc import Mapping

REMARK_4_3 = (2.25, 22.54)  # average thresholds, for 0.95 and 0.6 with delta = 0.05, data units
CELEBA_ZONE = (0.55, 1.3)  # danger zone of its CelebA images (section 5, Figure 5), data units
CELEBA_CROSSING = 0.85  # where its curves of those images cross (Figure 5), data units
CARS_CROSSING = 1.9  # where those of 2,000 cars of CIFAR-10 cross (appendix E.4), data units
CARS_GAP = (1.0, 5.0)  # left out in training on 2,000 cars of CIFAR-10 (Figure 4), data units

# The windows of its swaps, as steps of its 18-step grid (Table 2). Table 1 gives their edges
# rounded, 8.4 and 0.14; its appendix E.6 gives 5.3 and 0.06, which disagree with Table 1 and
# Figure 10.
SWAP_STEPS: Mapping[str, tuple[int, int]] = {
    "large": (0, 5),
    "medium": (6, 13),
    "medium_e6": (7, 13),  # as appendix E.6 has it
    "danger": (7, 10),
    "small": (14, 17),
}

# Table 1, percent of 256 samples: (base, window of the other model) -> memorized.
TABLE_1: Mapping[tuple[str, str], float] = {
    ("small", ""): 92.2,
    ("small", "large"): 93.0,
    ("small", "medium"): 0.0,
    ("small", "small"): 91.0,
    ("large", ""): 0.0,
    ("large", "large"): 0.0,
    ("large", "medium"): 92.2,
    ("large", "small"): 0.0,
}

# Figure 10, counted in its frames: how many of the same eight noises become copies.
FIGURE_10: Mapping[tuple[str, str], int] = {
    ("small", ""): 8,
    ("small", "large"): 7,
    ("small", "medium"): 0,
    ("small", "danger"): 2,
    ("small", "small"): 8,
    ("large", "large"): 0,
    ("large", "medium"): 7,
    ("large", "danger"): 2,
    ("large", "small"): 0,
}
