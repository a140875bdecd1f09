"""Data sets by name and from a reader's files: what they hold, and in which range."""
