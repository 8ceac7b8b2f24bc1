// The user guide: pages of Markdown, as far as they use it.
import { byId, h, put } from "./element.js";
import { get } from "./api.js";

export async function show([name]) {
  const nav = byId("guide-pages");
  try {
    if (!nav.firstChild) {
      const pages = await get("/api/guide");
      nav.replaceChildren(...pages.map((p) => h("a", { href: "#guide/" + p.name }, p.title)));
    }
    const wanted = name || "console";
    const page = await get("/api/guide/" + encodeURIComponent(wanted));
    for (const link of nav.children) {
      if (link.getAttribute("href") === "#guide/" + wanted) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    byId("guide-text").replaceChildren(...blocks(page.text));
    if (name) byId("guide-text").focus();
  } catch (e) {
    put(byId("guide-text"), e.message);
  }
}

// inline makes code, bold and links of other pages.
function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
    const page = part.match(/^`dvmigrate guide ([a-z-]+)`$/);
    if (page) return h("a", { href: "#guide/" + page[1] }, h("code", {}, part.slice(1, -1)));
    if (part.startsWith("`") && part.length > 2) return h("code", {}, part.slice(1, -1));
    if (part.startsWith("**") && part.length > 4) return h("strong", {}, inline(part.slice(2, -2)));
    return part;
  });
}

const cellsOf = (line) => line.replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((c) => c.trim().replace(/\\\|/g, "|"));

// blocks makes headings, code, tables, lists and paragraphs.
function blocks(text) {
  const lines = text.split("\n"), out = [];
  for (let i = 0; i < lines.length;) {
    const line = lines[i], heading = line.match(/^(#+) (.*)/);
    const take = (test) => { const from = i; while (i < lines.length && test(lines[i])) i++; return lines.slice(from, i); };
    if (!line.trim()) i++;
    else if (heading) { out.push(h("h" + Math.min(heading[1].length + 2, 6), {}, inline(heading[2]))); i++; }
    else if (line.startsWith("```")) { i++; const code = take((l) => !l.startsWith("```")); i++; out.push(h("pre", { tabindex: 0 }, code.join("\n"))); }
    else if (line.startsWith("    ")) out.push(h("pre", { tabindex: 0 }, take((l) => l.startsWith("    ") || !l.trim()).join("\n").replace(/^ {4}/gm, "").trimEnd()));
    else if (line.startsWith("|")) {
      const [head, , ...rows] = take((l) => l.startsWith("|")).map(cellsOf);
      out.push(h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table" }, h("table", {}, h("thead", {}, h("tr", {}, head.map((c) => h("th", { scope: "col" }, inline(c))))), h("tbody", {}, rows.map((r) => h("tr", {}, r.map((c) => h("td", {}, inline(c)))))))));
    } else if (/^(-|\d+\.) /.test(line)) {
      const items = take((l) => /^(-|\d+\.) /.test(l) || /^ {2,}\S/.test(l)).reduce((all, l) => { if (/^(-|\d+\.) /.test(l)) all.push(l.replace(/^(-|\d+\.) /, "")); else all[all.length - 1] += " " + l.trim(); return all; }, []);
      out.push(h(/^\d/.test(line) ? "ol" : "ul", {}, items.map((t) => h("li", {}, inline(t)))));
    } else out.push(h("p", {}, inline(take((l) => l.trim() && !/^(#+ |\||```|    |- |\d+\. )/.test(l)).join(" ") || lines[i++])));
  }
  return out;
}
