// The first view: how the load does, what sets its pace, and the operator's buttons.
import { byId, h, put, list, row } from "./element.js";
import { ask, act, me } from "./api.js";
import { bar } from "./bar.js";
import { Chart } from "./chart.js";
import { count, percent, perSecond, duration, bytes, when, states } from "./words.js";

let charts = [];
let fetched = 0;
let last = null;
let ran = false; // a load, while this page was open

export function start() {
  charts = [
    new Chart(byId("chart-rate"), "Records a second", [
      { name: "taken", class: "good", of: (v) => v.records, say: perSecond },
      { name: "refused", class: "bad", of: (v) => v.failed, say: perSecond }]),
    new Chart(byId("chart-latency"), "Time of an answer", [
      { name: "one in twenty takes longer than", class: "warn", of: (v) => v.slow, say: duration },
      { name: "mean", class: "good", of: (v) => v.latency, say: duration }]),
    new Chart(byId("chart-pace"), "Requests at once", [
      { name: "under way", class: "good", of: (v) => v.inFlight, say: (v) => v.toFixed(v < 10 ? 1 : 0) },
      { name: "time held off by the service", class: "bad", share: true, of: (v) => v.throttled, say: share },
      { name: "processor busy", class: "still", share: true, of: (v) => Math.max(v.cpu, 0), say: share }]),
  ];
  byId("controls").hidden = me.role !== "operator";
  const on = (id, fn) => byId(id).addEventListener("click", fn);
  on("pause", () => steer(last?.live?.paused ? "resume" : "pause"));
  on("fewer", () => bound(-1));
  on("more", () => bound(1));
  on("stop-after", () => steer(last?.pulse?.stopAfter ? "keep-on" : "stop-after"));
  on("stop", async () => { if (await sure("Stop the load now? What is under way is settled first; dvmigrate load goes on later.")) steer("stop"); });
  on("retry", () => steer("retry"));
  on("snapshot", () => steer("snapshot"));
}

export function sure(text) {
  put(byId("sure-text"), text);
  const box = byId("sure");
  box.returnValue = "no";
  box.showModal();
  return new Promise((done) => box.addEventListener("close", () => done(box.returnValue === "yes"), { once: true }));
}

export async function steer(action, more, said = byId("said")) {
  put(said, "…");
  try {
    put(said, await act(action, more));
  } catch (e) {
    put(said, "Not done: " + e.message);
  }
}

// bound makes it a quarter fewer or more.
function bound(direction) {
  if (!last?.pulse?.bound) return;
  const step = Math.max(1, Math.round(last.pulse.bound / 4));
  const n = Math.min(Math.max(last.pulse.bound + direction * step, 1), last.pulse.most);
  steer("parallel", { parallel: n });
}

const share = (v) => (100 * v).toFixed(0) + " %";

export function update(s) {
  last = s;
  const c = s.summary;
  put(byId("percent"), percent(c.processed + c.success, c.source));
  bar(byId("total-bar"), c);
  list(byId("legend"), states, ([name]) => name, ([name]) => h("li", { class: "key-" + name }), (li, [name, word]) => put(li, `${count(c[name])} ${word}`));
  finish(s);
  const runs = Boolean(s.live && s.pulse?.users);
  ran ||= runs;
  byId("overview").dataset.idle = !ran; // then there is nothing to show of a load
  put(byId("bottleneck"), s.pulse?.bottleneck ? "What sets the pace: " + s.pulse.bottleneck + "." : "");
  controls(s, runs);
  tiles(s, runs);
  steps(s);
  users(s, runs);
  machine(s.pulse?.machine);
  if (s.live) events(s.live.events);
  history(runs);
}

function finish(s) {
  const c = s.summary;
  const open = c.unprocessed + c.success + c.inFlight;
  const t = s.live?.total;
  const left = t?.left_seconds >= 0 ? t.left_seconds : s.left ?? null;
  const wide = t?.left_seconds >= 0 && t.left_high_seconds > 1.15 * t.left_low_seconds; // else the range says no more
  let text = "";
  if (!c.source) text = "Nothing is staged yet, or nothing is to be done.";
  else if (!open) text = c.error + c.held ? "All is sent; some records failed or are held back." : "All is done.";
  else if (!s.live) text = `${count(open)} records are left; no load is running.`;
  else if (s.live.paused) text = `Paused; ${count(open)} records are left.`;
  else if (left !== null) text = `Ends in about ${duration(left)}${wide ? ` (${duration(t.left_low_seconds)} to ${duration(t.left_high_seconds)})` : ""}, ${when(Date.now() + left * 1000)}.`;
  else text = `${count(open)} records are left; the time is being measured.`;
  put(byId("finish"), text);
  let due = "";
  if (s.due && open) {
    due = `The planned window ends ${when(s.due)}`;
    if (left !== null && s.live && !s.live.paused) {
      const spare = new Date(s.due).getTime() - Date.now() - left * 1000;
      due += spare >= 0 ? `: ${duration(spare / 1000)} to spare.` : `: ${duration(-spare / 1000)} too late.`;
      byId("window").dataset.late = spare < 0;
    } else due += ".";
  }
  put(byId("window"), due);
}

function controls(s, runs) {
  for (const id of ["pause", "fewer", "more", "stop-after", "stop"]) byId(id).disabled = !runs;
  put(byId("pause"), s.live?.paused ? "Go on" : "Pause");
  put(byId("stop-after"), s.pulse?.stopAfter ? "Do not stop after this step" : "Stop after this step");
  put(byId("bound"), runs ? `${s.pulse.bound} of ${s.pulse.most} at once` : "–");
  byId("fewer").disabled ||= s.pulse?.bound <= 1;
  byId("more").disabled ||= s.pulse?.bound >= s.pulse?.most;
}

