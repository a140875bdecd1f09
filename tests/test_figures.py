"""What `companion.figure` writes and refuses, how images lie in a grid, and tables."""

import csv
import json
import os
import re
import subprocess
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from bs4 import BeautifulSoup
from conftest import HOSTILE
from matplotlib.collections import PolyCollection
from PIL import Image
from pybtex.database import parse_string
from test_study import judged

from geomem import Curve, companion
from geomem.cli import book as cli
from geomem.companion import figures, results
from geomem.geometry.intervals import Estimate, Fraction
from geomem.geometry.regimes import Regimes
from geomem.memorization.study import Study
from geomem.memorization.switch import Switch
from geomem.memorization.trajectories import Course
from geomem.plots import STYLE, drawing, pictures, remedies, shells

WIDE = "a label of two hundred letters " * 7
ID = "fig-test-picture"
ENDS = Estimate(0.5), Estimate(2.0), Estimate(1.0)
GEOMETRY = SimpleNamespace(regimes=Regimes(0.8, *ENDS, 0.9, 0.1, 10.0))
TABLE = {"x [data units]": [1.0, 2.0], "y [probability]": np.array([0.25, np.pi])}


def draw():
    with plt.style.context(STYLE):
        fig, ax = plt.subplots()
        ax.plot([1, 2], [1, 4])
    return fig


@pytest.fixture
def fig(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(results.RUN_VARIABLE, raising=False)
    yield draw()
    plt.close("all")


def test_its_files_have_one_stem(fig, tmp_path):
    companion.figure(fig, ID, TABLE)
    paths = [tmp_path / "figures" / f"{ID}{s}" for s in results.FIGURE_FILES]
    assert sorted(paths) == sorted((tmp_path / "figures").iterdir())
    svg, letters, pdf, png, table, kept = paths
    assert ET.parse(svg).getroot().tag.endswith("svg") and b"<dc:date>" not in svg.read_bytes()
    with Image.open(png) as image:
        assert image.info["dpi"][0] == pytest.approx(300, abs=0.1)
        assert image.convert("RGBA").getpixel((1, 1)) == (255, 255, 255, 255), "opaque white"
    edited = ET.parse(letters).getroot()
    texts = {"".join(text.itertext()) for text in edited.iter("{http://www.w3.org/2000/svg}text")}
    assert {"1.0", "2.0", "4.0"} <= texts and edited.get("width") == "234pt"
    page = pdf.read_bytes()
    assert re.search(rb"/MediaBox \[ 0 0 234 [\d.]+ \]", page), "3.25 inches"
    assert b"/FontFile2" in page and b"/Type3" not in page and b"CreationDate" not in page
    rows = list(csv.reader(table.read_text().splitlines()))
    assert rows[0] == ["x [data units]", "y [probability]"]
    assert [float(r[1]) for r in rows[1:]] == pytest.approx([0.25, np.pi], rel=1e-7)
    assert json.loads(kept.read_text())["id"] == ID


def test_its_citation_says_what_code_and_data_it_is_from():
    record = {
        "id": ID,
        "title": "A test",
        "commit": "0123456789abcdef",
        "dirty": True,
        "date": "2031-02-03",
        "data": [{"name": "my_set", "sha256": "f" * 64}],
    }
    entry = parse_string(figures.bibtex(record), "bibtex").entries[f"geomem-{ID}"]
    assert entry.fields["title"] == "A test" and ID in entry.fields["howpublished"]
    assert entry.fields["year"] == "2031"
    for said in ("0123456789ab", "uncommitted changes", r"my\_set", "f" * 12):
        assert said in entry.fields["note"]


@pytest.mark.parametrize("text", HOSTILE)
def test_its_citation_prints_any_title_and_no_command(text):
    made = {"id": ID, "commit": None, "dirty": False, "date": "2031-02-03", "data": []}
    (entry,) = parse_string(figures.bibtex({**made, "title": text}), "bibtex").entries.values()
    marks = {tex: mark for mark, tex in figures.TEX.items()}
    pattern = "|".join(map(re.escape, marks))
    title = entry.fields["title"]
    assert re.sub(pattern, lambda tex: marks[tex[0]], title) == " ".join(text.split())
    assert not re.search(r"[\\{}~^&%$#_]", re.sub(pattern, "", title)), "each of them is escaped"


def test_what_git_does_not_know_yet_is_a_change_too(tmp_path, monkeypatch):
    """A figure of a new notebook is not of the last commit, which lacks it."""
    code = tmp_path / "geomem"
    code.mkdir()
    (code / "old.py").write_text("")
    own = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for words in ("init -q", "add .", "-c user.name=a -c user.email=a@b commit -qm one"):
        subprocess.run(["git", *words.split()], cwd=tmp_path, check=True, env=own)
    monkeypatch.setattr(figures, "__file__", str(code / "figures.py"))
    assert figures.commit()["dirty"] is False
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "new.py").write_text("")
    assert figures.commit()["dirty"] is True


