// Where and when a person was: a lane a camera, and the same in order of time below.

import { count, make, moment, number, oneIn, person, when } from "./dom.js";

const MINUTE = 60, HOUR = 3600, DAY = 86400;
const STEPS = [
  1, 2, 5, 10, 15, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR,
  6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 90 * DAY, 365 * DAY, 3650 * DAY,
];

/** Times of the axis: multiples of a round step, at most `most`. */
export function ticks(first, last, most) {
  const step = STEPS.find((each) => (last - first) / each < most) ?? (last - first) / most;
  const times = [];
  for (let time = Math.ceil(first / step) * step; time <= last; time += step) times.push(time);
  return times;
}

/** The elements of the timeline; `open` is told a hit, `card(hit)` makes its card. */
export function timeline(answer, open, card) {
  const hits = answer.lanes.flatMap((lane) => lane.hits).sort((a, b) => a.time - b.time);
  const parts = [];
  if (hits.length > 0) {
    parts.push(lanes(answer.lanes, hits, open), make("h3", {}, "In order of time"));
    parts.push(make("ol", { class: "grid", "aria-label": "In order of time" }, ...hits.map(card)));
  }
  if (answer.untimed.length > 0) {
    parts.push(make("h3", {}, "Time not known"));
    parts.push(make("ol", { class: "grid", "aria-label": "Time not known" }, ...answer.untimed.map(card)));
  }
  return parts;
}

function lanes(all, hits, open) {
  const ends = hits.map((hit) => hit.until ?? hit.time);
  const first = hits[0].time, last = Math.max(...ends, first + 1);
  const place = (time) => (100 * (time - first)) / (last - first);
  const axis = ticks(first, last, window.innerWidth < 700 ? 3 : 6);
  const guide = (time) => at(make("span", { class: "guide" }), place(time));
  const rows = all.map((lane) =>
    make(
      "div", { class: "lane", role: "group", "aria-label": `${lane.camera}, ${count(lane.hits.length, "time", "times")}` },
      make("span", {}, lane.camera),
      make("div", { class: "rail" }, ...axis.map(guide), ...lane.hits.map((hit) => point(hit, place, open))),
    ),
  );
  const labels = axis.map((time) => {
    const [day, hour] = moment(time).split(" ");
    return at(make("span", { class: "tick" }, hour, make("br"), day), place(time));
  });
  const scale = make("div", { class: "lane axis", "aria-hidden": "true" }, make("span", {}, "UTC"), make("div", { class: "rail" }, ...labels));
  return make("div", { class: "lanes" }, ...rows, scale);
}

function at(element, share) {
  element.style.left = `${share}%`;
  return element;
}

function point(hit, place, open) {
  const text = `${hit.camera}, ${when(hit)}, ${person(hit)}, distance ${number(hit.distance)}`;
  const dot = make("button", { type: "button", class: "point", title: text, "aria-label": text, onclick: () => open(hit) });
  dot.style.width = `calc(${place(hit.until ?? hit.time) - place(hit.time)}% + 1.15rem)`;
  return at(dot, place(hit.time));
}

/** [kind, ...lines] for the notice above. */
export function seen(answer) {
  const timed = answer.lanes.reduce((sum, lane) => sum + lane.hits.length, 0);
  const all = timed + answer.untimed.length;
  if (!answer.within) {
    return ["", `The nearest ${all}, by camera and time.`, "Without a calibration nothing says which of them are the same person."];
  }
  const edge = `Within distance ${number(answer.threshold)}, which strangers reach in ${oneIn(answer.rate)}.`;
  if (all === 0) return ["nobody", "Nobody: no one in this gallery is similar enough.", edge];
  const cameras = new Set([...answer.lanes, ...answer.untimed].map((hit) => hit.camera)).size;
  const more = answer.cut ? " There are more; the nearest are shown." : "";
  return ["good", `Seen ${count(all, "time", "times")} on ${count(cameras, "camera", "cameras")}.${more}`, edge];
}
