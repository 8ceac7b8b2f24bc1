// Failures by cause, the largest first.
import { byId, h, list, put } from "./element.js";
import { ask, me } from "./api.js";
import { steer } from "./overview.js";
import { count } from "./words.js";

export function start() {
  byId("error-again").addEventListener("click", look);
  byId("error-table").addEventListener("change", look);
}

export function show(rest, state) {
  if (state) tablesOf(state);
  if (rest[0]) byId("error-table").value = rest[0];
  look();
}

// update keeps the numbers by class, which cost nothing; causes are looked for when asked.
export function update(s) {
  tablesOf(s);
  const all = {};
  for (const t of s.tables) for (const [name, n] of Object.entries(t.classes || {})) all[name] = (all[name] || 0) + n;
  list(byId("error-classes"), Object.entries(all).sort((a, b) => b[1] - a[1]), ([name]) => name, () => h("li"), (li, [name, n]) => put(li, `${name} ${count(n)}`));
}

function tablesOf(s) {
  const select = byId("error-table");
  const names = s.tables.filter((t) => t.error + t.held > 0).map((t) => t.name);
  if ([...select.options].slice(1).map((o) => o.value).join() === names.join()) return;
  const chosen = select.value;
  select.replaceChildren(h("option", { value: "" }, "all"), ...names.map((n) => h("option", { value: n }, n)));
  select.value = names.includes(chosen) ? chosen : "";
}

async function look() {
  const said = byId("error-said");
  put(said, "looking …");
  try {
    const found = await ask("errors", { table: byId("error-table").value });
    put(said, found.total ? `${count(found.total)} records failed or are held back, of ${count(found.groups.length)} causes` : "no record failed or is held back");
    byId("error-groups").replaceChildren(...found.groups.slice(0, 200).map(group),
      ...(found.rejectedLines ? [h("p", { class: "card" }, `${count(found.rejectedLines)} lines of the sources could not be read; the relation dm.rejects has them.`)] : []));
  } catch (e) {
    put(said, e.message);
  }
}

function group(g) {
  const facts = [g.flag === "H" ? "held back" : "failed", g.class, g.code, g.column && "column " + g.column].filter(Boolean).join(" · ");
  const said = h("p", { role: "status" });
  return h("article", { class: "card group" },
    h("h3", {}, `${count(g.records)} of ${g.table}`, g.behind ? h("small", {}, ` and ${count(g.behind)} held back behind them`) : null),
    h("p", { class: "quiet" }, facts),
    h("p", {}, g.cause),
    g.example !== g.cause ? h("details", {}, h("summary", {}, "A whole message"), h("p", { class: "message" }, g.example)) : null,
    h("p", {}, "For example ", g.examples.map((key, i) => [i ? ", " : "", h("a", { href: `#records/${encodeURIComponent(g.table)}/${encodeURIComponent(key)}` }, key)])),
    me.role === "operator" && g.flag === "E" ? h("p", {}, h("button", { type: "button", onclick: () => steer("retry", { tables: [g.table], classes: [g.class] }, said) }, `Retry ${g.table}, ${g.class}`)) : null, said);
}
