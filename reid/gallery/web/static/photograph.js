// The person in a whole photograph: one of those found in it, or a box that is drawn by mouse, touch or keyboard.

import { button, make } from "./dom.js";
import { show } from "./dialogs.js";

const SLIP = 6; // pixels on the screen that a click may move
const KEYS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, -1], ArrowDown: [1, 1] };

/** [left, top, right, bottom] in pixels of the picture at `address`, null for all of it, or undefined where none is
 *  chosen; `found` is what the server says of it: {width, height, people}. */
export function choosePerson(address, { width, height, people }) {
  const sides = [width, height], boxes = (people ?? []).map(({ box }) => box).sort((a, b) => a[0] - b[0]);
  const image = make("img", { src: address, alt: "The photograph", draggable: false });
  const frame = make("div", { class: "photo" }, image);
  frame.style.aspectRatio = `${width} / ${height}`;
  frame.style.width = `min(100%, ${(60 * width) / height}dvh)`;
  const drawn = button("", "box drawn", () => end(box), { hidden: true, "aria-describedby": "photo-help" });
  const use = button("Search with this box", "primary", () => end(box), { hidden: true });
  const said = make("p", { role: "status" });
  let box = null, chosen, start = null, dragged = false;

  function place(element, [left, top, right, bottom]) {
    element.style.left = `${(100 * left) / width}%`;
    element.style.top = `${(100 * top) / height}%`;
    element.style.width = `${(100 * (right - left)) / width}%`;
    element.style.height = `${(100 * (bottom - top)) / height}%`;
  }

  function draw(edges) {
    box = edges;
    drawn.hidden = use.hidden = false;
    place(drawn, box);
    const [left, top, wide, high] = [box[0] / width, box[1] / height, (box[2] - box[0]) / width, (box[3] - box[1]) / height].map((share) => Math.round(100 * share));
    said.textContent = `Box: ${left} % from the left, ${top} % from the top, ${wide} % wide, ${high} % high.`;
    drawn.setAttribute("aria-label", said.textContent);
  }

  function pixels(event) {
    const area = frame.getBoundingClientRect();
    const shares = [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
    return shares.map((share, side) => Math.round(sides[side] * Math.min(1, Math.max(0, share))));
  }

  function byKey(event) {
    const [side, sign] = KEYS[event.key] ?? [];
    if (side === undefined) return;
    event.preventDefault();
    const step = Math.max(1, Math.round(sides[side] / 100)), edges = [...box];
    if (event.shiftKey) edges[side + 2] = Math.min(sides[side], Math.max(edges[side] + step, edges[side + 2] + sign * step));
    else {
      const by = Math.min(sides[side] - edges[side + 2], Math.max(-edges[side], sign * step));
      edges[side] += by;
      edges[side + 2] += by;
    }
    draw(edges);
  }

  function end(edges) {
    if (dragged) return; // the click that ends a drag
    chosen = edges;
    dialog.close();
  }

  drawn.addEventListener("keydown", byKey);
  frame.addEventListener("pointerdown", (event) => { start = [event.clientX, event.clientY, pixels(event)]; dragged = false; });
  frame.addEventListener("pointermove", (event) => {
    if (start === null || (!dragged && Math.hypot(event.clientX - start[0], event.clientY - start[1]) < SLIP)) return;
    dragged = true;
    frame.setPointerCapture(event.pointerId);
    const [from, to] = [start[2], pixels(event)];
    const edges = [0, 1].map((side) => [Math.min(from[side], to[side]), Math.max(from[side], to[side])]);
    if (edges.every(([low, high]) => low < high)) draw([edges[0][0], edges[1][0], edges[0][1], edges[1][1]]);
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    frame.addEventListener(kind, () => { start = null; setTimeout(() => (dragged = false)); });
  }
  frame.append(...boxes.map((edges, at) => {
    const person = button(String(at + 1), "box", () => end(edges), { "aria-label": `Person ${at + 1} of ${boxes.length}, from left to right` });
    place(person, edges);
    return person;
  }), drawn);
  const byHand = button("Draw a box", "", () => { draw(box ?? [0.4 * width, 0.2 * height, 0.6 * width, 0.8 * height].map(Math.round)); drawn.focus(); });
  const asked = people === null ? "Draw a box around the person." : boxes.length > 0 ? "Choose the person, or draw a box around one." : "Nobody was found. Draw a box around the person.";
  const help = make("p", { id: "photo-help", class: "small" }, "Drag over the picture; or, with the box in focus, arrow keys move it, with Shift they size it, Enter takes it.");
  const dialog = show("photo-dialog", "Who is it, in this picture?", make("p", {}, asked), frame, help, said, make("div", { class: "actions" }, use, byHand, button("Take the whole picture", "", () => end(null))));
  frame.querySelector(".box:not([hidden])")?.focus();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(chosen)));
}
