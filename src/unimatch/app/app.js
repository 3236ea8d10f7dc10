"use strict";
const at = (id) => document.getElementById(id);
const classes = JSON.parse(at("result").dataset.classes);
const palette = JSON.parse(at("result").dataset.palette);
let seen = null; // the prediction's pixels: red is the class, green the confidence

async function predict(file) {
  say(`Predicting ${file.name} …`);
  try {
    const headers = { "Content-Type": "application/octet-stream" };
    const response = await fetch("predict", { method: "POST", body: file, headers });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    at("photo").src = answer.photo;
    at("photo").alt = `The image ${file.name}`;
    seen = await pixels(answer.prediction);
    list(answer.classes);
    at("result").hidden = false;
    draw();
    say(`${file.name}: ${answer.classes.length} classes found.`);
  } catch (error) {
    at("result").hidden = true;
    say(`${file.name}: ${error.message}`, "error");
  }
}

function say(text, kind = "") {
  at("status").textContent = text;
  at("status").className = kind;
}

async function pixels(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, image.width, image.height);
}

function list(found) {
  at("classes").replaceChildren(
    ...found.map(({ index, share, confidence }) => {
      const row = document.createElement("tr");
      const name = Object.assign(document.createElement("th"), { scope: "row" });
      const color = Object.assign(document.createElement("span"), { className: "color" });
      color.style.background = `rgb(${palette[index]})`;
      name.append(color, classes[index]);
      const cells = [share, confidence].map((value) =>
        Object.assign(document.createElement("td"), { textContent: value.toFixed(1) }),
      );
      row.append(name, ...cells);
      return row;
    }),
  );
  const names = found.slice(0, 5).map(({ index, share }) => `${classes[index]} ${share.toFixed(0)}%`);
  at("overlay").setAttribute("aria-label", `The prediction: ${names.join(", ")}`);
}

function draw() {
  const byConfidence = document.querySelector("input[name=view]:checked").value === "confidence";
  const opacity = at("opacity").value;
  const threshold = at("threshold").value;
  at("opacity_value").textContent = `${opacity}%`;
  at("threshold_value").textContent = `${threshold}%`;
  if (!seen) return;
  const shown = new ImageData(seen.width, seen.height);
  for (let i = 0; i < seen.data.length; i += 4) {
    const sure = seen.data[i + 1];
    if (sure < threshold * 2.55) continue;
    const color = byConfidence ? [sure, sure, sure] : palette[seen.data[i]];
    shown.data.set(color, i);
    shown.data[i + 3] = opacity * 2.55;
  }
  Object.assign(at("overlay"), { width: seen.width, height: seen.height });
  at("overlay").getContext("2d").putImageData(shown, 0, 0);
}

function point(event) {
  const box = at("overlay").getBoundingClientRect();
  const x = Math.floor(((event.clientX - box.left) / box.width) * seen.width);
  const y = Math.floor(((event.clientY - box.top) / box.height) * seen.height);
  const i = 4 * (y * seen.width + x);
  if (i >= 0 && i < seen.data.length) {
    at("pointed").textContent = `${classes[seen.data[i]]}, confidence ${(seen.data[i + 1] / 2.55).toFixed(0)}%`;
  }
}

at("file").addEventListener("change", (event) => event.target.files.length && predict(event.target.files[0]));
at("overlay").addEventListener("pointermove", point);
at("overlay").addEventListener("pointerleave", () => (at("pointed").textContent = ""));
for (const input of document.querySelectorAll(".controls input")) input.addEventListener("input", draw);
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) predict(event.dataTransfer.files[0]);
  });
}
draw();
