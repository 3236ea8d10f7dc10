// What Material leaves out for those who use a keyboard or a screen reader.
const complete = () => {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  // A corner without a word is no heading, and what is wider than a window scrolls by keys too.
  document.querySelectorAll("th:empty").forEach((corner) => corner.replaceWith(document.createElement("td")));
  document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])").forEach((wide) => (wide.tabIndex = 0));
  // They scroll on a phone; Material takes this back when a window changes.
  document.querySelectorAll("pre > code:not([tabindex])").forEach((code) => (code.tabIndex = 0));
  document.querySelectorAll(".md-code__nav").forEach((nav, i) => nav.setAttribute("aria-label", `Code ${i + 1}`));
};
complete();
new MutationObserver(complete).observe(document.body, { childList: true, subtree: true, attributeFilter: ["tabindex"] });
