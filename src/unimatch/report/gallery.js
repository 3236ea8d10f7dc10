// Pictures: classes hide in all of them at once, one is shown large, the pointer finds a pixel's class.
const switches = document.querySelector(".switches");
const viewer = document.querySelector("dialog.viewer");
const cards = [...document.querySelectorAll("article.example")];
const hidden = new Set();

if (switches) {
  const { classes, palette, levels } = JSON.parse(switches.querySelector("script").textContent);
  const keyOf = (red, green, blue) => (red << 16) | (green << 8) | blue;
  const byColor = new Map(palette.map((color, i) => [keyOf(...color), i]));
  const byLevel = new Map(levels.map((color, i) => [keyOf(...color), i]));
  const decoded = new WeakMap(); // picture -> its pixels, and the class or level of each, -1 for none
  let turn = 0;

  function read(image) {
    if (!decoded.has(image)) {
      const { data, width, height } = pixelsOf(image);
      const known = image.classList.contains("confidence") ? byLevel : byColor;
      const pixels = new Uint32Array(data.buffer);
      const ids = new Int16Array(pixels.length);
      for (let i = 0; i < ids.length; i += 1) {
        if (i && pixels[i] === pixels[i - 1]) ids[i] = ids[i - 1]; // as most are
        // The background is black of the least opacity, or of full opacity among errors.
        else ids[i] = data[4 * i + 3] ? (known.get(keyOf(data[4 * i], data[4 * i + 1], data[4 * i + 2])) ?? -1) : -1;
      }
      decoded.set(image, { pixels, ids, width, height });
    }
    return decoded.get(image);
  }
  const canvasOf = (image) => (image.nextElementSibling?.tagName === "CANVAS" ? image.nextElementSibling : null);
  function isSeen(image) {
    const { top, bottom, width } = (canvasOf(image) ?? image).getBoundingClientRect();
    return width > 0 && bottom > 0 && top < innerHeight;
  }

  function redraw(image) {
    if (image.classList.contains("confidence")) return;
    const canvas = canvasOf(image);
    image.classList.toggle("replaced", hidden.size > 0);
    if (!hidden.size) return canvas?.remove();
    const { pixels, ids, width, height } = read(image);
    const off = palette.map((_, i) => hidden.has(i));
    const kept = new Uint32Array(pixels.length);
    for (let i = 0; i < kept.length; i += 1) if (!off[ids[i]]) kept[i] = pixels[i];
    const drawn = canvas ?? element("canvas", { className: image.className.replace("replaced", "") });
    Object.assign(drawn, { width, height });
    drawn.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(kept.buffer), width, height), 0, 0);
    drawn.setAttribute("aria-hidden", "true");
    if (!canvas) image.after(drawn);
  }
  function redrawAll() {
    const mine = ++turn; // a later change starts again
    const images = [...document.querySelectorAll("img.layer")].filter((image) => image.naturalWidth);
    const unseen = images.filter((image) => !isSeen(image));
    images.filter(isSeen).forEach(redraw);
    const next = () => {
      if (mine !== turn || !unseen.length) return;
      redraw(unseen.shift());
      setTimeout(next);
    };
    next();
  }

  switches.querySelector(".classes").addEventListener("change", (event) => {
    const index = Number(event.target.value);
    event.target.checked ? hidden.delete(index) : hidden.add(index);
    redrawAll();
  });
  for (const button of switches.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      for (const box of switches.querySelectorAll("input[type=checkbox]")) {
        box.checked = Boolean(button.value);
        box.checked ? hidden.delete(Number(box.value)) : hidden.add(Number(box.value));
      }
      redrawAll();
    });
  }
  switches.querySelector("select").addEventListener("change", (event) => {
    for (const card of cards) choose(card, event.target.value);
  });
  switches.querySelector("input[type=range]").addEventListener("input", (event) => {
    document.documentElement.style.setProperty("--opacity", event.target.value / 100);
  });

  for (const card of cards) {
    const stage = card.querySelector(".stage");
    stage.addEventListener("pointermove", (event) => {
      const frame = stage.getBoundingClientRect();
      const said = [];
      for (const image of card.querySelectorAll("img.layer:not(.errors)")) {
        if (!image.naturalWidth) continue;
        const { ids, width, height } = read(image);
        const x = Math.floor(((event.clientX - frame.left) / frame.width) * width);
        const y = Math.floor(((event.clientY - frame.top) / frame.height) * height);
        const id = ids[y * width + x] ?? -1;
        if (!image.classList.contains("confidence")) said.push(`${image.classList[1]}: ${classes[id] ?? "no class"}`);
        else if (id >= 0) said.push(`about ${Math.round((100 * (id + 0.5)) / levels.length)}% confident`);
      }
      card.querySelector(".pointed").textContent = said.join(" · ");
    });
  }
}

function choose(card, value) {
  const input = card.querySelector(`input[value="${value === "image" ? "at0" : value}"]`);
  if (input) input.checked = true;
}

let enlarged = null; // the card in the viewer, and what keeps its place
function putBack() {
  if (!enlarged) return;
  enlarged.place.replaceWith(enlarged.card);
  enlarged.card.querySelector(".stage").style.maxWidth = "";
  enlarged = null;
}
function enlarge(card) {
  const value = enlarged?.card.querySelector("input:checked")?.value;
  putBack();
  const place = element("div", { className: "kept" });
  place.style.height = `${card.offsetHeight}px`;
  card.replaceWith(place);
  viewer.querySelector(".place").replaceChildren(card);
  enlarged = { card, place };
  const photo = card.querySelector(".photo"); // as high as fits
  card.querySelector(".stage").style.maxWidth = `calc(62vh * ${photo.naturalWidth / photo.naturalHeight || 1})`;
  if (value) choose(card, value);
  if (switches) viewer.append(switches);
  if (!viewer.open) viewer.showModal();
}
const step = (by) => enlarge(cards[(cards.indexOf(enlarged.card) + by + cards.length) % cards.length]);

if (viewer && cards.length) {
  const home = switches && element("div");
  switches?.before(home);
  for (const card of cards) {
    const button = element("button", { type: "button", className: "enlarge", textContent: "enlarge" });
    button.setAttribute("aria-label", `enlarge ${card.querySelector("h3").textContent}`);
    button.addEventListener("click", () => enlarge(card));
    card.append(button);
    card.querySelector(".stage").addEventListener("click", () => enlarged || enlarge(card));
  }
  viewer.querySelector(".bar").addEventListener("click", (event) => {
    const value = event.target.value;
    if (value === "close") viewer.close();
    else if (value) step(value === "next" ? 1 : -1);
  });
  viewer.addEventListener("close", () => {
    const { card } = enlarged;
    putBack();
    home?.after(switches);
    card.querySelector(".enlarge").focus();
  });
  viewer.addEventListener("keydown", (event) => {
    if (event.target.type === "range" || event.target.tagName === "SELECT") return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    step(by);
    viewer.querySelector("button[value=next]").focus();
  });
}
document.addEventListener("keydown", (event) => {
  const card = enlarged?.card ?? event.target.closest?.("article.example");
  if (!card || !/^[1-7]$/.test(event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
  const inputs = card.querySelectorAll("input[type=radio]");
  if (inputs[event.key - 1]) inputs[event.key - 1].checked = true;
});
