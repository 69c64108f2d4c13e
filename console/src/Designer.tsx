// The designer: plan definitions as lanes, their items, what waits for what, and which lines compose which plan. A draft
// is kept in this browser; every edit is one step that can be undone; publishing makes a new frozen version.

import { type Connection, Controls, type Edge, Handle, MarkerType, type Node, type NodeProps, Position, ReactFlow, ReactFlowProvider, useReactFlow } from "@xyflow/react";
import { type ReactNode, memo, useEffect, useMemo, useRef, useState } from "react";
import { Refusal, ask, refusedBecause } from "./api";
import { go, useAddress, useLive, withQuery } from "./hooks";
import { Link, Trouble, many, usePress } from "./parts";
import {
  ACTIONS, EMPTY, KINDS, type ItemDef, type Ref, type Release, addItem, addPlan, addProduct, addScenario, changeItem, changesOf, changePlanCode, changeProduct, changeScenario, connect, disconnect, freeCode,
  isSame, itemOf, keyOf, lanesOf, removeItem, removePlan, removeScenario, waits,
} from "./release";

const WIDTH = 200, HEIGHT = 56, COLUMN = 260, ROW = 84, LANE_PAD = 34;
const STEPS_MAX = 200;
const CHECK_MS = 400;
const PRODUCTS_SHOWN = 20; // more are folded up
const KEPT = "orderplan.draft";

const ITEM_FIELDS = ["code", "name", "type", "system", "operation", "retry", "queue", "task", "subPlan", "event", "condition", "durationS"];
const PRODUCT_FIELDS = ["code", "name", "kind", "attributes"];
const SCENARIO_FIELDS = ["product", "actions", "when", "plan"];
const RELEASE_FIELDS = ["format", "code", "version", "products", "plans", "dependencies", "scenarios"];

interface Draft { release: Release; base?: string }
interface Findings { errors: string[]; findings: string[]; id?: string }

// A draft with its steps. Edits of one field in a row are one step.
function useDraft() {
  const [state, setState] = useState<{ past: Draft[]; now: Draft; future: Draft[]; label?: string }>(() => {
    const kept = localStorage.getItem(KEPT);
    return { past: [], now: kept ? JSON.parse(kept) : { release: EMPTY }, future: [] };
  });
  useEffect(() => {
    const timer = setTimeout(() => { try { localStorage.setItem(KEPT, JSON.stringify(state.now)); } catch { /* too large to keep: it stays in this tab */ } }, 200);
    return () => clearTimeout(timer);
  }, [state.now]);
  return {
    ...state.now,
    steps: state.past.length, undone: state.future.length,
    commit: (release: Release, label?: string) => setState(({ past, now, label: before }) => (release === now.release ? { past, now, future: [], label } : {
      past: label && label === before ? past : [...past, now].slice(-STEPS_MAX), now: { ...now, release }, future: [], label,
    })),
    begin: (draft: Draft) => setState(({ past, now }) => ({ past: [...past, now].slice(-STEPS_MAX), now: draft, future: [] })),
    undo: () => setState((all) => (all.past.length ? { past: all.past.slice(0, -1), now: all.past.at(-1)!, future: [all.now, ...all.future] } : all)),
    redo: () => setState((all) => (all.future.length ? { past: [...all.past, all.now], now: all.future[0], future: all.future.slice(1) } : all)),
  };
}

type Chosen = { item: Ref } | { plan: string } | { product: string } | { scenario: number } | undefined;

function chosenOf(text: string | null): Chosen {
  const [kind, one, other] = text ? (JSON.parse(text) as string[]) : [];
  return kind === "item" ? { item: { plan: one, item: other } } : kind === "plan" ? { plan: one } : kind === "product" ? { product: one } : kind === "scenario" ? { scenario: Number(one) } : undefined;
}

// Where the chosen part stands: what is given another code stays the same part.
function placeOf(release: Release, chosen: NonNullable<Chosen>): string {
  if ("product" in chosen) return `product ${release.products.findIndex((each) => each.code === chosen.product)}`;
  if ("scenario" in chosen) return `scenario ${chosen.scenario}`;
  const code = "plan" in chosen ? chosen.plan : chosen.item.plan, at = release.plans?.findIndex((plan) => plan.code === code) ?? -1;
  return "plan" in chosen ? `plan ${at}` : `item ${at} ${release.plans?.[at]?.items.findIndex((item) => item.code === chosen.item.item)}`;
}

