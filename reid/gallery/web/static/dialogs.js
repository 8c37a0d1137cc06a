// The dialogs: an image and its source, a sighting, two side by side, what is forgotten or named. Escape closes each.

import * as api from "./api.js";
import { $, arrows, button, count, kindOf, list, make, named, notice, number, person, signed, thumbnail } from "./dom.js";
import { grid, imageCard, judged } from "./results.js";
import { drawSelection } from "./selection.js";
import { when, zoneOf } from "./times.js";

export function show(id, title, ...content) {
  const close = button("✕", "", () => dialog.close(), { "aria-label": "Close" });
  const head = make("div", { class: "head" }, make("h2", { id: `${id}-title` }, title), close);
  const dialog = make("dialog", { id, "aria-labelledby": `${id}-title`, onclose: () => dialog.remove(), onkeydown: arrows }, head, content);
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Buttons that close the dialog first; `actions` are [label, class, what to do]. */
function deeds(actions) {
  const buttons = actions.map(([label, kind, act]) => button(label, kind, (event) => { event.target.closest("dialog").close(); act(); }));
  return make("div", { class: "actions" }, buttons);
}

/** An image with its source. */
export async function entry(hit, actions) {
  const frame = make("div", { class: "frame" }, make("p", { class: "faint" }, "Loading the source …"));
  const file = hit.frame === null ? hit.source : `${hit.source}, frame ${hit.frame}`;
  const facts = [["Person", person(hit)], ["Camera", hit.camera], ["Time", `${when(hit)}, ${zoneOf(hit.camera)}`], ["Source", file], ["Entry", String(hit.id)]];
  if (hit.word) facts.unshift(["It is", make("span", { class: "said" }, judged(hit))], ["", hit.sentence]);
  if (hit.distance !== undefined) facts.push(["Distance", number(hit.distance)]);
  const title = make("span", {}, named("Person", person(hit)), " · ", named("Camera", hit.camera));
  const dialog = show("entry-dialog", title, frame, list(facts), deeds(actions));
  try {
    const address = URL.createObjectURL(await api.source(hit.id));
    dialog.addEventListener("close", () => URL.revokeObjectURL(address));
    frame.replaceChildren(make("img", { src: address, alt: hit.box === null ? "The source image" : "The source image, the person in a yellow box" }));
  } catch (problem) {
    const crop = make("img", { src: thumbnail(hit.id), alt: "The crop" });
    frame.replaceChildren(make("div", {}, make("p", { class: "notice bad", role: "alert" }, problem.message), crop));
  }
}

/** A sighting's images as a strip, in order of time. */
export function sighting(seen, open, actions) {
  const hits = seen.hits.toSorted((a, b) => a.time - b.time);
  const title = make("span", {}, named("Camera", seen.camera), ` · ${when(seen)}`);
  const order = make("p", { class: "small" }, `${count(hits.length, "image")}, in order of time; the number is the rank.`);
  show("sighting-dialog", title, order, grid("Images of this sighting", hits.map((hit) => imageCard(hit, open)), "strip"), deeds(actions));
  drawSelection();
}

/** Two side by side, {name, picture} and what a query holds. */
export async function compare(pair) {
  const side = (each) => make("figure", {}, make("img", { src: each.picture, alt: "" }), make("figcaption", {}, each.name));
  const words = make("div", { role: "status" }, make("p", { class: "faint" }, "Comparing …"));
  show("compare-dialog", "Side by side", make("div", { class: "sides" }, pair.map(side)), words);
  const note = make("div");
  try {
    const { word, distance, sentences } = await api.compare(pair);
    const none = "This gallery has no calibration, so the distance alone does not say whether it is the same person.";
    notice(note, kindOf(word), word === null ? [none] : [signed(word), ...sentences]);
    words.replaceChildren(note, list([["Distance", number(distance)]]));
  } catch (problem) {
    notice(note, "bad", [problem.message]);
    words.replaceChildren(note);
  }
}

/** Asks before `work` is done; its problems are told here. */
function asking(id, title, content, [yes, kind, meanwhile], no, work) {
  const problem = make("div", { hidden: true }), keep = button(no, "", () => dialog.close());
  const act = make("button", { type: "submit", class: kind }, yes);
  const form = make("form", {}, content, problem, make("div", { class: "actions" }, act, keep));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    act.disabled = keep.disabled = true;
    act.textContent = meanwhile;
    try {
      await work();
      dialog.close();
    } catch (error) {
      notice(problem, "bad", [error.message]);
      act.textContent = yes;
      act.disabled = keep.disabled = false;
    }
  });
  const dialog = show(id, title, form);
  (form.querySelector("input") ?? keep).focus();
}

/** Erases `wanted`, {ids} or {identity}, which is `what` in words; `done` is told the ids. */
export function forget(wanted, what, done) {
  const lines = [
    "Features, thumbnails and all that the gallery notes about them are erased from its files. This cannot be undone.",
    "The source images and videos are not touched. The audit log keeps the numbers of the entries.",
  ];
  const words = lines.map((line) => make("p", {}, line));
  asking("forget-dialog", `Forget ${what}?`, words, ["Erase for good", "danger", "Erasing …"], "Keep", async () => done((await api.forget(wanted)).ids));
}

/** Says who entries show; `done` is told the ids and the name, null for nobody known. */
export function name(entries, done) {
  const given = new Set(entries.map((each) => each.identity)), [first] = given;
  const input = make("input", { id: "name", value: given.size === 1 ? (first ?? "") : "", maxLength: 500, autocomplete: "off", spellcheck: false });
  input.setAttribute("list", "names");
  const content = [make("label", { for: "name", htmlFor: "name" }, "Name; empty where it is not known"), input];
  asking("name-dialog", `Who is on ${count(entries.length, "this image", "these images")}?`, content, ["Name", "primary", "Naming …"], "Cancel", async () => {
    const who = input.value.trim() || null;
    done((await api.name(entries.map((each) => each.id), who)).ids, who);
  });
  fillNames();
}

/** The list of names to choose from, as it is now. */
export async function fillNames() {
  try {
    $("names").replaceChildren(...(await api.names()).map((value) => make("option", { value })));
  } catch (problem) {
    if (problem.status !== 401) throw problem; // then the page asks for the token
  }
}
