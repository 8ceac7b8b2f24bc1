// The runs of the loader so far.
import { byId, list, put, row } from "./element.js";
import { count, duration, when } from "./words.js";

export function update(s) {
  list(byId("run-rows"), s.runs, (r) => r.start, () => row(["", "", { number: "" }, { number: "" }, ""], true), (tr, r, i) => {
    const running = !r.end && s.live && s.runs[0] === r;
    const end = r.end ? new Date(r.end) : running ? new Date() : null;
    [when(r.start, true), end ? duration((end - new Date(r.start)) / 1000) : "–", running ? count(s.live.total.done + s.live.total.failed) : count(r.records), running ? count(s.live.total.failed) : count(r.failed),
      running ? "is running" : r.end ? r.note || "" : "was killed; the next load looks up what was in flight"].forEach((text, k) => put(tr.children[k], text));
  });
}