export function Designer() {
  const url = useAddress();
  const draft = useDraft();
  const { release, commit } = draft;
  const chosen = chosenOf(url.searchParams.get("at"));
  const choose = (...at: string[]) => go(withQuery(url, { at: at.length ? JSON.stringify(at) : undefined }), false);
  const published = useLive("releases", async (signal) => (await ask<{ id: string; isCurrent: boolean }[]>("list_releases", {}, { signal })).body, () => false);
  const [hidden, setHidden] = useState<Set<string>>(new Set());
  const [error, setError] = useState<Refusal>();
  const plans = release.plans ?? [];
  const shown = plans.map((plan) => plan.code).filter((code) => !hidden.has(code));
  const told = useCheck(release);
  const lane = chosen && "item" in chosen ? chosen.item.plan : chosen && "plan" in chosen ? chosen.plan : shown.at(-1);
  const refused = refusedBecause("publish_release");

  const begin = async (id: string) => {
    try {
      draft.begin({ release: id ? (await ask<Release>("get_release", { release_id: id })).body : EMPTY, base: id || undefined });
      setError(undefined);
      choose();
    } catch (problem) { setError(problem as Refusal); }
  };
  const add = (type: string) => {
    const plan = lane ?? freeCode([], "plan");
    const grown = lane ? release : addPlan(release, plan);
    const code = freeCode(grown.plans!.find((each) => each.code === plan)!.items.map((item) => item.code), KINDS[type].toLowerCase());
    const after = chosen && "item" in chosen ? chosen.item : undefined;
    commit(addItem(grown, plan, { code, type, ...(type === "autoTask" && { task: "noop" }) }, after));
    choose("item", plan, code);
  };
  const keys = (event: React.KeyboardEvent) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || (event.target as HTMLElement).matches("input, textarea")) return;
    event.preventDefault();
    if (event.shiftKey) draft.redo(); else draft.undo();
  };
  return (
    <div onKeyDown={keys}>
      <h1>Designer</h1>
      <div className="actions bar">
        <label>Begin from <select value="" onChange={(event) => void begin(event.target.value === "nothing" ? "" : event.target.value)}>
          <option value="" disabled>choose…</option><option value="nothing">nothing</option>{published.data?.map((each) => <option key={each.id} value={each.id}>{each.id}{each.isCurrent ? " (current)" : ""}</option>)}
        </select></label>
        <button onClick={draft.undo} disabled={!draft.steps}>Undo</button>
        <button onClick={draft.redo} disabled={!draft.undone}>Redo</button>
        <Files release={release} begin={(given) => { draft.begin({ release: given }); choose(); }} failed={setError} />
        <span className="count">{draft.base ? `Begun from ${draft.base}. ` : ""}The draft is kept in this browser.</span>
      </div>
      <Trouble error={error ?? published.error} />
      {refused && <p className="why">{refused}</p>}
      <div className="designer">
        <Outline release={release} chosen={chosen} choose={choose} hidden={hidden} hide={(code) => setHidden((before) => { const now = new Set(before); if (!now.delete(code)) now.add(code); return now; })} commit={commit} />
        <section aria-label="Lanes" className="lanes">
          <div className="actions">{Object.entries(KINDS).map(([type, label]) => <button key={type} onClick={() => add(type)}>+ {label}</button>)}</div>
          <ReactFlowProvider><Lanes release={release} shown={shown} chosen={chosen} choose={choose} commit={commit} /></ReactFlowProvider>
          <Check told={told} release={release} choose={choose} />
        </section>
        <aside aria-label="What is chosen">
          {!chosen && <Publish release={release} base={draft.base} told={told} commit={commit} done={published.again} />}
          {chosen && <button className="close" onClick={() => choose()} aria-label="Close">✕</button>}
          {chosen && "item" in chosen && <ItemForm key={placeOf(release, chosen)} at={chosen.item} release={release} choose={choose} commit={commit} />}
          {chosen && "plan" in chosen && <PlanForm key={placeOf(release, chosen)} code={chosen.plan} release={release} choose={choose} commit={commit} />}
          {chosen && "product" in chosen && <ProductForm key={placeOf(release, chosen)} code={chosen.product} release={release} choose={choose} commit={commit} />}
          {chosen && "scenario" in chosen && <ScenarioForm key={chosen.scenario} at={chosen.scenario} release={release} choose={choose} commit={commit} />}
        </aside>
      </div>
    </div>
  );
}

