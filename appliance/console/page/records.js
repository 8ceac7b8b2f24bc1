// Staged rows a page at a time, and one of them with all that is known of it.
import { byId, h, put, row, table } from "./element.js";
import { ask } from "./api.js";
import { cell } from "./sql.js";
import { count } from "./words.js";

const pageOf = 50;
let next = -1;
let listed = ""; // the table whose rows are shown

export function start() {
  byId("record-form").addEventListener("submit", (e) => {
    e.preventDefault();
    page(0);
  });
  byId("record-next").addEventListener("click", () => page(next));
  byId("record-table").addEventListener("change", () => page(0));
}

// show takes #records/table/key.
export function show([name, key], state) {
  if (state) tablesOf(state);
  if (!name) return;
  const other = listed !== name; // else the list stays where it is
  byId("record-table").value = name;
  if (other) byId("record-key").value = key || "";
  if (key) one(name, key);
  else byId("record").hidden = true;
  if (other) page(0);
}

export function update(s) {
  tablesOf(s);
}

function tablesOf(s) {
  const select = byId("record-table");
  const names = s.tables.map((t) => t.name);
  if ([...select.options].map((o) => o.value).join() === names.join()) return;
  const chosen = select.value || decodeURIComponent(location.hash).split("/")[1];
  select.replaceChildren(...names.map((n) => h("option", { value: n }, n)));
  if (names.includes(chosen)) select.value = chosen;
  if (!byId("record-list").firstChild) page(0);
}

async function page(from) {
  const said = byId("record-said"), name = byId("record-table").value;
  if (!name) return;
  put(said, "looking …");
  try {
    const p = await ask("rows", { table: name, key: byId("record-key").value.trim(), flag: byId("record-flag").value, from, limit: pageOf });
    next = p.next;
    listed = name;
    byId("record-next").hidden = next < 0;
    put(said, p.rows.length ? `${count(p.rows.length)} rows` + (next >= 0 ? ", more follow" : "") : "no such row");
    byId("record-list").replaceChildren(table("Staged rows of " + name, ["legacy key", "action", "state", "pass", { number: "attempts" }, "class", "changed", ...p.columns],
      p.rows.map((r) => row([h("a", { href: `#records/${encodeURIComponent(name)}/${encodeURIComponent(r.legacyKey)}` }, r.legacyKey), r.action, r.flag, r.pass, { number: r.attempts }, r.class || "", r.changed || "", ...r.values.map(cell)], true))));
  } catch (e) {
    put(said, e.message);
  }
}

const flags = { U: "waiting", F: "in flight", S: "in the target, a later pass is owed", P: "processed", E: "failed", H: "held back" };
const actions = { I: "insert", U: "update", D: "delete", N: "nothing to do" };

async function one(name, key) {
  const box = byId("record");
  try {
    const { columns, row: r, record, failure, unsent } = await ask("record", { table: name, key });
    const parts = [h("h3", { id: "record-title" }, `${name} ${r.legacyKey}`),
      h("p", {}, `${actions[r.action] || r.action}: ${flags[r.flag] || r.flag}${r.attempts ? `, ${r.attempts} ${r.attempts === 1 ? "attempt" : "attempts"}` : ""}${r.changed ? `, last changed ${r.changed} UTC` : ""}${record ? `; record ${record.recordId}` : ""}`)];
    if (failure) parts.push(h("p", { class: "message" }, [failure.class, failure.http && "HTTP " + failure.http, failure.code, failure.message].filter(Boolean).join(" · ")));
    if (record?.held) parts.push(h("p", { class: "message" }, "Not sent: " + record.held));
    if (r.repairs) parts.push(h("p", {}, "Repaired: " + r.repairs));
    parts.push(h("div", { class: "pair" },
      h("div", {}, h("h4", {}, "The staged row"), h("dl", { class: "facts" }, columns.map((c, i) => h("div", {}, h("dt", {}, c), h("dd", {}, cell(r.values[i])))))),
      h("div", {}, h("h4", {}, "What is sent for it"), unsent ? h("p", {}, "Cannot be shown now: " + unsent) : null,
        (record?.requests || []).map((q) => [h("p", { class: "quiet" }, `${q.pass}: ${q.method} ${q.path}`), h("pre", { tabindex: 0 }, JSON.stringify(q.body, null, 2))]))));
    box.replaceChildren(...parts);
    box.hidden = false;
    box.focus();
  } catch (e) {
    box.hidden = false;
    box.replaceChildren(h("h3", { id: "record-title" }, `${name} ${key}`), h("p", { role: "alert" }, e.message));
  }
}
