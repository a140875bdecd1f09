"""The geometry of the training data at a noise level: coverage, concentration, regimes.

Nothing here needs a network. The paper's section 4 and its theorems are computed by these files.
"""
