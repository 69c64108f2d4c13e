// Draws an order as the status page does, into a document that only keeps what it is given, and writes it as JSON.
// stdin: {"order": ..., "plan": ...}. Run in a copy of gateway/page (tests/unit/test_status_page.py makes it).

import { readFileSync } from "node:fs";

class Kept {
  constructor(tag) { Object.assign(this, { tag, attributes: {}, children: [] }); }
  setAttribute(name, value) { this.attributes[name] = value; }
  append(...children) { this.children.push(...children); }
  addEventListener() {}
}
globalThis.document = { createElement: (tag) => new Kept(tag), createElementNS: (_, tag) => new Kept(tag) };

const { drawOrder } = await import("./order.js");
const { table } = await import("./dom.js");
const { layout, lines, way } = await import("./plan.js");
const { order, plan } = JSON.parse(readFileSync(0, "utf8"));
const { boxes, lanes, arcs } = layout(plan.items);
process.stdout.write(JSON.stringify({
  tree: [...drawOrder({ orderId: order.id, order, plan }, { item: plan.items[0].key, select() {} }), table("Lines", { name: "Product" }, plan.lines)].flat(Infinity),
  columns: Object.fromEntries([...boxes].map(([key, box]) => [key, box.column])),
  places: Object.fromEntries([...boxes].map(([key, box]) => [key, [box.x, box.y]])),
  lanes: lanes.map((lane) => lane.name),
  ways: arcs.map(way),
  cut: lines("A name that is much longer than what fits into a box"),
}));
