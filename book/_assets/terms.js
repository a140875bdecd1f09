// The definition of a term beside its link: while the pointer is on either, or the keyboard on the
// link. Escape hides it. A tap follows the link.
(() => {
  const previews = document.querySelector(".previews");
  document.body.append(previews);
  let shown = null, leaving = 0;

  function hide() {
    clearTimeout(leaving);
    if (shown) shown.hidden = true;
    shown = null;
  }

  function show(link, preview) {
    hide();
    shown = preview;
    preview.hidden = false;
    const at = link.getClientRects()[0], from = previews.getBoundingClientRect();
    const room = document.documentElement.clientWidth - preview.offsetWidth - 8;
    const below = at.bottom + 4, above = at.top - preview.offsetHeight - 4;
    const fits = below + preview.offsetHeight < innerHeight || above < 0;
    preview.style.left = `${Math.max(8, Math.min(at.left, room)) - from.left}px`;
    preview.style.top = `${(fits ? below : above) - from.top}px`;
  }

  for (const link of document.querySelectorAll("a.term")) {
    const preview = document.getElementById("preview-" + link.hash.slice(1));
    const leave = () => { leaving = setTimeout(hide, 200); };
    link.setAttribute("aria-describedby", preview.id);
    link.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") show(link, preview); });
    link.addEventListener("pointerleave", leave);
    link.addEventListener("focus", () => { if (link.matches(":focus-visible")) show(link, preview); });
    link.addEventListener("blur", hide);
  }
  for (const preview of previews.children) {
    preview.addEventListener("pointerenter", () => clearTimeout(leaving));
    preview.addEventListener("pointerleave", hide);
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
})();
