// The plan as a picture: one stop for the Tab key, arrows follow what waits for what, Home and End go along the
// critical path.

import { BaseEdge, type Edge, type EdgeProps, Handle, MarkerType, MiniMap, type Node, type NodeProps, Position, ReactFlow, useReactFlow, useStore, ReactFlowProvider, Controls } from "@xyflow/react";
import { memo, useEffect, useMemo, useRef, useState } from "react";
import { HEIGHT, type Layout, type Point, WIDTH } from "./columns";
import { layout } from "./layout";
import { span } from "./parts";
import { type Item, counts, criticalKeys, criticalWays, isCritical, lasts } from "./plan";
import { look } from "./states";

// What a card shows: it is drawn anew when this changes, whatever else does.
type Shown = { name: string; state: string; place: string; counts?: [string, number][]; time: string; note: string; isCritical: boolean; heat?: number; isChosen: boolean };
type ItemNode = Node<Shown, "item">;
type WayEdge = Edge<{ points?: Point[]; isCritical: boolean }, "way">;

const NOTED_RISK = 0.2;
const SLACK_MS = 60_000; // less is not worth a word
const MAP_FROM = 12; // items
const FAR_BELOW = 0.35; // zoom: words cannot be read any more, so a card is its sign

function shownOf(item: Item, isChosen: boolean, now: number, longest: number | undefined): Shown {
  const time = lasts(item, now), { risk = 0, slackS = 0 } = item.expected ?? {};
  return {
    name: item.name, state: item.state, place: item.system ?? item.queue ?? "", counts: item.members && counts(item.members),
    time: time && !item.members ? `${time.isExpected ? "~" : ""}${span(time.ms)}` : "", isCritical: isCritical(item), isChosen,
    note: risk >= NOTED_RISK ? `⚠ ${Math.round(risk * 100)} %` : slackS * 1_000 >= SLACK_MS ? `+${span(slackS * 1_000)}` : "",
    heat: longest && time && !item.members ? Math.round((time.ms / longest) * 100) : undefined,
  };
}

const inWords = (shown: Shown) => [
  shown.counts ? shown.counts.map(([state, count]) => `${count} ${state}`).join(", ") : shown.state, shown.place, shown.time && (shown.time.startsWith("~") ? `expected to take ${shown.time.slice(1)}` : shown.time),
  shown.isCritical && "on the critical path", shown.note.startsWith("⚠") ? `${shown.note.slice(2)} of the risk` : shown.note && `slack ${shown.note.slice(1)}`,
].filter(Boolean).join(", ");

const Card = memo(function Card({ data }: NodeProps<ItemNode>) {
  const { sign, tone } = look(data.state);
  const drawn = useRef(0); // how often: what a change costs, for tests
  drawn.current += 1;
  return (
    <div className={`card ${tone}${data.isChosen ? " chosen" : ""}${data.isCritical ? " critical" : ""}`} title={`${data.name}: ${inWords(data)}`} data-drawn={drawn.current}>
      <Handle type="target" position={Position.Left} isConnectable={false} />
      <b className="sign" aria-hidden="true">{sign}</b>
      <strong>{data.name}</strong><em>{data.time}</em>
      {data.counts ? <span>{data.counts.map(([state, count]) => <span key={state} className={look(state).tone} title={state}>{look(state).sign}{count} </span>)}{data.place}</span>
        : <span><span aria-hidden="true">{sign}</span> {data.state}{data.place && ` · ${data.place}`}</span>}
      <em>{data.isCritical && <span className="mark" title="on the critical path">◆</span>} {data.note}</em>
      {data.heat !== undefined && <i className="heat" style={{ width: `${data.heat}%` }} />}
      <Handle type="source" position={Position.Right} isConnectable={false} />
    </div>
  );
});

const Way = memo(function Way({ id, data, sourceX, sourceY, targetX, targetY, markerEnd }: EdgeProps<WayEdge>) {
  const points = data?.points ?? [{ x: sourceX, y: sourceY }, { x: targetX, y: targetY }];
  const path = points.map(({ x, y }, at) => `${at ? "L" : "M"}${x},${y}`).join("");
  // A critical way is a double line: a broad one, and the ground in its middle.
  return <><BaseEdge id={id} path={path} markerEnd={markerEnd} className={data?.isCritical ? "critical" : undefined} />{data?.isCritical && <path d={path} className="core" />}</>;
});

const NODES = { item: Card };
const EDGES = { way: Way };
const ARROW = { type: MarkerType.ArrowClosed, color: "var(--edge)", width: 16, height: 16 };
const CRITICAL_ARROW = { type: MarkerType.ArrowClosed, color: "var(--critical)", width: 9, height: 9 };

interface Props { items: Item[]; chosen?: string; choose: (key: string) => void; open?: (key: string) => void; close?: (key: string) => void; isHeat?: boolean }

