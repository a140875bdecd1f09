"""EDM diffusion models: networks, noise, training, sampling, and the store of trained ones."""
