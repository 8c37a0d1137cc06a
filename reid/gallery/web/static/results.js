// Cards of people, and the sentence above them.

import { count, make, number, oneIn, percent, thumbnail, track, when } from "./dom.js";

/** A card; `rank` is null where nothing is ranked. `open` and `choose` are told the entry. */
export function card(entry, rank, selected, open, choose) {
  const title = entry.identity ?? entry.source; // a folder of unnamed people has nothing else that tells them apart
  const name = `${title}, ${entry.camera}, ${when(entry)}`;
  const ranked = rank === null ? name : `Rank ${rank}: ${name}`;
  const searched = entry.distance !== undefined;
  const spoken = searched ? `${ranked}, distance ${number(entry.distance)}` : ranked;
  const image = make("img", { src: thumbnail(entry.id), alt: "", loading: "lazy" });
  const box = make("input", { type: "checkbox", checked: selected, "aria-label": `Select ${name}` });
  box.addEventListener("change", () => choose(entry, box.checked));
  const words = make("div", { class: "words" }, make("span", { class: entry.identity === null ? "person file" : "person" }, title));
  if (searched) words.append(...likeness(entry));
  words.append(make("span", {}, entry.camera), make("span", { class: "faint number" }, when(entry)));
  const classes = ["hit", entry.match ? "match" : "", selected ? "selected" : ""].join(" ");
  return make(
    "li", { class: classes, "data-id": entry.id },
    make("button", { type: "button", class: "picture", "aria-label": spoken, onclick: () => open(entry) }, image),
    rank === null ? null : make("span", { class: "rank", "aria-hidden": "true" }, String(rank)),
    make("label", { class: "choose" }, box), words,
  );
}

function likeness(hit) {
  const distance = make("span", { class: "number" }, `distance ${number(hit.distance)}`);
  if (hit.match === null) return [distance];
  const mark = hit.match ? ["mark yes", "✓ match"] : ["mark no", "✕ no match"];
  return [
    make("span", { class: mark[0] }, mark[1]),
    make(
      "span", { class: "likely", title: "Probability of the same person, at even odds" },
      track(hit.probability, `probability ${percent(hit.probability)}`),
      make("span", { class: "number" }, percent(hit.probability)),
    ),
    distance,
  ];
}

/** [kind, ...lines] for the notice above a search's hits. */
export function verdict(answer) {
  const shown = answer.hits.length;
  if (shown === 0) return ["", "No entry passes these filters.", "Choose other cameras or another time."];
  if (answer.threshold === null) {
    return [
      "", "Distances only.",
      "This gallery has no calibration, so nothing here says who is the same person. The command “reid search calibrate” makes one.",
    ];
  }
  const edge = `distance ${number(answer.threshold)} or less, which strangers reach in ${oneIn(answer.rate)}`;
  if (answer.nobody) {
    return [
      "nobody", "Nobody: no one in this gallery is similar enough.",
      `A match has a ${edge}. Those below are the nearest, and probably other people.`,
    ];
  }
  const matches = answer.hits.filter((hit) => hit.match);
  const cameras = new Set(matches.map((hit) => hit.camera)).size;
  const matched = `${count(matches.length, "match", "matches")} on ${count(cameras, "camera", "cameras")}`;
  return ["good", `${matched}, of the nearest ${shown}.`, `A match has a ${edge}.`];
}
