// What is wider than its place is marked, so that the style shows it, and scrolls by keyboard, too.
(() => {
  "use strict";
  const PLACES = "main :is(.formula, span.math, .pst-scrollable-table-container)";
  const room = (place) => { // of an inline formula, that of the text around it; what flows inline has none
    let around = place;
    if (place.matches("span")) do around = around.parentElement; while (around.clientWidth === 0 && around !== document.body);
    return around.clientWidth;
  };
  const width = (place) =>
    place.matches("span") ? place.firstElementChild?.getBoundingClientRect().width ?? 0 : place.scrollWidth;
  const mark = () => {
    const found = [...document.querySelectorAll(PLACES)].map((place) => [place, width(place) > room(place) + 1]);
    for (const [place, wide] of found) {
      if (place.classList.contains("wide") === wide) continue;
      place.classList.toggle("wide", wide);
      for (const [name, value] of Object.entries({ tabindex: "0", role: "group", "aria-label": "wider than the page: scrolls" }))
        wide ? place.setAttribute(name, value) : place.removeAttribute(name);
    }
  };
  addEventListener("DOMContentLoaded", () => {
    const article = document.querySelector("article");
    if (article) new ResizeObserver(() => requestAnimationFrame(mark)).observe(article);
  });
})();
