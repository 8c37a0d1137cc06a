// What is selected, in whichever view: it stays while others are looked at.

import { $, count } from "./dom.js";

export const MOST = 8; // pictures and entries of one query
export const selected = new Map();

export function choose(entries, chosen) {
  for (const entry of entries) chosen ? selected.set(entry.id, entry) : selected.delete(entry.id);
  drawSelection();
}

/** Marks the cards, of one entry or several, and fills the tray. */
export function drawSelection() {
  for (const card of document.querySelectorAll("[data-ids]")) {
    const ids = card.dataset.ids.split(",").map(Number), some = ids.filter((id) => selected.has(id)).length;
    card.classList.toggle("selected", some > 0);
    Object.assign(card.querySelector("input"), { checked: some === ids.length, indeterminate: some > 0 && some < ids.length });
  }
  const many = selected.size, query = $("chips").childElementCount;
  $("tray").hidden = many === 0;
  $("tray-text").textContent = `${count(many, "image")} selected`;
  $("tray-search").disabled = many > MOST;
  $("tray-search").textContent = many > MOST ? `Search with up to ${MOST}` : "Search with these";
  $("tray-compare").disabled = !(many === 2 || (many === 1 && query === 1));
  $("tray-compare").textContent = many === 1 ? "Compare with the query" : "Compare the two";
}
