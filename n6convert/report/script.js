"use strict";
for (const box of document.querySelectorAll("[data-filters]")) {
  const rows = [...document.querySelectorAll(`#${box.dataset.filters} tbody tr`)];
  const count = box.querySelector("output");
  const apply = () => {
    const text = box.querySelector("input").value.trim().toLowerCase();
    const where = box.querySelector("select").value;
    let shown = 0;
    for (const row of rows) {
      const said = row.textContent + (row.querySelector("[title]")?.title ?? "");
      const match = (!where || row.dataset.where === where) && said.toLowerCase().includes(text);
      row.hidden = !match;
      shown += match;
    }
    count.textContent = `${shown} of ${rows.length}`;
  };
  box.addEventListener("input", apply);
  apply();
}
for (const table of document.querySelectorAll("table")) {
  for (const button of table.querySelectorAll("thead button")) {
    const column = button.closest("th").cellIndex;
    const value = (row) => row.cells[column].textContent;
    button.addEventListener("click", () => {
      const rising = button.parentElement.getAttribute("aria-sort") !== "ascending";
      for (const head of table.querySelectorAll("th[aria-sort]")) head.removeAttribute("aria-sort");
      button.parentElement.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const numeric = button.parentElement.classList.contains("number");
      const compare = (a, b) => (numeric ? (value(a) || -1) - (value(b) || -1) : value(a).localeCompare(value(b)));
      const rows = [...table.tBodies[0].rows].sort((a, b) => (rising ? compare(a, b) : compare(b, a)));
      table.tBodies[0].append(...rows);
    });
  }
}

// a link to an epoch opens the table and shows the row, whatever was filtered
const show = (row) => {
  const table = document.getElementById("epochs");
  if (!row || !table || !table.contains(row)) return;
  table.open = true;
  for (const hidden of table.querySelectorAll("tr[hidden]")) hidden.hidden = false;
  row.scrollIntoView({ block: "center" });
};
addEventListener("hashchange", () => show(document.getElementById(location.hash.slice(1))));
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#epoch-']");
  const block = event.target.closest("[data-epoch]");
  if (block) location.hash = `epoch-${block.dataset.epoch}`;
  if (link || block) setTimeout(() => show(document.querySelector(":target")));
});
// titles of pictures as tips: under the pointer, under a finger, and by arrow keys on a focused picture
const tip = document.body.appendChild(document.createElement("div"));
tip.className = "tip";
tip.hidden = true;
tip.setAttribute("aria-live", "polite");
const place = (text, x, y) => {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x - box.width / 2, innerWidth - box.width - 4))}px`;
  tip.style.top = `${y - box.height - 12 > 0 ? y - box.height - 12 : y + 20}px`;
};
for (const title of document.querySelectorAll("svg title")) {
  if (title.parentElement.closest("a")) continue;
  title.parentElement.dataset.tip = title.textContent;
  title.remove();
}
const point = (event) => {
  const shape = event.target.closest("[data-tip]");
  if (shape) place(shape.dataset.tip, event.clientX, event.clientY);
  else tip.hidden = true;
};
for (const kind of ["pointermove", "pointerdown"]) document.addEventListener(kind, point);
for (const picture of document.querySelectorAll("svg")) {
  const shapes = [...picture.querySelectorAll("[data-tip]")];
  if (!shapes.length || picture.ariaHidden === "true") continue;
  let at = -1;
  picture.tabIndex = 0;
  const mark = (next) => {
    shapes[at]?.classList.remove("marked");
    at = next;
    shapes[at]?.classList.add("marked");
    const box = shapes[at]?.getBoundingClientRect();
    if (box) place(shapes[at].dataset.tip, box.x + box.width / 2, box.y);
    else tip.hidden = true;
  };
  picture.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter") shapes[at]?.dispatchEvent(new MouseEvent("click", { bubbles: true }));
    if (event.key === "Escape") mark(-1);
    if (!step) return;
    event.preventDefault();
    mark(Math.max(0, Math.min(at + step, shapes.length - 1)));
  });
  picture.addEventListener("blur", () => mark(-1));
}
for (const button of document.querySelectorAll(".pictures button")) {
  button.addEventListener("click", () => button.setAttribute("aria-pressed", button.ariaPressed !== "true"));
}
for (const frame of document.querySelectorAll(".graph")) {
  const picture = frame.querySelector("svg");
  const [width, height] = [picture.width.baseVal.value, picture.height.baseVal.value];
  let zoom = 1;
  const set = (next, x, y) => {
    const [across, down] = [(frame.scrollLeft + x) / zoom, (frame.scrollTop + y) / zoom];
    zoom = Math.max(0.02, Math.min(next, 4));
    picture.setAttribute("width", width * zoom);
    picture.setAttribute("height", height * zoom);
    frame.scrollTo(across * zoom - x, down * zoom - y);
  };
  const bar = frame.previousElementSibling;
  bar.hidden = false;
  bar.addEventListener("click", (event) => {
    const { zoom: by, fixed } = event.target.dataset;
    if (!by) return;
    const whole = Math.min(frame.clientWidth / width, frame.clientHeight / height);
    set(by === "fit" ? whole : fixed === undefined ? zoom * by : 1, frame.clientWidth / 2, frame.clientHeight / 2);
  });
  frame.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = frame.getBoundingClientRect();
    set(zoom * Math.exp(-event.deltaY / 300), event.clientX - box.x, event.clientY - box.y);
  }, { passive: false });
  frame.addEventListener("pointermove", (event) => {
    if (event.buttons === 1 && event.pointerType === "mouse") frame.scrollBy(-event.movementX, -event.movementY);
  });
  frame.addEventListener("dragstart", (event) => event.preventDefault());
  frame.scrollTo((frame.scrollWidth - frame.clientWidth) / 2, 0);
}
// the best point of a sweep within limits, as the command line chooses it
for (const form of document.querySelectorAll("[data-best]")) {
  const rows = [...document.querySelectorAll(`#${form.dataset.best} tbody tr`)].filter((row) => row.dataset.quality);
  const within = (limit, value) => !limit || (value !== "" && Number(value) <= Number(limit));
  const choose = () => {
    const { milliseconds, drop } = Object.fromEntries(new FormData(form));
    const kept = rows.filter((row) => within(milliseconds, row.dataset.ms) && within(drop, row.dataset.drop));
    const best = kept.sort((a, b) => b.dataset.quality - a.dataset.quality)[0];
    for (const row of rows) row.classList.toggle("chosen", row === best);
    form.querySelector("output").textContent = best ? best.cells[0].textContent : "no point keeps these limits";
  };
  form.hidden = false;
  form.addEventListener("input", choose);
  form.addEventListener("submit", (event) => event.preventDefault());
  choose();
}
