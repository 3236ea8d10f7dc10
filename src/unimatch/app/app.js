// The list of images: choosing, stepping, and asking the server.
const KEPT = 30; // answers that are held; an image that was seen before these is predicted again
const entries = []; // {name, stem, files, answer, truth}
const beside = { second: [], truth: [] }; // files that belong to images by their names
let open = -1;
let turn = 0;
let queue = Promise.resolve();

const stemOf = (name) => name.replace(/\.[^.]*$/, "");

function partner(entry, part) {
  const mine = entry.stem.toLowerCase();
  const stems = beside[part].map((file) => stemOf(file.name).toLowerCase());
  const same = stems.indexOf(mine);
  const like = same < 0 ? stems.findIndex((stem) => stem.startsWith(`${mine}_`)) : same;
  return beside[part][entries.length === 1 && stems.length === 1 ? 0 : like];
}

function take(part, files) {
  if (!files.length) return;
  const first = entries.length;
  if (part === "image") {
    for (const file of files) entries.push({ name: file.name, stem: stemOf(file.name), files: { image: file } });
  } else beside[part].push(...files);
  for (const entry of entries) {
    for (const kind of facts.parts.filter((kind) => kind !== "image")) {
      const file = partner(entry, kind);
      if (file === entry.files[kind]) continue;
      entry.files = { ...entry.files, [kind]: file }; // anew: an answer under way is of others
      entry.answer = entry.truth = null;
    }
  }
  if (part !== "image" && !entries.length) say("Now choose the images that these belong to.");
  else show(part === "image" ? first : Math.max(0, open));
}

function list() {
  at("steps").hidden = entries.length < 2;
  at("files").replaceChildren(
    ...entries.map((entry, i) => {
      const button = element("button", { type: "button", textContent: entry.name });
      if (i === open) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => show(i));
      return element("li", {}, button);
    }),
  );
  at("previous").disabled = open <= 0;
  at("next").disabled = open >= entries.length - 1;
  const current = at("files").children[open];
  if (!current) return;
  at("files").scrollTop = current.offsetTop - at("files").clientHeight / 2;
  at("files").scrollLeft = current.offsetLeft - at("files").clientWidth / 2;
}

// One request at a time; images that were stepped past are not asked for.
function show(i) {
  const inList = at("files").contains(document.activeElement);
  const mine = ++turn;
  open = i;
  list();
  if (inList) at("files").children[i].firstChild.focus();
  const entry = entries[i];
  queue = queue.then(async () => {
    if (mine !== turn) return;
    try {
      await ask(entry);
      if (mine !== turn) return;
      await (masks ? showMasks(entry) : showClasses(entry));
      at("result").hidden = false;
      if (masks) sayScores(entry, entries);
      const count = entry.answer.classes.length;
      say(masks ? `${entry.name}: ${count} classes found.` : `${entry.name}: ${nameOf(entry.answer.classes[0].index)}.`);
    } catch (error) {
      at("result").hidden = true;
      say(`${entry.name}: ${error.message}`, "error");
    }
  });
}

async function ask(entry) {
  if (entry.answer) return undefined;
  if (facts.parts.includes("second") && !entry.files.second) {
    throw new Error("its second date is missing; choose a file of the same name");
  }
  say(`Predicting ${entry.name} …`);
  const { files } = entry;
  const parts = facts.parts.filter((part) => files[part]);
  const query = parts.map((part) => `${part}=${files[part].size}`).join("&");
  const response = await post(`predict?${query}`, new Blob(parts.map((part) => files[part])));
  const answer = await response.json();
  if (files !== entry.files) return ask(entry);
  entry.answer = answer;
  entry.truth = entry.answer.truth;
  const held = entries.filter((each) => each.answer && each !== entry);
  if (held.length >= KEPT) held[0].answer = null;
  return undefined;
}

function step(by) {
  if (open + by >= 0 && open + by < entries.length) show(open + by);
}

for (const part of facts.parts) {
  at(part).addEventListener("change", (event) => take(part, [...event.target.files]));
}
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    const box = event.target.closest?.(".drop") ?? document.querySelector(".drop");
    for (const each of document.querySelectorAll(".drop")) {
      each.classList.toggle("over", each === box && (kind === "dragenter" || kind === "dragover"));
    }
    if (kind === "drop") take(box.dataset.part, [...event.dataTransfer.files]);
  });
}
at("previous").addEventListener("click", () => step(-1));
at("next").addEventListener("click", () => step(1));
document.addEventListener("keydown", (event) => {
  const by = { n: 1, p: -1, N: 1, P: -1 }[event.key];
  const listed = at("files").contains(event.target);
  const arrow = listed ? { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key] : undefined;
  if (event.ctrlKey || event.metaKey || event.altKey || !(by ?? arrow)) return;
  // Letters act within the result and the list alone, so that no assistive program presses them by chance.
  if (!arrow && !listed && !at("result").contains(event.target)) return;
  event.preventDefault();
  step(by ?? arrow);
});
if (masks) {
  watchStage();
  watchSaves(() => entries[open]);
  at("all").addEventListener("change", () => {
    const ids = [...at("classes").querySelectorAll("input")].map((box) => Number(box.dataset.index));
    toggle(ids, at("all").checked);
  });
  for (const input of document.querySelectorAll(".controls input")) input.addEventListener("input", draw);
  for (const input of document.querySelectorAll("input[name=date]")) {
    input.addEventListener("input", () => showDate(entries[open]));
  }
  draw();
}
