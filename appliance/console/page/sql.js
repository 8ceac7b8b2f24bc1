// The box for a SELECT.
import { byId, h, put, row, table } from "./element.js";
import { ask } from "./api.js";
import { count, duration } from "./words.js";

export function start() {
  byId("sql-form").addEventListener("submit", (e) => { e.preventDefault(); run(); });
  byId("sql-text").addEventListener("keydown", (e) => {
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) { e.preventDefault(); run(); }
  });
}

// cell is a value of an answer.
export const cell = (v) => (v === null ? h("i", { class: "quiet" }, "NULL") : v);

async function run() {
  const said = byId("sql-said"), answer = byId("sql-answer");
  put(said, "running …");
  try {
    const a = await ask("sql", { sql: byId("sql-text").value, limit: 500 });
    put(said, `${count(a.rows.length)} rows${a.more ? " of more" : ""}, ${duration(a.seconds)}`);
    answer.hidden = false;
    answer.replaceChildren(table("Answer", a.columns, a.rows.map((r) => row(r.map(cell)))));
  } catch (e) {
    put(said, "");
    answer.hidden = false;
    answer.replaceChildren(h("p", { class: "message", role: "alert" }, e.message));
  }
}
