"""The audit of a model: does it memorize, at which noise levels, and what to do (ours)."""
