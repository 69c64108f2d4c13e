// Elements and texts. Whatever comes from the API becomes a text node or an attribute value, never markup.

const SVG = "http://www.w3.org/2000/svg";

export const html = (tag, attributes, ...children) => filled(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(typeof child === "object" ? child : String(child));
  }
  return element;
}

// What a state looks like: a tone for its colour and a sign, so that it is told by more than colour.
const SIGNS = { done: "✓", run: "▶", wait: "○", date: "◷", hold: "‖", retry: "↻", bad: "✕", off: "↷", ice: "✱" };
const TONES = {
  Completed: "done", completed: "done", Running: "run", Ready: "run", inProgress: "run", "In Progress": "run",
  Pending: "wait", pending: "wait", acknowledged: "wait", Scheduled: "date", "On Hold": "hold", held: "hold", Held: "hold",
  Failed: "retry", "Fatally Failed": "bad", failed: "bad", rejected: "bad",
  Skipped: "off", Cancelled: "off", cancelled: "off", Discarded: "off", "Failed Discarded": "off",
};

export function look(state) {
  const tone = TONES[state] ?? (String(state).startsWith("Fro") || String(state).startsWith("Fre") ? "ice" : "wait");
  return { tone, text: `${SIGNS[tone]} ${state ?? "unknown"}` };
}

export function badge(state) {
  const { tone, text } = look(state);
  return html("span", { class: "badge", "data-tone": tone }, text);
}

const CLOCK = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });
const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

export function span(seconds) {
  const [unit, size] = UNITS.find(([, each]) => Math.abs(seconds) >= each) ?? UNITS[3];
  return `${Math.round(seconds / size)} ${unit}`;
}

// How long ago or ahead an instant is; `tick` keeps all of them right.
function age(text) {
  const ago = (Date.now() - new Date(text)) / 1000;
  return ago < 0 ? `in ${span(-ago)}` : `${span(ago)} ago`;
}

export const ago = (text) => html("time", { datetime: text, title: CLOCK.format(new Date(text)), "data-age": true }, age(text));

// An instant as people read it: local time, and how long ago or ahead.
export function instant(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? String(text) : html("span", {}, CLOCK.format(at), " (", ago(text), ")");
}

export function tick() {
  for (const each of document.querySelectorAll("time[data-age]")) each.textContent = age(each.dateTime);
}

const WHEN = /^\d{4}-\d\d-\d\dT\d\d:\d\d/;
export const orderLink = (orderId, text) => html("a", { href: `/status?order=${encodeURIComponent(orderId)}` }, text ?? orderId);

// A value of the API, whatever it is.
export function shown(value, name) {
  if (value === null || value === undefined || value === "") return "–";
  if (name === "orderId") return orderLink(value);
  if (name === "state") return badge(value);
  if (name === "pLate" && typeof value === "number") return `${Math.round(value * 100)} %`;
  if (typeof value === "string" && WHEN.test(value)) return instant(value);
  if (Array.isArray(value)) return value.length ? html("ul", { class: "plain" }, value.map((each) => html("li", {}, shown(each)))) : "–";
  if (typeof value === "object") return Object.entries(value).map(([key, each], at) => [at ? ", " : "", `${key}: `, shown(each, key)]);
  return String(value);
}

// Rows as a table; `columns` maps members to headings, members that only some rows have are welcome.
export function table(caption, columns, rows) {
  return html("div", { class: "scroll" }, html("table", {},
    html("caption", {}, caption),
    html("thead", {}, html("tr", {}, Object.values(columns).map((heading) => html("th", { scope: "col" }, heading)))),
    html("tbody", {}, rows.map((row) => html("tr", {}, Object.keys(columns).map((name) => html("td", {}, shown(row[name], name))))))));
}
