// What the gallery holds, in figures, and the choices that follow from it.

import { make, moment, number, oneIn, percent, track } from "./dom.js";

export function camerasOf(held, off) {
  return Object.entries(held.cameras).map(([camera, images]) =>
    make(
      "label", {}, make("input", { type: "checkbox", value: camera, checked: !off.has(camera), defaultChecked: true }),
      make("span", {}, camera), make("small", { class: "faint number" }, images.toLocaleString("en")),
    ),
  );
}

export function rates(held) {
  const all = held.calibration?.rates ?? [];
  return all.map(({ rate }) => {
    const usual = rate === held.calibration.rate;
    return make("option", { value: String(rate), selected: usual, defaultSelected: usual }, oneIn(rate));
  });
}

export function figures(held) {
  const tile = (value, name) => make("div", { class: "tile" }, make("strong", {}, value.toLocaleString("en")), name);
  const tiles = make(
    "div", { class: "tiles" }, tile(held.entries, "images"), tile(held.identities, "people with a name"),
    tile(held.unknown, "images without a name"), tile(Object.keys(held.cameras).length, "cameras"),
  );
  const most = Math.max(1, ...Object.values(held.cameras));
  const bars = Object.entries(held.cameras).map(([camera, images]) =>
    make(
      "div", {}, make("span", {}, camera), track(images / most, `${images} images`),
      make("span", { class: "number" }, images.toLocaleString("en")),
    ),
  );
  const facts = [
    ["Model", `${held.model}, ${held.width} numbers a feature`],
    ["Fingerprint", held.fingerprint.slice(0, 16)],
    ["Times, UTC", held.first === null ? "none known" : `${moment(held.first)} – ${moment(held.last)}`],
  ];
  if (held.index !== null) facts.push(["Search", index(held.index)]);
  const list = make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  return [make("h2", {}, held.name), tiles, make("h3", {}, "Images a camera"), make("div", { class: "counts" }, ...bars), list, ...thresholds(held)];
}

function index({ kind, recall, size, behind }) {
  if (kind === "flat") return "exact";
  const late = behind > 0 ? `; ${behind.toLocaleString("en")} newer ones exactly` : "";
  return `${kind} over ${size.toLocaleString("en")}, finds ${percent(recall)} of the exact 10 nearest${late}`;
}

function thresholds(held) {
  if (held.calibration === null) return [make("p", { class: "faint" }, "No calibration: distances only.")];
  const head = make("tr", {}, ...["A stranger passes in", "Threshold"].map((name) => make("th", { scope: "col" }, name)));
  const rows = held.calibration.rates.map(({ rate, threshold }) =>
    make("tr", {}, make("td", {}, oneIn(rate)), make("td", {}, number(threshold))),
  );
  return [
    make("h3", {}, "Thresholds"), make("p", { class: "small" }, `Calibrated on ${held.calibration.source}.`),
    make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)),
  ];
}
