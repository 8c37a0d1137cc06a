// The dialogs: an entry and its source, two side by side, and what is to be forgotten. Escape closes each.

import * as api from "./api.js";
import { $, count, make, number, oneIn, percent, person, thumbnail, when } from "./dom.js";

function show(dialog, id, title, ...content) {
  const close = make("button", { type: "button", "aria-label": "Close", onclick: () => dialog.close() }, "✕");
  dialog.replaceChildren(make("div", { class: "head" }, make("h2", { id }, title), close), ...content);
  if (!dialog.open) dialog.showModal();
}

function list(pairs) {
  return make("dl", {}, ...pairs.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

/** An entry with its source; `actions` are [label, class, what to do]. */
export async function entry(hit, actions) {
  const dialog = $("entry-dialog");
  const frame = make("div", { class: "frame" }, make("p", { class: "faint" }, "Loading the source …"));
  const facts = [["Person", person(hit)], ["Camera", hit.camera], ["Time, UTC", when(hit)]];
  facts.push(["Source", hit.frame === null ? hit.source : `${hit.source}, frame ${hit.frame}`], ["Entry", String(hit.id)]);
  if (hit.distance !== undefined) facts.push(["Distance", number(hit.distance)]);
  const buttons = actions.map(([label, kind, act]) =>
    make("button", { type: "button", class: kind, onclick: () => { dialog.close(); act(); } }, label),
  );
  show(dialog, "entry-title", `${person(hit)} at ${hit.camera}`, frame, list(facts), make("div", { class: "actions" }, ...buttons));
  try {
    const address = URL.createObjectURL(await api.source(hit.id));
    dialog.addEventListener("close", () => URL.revokeObjectURL(address), { once: true });
    const alt = hit.box === null ? "The source image" : "The source image, the person in a yellow box";
    frame.replaceChildren(make("img", { src: address, alt }));
  } catch (problem) {
    const crop = make("img", { src: thumbnail(hit.id), alt: "The crop" });
    frame.replaceChildren(make("div", {}, make("p", { class: "notice bad", role: "alert" }, problem.message), crop));
  }
}

/** Two side by side; each is {name, picture, query}. */
export async function compare(first, second, fields) {
  const side = (each) => make("figure", {}, make("img", { src: each.picture, alt: "" }), make("figcaption", {}, each.name));
  const words = make("div", { role: "status" }, make("p", { class: "faint" }, "Comparing …"));
  show($("compare-dialog"), "compare-title", "Side by side", make("div", { class: "sides" }, side(first), side(second)), words);
  try {
    const answer = await api.search("compare", [first.query, second.query], fields);
    words.replaceChildren(...verdict(answer));
  } catch (problem) {
    words.replaceChildren(make("p", { class: "notice bad", role: "alert" }, problem.message));
  }
}

function verdict(answer) {
  const distance = ["Distance", number(answer.distance)];
  if (answer.same === null) {
    const why = "This gallery has no calibration, so the distance alone does not say whether it is the same person.";
    return [make("div", { class: "notice" }, make("p", {}, why)), list([distance])];
  }
  const text = answer.same ? "✓ Probably the same person" : "✕ Not shown to be the same person";
  const rates =
    `At this threshold ${percent(answer.false_match_rate)} of the pairs of two people passed, and ` +
    `${percent(answer.true_match_rate)} of those of one person, as measured on ${answer.source}.`;
  return [
    make("div", { class: answer.same ? "notice good" : "notice" }, make("p", {}, make("strong", {}, text)), make("p", {}, rates)),
    list([
      distance, ["Threshold", `${number(answer.threshold)}, chosen for ${oneIn(answer.rate)}`],
      ["Probability at even odds", percent(answer.probability)],
    ]),
  ];
}

/** Asks before erasing `wanted`, {ids} or {identity}, which is `what` in words; `done` is told how many are gone. */
export function forget(wanted, what, done) {
  const dialog = $("forget-dialog");
  const problem = make("p", { class: "notice bad", role: "alert", hidden: true });
  const keep = make("button", { type: "button", onclick: () => dialog.close() }, "Keep");
  const erase = make("button", { type: "button", class: "danger" }, "Erase for good");
  erase.addEventListener("click", async () => {
    erase.disabled = keep.disabled = true;
    erase.textContent = "Erasing …";
    try {
      const answer = await api.forget(wanted);
      dialog.close();
      done(count(answer.ids.length, "entry", "entries"));
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
      erase.textContent = "Erase for good";
      erase.disabled = keep.disabled = false;
    }
  });
  show(
    dialog, "forget-title", `Forget ${what}?`,
    make("p", {}, "Features, thumbnails and all that the gallery notes about them are erased from its files. This cannot be undone."),
    make("p", {}, "The source images and videos are not touched. The audit log keeps the numbers of the entries."),
    problem, make("div", { class: "actions" }, erase, keep),
  );
  keep.focus();
}
