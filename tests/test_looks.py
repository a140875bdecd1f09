"""Curves are told apart in grey, by the colour-blind, on dark pages; names stand beside them."""

import io
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from PIL import Image
from test_study import judged

from geomem import Curve
from geomem.companion import gallery
from geomem.geometry.difference import Difference
from geomem.geometry.intervals import Estimate, Fraction
from geomem.geometry.window import Window
from geomem.memorization.study import Study
from geomem.plots import STYLE, beside, drawing, files, remedies
from geomem.plots.dark import PAGE, dark, dark_colour, linear_rgb, oklab
from geomem.plots.files import picture

REMEDIES = ["plain", "stopped", "fixed stop", "zone gap", "paper gap", "copy gap"]
REMEDIES += ["copy gap, none kept", "dummy", "stopped inside", "large"]
TOGETHER = [  # what meets in one picture
    ["C_sigma", "W_sigma", "W_sigma, held-out", "overlap", "small"],
    ["small", "large", "empirical", "Gaussian"],
    ["small", "large", "C_sigma"],
    ["plain", "swapped", "stopped", "fixed stop"],
    REMEDIES,
]
FEW_MARKS = TOGETHER[:3]  # often drawn without marks
PAIRS = sorted({pair for some in TOGETHER for pair in combinations(some, 2)})
# What who lacks one kind of cone sees of linear RGB: G. M. Machado, M. M. Oliveira and L. A. F.
# Fernandes, IEEE Transactions on Visualization and Computer Graphics 15 (2009), severity 1.
SEEN = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
PAGES = {"light": (to_hex, "#ffffff"), "dark": (lambda c: dark_colour(to_hex(c)), PAGE)}


def luminance(colour):
    return float(linear_rgb(np.array(to_rgb(colour))) @ [0.2126, 0.7152, 0.0722])


def lightness(colour):
    """CIE L*, 0 to 100."""
    y = luminance(colour)
    return 116 * np.cbrt(y) - 16 if y > 0.008856 else 903.3 * y


def seen(colour, cones):
    linear = np.clip(SEEN[cones] @ linear_rgb(np.array(to_rgb(colour))), 0, 1)
    return oklab(np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear))


@pytest.mark.parametrize("page", PAGES)
def test_in_grey_two_that_meet_differ_by_mark_and_dash_or_clearly_in_lightness(page):
    alike = []
    for one, other in PAIRS:
        (a, *first), (b, *second) = drawing.SERIES[one], drawing.SERIES[other]
        greys = [lightness(PAGES[page][0](colour)) for colour in (a, b)]
        if not all(x != y for x, y in zip(first, second, strict=True)):
            alike += [(one, other, greys)] if abs(np.subtract(*greys)) < 15 else []
    assert alike == []


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("cones", SEEN)
def test_colours_that_meet_are_told_apart_whatever_the_cones(cones, page):
    """In Oklab, where 0.02 is just noticeable."""
    shown = {name: PAGES[page][0](look[0]) for name, look in drawing.SERIES.items()}
    for one, other in PAIRS:
        away = np.linalg.norm(seen(shown[one], cones) - seen(shown[other], cones))
        least = 0.08 if any({one, other} <= {*some} for some in FEW_MARKS) else 0.04
        assert shown[one] == shown[other] or away >= least, (one, other)


@pytest.mark.parametrize("page", PAGES)
def test_every_colour_stands_out_from_its_page(page):
    shown, behind = PAGES[page]
    for name, (colour, *_) in drawing.SERIES.items():
        light, dim = sorted((luminance(shown(colour)), luminance(behind)), reverse=True)
        assert (light + 0.05) / (dim + 0.05) >= 3, name  # WCAG 2.1, 1.4.11


def test_a_dark_picture_has_no_white_and_the_same_images():
    with plt.style.context(STYLE):
        fig, ax = plt.subplots()
        ax.imshow(np.eye(4), extent=(0, 1, 0, 1))
        ax.plot([0, 1], [0, 1], "ko", mfc="w")
    light = picture(fig, "fig-test", "svg").decode()
    other = dark(light.encode()).decode()
    plt.close(fig)
    image = light[light.index("base64") :].split('"')[0]
    assert image in other and "#ffffff" in light and "#ffffff" not in other and PAGE in other
    assert len(other.splitlines()) == len(light.splitlines())


