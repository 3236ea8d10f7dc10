// Downloads of what is shown.
function save(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function blobOf(url) {
  const [head, content] = url.split(",");
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5).split(";")[0] });
}

async function saveOverlay(entry) {
  const canvas = element("canvas", { width: seen.width, height: seen.height });
  const context = canvas.getContext("2d");
  context.drawImage(at("photo"), 0, 0, canvas.width, canvas.height);
  context.drawImage(at("overlay"), 0, 0);
  save(await new Promise((done) => canvas.toBlob(done)), `${entry.stem}_overlay.png`);
}

async function saveCoco(entry) {
  const response = await post(`coco?name=${encodeURIComponent(entry.name)}`, blobOf(entry.answer.mask));
  save(await response.blob(), `${entry.stem}.json`);
}

function watchSaves(current) {
  const kinds = {
    mask: (entry) => save(blobOf(entry.answer.mask), `${entry.stem}_mask.png`),
    overlay: saveOverlay,
    coco: saveCoco,
  };
  for (const [kind, write] of Object.entries(kinds)) {
    at(`save_${kind}`).addEventListener("click", async () => {
      const entry = current();
      try {
        await write(entry);
      } catch (error) {
        say(`${entry.name}: ${error.message}`, "error");
      }
    });
  }
}
