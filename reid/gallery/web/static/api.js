// Requests to the gallery's own server.

export const problem = (message, status = 0) => Object.assign(new Error(message), { status });

async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: { "X-Requested-With": "gallery", ...options.headers } }).catch((error) => {
    throw error.name === "AbortError" ? error : problem("The server does not answer. Is it still running?");
  });
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  if (answer.status === 401 && path !== "/login") location.reload(); // it asks for the token
  const text = body.error ?? `the server answers with status ${answer.status}`;
  throw problem(`${text[0].toUpperCase()}${text.slice(1)}.`, answer.status);
}

const json = async (path, options) => (await ask(path, options)).json();
const send = (path, body) =>
  json(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const summary = () => json("/api/summary");
export const names = async () => (await json("/api/names")).names;
export const entries = (asked) => json(`/api/entries?${new URLSearchParams(asked)}`);
export const signIn = (token) => send("/login", { token });
export const signOut = () => json("/logout", { method: "POST" });
export const forget = (wanted) => send("/api/forget", wanted);
export const name = (ids, identity) => send("/api/name", { ids, identity });
export const decide = (first, second, same) => send("/api/decide", { first, second, same });
export const source = async (id) => (await ask(`/api/entries/${id}/source`)).blob();
export const search = (query, fields, signal) => json("/api/search", form(query, fields, signal));
export const compare = (query) => json("/api/compare", form(query));
export const people = (file) => json("/api/people", form([{ file }]));

/** The answer as a file: its name and content. */
export async function save(query, fields) {
  const answer = await ask("/api/answer", form(query, fields));
  return [/"(.+)"/.exec(answer.headers.get("Content-Disposition"))[1], await answer.blob()];
}

/** `query` holds {file, box, size} and {entry}; `fields` pairs of name and text. */
function form(query, fields = [], signal) {
  const body = new FormData(), pictures = query.filter(({ file }) => file), boxed = pictures.some(({ box }) => box);
  for (const { entry } of query.filter((item) => item.entry)) body.append("entry", entry.id);
  for (const { file, box, size } of pictures) {
    body.append("image", file);
    if (boxed) body.append("box", box ?? [0, 0, ...(size ?? [0, 0])]); // for each; the server says what has no size
  }
  for (const [name, value] of fields) body.append(name, value);
  return { method: "POST", body, signal };
}