interface Editing { release: Release; choose: (...at: string[]) => void; commit: (release: Release, label?: string) => void }

// What publishing would say, asked a moment after each edit.
function useCheck(release: Release): Findings | undefined {
  const [told, setTold] = useState<Findings>();
  useEffect(() => {
    const stop = new AbortController();
    const timer = setTimeout(() => {
      ask<{ id: string; findings: string[] }>("validate_release", {}, { body: release, signal: stop.signal })
        .then(({ body }) => setTold({ errors: [], findings: body.findings, id: body.id }))
        .catch((problem) => {
          if (stop.signal.aborted) return;
          const { problems, message } = problem as Refusal;
          setTold({ errors: problems.length ? problems.map((each) => (typeof each === "string" ? each : `${each.path}: ${each.reason}`)) : [message], findings: [] });
        });
    }, CHECK_MS);
    return () => { stop.abort(); clearTimeout(timer); };
  }, [release]);
  return told;
}

function Check({ told, release, choose }: { told?: Findings; release: Release; choose: Editing["choose"] }) {
  if (!told) return <p role="status" className="count">Checking…</p>;
  const line = (text: string, kind: string) => {
    const ref = release.plans?.flatMap((plan) => plan.items.map((item) => ({ plan: plan.code, item: item.code }))).find((each) => text.includes(keyOf(each)));
    return <li key={kind + text} className={kind}>{ref ? <button className="plain" onClick={() => choose("item", ref.plan, ref.item)}>{text}</button> : text}</li>;
  };
  return (
    <section aria-label="Check">
      <p role="status" className="count">{told.errors.length ? `${many(told.errors.length, "error")}: it cannot be published` : "It can be published"}{told.findings.length > 0 && `; ${many(told.findings.length, "remark")}`}.</p>
      <ul className="findings">{told.errors.map((each) => line(each, "bad"))}{told.findings.map((each) => line(each, "warn"))}</ul>
    </section>
  );
}

function Files({ release, begin, failed }: { release: Release; begin: (release: Release) => void; failed: (error?: Refusal) => void }) {
  const input = useRef<HTMLInputElement>(null);
  const download = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(release, null, 2)], { type: "application/json" }));
    link.download = `${release.code}-${release.version}.json`;
    link.click();
    URL.revokeObjectURL(link.href);
  };
  return (
    <>
      <button onClick={() => input.current?.click()}>Open a file…</button>
      <input ref={input} hidden type="file" accept="application/json,.json" aria-label="Release file" onChange={async (event) => {
        const file = event.target.files?.[0];
        event.target.value = "";
        try {
          if (file) begin(JSON.parse(await file.text()));
          failed(undefined);
        } catch (problem) { failed(new Refusal(`The file is no JSON: ${(problem as Error).message}`, 400)); }
      }} />
      <button onClick={download}>Save as a file</button>
    </>
  );
}

