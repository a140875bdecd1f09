"""Matrix products in float64, or as accurately in integers on GPUs whose float64 is slow (ours).

The split into integers is error-free, as in the Ozaki scheme; see `Digits`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import torch

FAST_FLOAT64 = {(8, 0), (9, 0), (10, 0)}  # compute capabilities: half of float32
FAST_INT8 = (7, 5)  # the first with tensor cores for int8
DIGITS = 8  # of 7 bits each; float64 has 53 bits
DIGIT_COLUMNS = 2**15  # with 8 products in each at most, int32 sums reach 8 * 64^2 * 2^15 = 2^30
PADDED = 32  # int8 matrices have a multiple of so many rows and columns
ROWS = 1000  # that are split at once


def slow_float64(device: torch.device) -> bool:
    """Whether `Digits` are multiplied faster than float64: on most CUDA devices, on no other."""
    if device.type != "cuda" or torch.version.hip:
        return False
    capability = torch.cuda.get_device_capability(device)
    return capability >= FAST_INT8 and capability not in FAST_FLOAT64


@dataclass(frozen=True)
class Digits:
    """Finite rows of float64 written in integers, whose products are summed without rounding.

    x = scale * (digit_0 / 128 + digit_1 / 128^2 + ...), |digit_i| <= 64, up to 2^-57 scale: an
    error-free split, as in the Ozaki scheme. They take as many bytes as x, padding aside.

    Attributes
    ----------
    shape : (..., R), of the rows.
    scale : (R, 1), powers of two, with 2 max|x| < scale <= 4 max|x|.
    parts : (R', 8, d') int8 of each `DIGIT_COLUMNS` columns, padded by zeros.
    """

    shape: torch.Size
    scale: torch.Tensor
    parts: list[torch.Tensor]

    @classmethod
    def of(cls, x: torch.Tensor) -> Digits:
        """Those of x (..., R, d)."""
        rows = x.flatten(0, -2)
        top = rows.abs().amax(1, keepdim=True).clamp(min=2.0**-1000)  # also of a row of zeros
        scale = 2 * top / top.frexp().mantissa
        parts = [_digits(some, scale) for some in rows.split(DIGIT_COLUMNS, 1)]
        return cls(x.shape[:-1], scale, parts)


def _digits(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Of x (R, d) with a scale (R, 1): (R', 8, d') int8. Every step is exact."""
    rows, columns = (math.ceil(n / PADDED) * PADDED for n in x.shape)
    digits = torch.zeros(rows, DIGITS, columns, dtype=torch.int8, device=x.device)
    for start in range(0, len(x), ROWS):
        some = slice(start, start + ROWS)
        rest = x[some] / scale[some]
        for i in range(DIGITS):
            digit = rest.mul_(128).round()
            digits[start : start + len(rest), i, : x.shape[1]] = digit
            rest -= digit
    return digits


def factor(x: torch.Tensor) -> torch.Tensor | Digits:
    """Rows (..., R, d) as `products` takes them fastest: to be asked once, for many products."""
    return Digits.of(x) if slow_float64(x.device) else x


def products(a: torch.Tensor | Digits, b: torch.Tensor) -> torch.Tensor:
    """<a_q, b_i> of a `factor` (..., R, d) and rows (B, d) -> (..., R, B) float64."""
    return split_products(a, Digits.of(b)) if isinstance(a, Digits) else a @ b.T


def split_products(a: Digits, b: Digits) -> torch.Tensor:
    """<a_q, b_i> -> (..., R, B) float64.

    Wrong by (1.2 d max|a_q| max|b_i| + p |a_q| |b_i|) 2^-53 at most, of p parts: by what the rows
    have beyond their digits, and by rounding. Of a float64 sum d |a_q| |b_i| 2^-53 is known.
    """
    rows, columns = len(a.scale), len(b.scale)
    total = reduce(torch.add, map(_digit_products, a.parts, b.parts))[:rows, :columns]
    return (total * a.scale).mul_(b.scale.T).reshape(*a.shape, columns)


def _digit_products(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Of digits (R, 8, d) and (B, 8, d) -> (R, B) float64; those of i + j > 8 hardly matter."""
    total = torch.zeros(len(left), len(right), dtype=torch.float64, device=left.device)
    turned = right.flip(1)  # so that all pairs of one i + j lie side by side: one product
    for order in range(DIGITS, -1, -1):  # the least first
        first, last = max(0, order + 1 - DIGITS), min(order + 1, DIGITS)
        shift = DIGITS - 1 - order
        i, j = left[:, first:last], turned[:, first + shift : last + shift]
        whole = torch._int_mm(i.flatten(1), j.flatten(1).T)
        total.add_(whole, alpha=128.0 ** -(order + 2))
    return total
