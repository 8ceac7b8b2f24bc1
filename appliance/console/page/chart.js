// Line charts over time, as SVG. Pointer and arrow keys read single moments.
import { h, s, put } from "./element.js";
import { when } from "./words.js";

const height = 170, bottom = 18, top = 8;

// nice is a round number at or above v, for the top of an axis.
function nice(v) {
  if (v <= 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(v));
  return [1, 2, 2.5, 5, 10].map((m) => m * unit).find((m) => m >= v);
}

// Chart shows some lines: {name, class, of(sample), say(value)}; those with share: true
// have an axis of their own from 0 to 1.
export class Chart {
  constructor(figure, title, lines) {
    this.lines = lines;
    this.title = title;
    this.readout = h("p", { class: "readout", "aria-live": "off" });
    this.svg = s("svg", { role: "img", tabindex: 0, class: "chart", height });
    figure.replaceChildren(h("figcaption", {}, title), this.readout, this.svg,
      h("ul", { class: "legend small" }, lines.map((l) => h("li", { class: "line-" + l.class }, l.name))));
    this.svg.addEventListener("pointermove", (e) => this.point((e.clientX - this.svg.getBoundingClientRect().left) / this.svg.clientWidth));
    this.svg.addEventListener("pointerleave", () => this.read(null));
    this.svg.addEventListener("blur", () => this.read(null));
    this.svg.addEventListener("keydown", (e) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[e.key];
      if (!step || !this.samples) return;
      e.preventDefault();
      const last = this.samples.length - 1;
      this.read(Math.min(Math.max((this.at ?? last) + step, 0), last));
    });
    this.draw({ samples: [], stepSeconds: 1, began: 0 });
    new ResizeObserver(() => this.draw(this.history)).observe(this.svg); // letters keep their size
  }

  draw(history) {
    const samples = this.samples = history.samples;
    this.history = history;
    const width = this.svg.clientWidth || 400;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const n = Math.max(samples.length - 1, 1);
    const x = (i) => (width * i) / n;
    const most = nice(Math.max(...samples.map((v) => Math.max(...this.lines.map((l) => (l.share ? 0 : l.of(v))))), 0));
    const y = (l, v) => top + (height - top - bottom) * (1 - Math.min(Math.max(v / (l.share ? 1 : most), 0), 1));
    const grid = [0, 0.5, 1].map((g) => {
      const at = top + (height - top - bottom) * (1 - g);
      return [s("line", { x1: 0, x2: width, y1: at, y2: at, class: "grid" }),
        g > 0 ? s("text", { x: 2, y: at - 3 + (g === 1 ? 14 : 0), class: "axis halo" }, this.lines[0].say(most * g)) : null];
    });
    const paths = this.lines.map((l) => {
      const path = samples.map((v, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(l, l.of(v)).toFixed(1)}`).join("");
      return s("path", { d: path || "M0 0", class: "line line-" + l.class });
    });
    const time = (i) => new Date(new Date(history.began).getTime() + i * history.stepSeconds * 1000);
    this.time = time;
    this.mark = s("line", { y1: top, y2: height - bottom, class: "mark", visibility: "hidden" });
    this.x = x;
    const labels = samples.length > 1 ? [s("text", { x: 0, y: height - 4, class: "axis" }, when(time(0))),
      s("text", { x: width, y: height - 4, class: "axis end" }, when(time(samples.length - 1)))] : [s("text", { x: width / 2, y: height / 2, class: "axis middle" }, "nothing measured yet")];
    this.svg.replaceChildren(...grid.map(([line]) => line), ...paths, ...grid.map(([, text]) => text).filter(Boolean), ...labels, this.mark);
    const last = samples[samples.length - 1];
    this.svg.setAttribute("aria-label", last ? `${this.title}: now ${this.say(last)}; at most ${this.lines[0].say(Math.max(...samples.map(this.lines[0].of)))} since ${when(time(0))}. Arrow keys read single moments.` : `${this.title}: nothing measured yet`);
    this.read(this.at !== undefined && this.at !== null && this.at < samples.length ? this.at : null);
  }

  say(sample) {
    return this.lines.map((l) => `${l.name} ${l.say(l.of(sample))}`).join(", ");
  }

  point(share) {
    if (this.samples.length > 1) this.read(Math.round(Math.min(Math.max(share, 0), 1) * (this.samples.length - 1)));
  }

  // read shows one moment; null is the newest.
  read(at) {
    this.at = at;
    const i = at ?? this.samples.length - 1;
    const sample = this.samples[i];
    put(this.readout, sample ? (at === null ? "" : when(this.time(i), true) + ": ") + this.say(sample) : "");
    this.readout.setAttribute("aria-live", at === null ? "off" : "polite");
    this.mark.setAttribute("visibility", at === null ? "hidden" : "visible");
    if (at !== null) {
      this.mark.setAttribute("x1", this.x(i));
      this.mark.setAttribute("x2", this.x(i));
    }
  }
}