function tiles(s, runs) {
  const t = s.live?.total;
  const under = (s.pulse?.users || []).reduce((n, u) => n + u.inFlight, 0);
  const items = [
    ["records a second", runs ? perSecond(t.rate) : "–", runs ? `${perSecond(t.average)} on average` : ""],
    ["requests a second", runs ? perSecond(s.pulse.requests) : "–", runs ? `${under} under way` : ""],
    ["time of an answer", runs && s.pulse.latency ? duration(s.pulse.latency) : "–", runs && s.pulse.slow ? `1 in 20 over ${duration(s.pulse.slow)}` : ""],
    ["held off by the service", runs ? duration(t.throttled_seconds) : "–", runs ? `${count((s.pulse.users || []).reduce((n, u) => n + Object.values(u.throttled).reduce((a, b) => a + b, 0), 0))} requests refused (429)` : ""],
    ["failed", count(s.summary.error), `${count(s.summary.held)} held back`],
    ["this run", runs ? duration(s.live.elapsed_seconds) : "–", runs ? `${count(t.done)} records, ${bytes(s.pulse.bytes)} sent` : ""],
  ];
  list(byId("tiles"), items, ([name]) => name, ([name]) => h("div", { class: "card" }, h("dt", {}, name), h("dd", {}), h("dd", { class: "quiet" })),
    (div, [, value, more]) => { put(div.children[1], value); put(div.children[2], more); });
  byId("tiles").children[4].dataset.bad = s.summary.error > 0;
}

function steps(s) {
  if (!s.live) return;
  const of = (state) => s.live.tables.filter((t) => t.state === state);
  const tables = [...of("running"), ...of("waiting"), ...of("ended").reverse()];
  byId("no-steps").hidden = tables.length > 0;
  list(byId("steps"), tables.slice(0, 200), (t) => t.table + " " + t.pass,
    () => row(["", { number: "" }, { number: "" }, { number: "" }, { number: "" }, { number: "" }], true),
    (tr, t) => {
      const running = t.state === "running";
      tr.dataset.state = t.state;
      const texts = [t.pass === "insert" ? t.table : `${t.table} (${t.pass})`, count(t.done + t.failed + t.held + t.skipped), count(t.total),
        perSecond(running ? t.rate : t.average), count(t.failed), running && t.left_seconds >= 0 ? duration(t.left_seconds) : t.state === "ended" ? "done" : t.state];
      texts.forEach((text, i) => put(tr.children[i], text));
    });
}

function users(s, runs) {
  if (!runs) {
    put(byId("users"), "No load is running.");
    return;
  }
  if (byId("users").firstChild?.nodeType === 3) byId("users").replaceChildren();
  list(byId("users"), s.pulse.users, (u) => u.name, (u) => h("div", { class: "user" }, h("h4", {}, u.name), h("div", {}), h("p", { class: "quiet" })),
    (div, u) => {
      list(div.children[1], u.limits, (l) => l.limit, (l) => h("div", { class: "limit" }, h("span", {}, l.limit), h("meter", { min: 0, max: 1, high: 0.85, low: 0.6, optimum: 0, "aria-label": l.limit }), h("span", { class: "number" })),
        (d, l) => {
          const value = l.most > 0 ? Math.min(l.used / l.most, 1) : 0;
          d.children[1].value = value;
          put(d.children[2], `${count(l.used)} of ${count(l.most)}${l.known ? "" : ", as documented"}`);
        });
      const refused = Object.entries(u.throttled).filter(([, n]) => n > 0).map(([k, n]) => `${count(n)} by ${k}`).join(", ");
      put(div.children[2], [u.away ? "no service answers" : "", u.held > 0 ? `held off for ${duration(u.held)} more` : "", `${count(u.requests)} requests`,
        refused ? "refused: " + refused : "none refused", u.waiting ? `${u.waiting} wait for their turn` : ""].filter(Boolean).join("; "));
    });
}

function machine(m) {
  if (!m) return;
  const facts = [["processor", m.cpu >= 0 ? `${share(m.cpu)} of ${m.cores} cores busy` + (m.own >= 0 ? `, ${m.own.toFixed(1)} by this process` : "") : `${m.cores} cores`]];
  if (m.memory >= 0) facts.push(["memory", `${bytes(m.available)} of ${bytes(m.memory)} to be had, ${bytes(m.ownMemory)} are this process's`]);
  if (m.received >= 0) facts.push(["network", `${bytes(m.received)}/s in, ${bytes(m.sent)}/s out`]);
  for (const d of m.disks) facts.push([`disk of ${d.use}`, d.left < 0 ? "not known" : `${bytes(d.left)} of ${bytes(d.size)} left`]);
  list(byId("machine"), facts, ([name]) => name, ([name]) => h("div", {}, h("dt", {}, name), h("dd", {})), (div, [, text]) => put(div.children[1], text));
}

function events(all) {
  list(byId("events"), all.slice().reverse(), (e) => e.seq, (e) => h("li", { class: "event-" + e.kind }, h("time", { datetime: e.time }, when(e.time, true)), " ", h("span", {})),
    (li, e) => put(li.lastChild, (e.table ? e.table + ": " : "") + e.text + (e.times > 1 ? ` (${count(e.times)} times)` : "")));
}

// history fetches the charts' figures as often as they can have changed to the eye.
async function history(runs) {
  if (!runs || Date.now() < fetched) return;
  fetched = Date.now() + 5000;
  try {
    const of = await ask("history");
    fetched = Date.now() + Math.min(Math.max(of.stepSeconds * 1000, 4000), 30000);
    for (const chart of charts) chart.draw(of);
  } catch {
    // the next one comes soon
  }
}
