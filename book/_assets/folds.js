// What a link points at is shown, in however many folds it lies; on paper folds are open.
(() => {
  const reveal = () => {
    const target = document.getElementById(location.hash.slice(1)); // as it stands: ids are ASCII
    const closed = [];
    for (let fold = target?.closest("details"); fold; fold = fold.parentElement.closest("details"))
      if (!fold.open) closed.push(fold);
    for (const fold of closed) fold.open = true;
    if (closed.length) target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href*="#"]');
    if (link?.href === location.href) reveal(); // the address stays, and nothing else would notice
  });
  reveal();

  let unfolded = [];
  addEventListener("beforeprint", () => {
    unfolded = [...document.querySelectorAll("article details:not([open], .figure-code)")];
    for (const fold of unfolded) fold.open = true;
  });
  addEventListener("afterprint", () => {
    for (const fold of unfolded) fold.open = false;
  });
})();
