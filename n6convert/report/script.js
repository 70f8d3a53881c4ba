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
for (const table of document.querySelectorAll("table")) {
  for (const button of table.querySelectorAll("thead button")) {
    const column = button.closest("th").cellIndex;
    const value = (row) => row.cells[column].textContent;
    button.addEventListener("click", () => {
      const rising = button.parentElement.getAttribute("aria-sort") !== "ascending";
      for (const head of table.querySelectorAll("th[aria-sort]")) head.removeAttribute("aria-sort");
      button.parentElement.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const numeric = button.parentElement.classList.contains("number");
      const compare = (a, b) => (numeric ? value(a) - value(b) : value(a).localeCompare(value(b)));
      const rows = [...table.tBodies[0].rows].sort((a, b) => (rising ? compare(a, b) : compare(b, a)));
      table.tBodies[0].append(...rows);
    });
  }
}
