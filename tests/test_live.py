"""Live figures: what a notebook hands over, and what a page with it does in a browser."""

import base64
import json
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, troubles

import geomem
from geomem.companion import sphinx_live
from geomem.companion.live import DTYPES, attach_live
from geomem.geometry.plane import Plane

ASSETS = ROOT / "book" / "_assets"
CONF = f"""
extensions = ["myst_parser", "geomem.companion.sphinx_live"]
html_theme, html_static_path, numfig = "sphinx_book_theme", [{str(ASSETS)!r}], True
html_context = {{"default_mode": "auto"}}
"""
PAGE = """# A page

```{{figure}} twin.png
:name: fig-twin
:alt: The still twin

The twin.
```

```{{live}} {name}
:notebook: some
:twin: fig-twin

Move it.
```
"""


def written(values, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = attach_live("some", **values).read_text()
    return json.loads(text.partition('geomem.data["some"] = ')[2].rstrip(";\n")), text


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_are_handed_over_bit_for_bit(dtype, rng, tmp_path, monkeypatch):
    array = rng.integers(0, 200, (3, 4, 2)).astype(dtype)[:, ::2]  # not contiguous
    said, _ = written({"a": [array], "n": np.float64(0.5)}, tmp_path, monkeypatch)
    (packed,) = said["a"]
    back = np.frombuffer(base64.b64decode(packed["base64"]), packed["dtype"])
    np.testing.assert_array_equal(back.reshape(packed["shape"]), array)
    assert said["n"] == 0.5


@pytest.mark.parametrize(
    "value", [np.zeros(2, complex), np.array([np.nan]), np.nan, {1, 2}, np.array(["a"])]
)
def test_what_a_page_cannot_read_is_refused(value, tmp_path, monkeypatch):
    with pytest.raises(ValueError):
        written({"a": value}, tmp_path, monkeypatch)


def test_no_text_ends_its_script(tmp_path, monkeypatch):
    hostile = "</script><script>\u2028alert(1)"
    said, text = written({"a": hostile}, tmp_path, monkeypatch)
    assert said["a"] == hostile and "<" not in text and "\u2028" not in text
    with pytest.raises(ValueError):
        attach_live('a"];alert(1)')


# The plane, on a page of its own


@pytest.fixture(scope="module")
def plane():
    return Plane(draws=128)


@pytest.fixture(scope="module")
def site(tmp_path_factory, plane):
    """Two pages, one of them with the plane, as the book's theme has them."""
    root = tmp_path_factory.mktemp("live")
    result = root / "results" / "some"
    result.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(result)
        shutil.move(attach_live("plane", start=0.6, **plane.handed), result)
    (root / "conf.py").write_text(CONF)
    (root / "index.md").write_text("# None here\n\n```{toctree}\npage\n```\n")
    (root / "page.md").write_text(PAGE.format(name="plane"))
    shutil.copy(ROOT / "book" / "_assets" / "favicon.svg", root / "twin.png")
    strict = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", root, root / "html"]
    made = subprocess.run(strict, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    return root / "html"


def test_only_its_own_page_loads_a_live_figure(site):
    scripts = [
        re.findall(r'src="_static/(live/[\w.-]+)', (site / page).read_text())
        for page in ("index.html", "page.html")
    ]
    assert scripts == [[], ["live/frame.js", "live/live-plane.js", "live/plane.js"]]
    assert "live.css" not in (site / "index.html").read_text()
    text = (site / "page.html").read_text()
    assert "<noscript>" in text and 'href="#fig-twin"' in text


def test_all_live_figures_together_are_light(site, monkeypatch):
    """Where they are not, the strict book fails."""
    said, app = [], SimpleNamespace(outdir=site, builder=SimpleNamespace(format="html"))
    monkeypatch.setattr(sphinx_live.logger, "warning", said.append)
    sphinx_live._weigh(app, None)
    assert said == []
    monkeypatch.setattr(sphinx_live, "LIMIT", 1e4)
    sphinx_live._weigh(app, None)
    assert len(said) == 1


@pytest.fixture
def visit(browser, site):
    """Opens the page from the disk; at the end nothing has failed and nothing outside was asked."""
    contexts, found = [], []

    def visit(hash="", width=1200, scheme="light", **options):
        size = {"width": width, "height": 900}
        contexts.append(browser.new_context(viewport=size, color_scheme=scheme, **options))
        page = contexts[-1].new_page()
        found.append(troubles(page))
        page.goto(f"{(site / 'page.html').as_uri()}{hash}", wait_until="load")
        page.wait_for_selector(".live-words:not(:empty)")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not any(found), found


COMPUTED = """([points, c, sigmas]) => {
    const data = geomem.live.unpacked(geomem.data.plane), plane = geomem.plane;
    const found = plane.curves(points, c, data);
    return {...found, ...plane.edges(found, data.level),
            at: sigmas.map((sigma) => plane.coverage(points, sigma, c, data)),
            weights: sigmas.map((sigma) => [...plane.weights(points, 0.3, -1, sigma)])};
}"""


def test_the_page_computes_what_geomem_does(visit, plane):
    """Weights to 1e-12; curves on the same noise, which is handed over in single precision."""
    page = visit()
    moved = np.random.default_rng(5).uniform(-3, 3, (4, 5, 2)).round(2)
    twins = np.array(plane.points) * 0 + [[0.5, 0.5]]
    own = np.array(plane.points)
    shells = (0.02, 0.3, 1.0, 5.0)
    cases = [*((own, c) for c in shells), *zip((*moved, twins), (*shells, 1.0), strict=True)]
    for points, c in cases:
        mine = Plane(points, c=c, draws=plane.draws)
        sigmas = mine.sigma[::8].tolist()
        found = page.evaluate(COMPUTED, [points.ravel().tolist(), c, sigmas])
        for sigma, weights in zip(sigmas, found["weights"], strict=True):
            expected = geomem.posterior_weights(np.array([[0.3, -1]]), points, sigma)[0]
            np.testing.assert_allclose(weights, expected, atol=1e-12)
        np.testing.assert_allclose(found["w"], mine.weight.mean, atol=1e-6)
        np.testing.assert_allclose(found["c"], mine.coverage.mean, atol=2e-3)
        np.testing.assert_allclose(found["at"], np.array(found["c"])[::8], atol=0)
        try:
            regimes = mine.regimes
        except ValueError:  # a curve that does not pass the level has no edge
            assert np.isnan([found["covered"], found["concentrated"]]).any()
        else:
            edges = [found["covered"], found["concentrated"]]
            expected = [regimes.covered.value, regimes.concentrated.value]
            np.testing.assert_allclose(edges, expected, rtol=5e-3)


def test_in_a_narrow_zone_each_curve_of_the_page_passes_by_itself_too(visit):
    page, sigma, c = visit(), [0.4, 0.5, 0.6, 0.7], [0.7, 0.88, 0.96, 0.97]
    for late in (0.95, 0.9001, 0.8999, 0.87):
        table = {"sigma": sigma, "c": c, "w": [0.99, 0.95, late, 0.6]}
        found = page.evaluate("(table) => geomem.plane.edges(table, 0.9)", table)
        curves = (geomem.Curve.from_table(np.array(sigma), np.array(table[x])) for x in "cw")
        wanted = geomem.find_regimes(*curves, 0.9)
        assert found["covered"] == pytest.approx(wanted.covered.value)
        assert found["concentrated"] == pytest.approx(wanted.concentrated.value)


def state(page):
    """What the page shows: sigma as its slider says it, and where the points and the cross are."""
    places = page.eval_on_selector_all(".handle", "all => all.map(e => e.ariaValueText)")
    return [page.locator("#live-plane-sigma").get_attribute("aria-valuetext"), *places]


def numbers(text):
    return [*map(float, re.findall(r"-?[\d.]+", text))]


def settled(page):
    """Once the address says what was changed."""
    page.wait_for_function("location.hash.startsWith('#live=plane&')")
    # The address is written 300 ms after the last change: by then it is, on the page's own clock.
    page.evaluate("new Promise((done) => setTimeout(() => requestAnimationFrame(done), 301))")
    return page.evaluate("location.href")


def test_everything_moves_by_keyboard(visit):
    page = visit()
    said = page.locator(".live-said")
    start = state(page)
    assert said.text_content() == "", "nothing is said before something moves"
    sigma = page.locator("#live-plane-sigma")
    for key, level in {"Home": "0.050", "End": "10"}.items():
        sigma.press(key)
        page.wait_for_function(f"document.activeElement.ariaValueText === '{level}'")
    heard = "document.querySelector('.live-said').textContent.startsWith('Large noise')"
    page.wait_for_function(heard)
    sigma.press("PageDown")
    sigma.press("ArrowLeft")
    for handle in page.locator(".handle").all():
        handle.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Shift+ArrowDown")
        page.keyboard.press("Control+ArrowUp")  # is not of the figure
    settled(page)
    for old, new in zip(start[1:], state(page)[1:], strict=True):
        moved = np.array(numbers(new)) - numbers(old)
        np.testing.assert_allclose(moved, [0.1, -0.5], atol=1e-9)
    page.get_by_role("button", name="Back to the start").press("Enter")
    page.wait_for_function(
        "t => document.querySelector('.handle').ariaValueText === t", arg=start[1]
    )
    assert state(page) == start and "#" not in page.url


def test_a_point_is_dragged_and_the_cross_goes_where_it_is_put(visit):
    page = visit()
    board = page.locator(".plane-board").bounding_box()

    def place(x, y):
        return [
            board["x"] + board["width"] * (x + 3.2) / 6.4,
            board["y"] + board["height"] * (3.2 - y) / 6.4,
        ]

    page.mouse.move(*place(-1.9, 0.9))
    page.mouse.down()
    page.mouse.move(*place(-1, 0), steps=4)
    page.mouse.move(*place(2, -2.5), steps=4)
    page.mouse.up()
    page.mouse.click(*place(0, 2.5))
    settled(page)
    _, first, *_, cross = state(page)
    np.testing.assert_allclose(numbers(first), [2, -2.5], atol=0.05)
    np.testing.assert_allclose(numbers(cross), [0, 2.5], atol=0.05)


def test_the_noise_level_is_chosen_on_the_curves(visit):
    page = visit()
    curves = page.locator(".plane-curves")
    said = "level => document.querySelector('#live-plane-sigma').ariaValueText === level"
    curves.click(position={"x": curves.bounding_box()["width"] - 2, "y": 60})
    page.wait_for_function(said, arg="10")
    left = curves.bounding_box()["x"] + 2
    page.mouse.down()
    page.mouse.move(left, curves.bounding_box()["y"] + 60, steps=4)
    page.wait_for_function(said, arg="0.050")
    page.mouse.up()


NAMED = """(key) => {
    const of = (tag) => document.querySelector(`.plane-curves ${tag}.${key}`);
    const name = of("text").getBBox(), line = of("path"), points = [];
    for (let at = 0; at <= line.getTotalLength(); at++) points.push(line.getPointAtLength(at));
    const heights = points.filter(({ x }) => x >= name.x).map(({ y }) => y);
    return [Math.min(...heights) - name.y - name.height, name.y - Math.max(...heights)];
}"""


@pytest.mark.parametrize("view", ["", "#live=plane&c=0.02", "#live=plane&points=3" + 9 * ",3"])
def test_the_names_of_the_curves_stand_at_them(visit, view):
    """The upper one's on it, the lower one's under it, no further off than a line is high."""
    page = visit(view)
    places = [page.evaluate(NAMED, key) for key in "cw"]
    for above, below in places:
        assert -1 < max(above, below) < 12
    assert [above > below for above, below in places] in ([True, False], [False, True])


def test_a_view_is_reopened_from_its_address_and_nonsense_is_not(visit):
    page = visit()
    page.locator("#live-plane-sigma").press("ArrowRight")
    page.locator(".handle").first.press("ArrowUp")
    url = settled(page)
    again = visit("#" + url.partition("#")[2], width=390)
    plain = state(visit())
    assert state(again) == state(page) != plain
    top = "document.querySelector('.live-stage').getBoundingClientRect().top"
    again.wait_for_function(f"0 <= {top} && {top} < innerHeight / 4")  # it is brought into sight
    nonsense = ("sigma=NaN&c=&points=1,2&at=0", "sigma=<b>&points=a,b", "sigma", "c=%20&at=,")
    for said in nonsense:
        assert state(visit(f"#live=plane&{said}")) == plain
    far = state(visit("#live=plane&sigma=1e9&at=1e9,-1e9"))
    assert far[0] == "10" and numbers(far[-1]) == [3.2, -3.2]
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")  # refused
    button = page.get_by_role("button", name="Copy the link")
    button.click()
    page.get_by_text(re.compile("^(Copied|The link is in the address bar)$")).wait_for()
    assert page.url == url and page.evaluate("document.activeElement.className") == "live-button"


INK = """() => [".live-words", ".plane-curves text.c", ".plane-curves text.w"].map((one) => {
    const style = getComputedStyle(document.querySelector(one));
    return one.includes("text") ? style.fill : style.color;
})"""


def contrast(one, other):
    """Of two colours, as WCAG defines it."""

    def luminance(colour):
        share = np.array([float(x) for x in re.findall(r"[\d.]+", colour)[:3]]) / 255
        linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05

    a, b = luminance(one), luminance(other)
    return max(a, b) / min(a, b)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_reads_in_both_schemes_and_on_a_phone(visit, scheme):
    page = visit(scheme=scheme, width=390, has_touch=True)
    for turned in (False, True):
        if turned:  # by the reader, while the page is open
            page.evaluate(
                "t => document.documentElement.dataset.theme = t",
                "light" if scheme == "dark" else "dark",
            )
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert all(contrast(ink, ground) >= 4.5 for ink in page.evaluate(INK))
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator(".plane-board").bounding_box()["width"] > 280
    before = state(page)
    page.locator(".plane-board svg").tap(position={"x": 40, "y": 40})
    settled(page)
    assert state(page)[-1] != before[-1] and state(page)[:-1] == before[:-1]
