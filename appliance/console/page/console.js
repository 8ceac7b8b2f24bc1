// The page: what comes in, which view is shown, and what is said aloud.
import { byId, h, put } from "./element.js";
import { me, comeIn, newLink, leave } from "./api.js";
import { percent, when } from "./words.js";
import * as overview from "./overview.js";
import * as tables from "./tables.js";
import * as errors from "./errors.js";
import * as graph from "./graph.js";
import * as records from "./records.js";
import * as sql from "./sql.js";
import * as snapshots from "./snapshots.js";
import * as runs from "./runs.js";
import * as guide from "./guide.js";

// A view has start(), once; show(rest of the address), when it is gone to; and
// update(state), each second while it is seen. Each may be missing.
const views = { overview, tables, errors, graph, records, sql, snapshots, runs, guide };
let current = "";
let state = null;

function go() {
  const [name, ...rest] = decodeURIComponent(location.hash.slice(1)).split("/");
  const wanted = views[name] ? name : "overview";
  const moved = wanted !== current;
  current = wanted;
  for (const id of Object.keys(views)) byId(id).hidden = id !== current;
  for (const link of byId("views").children) {
    if (link.getAttribute("href") === "#" + current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  views[current].show?.(rest, state);
  if (state) views[current].update?.(state);
  if (moved && document.activeElement?.closest("nav")) scrollTo(0, 0);
}

// condition says in a word or two how the load does, and in which colour.
function condition(s) {
  if (s.fault) return ["cannot be seen", "bad"];
  if (!s.process) return ["nothing runs", "still"];
  if (!s.live || s.live.ended) return [s.process.command + " runs", "good"];
  if (s.live.paused) return ["paused", "warn"];
  if (s.live.wait_seconds > 0) return ["throttled", "warn"];
  if (s.live.total.idle_seconds > 60) return ["nothing moves", "bad"];
  if (s.pulse?.stopAfter) return ["stops after this step", "warn"];
  return [s.live.phase + " runs", "good"];
}

const announced = { condition: "", tenth: 0, failed: 0 };

// announce says aloud what matters, and nothing every second.
function announce(s, word) {
  const parts = [];
  if (word !== announced.condition) parts.push(word);
  const loaded = s.summary.processed + s.summary.success;
  const tenth = s.summary.source ? Math.floor((10 * loaded) / s.summary.source) : 0;
  if (tenth > announced.tenth && announced.condition) parts.push(percent(loaded, s.summary.source) + " loaded");
  if (s.summary.error > 2 * announced.failed && announced.condition) parts.push(`${s.summary.error} records have failed`);
  Object.assign(announced, { condition: word, tenth, failed: Math.max(announced.failed, s.summary.error) });
  if (parts.length) put(byId("announcer"), parts.join(", "));
}

function take(s) {
  state = s;
  if (s.project) put(byId("project"), s.project);
  put(byId("target"), [s.target, s.plan, s.process && `${s.process.command} on ${s.process.host}, process ${s.process.pid}, since ${when(s.process.since)}`].filter(Boolean).join(" · "));
  const [word, colour] = condition(s);
  put(byId("condition"), word);
  byId("condition").dataset.colour = colour;
  trouble(s.fault || "");
  if (s.fault && !s.project) return;
  document.title = `${percent(s.summary.processed + s.summary.success, s.summary.source)} · ${s.project}`;
  announce(s, word);
  views[current].update?.(s);
}

export function trouble(text) {
  const box = byId("trouble");
  put(box, text);
  box.hidden = !text;
}

let source = null;
let lost = 0;

function listen() {
  source = new EventSource("/events");
  source.addEventListener("state", (e) => {
    lost = 0;
    take(JSON.parse(e.data));
  });
  source.addEventListener("end", () => {
    source.close();
    away("The console was stopped, as it ends with the load or by Ctrl-C; this is how things stood. Start it again with dvmigrate serve, and open the link that it prints.");
  });
  source.addEventListener("error", async () => {
    lost ||= Date.now();
    away(`No connection since ${when(lost, true)}; trying again.`);
    if (source.readyState === EventSource.CLOSED) await comeIn().then(() => setTimeout(listen, 3000), () => {});
  });
}

// out is what happens when the console does not know this browser any more, as when it was
// started again.
function out() {
  source?.close();
  away("This browser is not let in any more, as when the console was started again. Open a new link of it.");
}

function away(text) {
  trouble(text);
  put(byId("condition"), "not connected");
  byId("condition").dataset.colour = "bad";
}

async function makeLink(role) {
  const box = byId("made-link");
  box.hidden = false;
  try {
    const { link, minutes } = await newLink(role);
    box.replaceChildren(h("span", {}, `For one browser, once, within ${minutes} minutes: `), h("code", { tabindex: 0 }, link));
  } catch (e) {
    put(box, e.message);
  }
}

async function start() {
  await comeIn();
  document.body.dataset.role = me.role;
  put(byId("role"), me.role === "operator" ? "You look, and may act." : "You look; actions need the operator's link.");
  byId("new-operator-link").hidden = me.role !== "operator";
  byId("new-link").addEventListener("click", () => makeLink("viewer"));
  byId("new-operator-link").addEventListener("click", () => makeLink("operator"));
  byId("leave").addEventListener("click", async () => { await leave(); location.replace("/enter"); });
  for (const view of Object.values(views)) view.start?.();
  addEventListener("hashchange", go);
  document.addEventListener("out", out);
  go();
  listen();
}

start().catch((e) => trouble(e.message));