def test_an_equal_figure_gives_the_same_bytes(fig, tmp_path):
    saved = []
    for equal in (fig, draw()):
        companion.figure(equal, ID, TABLE)
        files = sorted((tmp_path / "figures").iterdir())
        saved.append([p.read_bytes() for p in files if p.suffix != ".json"])
    assert saved[0] == saved[1]


def test_what_a_drawing_function_gives_is_written_as_its_figure_and_its_table_are(fig, tmp_path):
    saved = []
    for given in ((fig, ID, TABLE), ((draw(), TABLE), ID)):
        companion.figure(*given)
        saved.append((tmp_path / "figures" / f"{ID}.csv").read_bytes())
    assert saved[0] == saved[1]
    with pytest.raises(ValueError, match="columns"):
        companion.figure(fig, ID)


def test_claims_are_kept_also_when_they_stop_the_notebook(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(results.RUN_VARIABLE, raising=False)
    companion.claim("rises", "it rises", np.True_)
    companion.claim("falls", "it falls", False, must=False)
    with pytest.raises(AssertionError, match="it jumps"):
        companion.claim("jumps", "it jumps", False)
    kept = json.loads((tmp_path / "figures" / results.CLAIMS).read_text())
    assert {id: test["holds"] for id, test in kept.items()} == {
        "falls": False,
        "jumps": False,
        "rises": True,
    }
    assert "it falls: NO" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("id", "table", "message"),
    [
        ("fig-3", TABLE, "never a number"),
        ("picture", TABLE, "fig-"),
        (ID, {"x": [1]}, "unit"),
        (ID, {"x [1]": [1], "y [1]": [1, 2]}, "one length"),
        (ID, {}, "columns"),
    ],
)
def test_a_figure_that_cannot_be_cited_is_refused(fig, tmp_path, id, table, message):
    with pytest.raises(ValueError, match=message):
        companion.figure(fig, id, table)
    assert not (tmp_path / "figures").exists(), "nothing half-written"


def test_a_table_shows_what_it_is_given_and_runs_none_of_it():
    rows = {"<b>name</b>": ["<img src=x>", "b"], "share": [Fraction.of(1, 2), np.nan]}
    table = companion.Table(rows)
    soup = BeautifulSoup(table._repr_html_(), "html.parser")
    assert [cell.text for cell in soup.select("th")] == [*rows]
    assert [cell.text for cell in soup.select("td")][:2] == ["<img src=x>", str(Fraction.of(1, 2))]
    assert soup.select("img, b") == [] and soup.select("td")[-1].text == "–"
    assert "<img src=x>" in repr(table)
    with pytest.raises(ValueError, match="one length"):
        companion.Table({"a": [1], "b": [1, 2]})


