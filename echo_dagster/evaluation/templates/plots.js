// Taking plots away: the figures as CSV, the drawing as PNG. Both are made from what is in the page.
"use strict";
(() => {
  const source = document.getElementById("plots");
  const { day, tables } = JSON.parse(source.textContent);
  const save = (blob, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  // On white, at twice the size, whatever the theme of the page: it goes into slides and mails.
  const picture = async (drawing) => {
    const [, , width, height] = drawing.getAttribute("viewBox").split(" ").map(Number);
    const copy = drawing.cloneNode(true);
    copy.setAttribute("width", 2 * width);
    copy.setAttribute("height", 2 * height);
    const image = new Image();
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(new XMLSerializer().serializeToString(copy));
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = 2 * width;
    canvas.height = 2 * height;
    const context = canvas.getContext("2d");
    context.fillStyle = "#ffffff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0);
    return new Promise((done) => { canvas.toBlob(done, "image/png"); });
  };
  document.querySelectorAll(".take").forEach((tools) => {
    tools.hidden = false;
    const name = tools.dataset.plot;
    const [png, csv] = tools.querySelectorAll("button");
    png.addEventListener("click", async () => {
      save(await picture(tools.closest("figure").querySelector("svg")), `${day}-${name}.png`);
    });
    csv.addEventListener("click", () => {
      save(new Blob([tables[name]], { type: "text/csv;charset=utf-8" }), `${day}-${name}.csv`);
    });
  });
  // What is folded cannot be opened on paper.
  window.addEventListener("beforeprint", () => {
    document.querySelectorAll("details:not([open])").forEach((box) => { box.open = true; });
  });
})();
