// Small parts of the page. Text goes in as text only: names in a gallery are anybody's.

export const $ = (id) => document.getElementById(id);

/** An element; `values` are properties, `class`, `aria-...`/`data-...` attributes, or `on...` listeners. */
export function make(tag, values = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(values)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A note above the results; hidden without lines. */
export function notice(element, kind, ...lines) {
  element.className = `notice ${kind}`;
  element.replaceChildren(...lines.map((line) => make("p", {}, line)));
  element.hidden = lines.length === 0;
  if (kind === "bad") element.setAttribute("role", "alert");
  else element.removeAttribute("role");
}

export const number = (value, digits = 3) => Math.max(0, value).toFixed(digits);
export const percent = (share) => `${(100 * share).toFixed(share < 0.01 ? 2 : share < 0.1 ? 1 : 0)} %`;
export const count = (value, one, many) => `${value.toLocaleString("en")} ${value === 1 ? one : many}`;
export const oneIn = (rate) => (rate > 0 ? `1 of ${Math.round(1 / rate).toLocaleString("en")} comparisons` : "no comparison");
export const person = (entry) => entry.identity ?? "unknown person";

/** "2023-11-14 22:13:20", UTC. */
export function moment(seconds) {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return `${seconds} s`;
  return date.toISOString().slice(0, 19).replace("T", " ");
}

export function when(entry) {
  if (entry.time === null) return "time not known";
  const start = moment(entry.time);
  if (entry.until === null || entry.until === entry.time) return start;
  const end = moment(entry.until);
  return `${start} – ${end.slice(0, 10) === start.slice(0, 10) ? end.slice(11) : end}`;
}

export function track(share, label) {
  const inner = make("span");
  inner.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  return make("div", { class: "track", role: "img", "aria-label": label }, inner);
}

export const thumbnail = (id) => `/api/entries/${id}/thumbnail`;

/** Arrow keys, Home and End go from picture to picture of a grid, rows by what is drawn above each other. */
export function arrows(grid) {
  grid.addEventListener("keydown", (event) => {
    const all = [...grid.querySelectorAll(".picture")];
    const at = all.indexOf(document.activeElement);
    if (at < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    const top = all[0].getBoundingClientRect().top;
    const columns = all.filter((each) => Math.abs(each.getBoundingClientRect().top - top) < 2).length;
    const to = {
      ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - columns, ArrowDown: at + columns, Home: 0, End: all.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    all[to]?.focus();
  });
}
