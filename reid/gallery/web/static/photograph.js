// The person in a whole photograph: one of those found in it, or a box that is drawn by mouse, touch or keyboard.

import { button, make } from "./dom.js";
import { show } from "./dialogs.js";

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
