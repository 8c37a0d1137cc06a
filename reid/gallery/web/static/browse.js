// All entries, a page at a time, and what the gallery holds in figures.

import * as api from "./api.js";
import { $, count, list, make } from "./dom.js";
import { imageCard } from "./results.js";
import { drawSelection } from "./selection.js";
import { HERE, when } from "./times.js";

let entries = [];

function draw(open) {
  $("browse-grid").replaceChildren(...entries.map((entry) => imageCard(entry, open)));
  $("browse-status").textContent = entries.length === 0 ? "No image is like that." : `${count(entries.length, "image")} shown`;
  drawSelection();
}

/** The next page of what the form asks for, or its first. */
export async function browse(open, anew) {
  const asked = { after: anew ? 0 : (entries.at(-1)?.id ?? 0) };
  if ($("browse-camera").value) asked.camera = $("browse-camera").value;
  if ($("browse-identity").value) asked.identity = $("browse-identity").value;
  $("browse-status").textContent = "Loading …";
  try {
    const page = await api.entries(asked);
    entries = anew ? page.entries : [...entries, ...page.entries];
    $("more").hidden = page.next === null;
    draw(open);
  } catch (problem) {
    $("browse-status").textContent = problem.message;
  }
}

/** Shows what became of entries: `renewed` gives each as it is now, or null. */
export function renewBrowse(open, renewed) {
  if (entries.length === 0) return;
  entries = entries.map(renewed).filter(Boolean);
  draw(open);
}

export function figures(held) {
  const tile = (value, name) => make("div", { class: "tile" }, make("strong", {}, value.toLocaleString("en")), name);
  const cameras = Object.entries(held.cameras), most = Math.max(1, ...Object.values(held.cameras));
  const bars = cameras.map(([camera, images]) =>
    make("div", {}, make("span", {}, camera, " ", make("small", {}, held.zones[camera])), make("meter", { max: most, value: images, "aria-label": camera }), images.toLocaleString("en")),
  );
  const { kind, recall, size, behind } = held.index;
  const built = `${kind} over ${size.toLocaleString("en")}, finds ${(100 * recall).toFixed(1)} % of the exact 10 nearest; ${behind.toLocaleString("en")} newer ones exactly`;
  const calibrated = held.calibration && `on ${held.calibration.source}. ${held.calibration.sentence}`;
  const decided = Object.entries(held.decided).map(([word, [pairs, same]]) => `${same} of ${count(pairs, "pair")} called ${word} are one person`);
  return [
    make("h2", {}, held.name),
    make("div", { class: "tiles" }, tile(held.entries, "images"), tile(held.identities, "people with a name"), tile(held.unknown, "images without a name"), tile(cameras.length, "cameras")),
    make("h3", {}, "Images a camera"), make("div", { class: "counts" }, bars),
    list([
      ["Network", `${held.model}, ${held.width} numbers a feature, ${held.fingerprint.slice(0, 16)}`],
      [`Times, ${HERE}`, held.first === null ? "none known" : when({ time: held.first, until: held.last })],
      ["Search", kind === "flat" ? "exact" : built], ["Calibration", calibrated ?? "none: distances only"], ["Decided", decided.join("; ") || "no pairs"],
      ["Photographs", held.detects ? "people are found in them" : "a box is drawn around a person"],
    ]),
  ];
}
