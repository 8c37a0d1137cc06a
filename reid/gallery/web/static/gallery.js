// The page: what is searched, how the answer is shown, what becomes of the selected, and which view is open.

import * as api from "./api.js";
import * as dialogs from "./dialogs.js";
import { browse, clearBrowse, figures, fillBrowse, renewBrowse } from "./browse.js";
import { $, arrows, button, count, make, notice, percent, person, thumbnail } from "./dom.js";
import { choosePerson } from "./photograph.js";
import { grid, headline, imageCard, sightingCard, where } from "./results.js";
import { choose, drawSelection, selected } from "./selection.js";
import { HERE, moment, setZones } from "./times.js";

const MOST = Number(document.body.dataset.bytes);
const WIDE = 0.8; // of its height: a wider picture is no crop of a person
const PICTURES = 8; // of one person
const SMALL = 320; // pixels a side of a query's picture here
const state = { query: [], answer: null, mode: "sightings", running: null };

// What is searched: {file, name, picture, size, box} and {entry, name, picture}, all of one person.

const queried = (entry) => ({ entry, name: `Person ${person(entry)}, entry ${entry.id}`, picture: thumbnail(entry.id) });

function setQuery(items) {
  state.query.filter((item) => item.file && !items.includes(item)).forEach((item) => URL.revokeObjectURL(item.picture));
  state.query = items;
  const chips = items.map((item) => {
    const image = make("img", { src: item.picture ?? "/static/icon.svg", alt: "" });
    const pick = item.size ? button("Choose the person…", "quiet", () => take([item.file], item)) : null;
    const remove = button("✕", "quiet", () => setQuery(state.query.filter((each) => each !== item)), { "aria-label": `Remove ${item.name}` });
    return make("li", {}, image, make("span", {}, item.name, pick), remove);
  });
  $("chips").replaceChildren(...chips);
  $("add").parentElement.hidden = items.length === 0 || items.length >= PICTURES;
  $("elsewhere").disabled = !items.some((item) => item.entry);
  drawSelection(items.length);
  view("search");
  $("start-here").hidden = items.length > 0;
  return run();
}

/** Searches pictures, adds them to the query, or in place of one of its items; of a photograph, or on wish, the person
 *  is chosen first. */
async function take(files, instead = null) {
  const items = [], adding = instead === "more";
  try {
    for (const file of files) {
      if (file.size > MOST) throw new api.Problem(0, `This file is too large. It has ${(file.size / 1e6).toFixed(1)} MB; allowed are ${MOST / 1e6} MB.`);
      const item = await read(file, instead !== null && !adding);
      if (item === undefined) return;
      items.push(item);
    }
    if (items.length > 0) setQuery(adding ? [...state.query, ...items] : instead === null ? items : state.query.map((each) => (each === instead ? items[0] : each)));
  } catch (problem) {
    view("search");
    clearResults();
    notice($("message"), "bad", [problem.message]);
  }
}

async function read(file, asked) {
  const name = file.name || "Pasted picture";
  const picture = await createImageBitmap(file).catch(() => null);
  if (picture === null) return { file, name }; // the server says what is wrong with it
  const { width, height } = picture;
  let box = null;
  if (asked || width > WIDE * height) {
    const address = URL.createObjectURL(file);
    box = await choosePerson(address, await api.people(file));
    URL.revokeObjectURL(address);
    if (box === undefined) return undefined;
  }
  const [left, top, right, bottom] = box ?? [0, 0, width, height];
  const scale = Math.min(1, SMALL / Math.max(right - left, bottom - top));
  const canvas = new OffscreenCanvas(Math.max(1, scale * (right - left)), Math.max(1, scale * (bottom - top)));
  canvas.getContext("2d").drawImage(picture, left, top, right - left, bottom - top, 0, 0, canvas.width, canvas.height);
  return { file, name, box, size: [width, height], picture: URL.createObjectURL(await canvas.convertToBlob()) };
}

function fields() {
  const pairs = [["k", $("k").value]], which = $("which").value;
  if ($("share").value) pairs.push(["share", $("share").value]);
  if ($("elsewhere").checked && !$("elsewhere").disabled) pairs.push(["elsewhere", "true"]);
  const chosen = [...$("cameras").querySelectorAll("input:checked")];
  if (which === "camera" && chosen.length === 0) throw new api.Problem(0, "Choose at least one camera.");
  if (which) pairs.push(...chosen.map((box) => [which, box.value]));
  for (const name of ["start", "end"]) {
    const [day, clock] = [$(`${name}-day`).value, $(`${name}-clock`).value];
    if (clock && !day) throw new api.Problem(0, "Choose a day for the time.");
    if (day) pairs.push([name, moment(day, clock, name === "end")]);
  }
  return pairs;
}

