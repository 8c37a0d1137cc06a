// All entries, a page at a time.

import * as api from "./api.js";
import { $, count, make } from "./dom.js";
import { card } from "./results.js";

let after = 0, shown = 0;

export function clearBrowse() {
  after = shown = 0;
  $("browse-grid").replaceChildren();
  $("more").hidden = true;
}

/** The next page of what the form asks for. */
export async function browse(open, choose) {
  const asked = { after };
  if ($("browse-camera").value) asked.camera = $("browse-camera").value;
  if ($("browse-identity").value) asked.identity = $("browse-identity").value;
  $("browse-status").textContent = "Loading …";
  try {
    const page = await api.entries(asked);
    $("browse-grid").append(...page.entries.map((entry) => card(entry, null, false, open, choose)));
    shown += page.entries.length;
    after = page.next ?? after;
    $("more").hidden = page.next === null;
    $("browse-status").textContent = shown === 0 ? "No entry is like that." : `${count(shown, "entry", "entries")} shown`;
  } catch (problem) {
    $("browse-status").textContent = problem.message;
  }
}

export function fillBrowse(held) {
  const chosen = $("browse-camera").value;
  const options = Object.keys(held.cameras).map((camera) => make("option", { value: camera }, camera));
  $("browse-camera").replaceChildren(make("option", { value: "" }, "all"), ...options);
  $("browse-camera").value = chosen in held.cameras ? chosen : "";
}
