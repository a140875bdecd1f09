"""Figures on a dark page: the same vector picture in other colours, images as they are."""

from __future__ import annotations

import re

import numpy as np

from geomem.geometry.arrays import Floats

PAGE = "#121212"  # behind the text of a dark page; a figure's white becomes it
COLOUR = re.compile(r'((?:fill|stroke)(?:: |="))(#[0-9a-f]{6})')
# From linear RGB to cone responses, and from their cube roots to lightness and two chromas: Oklab,
# https://bottosson.github.io/posts/oklab (public domain).
CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
COLOURED = 0.08  # the chroma from which on a colour counts as one, and below it as partly grey


def dark(svg: bytes) -> bytes:
    """An SVG that matplotlib wrote, in the colours of a dark page.

    White becomes the page and greys are turned around; what has a hue keeps it and becomes bright
    enough to stand out. Embedded images keep their pixels.

    >>> dark(b'<svg ><path style="fill: #ffffff; stroke: #000000"/></svg>').decode()
    '<svg fill="#eeeeee" ><path style="fill: #121212; stroke: #eeeeee"/></svg>'
    """
    text = COLOUR.sub(lambda found: found[1] + dark_colour(found[2]), svg.decode())
    # Black is what is filled with no colour named: most of all letters.
    return text.replace("<svg ", f'<svg fill="{dark_colour("#000000")}" ', 1).encode()


def dark_colour(colour: str) -> str:
    """What a colour "#rrggbb" of a white page becomes on a dark one."""
    if colour == "#ffffff":
        return PAGE
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    lightness, *chroma = oklab(rgb)
    share = min(1, float(np.hypot(*chroma)) / COLOURED)
    grey, bright = 0.21 + 0.74 * (1 - lightness) ** 0.8, 0.27 + 0.8 * lightness
    lms = (np.linalg.inv(LAB) @ [(1 - share) * grey + share * bright, *chroma]) ** 3
    linear = np.clip(np.linalg.inv(CONES) @ lms, 0, 1)
    shown = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return "#" + "".join(f"{round(255 * x):02x}" for x in shown)


def linear_rgb(rgb: Floats) -> Floats:
    """Light of a screen from the numbers (..., 3) of sRGB, all in [0, 1]."""
    return np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)


def oklab(rgb: Floats) -> Floats:
    """Lightness in [0, 1] and two chromas (3,) of a colour (3,) in sRGB."""
    return np.asarray(LAB @ np.cbrt(CONES @ linear_rgb(rgb)))
