"""The command line: ``geomem VERB``."""
