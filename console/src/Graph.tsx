// The plan as a picture: one stop for the Tab key, arrows follow what waits for what.

import { BaseEdge, type Edge, type EdgeProps, Handle, MarkerType, type Node, type NodeProps, Position, ReactFlow, useReactFlow, useStore, ReactFlowProvider, Controls } from "@xyflow/react";
import { memo, useEffect, useMemo, useRef, useState } from "react";
import { HEIGHT, type Layout, type Point, WIDTH, layout } from "./layout";
import { type Item, counts } from "./plan";
import { look } from "./states";

type ItemNode = Node<{ item: Item; isChosen: boolean }, "item">;
type WayEdge = Edge<{ points?: Point[] }, "way">;

const Card = memo(function Card({ data: { item, isChosen } }: NodeProps<ItemNode>) {
  const { sign, tone } = look(item.state);
  return (
    <div className={`card ${tone}${isChosen ? " chosen" : ""}`} title={`${item.name}: ${item.members ? counts(item.members).map(([state, count]) => `${count} ${state}`).join(", ") : item.state}`}>
      <Handle type="target" position={Position.Left} isConnectable={false} />
      <strong>{item.name}</strong>
      {item.members ? <span>{counts(item.members).map(([state, count]) => <span key={state} className={look(state).tone} title={state}>{look(state).sign}{count} </span>)}{item.system ?? item.queue ?? ""}</span>
        : <span><span aria-hidden="true">{sign}</span> {item.state}{item.system ? ` · ${item.system}` : item.queue ? ` · ${item.queue}` : ""}</span>}
      <Handle type="source" position={Position.Right} isConnectable={false} />
    </div>
  );
});

function Way({ id, data, sourceX, sourceY, targetX, targetY, markerEnd }: EdgeProps<WayEdge>) {
  const points = data?.points ?? [{ x: sourceX, y: sourceY }, { x: targetX, y: targetY }];
  return <BaseEdge id={id} path={points.map(({ x, y }, at) => `${at ? "L" : "M"}${x},${y}`).join("")} markerEnd={markerEnd} />;
}

const NODES = { item: Card };
const EDGES = { way: Way };
const ARROW = { type: MarkerType.ArrowClosed, color: "var(--edge)", width: 16, height: 16 };

interface Props { items: Item[]; chosen?: string; choose: (key: string) => void; open?: (key: string) => void }

function Picture({ items, chosen, choose, open }: Props) {
  const [found, setFound] = useState<Layout>();
  const flow = useReactFlow();
  const shape = JSON.stringify(items.map((item) => [item.key, item.dependsOn]));
  const kept = useRef(new Map<string, ItemNode>());
  useEffect(() => {
    let isOld = false;
    void layout(items).then((done) => { if (!isOld) setFound(done); });
    return () => { isOld = true; };
  }, [shape]);
  // A node whose item is as before keeps its identity, so that it is not drawn again.
  const nodes = useMemo(() => !found ? [] : items.filter((item) => found.places.has(item.key)).map((item): ItemNode => {
    const before = kept.current.get(item.key), position = found.places.get(item.key)!, isChosen = item.key === chosen;
    if (before && before.position === position && before.data.isChosen === isChosen && JSON.stringify(before.data.item) === JSON.stringify(item)) return before;
    const made: ItemNode = { id: item.key, type: "item", position, width: WIDTH, height: HEIGHT, data: { item, isChosen } };
    kept.current.set(item.key, made);
    return made;
  }), [items, found, chosen]);
  const edges = useMemo(() => items.flatMap((item): WayEdge[] => item.dependsOn.map((from) => ({
    id: `${from} ${item.key}`, source: from, target: item.key, type: "way", markerEnd: ARROW, data: { points: found?.ways.get(`${from} ${item.key}`) },
  }))), [shape, found]);
  const look_at = (key: string) => {
    const place = found?.places.get(key);
    if (place) void flow.setCenter(place.x + WIDTH / 2, place.y + HEIGHT / 2, { zoom: Math.max(flow.getZoom(), 0.8) });
  };
  // Small plans are shown whole; of large ones what is looked at. So it stays when the room changes, until somebody
  // moves the picture.
  const width = useStore((store) => store.width), height = useStore((store) => store.height);
  const isMoved = useRef(false);
  useEffect(() => {
    if (!found || isMoved.current || !width || !height) return;
    if (items.length <= 12 || !chosen) void flow.fitView({ minZoom: 0.4, maxZoom: 1, padding: 0.06 });
    else look_at(chosen);
  }, [found, width, height]);
  const step = (event: React.KeyboardEvent) => {
    const now = items.find((item) => item.key === chosen) ?? items[0];
    if (!now || !found) return;
    if (event.key === "Enter" && now.members) return open?.(now.key);
    const column = [...items].filter((item) => found.places.get(item.key)?.x === found.places.get(now.key)?.x)
      .sort((one, two) => found.places.get(one.key)!.y - found.places.get(two.key)!.y);
    const at = column.indexOf(now);
    const next = {
      ArrowRight: items.find((item) => item.dependsOn.includes(now.key))?.key, ArrowLeft: now.dependsOn[0],
      ArrowDown: column[at + 1]?.key, ArrowUp: column[at - 1]?.key, Home: items[0].key, End: items.at(-1)!.key,
    }[event.key];
    if (!next) return;
    event.preventDefault();
    choose(next);
    look_at(next);
  };
  return (
    <div className="graph" tabIndex={0} role="application" onKeyDown={step} data-ready={found ? "yes" : "no"}
      aria-label={`Plan, ${items.length} items. Arrow keys go along what waits for what; the table shows the same.${chosen ? ` At ${items.find((item) => item.key === chosen)?.name}.` : ""}`}>
      <ReactFlow nodes={nodes} edges={edges} nodeTypes={NODES} edgeTypes={EDGES} nodesFocusable={false} edgesFocusable={false}
        nodesDraggable={false} nodesConnectable={false} onlyRenderVisibleElements minZoom={0.1} disableKeyboardA11y
        onMove={(event) => { if (event) isMoved.current = true; }}
        onNodeClick={(_, node) => { if (node.data.item.members) open?.(node.id); else choose(node.id); }}>
        <Controls showInteractive={false} orientation="horizontal" position="top-right" />
      </ReactFlow>
    </div>
  );
}

export const Graph = (props: Props) => <ReactFlowProvider><Picture {...props} /></ReactFlowProvider>;
