// The dialogs: an image and its source, a sighting, two side by side, what is forgotten or named, the person in a whole
// photograph. Escape closes each.

import * as api from "./api.js";
import { button, count, kindOf, list, make, named, notice, number, person, signed, thumbnail, when, zoneOf } from "./dom.js";
import { drawSelection, grid, imageCard, judged } from "./results.js";

function show(id, title, ...content) {
  const close = button("✕", "", () => dialog.close(), { "aria-label": "Close" });
  const head = make("div", { class: "head" }, make("h2", { id: `${id}-title` }, title), close);
  const dialog = make("dialog", { id, "aria-labelledby": `${id}-title`, onclose: () => dialog.remove() }, head, content);
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Buttons that close the dialog first; `actions` are [label, class, what to do]. */
function deeds(actions) {
  return make("div", { class: "actions" }, actions.map(([label, kind, act]) => button(label, kind, (event) => { event.target.closest("dialog").close(); act(); })));
}

/** An image with its source. */
export async function entry(hit, actions) {
  const frame = make("div", { class: "frame" }, make("p", { class: "faint" }, "Loading the source …"));
  const file = hit.frame === null ? hit.source : `${hit.source}, frame ${hit.frame}`;
  const facts = [["Person", person(hit)], ["Camera", hit.camera], ["Time", `${when(hit)}, ${zoneOf(hit.camera)}`], ["Source", file], ["Entry", String(hit.id)]];
  if (hit.word) facts.unshift(["It is", judged(hit)], ["", hit.sentence]);
  if (hit.distance !== undefined) facts.push(["Distance", number(hit.distance)]);
  const title = [named("Person", person(hit)), " · ", named("Camera", hit.camera)];
  const dialog = show("entry-dialog", title, frame, list(facts), deeds(actions));
  try {
    const address = URL.createObjectURL(await api.source(hit.id));
    dialog.addEventListener("close", () => URL.revokeObjectURL(address));
    frame.replaceChildren(make("img", { src: address, alt: hit.box === null ? "The source image" : "The source image, the person in a yellow box" }));
  } catch (problem) {
    frame.before(make("p", { class: "notice bad", role: "alert" }, problem.message));
    frame.replaceChildren(make("img", { src: thumbnail(hit.id), alt: "The crop" }));
  }
}

/** A sighting's images as a strip, in order of time. */
export function sighting(seen, open, actions) {
  const hits = seen.hits.toSorted((a, b) => a.time - b.time);
  const order = make("p", { class: "small" }, `${count(hits.length, "image")}, in order of time; the number is the rank.`);
  const strip = grid("Images of this sighting", hits.map((hit) => imageCard(hit, open)), "strip");
  show("sighting-dialog", [named("Camera", seen.camera), ` · ${when(seen.whole)}`], order, strip, deeds(actions));
  drawSelection();
}

/** Two side by side, {name, picture} and what a query holds; where both are entries, a person says whether they are one. */
export async function compare(pair, decided) {
  const side = (each) => make("figure", {}, make("img", { src: each.picture, alt: "" }), make("figcaption", {}, each.name));
  const note = make("div", { class: "notice" }, "Comparing …"), more = make("div"), ids = pair.flatMap((each) => each.entry?.id ?? []);
  const says = (label, same) => [label, "", () => decided(() => api.decide(...ids, same))];
  const asked = [says("Same person", true), says("Different people", false), says("Take back", null)];
  show("compare-dialog", "Side by side", make("div", { class: "sides" }, pair.map(side)), make("div", { role: "status" }, note, more), ids.length === 2 ? deeds(asked) : null);
  try {
    const { word, distance, sentences } = await api.compare(pair);
    const none = "This gallery has no calibration, so the distance alone does not say whether it is the same person.";
    notice(note, kindOf(word), word === null ? [none] : [signed(word), ...sentences]);
    more.append(list([["Distance", number(distance)]]));
  } catch (problem) {
    notice(note, "bad", [problem.message]);
  }
}

/** Asks before `work` is done; its problems are told here. */
function asking(id, title, content, [yes, kind, meanwhile, no], work) {
  const problem = make("div", { hidden: true }), keep = button(no, "", () => dialog.close());
  const act = make("button", { type: "submit", class: kind }, yes);
  const form = make("form", { onsubmit: submit }, content, problem, make("div", { class: "actions" }, act, keep));
  async function submit(event) {
    event.preventDefault();
    [act.disabled, keep.disabled, act.textContent] = [true, true, meanwhile];
    try {
      await work();
      dialog.close();
    } catch (error) {
      notice(problem, "bad", [error.message]);
      [act.disabled, keep.disabled, act.textContent] = [false, false, yes];
    }
  }
  const dialog = show(id, title, form);
  (form.querySelector("input") ?? keep).focus();
}

/** Erases `wanted`, {ids} or {identity}, which is `what` in words; `done` is told the ids. */
export function forget(wanted, what, done) {
  const words = [
    make("p", {}, "Features, thumbnails and all that the gallery notes about them are erased from its files. This cannot be undone."),
    make("p", {}, "The source images and videos are not touched. The audit log keeps the numbers of the entries."),
  ];
  asking("forget-dialog", `Forget ${what}?`, words, ["Erase for good", "danger", "Erasing …", "Keep"], async () => done((await api.forget(wanted)).ids));
}

/** Says who entries show; `done` is told the ids and the name, null where it is not known. */
export function name(entries, done) {
  const given = new Set(entries.map((each) => each.identity));
  const input = make("input", { value: given.size === 1 ? (entries[0].identity ?? "") : "", maxLength: 500, autocomplete: "off", spellcheck: false, list: "names" });
  const label = make("label", {}, "Name; empty where it is not known", input);
  asking("name-dialog", `Who is it, on ${count(entries.length, "image")}?`, label, ["Name", "primary", "Naming …", "Cancel"], async () => {
    const who = input.value.trim() || null;
    done((await api.name(entries.map((each) => each.id), who)).ids, who);
  });
}

// The person in a whole photograph: one of those found in it, or a box that is drawn by mouse, touch or keyboard.

const SLIP = 6; // pixels on the screen that a click may move
const KEYS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, -1], ArrowDown: [1, 1] };
const between = (value, low, high) => Math.round(Math.min(high, Math.max(low, value)));

