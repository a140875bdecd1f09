"""Every page of the smoke book in a browser."""

import functools
import http.server
import shutil
import threading

import pytest

# Scheme, width, and whether a server gives the pages or the disk does.
VIEWS = [("light", 1280, True), ("dark", 1280, False), ("light", 390, False), ("dark", 390, True)]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no Chromium on this machine: install it to check the pages in a browser")
    flags = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=flags)
        yield running
        running.close()


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


def visit(browser, base, pages, scheme, width):
    """Open every page below ``base`` and return what went wrong on any of them.

    The pages of the API are made alike: those of the longest name and text stand for them.
    """
    reference = [page for page in pages if page.startswith("book/api/")]
    extremes = {max(reference, key=len), max(reference, key=lambda page: len(pages[page].text))}
    pages = [page for page in pages if page not in reference or page in extremes]
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, troubles = context.new_page(), []
    own = (base, "data:", "blob:")
    page.on("console", lambda m: troubles.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("requestfailed", lambda r: troubles.append(r.url))
    page.on("response", lambda r: troubles.append(r.url) if r.status >= 400 else None)
    page.on("request", lambda r: None if r.url.startswith(own) else troubles.append(r.url))
    for name in pages:
        page.goto(base + name, wait_until="load")
        page.wait_for_function(
            "document.querySelectorAll('mjx-container').length"
            " >= document.querySelectorAll('.math').length"
        )
        if page.query_selector('[data-mml-node="merror"], [data-mjx-error]'):
            troubles.append(f"{name}: a formula did not render")
        if page.evaluate("document.documentElement.scrollWidth") > width:
            troubles.append(f"{name}: wider than {width} px")
        if page.evaluate("document.documentElement.dataset.theme") != scheme:
            troubles.append(f"{name}: not in the {scheme} theme")
    context.close()
    return troubles


@pytest.mark.parametrize(("scheme", "width", "served"), VIEWS)
def test_every_page_in_a_browser(browser, address, html, pages, scheme, width, served):
    """No request to the outside, no failed one, no console error, no overflow, all math set."""
    base = address if served else html.as_uri() + "/"
    assert visit(browser, base, pages, scheme, width) == []


def test_search_finds_coverage(browser, address):
    page = browser.new_page()
    page.goto(address + "search.html?q=coverage", wait_until="load")
    page.wait_for_selector("#search-results li")
    found = page.locator("#search-results li a").all_inner_texts()
    assert any("Shells and coverage" in text for text in found), found
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
