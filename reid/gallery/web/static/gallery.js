// The page: what is searched, what is selected, and which view is shown.

import * as api from "./api.js";
import * as dialogs from "./dialogs.js";
import { $, arrows, count, make, notice, person, thumbnail } from "./dom.js";
import { card, verdict } from "./results.js";
import { browse, clearBrowse, fillBrowse } from "./browse.js";
import { camerasOf, figures, rates } from "./statistics.js";
import { seen, timeline } from "./timeline.js";

const MOST = Number(document.body.dataset.bytes);
const state = { query: null, preview: null, mode: "search", selected: new Map(), running: null, summary: null };

// What is searched.

function setQuery(query, name, picture) {
  if (state.preview?.startsWith("blob:")) URL.revokeObjectURL(state.preview);
  state.query = { ...query, name };
  state.preview = picture;
  const image = make("img", { src: picture, alt: "", onerror: () => image.remove() });
  $("preview").replaceChildren(image);
  $("query-name").textContent = name;
  select([]);
  view("search");
  run();
}

function searchFile(file) {
  if (!file) return;
  view("search");
  if (file.size > MOST) {
    clearResults();
    notice($("message"), "bad", "This file is too large.", `It has ${(file.size / 1e6).toFixed(1)} MB; allowed are ${MOST / 1e6} MB.`);
    return;
  }
  setQuery({ file }, file.name || "Pasted picture", URL.createObjectURL(file));
}

const searchEntry = (entry) => setQuery({ entry }, `${person(entry)}, entry ${entry.id}`, thumbnail(entry.id));

function fields(all = true) {
  const pairs = [];
  if ($("rate").value) pairs.push(["rate", $("rate").value]);
  if (!all) return pairs;
  const boxes = [...$("cameras").querySelectorAll("input")];
  const chosen = boxes.filter((box) => box.checked);
  if (chosen.length < boxes.length) pairs.push(...chosen.map((box) => ["camera", box.value]));
  for (const name of ["start", "end"]) {
    if ($(name).value) pairs.push([name, `${$(name).value}Z`]);
  }
  pairs.push(["k", $("k").value]);
  return pairs;
}

function clearResults() {
  $("hits").replaceChildren();
  $("timeline").replaceChildren();
  $("start-here").hidden = true;
  $("status").textContent = "";
  notice($("message"), "");
}

async function run() {
  if (state.query === null) return;
  state.running?.abort();
  const mine = (state.running = new AbortController());
  $("start-here").hidden = true;
  $("status").textContent = "Searching …";
  $("hits").classList.add("busy");
  $("hits").setAttribute("aria-busy", "true");
  try {
    const pairs = fields();
    const boxes = $("cameras").querySelectorAll("input");
    if (boxes.length > 0 && ![...boxes].some((box) => box.checked)) throw new api.Problem(0, "Choose at least one camera.");
    const answer = await api.search(state.mode, [state.query], pairs, mine.signal);
    clearResults();
    (state.mode === "search" ? showHits : showTimeline)(answer);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    clearResults();
    notice($("message"), "bad", problem.message);
  } finally {
    if (state.running === mine) {
      $("hits").classList.remove("busy");
      $("hits").removeAttribute("aria-busy");
    }
  }
}

function showHits(answer) {
  notice($("message"), ...verdict(answer));
  $("status").textContent = `${count(answer.hits.length, "image", "images")}, nearest first`;
  $("hits").replaceChildren(...answer.hits.map((hit, at) => card(hit, at + 1, state.selected.has(hit.id), open, choose)));
}

function showTimeline(answer) {
  notice($("message"), ...seen(answer));
  $("timeline").replaceChildren(...timeline(answer, open, (hit) => card(hit, null, state.selected.has(hit.id), open, choose)));
  $("timeline").querySelectorAll(".grid").forEach(arrows);
}

function mode(name) {
  state.mode = name;
  $("show-ranked").setAttribute("aria-pressed", String(name === "search"));
  $("show-timeline").setAttribute("aria-pressed", String(name === "timeline"));
  $("hits").hidden = name !== "search";
  $("timeline").hidden = name !== "timeline";
  run();
}

// What is selected, opened, compared and forgotten.

function choose(entry, chosen) {
  if (chosen) state.selected.set(entry.id, entry);
  else state.selected.delete(entry.id);
  drawSelection();
}

function select(entries) {
  state.selected = new Map(entries.map((entry) => [entry.id, entry]));
  drawSelection();
}

function drawSelection() {
  const many = state.selected.size;
  for (const each of document.querySelectorAll(".hit")) {
    const selected = state.selected.has(Number(each.dataset.id));
    each.classList.toggle("selected", selected);
    each.querySelector("input").checked = selected;
  }
  $("tray").hidden = many === 0;
  $("tray-text").textContent = `${count(many, "image", "images")} selected`;
  $("tray-compare").disabled = !(many === 2 || (many === 1 && state.query !== null));
  $("tray-compare").textContent = many === 1 ? "Compare with the query" : "Compare the two";
}

