// Elements of the page, made and kept up to date.

const svgSpace = "http://www.w3.org/2000/svg";

function made(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== ""));
  return node;
}

// h makes an element of HTML, s one of SVG.
export const h = (tag, attributes, ...children) => made(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => made(document.createElementNS(svgSpace, tag), attributes, children);

export const byId = (id) => document.getElementById(id);

// put sets a text where it is another one, so that nothing is read out twice.
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// list keeps the children of a parent in step with items: make is called for a new one,
// update for each. Focus and selection stay where they are.
export function list(parent, items, keyOf, make, update) {
  const there = new Map([...parent.children].map((c) => [c.dataset.key, c]));
  let at = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let child = there.get(key);
    if (!child) {
      child = make(item);
      child.dataset.key = key;
    }
    there.delete(key);
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
    update(child, item);
  }
  for (const gone of there.values()) gone.remove();
}

// cells makes a row of a table; a cell is a text, or a number to be set right.
export function row(cells, head) {
  return h("tr", {}, cells.map((c, i) => {
    const number = c && c.number !== undefined;
    return h(head && i === 0 ? "th" : "td", { class: number ? "number" : null, scope: head && i === 0 ? "row" : null },
      number ? c.number : c);
  }));
}

// table makes a whole table.
export function table(caption, columns, rows) {
  return h("table", {}, h("caption", { class: "unseen" }, caption),
    h("thead", {}, h("tr", {}, columns.map((c) => h("th", { scope: "col", class: c.number ? "number" : null }, c.number || c)))),
    h("tbody", {}, rows));
}
