"""Every page of the smoke book in a browser."""

import functools
import http.server
import threading
from importlib.resources import files
from urllib.parse import quote

import pytest
from conftest import troubles

# Scheme, width, and whether a server gives the pages or the disk does. No page asks for two of them
# at once, so that each has its two values once.
VIEWS = [("light", 1280, True), ("dark", 390, False)]

# The page that defines a word.
DEFINED = {
    "danger zone": "regimes",
    "coverage": "coverage",
    "ratio test": "memorization",
    "gap": "gap_training",
    "swap": "swaps",
    "early stopping": "gap_training",
    "GPU": "reproduce",
    "cite": "cite",
}
# A page of each kind: prose, proofs, tables, a bibliography, code, a notebook, the API. Light and
# dark take turns, but for the first; in the long tests each is opened in both.
OPEN = [
    *("book/intro", "book/theorem_4_2", "book/what_holds", "book/cite", "book/reproduce"),
    *("book/figures", "notebooks/swaps", "book/api/functions/audit"),
]


@pytest.fixture(scope="module")
def address(html):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = functools.partial(Quiet, directory=str(html))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def visit(browser, base, html, scheme, width):
    """Open every page below ``base`` and return what went wrong on any of them.

    The pages of the API are made alike: those of the longest name and text stand for them.
    """
    sizes = {p.relative_to(html).as_posix(): p.stat().st_size for p in html.glob("book/**/*.html")}
    reference = [page for page in sizes if page.startswith("book/api/")]
    extremes = {max(reference, key=len), max(reference, key=sizes.get)}
    pages = [page for page in sizes if page not in reference or page in extremes]
    pages += [f"notebooks/{path.name}" for path in html.glob("notebooks/*.html")]
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    found = troubles(page, base)
    for name in pages:
        page.goto(base + name, wait_until="load")
        if page.query_selector(".math:not(:has(math)), merror"):
            found.append(f"{name}: a formula did not render")
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found.append(f"{name}: wider than {width} px")
        if page.evaluate("document.documentElement.dataset.theme") != scheme:
            found.append(f"{name}: not in the {scheme} theme")
    context.close()
    return found


@pytest.mark.parametrize(("scheme", "width", "served"), VIEWS)
def test_every_page_in_a_browser(browser, address, html, scheme, width, served):
    """No request to the outside, no failed one, no console error, no overflow, all math set."""
    base = address if served else html.as_uri() + "/"
    assert visit(browser, base, html, scheme, width) == []


@pytest.mark.parametrize("served", [True, False])
def test_search_finds_the_page_that_defines_a_word_first(browser, address, html, served):
    page, base = browser.new_page(), address if served else html.as_uri() + "/"
    for words, defining in [*DEFINED.items()][: 1 if served else None]:
        page.goto(f"{base}search.html?q={quote(words)}", wait_until="load")
        first = page.wait_for_selector("#search-results li a").get_attribute("href")
        assert first.partition("#")[0] == f"book/{defining}.html", words
    page.close()


@pytest.mark.parametrize(("scheme", "width"), [view[:2] for view in VIEWS])
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.long)])
def test_pages_are_open_to_who_hears_them_and_who_has_a_keyboard(
    browser, html, scheme, width, every
):
    """By axe-core; what is wider than its place scrolls by keyboard; the article comes soon."""
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text()
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    turns = [OPEN[0], *OPEN[1 + (scheme == "dark") :: 2]]
    for name in OPEN if every else turns:
        page.goto(f"{html.as_uri()}/{name}.html", wait_until="load")
        for _ in range(10):
            page.keyboard.press("Tab")
            if page.evaluate("!!document.activeElement.closest('article')"):
                break
        else:
            raise AssertionError(f"{name}: more than ten steps by keyboard to the article")
        page.evaluate(axe)
        found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        grave = [rule for rule in found if rule["impact"] in ("serious", "critical")]
        said = [(rule["id"], one["html"]) for rule in grave for one in rule["nodes"]]
        assert said == [], name
    context.close()


