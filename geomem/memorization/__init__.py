"""Does a denoiser memorize, at which noise levels, and what changes it?

Everything here takes any denoiser, ``denoise(x, sigma)``, and any training set.
"""
