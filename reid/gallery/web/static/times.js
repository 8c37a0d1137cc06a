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
  if (!formats.has(timeZone)) {
    formats.set(timeZone, new Intl.DateTimeFormat("en-GB", { weekday: "short", ...DAY, ...CLOCK, timeZoneName: "short", timeZone }));
  }
  const text = formats.get(timeZone).formatRange(1000 * time, 1000 * (until ?? time));
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