def test_names_stand_beside_their_own_curves_and_a_crowd_gets_a_legend():
    with plt.style.context(STYLE):
        fig, ax = plt.subplots()
    x = np.linspace(0, 1, 20)
    for i in range(3):
        ax.plot(x, i + x, "-", label=f"curve {i}")
    assert beside.named_beside(ax)
    fig.draw_without_rendering()
    for i, text in enumerate(ax.texts):
        box = text.get_window_extent()
        away = []
        for line in ax.lines:
            path = beside._path(line)
            middle, half = (box.min + box.max) / 2, np.array([box.width, box.height]) / 2
            away.append(np.hypot(*np.maximum(np.abs(path - middle) - half, 0).T).min())
        assert text.get_text() == f"curve {i}" and 0 < away[i] == min(away)
        assert (box.min >= ax.bbox.min).all() and (box.max <= ax.bbox.max).all()
    assert drawing.misplaced(fig) == []
    crowd = plt.figure().subplots()
    for i in range(4):
        crowd.plot(x, i / 50 + x, label="a long name that has no room " * 3)
    assert not beside.named_beside(crowd) and len(crowd.texts) == 0
    assert not beside.named_beside(ax, most=2)
    plt.close("all")


def test_no_name_stands_by_the_curve_of_another():
    """The long name of one of two steps has room above a hump only, and would seem to be its."""
    with plt.style.context(STYLE):
        fig, ax = plt.subplots()
    x = np.linspace(-1, 1, 41)
    for name, end in (("step", 0.92), ("a long name of another step", 0.8)):
        ax.plot(x, np.clip(6 * (end - x), 0, 1), label=name)
    ax.plot(x, 0.6 * np.exp(-9 * (x - 0.1) ** 2), label="hump")
    beside.named_beside(ax)
    paths = {line.get_label(): beside._path(line) for line in ax.lines}
    for text in ax.texts:
        middle = text.get_window_extent().get_points().mean(0)
        away = {name: np.hypot(*(path - middle).T).min() for name, path in paths.items()}
        assert min(away, key=away.get) == text.get_text()
    plt.close(fig)


def test_of_few_samples_a_curve_says_how_many_and_its_band_is_faint(rng):
    sigma = np.array([0.1, 1.0, 10.0])
    of = {
        f"of {n}": Curve.from_queries(sigma, rng.random((n, 3)) < 0.5, indicator=True)
        for n in (6, 200)
    }
    fig, table = drawing.noise_curves(of, "share", unit="fraction", name="rate")
    assert [*table] == [*drawing.noise_table(of, "fraction", "rate")]
    (ax,) = fig.axes
    assert ax.get_legend_handles_labels()[1] == ["of 6 (6)", "of 200"]
    faint, other = (band.get_alpha() for band in ax.collections)
    assert 0 < faint < other / 2
    plt.close(fig)


@pytest.mark.parametrize("which", ["x", "y"])
def test_a_share_of_nothing_is_drawn_apart_from_a_small_one(which):
    ax = plt.figure().subplots()
    drawing.share_axis(ax, which)
    shares = [(share, share) for share in (0, 0.002, 0.01, 0.1, 1)]
    places = ax.transData.transform(shares)[:, "xy".index(which)]
    steps = np.diff(places) / (places[-1] - places[0])
    assert steps[0] > 0.02 and steps[2] == pytest.approx(steps[3]) and steps[3] > 0.2
    plt.close("all")


def test_a_difference_holds_the_truth_as_often_as_it_says(rng):
    """Of two independent shares, over many repetitions; and it turns around with them."""
    sigma, truth, held = np.array([1.0]), (0.9, 0.75), []
    for _ in range(400):
        one, other = (
            Curve.from_queries(sigma, rng.random((60, 1)) < p, indicator=True) for p in truth
        )
        found, back = Difference.of(one, other), Difference.of(other, one)
        held.append(found.low[0] <= 0.15 <= found.high[0])
        assert (-back.high[0], -back.low[0]) == pytest.approx((found.low[0], found.high[0]))
    assert 0.92 < np.mean(held) < 0.98


