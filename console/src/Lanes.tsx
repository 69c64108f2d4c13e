// The lanes of the designer as a picture: a lane for each plan definition that is shown, arrows for what waits for what.

import { type Connection, Controls, type Edge, Handle, MarkerType, type Node, type NodeProps, Position, ReactFlow, useReactFlow } from "@xyflow/react";
import { memo, useEffect, useMemo } from "react";
import { many } from "./parts";
import { KINDS, type ItemDef, type Ref, type Release, connect, keyOf, lanesOf, removeItem, waits } from "./release";

const WIDTH = 200, HEIGHT = 56, COLUMN = 260, ROW = 84, LANE_PAD = 34;

export interface Editing { release: Release; choose: (...at: string[]) => void; commit: (release: Release, label?: string) => void }

export type Chosen = { item: Ref } | { plan: string } | { product: string } | { scenario: number } | undefined;

export function chosenOf(text: string | null): Chosen {
  const [kind, one, other] = text ? (JSON.parse(text) as string[]) : [];
  return kind === "item" ? { item: { plan: one, item: other } } : kind === "plan" ? { plan: one } : kind === "product" ? { product: one } : kind === "scenario" ? { scenario: Number(one) } : undefined;
}

type LaneNode = Node<{ label: string; rows: number; width: number }, "lane">;
type PartNode = Node<{ item: ItemDef; isChosen: boolean }, "part">;

const Part = memo(function Part({ data: { item, isChosen } }: NodeProps<PartNode>) {
  return (
    <div className={`card part idle${isChosen ? " chosen" : ""}`}>
      <Handle type="target" position={Position.Left} />
      <strong>{item.name || item.code}</strong>
      <span>{KINDS[item.type] ?? item.type}{item.system ? ` · ${item.system}` : item.queue ? ` · ${item.queue}` : ""}</span>
      <Handle type="source" position={Position.Right} />
    </div>
  );
});
const Lane = memo(function Lane({ data }: NodeProps<LaneNode>) {
  return <div className="band" style={{ width: data.width, height: data.rows * ROW + LANE_PAD }}>{data.label}</div>;
});
const NODES = { part: Part, lane: Lane };

export function Lanes({ release, shown, chosen, choose, commit, move, connectFrom }: Editing & { shown: string[]; chosen: Chosen; move: (code: string, by: number) => void; connectFrom: () => void }) {
  const flow = useReactFlow();
  const lanes = useMemo(() => lanesOf(release, shown), [release, shown.join("\n")]);
  const at = chosen && "item" in chosen ? chosen.item : undefined;
  const columns = Math.max(1, ...lanes.flatMap((lane) => lane.items.map((each) => each.column + 1)));
  const nodes = useMemo(() => lanes.flatMap((lane, index): (LaneNode | PartNode)[] => {
    const y = lane.top * ROW + index * (LANE_PAD + 12);
    return [
      { id: `lane ${lane.plan.code}`, type: "lane", position: { x: 0, y }, selectable: false, zIndex: -1, data: { label: lane.plan.name || lane.plan.code, rows: lane.rows, width: columns * COLUMN + 20 } },
      ...lane.items.map(({ key, item, column, row }): PartNode => ({
        id: key, type: "part", position: { x: 30 + column * COLUMN, y: y + LANE_PAD + row * ROW }, width: WIDTH, height: HEIGHT, data: { item, isChosen: !!at && key === keyOf(at) },
      })),
    ];
  }), [lanes, at && keyOf(at), columns]);
  const edges = useMemo(() => (release.dependencies ?? []).map((each): Edge => {
    const { who, for: first } = waits(each);
    return { id: `${keyOf(first)} ${keyOf(who)}`, source: keyOf(first), target: keyOf(who), type: "smoothstep", markerEnd: { type: MarkerType.ArrowClosed, color: "var(--edge)", width: 16, height: 16 }, style: each.scope === "relatedOrder" ? { strokeDasharray: "4 4" } : undefined };
  }), [release.dependencies]);
  const shape = nodes.map((node) => node.id).join("\n");
  useEffect(() => { requestAnimationFrame(() => void flow.fitView({ minZoom: 0.2, maxZoom: 1, padding: 0.06 })); }, [shape]);
  const refOf = (key: string): Ref | undefined => lanes.flatMap((lane) => lane.items.filter((each) => each.key === key).map((each) => ({ plan: lane.plan.code, item: each.item.code })))[0];
  const join = ({ source, target }: Connection) => { const [first, then] = [refOf(source), refOf(target)]; if (first && then) commit(connect(release, first, then)); };
  const step = (event: React.KeyboardEvent) => {
    const all = lanes.flatMap((lane, index) => lane.items.map((each) => ({ ...each, lane: index, plan: lane.plan.code })));
    if (!all.length) return;
    if (event.altKey && at && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      event.preventDefault();
      move(at.plan, event.key === "ArrowUp" ? -1 : 1);
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.toLowerCase() === "c" && at) {
      event.preventDefault();
      connectFrom();
      return;
    }
    const now = all.find((each) => at && each.key === keyOf(at)) ?? all[0];
    if (event.key === "Delete" && at) {
      event.preventDefault();
      commit(removeItem(release, at));
      choose();
      return;
    }
    const deps = release.dependencies?.map(waits) ?? [];
    const stack = all.filter((each) => each.column === now.column);
    const here = stack.indexOf(now);
    const after = deps.find((each) => keyOf(each.for) === now.key)?.who, before = deps.find((each) => keyOf(each.who) === now.key)?.for;
    const next = { ArrowRight: all.find((each) => after && each.key === keyOf(after)), ArrowLeft: all.find((each) => before && each.key === keyOf(before)), ArrowDown: stack[here + 1], ArrowUp: stack[here - 1], Home: all[0], End: all.at(-1) }[event.key];
    if (!next) return;
    event.preventDefault();
    choose("item", next.plan, next.item.code);
  };
  return (
    <div className="graph" tabIndex={0} role="application" onKeyDown={step}
      aria-label={`${many(shown.length, "lane")}, ${many(nodes.length - lanes.length, "item")}. Arrow keys go along what waits for what, C connects the chosen item, Alt with up or down moves its lane, Delete removes it; the list of parts shows the same.${at ? ` At ${keyOf(at)}.` : ""}`}>
      <ReactFlow nodes={nodes} edges={edges} nodeTypes={NODES} nodesDraggable={false} nodesFocusable={false} edgesFocusable={false} disableKeyboardA11y deleteKeyCode={null} minZoom={0.1}
        onConnect={join} onNodeClick={(_, node) => { const ref = refOf(node.id); if (ref) choose("item", ref.plan, ref.item); }}
        onEdgeClick={(_, edge) => { const [first, then] = [refOf(edge.source), refOf(edge.target)]; if (first && then) choose("item", then.plan, then.item); }}>
        <Controls showInteractive={false} orientation="horizontal" position="top-right" />
      </ReactFlow>
    </div>
  );
}