function Outline({ release, chosen, choose, hidden, hide, commit }: Editing & { chosen: Chosen; hidden: Set<string>; hide: (code: string) => void }) {
  const row = (key: string, label: ReactNode, isChosen: boolean, at: string[]) => (
    <li key={key}><button className="plain" aria-pressed={isChosen} onClick={() => choose(...at)}>{label}</button></li>
  );
  const isAt = (ref: Ref) => !!chosen && "item" in chosen && isSame(chosen.item, ref);
  const plans = release.plans ?? [], scenarios = release.scenarios ?? [], isLong = release.products.length > PRODUCTS_SHOWN;
  return (
    <nav aria-label="Parts of the release" className="outline">
      <h2>Plan definitions <button aria-label="Add a plan definition" onClick={() => { const code = freeCode(plans.map((each) => each.code), "plan"); commit(addPlan(release, code)); choose("plan", code); }}>+</button></h2>
      <ul>{plans.map((plan) => (
        <li key={plan.code}>
          <input type="checkbox" checked={!hidden.has(plan.code)} onChange={() => hide(plan.code)} aria-label={`Show the lane ${plan.code}`} />
          <button className="plain" aria-pressed={!!chosen && "plan" in chosen && chosen.plan === plan.code} onClick={() => choose("plan", plan.code)}>{plan.name || plan.code}</button>
          <ul>{plan.items.map((item) => row(item.code, item.name || item.code, isAt({ plan: plan.code, item: item.code }), ["item", plan.code, item.code]))}</ul>
        </li>
      ))}</ul>
      <h2>Scenarios <button aria-label="Add a scenario" disabled={!plans.length || !release.products.length} onClick={() => { commit(addScenario(release, plans.at(-1)!.code, release.products.at(-1)!.code)); choose("scenario", String(scenarios.length)); }}>+</button></h2>
      <ul>{scenarios.map((each, at) => row(String(at), `${each.product ?? each.class}: ${each.actions.join(", ")} → ${each.plan}`, !!chosen && "scenario" in chosen && chosen.scenario === at, ["scenario", String(at)]))}</ul>
      <h2>Products <button aria-label="Add a product" onClick={() => { const code = freeCode(release.products.map((each) => each.code), "product"); commit(addProduct(release, code)); choose("product", code); }}>+</button></h2>
      <details key={String(isLong)} open={!isLong}><summary>{many(release.products.length, "product")}</summary><ul>{release.products.map((each) => row(each.code, each.name || each.code, !!chosen && "product" in chosen && chosen.product === each.code, ["product", each.code]))}</ul></details>
    </nav>
  );
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

function Lanes({ release, shown, chosen, choose, commit }: Editing & { shown: string[]; chosen: Chosen }) {
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
      aria-label={`${many(shown.length, "lane")}, ${many(nodes.length - lanes.length, "item")}. Arrow keys go along what waits for what, Delete removes the chosen item; the list of parts shows the same.${at ? ` At ${keyOf(at)}.` : ""}`}>
      <ReactFlow nodes={nodes} edges={edges} nodeTypes={NODES} nodesDraggable={false} nodesFocusable={false} edgesFocusable={false} disableKeyboardA11y deleteKeyCode={null} minZoom={0.1}
        onConnect={join} onNodeClick={(_, node) => { const ref = refOf(node.id); if (ref) choose("item", ref.plan, ref.item); }}
        onEdgeClick={(_, edge) => { const [first, then] = [refOf(edge.source), refOf(edge.target)]; if (first && then) choose("item", then.plan, then.item); }}>
        <Controls showInteractive={false} orientation="horizontal" position="top-right" />
      </ReactFlow>
    </div>
  );
}

function Text({ label, value, change, list, type = "text", focus }: { label: string; value?: string | number; change: (value: string) => void; list?: string[]; type?: string; focus?: boolean }) {
  const id = `f-${label.replace(/\W+/g, "-")}`;
  return (
    <p className="field"><label htmlFor={id}>{label}</label>
      <input id={id} type={type} min={0} step="any" autoFocus={focus} value={value ?? ""} list={list && `${id}-list`} onChange={(event) => change(event.target.value)} />
      {list && <datalist id={`${id}-list`}>{list.map((each) => <option key={each} value={each} />)}</datalist>}</p>
  );
}

// A code, which is changed as a whole: when it is left, or by Enter. One that is taken is not given.
function CodeField({ code, taken, rename }: { code: string; taken: string[]; rename: (code: string) => void }) {
  const [now, setNow] = useState(code);
  useEffect(() => setNow(code), [code]);
  const done = () => {
    if (now === code) return;
    if (!now.trim() || taken.includes(now)) setNow(code);
    else rename(now);
  };
  return (
    <p className="field"><label htmlFor="f-code">Code</label>
      <input id="f-code" autoFocus value={now} onFocus={(event) => event.target.select()} onChange={(event) => setNow(event.target.value)} onBlur={done} onKeyDown={(event) => { if (event.key === "Enter") { event.preventDefault(); done(); } }} /></p>
  );
}