@pytest.mark.parametrize("kind", ["curves", "images", "around", "bare"])
def test_laid_out_all_is_where_drawing_puts_it(kind):
    def drawn():
        with plt.style.context(STYLE):
            fig, axes = plt.subplots(2, 1)
        for ax in axes[: 0 if kind == "bare" else 2]:
            ax.set(title="a title", xlabel="below", ylabel="beside\nin two lines")
            if kind == "images":
                ax.imshow(np.eye(3, 9))  # keeps its shape
            elif kind == "around":
                ax.set_title("at the left", loc="left")
                ax.annotate("above", (0.5, 1.2), annotation_clip=False)
                ax.tick_params(axis="x", labelrotation=90)
            else:
                drawing.log_axis(ax)
                ax.plot([1, 5e4], label="a curve")
        if kind == "curves":
            fig.legend(loc="outside lower center")
        if kind == "around":
            shown = axes[0].imshow(np.eye(2), aspect="auto")
            fig.colorbar(shown, ax=axes, location="bottom", label="a scale")
            fig.supylabel("all of them")
        return fig

    def places(fig):
        texts = (text for one in (*fig.axes, *fig.texts) for text in drawing._texts(one))
        return [one.get_window_extent().bounds for one in (*fig.axes, *fig.legends, *texts)]

    fig, other = drawn(), drawn()
    box = files.lay_out(fig).bounds
    other.draw_without_rendering()
    assert len(places(fig)) > 10
    np.testing.assert_allclose(places(fig), places(other), rtol=0, atol=1e-6)
    assert box == pytest.approx(other.get_tightbbox().bounds)
    plt.close("all")


@pytest.mark.parametrize("which", ["x", "y"])
def test_a_logarithmic_axis_has_numbers_however_short_or_long_it_is(which):
    fig, ax = plt.subplots()
    drawing.log_axis(ax, which)
    axis = ax.xaxis if which == "x" else ax.yaxis
    for low, high in ((0.99, 1.01), (0.7, 1.4), (47, 125), (0.2, 0.9), (0.2, 20), (1e-3, 1e4)):
        ax.set(**{f"{which}lim": (low, high)})
        fig.draw_without_rendering()
        ticks = axis.get_major_ticks()
        seen = {t.label1.get_text() for t in ticks if low <= t.get_loc() <= high} - {""}
        assert 2 <= len(seen) <= 9, (low, high, seen)
    plt.close(fig)


@pytest.mark.parametrize("name", ["short", "wider than half of a column"])
def test_a_legend_is_as_wide_as_there_is_room_and_takes_none_from_the_axes(name):
    heights = []
    for named in (False, True):
        with plt.style.context(STYLE):
            fig, ax = plt.subplots()
        for i in range(4):
            ax.plot([0, 1], [i, i], label=f"{name} {i}")
        if named:
            beside.legend_below(fig, columns=4)
        assert drawing.misplaced(fig) == []
        heights.append(ax.bbox.height)
    assert heights[1] == pytest.approx(heights[0], rel=0.1)
    assert (fig.legends[0]._ncols == 1) == (name != "short")
    plt.close("all")


def test_a_thumbnail_on_a_dark_page_is_dark_but_for_its_images(tmp_path):
    shades = np.linspace(-1, 1, 16).reshape(1, 1, 4, 4).repeat(3, 0)
    with plt.style.context(STYLE):
        fig = drawing.image_grid([("one", shades), ("two", shades)], ["a", "b", "c"])
    (tmp_path / "a.png").write_bytes(picture(fig, "a", "png"))
    made = gallery.thumbnails(tmp_path / "a.png", picture(fig, "a", "svg").decode())
    light, other = (
        np.asarray(Image.open(io.BytesIO(made[end])).convert("L"), float)
        for end in gallery.SMALL.values()
    )
    ax, scale = fig.axes[0], gallery.THUMB[0] / fig.bbox.width
    inside = np.zeros(light.shape, bool)
    for image in ax.images:
        left, right, bottom, top = image.get_extent()
        (x0, y0), (x1, y1) = ax.transData.transform([(left, bottom), (right, top)]) * scale
        high = fig.bbox.height * scale
        inside[round(high - y1) + 3 : round(high - y0) - 3, round(x0) + 3 : round(x1) - 3] = True
    plt.close(fig)
    assert inside.mean() > 0.2 and np.abs(light - other)[inside].mean() < 8
    assert light[0, 0] == 255 and other[0, 0] < 30 and np.ptp(light[inside]) > 200


