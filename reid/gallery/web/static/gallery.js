// The page: what is searched, how the answer is shown, what becomes of the selected, and which view is open.

import * as api from "./api.js";
import * as dialogs from "./dialogs.js";
import { $, HERE, arrows, button, count, list, make, moment, notice, person, setZones, thumbnail, when } from "./dom.js";
import { MOST, choose, drawSelection, grid, headline, imageCard, selected, sightingCard, sightingsOf, where } from "./results.js";

const BYTES = Number(document.body.dataset.bytes);
const WIDE = 0.8; // of its height: a wider picture is no crop of a person
const SMALL = 320; // pixels a side of a query's picture here
const NARROW = window.matchMedia("(max-width: 52rem)");
const told = (work) => (...given) => work(...given).catch(fail); // its problem stands on the page
const state = { query: [], answer: null, mode: "sightings", running: null, browsed: [] };

// What is searched: {file, name, picture, size, box} and {entry, name, picture}, all of one person.

const queried = (entry) => ({ entry, name: `Person ${person(entry)}, entry ${entry.id}`, picture: thumbnail(entry.id) });

async function setQuery(items) {
  for (const { picture } of state.query.filter((item) => item.file && !items.includes(item))) URL.revokeObjectURL(picture);
  state.query = items;
  $("chips").replaceChildren(...items.map((item) => {
    const pick = item.size && button("Choose a person in it…", "quiet", () => take([item.file], (others) => items.map((each) => (each === item ? others[0] : each)), true));
    const remove = button("✕", "quiet", () => setQuery(items.filter((each) => each !== item)), { "aria-label": `Remove ${item.name}` });
    return make("li", {}, make("img", { src: item.picture ?? "/static/icon.svg", alt: "" }), make("span", {}, item.name, pick), remove);
  }));
  $("add").parentElement.hidden = items.length === 0 || items.length >= MOST;
  $("elsewhere").disabled = !items.some((item) => item.entry);
  $("start-here").hidden = items.length > 0;
  drawSelection();
  view("search");
  await run();
  if (NARROW.matches && items.length > 0) $("modes").scrollIntoView();
}

/** Searches pictures; `into` makes a query of them. Of a photograph, or where `asked` for, the person is chosen first. */
const take = told(async (files, into = (items) => items, asked = false) => {
  const items = [];
  for (const file of files) {
    if (file.size > BYTES) throw api.problem(`This file is too large. It has ${(file.size / 1e6).toFixed(1)} MB; allowed are ${BYTES / 1e6} MB.`);
    items.push(await read(file, asked));
    if (items.at(-1) === undefined) return;
  }
  if (items.length > 0) await setQuery(into(items));
});

async function read(file, asked) {
  const name = file.name || "Pasted picture", whole = await createImageBitmap(file).catch(() => null);
  if (whole === null) return { file, name }; // the server says what is wrong with it
  const { width, height } = whole;
  let box = null;
  if (asked || width > WIDE * height) {
    const address = URL.createObjectURL(file);
    box = await dialogs.choosePerson(address, await api.people(file));
    URL.revokeObjectURL(address);
    if (box === undefined) return undefined;
  }
  const [left, top, right, bottom] = box ?? [0, 0, width, height], scale = Math.min(1, SMALL / Math.max(right - left, bottom - top));
  const canvas = new OffscreenCanvas(Math.max(1, scale * (right - left)), Math.max(1, scale * (bottom - top)));
  canvas.getContext("2d").drawImage(whole, left, top, right - left, bottom - top, 0, 0, canvas.width, canvas.height);
  return { file, name, box, size: [width, height], picture: URL.createObjectURL(await canvas.convertToBlob()) };
}

