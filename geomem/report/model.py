"""A model: its errors, where it memorizes, who can tell what it was trained on, and its samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from geomem.denoisers.check import check_denoiser
from geomem.diffusion.sampler import HIDDEN, SOLVER_NAMES, levels_of
from geomem.errors import InputError
from geomem.geometry.arrays import Floats
from geomem.geometry.curve import ErrorCurve
from geomem.geometry.denoiser import Denoiser
from geomem.geometry.intervals import Estimate, mean_of
from geomem.geometry.window import span
from geomem.memorization.copy_bound import CopyBound, copy_bound
from geomem.memorization.hump import Hump
from geomem.memorization.membership import Membership
from geomem.memorization.ratio_test import denoising_error
from geomem.memorization.stopping import losses_of
from geomem.memorization.trajectories import Course, quarters
from geomem.plots import drawing
from geomem.report.asked import Asked
from geomem.report.part import Part
from geomem.report.samples import judge

ENDS = (0.02, 40.0)  # of the noise levels, over the standard deviation of the pixels
CERTIFIED = 0.05  # of answers that are copies, at most
SOLVER = "heun"
TOLD = 0.75  # the AUC of membership that one that copies has somewhere, by far, if all is right


def model_part(asked: Asked, name: str, denoise: Denoiser, levels: Floats, key: str) -> Part:
    """Errors, memorization, membership and samples of one denoiser."""
    part = Part(f"The model {name}".strip(), key)
    if str(denoise) != object.__repr__(denoise) and "\n" not in str(denoise):
        part.said.append(f"Taken for: {denoise}.")
    check = check_denoiser(denoise, asked.train, seed=asked.seed, device=asked.device)
    told = f"It {check}" if check.passed else f"This {check}"
    (part.said if check.passed else part.warnings).append(told)
    train = denoising_error(
        denoise, asked.some(asked.once), levels, seed=asked.seed, device=asked.device
    )
    if asked.new is None:
        part.said.append(
            "Without held-out images its errors on new ones, its memorization at each noise "
            "level and membership are not known."
        )
        _errors({"training images": train}, part)
    else:
        bound = copy_bound(
            denoise, asked.some(asked.new), asked.single, levels,
            seed=asked.seed, device=asked.device,
        )  # fmt: skip
        new = ErrorCurve.from_queries(levels, bound.error**2)
        _errors({"training images": train, "held-out images": new}, part)
        _loss(asked, new, part)
        _rates(asked, bound, part)
        _membership(Membership.of(train, new), part)
    _samples(asked, denoise, part)
    return part


def levels_for(asked: Asked, models: Sequence[Denoiser]) -> Floats:
    """Noise levels around the data, within those that every network knows, data units."""
    spread = float(np.std(asked.train, dtype=np.float64))
    least = max(getattr(denoise, "sigma_min", 0.0) for denoise in models)
    most = min(getattr(denoise, "sigma_max", np.inf) for denoise in models)
    low, high = max(ENDS[0] * spread, least), min(ENDS[1] * spread, most)
    if low >= high:  # known far from the data alone
        low, high = least, most
    if low >= high:
        raise InputError("audit: the models share no noise levels; look at them one by one.")
    return np.geomspace(low, high, asked.depth.levels)


def _errors(curves: Mapping[str, ErrorCurve], part: Part) -> None:
    fig, _ = drawing.noise_curves(curves, "mean squared error", axis="log")
    part.picture(
        "errors", (fig, drawing.noise_table(curves, "data units squared", "error")),
        "Denoising error",
        alt="The error grows with the noise level; that on training images lies below.",
        caption="A sum over the pixels, data units squared, one noise draw an image; bands are "
        "95% intervals over images.",
    )  # fmt: skip


def _loss(asked: Asked, new: ErrorCurve, part: Part) -> None:
    spread = float(np.std(asked.train, dtype=np.float64))
    each = losses_of(new, spread) / asked.train[0].size
    part.series["heldout_loss"] = each.tolist()
    what = "error on held-out images by EDM's weight, the mean over the levels; 1 without a network"
    part.number("heldout_loss", mean_of(each), "relative", what)


def _rates(asked: Asked, bound: CopyBound, part: Part) -> None:
    rate = bound.memorized
    at = rate.peak
    peak = part.number("rate_peak", rate.estimate(at), "share", "copies, where they are most")
    part.number("rate_peak_at", float(rate.sigma[at]), "data units", "that level")
    certified = bound.edge(CERTIFIED)
    what = f"up to where at most {CERTIFIED:.0%} of answers are copies, certified"
    part.number("certified_to", certified, "data units", what)
    if rate.mean.any():
        centre = part.number("hump_centre", Hump.of(rate).centre, "data units", "where it copies")
        said = f"At sigma {rate.sigma[at]:.2g}, {peak.text} of noisy held-out images become copies"
        part.said.insert(0, f"{said}; over all levels they lie around {centre.text}.")
    else:
        part.said.insert(0, "No noisy held-out image becomes a copy at any of the noise levels.")
    if np.isfinite(certified):
        part.said.append(
            f"Its errors certify, at the levels measured up to sigma {certified:.2g}, that at most "
            f"{CERTIFIED:.0%} of its answers are copies (97.5% confidence); above they say nothing."
        )
    sure = (float(bound.sigma[0]), certified) if np.isfinite(certified) else None
    fig, _ = drawing.noise_curves(bound.curves, "share of the answers", zone=sure)
    part.picture(
        "rates", (fig, bound.table()), "Where it memorizes",
        alt="The share of noisy held-out images that become copies, under its bounds.",
        caption=f"Shares of {len(bound.margin):,} noisy held-out images whose denoised image "
        "passes the ratio test, and bounds from the errors alone; bands are 95% intervals. Shaded "
        "is where the certificate holds.",
    )  # fmt: skip


def _membership(found: Membership, part: Part) -> None:
    at = found.auc.peak
    auc = part.number(
        "membership", found.auc.estimate(at), "AUC", "training or held-out, where told best"
    )
    part.number("membership_at", float(found.auc.sigma[at]), "data units", "at that noise level")
    caught = part.number(
        "membership_caught", found.tpr.estimate(at), "share", "training images told there"
    )
    told = found.told
    levels = f"at sigma {span(found.sigma, told)}" if told.any() else "at no noise level"
    part.said.append(
        f"By the error at sigma {found.auc.sigma[at]:.2g} an attacker tells training from held-out "
        f"images with an AUC of {auc.text} (one half is chance), and {caught.text} of the training "
        f"images {found.false_positives}. Beyond chance it can be told {levels}; "
        "where the two kinds of images differ for another reason, that tells them apart, too."
    )
    if (found.auc.high < 0.5).mean() > 0.5:  # at one of many levels it is so by chance
        part.warnings.append(
            "Its error is larger on training images than on held-out ones: were the two mixed up?"
        )
    curves = {"AUC": found.auc, "training images told": found.tpr}
    drawn = drawing.noise_curves(curves, "", across={"chance": 0.5})
    part.picture(
        "membership", drawn, "Membership",
        alt="How well the denoising error tells training from held-out images, over noise levels.",
        caption="AUC, and true positives, of the rule that a smaller denoising error means a "
        "training image; bands are 95% intervals.",
    )  # fmt: skip


def _samples(asked: Asked, denoise: Denoiser, part: Part) -> None:
    levels, spread = levels_of(denoise), float(np.std(asked.train, dtype=np.float64))
    if levels[0] < HIDDEN * spread:
        part.warnings.append(
            f"Its samples begin at sigma {levels[0]:.3g}, which does not hide images whose pixels "
            f"have a deviation of {spread:.3g}: they are not what the model samples in its own way."
        )
    course = Course.of(
        denoise, asked.distinct, asked.depth.samples, sigmas=levels, seed=asked.seed,
        solver=SOLVER, c=asked.c, device=asked.device,
    )  # fmt: skip
    near = judge(asked, course.pictures, sampler_of(denoise), part)
    _suspected(part)
    if not near.memorized().any():
        return
    early, median, late = quarters(course.copy_at)
    part.number(
        "decided", Estimate(median), "data units", "where half of the copies are copies for good"
    )
    part.said.append(
        f"On their way half of the copies are copies for good from sigma {median:.2g} on "
        f"(quartiles {early:.2g} and {late:.2g}); half had their training image nearest from "
        f"{quarters(course.image_at[course.memorized])[1]:.2g} on."
    )
    curves = {"passing the ratio test": course.passing}
    drawn = drawing.noise_curves(curves, "share of the samples", unit="fraction")
    part.picture(
        "course", drawn, "On the way to a copy",
        alt="The share of samples whose answer passes the ratio test, over the noise level.",
        caption="The denoiser's answer at each level of the sampler, put to the ratio test.",
    )  # fmt: skip


def _suspected(part: Part) -> None:
    """Copies, and no difference between training and held-out images: they were trained on, too."""
    numbers = part.numbers
    if not {"above_floor", "membership"} <= {*numbers} or numbers["membership"].value > TOLD:
        return
    if numbers["above_floor"].value:
        part.warnings.append(
            "Your held-out images look trained on: it copies training images, and its error "
            "does not tell these from the held-out ones."
        )


def sampler_of(denoise: Denoiser) -> str:
    """How samples of a model are drawn here, in words."""
    levels = levels_of(denoise)
    return (
        f"{SOLVER_NAMES[SOLVER]} on {len(levels)} noise levels, {levels[0]:.3g} to {levels[-1]:.2g}"
    )


def compared(parts: Mapping[str, Part], key: str) -> Part:
    """Several models beside one another: which one to keep."""
    part = Part("Which one to keep", key)
    columns: dict[str, list[object]] = {"model": [*parts]}
    names = {
        "heldout_loss": "weighted held-out error",
        "memorized": "copies",
        "membership": "membership AUC",
    }
    for name, heading in names.items():
        texts = [of.numbers[name].text if name in of.numbers else "-" for of in parts.values()]
        columns[heading] = [*texts]
    part.table("The models", columns)
    sound = {name: of for name, of in parts.items() if not of.warnings}
    losses = {name: np.array(of.series.get("heldout_loss", [])) for name, of in sound.items()}
    if not losses:
        part.said.append("None can be preferred: something is wrong with each.")
        return part
    if not all(map(len, losses.values())):
        part.said.append("Without held-out images none can be preferred.")
        return part
    best = min(losses, key=lambda name: losses[name].mean())
    equal = [
        name for name in losses if name == best or mean_of(losses[name] - losses[best]).low <= 0
    ]
    kept = min(equal, key=lambda name: (parts[name].numbers["memorized"].value, name != best))
    part.said.append(f"Keep {kept}: {parts[kept].numbers['memorized'].text} of its samples copied.")
    others = ", ".join(name for name in equal if name != best)
    close = "not told apart from it (paired over images, 95%)"
    tie = f"; {close}: {others}. Of these the one that copies least is kept." if others else "."
    of_these = "" if len(sound) == len(parts) else " of those with which nothing is wrong"
    part.said.append(
        f"The lowest loss on held-out images{of_these} is that of {best}{tie} "
        "These images chose it: only others can judge it."
    )
    part.said.extend(
        f"Something is wrong with {name}, which cannot be chosen: {of.warnings[0]}"
        for name, of in parts.items()
        if name not in sound
    )
    return part