def test_long_names_stand_above_their_rows_of_images_and_take_no_room(rng):
    images = rng.uniform(-1, 1, (8, 1, 4, 4))
    wide = []
    for name in ("a", "a name\nthat is long for a column"):
        with plt.style.context(STYLE):
            fig = drawing.image_grid([(name, images)] * 3, [*map(str, range(8))])
        assert drawing.misplaced(fig) == []
        wide.append(fig.axes[0].bbox.width / fig.bbox.width)
    assert wide[1] > wide[0] > drawing.LEAST_IMAGES
    assert {text.get_text() for text in fig.axes[0].texts} == {"a name that is long for a column"}
    plt.close("all")


def test_no_name_lies_over_a_bar():
    with plt.style.context(STYLE):
        fig, ax = plt.subplots()
    x = np.linspace(0, 1, 12)
    ax.errorbar(x, x, 0.3, label="among bars")
    assert not beside.named_beside(ax)
    ax.set_ylim(-1, 3)
    ax.errorbar(x[:2], x[:2] + 2, 0.1, label="a few")
    ax.plot(x, x + 2, label="without")
    beside.name_curves(ax)
    fig.draw_without_rendering()
    bars = beside._bars(ax)
    assert not any(text.get_window_extent().contains(*place) for text in ax.texts for place in bars)
    plt.close(fig)


@pytest.mark.parametrize("xlim", [(0.01, 100), (5, 100), (0.01, 0.02), (0.4, 0.9)])
def test_a_name_stands_over_what_shows_of_its_line_or_band_and_else_nowhere(xlim):
    """A name beyond the axes would take all their room."""
    with plt.style.context(STYLE):
        fig, (ax, lower) = plt.subplots(2, 1)
    for one in (ax, lower):
        one.set(xlim=xlim, ylim=(0, 1))
        drawing.sigma_axis(one)
    drawing.named_line(ax, "line", 0.3, 1.04)
    drawing.named_band(lower, "band", (0.3, 1.2), 1.04)
    assert drawing.misplaced(fig) == []
    assert len(ax.texts) == (xlim[0] <= 0.3 <= xlim[1])
    assert len(lower.texts) == (xlim[0] < 1.2 and xlim[1] > 0.3)
    for text in (*ax.texts, *lower.texts):
        assert xlim[0] <= text.get_position()[0] <= xlim[1]
    plt.close(fig)


@pytest.mark.parametrize("copies", [2, 90])
@pytest.mark.parametrize("at_one_point", [1, 3, len(REMEDIES)])
def test_the_names_of_marks_at_one_point_leave_room_for_the_marks(copies, at_one_point):
    """However many there are, and whichever half of the axes they are on."""
    places = [(copies, 2.0)] * at_one_point
    places += [(45, 0.7), (20, 2.1), (60, 1.9)] if at_one_point < len(REMEDIES) else []
    kinds = dict(zip(REMEDIES, places, strict=False))
    study = Study({(kind, 0): judged(*of) for kind, of in kinds.items()})
    references = {of: {"pca": Estimate(0.4)} for of in ("held-out", "training set")}
    with plt.style.context(STYLE):
        fig, _ = remedies.trade_off(study, study.first, references, "pca")
    assert drawing.misplaced(fig) == []
    (ax,) = fig.axes
    said = ", ".join(" ".join(text.get_text().split()) for text in ax.texts).split(", ")
    assert sorted(said) == sorted(", ".join(map(remedies._short, kinds)).split(", "))
    assert ax.bbox.width > 0.3 * fig.bbox.width
    plt.close(fig)


def test_a_gap_that_ends_beyond_the_axes_has_its_share_beside_them():
    with plt.style.context(STYLE):
        fig, ax = plt.subplots()
    gaps = [
        ("zone", Window(0.1, 1.0), Fraction.of(1, 4)),
        ("far", Window(0.1, 1e6), Fraction.of(2, 4)),
    ]
    remedies._gap_bars(ax, gaps, (0.05, 10))
    assert drawing.misplaced(fig) == []
    assert {text.get_text() for text in ax.texts} == {"25%", "50%"}
    plt.close(fig)
