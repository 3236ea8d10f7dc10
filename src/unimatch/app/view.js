// The picture: what is drawn over the photo, zoom and pan, and what lies under the pointer.
let seen = null; // the prediction's pixels: red is the class, green the confidence, blue the true class
const hidden = new Set(); // classes that are not drawn
const WRONG = [230, 0, 126];
const view = { scale: 1, x: 0, y: 0 };

const SURE = Array.from({ length: 256 }, (_, level) => {
  const place = (level / 255) * (facts.ramp.length - 1);
  const low = Math.min(Math.floor(place), facts.ramp.length - 2);
  return facts.ramp[low].map((value, i) => value + (place - low) * (facts.ramp[low + 1][i] - value));
});

async function pixels(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return pixelsOf(image);
}

function colorAt(kind, id, sure, truth) {
  if (kind === "confidence") return SURE[sure];
  if (kind === "errors") return truth === NONE || truth === id ? null : WRONG;
  const shown = kind === "truth" ? truth : id;
  return shown === NONE ? null : facts.palette[shown];
}

function draw() {
  const kind = chosen("view");
  const threshold = at("threshold").value * 2.55;
  const opacity = at("opacity").value * 2.55;
  at("opacity_value").textContent = `${at("opacity").value}%`;
  at("threshold_value").textContent = `${at("threshold").value}%`;
  at("scale").hidden = kind !== "confidence";
  if (!seen) return;
  const shown = new ImageData(seen.width, seen.height);
  const { data } = seen;
  for (let i = 0; i < data.length; i += 4) {
    const id = data[i];
    if (data[i + 1] < threshold || hidden.has(kind === "truth" ? data[i + 2] : id)) continue;
    const color = colorAt(kind, id, data[i + 1], data[i + 2]);
    if (!color) continue;
    [shown.data[i], shown.data[i + 1], shown.data[i + 2]] = color;
    shown.data[i + 3] = opacity;
  }
  Object.assign(at("overlay"), { width: seen.width, height: seen.height });
  at("overlay").getContext("2d").putImageData(shown, 0, 0);
}

// Zoom about a point of the stage, and move by pixels; the picture always covers the stage.
function zoom(factor, x = at("stage").clientWidth / 2, y = at("stage").clientHeight / 2) {
  const scale = Math.min(16, Math.max(1, view.scale * factor));
  view.x = x - ((x - view.x) * scale) / view.scale;
  view.y = y - ((y - view.y) * scale) / view.scale;
  view.scale = scale;
  pan(0, 0);
}

function pan(x, y) {
  const { clientWidth: width, clientHeight: height } = at("stage");
  view.x = Math.min(0, Math.max(width * (1 - view.scale), view.x + x));
  view.y = Math.min(0, Math.max(height * (1 - view.scale), view.y + y));
  at("layers").style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  at("layers").classList.toggle("large", view.scale >= 4);
  at("stage").classList.toggle("zoomed", view.scale > 1);
  at("zoom_value").textContent = `${Math.round(view.scale * 100)}%`;
}

function fit() {
  zoom(1 / view.scale);
}

function point(clientX, clientY, where = "") {
  const box = at("overlay").getBoundingClientRect();
  const x = Math.floor(((clientX - box.left) / box.width) * seen.width);
  const y = Math.floor(((clientY - box.top) / box.height) * seen.height);
  if (x < 0 || y < 0 || x >= seen.width || y >= seen.height) return;
  const [id, sure, truth] = seen.data.slice(4 * (y * seen.width + x));
  const known = truth === NONE ? "" : `, truly ${nameOf(truth)}`;
  at("pointed").textContent = `${where}${nameOf(id)}, confidence ${(sure / 2.55).toFixed(0)}%${known}`;
}

function pointAtMiddle() {
  const box = at("stage").getBoundingClientRect();
  point(box.left + box.width / 2, box.top + box.height / 2, "In the middle: ");
}

function watchStage() {
  const stage = at("stage");
  let held = null; // where a drag was last
  stage.addEventListener("wheel", (event) => {
    // A page that is scrolled past a picture nobody has chosen does not stop there.
    if (!event.ctrlKey && document.activeElement !== stage) return;
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    zoom(event.deltaY < 0 ? 1.25 : 0.8, event.clientX - box.left, event.clientY - box.top);
  });
  stage.addEventListener("pointerdown", (event) => {
    held = [event.clientX, event.clientY];
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (held) {
      pan(event.clientX - held[0], event.clientY - held[1]);
      held = [event.clientX, event.clientY];
    }
    point(event.clientX, event.clientY);
  });
  for (const kind of ["pointerup", "pointercancel"]) stage.addEventListener(kind, () => (held = null));
  stage.addEventListener("pointerleave", () => (at("pointed").textContent = ""));
  stage.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
    if (event.key === "+" || event.key === "=") zoom(1.25);
    else if (event.key === "-") zoom(0.8);
    else if (event.key === "0") fit();
    else if (move && view.scale > 1) pan(...move);
    else return;
    event.preventDefault();
    pointAtMiddle();
  });
  at("zoom_in").addEventListener("click", () => zoom(1.5));
  at("zoom_out").addEventListener("click", () => zoom(1 / 1.5));
  at("fit").addEventListener("click", fit);
  new ResizeObserver(() => pan(0, 0)).observe(stage);
}
