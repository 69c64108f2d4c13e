// A plan as a picture: a lane per plan definition, items in columns by the longest way that leads to them.

import { look, svg } from "./dom.js";

const BOX = { width: 174, height: 62 };
const GAP = { x: 38, y: 20 };
const LANE_PADDING = 18;
const LABEL_WIDTH = 126;
const SCALE_MIN = 0.3;
const NAME_LENGTH = 20;
const SIDE_LENGTH = 19; // of the state and what stands beside it
const DONE = new Set(["Completed", "Skipped"]);
export const OTHER_ORDERS = "other orders";

// Where everything stands: boxes by item key, lanes, arcs and the size of it all. Pure.
export function layout(items) {
  const boxes = new Map(items.map((item) => [item.key, { item, column: 0 }]));
  const known = (item) => item.dependsOn.filter((key) => boxes.has(key));
  const waiting = new Map(items.map((item) => [item.key, known(item).length]));
  const followers = new Map(items.map((item) => [item.key, []]));
  for (const item of items) for (const key of known(item)) followers.get(key).push(item.key);
  const ready = items.filter((item) => waiting.get(item.key) === 0).map((item) => item.key);
  for (const key of ready) {
    for (const follower of followers.get(key)) {
      const box = boxes.get(follower);
      box.column = Math.max(box.column, boxes.get(key).column + 1);
      waiting.set(follower, waiting.get(follower) - 1);
      if (waiting.get(follower) === 0) ready.push(follower);
    }
  }
  const lanes = new Map();
  for (const box of boxes.values()) {
    const name = box.item.plan ?? OTHER_ORDERS;
    const lane = lanes.get(name) ?? { name, first: box.column, rows: 0, filled: new Map(), boxes: [] };
    lanes.set(name, lane);
    box.row = lane.filled.get(box.column) ?? 0;
    lane.filled.set(box.column, box.row + 1);
    lane.first = Math.min(lane.first, box.column);
    lane.rows = Math.max(lane.rows, box.row + 1);
    lane.boxes.push(box);
  }
  const sorted = [...lanes.values()].sort((one, other) => one.first - other.first);
  let y = 0;
  let columns = 0;
  for (const lane of sorted) {
    lane.y = y;
    lane.height = 2 * LANE_PADDING + lane.rows * BOX.height + (lane.rows - 1) * GAP.y;
    for (const box of lane.boxes) {
      box.x = GAP.x / 2 + box.column * (BOX.width + GAP.x);
      box.y = y + LANE_PADDING + box.row * (BOX.height + GAP.y);
      columns = Math.max(columns, box.column + 1);
    }
    y += lane.height;
  }
  const arcs = items.flatMap((item) => known(item).map((key) => ({ from: boxes.get(key), to: boxes.get(item.key) })));
  return { boxes, lanes: sorted, arcs, width: columns * (BOX.width + GAP.x), height: y };
}

// The way of an arc. It changes its height only between columns, and passes boxes between rows.
export function way({ from, to }) {
  const [x1, y1, x2, y2] = [from.x + BOX.width, from.y + BOX.height / 2, to.x, to.y + BOX.height / 2];
  const half = GAP.x / 2;
  if (to.column - from.column === 1) return `M${x1} ${y1}C${x1 + half} ${y1} ${x2 - half} ${y2} ${x2} ${y2}`;
  const between = y1 + Math.sign(y2 - y1 || 1) * (BOX.height + GAP.y) / 2;
  return `M${x1} ${y1}C${x1 + half} ${y1} ${x1 + half} ${between} ${x1 + GAP.x} ${between}` +
    `H${x2 - GAP.x}C${x2 - half} ${between} ${x2 - half} ${y2} ${x2} ${y2}`;
}

// A text in at most two lines that fit into a box.
export function lines(text, most = NAME_LENGTH) {
  const words = String(text).split(/\s+/);
  let first = words.shift();
  while (words.length && first.length + 1 + words[0].length <= most) first += ` ${words.shift()}`;
  const cut = (line) => (line.length > most ? `${line.slice(0, most - 1)}…` : line);
  return words.length ? [cut(first), cut(words.join(" "))] : [cut(first)];
}

