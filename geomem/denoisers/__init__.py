"""Denoisers of other libraries: recognised, asked in their own terms, and checked."""