def test_a_long_formula_scrolls_by_keyboard_and_shows_that_it_does(browser, html):
    context = browser.new_context(viewport={"width": 390, "height": 900})
    page = context.new_page()
    page.goto(html.as_uri() + "/book/theorem_4_2.html", wait_until="load")
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    page.wait_for_function("""() => document.querySelector(".formula.wide") &&
        [...document.querySelectorAll(".formula")].every((one) =>
            (one.getAttribute("tabindex") === "0") === (one.scrollWidth > one.clientWidth + 1))""")
    formula = page.query_selector(".formula.wide")
    formula.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("one => one.scrollLeft > 0", arg=formula)
    assert "gradient" in formula.evaluate("one => getComputedStyle(one).backgroundImage")
    context.close()
    page = browser.new_page(viewport={"width": 1600, "height": 900})
    page.goto(html.as_uri() + "/book/coverage.html", wait_until="load")
    page.wait_for_timeout(200)
    assert page.query_selector(".wide") is None
    page.close()


def test_icons_are_drawn_and_the_font_of_formulas_is_there(browser, address):
    page = browser.new_page()
    page.goto(address + "book/coverage.html", wait_until="load")
    masks = page.evaluate(
        "[...document.querySelectorAll('[class*=\"fa-\"]')].map(i => getComputedStyle(i).maskImage)"
    )
    assert masks and all("data:image/svg" in mask for mask in masks), masks
    page.evaluate("document.fonts.ready")
    assert page.evaluate("document.fonts.check('1em \"STIX Two Math\"', 'σ')")
    page.close()


def test_a_link_into_a_folded_proof_opens_it_and_paper_opens_all(browser, html):
    page = browser.new_page()
    page.goto(f"{html.as_uri()}/book/verification.html", wait_until="load")
    page.locator('a[href*="-step-"]').last.click()
    page.wait_for_url("**/theorem*#*")
    label = page.url.partition("#")[2]
    shown = f"""() => {{ const target = document.getElementById("{label}");
        const y = target.getBoundingClientRect().top;
        return target.closest("details").open && 0 <= y && y < innerHeight }}"""
    page.wait_for_function(shown)
    summary = page.locator("summary").first
    closed = "e => !e.parentElement.open"
    assert summary.evaluate(closed), "what no link points at stays closed"
    summary.press("Enter")
    assert not summary.evaluate(closed)
    summary.press("Enter")
    proofs = "[...document.querySelectorAll('.proof-steps')].every(proof => proof.open)"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(proofs)
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not page.evaluate(proofs)
    page.goto(page.url.partition("#")[0] + "#%")  # is no text in UTF-8
    page.reload(wait_until="load")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(proofs)
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_term_shows_its_definition_to_pointer_and_keyboard(browser, address, scheme):
    """Beside its link and inside a narrow window; nothing moves, Escape hides it, a tap follows."""
    view = {"width": 390, "height": 800}
    context = browser.new_context(viewport=view, color_scheme=scheme, has_touch=True)
    page = context.new_page()
    page.goto(address + "book/what_holds.html", wait_until="load")
    links = page.locator("a.term")
    for i in range(links.count()):
        link = links.nth(i)
        preview = page.locator(f'[id="{link.get_attribute("aria-describedby")}"]')
        link.scroll_into_view_if_needed()
        size = "[document.documentElement.scrollHeight, document.documentElement.scrollWidth]"
        before = page.evaluate(size)
        page.mouse.move(0, 0)
        preview.wait_for(state="hidden")  # where scrolling brought it under the pointer
        page.keyboard.press("Shift")  # the keyboard is in use
        for shows in (link.hover, link.focus):
            assert preview.is_hidden()
            shows()
            assert preview.is_visible() and page.evaluate(size) == before
            box = preview.bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= view["width"]
            assert box["y"] >= 0 and box["y"] + box["height"] <= view["height"]
            page.keyboard.press("Escape")
        assert preview.is_hidden()
    links.first.tap()
    page.wait_for_url("**/glossary.html#term-*")
    context.close()


@pytest.mark.parametrize(("scheme", "other"), [("light", "dark"), ("dark", "light")])
def test_a_page_shows_and_loads_the_pictures_of_its_theme_only(browser, address, scheme, other):
    context = browser.new_context(color_scheme=scheme)
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address + "book/regimes.html", wait_until="load")
    shown, hidden = (page.locator(f"figure img.only-{of}") for of in (scheme, other))
    assert shown.count() == hidden.count() > 0
    for picture in shown.all():
        picture.scroll_into_view_if_needed()
        picture.evaluate("image => image.decode()")
        assert picture.evaluate("image => getComputedStyle(image).filter") == "none"
    assert not any(picture.is_visible() for picture in hidden.all())
    loaded = [url for url in asked if "/fig-" in url]
    assert [url.endswith(".dark.svg") for url in loaded] == [scheme == "dark"] * shown.count()
    context.close()
