// The tables and how each stands.
import { byId, h, list, put, row } from "./element.js";
import { bar } from "./bar.js";
import { count } from "./words.js";

let last = null;

export function start() {
  byId("table-filter").addEventListener("input", () => last && update(last));
}

const numbers = ["source", "processed", "success", "inFlight", "unprocessed", "error", "held"];

export function update(s) {
  last = s;
  const part = byId("table-filter").value.trim().toLowerCase();
  const shown = s.tables.filter((t) => t.name.includes(part));
  const total = { name: "total", ...s.summary, next: "" };
  list(byId("table-rows"), shown.length > 1 && !part ? [...shown, total] : shown, (t) => (t === total ? " total" : t.name), make, (tr, t) => {
    bar(tr.children[1].firstChild, t);
    numbers.forEach((name, i) => put(tr.children[2 + i], count(t[name])));
    put(tr.children[9], t.next || "");
    tr.children[7].dataset.bad = t.error > 0;
    tr.title = Object.entries(t.classes || {}).map(([c, n]) => `${count(n)} ${c}`).join(", ");
  });
}

function make(t) {
  const tr = row(["", "", ...numbers.map(() => ({ number: "" })), ""], true);
  const all = t.name === "total" && t.classes === undefined && t.next === "";
  tr.children[0].append(all ? "total" : h("a", { href: "#records/" + encodeURIComponent(t.name) }, t.name));
  tr.children[1].append(h("div", { class: "bar" }));
  tr.children[1].className = "bar-column";
  if (all) tr.className = "total";
  return tr;
}
