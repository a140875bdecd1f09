"""The verb of the command line that measures both curves and the danger zone: regimes."""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed

from geomem import disk
from geomem.cli.main import examples, torchrun, value_range
from geomem.cli.processes import in_turn, processes
from geomem.data.named import name_of
from geomem.data.sets import ImageSet, load_dataset, source_sha256
from geomem.errors import InputError
from geomem.geometry.ranks import agreed
from geomem.geometry.regimes import DRAWS
from geomem.plots import files
from geomem.report.regimes import MeasuredRegimes

PATIENCE = timedelta(days=1)  # of processes whose shares take unlike times
SHOWN = 4  # levels of the grid to a line on the terminal
MEASURING = ("c", "level", "queries", "draws", "seed", "device")  # settings of `MeasuredRegimes`
LOADING = ("n_train", "size", "range")  # of `load_dataset`


def add_regimes(verb: argparse.ArgumentParser) -> None:
    examples(
        verb,
        """
        geomem regimes digits --n-train 1000
        geomem regimes photographs/ --heldout new/ --size 32 --out zone
        torchrun --nproc-per-node 8 -m geomem regimes train.npy --queries 1000
        """,
    )
    verb.set_defaults(verb=measure)
    kinds = "a folder, .zip, .npy, .npz, .safetensors, .pt, .parquet, .h5 or .zarr"
    verb.add_argument("data", metavar="DATA", help=f"training images: a data set, or {kinds}")
    verb.add_argument("--heldout", metavar="PATH", help="images that DATA does not hold")
    verb.add_argument("--size", type=int, metavar="N", help="crop and scale images to N x N")
    verb.add_argument("--range", nargs="+", metavar="V", help="LOW HIGH of the values, or any")
    verb.add_argument("--n-train", type=int, metavar="N", help="training images, the first ones")
    verb.add_argument(
        "--queries", type=int, metavar="N", help="images of each kind that get noise (default all)"
    )
    verb.add_argument("--c", type=float, default=5.0, help="thickness of the shells (default 5)")
    verb.add_argument("--level", type=float, default=0.8, help="of the zone (default 0.8)")
    about = f"of noise, at most 1,000 (default {DRAWS})"
    verb.add_argument("--draws", type=int, default=DRAWS, help=about)
    verb.add_argument("--seed", type=int, default=0, help="of the noise and the resampling")
    verb.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    verb.add_argument("--out", default="regimes", metavar="DIR", help="of its files")


def measure(options: argparse.Namespace) -> None:
    _check(options)
    try:
        with processes(options.device, PATIENCE) as (first, world):
            group = distributed.group.WORLD if world > 1 else None
            data = agreed(partial(in_turn, partial(_share, options)), group)
            how: dict[str, Any] = {name: getattr(options, name) for name in MEASURING}
            found = MeasuredRegimes.of(data.heldout, data.train, **how, group=group)
            if first:
                print(_said(found))
                contents = _contents(found, options, world)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; nothing is written") from None
    except ValueError as error:
        raise InputError(str(error)) from error
    if first:
        places = _files(Path(options.out))
        for place, content in reversed([*zip(places, contents, strict=True)]):
            disk.write(place, content)  # first that by which they are known as this verb's
        print(*places, sep="\n")


def _check(options: argparse.Namespace) -> None:
    """What is wrong with the settings is said before anything is read."""
    right = {
        "level": ("between 0 and 1", 0 < options.level < 1),
        "c": ("above 0", 0 < options.c < np.inf),
        "queries": ("at least 1", options.queries is None or options.queries >= 1),
        "draws": ("1 to 1,000", 1 <= options.draws <= 1000),  # all are in memory at once
        "seed": ("at least 0", options.seed >= 0),
    }
    for name, (wanted, holds) in right.items():
        if not holds:
            raise InputError(f"--{name}: it must be {wanted}, got {getattr(options, name)}.")
    value_range(options.range)


def _share(options: argparse.Namespace) -> ImageSet:
    """The held-out images, and of the training images those of this process."""
    told = torchrun()
    data = load_dataset(
        options.data, heldout=options.heldout, n_train=options.n_train, size=options.size,
        range=value_range(options.range), share=(told.rank, told.world),
    )  # fmt: skip
    if told.rank == 0:  # before anything is measured that finds no place
        _make_place(Path(options.out))
    return data


def _make_place(folder: Path) -> None:
    """A folder for the files; those that are there already must be of this verb."""
    folder.mkdir(parents=True, exist_ok=True)
    there = [path.name for path in _files(folder) if path.exists()]
    try:
        own = "training images" in dict(json.loads(_files(folder)[-1].read_bytes()))
    except (OSError, ValueError, TypeError):
        own = False
    if there and not own:
        raise InputError(
            f"--out: {folder} holds {', '.join(there)}, not written by this verb; choose another."
        )
    with tempfile.TemporaryFile(dir=folder):  # whether it may be written into
        pass


def _files(folder: Path) -> list[Path]:
    return [folder / f"regimes.{kind}" for kind in ("csv", "svg", "json")]


def _said(found: MeasuredRegimes) -> str:
    """Some levels of the curves, and the zone."""
    curves = {"C_sigma": found.geometry.coverage, "W_sigma": found.geometry.weight}
    grid, regimes = found.geometry.coverage.sigma, found.geometry.regimes
    rows = [f"{'sigma':<8} " + " ".join(f"{name:<28}" for name in curves)]
    for i in range(0, len(grid), SHOWN):
        values = " ".join(f"{curve.estimate(i)!s:<28}" for curve in curves.values())
        rows.append(f"{grid[i]:<8.3g} {values}".rstrip())
    said = {name: number.text for name, number in found.numbers.items()}
    lines = [
        f"danger zone: sigma from {said['zone_from']} to {said['zone_to']}"
        if regimes.medium
        else f"no danger zone: coverage reaches {regimes.level:g} at sigma {said['zone_from']}, "
        f"and concentration has fallen below it from {said['zone_to']} on",
        f"both curves cross at {said['crossing']}",
        f"so few held-out images ({len(found.certificate.nearest)}) certify no level of coverage"
        if math.isnan(found.numbers["zone_from_latest"].value)
        else f"coverage reaches {regimes.level:g} at {said['zone_from_latest']} at the latest, "
        "with 95% confidence",
    ]
    if copies := int(np.count_nonzero(found.certificate.nearest == 0)):
        lines.append(f"{copies} held-out images are training images too, and covered at any noise")
    if found.weight is not None:
        lines.append(
            f"concentration falls below {regimes.level:g} between {said['zone_to_least']} and "
            f"{said['zone_to_most']}: proved"
        )
    return "\n".join([*rows, *lines])


def _contents(
    found: MeasuredRegimes, options: argparse.Namespace, world: int
) -> tuple[str | bytes, ...]:
    """Curves and bounds as CSV and SVG; as JSON what was found, and of what."""
    sets = {"data": options.data, "heldout": options.heldout}
    about = {
        "numbers": {name: number.plain for name, number in found.numbers.items()},
        "data": {
            which: name and {"name": name_of(name), "sha256": source_sha256(name)}
            for which, name in sets.items()
        },
        "training images": found.shape,
        "held-out images": len(found.certificate.nearest),
        "parameters": {name: getattr(options, name) for name in (*LOADING, *MEASURING)},
        "processes": world,
        "versions": {
            "geomem": version("geomem"), "torch": torch.__version__, "numpy": np.__version__
        },
    }  # fmt: skip
    numbers = json.dumps(about, indent=1, ensure_ascii=False) + "\n"
    return files.csv_text(found.table), found.picture, numbers
