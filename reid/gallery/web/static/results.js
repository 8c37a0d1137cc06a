// An answer: as sightings, as images, or where and when; the sentences above it; and what is selected, in whichever view.

import { $, HERE, count, kindOf, lasting, make, named, number, percent, person, signed, thumbnail, ticks, when } from "./dom.js";

/** What the calibration says of a hit, and what a person said, or its distance alone. */
export function judged(hit) {
  const word = hit.word && make("span", { class: `word ${kindOf(hit.word)}`, title: hit.sentence }, signed(hit.word));
  const share = hit.probability === null ? null : make("span", { title: "Probability that it is the person" }, percent(hit.probability));
  const said = hit.decided === null ? null : make("b", {}, hit.decided ? "same person, somebody said" : "another person, somebody said");
  return make("span", { class: "said" }, word ?? `distance ${number(hit.distance)}`, share, said);
}

const spoken = (hit) => [...judged(hit).childNodes].map((each) => each.textContent.replace(/^\W /, "")).join(", ");

function card(entries, kind, text, open, badge, words) {
  const box = make("input", { type: "checkbox", "aria-label": `Select ${text}`, onchange: () => choose(entries, box.checked) });
  const image = make("img", { src: thumbnail(entries[0].id), alt: "", loading: "lazy", draggable: false });
  return make(
    "li", { class: `hit ${kind}`, "data-ids": entries.map((entry) => entry.id) },
    make("button", { type: "button", class: "picture", "aria-label": text, onclick: open }, image),
    badge && make("span", { class: "badge", "aria-hidden": "true" }, badge),
    make("label", { class: "choose" }, box), make("div", { class: "words" }, words),
  );
}

/** A card of one image: of an answer, or of the gallery, where nothing is ranked. */
export function imageCard(entry, open) {
  const found = entry.rank !== undefined, time = make("span", { class: "faint" }, when(entry));
  const who = entry.identity === null ? ["File", entry.source] : ["Person", entry.identity]; // of unnamed people all that tells them apart
  const text = `${who.join(" ")}, camera ${entry.camera}, ${when(entry)}`;
  const words = [found ? judged(entry) : null, named(...who), named("Camera", entry.camera), time];
  return card([entry], kindOf(entry.word), found ? `${entry.rank}: ${text}, ${spoken(entry)}` : text, () => open(entry), entry.rank?.toString(), words);
}

/** The answer's sightings: `hits` are all of one, `alike` those of its nearest's word, of which `time` and `until` are. */
export function sightingsOf({ hits, sightings }) {
  return sightings.map((whole) => {
    const all = whole.hits.map((at) => hits[at]), alike = all.filter((hit) => hit.word === all[0].word);
    const ends = whole.time === null ? [null] : alike.flatMap((hit) => [hit.time, hit.until ?? hit.time]).sort((a, b) => a - b);
    return { camera: whole.camera, time: ends[0], until: ends.at(-1), hits: all, alike, whole };
  });
}

/** A sighting in words, and what opens it: its only image, or all. */
function seen(sighting, open) {
  const { hits, alike, camera } = sighting, [nearest] = hits, people = [...new Set(alike.map(person))];
  const who = people.length > 1 ? `${people[0]} and ${people.length - 1} more` : people[0];
  const rest = hits.length > alike.length ? `, beside ${hits.length - alike.length} farther` : "";
  const images = `${[count(alike.length, "image"), lasting(sighting)].filter(Boolean).join(" in ")}${rest}`;
  const text = `Camera ${camera}, ${when(sighting)}, ${spoken(nearest)}, person ${who}, ${images}`;
  return { nearest, who, images, text, act: () => open(hits.length === 1 ? nearest : sighting) };
}

/** A card of what one camera saw without a pause: the nearest image, and how many there are. */
export function sightingCard(sighting, open) {
  const { nearest, who, images, text, act } = seen(sighting, open);
  return card(sighting.hits, kindOf(nearest.word), text, act, null, [
    judged(nearest), named("Camera", sighting.camera), make("span", {}, when(sighting)), named("Person", who),
    make("span", { class: "faint" }, images), make("small", {}, nearest.sentence),
  ]);
}

export const grid = (label, cards, kind = "") => make("ol", { class: `grid ${kind}`, "aria-label": label }, cards);

/** Lanes a camera with a dot for each sighting, and the same in order of time below. */
export function where(sightings, open) {
  const timed = sightings.filter((each) => each.time !== null).sort((a, b) => a.time - b.time);
  const parts = [["In order of time", timed], ["Time not known", sightings.filter((each) => each.time === null)]];
  const cards = (title, some) => [make("h3", {}, title), grid(title, some.map((each) => sightingCard(each, open)), "sightings")];
  return [...(timed.length > 0 ? [lanes(timed, open)] : []), ...parts.filter(([, some]) => some.length > 0).flatMap((part) => cards(...part))];
}

function lanes(timed, open) {
  const first = timed[0].time, last = Math.max(...timed.map((each) => each.until), first + 1);
  const share = (seconds) => `${(100 * seconds) / (last - first)}%`;
  const axis = ticks(first, last, window.innerWidth < 700 ? 3 : 6);
  function at(time, element) {
    element.style.left = share(time - first);
    return element;
  }
  function dot(sighting) {
    const { nearest, text, act } = seen(sighting, open), shade = nearest.shade ?? 1;
    const sign = nearest.word ? signed(nearest.word)[0] : "";
    const point = make("button", { type: "button", class: `point ${kindOf(nearest.word)}`, title: text, "aria-label": text, onclick: act }, sign);
    point.style.setProperty("--shade", `${Math.round(50 * shade)}%`);
    point.style.zIndex = Math.round(100 * shade); // the nearest lie above others of their time
    point.style.width = `calc(${share(sighting.until - sighting.time)} + 1.5rem)`;
    return at(sighting.time, point);
  }
  const rows = [...new Set(timed.map((each) => each.camera))].sort().map((camera) => {
    const dots = timed.filter((each) => each.camera === camera).map(dot), guides = axis.map(({ time }) => at(time, make("span", { class: "guide" })));
    const label = `Camera ${camera}, ${count(dots.length, "sighting")}`;
    return make("div", { class: "lane", role: "group", "aria-label": label }, named("Camera", camera), make("div", { class: "rail" }, guides, dots));
  });
  const labels = axis.map(({ time, clock, day }) => at(time, make("span", { class: "tick" }, clock, make("br"), day)));
  const scale = make("div", { class: "lane axis", "aria-hidden": "true" }, make("span", {}, HERE), make("div", { class: "rail" }, labels));
  return make("div", { class: "lanes" }, rows, scale);
}

const NONE = "This gallery has no calibration, so nothing here says who is the same person. The command “reid search calibrate --source NAME --store FOLDER” makes one.";

/** [kind, lines, more] for the notice above an answer. */
export function headline({ hits, found, sentences: [first, ...more] }) {
  if (hits.length === 0) return ["", ["There is no image to show.", "The filters let none pass, or the gallery is empty."]];
  if (found === null) return ["", ["Distances only.", NONE]];
  return [kindOf(found), [first], more];
}

// What is selected: it stays while other views are looked at.

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
