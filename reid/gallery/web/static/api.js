// Requests to the gallery's own server.

export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { "X-Requested-With": "gallery", ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The server does not answer. Is it still running?");
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  if (answer.status === 401 && path !== "/login") document.dispatchEvent(new Event("signed-out"));
  const text = body.error ?? `the server answers with status ${answer.status}`;
  throw new Problem(answer.status, `${text[0].toUpperCase()}${text.slice(1)}.`);
}

const json = async (path, options) => (await ask(path, options)).json();
const send = (path, body) =>
  json(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const summary = () => json("/api/summary");
export const entries = (asked) => json(`/api/entries?${new URLSearchParams(asked)}`);
export const signIn = (token) => send("/login", { token });
export const signOut = () => json("/logout", { method: "POST" });
export const forget = (wanted) => send("/api/forget", wanted);
export const source = async (id) => (await ask(`/api/entries/${id}/source`)).blob();

/** `queries` are {file} or {entry}; `fields` pairs of name and text. `path`: search, timeline or compare. */
export function search(path, queries, fields, signal) {
  const form = new FormData();
  for (const query of queries) {
    if (query.file) form.append("image", query.file);
    else form.append("entry", query.entry.id);
  }
  for (const [name, value] of fields) form.append(name, value);
  return json(`/api/${path}`, { method: "POST", body: form, signal });
}
