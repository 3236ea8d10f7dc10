// What Material leaves out for those who use a keyboard or a screen reader.
const complete = () => {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  document.querySelectorAll("pre > code").forEach((code) => (code.tabIndex = 0)); // they scroll on a phone
  document.querySelectorAll(".md-code__nav").forEach((nav, i) => nav.setAttribute("aria-label", `Code ${i + 1}`));
};
complete();
new MutationObserver(complete).observe(document.body, { childList: true, subtree: true });
