// Times: of cameras that have a zone in it, all others in the viewer's; the zone is named.

export const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const DAY = { weekday: "short", day: "numeric", month: "short", year: "numeric" };
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" };
const MINUTE = 60, HOUR = 3600, WHOLE = 86400; // seconds
const STEPS = [
  1, 2, 5, 10, 15, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR,
  6 * HOUR, 12 * HOUR, WHOLE, 2 * WHOLE, 7 * WHOLE, 14 * WHOLE, 30 * WHOLE, 90 * WHOLE, 365 * WHOLE, 3650 * WHOLE,
];
const formats = new Map();
let zones = {};

export const setZones = (known) => (zones = known);
export const zoneOf = (camera) => zones[camera] ?? HERE;

function format(zone) {
  if (!formats.has(zone)) formats.set(zone, new Intl.DateTimeFormat("en-GB", { ...DAY, ...CLOCK, timeZone: zone }));
  return formats.get(zone);
}

/** "Tue, 3 Mar 2026, 17:05:03 – 17:05:40 CET" of an entry, a sighting, or the whole gallery. */
export function when({ camera, time, until }) {
  if (time === null) return "time not known";
  const text = format(zoneOf(camera)).formatRange(1000 * time, 1000 * (until ?? time));
  return text.replace(/ (\S+)(\s–.* \1)$/, "$2"); // the zone once
}

/** "40 s": how long a sighting lasts; empty for a moment. */
export function lasting({ time, until }) {
  const seconds = Math.round((until ?? time) - time);
  return seconds < 1 ? "" : seconds < 2 * MINUTE ? `${seconds} s` : seconds < 2 * HOUR ? `${Math.round(seconds / MINUTE)} min` : `${Math.round(seconds / HOUR)} h`;
}

/** ISO 8601 of the fields `${name}-day` and `${name}-clock`; a day alone is whole, from its beginning to its end. */
export function moment(day, clock, last) {
  const time = new Date(`${day}T${clock || (last ? "23:59:59.999" : "00:00")}`);
  return time.toISOString().replace(".999Z", ".999999Z");
}

/** Times of an axis, fewer than about `most`: seconds and words for them. */
export function ticks(first, last, most) {
  const step = STEPS.find((each) => (last - first) / each < most) ?? (last - first) / most;
  const east = -MINUTE * new Date(1000 * first).getTimezoneOffset();
  const times = [];
  for (let time = Math.ceil((first + east) / step) * step - east; time <= last; time += step) {
    const date = new Date(1000 * time);
    const clock = { hour: "2-digit", minute: "2-digit", ...(step < MINUTE ? { second: "2-digit" } : {}) };
    times.push([time, date.toLocaleTimeString("en-GB", clock), date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" })]);
  }
  return times;
}
