// The status page: orders on the left; one order, the queues, what failed or what may be late on the right.

import { ordersPath, read, rowsOf, TMF622 } from "./api.js";
import { ago, badge, html, table, tick } from "./dom.js";
import { drawOrder, frontier, readOrder } from "./order.js";

const POLL_MS = 2_000;
const PAGE_SIZE = 25;
const TASKS_MAX = 500;
const STATES = ["acknowledged", "pending", "inProgress", "held", "completed", "rejected", "failed", "partial",
  "assessingCancellation", "pendingCancellation", "cancelled"];
const TABS = { order: "Order", queues: "Queues", fallout: "Fallout", systems: "Systems", risk: "Risk" };
const GROUP = { system: "System", errorCode: "Error", count: "Items", oldest: "Oldest", newest: "Newest", sample: "Example" };
const FAILED = { orderId: "Order", item: "Item", name: "Name", system: "System", errorCode: "Error", error: "Text", attempt: "Attempt", at: "Since" };
const QUEUE = { code: "Queue", name: "Name", open: "Open", held: "In work", free: "Free", oldest: "Oldest", oldestAt: "Oldest", dueNextAt: "Due next", members: "Members" };
const TASK = { name: "Task", queue: "Queue", priority: "Priority", orderId: "Order", skills: "Skills", worker: "In work by", openedAt: "Opened", dueAt: "Due" };
const SYSTEM = { code: "System", takesCalls: "Takes calls", why: "Because", heldItems: "Items On Hold", concurrency: "At once", ratePerS: "A second", updatedAt: "Changed" };
const RISK = { orderId: "Order", pLate: "Late with probability", expectedAt: "Expected", lowAt: "Earliest", highAt: "Latest", dueAt: "Due", reasons: "Because" };

const isNews = (part, ...data) => drawn[part] !== (drawn[part] = JSON.stringify(data));
const element = (id) => document.getElementById(id);
const asked = () => Object.fromEntries(new URLSearchParams(location.search));
const drawn = {}; // what each part of the page shows, as text: it is drawn anew only when that has changed
let timer = 0;
let round = 0; // an answer to an older question than the last one is dropped

// The address of what is shown now, with some of it changed; empty takes away.
const address = (changes) => `/status?${new URLSearchParams(Object.entries({ ...asked(), ...changes }).filter(([, value]) => value))}`;

function go(changes, isNew = true) {
  history[isNew ? "pushState" : "replaceState"](null, "", address(changes));
  refresh();
}

async function readOrders({ state = "", text = "", offset = "0" }) {
  const page = { offset, limit: PAGE_SIZE, fields: "externalId,state,orderDate,billingAccount", ...(state && { state }) };
  if (!text) return read(ordersPath(page));
  const [one, external, account] = await Promise.all([
    read(`${TMF622}/${encodeURIComponent(text)}`).catch(() => ({ body: null })),
    read(ordersPath({ ...page, externalId: text })), read(ordersPath({ ...page, "billingAccount.id": text })),
  ]);
  if (one.body && (!state || one.body.state === state)) return { body: [one.body], total: 1 };
  return external.total ? external : account;
}

function drawOrders({ body, total }, { order, offset = "0" }) {
  const first = Number(offset);
  element("total").textContent = total ? `${first + 1} to ${first + body.length} of ${total}, newest first` : "No order is like that.";
  element("list").replaceChildren(...body.map((each) => html("li", {}, html("a",
    { href: address({ tab: "", order: each.id, item: "" }), "aria-current": each.id === order && "true" },
    html("span", { class: "name" }, each.externalId ?? each.id), badge(each.state),
    html("span", { class: "small" }, each.billingAccount?.id ?? "no account"), html("span", { class: "small" }, ago(each.orderDate))))));
  const [newer, older] = element("paging").querySelectorAll("button");
  newer.disabled = first === 0;
  older.disabled = first + body.length >= total;
}

const VIEWS = {
  async order({ order, item, fit }) {
    if (!order) return [{}, () => html("p", { class: "hint" }, "Choose an order on the left.")];
    const found = await readOrder(order);
    return [found, () => drawOrder(found, {
      item, select: (key) => go({ item: key === asked().item ? "" : key }, false),
      room: fit && element("main").clientWidth - 60, fit: () => go({ fit: fit ? "" : "yes" }, false),
    })];
  },
  async queues() {
    const [queues, tasks] = await Promise.all([read("/v1/queues"), read(`/v1/tasks?limit=${TASKS_MAX}`)]);
    const open = rowsOf(tasks.body);
    const rows = queues.body ? rowsOf(queues.body) : queuesOf(open);
    return [[rows, open], () => [
      html("h2", {}, "Queues"),
      rows.length ? table("Work that waits for people", held(QUEUE, rows), rows) : html("p", { class: "hint" }, "No queue has an open task."),
      open.length === TASKS_MAX && html("p", { class: "note" }, `Only the ${TASKS_MAX} most urgent tasks are shown${queues.body ? "" : " and counted"}.`),
      open.length > 0 && table("Open tasks, most urgent first", held(TASK, open), open),
    ]];
  },
  fallout: () => listed("Fallout", "What failed and needs a person", ["/v1/fallout/groups", "By system and error", GROUP], ["/v1/fallout", "Items", FAILED]),
  async systems() {
    const { body } = await read("/v1/systems");
    const rows = rowsOf(body).map((each) => ({
      ...each, takesCalls: each.state === "online" ? "yes" : "no",
      why: each.holds.map((hold) => `${hold.cause}: ${hold.reason} (${hold.by})`).join("; "),
    }));
    return [rows, () => [html("h2", {}, "Systems"),
      rows.length ? table("Fulfilment systems, and what holds them", held(SYSTEM, rows), rows) : html("p", { class: "hint" }, "No system is set up.")]];
  },
  risk: () => listed("Risk", "Orders that may be late", ["/v1/risk", "Most at risk first", RISK]),
};

