"""``python -m geomem`` is the console script ``geomem``."""

from geomem.cli import main

main()
