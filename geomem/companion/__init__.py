"""What makes a book of the package: notebooks, their runs and results, figures, claims, pages.

A notebook needs these four names: `figure` puts a picture into the book, `claim` keeps what was
tested, `quote` keeps numbers for the prose, and `Table` shows a table.
"""

from geomem.companion.figures import figure
from geomem.companion.prose import quote
from geomem.companion.tables import Table
from geomem.companion.verdicts import claim

__all__ = ["Table", "claim", "figure", "quote"]