// Everything that has no field of its own, as JSON.
function Rest({ value, known, change }: { value: object; known: string[]; change: (rest: Record<string, unknown>) => void }) {
  const rest = Object.fromEntries(Object.entries(value).filter(([name]) => !known.includes(name)));
  const written = JSON.stringify(rest, null, 1);
  const [text, setText] = useState(written);
  const [wrong, setWrong] = useState("");
  useEffect(() => { setText(written); setWrong(""); }, [written]);
  const done = () => {
    try {
      const read: unknown = JSON.parse(text.trim() || "{}");
      if (!read || typeof read !== "object" || Array.isArray(read)) throw new Error("it must be an object");
      setWrong("");
      // Members that are gone are taken away.
      if (JSON.stringify(read) !== JSON.stringify(rest)) change({ ...Object.fromEntries(Object.keys(rest).map((name) => [name, undefined])), ...(read as object) });
    } catch (problem) { setWrong((problem as Error).message); }
  };
  return (
    <p className="field"><label htmlFor="f-rest">Everything else (JSON, as in docs/CATALOGUE.md)</label>
      <textarea id="f-rest" className="code" rows={Math.min(14, Math.max(3, text.split("\n").length))} spellCheck={false} value={text} aria-invalid={!!wrong || undefined} aria-describedby="f-rest-told" onChange={(event) => setText(event.target.value)} onBlur={done} />
      <span id="f-rest-told" className="wrong">{wrong && `This is not taken: ${wrong}`}</span></p>
  );
}

function ItemForm({ at, release, choose, commit }: Editing & { at: Ref }) {
  const item = itemOf(release, at);
  if (!item) return <p>There is no such item.</p>;
  const set = (changes: Partial<ItemDef>, field: string) => commit(changeItem(release, at, changes), `${keyOf(at)} ${field}`);
  const text = (field: string, label: string, list?: string[]) => <Text label={label} value={item[field] as string | undefined} list={list} change={(value) => set({ [field]: value }, field)} />;
  const first = release.dependencies?.map(waits).filter((each) => isSame(each.who, at)).map((each) => each.for) ?? [];
  const others = release.plans?.flatMap((plan) => plan.items.map((each) => ({ plan: plan.code, item: each.code }))).filter((each) => !isSame(each, at) && !first.some((one) => isSame(one, each))) ?? [];
  return (
    <form onSubmit={(event) => event.preventDefault()}>
      <h2>{item.name || item.code}</h2>
      <CodeField code={at.item} taken={release.plans!.find((plan) => plan.code === at.plan)!.items.map((each) => each.code)} rename={(code) => { commit(changeItem(release, at, { code })); choose("item", at.plan, code); }} />
      {text("name", "Name")}
      <p className="field"><label htmlFor="f-type">Kind</label><select id="f-type" value={item.type} onChange={(event) => set({ type: event.target.value }, "type")}>{Object.entries(KINDS).map(([value, label]) => <option key={value} value={value}>{label}</option>)}</select></p>
      {item.type === "callout" && <>{text("system", "System", release.systems?.map((each) => each.code))}{text("operation", "Operation")}{text("retry", "Retry policy", release.retries?.map((each) => each.code))}</>}
      {item.type === "manualTask" && text("queue", "Queue", release.queues?.map((each) => each.code))}
      {item.type === "autoTask" && text("task", "Task", ["noop", "assetize", "backPropagate"])}
      {item.type === "subPlan" && text("subPlan", "Plan definition that it stands for", release.plans?.map((each) => each.code).filter((each) => each !== at.plan))}
      {item.type === "pushEvent" && text("event", "Done when (CEL)")}
      {text("condition", "Only if (CEL)")}
      <Text label="Planned duration (s)" type="number" value={item.durationS} change={(value) => set({ durationS: value === "" ? undefined : Number(value) }, "durationS")} />
      <h3>Waits for</h3>
      <ul>{first.map((each) => <li key={keyOf(each)}>{keyOf(each)} <button type="button" onClick={() => commit(disconnect(release, each, at))} aria-label={`No longer wait for ${keyOf(each)}`}>✕</button></li>)}</ul>
      <p className="field"><label htmlFor="f-wait">Also for</label><select id="f-wait" value="" onChange={(event) => { const [plan, one] = JSON.parse(event.target.value) as string[]; commit(connect(release, { plan, item: one }, at)); }}>
        <option value="" />{others.map((each) => <option key={keyOf(each)} value={JSON.stringify([each.plan, each.item])}>{keyOf(each)}</option>)}</select></p>
      <Rest value={item} known={ITEM_FIELDS} change={(rest) => commit(changeItem(release, at, rest))} />
      <div className="actions">
        <button type="button" onClick={() => { const code = freeCode(release.plans!.find((plan) => plan.code === at.plan)!.items.map((each) => each.code), at.item); commit(addItem(release, at.plan, { ...item, code })); choose("item", at.plan, code); }}>Duplicate</button>
        <button type="button" onClick={() => { commit(removeItem(release, at)); choose(); }}>Remove the item</button>
      </div>
    </form>
  );
}

