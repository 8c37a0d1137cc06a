// Small parts of the page, and words for figures and times. Text goes in as text only: names in a gallery are anybody's.

export const $ = (id) => document.getElementById(id);

/** An element; `values` are properties, `class`, `aria-...`/`data-...` attributes, or `on...` listeners. */
export function make(tag, values = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(values)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name.includes("-") || name === "role" || name === "list") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined));
  return element;
}

export const button = (label, kind, act, more) => make("button", { type: "button", class: kind, onclick: act, ...more }, label);
export const list = (pairs) => make("dl", {}, pairs.map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
export const thumbnail = (id) => `/api/entries/${id}/thumbnail`;
export const number = (value) => Math.max(0, value).toFixed(3);
export const count = (value, what) => `${value.toLocaleString("en")} ${what}${value === 1 ? "" : "s"}`;
export const person = (entry) => entry.identity ?? "not known";

/** A share as the server's sentences have it. */
export function percent(share) {
  const value = 100 * share;
  if (value >= 99.5 && value < 100) return "over 99 %";
  if (value > 0 && value < 0.01) return "under 0.01 %";
  return `${value >= 10 ? Math.round(value) : Number(value.toPrecision(2))} %`;
}

/** A note above what it is about: `lines`, and `more` one click deeper; hidden without lines. */
export function notice(element, kind, lines = [], more = []) {
  const written = (each) => each.map((line) => make("p", {}, line));
  element.className = `notice ${kind}`;
  element.replaceChildren(...written(lines));
  if (more.length > 0) element.append(make("details", {}, make("summary", {}, "What this means"), written(more)));
  element.hidden = lines.length === 0;
  element.role = kind === "bad" ? "alert" : null;
}

/** "Person plaza/17": what it is and its name, which breaks behind a slash rather than within a number. */
export function named(what, name) {
  const parts = name.split(/(?<=[/_.-])/).map((part) => [part, make("wbr")]);
  return make("span", { class: what.toLowerCase() }, make("small", {}, what), " ", make("b", {}, parts));
}

const WORDS = { near: ["near", "●"], "cannot tell": ["unsure", "?"], far: ["far", "○"] };
export const kindOf = (word) => WORDS[word]?.[0] ?? "";
export const signed = (word) => `${WORDS[word][1]} ${word}`;

/** Arrow keys, Home and End go from picture to picture, rows by what is drawn above each other. */
export function arrows(event) {
  const all = [...(event.target.closest?.(".grid")?.querySelectorAll(".picture") ?? [])];
  const at = all.indexOf(event.target);
  if (at < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
  const top = all[0].getBoundingClientRect().top;
  const row = all.filter((each) => Math.abs(each.getBoundingClientRect().top - top) < 2).length;
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - row, ArrowDown: at + row, Home: 0, End: all.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  all[to]?.focus();
}

// Times: of cameras that have a zone in it, all others in the viewer's; the zone is named.

export const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const DAY = { day: "numeric", month: "short", year: "numeric" };
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, ...[1, 2, 3, 6, 12].map((hours) => 3600 * hours), // seconds
  ...[1, 2, 7, 14, 30, 90, 365, 3650].map((days) => 86400 * days)];
const formats = new Map();
let zones = {};

export const setZones = (known) => (zones = known);
export const zoneOf = (camera) => zones[camera] ?? HERE;

/** "Tue, 3 Mar 2026, 17:05:03 – 17:05:40 CET" of an entry, a sighting, or the whole gallery. */
export function when({ camera, time, until }) {
  if (time === null) return "time not known";
  const timeZone = zoneOf(camera);
  const format = formats.get(timeZone) ?? new Intl.DateTimeFormat("en-GB", { weekday: "short", ...DAY, ...CLOCK, timeZoneName: "short", timeZone });
  formats.set(timeZone, format);
  const text = format.formatRange(1000 * time, 1000 * (until ?? time));
  return text.replace(/ (\S+)(\s–.* \1)$/, "$2"); // the zone once
}

/** "40 s": how long a sighting lasts; empty for a moment. */
export function lasting({ time, until }) {
  const seconds = Math.round((until ?? time) - time);
  if (seconds < 120) return seconds < 1 ? "" : `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

/** ISO 8601 of a day and a time of day; without that the day's beginning, or its end. */
export function moment(day, clock, end) {
  return new Date(`${day}T${clock || (end ? "23:59:59.999" : "00:00")}`).toISOString().replace(".999Z", ".999999Z");
}

/** Times of an axis, at round steps and no more than `most`, each with its words. */
export function ticks(first, last, most) {
  const step = STEPS.find((each) => (last - first) / each < most) ?? (last - first) / most;
  const east = -60 * new Date(1000 * first).getTimezoneOffset();
  const begin = Math.ceil((first + east) / step) * step - east;
  return Array.from({ length: Math.max(0, Math.floor((last - begin) / step) + 1) }, (_, at) => {
    const time = begin + at * step, date = new Date(1000 * time);
    const clock = { ...CLOCK, second: step < 60 ? "2-digit" : undefined };
    return { time, clock: date.toLocaleTimeString("en-GB", clock), day: date.toLocaleDateString("en-GB", DAY) };
  });
}
