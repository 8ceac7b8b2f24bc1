// Which table waits for which, from left to right, with how far each is.
import { byId, h, s, put } from "./element.js";
import { ask } from "./api.js";
import { count, percent, states } from "./words.js";

const wide = 190, tall = 50, gapX = 70, gapY = 18;
let nodes = new Map(); // table → its drawing
let last = null;

export async function show(_, state) {
  last = state || last;
  if (nodes.size) return;
  try {
    draw(await ask("graph"));
    if (last) update(last);
  } catch (e) {
    put(byId("graph-drawing"), e.message);
  }
}

// layers puts each table right of all those it waits for.
function layers(names, edges) {
  const layer = new Map(names.map((n) => [n, 0]));
  const hard = edges.filter((e) => !e.deferred && e.from !== e.to);
  for (let round = 0, moved = true; moved && round < names.length; round++) {
    moved = false;
    for (const e of hard) {
      if (layer.get(e.from) <= layer.get(e.to)) {
        layer.set(e.from, layer.get(e.to) + 1);
        moved = true;
      }
    }
  }
  const columns = [];
  for (const n of names) (columns[layer.get(n)] ||= []).push(n);
  return columns.filter(Boolean);
}

function draw(g) {
  const names = [...new Set(g.steps.map((x) => x.table))];
  const columns = layers(names, g.edges);
  const at = new Map();
  columns.forEach((column, x) => {
    const parents = (n) => g.edges.filter((e) => e.from === n && at.has(e.to)).map((e) => at.get(e.to).y);
    const mean = (n) => { const p = parents(n); return p.length ? p.reduce((a, b) => a + b, 0) / p.length : 0; };
    column.sort((a, b) => mean(a) - mean(b)).forEach((n, y) => at.set(n, { x: x * (wide + gapX) + 4, y: y * (tall + gapY) + 4 }));
  });
  const width = columns.length * (wide + gapX) - gapX + 8;
  const height = Math.max(...columns.map((c) => c.length)) * (tall + gapY) + 8;
  const pairs = new Map(); // several lookups between two tables are one line
  for (const e of g.edges) {
    if (e.from === e.to) continue;
    const key = e.from + ">" + e.to, other = pairs.get(key);
    pairs.set(key, { ...e, deferred: e.deferred && (!other || other.deferred), columns: [...(other?.columns || []), e.column] });
  }
  const lines = [...pairs.values()].map((e) => {
    const a = at.get(e.to), b = at.get(e.from);
    if (!a || !b) return null;
    const right = a.x < b.x, x1 = right ? a.x + wide : a.x + wide / 2, y1 = right ? a.y + tall / 2 : a.y + tall, x2 = right ? b.x : b.x + wide / 2, y2 = right ? b.y + tall / 2 : b.y;
    const bend = Math.max(Math.abs(x2 - x1) / 2, 30);
    const path = right ? `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2 - 6} ${y2}` : `M${a.x + wide} ${a.y + tall / 2}C${a.x + wide + 50} ${a.y + tall / 2} ${b.x + wide + 50} ${b.y + tall / 2} ${b.x + wide + 6} ${b.y + tall / 2}`;
    return s("path", { d: path, class: e.deferred ? "edge deferred" : "edge", "marker-end": "url(#arrow)" }, s("title", {}, `${e.from}.${e.columns.join(", ")} points to ${e.to}`));
  });
  nodes = new Map(names.map((n) => {
    const { x, y } = at.get(n);
    const rects = states.map(([name]) => s("rect", { x: x + 8, y: y + 32, width: 0, height: 8, class: "state-" + name }));
    const text = s("text", { x: x + wide - 8, y: y + 20, class: "node-share" });
    const self = g.edges.some((e) => e.from === n && e.to === n) ? " ↻" : "";
    const label = s("title", {});
    const node = s("a", { href: "#records/" + encodeURIComponent(n), class: "node" }, label, s("rect", { x, y, width: wide, height: tall, rx: 6, class: "box" }),
      s("text", { x: x + 8, y: y + 20 }, (n.length > 16 ? n.slice(0, 15) + "…" : n) + self), text, rects);
    return [n, { node, text, rects, label, x }];
  }));
  byId("graph-drawing").replaceChildren(s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "Tables in the order in which they are loaded" },
    s("defs", {}, s("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 6, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, s("path", { d: "M0 0L8 4L0 8z", class: "arrow" }))),
    lines.filter(Boolean), [...nodes.values()].map((n) => n.node)));
  byId("graph-words").replaceChildren(...g.steps.map((x) => h("li", {}, `${x.table} (${x.pass}): ${x.reason}`)));
}

export function update(state) {
  last = state;
  for (const t of state.tables) {
    const n = nodes.get(t.name);
    if (!n) continue;
    let x = n.x + 8;
    states.forEach(([name], i) => {
      const width = t.source ? ((wide - 16) * t[name]) / t.source : 0;
      n.rects[i].setAttribute("x", x.toFixed(1));
      n.rects[i].setAttribute("width", width.toFixed(1));
      x += width;
    });
    put(n.text, percent(t.processed + t.success, t.source));
    put(n.label, `${t.name}: ${percent(t.processed + t.success, t.source)} of ${count(t.source)} records loaded, ${count(t.error)} failed, ${count(t.held)} held back`);
    n.node.dataset.running = Boolean(state.live?.tables.some((x2) => x2.table === t.name && x2.state === "running"));
  }
}