function PlanForm({ code, release, choose, commit }: Editing & { code: string }) {
  const plan = release.plans?.find((each) => each.code === code);
  if (!plan) return <p>There is no such plan definition.</p>;
  return (
    <form onSubmit={(event) => event.preventDefault()}>
      <h2>{plan.name || code}</h2>
      <CodeField code={code} taken={release.plans!.map((each) => each.code)} rename={(now) => { commit(changePlanCode(release, code, { code: now })); choose("plan", now); }} />
      <Text label="Name" value={plan.name} change={(name) => commit(changePlanCode(release, code, { name }), `${code} name`)} />
      <p>{many(plan.items.length, "item")}</p>
      <div className="actions"><button type="button" onClick={() => { commit(removePlan(release, code)); choose(); }}>Remove the plan definition</button></div>
    </form>
  );
}

function ProductForm({ code, release, choose, commit }: Editing & { code: string }) {
  const product = release.products.find((each) => each.code === code);
  if (!product) return <p>There is no such product.</p>;
  const names = product.attributes?.map((each) => each.name).join(", ") ?? "";
  return (
    <form onSubmit={(event) => event.preventDefault()}>
      <h2>{product.name || code}</h2>
      <CodeField code={code} taken={release.products.map((each) => each.code)} rename={(now) => { commit(changeProduct(release, code, { code: now })); choose("product", now); }} />
      <Text label="Name" value={product.name} change={(name) => commit(changeProduct(release, code, { name }), `${code} name`)} />
      <p className="field"><label htmlFor="f-kind">Kind</label><select id="f-kind" value={product.kind ?? "technical"} onChange={(event) => commit(changeProduct(release, code, { kind: event.target.value }))}>
        <option value="technical">technical: delivered</option><option value="commercial">commercial: sold</option><option value="both">both</option></select></p>
      <Attributes names={names} change={(wanted) => commit(changeProduct(release, code, { attributes: wanted.map((name) => product.attributes?.find((each) => each.name === name) ?? { name }) }))} />
      <Rest value={product} known={PRODUCT_FIELDS} change={(rest) => commit(changeProduct(release, code, rest))} />
      <div className="actions"><button type="button" onClick={() => { commit({ ...release, products: release.products.filter((each) => each.code !== code), scenarios: release.scenarios?.filter((each) => each.product !== code) }); choose(); }}>Remove the product</button></div>
    </form>
  );
}

function Attributes({ names, change }: { names: string; change: (names: string[]) => void }) {
  const [text, setText] = useState(names);
  const done = () => { if (text !== names) change([...new Set(text.split(",").map((each) => each.trim()).filter(Boolean))]); };
  return <p className="field"><label htmlFor="f-attributes">Attributes, separated by commas</label><input id="f-attributes" value={text} onChange={(event) => setText(event.target.value)} onBlur={done} /></p>;
}

