// Tables: the button in a heading sorts by its column, the largest first, then the smallest; a third press restores.
function makeSortable(table) {
  const body = table.querySelector("tbody");
  const rows = [...body.rows];
  const heads = [...table.querySelectorAll("thead th")];
  const valueOf = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = Number.parseFloat(text); // of "47.2 ± 7.1" the mean
    return Number.isNaN(number) ? text : number;
  };
  const isKnown = (value) => typeof value === "number";
  heads.forEach((head, column) => {
    if (!rows.some((row) => isKnown(valueOf(row, column)))) return;
    const button = element("button", { type: "button", className: "sort", title: "sort" }, ...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const next = { null: "descending", descending: "ascending", ascending: null }[head.getAttribute("aria-sort")];
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      if (next) head.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const sorted = [...rows].sort((first, second) => {
        const [a, b] = [valueOf(first, column), valueOf(second, column)];
        if (!isKnown(a) || !isKnown(b)) return isKnown(b) - isKnown(a); // what is unknown comes last
        return sign * (a - b);
      });
      body.append(...(next ? sorted : rows));
    });
  });
}

for (const table of document.querySelectorAll("table.sortable")) if (table.tBodies[0].rows.length > 2) makeSortable(table);
