// What all parts of the page share.
const at = (id) => document.getElementById(id);
const facts = JSON.parse(at("result").dataset.facts); // classes, palette, parts, ramp
const masks = facts.parts.includes("truth"); // else each image has one class
const NONE = 255; // in masks: no class

const nameOf = (id) => (id === NONE ? "no class" : facts.classes[id]);
const colorOf = (id) => (id === NONE ? [255, 255, 255] : facts.palette[id]);
const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;

function say(text, kind = "") {
  at("status").textContent = text;
  at("status").className = kind;
}

async function post(path, body) {
  const headers = { "Content-Type": "application/octet-stream" };
  const response = await fetch(path, { method: "POST", body, headers });
  if (!response.ok) throw new Error((await response.json()).error);
  return response;
}
