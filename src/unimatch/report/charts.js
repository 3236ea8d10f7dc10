// Charts: the values under the pointer, or, with the arrow keys, of each point; legends whose entries hide their lines.
document.documentElement.classList.add("scripted");

const SVG = "http://www.w3.org/2000/svg";
const shown = (value) => (Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3))));

function followChart(figure) {
  const { unit, box, axes, lines } = JSON.parse(figure.querySelector("script").textContent);
  const [left, top, width, height] = box;
  const [end, low, high] = axes;
  const plot = figure.querySelector(".plot");
  const drawing = plot.querySelector("svg");
  const title = figure.querySelector("figcaption").textContent;
  const across = (x) => left + (x / end) * width;
  const down = (y) => top + ((high - Math.min(Math.max(y, low), high)) / (high - low)) * height;
  const steps = [...new Set(lines.flatMap((line) => line.points.map(([x]) => x)))].sort((a, b) => a - b);
  const tip = element("div", { className: "tip", hidden: true });
  tip.setAttribute("aria-hidden", "true"); // what it says is the slider's value
  plot.append(tip);
  const cursor = document.createElementNS(SVG, "g");
  drawing.append(cursor);
  let at = steps.length - 1;

  const isHidden = (line) => figure.querySelector(`g[data-line="${line.style}"]`).classList.contains("off");
  function valuesAt(step) {
    return lines.flatMap((line) =>
      isHidden(line) ? [] : line.points.filter(([x]) => x === step).map(([, y]) => ({ line, y })),
    );
  }
  function say() {
    const found = valuesAt(steps[at]).map(({ line, y }) => `${line.name} ${shown(y)}${unit}`);
    plot.setAttribute("aria-valuenow", steps[at]);
    plot.setAttribute("aria-valuetext", `step ${shown(steps[at])}: ${found.join(", ") || "no line"}`);
  }
  function show() {
    const step = steps[at];
    const found = valuesAt(step);
    cursor.replaceChildren();
    const mark = (name, attributes) => {
      const made = document.createElementNS(SVG, name);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      cursor.append(made);
    };
    mark("line", { x1: across(step), x2: across(step), y1: top, y2: top + height, class: "axis" });
    for (const { line, y } of found) {
      mark("circle", { cx: across(step), cy: down(y), r: 4.5, class: `c${line.style % 8}`, fill: "currentColor" });
    }
    tip.replaceChildren(
      element("strong", {}, `step ${Number.isInteger(step) ? step : shown(step)}`),
      ...found.map(({ line, y }) =>
        element("div", {}, element("i", { className: `c${line.style % 8}` }), `${line.name} ${shown(y)}${unit}`),
      ),
    );
    tip.hidden = false;
    const right = across(step) > left + width / 2;
    tip.style.left = right ? "auto" : `${((across(step) + 8) / (left + width + 12)) * 100}%`;
    tip.style.right = right ? `${(1 - (across(step) - 8) / (left + width + 12)) * 100}%` : "auto";
    say();
  }
  function hide() {
    tip.hidden = true;
    cursor.replaceChildren();
  }

  const described = drawing.querySelector("desc").textContent;
  const attributes = { role: "slider", tabindex: 0, "aria-label": `${title}, by step`, "aria-description": described };
  Object.assign(attributes, { "aria-valuemin": steps[0], "aria-valuemax": steps.at(-1) });
  for (const [key, value] of Object.entries(attributes)) plot.setAttribute(key, value);
  drawing.setAttribute("aria-hidden", "true"); // the slider says it
  drawing.querySelector("title").remove(); // browsers would show it over the values
  say();
  plot.addEventListener("pointermove", (event) => {
    const frame = drawing.getBoundingClientRect();
    const x = ((event.clientX - frame.left) / frame.width) * drawing.viewBox.baseVal.width;
    at = steps.reduce((best, s, i) => (Math.abs(across(s) - x) < Math.abs(across(steps[best]) - x) ? i : best), 0);
    show();
  });
  plot.addEventListener("pointerleave", () => document.activeElement !== plot && hide());
  plot.addEventListener("focus", show);
  plot.addEventListener("blur", hide);
  plot.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
    if (event.key === "Escape") return hide();
    if (event.key === "Home") at = 0;
    else if (event.key === "End") at = steps.length - 1;
    else if (event.key in moves) at = Math.min(Math.max(at + moves[event.key], 0), steps.length - 1);
    else return;
    event.preventDefault();
    show();
  });
}

function makeLegendHide(list) {
  const charts = list.closest("figure") ?? list.closest("section");
  for (const item of list.querySelectorAll("li[data-line]")) {
    const button = element("button", { type: "button", title: "hide or show" }, ...item.childNodes);
    button.setAttribute("aria-pressed", "true");
    item.replaceChildren(button);
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", on);
      for (const line of charts.querySelectorAll(`g[data-line="${item.dataset.line}"]`)) {
        line.classList.toggle("off", !on);
      }
    });
  }
}

for (const figure of document.querySelectorAll("figure.chart")) followChart(figure);
for (const list of document.querySelectorAll("ul.legend")) makeLegendHide(list);
