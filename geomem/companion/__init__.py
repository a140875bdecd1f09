"""What makes a book of the package: notebooks, their runs and results, figures, claims, pages.

A notebook needs these names: `figure` puts a picture into the book, `claim` keeps what was tested,
`quote` keeps numbers for the prose, `Table` shows a table, `kept` computes once what takes long,
and `attach_live` hands data to a live figure. Importing it gives figures the book's look, and has a
notebook that was opened by hand work where its runs do, in the project: with the same models.
"""

import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt

from geomem.companion.figures import figure
from geomem.companion.live import attach_live
from geomem.companion.memory import kept
from geomem.companion.prose import quote
from geomem.companion.tables import Table
from geomem.companion.verdicts import claim
from geomem.plots import STYLE

__all__ = ["Table", "attach_live", "claim", "figure", "kept", "quote"]

plt.style.use(STYLE)
# Jupyter starts a kernel in the notebook's folder.
if "ipykernel.kernelapp" in sys.modules and Path("profiles.toml").is_file():
    os.chdir("..")
