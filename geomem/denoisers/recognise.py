"""What a network of another library is taken for, by what it has; and how it is asked.

No other library is imported, but diffusers where a folder of it is opened. Nothing is unpickled.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geomem.denoisers.adapter import TARGETS, AdaptedDenoiser, Ask, Latents
from geomem.denoisers.clocks import clock_of, option
from geomem.diffusion import checkpoint, zoo
from geomem.diffusion.network import EDMDenoiser
from geomem.diffusion.schedules import Schedule
from geomem.errors import InputError
from geomem.geometry.denoiser import answer

BY_NAME = (  # transformers whose time on a flow, wherever it stands, is the scheduler's count
    "SD3Transformer",
    "DiTTransformer",
    "WanTransformer",
    "HunyuanVideoTransformer3D",
    "OmniGenTransformer",
)
TIMES = {"t", "time", "times", "timestep", "timesteps", "noise_labels"}
LABELS = ("class_labels", "class_cond", "classes", "y", "label", "labels", "cond")
NETWORKS = ("unet", "transformer", "model", "net")  # of what has a scheduler, too
AUTOENCODERS = ("vae", "vqvae")
SECOND = "transformer_2"  # of a pipeline with two networks
TWO = (
    "has two networks, one for each range of noise levels; give one of them, with the scheduler "
    "and levels= of that range."
)
INNER = {  # of torch.compile, of averages of weights, of solvers, of networks on several devices
    "OptimizedModule": "_orig_mod",
    "EMA": "ema_model",
    "ODESolver": "velocity_model",
    "AveragedModel": "module",
    "DataParallel": "module",
    "DistributedDataParallel": "module",
}
PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")


@dataclass(frozen=True)
class _Options:
    prediction: str | None = None
    label: int | None = None
    whole_steps: bool = False
    sigma_data: float = 0.5
    inputs: Mapping[str, Any] = field(default_factory=dict)


def denoiser(
    model: Any,
    schedule: Any = None,
    *,
    prediction: str | None = None,
    label: int | None = None,
    timesteps: str = "interpolated",
    sigma_data: float = 0.5,
    levels: tuple[float, float] | None = None,
    inputs: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> AdaptedDenoiser:
    """A denoiser m(x, sigma) out of a network of another library, and a line of what it is.

    The network is recognised by what it has. It is asked in eval mode and in its own dtype, without
    clipping, thresholding, guidance or self-conditioning: with these its answer is no posterior
    mean. Outside its noise levels the denoiser refuses. Whether all is right says `check_denoiser`.

    Parameters
    ----------
    model : object
        A pipeline of diffusers, or a folder of one in safetensors; a network, with its
        ``schedule``; a denoiser of EDM, EDM2 or k-diffusion; a model of smalldiffusion; a
        GaussianDiffusion or ElucidatedDiffusion of lucidrains; a model of this package, or its
        folder; or a function ``denoise(x, sigma)``.
    schedule : object or None
        A scheduler of diffusers, a diffusion of guided-diffusion, a matcher of torchcfm, a path or
        scheduler of flow_matching, a schedule of smalldiffusion; or a `Schedule`, the name of one
        of `Schedule.ddpm`, or its alphas_cumprod (T,).
    prediction : str or None
        "x0", "epsilon", "v", "velocity", "score" or "edm" (EDM's F): what the network predicts,
        where its scheduler does not say it.
    label : int or None
        The class that is asked for; None for the null label of a network that has one.
    timesteps : str
        "interpolated", or "nearest" for a network that takes whole timesteps only.
    sigma_data : float
        Of EDM's F, data units, > 0, where nothing else says it.
    levels : tuple of two floats or None
        The lowest and highest noise level that it was trained at, data units, > 0, where nothing
        else says them.
    inputs : mapping or None
        Further arguments of the network by name; tensors of one row are repeated, such as the
        embedding of the empty prompt, ``{"encoder_hidden_states": empty}``.
    quiet : bool
        Whether the line is not printed; it is ``str`` of the denoiser.

    Returns
    -------
    AdaptedDenoiser
        Called as ``denoise(x, sigma)``, data units: those of the network's own training, which
        for most is [-1, 1]. Of a latent model x is in latents, see its ``latents``.

    Raises
    ------
    ValueError
        In a line, if it is not recognised, a pickle, without the schedule or the label that it
        needs, or if its answer is no posterior mean of x + sigma z.

    References
    ----------
    Ours; the formulas are those of each library; see :doc:`/book/schedules`.

    Examples
    --------
    >>> import torch
    >>> from geomem import denoiser
    >>> ab = torch.linspace(0.999, 0.001, 1000)
    >>> def net(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    ...     return (1 - ab[t]).sqrt().view(-1, 1) * x_t  # the noise in standard normal images
    >>> denoise = denoiser(net, ab, prediction="epsilon", timesteps="nearest")
    net: predicts epsilon on DDPM; sigma 0.0316 to 31.6
    >>> denoise(torch.ones(1, 1, dtype=torch.double), 1.0).round(decimals=2).tolist()
    [[0.5]]
    """
    if timesteps not in ("interpolated", "nearest"):
        raise InputError(f"timesteps must be interpolated or nearest, got {timesteps!r}.")
    for one in (model, schedule):
        if isinstance(one, type):
            raise InputError(f"denoiser: {_name(one)} is a class; give {_name(one)}(...).")
    options = _Options(prediction, label, timesteps == "nearest", sigma_data, dict(inputs or {}))
    given = {"schedule": schedule, "timesteps": timesteps if timesteps != "interpolated" else None}
    net, schedule, vae = _opened(model, schedule)
    taken = ((take(net, schedule, options), heard) for take, heard in TAKERS.items())
    found, heard = next(((one, heard) for one, heard in taken if one is not None), (None, ()))
    if found is None:
        raise InputError(f"denoiser: {_unknown(net, schedule)}")
    given |= {"prediction": prediction, "label": label, "inputs": inputs or None}
    for option_, value in given.items():
        if value is not None and option_ not in heard:
            raise InputError(f"denoiser: {found.what} takes no {option_}=.")
    if vae is not None:
        what = f"{found.what}, of latents"
        found = replace(found, latents=_latents(vae), what=what)
    if levels is not None:
        if np.size(levels) != 2:
            raise InputError(f"denoiser: levels are the lowest and the highest, got {levels}.")
        found = replace(found, schedule=found.schedule.between(*levels))
    if not quiet:
        print(found)
    return found


def _unknown(net: Any, schedule: Any) -> str:
    name = _name(net)
    if not callable(net):
        return f"{name} is nothing that can be asked; give the network, then its scheduler."
    if schedule is not None:
        return f"{_name(schedule)} is no schedule that is known here; make a Schedule of it."
    return (
        f"{name} alone does not say how its noise is counted and what it predicts; give its "
        "scheduler, or both: geomem.denoiser(net, geomem.Schedule.ddpm('linear'), "
        "prediction='epsilon'), or of a flow geomem.Schedule.flow(), prediction='velocity'."
    )


# What it may be


def _already(net: Any, schedule: Any, o: _Options) -> AdaptedDenoiser | None:
    return net if isinstance(net, AdaptedDenoiser) else None


def _ours(net: Any, schedule: Any, o: _Options) -> AdaptedDenoiser | None:
    found = getattr(net, "denoise", net)
    if not isinstance(found, EDMDenoiser):
        return None
    classes = found.config.n_classes
    if (o.label is None) != (classes == 0):
        raise _labels("this model of geomem", classes)
    ask = found if o.label is None else found.given(o.label)
    return _of_images(ask, found, "model of geomem")


def _k_diffusion(net: Any, schedule: Any, o: _Options) -> AdaptedDenoiser | None:
    if not (isinstance(net, nn.Module) and hasattr(net, "inner_model")):
        return None
    return _of_images(_asking(net, o), net, f"{_name(net)} of k-diffusion")


def _edm(net: Any, schedule: Any, o: _Options) -> AdaptedDenoiser | None:
    """EDM's and EDM2's preconditioned networks: labels are one-hot, none are zeros.

    Zeros mean something only to one whose labels were dropped at random in training.
    """
    answers = hasattr(net, "sigma_data") or hasattr(net, "round_sigma")
    if not (answers and hasattr(net, "img_channels")) or o.prediction == "edm":
        return None
    classes = int(getattr(net, "label_dim", 0) or 0)
    dropped = getattr(getattr(net, "model", None), "label_dropout", 0)
    _check_label(net, o.label, classes, classes == 0 or dropped > 0)
    fixed = {"force_fp32": True} if "force_fp32" in _parameters(net) else {}

    def ask(y: Tensor, sigma: Tensor) -> Any:
        hot = None
        if o.label is not None:
            hot = torch.eye(classes, device=y.device)[o.label].expand(len(y), -1)
        return net(y, sigma, hot, **fixed, **_repeated(o.inputs, y))

    which = "" if not classes else " without a label" if o.label is None else f", class {o.label}"
    return _of_images(ask, net, f"{_name(net)}, preconditioned as EDM's{which}")


def _elucidated(net: Any, schedule: Any, o: _Options) -> AdaptedDenoiser | None:
    forward = getattr(net, "preconditioned_network_forward", None)
    if forward is None:
        return None
    return _of_images(forward, net, f"{_name(net)} of lucidrains{_no_self_conditioning(net)}")


def _lucidrains(net: Any, schedule: Any, o: _Options) -> AdaptedDenoiser | None:
    if not all(hasattr(net, name) for name in ("objective", "alphas_cumprod", "model")):
        return None
    if getattr(net, "immiscible", False) or getattr(net, "offset_noise_strength", 0):
        raise InputError(
            f"denoiser: {_name(net)} was trained with noise that is matched to the images or "
            "offset: what it predicts is no posterior mean of x + sigma z."
        )
    clock = clock_of(net.alphas_cumprod, o.prediction or net.objective)
    assert clock is not None
    what = f"{_name(net)} of lucidrains: {clock.what}{_no_self_conditioning(net)}"
    ask = _asking(net.model, o)
    return AdaptedDenoiser(ask, clock.schedule, clock.target, net.model, what, o.whole_steps)


def _no_self_conditioning(net: Any) -> str:
    return ", without self-conditioning" if getattr(net, "self_condition", False) else ""


def _smalldiffusion(net: Any, schedule: Any, o: _Options) -> AdaptedDenoiser | None:
    """Its networks take one level at a time; PredFlow's counts noise as a flow does."""
    if not (hasattr(net, "predict_eps") and hasattr(net, "rand_input")):
        return None
    flow = any("PredFlow" in kind.__name__ for kind in type(net).__mro__)
    embed = getattr(net, "cond_embed", None)
    classes = getattr(embed, "null_cond", 0)  # its null label comes after its classes
    dropped = embed is None or getattr(embed, "dropout_prob", 1.0) > 0
    _check_label(net, o.label, classes, dropped)
    label = (classes or None) if o.label is None else o.label

    def ask(x: Tensor, times: Tensor) -> Tensor:
        out = torch.empty_like(x)
        for time in times.unique():
            rows = times == time
            cond = None if label is None else torch.full((int(rows.sum()),), label).to(x.device)
            out[rows] = net.predict_eps(x[rows], time.to(x.dtype), cond=cond)
        return out

    clock = Schedule.flow(data_at=0) if flow else Schedule.edm()
    target = TARGETS["noise - image" if flow else "epsilon"]
    levels = getattr(schedule, "sigmas", None)
    if levels is not None:
        times = np.array([float(levels.min()), float(levels.max())])
        low, high = times / (1 - np.minimum(times, 1 - 1e-15)) if flow else times
        clock = clock.between(low, high)
    elif schedule is not None:
        return None
    what = f"{_name(net)} of smalldiffusion: predicts {'velocity' if flow else 'epsilon'}"
    return AdaptedDenoiser(ask, clock, target, net, what)


def _scheduled(net: Any, schedule: Any, o: _Options) -> AdaptedDenoiser | None:
    """A network that is shown an image and a time, in either order, beside what counts the time."""
    clock = clock_of(schedule, o.prediction, o.sigma_data) if callable(net) else None
    if clock is None:
        return None
    config, named = getattr(net, "config", None), _parameters(net)
    if hasattr(schedule, "config") and clock.schedule.name.startswith("flow"):
        _check_count(net)
    if option(config, "guidance_embeds", False):
        raise InputError(f"denoiser: {_name(net)} is distilled with guidance: no posterior mean.")
    lacking = [p for p in ("encoder_hidden_states", "img_ids") if p in named and p not in o.inputs]
    if lacking:
        raise InputError(
            f"denoiser: {_name(net)} needs inputs={{{lacking[0]!r}: ...}}: one row, the embedding "
            "of the empty prompt; with guidance its answer is no posterior mean."
        )
    whole = o.whole_steps or option(config, "time_embedding_type", "") == "learned"
    if whole and clock.schedule.clock != "timestep":
        raise InputError(
            f"denoiser: {_name(net)} takes whole timesteps, and {clock.schedule.name!r} counts "
            f"{clock.schedule.clock}, not steps."
        )
    ask, which = _asking(net, o), "" if o.label is None else f", class {o.label}"
    what = f"{_name(net)}: {clock.what}{which}"
    return AdaptedDenoiser(ask, clock.schedule, clock.target, _module(net), what, whole)


def _function(net: Any, schedule: Any, o: _Options) -> AdaptedDenoiser | None:
    """``denoise(x, sigma)``, taken at its word."""
    if schedule is not None or o.prediction is not None or not callable(net):
        return None
    names = [*_parameters(net)]
    level = names[1] if len(names) > 1 else ""
    module = isinstance(net, nn.Module)
    if {*names[:2]} & TIMES or (module and not level.startswith("sigma")):
        return None
    what = f"{_name(net)}: taken at its word for a denoiser of x and sigma"
    return _of_images(lambda y, s: answer(net, y, _one(s)), _module(net), what)


TAKERS = {  # in this order; with the options that each hears
    _already: (),
    _ours: ("label",),
    _k_diffusion: ("label", "inputs"),
    _edm: ("label", "inputs"),
    _elucidated: (),
    _lucidrains: ("prediction", "label", "inputs", "timesteps"),
    _smalldiffusion: ("label", "schedule"),
    _scheduled: ("prediction", "label", "inputs", "schedule", "timesteps"),
    _function: (),
}


# How it is asked


def _of_images(ask: Ask, net: Any, what: str) -> AdaptedDenoiser:
    """What answers with the image itself, asked with y and sigma (B,)."""
    low, high = (getattr(net, f"sigma_{end}", edge) for end, edge in (("min", 0), ("max", np.inf)))
    schedule = Schedule.edm().between(float(low), float(high))
    return AdaptedDenoiser(ask, schedule, TARGETS["x0"], _module(net), what)


def _asking(net: Any, o: _Options) -> Ask:
    """Image first or time first, with its label and its further inputs."""
    named = _parameters(net)
    time_first = bool({*named[:1]} & TIMES)
    late = next((name for name in named[2:] if name in TIMES), None)
    if {*named[:2]} & TIMES:
        late = None
    elif late and not _name(net).startswith(BY_NAME):
        raise InputError(
            f"denoiser: {_name(net)} takes its time as {late!r}, not beside the image, and how it "
            "counts it is not known here; give a function of x and t that calls it."
        )
    place = next((name for name in LABELS if name in named), None)
    label = _label(net, o.label, place)
    fixed = {"cond_drop_prob": float(o.label is None)} if "cond_drop_prob" in named else {}

    def ask(x: Tensor, t: Tensor) -> Any:
        more = fixed | _repeated(o.inputs, x)
        if label is not None and place is not None:
            more[place] = torch.full((len(x),), label, device=x.device)
        if late:
            return net(x, **{late: t}, **more)
        return net(t, x, **more) if time_first else net(x, t, **more)

    return ask


def _check_count(net: Any) -> None:
    """That one of diffusers takes a flow's time as the scheduler counts it, or an InputError."""
    transformer = any(word in _name(net) for word in ("Transformer", "DiT"))
    if transformer and hasattr(net, "config") and not _name(net).startswith(BY_NAME):
        raise InputError(
            f"denoiser: how {_name(net)} counts a flow's time and what it predicts, says its "
            "pipeline only; give a function of x and t that calls it in the scheduler's terms."
        )


def _label(net: Any, label: int | None, place: str | None) -> int | None:
    """The class to ask for: the given one, or the null label where the network has one."""
    config = getattr(net, "config", None)
    null = option(config, "num_embeds_ada_norm", None)  # a transformer's, after its classes
    embedder = getattr(net, "y_embedder", None)
    if embedder is not None and len(embedder.embedding_table.weight) > embedder.num_classes:
        null = embedder.num_classes
    if "cond_drop_prob" in _parameters(net) and getattr(net, "cond_drop_prob", True):
        null = 0  # of no effect: lucidrains' are told to drop it
    if any(getattr(net, name, net) is None for name in ("class_embedding", "num_classes")):
        place = None  # it has a place for a label, and nothing that hears it
    rows = getattr(getattr(net, "classes_emb", None), "num_embeddings", None)
    classes = option(config, "num_class_embeds", getattr(net, "num_classes", None)) or rows
    if label is None and (null is not None or place is None or not classes):
        return null
    if place is None or label is None or not 0 <= label < (classes or np.inf):
        raise _labels(_name(net), int(classes) if place and classes else 0)
    return label


def _check_label(net: Any, label: int | None, classes: int, dropped: bool) -> None:
    """That it is one of its classes; or none, where it was trained without one, too."""
    if not (dropped if label is None else 0 <= label < classes):
        raise _labels(_name(net), classes)


def _labels(name: str, classes: int) -> InputError:
    needs = f"needs label=, from 0 to {classes - 1}" if classes else "takes no label"
    return InputError(f"denoiser: {name} {needs}.")


def _repeated(inputs: Mapping[str, Any], x: Tensor) -> dict[str, Any]:
    """Tensors of one row for a whole batch, where it is; all else as it is."""
    rows = {n: v for n, v in inputs.items() if isinstance(v, Tensor) and v.ndim and len(v) == 1}
    return {**inputs} | {n: v.to(x.device).expand(len(x), *v.shape[1:]) for n, v in rows.items()}


def _one(sigma: Tensor) -> float | Tensor:
    """The number that a batch of equal levels has, which a function of one's own may want."""
    return sigma if len(sigma.unique()) > 1 else sigma[0].item()


def _parameters(net: Any) -> list[str]:
    try:
        found = inspect.signature(net.forward if isinstance(net, nn.Module) else net)
    except (TypeError, ValueError):
        return []
    return [*found.parameters]


def _module(net: Any) -> nn.Module | None:
    """The network itself, or that of a bound method."""
    owner = net if isinstance(net, nn.Module) else getattr(net, "__self__", None)
    return owner if isinstance(owner, nn.Module) else None


def _name(thing: Any) -> str:
    name: str = getattr(thing, "__name__", type(thing).__name__)
    return name


# Where it comes from


def _opened(model: Any, schedule: Any) -> tuple[Any, Any, Any]:
    """A network, its schedule and its autoencoder, out of a folder, a pipeline or a wrapper."""
    vae = None
    if isinstance(model, str | PathLike):
        model, own, vae = _read(Path(model))
        schedule = own if schedule is None else schedule
    scheduler = getattr(model, "scheduler", None) or getattr(model, "noise_scheduler", None)
    inner = next((n for n in NETWORKS if callable(getattr(model, n, None))), None)
    if getattr(model, SECOND, None) is not None:
        raise InputError(f"denoiser: {_name(model)} {TWO}")
    if scheduler is not None and inner is not None:
        vae = next((v for n in AUTOENCODERS if (v := getattr(model, n, None)) is not None), None)
        model, schedule = getattr(model, inner), scheduler if schedule is None else schedule
    while _name(model) in INNER:
        model = getattr(model, INNER[_name(model)])
    return model, schedule, vae


def _read(path: Path) -> tuple[Any, Any, Any]:
    """A folder of diffusers in safetensors, or of this package; a pickle never."""
    if not path.exists():
        raise InputError(f"{path}: no such folder; nothing is downloaded, save the model there.")
    if (path / "model" / checkpoint.RECORD).is_file():
        return zoo.load_model(path), None, None
    index, single = path / "model_index.json", path / "config.json"
    if index.is_file():
        parts = {name: of for name, of in json.loads(index.read_text()).items() if name[0] != "_"}
        if any(parts.get(SECOND, ())):
            raise InputError(f"{path}: {TWO}")
        kinds = (NETWORKS, ("scheduler",), AUTOENCODERS)
        here = [next((n for n in names if any(parts.get(n, ()))), None) for names in kinds]
        network, scheduler, vae = (_part(path / n, parts[n][1]) if n else None for n in here)
        return network, scheduler, vae
    if single.is_file():
        kind = json.loads(single.read_text()).get("_class_name", "")
        return _part(path, kind), None, None
    files = [path] if path.is_file() else [*path.iterdir()]
    raise _refused(path, [file for file in files if file.suffix in PICKLES])


def _part(folder: Path, kind: str) -> Any:
    """One part of a pipeline, its weights from safetensors only."""
    try:
        library = import_module("diffusers")
    except ImportError as error:
        raise InputError(f"{folder}: needs diffusers, pip install 'geomem[clients]'.") from error
    found: Any = getattr(library, kind, None)
    if not hasattr(found, "from_pretrained"):
        raise InputError(f"{folder}: diffusers has no {kind!r}; give the network itself.")
    has_weights = issubclass(found, nn.Module)
    if has_weights and not [*folder.glob("*.safetensors")]:
        raise _refused(folder, [file for file in folder.iterdir() if file.suffix in PICKLES])
    options = {"use_safetensors": True} if has_weights else {}
    return found.from_pretrained(folder, local_files_only=True, **options)


def _refused(path: Path, pickles: list[Path]) -> InputError:
    if not pickles:
        return InputError(f"{path}: no model that is known here; give the network itself.")
    return InputError(
        f"{pickles[0]}: may be a pickle, which runs what code it holds, and is never opened here. "
        "Where you trust it, load it with its own library and give the network to "
        "geomem.denoiser; or convert it once: pipeline.save_pretrained(folder) of diffusers, or "
        "safetensors.torch.save_file(network.state_dict(), file)."
    )


def _latents(vae: Any) -> Latents:
    config = vae.config
    scale, shift = option(config, "scaling_factor", 1.0), option(config, "shift_factor", 0.0)
    mean, std = option(config, "latents_mean", None), option(config, "latents_std", None)
    if mean is not None and std is not None:
        mean, std = torch.tensor(mean), torch.tensor(std)
        scale, shift = scale / std, mean
    return Latents(vae, scale, shift)
