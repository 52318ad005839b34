"use strict";
// Search and filters over the rows of the page. Without it, the page is whole: it only hides what was not asked for.
(() => {
  const MOST_CHOICES = 14;
  const FEWEST_ROWS = 6;
  const tables = Array.from(document.querySelectorAll("[data-table]"), (part) => ({
    part,
    section: part.closest("[data-section]"),
    head: Array.from(part.querySelectorAll("thead th")),
    rows: Array.from(part.querySelectorAll("tbody[data-row]"), (body) => ({ body, text: null })),
    chosen: new Map(),
    told: null,
  }));
  const search = document.getElementById("search");
  const found = document.getElementById("found");
  let words = [];

  const textOf = (row) => (row.text ??= row.body.textContent.toLowerCase());
  const cellOf = (row, place) => row.body.rows[0].cells[place].textContent.trim();

  function isWanted(table, row) {
    for (const [place, value] of table.chosen) if (cellOf(row, place) !== value) return false;
    return words.every((word) => textOf(row).includes(word));
  }

  function show() {
    const isNarrowed = words.length > 0 || tables.some((table) => table.chosen.size > 0);
    let shown = 0;
    for (const table of tables) {
      let here = 0;
      for (const row of table.rows) {
        const wanted = isWanted(table, row);
        row.body.hidden = !wanted;
        here += wanted;
      }
      shown += here;
      table.part.classList.toggle("quiet", words.length > 0 && here === 0);
      if (table.told) table.told.textContent = here === table.rows.length ? "" : `${here} of ${table.rows.length} shown`;
    }
    found.textContent = words.length > 0 ? `${shown} ${shown === 1 ? "row" : "rows"}` : "";
    document.body.classList.toggle("narrowed", isNarrowed);
  }

  function addFilters(table) {
    if (table.rows.length < FEWEST_ROWS) return;
    const bar = table.part.querySelector(".filters");
    table.head.forEach((heading, place) => {
      if (!["word", "name"].includes(heading.dataset.kind) || table.rows.some((row) => row.body.classList.contains("sum"))) return;
      const values = new Set();
      for (const row of table.rows) {
        values.add(cellOf(row, place));
        if (values.size > MOST_CHOICES) return;
      }
      if (values.size < 2) return;
      const label = document.createElement("label");
      const choice = document.createElement("select");
      choice.append(new Option(`${heading.textContent}: all`, ""));
      for (const value of Array.from(values).sort()) choice.append(new Option(value, value));
      choice.setAttribute("aria-label", heading.textContent);
      choice.addEventListener("change", () => {
        if (choice.value === "") table.chosen.delete(place);
        else table.chosen.set(place, choice.value);
        show();
      });
      label.append(choice);
      bar.append(label);
    });
    if (bar.childElementCount === 0) return;
    table.told = document.createElement("output");
    bar.append(table.told);
    bar.hidden = false;
  }

  // A table wider than the page is scrolled with the keyboard too, and only such a one is worth a stop on the way.
  function addStops() {
    for (const table of tables) {
      const box = table.part.querySelector(".scroll");
      if (!box) continue;
      if (box.scrollWidth > box.clientWidth) {
        box.tabIndex = 0;
        box.setAttribute("role", "group");
        box.setAttribute("aria-label", table.part.querySelector("h3").textContent);
      } else for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
    }
  }

  for (const table of tables) if (table.rows.length > 0) addFilters(table);
  addStops();
  addEventListener("resize", addStops);
  let waiting = 0;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      show();
    }, 120);
  });
  document.querySelector(".find").hidden = false;
})();
