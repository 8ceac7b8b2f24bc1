// The bar that shows records by state.
import { s } from "./element.js";
import { states, count, percent } from "./words.js";

// bar draws counts into a parent. What is there at all is at least a sliver, so that one
// failure among millions is seen.
export function bar(parent, c) {
  const key = states.map(([name]) => c[name]).join();
  if (parent.dataset.counts === key) return;
  parent.dataset.counts = key;
  const shares = states.map(([name]) => (c.source > 0 ? c[name] / c.source : 0));
  const widths = shares.map((v) => (v > 0 ? Math.max(v, 0.006) : 0));
  const sum = widths.reduce((a, b) => a + b, 0) || 1;
  let at = 0;
  const parts = states.map(([name], i) => {
    const width = (100 * widths[i]) / sum;
    const part = s("rect", { x: at.toFixed(2), y: 0, width: width.toFixed(2), height: 10, class: "state-" + name });
    at += width;
    return part;
  });
  const text = states.filter(([name]) => c[name] > 0).map(([name, word]) => `${count(c[name])} ${word}`).join(", ");
  parent.replaceChildren(s("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img",
    "aria-label": c.source > 0 ? `${percent(c.processed + c.success, c.source)} loaded: ${text}` : "no records" }, parts));
}
