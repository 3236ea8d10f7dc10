// What the server has answered for an image, as pictures and as a table.
async function showMasks(entry) {
  const { answer } = entry;
  const next = await pixels(answer.prediction);
  const other = !seen || next.width !== seen.width || next.height !== seen.height;
  seen = next;
  if (other) fit();
  showDate(entry);
  for (const kind of ["truth", "errors"]) {
    const choice = document.querySelector(`input[name=view][value=${kind}]`);
    choice.disabled = !answer.truth;
    if (choice.checked && !answer.truth) document.querySelector("input[name=view][value=classes]").checked = true;
  }
  listClasses(answer);
  draw();
}

function showDate(entry) {
  const second = facts.parts.includes("second") && chosen("date") === "second";
  at("photo").src = entry.answer.photos[second ? 1 : 0];
  at("photo").alt = `The image ${entry.name}${second ? ", second date" : ""}`;
}

function percent(value) {
  return element("td", { textContent: value === null ? "–" : value.toFixed(1) });
}

function ratio({ both, either }) {
  return (100 * both) / either;
}

function listClasses({ classes, truth }) {
  const ious = new Map((truth ?? []).map((each) => [each.index, ratio(each)]));
  const missed = [...ious.keys()].filter((id) => !classes.some(({ index }) => index === id));
  const found = [...classes, ...missed.map((index) => ({ index, share: 0, confidence: null }))];
  at("classes").replaceChildren(
    ...found.map(({ index, share, confidence }) => {
      const box = element("input", { type: "checkbox", checked: !hidden.has(index) });
      box.addEventListener("change", () => toggle([index], box.checked));
      box.dataset.index = index;
      const color = element("span", { className: "color" });
      color.style.background = `rgb(${colorOf(index)})`;
      const name = element("th", { scope: "row" }, element("label", {}, box, color, element("span", { textContent: nameOf(index) })));
      const iou = truth ? [percent(ious.get(index) ?? null)] : [];
      return element("tr", {}, name, percent(share), percent(confidence), ...iou);
    }),
  );
  document.querySelector("th.truth").hidden = !truth;
  markAll();
  const names = classes.slice(0, 5).map(({ index, share }) => `${nameOf(index)} ${share.toFixed(0)}%`);
  at("overlay").setAttribute("aria-label", `The prediction: ${names.join(", ")}`);
}

function toggle(ids, shown) {
  for (const id of ids) shown ? hidden.delete(id) : hidden.add(id);
  for (const box of at("classes").querySelectorAll("input")) box.checked = !hidden.has(Number(box.dataset.index));
  markAll();
  draw();
}

function markAll() {
  const boxes = [...at("classes").querySelectorAll("input")];
  at("all").checked = boxes.every((box) => box.checked);
  at("all").indeterminate = !at("all").checked && boxes.some((box) => box.checked);
}

// The mean IoU of this image, and of all that were seen with their masks, from one count.
function sayScores(entry, entries) {
  const counted = entries.filter((each) => each.truth);
  const mean = (truths) => {
    const sums = new Map();
    for (const { index, both, either } of truths.flat()) {
      const sum = sums.get(index) ?? { both: 0, either: 0 };
      sums.set(index, { both: sum.both + both, either: sum.either + either });
    }
    const ious = [...sums.values()].map(ratio);
    return ious.reduce((sum, value) => sum + value, 0) / Math.max(1, ious.length);
  };
  const texts = [];
  if (entry.truth?.length) texts.push(`mIoU of this image: ${mean([entry.truth]).toFixed(1)}%.`);
  if (counted.length > 1) {
    texts.push(`mIoU of ${counted.length} images together: ${mean(counted.map((each) => each.truth)).toFixed(1)}%.`);
  }
  at("scores").textContent = texts.join(" ");
}

function showClasses(entry) {
  at("photo").src = entry.answer.photos[0];
  at("photo").alt = `The image ${entry.name}`;
  at("classes").replaceChildren(
    ...entry.answer.classes.map(({ index, confidence }) => {
      const bar = element("span", { className: "share" });
      bar.style.width = `${confidence}%`;
      const cell = percent(confidence);
      cell.append(element("span", { className: "track" }, bar));
      return element("tr", {}, element("th", { scope: "row", textContent: nameOf(index) }), cell);
    }),
  );
}