def test_an_image_grid_shows_each_image_in_its_cell_and_frames_the_memorized(rng):
    rows = [(name, rng.uniform(-1.5, 1.5, (3, 1, 4, 2))) for name in ("one", "two")]
    fig = drawing.image_grid(rows, ["a", "b", "c"], [None, np.array([False, True, False])])
    (ax,) = fig.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one", "two"]
    assert len(ax.images) == 6
    for k, shown in enumerate(ax.images):
        left, right, bottom, top = shown.get_extent()
        assert ((left + right) / 2, (bottom + top) / 2) == pytest.approx((k % 3, k // 3))
        expected = np.clip((rows[k // 3][1][k % 3, 0] + 1) / 2, 0, 1)
        np.testing.assert_allclose(shown.get_array(), expected)
    *frames, ear = ax.patches
    assert [frame.get_center() for frame in frames] == [pytest.approx((1, 1))] * 2
    assert frames[0].get_linewidth() > 2 * frames[1].get_linewidth(), "one within the other: double"
    assert ear.get_path().get_extents().max == pytest.approx((1.43, 1 - 0.3 * 0.43)), "its corner"
    plt.close(fig)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 16])
def test_an_image_grid_shows_images_of_any_number_of_channels(channels, rng):
    """Of latents their mean over the channels, from its least to its most; never as transparent."""
    images = rng.normal(3, 9, (2, channels, 4, 2))
    images[1] = images[1, 0, 0, 0]  # the same everywhere
    fig = drawing.image_grid([("one", images)], ["a", "b"])
    first, flat = (np.asarray(shown.get_array()) for shown in fig.axes[0].images)
    assert first.shape == flat.shape == ((4, 2, 3) if channels == 3 else (4, 2))
    assert first.min() >= 0 and first.max() <= 1 and np.ptp(flat) == 0 and np.isfinite(flat).all()
    if channels not in (1, 3):
        mean = images[0].mean(0)
        np.testing.assert_allclose(first, (mean - mean.min()) / np.ptp(mean), atol=1e-12)
    plt.close(fig)


def test_what_is_shown_fainter_stands_in_the_table_as_it_is(monkeypatch, rng):
    sigma, images = np.array([0.5, 2.0]), rng.normal(size=(2, 1, 3, 3))
    shown = []
    monkeypatch.setattr(drawing, "image_grid", lambda rows, *rest: shown.extend(rows))
    _, table = drawing.strip(sigma, {"noisy": images, "answer": images}, noisy=["noisy"])
    pixels = np.array(table["pixel value [data units]"]).reshape(2, *images.shape)
    np.testing.assert_array_equal(pixels, [images, images])
    (_, noisy), (_, answer) = shown
    np.testing.assert_array_equal(noisy, images / np.array([1.0, 2.0])[:, None, None, None])
    np.testing.assert_array_equal(answer, images)


def far_right(fig, ax):
    ax.set_xlim(0, 1)
    ax.text(1.2, 0.5, "far right", in_layout=False)


def right_axis(fig, ax):
    """A second axis whose name is drawn where the canvas has ended."""
    other = ax.twinx()
    other.set_ylabel("rate", labelpad=60)
    fig.set_layout_engine("none")


def crowded_ticks(fig, ax):
    ax.set_xticks(range(40), [f"{i}.000" for i in range(40)])


def small_print(fig, ax):
    ax.text(1.5, 2, "a footnote", fontsize=9)


def two_legends(fig, ax):
    ax.plot([0, 1], label="peak")
    fig.legend(loc="upper left", bbox_to_anchor=(0.4, 0.5))
    ax.text(0.5, 0.5, "M" * 30, transform=fig.transFigure, ha="center", va="top")


@pytest.mark.parametrize(
    ("draw_wrong", "named"),
    [
        (far_right, "'far right' is cut off"),
        (right_axis, "'rate' is cut off"),
        (crowded_ticks, "'0.000' lies over '1.000'"),
        (two_legends, "'peak'"),
        (small_print, "'a footnote' is small in half a column"),
        (lambda fig, ax: fig.set_size_inches(3.25, 9.1), "taller"),
        (lambda fig, ax: ax.set_ylabel(WIDE), "is cut off"),
        (lambda fig, ax: fig.legend(ax.plot([0, 1]), [WIDE], loc="outside lower center"), "is cut"),
        (lambda fig, ax: ax.annotate("note", (0.5, 0.5), (0.5, -0.6), ax.transAxes), "'note' is"),
    ],
)
def test_what_does_not_fit_is_named(fig, draw_wrong, named):
    draw_wrong(fig, fig.axes[0])
    assert any(named in said for said in drawing.misplaced(fig))


def beyond_the_ends(fig, ax):
    """Ticks beyond the ends of an axis are kept, but not drawn."""
    ax.set_xticks([-5, 0, 5], ["left of the canvas", "0", "right of the canvas"])
    ax.set_xlim(-1, 1)


def twins(fig, ax):
    other = ax.twinx()
    other.plot([1, 2], [30, 10])
    other.set_ylabel("another quantity")


def twins_on_one_side(fig, ax):
    other = ax.twinx()
    other.yaxis.tick_left()
    other.set_ylim(ax.get_ylim())


def invisible(fig, ax):
    for hidden in (ax.text(0, 0, "out", transform=fig.transFigure), ax.text(9, 9, "far away")):
        hidden.set_visible(False)
    ax.text(0.5, 0.5, " ")
    ax.text(0.5, np.nan, "nowhere")


def no_axes(fig, ax):
    crowded_ticks(fig, ax)
    ax.axis("off")


def all_kinds(fig, ax):
    ax.set(xlabel="x", ylabel="y", title="title")
    ax.plot([1, 2], [2, 1], label="one")
    ax.legend()
    fig.legend(loc="outside lower center")
    fig.suptitle("above it all")


@pytest.mark.parametrize(
    "draw_right", [beyond_the_ends, twins, twins_on_one_side, invisible, no_axes, all_kinds]
)
def test_a_text_in_its_place_is_not_named(fig, draw_right):
    draw_right(fig, fig.axes[0])
    assert drawing.misplaced(fig) == []


def test_what_is_misplaced_is_said_and_kept_with_the_figure(fig, tmp_path, capsys):
    companion.figure(fig, ID, TABLE)
    assert capsys.readouterr().out == ""
    wrong = draw()
    far_right(wrong, wrong.axes[0])
    companion.figure(wrong, "fig-test-wrong", TABLE)
    assert capsys.readouterr().out == "fig-test-wrong: 'far right' is cut off\n"
    kept = [
        json.loads((tmp_path / "figures" / f"{id}.json").read_text())["misplaced"]
        for id in (ID, "fig-test-wrong")
    ]
    assert kept == [[], ["'far right' is cut off"]]
    cli._print_paths(sorted((tmp_path / "figures").iterdir()), tmp_path)
    assert capsys.readouterr().out.splitlines()[-1] == "  fig-test-wrong: 'far right' is cut off"


def test_rings_and_arrows_of_the_plane_are_where_they_should_be():
    ax = plt.figure().subplots()
    points = np.array([[0.0, 1.0], [-2.0, 0.5]])
    shells.rings(ax, points, 0.5, 0.75)
    assert [ring.get_center() for ring in ax.patches] == [(0.0, 1.0), (-2.0, 0.5)]
    assert all(r.get_radii() == (0.75, 0.75) and r.get_width() == 0.25 for r in ax.patches)
    shells.arrows(ax, points, np.array([[3.0, 4.0], [0.0, 0.0]]), longest=1.0)
    (shown,) = ax.collections
    assert (shown.U[0], shown.V[0]) == pytest.approx((0.6, 0.8))
    np.testing.assert_array_equal(np.array(ax.lines[0].get_data()).T, points[1:])
    plt.close("all")


def tabled(numbers, table):
    """Whether finite numbers are all in a table of columns."""
    known = [x for column in table.values() for x in column if isinstance(x, (float, np.floating))]
    return np.isin(np.round(numbers, 9), np.round(known, 9)).all()


def ends_of_bands(fig):
    """Where bands of curves end, upwards."""
    bands = [band for ax in fig.axes for band in ax.collections if isinstance(band, PolyCollection)]
    return [y for band in bands for path in band.get_paths() for y in path.vertices[:, 1]]


def bands(rng):
    sigma = np.array([0.5, 1.0, 2.0])
    ours = {"a": Curve.from_queries(sigma, rng.random((9, 3)) < 0.5, indicator=True)}
    return pictures.marks_and_curves(sigma, {"a": sigma / 4, "b": sigma / 5, "c": sigma / 6}, ours)


def courses(rng):
    sigma = np.array([2.0, 1.0, 0.5])
    way = rng.random((9, 4)), rng.integers(0, 3, (9, 4)), rng.random((9, 3)) < 0.5
    found = {"small": Course(sigma, *way, np.zeros((9, 1, 4, 4), np.float32))}
    rate = Curve.from_queries(sigma[1:], rng.random((9, 2)) < 0.5, indicator=True)
    return pictures.courses(GEOMETRY, found, rate, "held-out")


@pytest.mark.parametrize("drawn", [bands, courses])
def test_the_table_of_a_picture_has_the_ends_of_its_bands(drawn, rng):
    fig, table = drawn(rng)
    ends = ends_of_bands(fig)
    assert ends and tabled(ends, table)
    plt.close(fig)


def test_the_table_has_the_bars_of_marks_and_the_lines_that_a_picture_is_read_against(rng):
    sigma = np.array([0.5, 1.0, 2.0])
    curve = Curve.from_table(sigma, sigma / 4)
    for half in ([], [np.array([0.01, 0.02])]):
        marks = {"W_sigma": (sigma[:2], sigma[:2] / 3, *half)}
        table = drawing.noise_table({"W_sigma": curve}, "probability", marks=marks)
        assert sum("half width" in heading for heading in table) == len(half)
        assert not half or tabled(half[0], table)
    passed = np.arange(200) < 200 * np.array([[0.0], [0.25], [1.0]])
    alone = {"small": np.ones(200, bool), "large": np.zeros(200, bool)}
    switch = Switch(sigma[::-1], {"small": passed, "large": passed[::-1]}, alone)
    reach = SimpleNamespace(geometry=GEOMETRY, edge=Estimate(0.123, 0.1, 0.2))
    _, table = pictures.switched(switch, reach)
    assert tabled([*switch.begun.numbers, *switch.ended.numbers, 0.123], table)
    lines = {"held-out": {"pca": Estimate(0.41, 0.4, 0.42)}, "training set": {"pca": Estimate(0.3)}}
    study = Study({("plain", 0): judged(80, 2.0), ("dummy", 0): judged(45, 0.7)})
    stop = SimpleNamespace(step=2, steps=[1, 2], losses=[Estimate(2.0, 1.9, 2.1)] * 2)
    course = {"plain": [judged(10, 1.0), judged(80, 2.0)]}
    for _, table in (
        remedies.trade_off(study, study.first, lines, "pca"),
        remedies.over_training({0: stop}, course, [1, 2], lines),
    ):
        assert tabled([0.41, 0.4, 0.42, 0.3], table) and len({*map(len, table.values())}) == 1
    plt.close("all")


def test_numbers_are_quoted_as_a_table_shows_them_and_mappings_entry_by_entry(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(results.RUN_VARIABLE, raising=False)
    companion.quote(n=1234, share=Fraction.of(1, 2), zone={"low": 0.12345, "ends": ["a", 2.0]})
    companion.quote(said="as it is", table=companion.Table({"x": [1]}))
    kept = json.loads((tmp_path / "figures" / results.VALUES).read_text())
    assert kept == {
        "n": "1,234",
        "share": str(Fraction.of(1, 2)),
        "zone_low": "0.123",
        "zone_ends": "a, 2",
        "said": "as it is",
        "table": companion.Table({"x": [1]}).markdown,
    }
