// Making and changing elements. Whatever came over the network is set as text
// (textContent), never as HTML. What is the same already is left alone: a screen
// reader hears of a text only when it differs, and nothing is drawn anew.

export const $ = (id) => document.getElementById(id);

export function make(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

export function makeSVG(tag, attributes) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const name in attributes) e.setAttribute(name, attributes[name]);
  return e;
}

export function makeButton(className, text) {
  const e = make("button", className, text);
  e.type = "button";
  return e;
}

export function setText(e, text) {
  text = String(text);
  if (e.textContent !== text) e.textContent = text;
}

export function setAttr(e, name, value) {
  value = String(value);
  if (e.getAttribute(name) !== value) e.setAttribute(name, value);
}

// setPart sets a length as a percentage of the whole.
export function setPart(e, property, part) {
  const text = (100 * Math.min(1, part)).toFixed(1) + "%";
  if (e.dataset.part === text) return;
  e.dataset.part = text;
  e.style[property] = text;
}

// children makes a table body, or a list, have n children, and returns them.
export function children(parent, n, create) {
  while (parent.children.length > n) parent.lastElementChild.remove();
  while (parent.children.length < n) parent.append(create());
  return parent.children;
}

// The roles keep a table a table where the layout makes blocks of its rows.
export function makeRow() {
  const e = make("tr");
  e.setAttribute("role", "row");
  return e;
}

export function makeCell(tag, className, label) {
  const e = make(tag, className);
  if (tag === "th") { e.scope = "row"; e.setAttribute("role", "rowheader"); } else e.setAttribute("role", "cell");
  if (label) e.dataset.label = label;
  return e;
}

const short = 60; // characters that need no cut

// setCut shows a text: a long one as one line, and all of it on demand.
export function setCut(e, text) {
  if (e.dataset.whole === text) return;
  e.dataset.whole = text;
  if (text.length <= short) { e.replaceChildren(text); return; }
  const cut = make("details", "cut");
  cut.append(make("summary", "", text));
  e.replaceChildren(cut);
}

// steps is the path of numbers as an area with steps, the newest at the right edge.
export function steps(numbers, width, height, top) {
  if (numbers.length === 0) return "";
  let x = width - numbers.length, d = "M" + x + " " + (height + 2);
  for (const n of numbers) {
    const y = (height - (height - 2) * Math.min(1, n / top)).toFixed(2);
    d += "V" + y + "H" + (++x);
  }
  return d + "V" + (height + 2) + "Z";
}
