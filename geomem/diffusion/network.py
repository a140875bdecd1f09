"""EDM denoisers: preconditioning, loss weight, and two networks (Karras et al. 2022).

`EDMDenoiser` is a `geomem.geometry.denoiser.Denoiser` with weights. Written from the papers'
equations; no code of EDM is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from geomem.geometry.denoiser import Denoiser
from geomem.typed import check_ranges

GROUPS = {"cuda": 65_535}  # of one image, at most: each is a row of the backward kernel's grid
RANGES = {  # of `ModelConfig`
    "width": "[1, 1e5]",
    "multipliers": "[1, 1000]",
    "blocks": "[1, 1000]",
    "patch": "[1, 1e5]",
    "attention": "[1, 1e5]",
    "dropout": "[0, 1)",
    "n_classes": "[0, 1e6]",
    "channels": "[1, 1e5]",
    "size": "[1, 1e5]",
    "mean": "[-1e6, 1e6]",
    "sigma_data": "[1e-6, 1e6]",
}


@dataclass(frozen=True)
class ModelConfig:
    """What network, for what images.

    The four fields of the images are None until `for_images` measures them; a config
    that sets them itself keeps its own (EDM's sigma_data = 0.5, say).

    Parameters
    ----------
    network : str
        "unet" or "mlp".
    width : int
        Channels of the U-Net's first level, a multiple of 8; hidden units of the MLP.
    multipliers : tuple of ints
        U-Net: width of each level over ``width``; one level per entry.
    blocks : int
        U-Net: residual blocks per level; MLP: residual blocks.
    patch : int
        U-Net: space-to-depth before the first level, pixels.
    attention : tuple of ints
        U-Net: self-attention at these grid sizes, pixels.
    dropout : float
        In the U-Net's blocks, in [0, 1).
    n_classes : int
        Above 0: class-conditional.
    channels : int or None
        Channels of the images.
    size : int or None
        Side of the images, pixels.
    mean : float or None
        Mean pixel, data units.
    sigma_data : float or None
        Standard deviation of the pixels, data units, in [1e-6, 1e6].

    Raises
    ------
    ValueError
        If a value is outside its range, or images of that size cannot be halved level by level.

    References
    ----------
    Ours; the preset ``DDPMPP`` is the network of :cite:t:`karras2022elucidating`; see
    :doc:`/book/models`.

    Examples
    --------
    >>> import numpy as np
    >>> from geomem import ModelConfig
    >>> images = np.linspace(-1, 1, 128, dtype=np.float32).reshape(2, 1, 8, 8)
    >>> config = ModelConfig("mlp", width=16).for_images(images)
    >>> config.channels, config.size, round(config.sigma_data, 3)
    (1, 8, 0.582)
    """

    network: str = "unet"
    width: int = 32
    multipliers: tuple[int, ...] = (1, 2)
    blocks: int = 1
    patch: int = 1
    attention: tuple[int, ...] = ()
    dropout: float = 0.0
    n_classes: int = 0
    channels: int | None = None
    size: int | None = None
    mean: float | None = None
    sigma_data: float | None = None

    def __post_init__(self) -> None:
        check_ranges("model", self, RANGES)
        wrong = None
        if self.network not in ("unet", "mlp"):
            wrong = f"network must be unet or mlp, got {self.network!r}"
        elif not self.multipliers:
            wrong = "multipliers needs an entry for each level, at least one"
        elif self.network == "unet" and self.width % 8:
            wrong = f"width must be a multiple of 8, got {self.width}"
        elif self.network == "unet" and self.size is not None:
            step = self.patch * 2 ** (len(self.multipliers) - 1)
            if self.size % step:
                wrong = f"images of size {self.size} do not divide by {step} (patch, levels)"
        if wrong:
            raise ValueError(f"model: {wrong}.")

    def for_images(self, images: np.ndarray) -> ModelConfig:
        """This config with the fields of the images measured on (N, C, H, W) training images."""
        if images.ndim != 4 or images.shape[2] != images.shape[3]:
            raise ValueError(f"model: needs square images (N, C, H, W), got {images.shape}.")
        measured = {
            "channels": images.shape[1],
            "size": images.shape[2],
            "mean": float(images.mean(dtype=np.float64)),
            "sigma_data": float(images.std(dtype=np.float64)),
        }
        for name in ("channels", "size"):
            if getattr(self, name) not in (None, measured[name]):
                raise ValueError(f"model: {name} is {getattr(self, name)}, not {measured[name]}.")
        return replace(self, **{k: v for k, v in measured.items() if getattr(self, k) is None})


class Preconditioning(NamedTuple):
    """EDM's scalings at one noise level (Karras et al. 2022, Table 1)."""

    c_skip: Tensor
    c_out: Tensor
    c_in: Tensor
    c_noise: Tensor


def preconditioning(sigma: Tensor, sigma_data: float) -> Preconditioning:
    """c_skip, c_out, c_in and c_noise of D(x) = c_skip x + c_out F(c_in x, c_noise).

    With data of standard deviation sigma_data, c_in makes the network's input and c_out
    its target of unit variance, and c_skip makes c_out, by which errors grow, smallest.
    """
    total = sigma**2 + sigma_data**2
    return Preconditioning(
        sigma_data**2 / total,
        sigma * sigma_data * total.rsqrt(),
        total.rsqrt(),
        sigma.log() / 4,
    )


def loss_weight(sigma: Tensor, sigma_data: float) -> Tensor:
    """EDM's weight 1 / c_out^2, which makes the loss of an untrained network 1 at every level."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


class EDMDenoiser(nn.Module):
    """A preconditioned network: ``denoiser(x, sigma)`` estimates the clean image.

    The image's mean is taken off first, an addition of ours to EDM's scalings, which assume
    it to be zero.

    Parameters
    ----------
    config : ModelConfig
        With every field of the images known (see `ModelConfig.for_images`).

    Raises
    ------
    ValueError
        If a field of the images is not known.

    References
    ----------
    :cite:t:`karras2022elucidating`, Table 1; here Eq. :eq:`eq-edm`.

    Examples
    --------
    >>> import torch
    >>> from geomem import EDMDenoiser, ModelConfig
    >>> config = ModelConfig("mlp", width=16, channels=1, size=8, mean=0.0, sigma_data=0.5)
    >>> x = torch.ones(2, 1, 8, 8)
    >>> with torch.no_grad():
    ...     denoised = EDMDenoiser(config)(x, 0.5)  # untrained: c_skip x
    >>> denoised.shape, round(denoised.mean().item(), 3)
    (torch.Size([2, 1, 8, 8]), 0.5)
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        if None in (config.channels, config.size, config.mean, config.sigma_data):
            raise ValueError("model: the images are not known yet; use config.for_images(images).")
        self.config = config
        self.network: nn.Module = MLP(config) if config.network == "mlp" else UNet(config)
        self.precision = torch.float32  # of the network's arithmetic; bfloat16 by autocast

    if TYPE_CHECKING:  # torch does not say what a module returns

        def __call__(
            self, x: Tensor, sigma: float | Tensor, label: Tensor | None = None
        ) -> Tensor: ...

    def forward(self, x: Tensor, sigma: float | Tensor, label: Tensor | None = None) -> Tensor:
        """Denoise a batch of images.

        Parameters
        ----------
        x : tensor (B, C, H, W)
            Noisy images, data units.
        sigma : float or tensor (B,)
            Their noise level, data units, > 0.
        label : tensor (B,) or None
            Class numbers of a class-conditional model; None else.

        Returns
        -------
        tensor of the shape and dtype of x
            The denoised images, data units.

        Raises
        ------
        ValueError
            If sigma is a number that is not positive and finite, or labels are missing or not
            wanted. (A tensor's values are not looked at, which would wait for CUDA.)
        """
        c = self.config
        assert c.mean is not None and c.sigma_data is not None
        if (label is None) != (c.n_classes == 0):
            needs = "needs" if c.n_classes else "takes no"
            raise ValueError(f"model: this one {needs} class labels.")
        if not isinstance(sigma, Tensor) and not 0 < sigma < math.inf:
            raise ValueError(f"sigma must be a finite number > 0, got {sigma}.")
        if not isinstance(sigma, Tensor):  # filled in where x is: to copy it would wait for CUDA
            sigma = torch.full((), sigma, dtype=torch.float32, device=x.device)
        level = sigma.to(x.device, torch.float32).expand(len(x))
        scale = preconditioning(level, c.sigma_data)
        c_skip, c_out, c_in = (a[:, None, None, None] for a in scale[:3])
        centred = x.float() - c.mean
        # The scalings stay in float32: at sigma = 0.002 they cancel to the sixth digit.
        with torch.autocast(x.device.type, self.precision, self.precision != torch.float32):
            raw = self.network(c_in * centred, scale.c_noise, label)
        return (c.mean + c_skip * centred + c_out * raw.float()).to(x.dtype)

    def given(self, label: int) -> Denoiser:
        """The denoiser of one class of a class-conditional model."""
        if not 0 <= label < self.config.n_classes:
            raise ValueError(f"model: no class {label}; it has {self.config.n_classes}.")
        return OfClass(self, label)


class OfClass:
    """The denoiser of one class of a network, whose weights and mode are still seen through it."""

    def __init__(self, network: EDMDenoiser, label: int):
        self.__self__, self.label = network, label  # as a bound method names what it is of

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.__self__.parameters()

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        label = torch.full((len(x),), self.label, device=x.device)
        return self.__self__(x, sigma, label)


class Embedding(nn.Module):
    """The noise level, and the class where there is one, as a vector that steers the blocks."""

    def __init__(self, width: int, n_classes: int):
        super().__init__()
        self.frequencies: Tensor
        self.register_buffer("frequencies", torch.logspace(-1, 4, 32, base=2), persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.classes = nn.Embedding(n_classes, 64) if n_classes else None

    def forward(self, c_noise: Tensor, label: Tensor | None) -> Tensor:
        angles = c_noise[:, None] * self.frequencies
        features = torch.cat([angles.cos(), angles.sin()], 1)  # (B, 64)
        if self.classes is not None:
            features = features + self.classes(label)
        return self.layers(features)


class MLP(nn.Module):
    """A residual MLP on flattened pixels, for images of 8x8 and thereabouts."""

    def __init__(self, c: ModelConfig):
        super().__init__()
        pixels = int(c.channels or 0) * int(c.size or 0) ** 2
        self.embedding = Embedding(c.width, c.n_classes)
        self.stem = nn.Linear(pixels, c.width)
        self.blocks = nn.ModuleList(MLPBlock(c.width) for _ in range(c.blocks))
        self.norm = nn.LayerNorm(c.width, elementwise_affine=False)
        self.head = _zero(nn.Linear(c.width, pixels))

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        steer = self.embedding(c_noise, label)
        h = self.stem(x.flatten(1))
        for block in self.blocks:
            h = block(h, steer)
        return self.head(functional.silu(self.norm(h))).view_as(x)


class MLPBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.film = nn.Linear(width, 2 * width)
        self.rise = nn.Linear(width, width)
        self.fall = nn.Linear(width, width)

    def forward(self, h: Tensor, steer: Tensor) -> Tensor:
        scale, shift = self.film(steer).chunk(2, 1)
        return h + self.fall(functional.silu(self.rise(self.norm(h) * (1 + scale) + shift)))


class UNet(nn.Module):
    """A U-Net of residual blocks that the noise level steers by scale and shift (FiLM).

    The encoder has ``blocks`` blocks per level and a halving between levels; the decoder
    one more per level, each fed with the encoder's output of its size, as in DDPM++ (Song
    et al. 2021), whose size the preset `DDPMPP` has.
    """

    def __init__(self, c: ModelConfig):
        super().__init__()
        pixels, grid = int(c.channels or 0) * c.patch**2, int(c.size or 0) // c.patch
        steer = 4 * c.width
        self.patch = c.patch
        self.embedding = Embedding(steer, c.n_classes)
        self.stem = nn.Conv2d(pixels, c.width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        width, skips = c.width, [c.width]
        for level, multiplier in enumerate(c.multipliers):
            if level:
                self.down.append(Block(width, width, steer, c.dropout, resample="halve"))
                skips.append(width)
            for _ in range(c.blocks):
                attend = grid >> level in c.attention
                self.down.append(
                    Block(width, c.width * multiplier, steer, c.dropout, attend=attend)
                )
                width = c.width * multiplier
                skips.append(width)
        self.middle = Block(width, width, steer, c.dropout, attend=bool(c.attention))
        for level, multiplier in reversed([*enumerate(c.multipliers)]):
            for _ in range(c.blocks + 1):
                block = Block(width + skips.pop(), c.width * multiplier, steer, c.dropout)
                self.up.append(block)
                width = c.width * multiplier
            if level:
                self.up.append(Block(width, width, steer, c.dropout, resample="double"))
        self.norm = nn.GroupNorm(_groups(width), width)
        self.head = _zero(nn.Conv2d(width, pixels, 3, padding=1))

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        steer = self.embedding(c_noise, label)
        h = self.stem(functional.pixel_unshuffle(x, self.patch))
        skips = [h]
        for block in self.down:
            h = block(h, steer)
            skips.append(h)
        h = self.middle(h, steer)
        for block in self.up:
            h = block(h if block.resample == "double" else torch.cat([h, skips.pop()], 1), steer)
        return functional.pixel_shuffle(self.head(functional.silu(self.norm(h))), self.patch)


class Block(nn.Module):
    """GroupNorm, SiLU, convolution, twice, beside a skip; may resample and attend."""

    def __init__(
        self,
        width_in: int,
        width_out: int,
        steer: int,
        dropout: float,
        *,
        resample: str | None = None,
        attend: bool = False,
    ):
        super().__init__()
        self.resample = resample
        self.norm_in = nn.GroupNorm(_groups(width_in), width_in)
        self.conv_in = nn.Conv2d(width_in, width_out, 3, padding=1)
        self.film = nn.Linear(steer, 2 * width_out)
        self.groups = _groups(width_out)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = _zero(nn.Conv2d(width_out, width_out, 3, padding=1))
        self.skip = nn.Conv2d(width_in, width_out, 1) if width_in != width_out else nn.Identity()
        self.attention = Attention(width_out) if attend else nn.Identity()

    def forward(self, x: Tensor, steer: Tensor) -> Tensor:
        h = functional.silu(self.norm_in(x))
        if self.resample == "halve":
            h, x = functional.avg_pool2d(h, 2), functional.avg_pool2d(x, 2)
        h = self.conv_in(h)
        h = _film_norm(h, self.groups, self.film(steer))
        h = self.dropout(functional.silu(h))
        if self.resample == "double":  # late: what is above costs a quarter so
            h, x = (functional.interpolate(a, scale_factor=2.0) for a in (h, x))
        h = self.conv_out(h)
        return self.attention(self.skip(x) + h)


class Attention(nn.Module):
    """Self-attention over the grid, one head, beside a skip."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.GroupNorm(_groups(width), width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = _zero(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2)[:, None].chunk(3, -1)
        h = functional.scaled_dot_product_attention(q, k, v)  # (B, 1, H W, width)
        return x + self.out(h[:, 0].transpose(1, 2).reshape(x.shape))


# The network of the paper's CIFAR-10 models: DDPM++ as EDM has it, there with about 56 million
# weights, here with 58. Dropout is off: it is not known whether the paper had it on, and it delays
# memorization.
DDPMPP = ModelConfig(
    width=128, multipliers=(2, 2, 2), blocks=4, attention=(16,), mean=0.0, sigma_data=0.5
)


def _film_norm(h: Tensor, groups: int, film: Tensor) -> Tensor:
    """GroupNorm of h (B, C, H, W), times 1 + scale, plus shift; film is (B, 2 C), both of them.

    As the affine part of one normalization over B C channels: two to three times as fast on
    a CPU as a normalization, a product and a sum, with their gradients. These it is where a
    device cannot take as many groups at once.
    """
    scale, shift = film.chunk(2, 1)
    if len(h) * groups > GROUPS.get(h.device.type, math.inf):
        scale, shift = scale[:, :, None, None], shift[:, :, None, None]
        return functional.group_norm(h, groups) * (1 + scale) + shift
    rows = h.reshape(1, -1, *h.shape[2:])
    rows = functional.group_norm(rows, len(h) * groups, 1 + scale.flatten(), shift.flatten())
    return rows.view_as(h)


def _groups(width: int) -> int:
    """Groups of at least four channels, at most 32 of them."""
    return math.gcd(width, min(32, max(1, width // 4)))


def _zero(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    """Start at zero: a new block changes nothing, a new network answers 0."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