const sideOf = (entry) => ({ name: `${person(entry)}, ${entry.camera}`, picture: thumbnail(entry.id), query: { entry } });
const querySide = () => ({ name: `Query: ${state.query.name}`, picture: state.preview, query: state.query });

function compareSelected() {
  const sides = [...state.selected.values()].map(sideOf);
  dialogs.compare(...(sides.length === 1 ? [querySide(), sides[0]] : sides), fields(false));
}

function open(entry) {
  const actions = [["Search for this person", "primary", () => searchEntry(entry)]];
  if (state.query !== null) actions.push(["Compare with the query", "", () => dialogs.compare(querySide(), sideOf(entry), fields(false))]);
  actions.push(["Forget this image…", "danger", () => dialogs.forget({ ids: [entry.id] }, `entry ${entry.id}`, forgotten)]);
  if (entry.identity !== null) {
    actions.push(["Forget this person…", "danger", () => forgetPerson(entry.identity)]);
  }
  dialogs.entry(entry, actions);
}

async function forgetPerson(identity) {
  let what = identity;
  try {
    const page = await api.entries({ identity, limit: 200 });
    const many = count(page.entries.length, "image", "images");
    what = `${identity}, ${page.next === null ? many : `${many} and more`}`;
  } finally {
    dialogs.forget({ identity }, what, forgotten);
  }
}

async function forgotten(what) {
  select([]);
  await load();
  clearBrowse();
  if (!$("browse").hidden) await browse(open, choose);
  if (state.query?.entry) {
    state.query = state.preview = null;
    $("preview").replaceChildren();
    $("query-name").textContent = "Choose a crop of a person";
    clearResults();
  } else {
    await run();
  }
  $("status").textContent = $("browse-status").textContent = `${what} erased.`;
}

// Views.

function view(name) {
  for (const button of $("views").querySelectorAll("[data-view]")) {
    const shown = button.dataset.view === name;
    $(button.dataset.view).hidden = !shown;
    if (shown) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  if (name === "browse" && $("browse-grid").childElementCount === 0) browse(open, choose);
  if (name === "statistics") load();
}

function signedOut() {
  select([]);
  clearResults();
  for (const name of ["search", "browse", "statistics", "views"]) $(name).hidden = true;
  $("about").textContent = "";
  $("sign-in").hidden = false;
  $("token").focus();
}

async function load() {
  try {
    const held = (state.summary = await api.summary());
    $("about").textContent = `${held.name} · ${count(held.entries, "image", "images")} · ${held.model}`;
    const chosen = new Set([...$("cameras").querySelectorAll("input")].filter((box) => !box.checked).map((box) => box.value));
    $("cameras").replaceChildren(...camerasOf(held, chosen));
    fillBrowse(held);
    if ($("rate").childElementCount === 0) $("rate").replaceChildren(...rates(held));
    $("rate-field").hidden = held.calibration === null;
    $("figures").replaceChildren(...figures(held));
    if (held.entries === 0) {
      notice($("message"), "", "This gallery is empty.", "Put images in with: reid search add");
      $("start-here").hidden = true;
    }
  } catch (problem) {
    if (problem.status !== 401) notice($("message"), "bad", problem.message);
  }
}

function listen() {
  const drop = $("drop"), file = $("file");
  file.addEventListener("change", () => { searchFile(file.files[0]); file.value = ""; });
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
  drop.addEventListener("dragover", () => drop.classList.add("over"));
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
  document.addEventListener("drop", (event) => searchFile(event.dataTransfer.files[0]));
  document.addEventListener("paste", (event) => searchFile([...event.clipboardData.files][0]));
  $("query").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("change", run);
  $("query").addEventListener("reset", () => setTimeout(run));
  $("pick").addEventListener("click", () => { view("browse"); $("main").focus(); });
  $("show-ranked").addEventListener("click", () => mode("search"));
  $("show-timeline").addEventListener("click", () => mode("timeline"));
  $("views").addEventListener("click", (event) => event.target.dataset.view && view(event.target.dataset.view));
  $("browse-form").addEventListener("submit", (event) => { event.preventDefault(); clearBrowse(); browse(open, choose); });
  $("more").addEventListener("click", () => browse(open, choose));
  $("tray-compare").addEventListener("click", compareSelected);
  $("tray-clear").addEventListener("click", () => select([]));
  $("tray-forget").addEventListener("click", () =>
    dialogs.forget({ ids: [...state.selected.keys()] }, count(state.selected.size, "image", "images"), forgotten),
  );
  $("sign-out")?.addEventListener("click", async () => { await api.signOut(); location.reload(); });
  $("sign-in-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await api.signIn($("token").value);
      location.reload();
    } catch (problem) {
      $("sign-in-problem").textContent = problem.message;
      $("sign-in-problem").hidden = false;
    }
  });
  document.addEventListener("signed-out", signedOut);
  for (const grid of ["hits", "browse-grid"]) arrows($(grid));
}

listen();
if ($("sign-in").hidden) {
  if (window.matchMedia("(max-width: 52rem)").matches) $("filters").open = false;
  load();
} else {
  $("token").focus();
}
