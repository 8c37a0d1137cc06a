// What is selected, in whichever view: it stays while others are looked at.

import { $, count } from "./dom.js";

const MOST = 8; // entries of one query
export const selected = new Map();

export function choose(entries, chosen) {
  for (const entry of entries) {
    if (chosen) selected.set(entry.id, entry);
    else selected.delete(entry.id);
  }
  drawSelection();
}

/** Marks the cards, of one entry or several, and fills the tray; `query` is how many the query holds. */
export function drawSelection(query = Number($("tray").dataset.query)) {
  for (const card of document.querySelectorAll("[data-ids]")) {
    const ids = card.dataset.ids.split(","), some = ids.filter((id) => selected.has(Number(id))).length;
    const box = card.querySelector("input");
    card.classList.toggle("selected", some > 0);
    box.checked = some === ids.length;
    box.indeterminate = some > 0 && some < ids.length;
  }
  const many = selected.size;
  $("tray").dataset.query = query;
  $("tray").hidden = many === 0;
  $("tray-text").textContent = `${count(many, "image")} selected`;
  $("tray-search").disabled = many > MOST;
  $("tray-search").title = many > MOST ? `At most ${MOST} images make a query` : "";
  $("tray-compare").disabled = !(many === 2 || (many === 1 && query === 1));
  $("tray-compare").textContent = many === 1 ? "Compare with the query" : "Compare the two";
}