function ScenarioForm({ at, release, choose, commit }: Editing & { at: number }) {
  const scenario = release.scenarios?.[at];
  if (!scenario) return <p>There is no such scenario.</p>;
  const set = (changes: object, label?: string) => commit(changeScenario(release, at, changes), label && `scenario ${at} ${label}`);
  return (
    <form onSubmit={(event) => event.preventDefault()}>
      <h2>Scenario</h2>
      {!scenario.class && <p className="field"><label htmlFor="f-product">Lines of the product</label><select id="f-product" value={scenario.product} onChange={(event) => set({ product: event.target.value })}>{release.products.map((each) => <option key={each.code}>{each.code}</option>)}</select></p>}
      <fieldset><legend>With the action</legend>{ACTIONS.map((action) => (
        <label key={action} className="tick"><input type="checkbox" checked={scenario.actions.includes(action)} onChange={() => { const actions = ACTIONS.filter((each) => (each === action) !== scenario.actions.includes(each)); if (actions.length) set({ actions }); }} /> {action}</label>
      ))}</fieldset>
      <Text label="Only if (CEL)" value={scenario.when} change={(when) => set({ when }, "when")} />
      <p className="field"><label htmlFor="f-plan">Compose the plan definition</label><select id="f-plan" value={scenario.plan} onChange={(event) => set({ plan: event.target.value })}>{release.plans?.map((each) => <option key={each.code}>{each.code}</option>)}</select></p>
      <Rest value={scenario} known={SCENARIO_FIELDS} change={(rest) => set(rest)} />
      <div className="actions"><button type="button" onClick={() => { commit(removeScenario(release, at)); choose(); }}>Remove the scenario</button></div>
    </form>
  );
}

function Publish({ release, base, told, commit, done }: { release: Release; base?: string; told?: Findings; commit: Editing["commit"]; done: () => void }) {
  const [made, setMade] = useState<{ id: string; published: boolean }>();
  const press = usePress("publish_release", {}, (answer) => { setMade(answer as { id: string; published: boolean }); done(); }, true);
  const refused = refusedBecause("publish_release");
  return (
    <form aria-label="Publish" onSubmit={(event) => { event.preventDefault(); void press.send(release); }}>
      <h2>The release</h2>
      <Text label="Code" value={release.code} change={(code) => commit({ ...release, code }, "release code")} />
      <Text label="Version" value={release.version} change={(version) => commit({ ...release, version }, "release version")} />
      <p>{many(release.products.length, "product")}, {many(release.plans?.length ?? 0, "plan definition")}, {many(release.plans?.flatMap((plan) => plan.items).length ?? 0, "item")}, {many(release.scenarios?.length ?? 0, "scenario")}.</p>
      <p className="why">A published version never changes. New orders take it; orders that run stay on theirs.</p>
      <div className="actions"><button className="primary" disabled={!!refused || press.isSending || !told || told.errors.length > 0} title={refused}>{press.isSending ? "Publishing…" : "Publish"}</button></div>
      <Trouble error={press.error} />
      {made && <p role="status">{made.published ? `Published as ${made.id}.` : `${made.id} was published before.`} {base && base !== made.id && <Link href={`/console/releases?release=${encodeURIComponent(base)}&to=${encodeURIComponent(made.id)}`}>What differs from {base}</Link>}</p>}
      {base && <Changes base={base} release={release} />}
      <Rest value={release} known={RELEASE_FIELDS} change={(rest) => commit(JSON.parse(JSON.stringify({ ...release, ...rest })) as Release)} />
      <p>Choose a part, or add one, to edit it here.</p>
    </form>
  );
}

// What the draft changes of the release that it was begun from.
function Changes({ base, release }: { base: string; release: Release }) {
  const found = useLive(base, async (signal) => (await ask<Release>("get_release", { release_id: base }, { signal })).body, () => false);
  const changes = useMemo(() => found.data && changesOf(found.data, release), [found.data, release]);
  if (!changes) return found.error ? <Trouble error={found.error} again={found.again} /> : null;
  return (
    <section aria-label="Changes"><h3>{changes.length ? `${many(changes.length, "change")} since ${base}` : `Nothing is changed since ${base}`}</h3>
      <ul>{changes.slice(0, 100).map(([what, kind, name]) => <li key={what + kind + name}>{what}: {kind} {name}</li>)}</ul>
      {changes.length > 100 && <p>The first 100 are shown.</p>}
    </section>
  );
}