function queuesOf(tasks) {
  const queues = new Map();
  for (const task of tasks) {
    const queue = queues.get(task.queue) ?? { code: task.queue, open: 0, held: 0, oldest: task.openedAt };
    queues.set(task.queue, queue);
    queue.open += 1;
    queue.held += task.worker ? 1 : 0;
    if (task.openedAt < queue.oldest) queue.oldest = task.openedAt;
  }
  return [...queues.values()].sort((one, other) => one.code.localeCompare(other.code));
}

// The columns that any of the rows has.
function held(columns, rows) {
  const names = new Set(rows.flatMap(Object.keys));
  return Object.fromEntries(Object.entries(columns).filter(([name]) => names.has(name)));
}

// Tables of resources that a server may not have.
async function listed(title, about, ...resources) {
  const answers = await Promise.all(resources.map(async ([path, caption, columns]) => ({ caption, columns, ...(await read(path)) })));
  return [answers, () => [html("h2", {}, title), html("p", { class: "hint" }, about), answers.map(({ caption, columns, body }) => {
    if (!body) return html("p", { class: "note" }, `${caption}: not available on this server.`);
    const rows = rowsOf(body);
    return rows.length ? table(caption, held(columns, rows), rows) : html("p", { class: "hint" }, `${caption}: nothing.`);
  })]];
}

async function refresh() {
  clearTimeout(timer);
  const mine = (round += 1);
  const query = asked();
  const tab = Object.hasOwn(VIEWS, query.tab ?? "") ? query.tab : "order";
  const began = performance.now();
  try {
    const [orders, [found, draw], ready] = await Promise.all([readOrders(query), VIEWS[tab](query), read("/readyz").catch(() => ({}))]);
    if (mine !== round) return;
    if (isNews("orders", orders, query)) drawOrders(orders, query);
    if (isNews("main", tab, query.item, query.fit, found)) show(draw());
    if (tab === "order" && isNews("place", query.order)) reveal(query.item ?? frontier(found));
    tick();
    // While shards are without an owner the server refuses to tell; what was shown stands.
    if (ready.body) element("weak").textContent = [...new Set((ready.body.durability ?? []).map(({ reason }) => reason))].join("; ");
    element("live").textContent = `as of ${new Date().toLocaleTimeString("sv-SE")}`;
    element("live").className = "";
  } catch (error) {
    if (mine !== round) return;
    element("live").textContent = `not up to date: ${error.message}`;
    element("live").className = "bad";
  }
  if (isNews("query", tab, query)) drawQuery(tab, query);
  // What takes long is asked for less often.
  timer = setTimeout(() => document.visibilityState === "visible" && refresh(), Math.max(POLL_MS, 10 * (performance.now() - began)));
}

// Draw the right side anew; the reader keeps place and focus.
function show(...children) {
  const main = element("main");
  const place = (at) => main.querySelector("[data-scroll]")?.[at] ?? 0;
  const [x, y] = [place("scrollLeft"), place("scrollTop")];
  const focused = document.activeElement?.dataset?.key;
  main.replaceChildren(...children.flat(Infinity).filter(Boolean));
  main.querySelector("[data-scroll]")?.scrollTo(x, y);
  if (focused) main.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

// Bring a box into the middle of the picture.
function reveal(key) {
  const [picture, box] = [element("main").querySelector("[data-scroll]"), key && element("main").querySelector(`[data-key="${CSS.escape(key)}"]`)];
  if (!picture || !box) return;
  const [outer, inner] = [picture.getBoundingClientRect(), box.getBoundingClientRect()];
  picture.scrollBy(inner.x - outer.x - outer.width / 2, inner.y - outer.y - outer.height / 2);
}

// Tabs and filter, as the address says.
function drawQuery(current, { state = "", text = "" }) {
  form.state.value = state;
  if (form.text !== document.activeElement) form.text.value = text;
  element("tabs").replaceChildren(...Object.entries(TABS).map(([tab, name]) =>
    html("a", { href: address({ tab }), "aria-current": tab === current && "page" }, name)));
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='/status?']");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  go({ tab: "", item: "", ...Object.fromEntries(new URL(link.href).searchParams) });
});
element("paging").addEventListener("click", ({ target }) => {
  const step = Number(target.dataset.step ?? 0) * PAGE_SIZE;
  if (step) go({ offset: String(Math.max(0, Number(asked().offset ?? 0) + step)) });
});
const form = element("filter");
form.state.replaceChildren(html("option", { value: "" }, "all"), ...STATES.map((state) => html("option", { value: state }, state)));
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("change", () => go({ state: form.state.value, text: form.text.value.trim(), offset: "" }));
addEventListener("popstate", refresh);
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && refresh());
refresh();
