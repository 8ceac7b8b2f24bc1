// What the page asks the console. The session's secret goes along with all of it, which
// only this page knows.

export const me = { role: "viewer", secret: "" };

async function answer(response) {
  const value = await response.json().catch(() => ({}));
  if (response.status === 401) document.dispatchEvent(new CustomEvent("out"));
  if (!response.ok) throw new Error(value.error || `the console answers ${response.status}`);
  return value;
}

export async function get(path) {
  return answer(await fetch(path));
}

async function post(path, body) {
  return answer(await fetch(path, { method: "POST", headers: { "Dvmigrate-Secret": me.secret }, body: JSON.stringify(body) }));
}

export async function comeIn() {
  Object.assign(me, await get("/api/me"));
}

export const ask = (what, question) => post("/api/ask", { what, ...question });
export const act = (action, more) => post("/api/act", { do: action, ...more });
export const newLink = (role) => post("/api/link?role=" + role, null);
export const leave = () => post("/api/leave", null);