function Picture({ items, chosen, choose, open, close, isHeat }: Props) {
  const [found, setFound] = useState<Layout>();
  const flow = useReactFlow();
  const shape = JSON.stringify(items.map((item) => [item.key, item.dependsOn]));
  const kept = useRef(new Map<string, ItemNode>());
  useEffect(() => {
    let isOld = false;
    void layout(items).then((done) => { if (!isOld) setFound(done); });
    return () => { isOld = true; };
  }, [shape]);
  // A node that shows the same as before keeps its identity, so that it is not drawn again.
  const nodes = useMemo(() => {
    const now = Date.now();
    const longest = isHeat ? Math.max(1, ...items.filter((item) => !item.members).map((item) => lasts(item, now)?.ms ?? 0)) : undefined;
    return !found ? [] : items.filter((item) => found.places.has(item.key)).map((item): ItemNode => {
      const before = kept.current.get(item.key), position = found.places.get(item.key)!, data = shownOf(item, item.key === chosen, now, longest);
      if (before && before.position === position && JSON.stringify(before.data) === JSON.stringify(data)) return before;
      const made: ItemNode = { id: item.key, type: "item", position, width: WIDTH, height: HEIGHT, data };
      kept.current.set(item.key, made);
      return made;
    });
  }, [items, found, chosen, isHeat]);
  const critical = useMemo(() => criticalWays(items), [items]);
  const ways = [...critical].join();
  const edges = useMemo(() => items.flatMap((item): WayEdge[] => item.dependsOn.map((from) => {
    const id = `${from} ${item.key}`, is = critical.has(id);
    return { id, source: from, target: item.key, type: "way", markerEnd: is ? CRITICAL_ARROW : ARROW, data: { points: found?.ways.get(id), isCritical: is } };
  })), [shape, found, ways]);
  const look_at = (key: string) => {
    const place = found?.places.get(key);
    if (place) void flow.setCenter(place.x + WIDTH / 2, place.y + HEIGHT / 2, { zoom: Math.max(flow.getZoom(), 0.8) });
  };
  // Small plans are shown whole; of large ones what is looked at. So it stays when the room changes, until somebody
  // moves the picture.
  const width = useStore((store) => store.width), height = useStore((store) => store.height);
  const isFar = useStore((store) => store.transform[2] < FAR_BELOW);
  const isMoved = useRef(false);
  useEffect(() => {
    if (!found || isMoved.current || !width || !height) return;
    if (items.length <= MAP_FROM || !chosen) void flow.fitView({ minZoom: 0.4, maxZoom: 1, padding: 0.06 });
    else look_at(chosen);
  }, [found, width, height]);
  const now = items.find((item) => item.key === chosen);
  const step = (event: React.KeyboardEvent) => {
    if (!found || event.target !== event.currentTarget) return;
    const from = now ?? items[0];
    if (event.key === "Enter" && from.members) return open?.(from.key);
    if (event.key === "Backspace") return close?.(from.key);
    const column = [...items].filter((item) => found.places.get(item.key)?.x === found.places.get(from.key)?.x)
      .sort((one, two) => found.places.get(one.key)!.y - found.places.get(two.key)!.y);
    const at = column.indexOf(from);
    const along = (keys: string[]) => keys.find((key) => critical.has(`${from.key} ${key}`) || critical.has(`${key} ${from.key}`)) ?? keys[0];
    const path = criticalKeys(items);
    const next = {
      ArrowRight: along(items.filter((item) => item.dependsOn.includes(from.key)).map((item) => item.key)), ArrowLeft: along(from.dependsOn),
      ArrowDown: column[at + 1]?.key, ArrowUp: column[at - 1]?.key, Home: path[0] ?? items[0].key, End: path.at(-1) ?? items.at(-1)!.key,
    }[event.key];
    if (!next) return;
    event.preventDefault();
    choose(next);
    look_at(next);
  };
  return (
    <><div className={isFar ? "graph far" : "graph"} tabIndex={0} role="application" onKeyDown={step} data-ready={found ? "yes" : "no"}
      aria-label={`Plan, ${items.length} items. Arrow keys go along what waits for what, Home and End to the ends of the critical path; the table shows the same.`}>
      <p className="hidden" role="status">{now && `${now.name}: ${inWords(shownOf(now, true, Date.now(), undefined))}`}</p>
      <ReactFlow nodes={nodes} edges={edges} nodeTypes={NODES} edgeTypes={EDGES} nodesFocusable={false} edgesFocusable={false}
        nodesDraggable={false} nodesConnectable={false} onlyRenderVisibleElements minZoom={0.1} disableKeyboardA11y
        onMove={(event) => { if (event) isMoved.current = true; }}
        onNodeClick={(_, node) => { if (items.find((item) => item.key === node.id)?.members) open?.(node.id); else choose(node.id); }}>
        <Controls showInteractive={false} orientation="horizontal" position="top-right" />
        {items.length > MAP_FROM && <MiniMap<ItemNode> pannable zoomable ariaLabel="The whole plan" nodeClassName={(node) => `${look(node.data.state).tone}${node.data.isCritical ? " critical" : ""}`} />}
      </ReactFlow>
    </div>
    {items.some((item) => item.expected) && <p className="count"><span className="mark">◆</span> double: the critical path · ~5 min: expected to take so long · +5 min: slack · ⚠ 20 %: its part in the risk</p>}</>
  );
}

export const Graph = (props: Props) => <ReactFlowProvider><Picture {...props} /></ReactFlowProvider>;
