"""EDM diffusion models: networks, noise, training, sampling, and the zoo of trained ones."""
