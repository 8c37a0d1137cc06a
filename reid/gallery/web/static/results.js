// An answer: as sightings, as images, or where and when; and the sentences above it.

import { count, kindOf, make, named, number, percent, person, signed, thumbnail } from "./dom.js";
import { choose } from "./selection.js";
import { HERE, lasting, ticks, when } from "./times.js";

/** What the calibration says of a hit, or its distance alone. */
export function judged(hit) {
  if (hit.word === null) return [make("span", { class: "number" }, `distance ${number(hit.distance)}`)];
  const word = make("span", { class: `word ${kindOf(hit.word)}`, title: hit.sentence }, signed(hit.word));
  return hit.probability === null ? [word] : [word, make("span", { class: "number" }, percent(hit.probability))];
}

const spoken = (hit) => judged(hit).map((each) => each.textContent.replace(/^\W /, "")).join(", ");

function card(entries, kind, text, open, badge, words) {
  const [first] = entries;
  const box = make("input", { type: "checkbox", "aria-label": `Select ${text}`, onchange: () => choose(entries, box.checked) });
  const image = make("img", { src: thumbnail(first.id), alt: "", loading: "lazy", draggable: false });
  return make(
    "li", { class: `hit ${kind}`, "data-ids": entries.map((entry) => entry.id) },
    make("button", { type: "button", class: "picture", "aria-label": text, onclick: open }, image),
    badge && make("span", { class: "badge", "aria-hidden": "true" }, badge),
    make("label", { class: "choose" }, box), make("div", { class: "words" }, words),
  );
}

/** A card of one image: of an answer, or of the gallery, where nothing is ranked. */
export function imageCard(entry, open) {
  const found = entry.rank !== undefined;
  const name = entry.identity ?? entry.source; // a folder of unnamed people has nothing else that tells them apart
  const text = `${entry.identity === null ? "File" : "Person"} ${name}, camera ${entry.camera}, ${when(entry)}`;
  const words = [named(entry.identity === null ? "File" : "Person", name), named("Camera", entry.camera), make("span", { class: "faint" }, when(entry))];
  if (found) words.unshift(make("span", { class: "said" }, judged(entry)));
  return card([entry], kindOf(entry.word), found ? `${entry.rank}: ${text}, ${spoken(entry)}` : text, () => open(entry), found ? String(entry.rank) : null, words);
}

/** A card of what one camera saw without a pause: the nearest image, and how many there are. */
export function sightingCard(sighting, open) {
  const [nearest] = sighting.hits, people = [...new Set(sighting.hits.map(person))];
  const alike = sighting.hits.filter((hit) => hit.word === nearest.word).length, all = sighting.hits.length;
  const part = alike === all ? count(all, "image") : `${alike} of ${count(all, "image")} ${nearest.word}`;
  const images = [part, lasting(sighting)].filter(Boolean).join(" in ");
  const text = `Camera ${sighting.camera}, ${when(sighting)}, ${spoken(nearest)}, ${images}`;
  return card(sighting.hits, kindOf(nearest.word), text, () => open(all === 1 ? nearest : sighting), null, [
    make("span", { class: "said" }, judged(nearest)), named("Camera", sighting.camera), make("span", {}, when(sighting)),
    named("Person", people.length > 1 ? `${people[0]} and ${people.length - 1} more` : people[0]),
    make("span", { class: "faint" }, images), make("span", { class: "faint sentence" }, nearest.sentence),
  ]);
}

export const grid = (label, cards, kind = "") => make("ol", { class: `grid ${kind}`, "aria-label": label }, cards);

/** Lanes a camera with a dot for each sighting, and the same in order of time below. */
export function where(sightings, open) {
  const timed = sightings.filter((each) => each.time !== null).sort((a, b) => a.time - b.time);
  const rest = sightings.filter((each) => each.time === null);
  const part = (title, some) => (some.length > 0 ? [make("h3", {}, title), grid(title, some.map((each) => sightingCard(each, open)), "sightings")] : []);
  return [timed.length > 0 ? lanes(timed, open) : null, part("In order of time", timed), part("Time not known", rest)].flat().filter(Boolean);
}

function lanes(timed, open) {
  const first = timed[0].time, last = Math.max(...timed.map((each) => each.until), first + 1);
  const at = (element, time) => {
    element.style.left = `${(100 * (time - first)) / (last - first)}%`;
    return element;
  };
  const axis = ticks(first, last, window.innerWidth < 700 ? 3 : 6);
  const dot = (sighting) => {
    const [hit] = sighting.hits;
    const text = `Camera ${sighting.camera}, ${when(sighting)}, person ${person(hit)}, ${spoken(hit)}, ${count(sighting.hits.length, "image")}`;
    const act = () => open(sighting.hits.length === 1 ? hit : sighting);
    const sign = hit.word === null ? "" : signed(hit.word)[0];
    const point = make("button", { type: "button", class: `point ${kindOf(hit.word)}`, title: text, "aria-label": text, onclick: act }, sign);
    point.style.setProperty("--shade", `${Math.round(50 * (hit.shade ?? 1))}%`);
    point.style.zIndex = Math.round(100 * (hit.shade ?? 0)); // the nearest lie above others of their time
    point.style.width = `calc(${(100 * (sighting.until - sighting.time)) / (last - first)}% + 1.5rem)`;
    return at(point, sighting.time);
  };
  const rows = [...new Set(timed.map((each) => each.camera))].sort().map((camera) => {
    const dots = timed.filter((each) => each.camera === camera).map(dot);
    const label = `Camera ${camera}, ${count(dots.length, "sighting")}`;
    const guides = axis.map(([time]) => at(make("span", { class: "guide" }), time));
    return make("div", { class: "lane", role: "group", "aria-label": label }, named("Camera", camera), make("div", { class: "rail" }, guides, dots));
  });
  const labels = axis.map(([time, clock, day]) => at(make("span", { class: "tick" }, clock, make("br"), day), time));
  const scale = make("div", { class: "lane axis", "aria-hidden": "true" }, make("span", {}, HERE), make("div", { class: "rail" }, labels));
  return make("div", { class: "lanes" }, rows, scale);
}

/** [kind, lines, more] for the notice above an answer. */
export function headline({ hits, found, exhaustive, sentences }) {
  const [first, ...more] = sentences;
  const missed = exhaustive ? [] : ["Not every image was compared: a nearer one may have been missed."];
  if (hits.length === 0) return ["", ["No image passes these filters.", "Choose other cameras or another time."]];
  if (found !== null) return [kindOf(found), [first, ...(found === "far" ? missed : [])], found === "far" ? more : [...more, ...missed]];
  const how = "This gallery has no calibration, so nothing here says who is the same person. The command “reid search calibrate” makes one.";
  return ["", ["Distances only.", how, ...missed]];
}
