"""``python -m geomem`` is the console script ``geomem``."""

from geomem.cli.main import main

main()