// The answer.

function clearResults() {
  state.answer = null;
  $("hits").replaceChildren();
  $("status").textContent = "";
  $("save").hidden = true;
  notice($("message"), "");
}

async function run() {
  state.running?.abort();
  if (state.query.length === 0) return clearResults();
  const mine = (state.running = new AbortController());
  $("status").textContent = "Searching …";
  $("hits").setAttribute("aria-busy", "true");
  try {
    const answer = await api.search(state.query, fields(), mine.signal);
    const sightings = answer.sightings.map((each) => ({ ...each, hits: each.hits.map((at) => answer.hits[at]) }));
    state.answer = { ...answer, sightings };
    draw();
  } catch (problem) {
    if (problem.name === "AbortError") return;
    clearResults();
    notice($("message"), "bad", [problem.message]);
  } finally {
    if (state.running === mine) $("hits").removeAttribute("aria-busy");
  }
}

function draw() {
  for (const each of $("modes").children) each.setAttribute("aria-pressed", String(each.dataset.mode === state.mode));
  if (state.answer === null) return;
  const { hits, sightings, number } = state.answer;
  notice($("message"), ...headline(state.answer));
  const order = state.mode === "where" ? "by time" : "nearest first";
  $("status").textContent = `${count(hits.length, "image")} in ${count(sightings.length, "sighting")}, ${order} · audit no. ${number}`;
  $("save").hidden = hits.length === 0;
  const shown = {
    sightings: () => [grid("Sightings", sightings.map((each) => sightingCard(each, open)), "sightings")],
    images: () => [grid("Images", hits.map((hit) => imageCard(hit, open)))],
    where: () => where(sightings, open),
  };
  $("hits").replaceChildren(...shown[state.mode]());
  drawSelection();
}

