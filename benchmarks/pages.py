"""What pages of the built book weigh, and how soon they are read.

    python benchmarks/pages.py [HTML] [--compare OLDER] [--pages book/cite search ...] [--axe FILE]

A static host that compresses, and headless Chromium with a phone's network (1.6 Mbit/s, 150 ms to
the host and back) and a processor slowed four times, nothing cached, 390 px wide. For each page:
bytes over the wire until nothing more comes, seconds to the first paint of content and until every
formula stands in its own font; then, not slowed, tab stops before the article, and elements that
axe-core finds at fault, seriously or critically, at 1280 px and at 390 px in dark mode, the worse
one. axe-core comes from `pip install axe-playwright-python` or from --axe, or is left out. Ends
with 1 where a goal is missed.
"""

import argparse
import contextlib
import functools
import gzip
import http.server
import importlib.util
import sys
import threading
from pathlib import Path
from typing import NamedTuple

from geomem.companion import pdf

ROOT = Path(__file__).resolve().parent.parent
PAGES = """book/intro book/coverage book/theorem_4_2 book/memorization book/swaps book/what_holds
book/figures book/cite book/reproduce book/api/functions/audit notebooks/swaps search""".split()
COMPRESSED = {".html", ".css", ".js", ".svg", ".json", ".csv", ".txt", ".bib"}
NETWORK = dict(offline=False, latency=150, downloadThroughput=2e5, uploadThroughput=9.4e4)
SLOWER = 4
SCREENS = (("light", 1280), ("dark", 390))
WAIT = 120_000  # ms
# When the last formula stands: all are there, whoever sets them, and the font is, where one comes.
WATCH = """(() => {
  const look = () => {
    const count = names => document.querySelectorAll(names).length;
    const set = count("mjx-container, .math math") >= count(".math");
    const font = !count(".math") || document.fonts.check('1em "STIX Two Math"', "x");
    if (document.readyState !== "loading" && set && font)
      window.formulas = performance.now();
    else setTimeout(look, 50);
  };
  setTimeout(look);
})()"""
FIRST = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
STOPS = """() => {
  const article = document.querySelector("article, .bd-search-container");
  const every = [...document.querySelectorAll("a[href], button, input, summary, [tabindex]")];
  return every.filter(one =>
    one.tabIndex >= 0 && !one.disabled && one.checkVisibility({visibilityProperty: true})
    && article.compareDocumentPosition(one) & Node.DOCUMENT_POSITION_PRECEDING).length;
}"""


class Page(NamedTuple):
    """What was measured of a page; its fields stand as columns, each with its goal."""

    kilobytes: float
    first: float
    formulas: float
    axe: float
    stops: float


UNITS = ("kB", "first s", "formulas s", "axe", "stops")
GOALS = Page(1000, 1.5, 5, 0, 10)


class Host(http.server.SimpleHTTPRequestHandler):
    """Files as a static host gives them: compressed, over a connection that stays open."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        content = path.read_bytes()
        self.send_response(200)
        if path.suffix in COMPRESSED:
            content = gzip.compress(content)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def served(html):
    handler = functools.partial(Host, directory=str(html))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def on_a_phone(browser, address):
    """Kilobytes, first paint and last formula, in a context of its own: nothing is cached."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, device_scale_factor=2)
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    size = []
    devtools.on("Network.loadingFinished", lambda event: size.append(event["encodedDataLength"]))
    devtools.send("Network.enable")
    devtools.send("Network.emulateNetworkConditions", NETWORK)
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    page.add_init_script(WATCH)
    page.goto(address, wait_until="load", timeout=WAIT)
    page.wait_for_function("window.formulas", timeout=WAIT)
    page.wait_for_load_state("networkidle", timeout=WAIT)
    first, formulas = page.evaluate(FIRST), page.evaluate("window.formulas")
    context.close()
    return sum(size) / 1000, first / 1000, formulas / 1000


def by_keyboard(browser, address, axe):
    """What axe-core finds, and tab stops before the article, where it is worse."""
    found = []
    for scheme, width in SCREENS:
        context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
        page = context.new_page()
        page.goto(address, wait_until="load", timeout=WAIT)
        page.wait_for_load_state("networkidle", timeout=WAIT)
        found.append((violations(page, axe), page.evaluate(STOPS)))
        context.close()
    return map(max, zip(*found, strict=True))


def violations(page, axe):
    """How many elements of a page axe-core finds at fault, seriously or critically."""
    if not axe:
        return float("nan")
    page.evaluate(axe)
    made = page.evaluate("axe.run({resultTypes: ['violations']})")
    return sum(
        len(one["nodes"]) for one in made["violations"] if one["impact"] in ("serious", "critical")
    )


def axe_core(given):
    package = importlib.util.find_spec("axe_playwright_python")
    if given is None and package is not None:
        given = Path(package.submodule_search_locations[0], "axe.min.js")
    return given and Path(given).read_text()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("html", nargs="?", type=Path, default=ROOT / "_build" / "html")
    parser.add_argument("--compare", type=Path, metavar="OLDER", help="an older build, before")
    parser.add_argument("--pages", nargs="+", default=PAGES, help="without .html")
    parser.add_argument("--axe", type=Path, metavar="FILE", help="axe.min.js")
    options = parser.parse_args()
    axe = axe_core(options.axe)
    builds = [build for build in (options.compare, options.html) if build]
    missed = 0
    print(f"{'page':32}{'build':>8}" + "".join(f"{unit:>12}" for unit in UNITS), flush=True)
    with pdf.browser() as browser:
        for name in options.pages:
            for build in builds:
                if not (build / f"{name}.html").is_file():
                    if build == options.html:
                        sys.exit(f"{build / name}.html is not there: `make book` renders it")
                    continue
                with served(build) as base:
                    address = f"{base}{name}.html"
                    row = Page(*on_a_phone(browser, address), *by_keyboard(browser, address, axe))
                which = "before" if build == options.compare else "now"
                print(f"{name:32}{which:>8}" + "".join(f"{x:12.3g}" for x in row), flush=True)
                over = [a > b for a, b in zip(row, GOALS, strict=True)]
                missed += build == options.html and any(over)
    print(f"{'goal: at most':40}" + "".join(f"{goal:12.3g}" for goal in GOALS))
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
