"use strict";
for (const box of document.querySelectorAll("[data-filters]")) {
  const rows = [...document.querySelectorAll(`#${box.dataset.filters} tbody tr`)];
  const count = box.querySelector("output");
  const apply = () => {
    const text = box.querySelector("input").value.trim().toLowerCase();
    const where = box.querySelector("select").value;
    let shown = 0;
    for (const row of rows) {
      const match = (!where || row.dataset.where === where) && row.textContent.toLowerCase().includes(text);
      row.hidden = !match;
      shown += match;
    }
    count.textContent = `${shown} of ${rows.length}`;
  };
  box.addEventListener("input", apply);
  apply();
}