async function save() {
  $("status").textContent = "Saving …";
  try {
    const [name, content] = await api.save(state.query, fields());
    const link = make("a", { href: URL.createObjectURL(content), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // it is read meanwhile
    $("status").textContent = `Saved as ${name}, audit no. ${name.replace(/\D/g, "")}`;
  } catch (problem) {
    $("status").textContent = problem.message;
  }
}

// What is opened, compared, named and forgotten.

const sideOf = (entry) => ({ ...queried(entry), name: `Person ${person(entry)} · Camera ${entry.camera}` });
const querySide = () => ({ ...state.query[0], name: `Query: ${state.query[0].name}` });
const nameAll = (entries) => dialogs.name(entries, (ids, who) => changed(ids, `named ${who ?? "not known"}`, { identity: who }));
const forget = (wanted, what) => dialogs.forget(wanted, what, (ids) => changed(ids, "erased", null));

function open(thing) {
  const entries = (thing.hits ?? [thing]).slice(0, PICTURES), ids = (thing.hits ?? [thing]).map((entry) => entry.id);
  const actions = [["Search for this person", "primary", () => setQuery(entries.map(queried))]];
  if (thing.hits) {
    actions.push(["Name…", "", () => nameAll(thing.hits)], ["Forget these images…", "danger", () => forget({ ids }, count(ids.length, "image"))]);
    dialogs.sighting(thing, open, actions);
    return;
  }
  if (state.query.length > 0 && state.query.length < PICTURES) actions.push(["Add to the query", "", () => setQuery([...state.query, queried(thing)])]);
  if (state.query.length === 1) actions.push(["Compare with the query", "", () => dialogs.compare([querySide(), sideOf(thing)])]);
  actions.push(["Name…", "", () => nameAll([thing])], ["Forget this image…", "danger", () => forget({ ids }, `entry ${thing.id}`)]);
  if (thing.identity !== null) actions.push(["Forget this person…", "danger", () => forgetPerson(thing.identity)]);
  dialogs.entry(thing, actions);
}

async function forgetPerson(identity) {
  let what = identity;
  try {
    const page = await api.entries({ identity, limit: 200 });
    const many = count(page.entries.length, "image");
    what = `${identity}, ${page.next === null ? many : `${many} and more`}`;
  } finally {
    forget({ identity }, what);
  }
}

/** Shows what became of entries: `changes`, or null where they are erased; `how` in words. */
async function changed(ids, how, changes) {
  document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
  const those = new Set(ids), renewed = (entry) => (those.has(entry.id) ? changes && { ...entry, ...changes } : entry);
  const left = state.query.map((item) => (item.entry ? renewed(item.entry) && queried(renewed(item.entry)) : item)).filter(Boolean);
  const shown = document.querySelector("[data-view][aria-current]").dataset.view;
  selected.clear();
  renewBrowse(open, renewed);
  await load();
  const answered = setQuery(left);
  view(shown);
  await answered;
  $("status").textContent = $("browse-status").textContent = `${count(ids.length, "image")} ${how}.`;
}

// Views.

function view(name) {
  for (const each of $("views").querySelectorAll("[data-view]")) {
    const shown = each.dataset.view === name;
    $(each.dataset.view).hidden = !shown;
    if (shown) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
  }
  if (name === "browse" && $("browse-grid").childElementCount === 0) browse(open, true);
  if (name === "statistics") load();
}

function signedOut() {
  document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
  selected.clear();
  setQuery([]);
  clearBrowse();
  for (const name of ["search", "browse", "statistics", "views"]) $(name).hidden = true;
  $("about").textContent = "";
  $("sign-in").hidden = false;
  $("token").focus();
}

async function load() {
  try {
    const held = await api.summary();
    setZones(held.zones);
    $("about").textContent = `${held.name} · ${count(held.entries, "image")} · ${held.model}`;
    notice($("problems"), "bad", held.problems);
    const chosen = new Set([...$("cameras").querySelectorAll("input:checked")].map((box) => box.value));
    $("cameras").replaceChildren(...Object.entries(held.cameras).map(([camera, images]) => make(
      "label", {}, make("input", { type: "checkbox", value: camera, checked: chosen.has(camera) }), make("span", {}, camera), make("small", {}, images.toLocaleString("en")),
    )));
    fillBrowse(held);
    $("share").parentElement.hidden = held.calibration === null;
    if (held.calibration !== null && $("share").childElementCount === 0) {
      const usual = held.calibration.share, shares = [...new Set([0.01, 0.02, 0.05, 0.1, 0.2, usual])].sort((a, b) => a - b);
      $("share").append(...shares.map((share) => make("option", { value: share, selected: share === usual, defaultSelected: share === usual }, percent(share))));
    }
    $("figures").replaceChildren(...figures(held));
    if (held.entries > 0) return;
    notice($("message"), "", ["This gallery is empty.", "Put images in with: reid search add"]);
    $("start-here").hidden = true;
  } catch (problem) {
    if (problem.status !== 401) notice($("message"), "bad", [problem.message]);
  }
}

function listen() {
  const on = (id, kind, act) => $(id)?.addEventListener(kind, act);
  const given = (event, instead) => { take([...event.target.files], instead); event.target.value = ""; };
  on("file", "change", (event) => given(event));
  on("add", "change", (event) => given(event, "more"));
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
  on("drop", "dragover", () => $("drop").classList.add("over"));
  for (const kind of ["dragleave", "drop"]) on("drop", kind, () => $("drop").classList.remove("over"));
  document.addEventListener("drop", (event) => take([...event.dataTransfer.files]));
  document.addEventListener("paste", (event) => take([...event.clipboardData.files]));
  document.addEventListener("keydown", arrows);
  on("query", "submit", (event) => event.preventDefault());
  on("filters", "change", () => { $("cameras").hidden = $("which").value === ""; run(); });
  on("query", "reset", () => setTimeout(() => $("filters").dispatchEvent(new Event("change"))));
  on("pick", "click", () => { view("browse"); $("main").focus(); });
  on("modes", "click", (event) => { state.mode = event.target.dataset.mode ?? state.mode; draw(); });
  on("save", "click", save);
  on("views", "click", (event) => event.target.dataset.view && view(event.target.dataset.view));
  on("browse-form", "submit", (event) => { event.preventDefault(); browse(open, true); });
  on("browse-identity", "focus", dialogs.fillNames);
  on("more", "click", () => browse(open, false));
  on("tray-search", "click", () => setQuery([...selected.values()].map(queried)));
  on("tray-compare", "click", () => dialogs.compare([...(selected.size === 1 ? [querySide()] : []), ...[...selected.values()].map(sideOf)]));
  on("tray-name", "click", () => nameAll([...selected.values()]));
  on("tray-forget", "click", () => forget({ ids: [...selected.keys()] }, count(selected.size, "image")));
  on("tray-clear", "click", () => choose([...selected.values()], false));
  on("sign-out", "click", async () => { await api.signOut(); location.reload(); });
  on("sign-in-form", "submit", async (event) => {
    event.preventDefault();
    try {
      await api.signIn($("token").value);
      location.reload();
    } catch (problem) {
      notice($("sign-in-problem"), "bad", [problem.message]);
    }
  });
  document.addEventListener("signed-out", signedOut);
  $("zone").textContent = `Time, ${HERE}`;
}

listen();
if ($("sign-in").hidden) {
  if (window.matchMedia("(max-width: 52rem)").matches) $("filters").open = false;
  load();
} else {
  $("token").focus();
}
