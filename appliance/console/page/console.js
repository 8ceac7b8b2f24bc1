const source = new EventSource("/events");
source.addEventListener("state", (e) => {
  const s = JSON.parse(e.data);
  document.getElementById("project").textContent = s.project;
  document.getElementById("said").textContent = s.fault || `${s.summary.processed} of ${s.summary.source} done`;
  const body = document.getElementById("tables");
  body.replaceChildren(...(s.tables || []).map((t) => {
    const row = document.createElement("tr");
    for (const v of [t.name, t.processed, t.source]) row.insertCell().textContent = v;
    return row;
  }));
});
