// The snapshots that a restore could begin from.
import { byId, put, row, table } from "./element.js";
import { ask } from "./api.js";
import { bytes, count, duration, when } from "./words.js";

export async function show() {
  const said = byId("snapshot-said");
  put(said, "looking …");
  try {
    const { folder, every, snapshots } = await ask("snapshots");
    const list = (snapshots || []).slice().sort((a, b) => new Date(b.time) - new Date(a.time));
    put(said, `${count(list.length)} in ${folder}; ` + (every > 0 ? `while it loads one is taken every ${duration(every)}` : "a load takes none by itself") +
      (list.length ? `; the newest is ${duration((Date.now() - new Date(list[0].time)) / 1000)} old.` : "."));
    byId("snapshot-list").replaceChildren(table("Snapshots, the newest first", ["taken", "id", { number: "whole" }, { number: "new in the folder" }, { number: "processed then" }, "check"],
      list.map((x) => row([when(x.time, true), x.id, { number: x.size ? bytes(x.size) : "–" }, { number: bytes(x.added) },
        { number: x.summary ? `${count(x.summary.processed)} of ${count(x.summary.source)}` : "–" },
        x.fault ? "cannot be restored: " + x.fault : x.locked ? "encrypted, its key is not here" : "in order" + (x.encrypted ? ", encrypted" : "")], true))));
  } catch (e) {
    put(said, e.message);
    byId("snapshot-list").replaceChildren();
  }
}