function fields() {
  const which = $("which").value;
  for (const box of $("cameras").querySelectorAll("input")) box.name = which; // what has no name is left out
  const pairs = [...new FormData($("query"))];
  if (which === "camera" && !pairs.some(([name]) => name === which)) throw api.problem("Choose at least one camera.");
  for (const name of ["start", "end"]) {
    const [day, clock] = [$(`${name}-day`).value, $(`${name}-clock`).value];
    if (clock && !day) throw api.problem("Choose a day for the time.");
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

function fail(problem) {
  if (problem.name === "AbortError" || problem.status === 401) return; // another search runs; the page is loaded anew
  view("search");
  clearResults();
  notice($("message"), "bad", [problem.message]);
}

const run = told(async () => {
  state.running?.abort();
  if (state.query.length === 0) return clearResults();
  const mine = (state.running = new AbortController());
  $("status").textContent = "Searching …";
  $("hits").setAttribute("aria-busy", "true");
  try {
    const answer = await api.search(state.query, fields(), mine.signal);
    state.answer = { ...answer, sightings: sightingsOf(answer) };
    draw();
  } finally {
    if (state.running === mine) $("hits").removeAttribute("aria-busy");
  }
});

function draw() {
  for (const each of $("modes").children) each.setAttribute("aria-pressed", String(each.dataset.mode === state.mode));
  if (state.answer === null) return;
  const { hits, sightings, number } = state.answer, order = state.mode === "where" ? "by time" : "nearest first";
  notice($("message"), ...headline(state.answer));
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

const save = told(async () => {
  $("status").textContent = "Saving …";
  const [name, content] = await api.save(state.query, fields());
  const link = make("a", { href: URL.createObjectURL(content), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // it is read meanwhile
  $("status").textContent = `Saved as ${name} · audit no. ${name.replace(/\D/g, "")}`;
});

// What is opened, compared, named and forgotten.

const compare = (...pair) => dialogs.compare(pair, (decide) => decide().then(run).catch(fail));
const sideOf = (entry) => ({ ...queried(entry), name: `Person ${person(entry)} · Camera ${entry.camera}` });
const querySides = () => state.query.map((item) => ({ ...item, name: `Query: ${item.name}` }));
const forget = (wanted, what) => dialogs.forget(wanted, what, (ids) => changed(ids, "erased", () => null));

function nameAll(entries) {
  fillNames();
  dialogs.name(entries, (ids, identity) => changed(ids, `named ${identity ?? "not known"}`, (entry) => ({ ...entry, identity })));
}

const fillNames = told(async () => $("names").replaceChildren(...(await api.names()).map((value) => make("option", { value }))));

function open(thing) {
  const all = thing.hits ?? [thing], ids = all.map((entry) => entry.id), many = state.query.length;
  const search = ["Search for this person", "primary", () => setQuery(all.slice(0, MOST).map(queried))];
  const naming = ["Name…", "", () => nameAll(all)], forgetting = () => forget({ ids }, thing.hits ? count(ids.length, "image") : `entry ${thing.id}`);
  if (thing.hits) return dialogs.sighting(thing, open, [search, naming, ["Forget these images…", "danger", forgetting]]);
  const actions = [search];
  if (many > 0 && many < MOST) actions.push(["Add to the query", "", () => setQuery([...state.query, queried(thing)])]);
  if (many === 1) actions.push(["Compare with the query", "", () => compare(...querySides(), sideOf(thing))]);
  actions.push(naming, ["Forget this image…", "danger", forgetting]);
  if (thing.identity !== null) actions.push(["Forget this person…", "danger", () => forgetPerson(thing.identity)]);
  return dialogs.entry(thing, actions);
}

const forgetPerson = told(async (identity) => {
  const { entries, next } = await api.entries({ identity, limit: 200 });
  forget({ identity }, `${identity}, ${count(entries.length, "image")}${next === null ? "" : " and more"}`);
});

/** Shows what became of entries: `renew` gives one as it is now, null where it is erased; `how` in words. */
async function changed(ids, how, renew) {
  const renewed = (entry) => (ids.includes(entry.id) ? renew(entry) : entry), shown = document.querySelector("[data-view][aria-current]").dataset.view;
  const left = state.query.map((item) => (item.entry ? renewed(item.entry) && queried(renewed(item.entry)) : item)).filter(Boolean);
  document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
  selected.clear();
  if (state.browsed.length > 0) drawBrowsed(state.browsed.map(renewed).filter(Boolean));
  await load();
  const answered = setQuery(left);
  view(shown);
  await answered;
  $("status").textContent = $("browse-status").textContent = `${count(ids.length, "image")} ${how}.`;
}

// All entries, a page at a time, and what the gallery holds in figures.

/** The next page of what the form asks for, or its first. */
async function browse(anew) {
  const asked = [...new FormData($("browse-form"))].filter(([, value]) => value);
  if (!anew && state.browsed.length > 0) asked.push(["after", state.browsed.at(-1).id]);
  $("browse-status").textContent = "Loading …";
  try {
    const page = await api.entries(asked);
    $("more").hidden = page.next === null;
    drawBrowsed(anew ? page.entries : [...state.browsed, ...page.entries]);
  } catch (problem) {
    $("browse-status").textContent = problem.message;
  }
}

function drawBrowsed(entries) {
  state.browsed = entries;
  $("browse-grid").replaceChildren(...entries.map((entry) => imageCard(entry, open)));
  $("browse-status").textContent = entries.length === 0 ? "No image is like that." : `${count(entries.length, "image")} shown`;
  drawSelection();
}

function figures(held) {
  const tile = (value, name) => make("div", { class: "tile" }, make("strong", {}, value.toLocaleString("en")), name);
  const cameras = Object.entries(held.cameras), most = Math.max(1, ...Object.values(held.cameras));
  const bars = cameras.map(([camera, images]) =>
    make("div", {}, make("span", {}, camera, " ", make("small", {}, held.zones[camera])), make("meter", { max: most, value: images, "aria-label": camera }), images.toLocaleString("en")),
  );
  const { kind, recall, size, behind } = held.index;
  const built = `${kind} over ${size.toLocaleString("en")}, finds ${(100 * recall).toFixed(1)} % of the exact 10 nearest; ${behind.toLocaleString("en")} newer ones exactly`;
  const calibrated = held.calibration && `on ${held.calibration.source}. ${held.calibration.sentence}`;
  const decided = Object.entries(held.decided).map(([word, [pairs, same]]) => `${same} of ${count(pairs, "pair")} called ${word} are one person`);
  return [
    make("h2", {}, held.name),
    make("div", { class: "tiles" }, tile(held.entries, "images"), tile(held.identities, "people with a name"), tile(held.unknown, "images without a name"), tile(cameras.length, "cameras")),
    make("h3", {}, "Images a camera"), make("div", { class: "counts" }, bars),
    list([
      ["Network", `${held.model}, ${held.width} numbers a feature, ${held.fingerprint.slice(0, 16)}`],
      [`Times, ${HERE}`, held.first === null ? "none known" : when({ time: held.first, until: held.last })],
      ["Search", kind === "flat" ? "exact" : built], ["Calibration", calibrated ?? "none: distances only"], ["Decided", decided.join("; ") || "no pairs"],
      ["Photographs", held.detects ? "people are found in them" : "a box is drawn around a person"],
    ]),
  ];
}

// Views.

function view(name) {
  for (const each of $("views").querySelectorAll("[data-view]")) {
    each.ariaCurrent = each.dataset.view === name ? "page" : null;
    $(each.dataset.view).hidden = each.dataset.view !== name;
  }
  if (name === "browse" && $("browse-grid").childElementCount === 0) browse(true);
  if (name === "statistics") load();
}

const load = told(async () => {
  const held = await api.summary(), cameras = Object.entries(held.cameras);
  setZones(held.zones);
  $("about").textContent = `${held.name} · ${count(held.entries, "image")} · ${held.model}`;
  notice($("problems"), "bad", held.problems);
  const chosen = [...$("cameras").querySelectorAll("input:checked")].map((box) => box.value), shown = $("browse-camera").value;
  $("cameras").replaceChildren(...cameras.map(([value, images]) => make(
    "label", {}, make("input", { type: "checkbox", value, checked: chosen.includes(value) }), make("span", {}, value), make("small", {}, images.toLocaleString("en")),
  )));
  $("browse-camera").replaceChildren(make("option", { value: "" }, "all"), ...cameras.map(([value]) => make("option", { value }, value)));
  $("browse-camera").value = shown in held.cameras ? shown : "";
  $("share").parentElement.hidden = $("share").disabled = held.calibration === null;
  $("figures").replaceChildren(...figures(held));
  if (held.entries > 0) return;
  notice($("message"), "", ["This gallery is empty.", "Put images in with: reid search add"]);
  $("start-here").hidden = true;
});

function listen() {
  const on = (id, kind, act) => $(id)?.addEventListener(kind, act);
  const given = (event, into) => { take([...event.target.files], into); event.target.value = ""; };
  on("file", "change", (event) => given(event));
  on("add", "change", (event) => given(event, (items) => [...state.query, ...items]));
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
  for (const kind of ["dragover", "dragleave", "drop"]) on("drop", kind, () => $("drop").classList.toggle("over", kind === "dragover"));
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
  on("browse-form", "submit", (event) => { event.preventDefault(); browse(true); });
  on("browse-identity", "focus", fillNames);
  on("more", "click", () => browse(false));
  on("tray-search", "click", () => setQuery([...selected.values()].map(queried)));
  on("tray-compare", "click", () => compare(...(selected.size === 1 ? querySides() : []), ...[...selected.values()].map(sideOf)));
  on("tray-name", "click", () => nameAll([...selected.values()]));
  on("tray-forget", "click", () => forget({ ids: [...selected.keys()] }, count(selected.size, "image")));
  on("tray-clear", "click", () => choose([...selected.values()], false));
  on("sign-out", "click", () => api.signOut().then(() => location.reload()));
  on("sign-in-form", "submit", (event) => {
    event.preventDefault();
    api.signIn($("token").value).then(() => location.reload(), (problem) => notice($("sign-in-problem"), "bad", [problem.message]));
  });
}

listen();
$("zone").textContent = `Time, ${HERE}`;
$("filters").open = !NARROW.matches;
if ($("sign-in").hidden) load();
else $("token").focus();
