"""How the book's figures look."""

STYLE = "geomem.plots.companion"  # for `matplotlib.pyplot.style.use`