/** [left, top, right, bottom] in pixels of the picture at `address`, null for all of it, or undefined where none is
 *  chosen; `found` is what the server says of it: {width, height, people}. Boxes are [left, top, width, height] here. */
export function choosePerson(address, { width, height, people }) {
  const sides = [width, height], shares = (box) => box.map((value, at) => (100 * value) / sides[at % 2]);
  const found = (people ?? []).map(({ box: [left, top, right, bottom] }) => [left, top, right - left, bottom - top]).sort((a, b) => a[0] - b[0]);
  const said = make("p", { role: "status" }), frame = make("div", { class: "photo" }, make("img", { src: address, alt: "The photograph", draggable: false }));
  const drawn = button("", "box drawn", () => end(box), { hidden: true, "aria-describedby": "photo-help" });
  const use = button("Search with this box", "primary", () => end(box), { disabled: true });
  let box = [0.4 * width, 0.2 * height, 0.2 * width, 0.6 * height].map(Math.round), chosen, start = null, dragged = false;

  function end(edges) {
    if (dragged) return; // the click that ends a drag
    chosen = edges && [edges[0], edges[1], edges[0] + edges[2], edges[1] + edges[3]];
    dialog.close();
  }
  function place(element, edges) {
    ["left", "top", "width", "height"].forEach((name, at) => (element.style[name] = `${shares(edges)[at]}%`));
    return element;
  }
  function draw(edges) {
    box = edges;
    drawn.hidden = use.disabled = false;
    const [left, top, wide, high] = shares(box).map(Math.round);
    said.textContent = `Box: ${left} % from the left, ${top} % from the top, ${wide} % wide, ${high} % high.`;
    place(drawn, box).setAttribute("aria-label", said.textContent);
  }
  function pixels(event) {
    const { left, top, width: wide, height: high } = frame.getBoundingClientRect();
    return [between(((event.clientX - left) / wide) * width, 0, width), between(((event.clientY - top) / high) * height, 0, height)];
  }

  drawn.addEventListener("keydown", (event) => {
    const [side, sign] = KEYS[event.key] ?? [];
    if (side === undefined) return;
    event.preventDefault();
    const edges = [...box], by = sign * Math.max(1, sides[side] / 100);
    if (event.shiftKey) edges[side + 2] = between(box[side + 2] + by, 1, sides[side] - box[side]);
    else edges[side] = between(box[side] + by, 0, sides[side] - box[side + 2]);
    draw(edges);
  });
  frame.addEventListener("pointerdown", (event) => ([start, dragged] = [{ x: event.clientX, y: event.clientY, at: pixels(event) }, false]));
  frame.addEventListener("pointermove", (event) => {
    if (start === null || (!dragged && Math.hypot(event.clientX - start.x, event.clientY - start.y) < SLIP)) return;
    dragged = true;
    frame.setPointerCapture(event.pointerId);
    const [[left, top], [right, bottom]] = [start.at, pixels(event)];
    if (left !== right && top !== bottom) draw([Math.min(left, right), Math.min(top, bottom), Math.abs(right - left), Math.abs(bottom - top)]);
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    frame.addEventListener(kind, () => { start = null; setTimeout(() => (dragged = false)); });
  }
  frame.style.aspectRatio = `${width} / ${height}`;
  frame.style.width = `min(100%, ${(60 * width) / height}dvh)`;
  frame.append(...found.map((edges, at) => place(button(at + 1, "box", () => end(edges), { "aria-label": `Person ${at + 1} of ${found.length}, from left to right` }), edges)), drawn);
  const asked = people === null ? "Draw a box around the person." : found.length > 0 ? "Choose the person, or draw a box around one." : "Nobody was found. Draw a box around the person.";
  const help = make("p", { id: "photo-help", class: "small" }, "Drag over the picture; or, with the box in focus, arrow keys move it, with Shift they size it, Enter takes it.");
  const byHand = button("Draw a box", "", () => { draw(box); drawn.focus(); }), all = button("Take the whole picture", "", () => end(null));
  const dialog = show("photo-dialog", "Who is it, in this picture?", make("p", {}, asked), frame, help, said, make("div", { class: "actions" }, use, byHand, all));
  (frame.querySelector(".box:not([hidden])") ?? byHand).focus();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(chosen)));
}
