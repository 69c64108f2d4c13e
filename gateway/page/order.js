// One order: where it stands, its plan as a picture and as tables, and what is known of an item.

import { read } from "./api.js";
import { badge, html, look, orderLink, shown, table } from "./dom.js";
import { draw } from "./plan.js";

const missing = new Set(); // optional resources that this server does not have for an order
const NOTES_MAX = 5;
const opened = new Set(); // the parts that the reader has opened

async function optional(path) {
  if (missing.has(path)) return null;
  const { status, body } = await read(path).catch(() => ({ status: 0, body: null }));
  if (status === 404) missing.add(path);
  return body;
}

export async function readOrder(orderId) {
  const path = `/v1/orders/${encodeURIComponent(orderId)}`;
  const [order, plan, explain, risk] = await Promise.all(
    [read(path), read(`${path}/plan`), optional(`${path}/explain`), optional(`${path}/risk`)]);
  return { orderId, order: order.body, plan: plan.body, explain, risk };
}

// Where to look first: what failed, else what is at work, else what waits.
export function frontier({ plan }) {
  const items = plan?.items ?? [];
  return ["bad", "retry", "hold", "run", "date", "wait"]
    .map((tone) => items.find((item) => look(item.state).tone === tone)).find(Boolean)?.key;
}

// `view`: the item that is looked at, what happens when another one is chosen, and how wide the picture may be.
export function drawOrder({ orderId, order, plan, explain, risk }, { item: selected, select, room, fit }) {
  if (!order) return [html("h2", {}, "No such order"), html("p", {}, `There is no order ${orderId}.`)];
  const items = plan?.items ?? [];
  const failed = items.filter((item) => ["bad", "retry"].includes(look(item.state).tone));
  return [
    html("div", { class: "title" }, html("h2", {}, order.externalId ?? order.id), badge(order.state)),
    html("p", { class: "id" }, `order ${order.id}`),
    typeof explain?.summary === "string" && html("p", { class: "note" }, explain.summary),
    (order.reasons ?? []).map((each) => html("p", { class: "note bad" }, `${each.code}: ${each.reason}`)),
    few(order.warnings ?? [], (each) => html("p", { class: "note" }, each), "more warnings"),
    few(failed, (item) => html("p", { class: "note bad" }, badge(item.state), " ",
      html("button", { type: "button", class: "link", click: () => select(item.key) }, item.name), item.error && `: ${item.error}`), "more items have failed"),
    order.behind?.length > 0 && html("p", { class: "note" }, "Waits for order ", order.behind.map((each) => [orderLink(each), " "])),
    pairs({
      "account": order.account, "channel": order.channel, "priority": order.priority, "release": order.releaseId,
      "accepted": order.createdAt, "ended": order.endedAt,
    }),
    risk && pairs({
      "late with probability": shown(risk.pLate, "pLate"), "expected": risk.expectedAt, "at the earliest": risk.lowAt,
      "at the latest": risk.highAt, "due": risk.dueAt, "because": risk.reasons,
    }),
    html("p", { class: "counts" }, Object.entries(order.items ?? {}).map(([state, count]) => [badge(state), ` ${count} `]),
      items.length > 0 && html("label", {}, html("input", { type: "checkbox", checked: Boolean(room), change: fit }), " whole plan")),
    items.length > 0 && html("div", { class: "picture", "data-scroll": "picture", tabindex: 0, "aria-label": "Plan" }, draw(items, selected, select, room)),
    drawItem(items, selected, select),
    items.length > 0 && part("items", `Plan as a table (${items.length} items)`, () => table("Items of the plan", {
      name: "Item", plan: "Plan", type: "Kind", state: "State", attempt: "Attempt", waits: "Waits for", void: "Void", error: "Error",
    }, items.map((item) => ({ ...item, waits: namesOf(items, item.dependsOn) })))),
    plan?.lines?.length > 0 && part("lines", `Lines (${plan.lines.length})`, () => table("What is ordered, and what it becomes", {
      key: "Line", name: "Product", action: "Action", quantity: "Quantity", attributes: "Attributes", delivered: "Delivered", productId: "Product id",
    }, plan.lines)),
  ];
}

const few = (all, make, more) => [all.slice(0, NOTES_MAX).map(make), all.length > NOTES_MAX && html("p", { class: "hint" }, `${all.length - NOTES_MAX} ${more}.`)];
const namesOf = (items, keys) => keys.map((key) => items.find((each) => each.key === key)?.name ?? key);

// A part that is made when it is opened, and stays open when the order is read again.
function part(name, title, make) {
  const details = html("details", { open: opened.has(name) }, html("summary", {}, title));
  if (details.open) details.append(make());
  details.addEventListener("toggle", () => {
    if (details.open === opened.has(name)) return;
    if (!details.open) return void opened.delete(name);
    opened.add(name);
    details.append(make());
  });
  return details;
}

function pairs(values) {
  const known = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return html("dl", {}, known.map(([name, value]) => html("div", {}, html("dt", {}, name),
    html("dd", {}, typeof value === "object" && !Array.isArray(value) ? value : shown(value)))));
}

function drawItem(items, selected, select) {
  const item = items.find((each) => each.key === selected);
  if (!item) return items.length > 0 && html("p", { class: "hint" }, "Choose an item to see what is known of it.");
  const others = (keys) => keys.length > 0 && html("span", {}, keys.map((key) => [
    html("button", { type: "button", class: "link", click: () => select(key) }, namesOf(items, [key])[0]), " "]));
  const followers = items.filter((each) => each.dependsOn.includes(item.key)).map((each) => each.key);
  return html("section", { id: "item", "aria-label": "Item" },
    html("div", { class: "title" }, html("h3", {}, item.name), badge(item.state), item.pointOfNoReturn && html("span", { class: "badge ponr" }, "⚑ point of no return")),
    item.error && html("p", { class: "note bad" }, item.errorCode ? `${item.errorCode}: ${item.error}` : item.error),
    pairs({
      "key": item.key, "kind": item.type, "plan": item.plan, "attempt": item.attempt, "system": item.system, "operation": item.operation,
      "queue": item.queue, "worker": item.worker, "skipped because": item.skipReason, "ready": item.readyAt, "started": item.startedAt,
      "ended": item.endedAt, "next moment": item.timerAt, "simulated": item.simulated && "yes", "lines": item.lines.join(", "),
      "waits for": others(item.dependsOn) || "nothing", "waited for by": others(followers) || "nothing",
      "void dependencies": item.void?.length ? item.void.join(", ") : undefined,
    }));
}