// The picture; with `room`, made so small that it is not wider than this, as long as it can be made out.
export function draw(items, selected, select, room = Infinity) {
  const { boxes, lanes, arcs, width, height } = layout(items);
  const scale = Math.max(SCALE_MIN, Math.min(1, room / (LABEL_WIDTH + width)));
  const size = (wide) => ({ width: wide * scale, height: height * scale, viewBox: `0 0 ${wide} ${height}` });
  const isTouched = ({ from, to }) => from.item.key === selected || to.item.key === selected;
  const bands = lanes.map((lane, at) =>
    svg("rect", { class: at % 2 ? "lane odd" : "lane", x: 0, y: lane.y, width: "100%", height: lane.height }));
  const labels = lanes.map((lane) =>
    svg("text", { class: "label", y: lane.y + LANE_PADDING + 14 }, svg("title", {}, lane.name),
      lines(lane.name.replaceAll("-", " "), 15).map((line, at) => svg("tspan", { x: 12, dy: at * 16 }, line))));
  const paths = [...arcs].sort((one, other) => isTouched(one) - isTouched(other)).map((arc) =>
    svg("path", {
      class: `arc ${DONE.has(arc.from.item.state) ? "passed" : ""} ${isTouched(arc) ? "touched" : ""}`,
      d: way(arc), "marker-end": isTouched(arc) ? "url(#touched)" : "url(#arrow)",
    }));
  const marker = (id) => svg("marker", { id, viewBox: "0 0 8 8", refX: 8, refY: 4, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto" },
    svg("path", { d: "M0 0L8 4L0 8z" }));
  return [
    svg("svg", { class: "labels", ...size(LABEL_WIDTH), "aria-hidden": "true" }, lanes.map((lane, at) =>
      svg("rect", { class: at % 2 ? "lane odd" : "lane", y: lane.y, width: LABEL_WIDTH, height: lane.height })), labels),
    svg("svg", { class: "plan", ...size(width), role: "group", "aria-label": "The plan's items and what waits for what" },
      svg("defs", {}, marker("arrow"), marker("touched")), bands, paths,
      [...boxes.values()].map((box) => drawBox(box, box.item.key === selected, select))),
  ];
}

function drawBox({ item, x, y }, isSelected, select) {
  const { tone, text } = look(item.state);
  const name = lines(item.name);
  const side = item.attempt > 1 ? `attempt ${item.attempt}` : item.queue || item.system || "";
  const about = [item.name, item.state, item.pointOfNoReturn && "point of no return", item.error].filter(Boolean).join(", ");
  return svg("g", {
    class: isSelected ? "box selected" : "box", "data-tone": tone, "data-key": item.key, transform: `translate(${x} ${y})`,
    tabindex: 0, role: "button", "aria-pressed": String(isSelected), "aria-label": about,
    click: () => select(item.key),
    keydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); select(item.key); } },
  },
    svg("title", {}, about),
    svg("rect", { class: "body", width: BOX.width, height: BOX.height, rx: 6 }),
    svg("rect", { class: "edge", width: 6, height: BOX.height, rx: 3 }),
    svg("text", { class: "name", y: name.length > 1 ? 19 : 26 }, name.map((line, at) => svg("tspan", { x: 14, dy: at * 15 }, line))),
    svg("text", { class: "state", x: 14, y: 53 }, text),
    text.length + side.length <= SIDE_LENGTH && svg("text", { class: "side", x: BOX.width - 8, y: 53 }, side),
    item.pointOfNoReturn && svg("g", { class: "ponr", transform: `translate(${BOX.width - 98} -10)` },
      svg("rect", { width: 92, height: 18, rx: 9 }), svg("text", { x: 46, y: 13 }, "⚑ no return")));
}
