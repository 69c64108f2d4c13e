// The designer: plan definitions as lanes, their items, what waits for what, and which lines compose which plan. The
// working copy is a draft on the server; every edit is one step that can be undone; publishing makes a new frozen version.

// The designer: plan definitions as lanes, their items, what waits for what, and which lines compose which plan. A draft
// is kept in this browser; every edit is one step that can be undone; publishing makes a new frozen version.

import { ReactFlowProvider } from "@xyflow/react";
import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { Refusal, ask, refusedBecause } from "./api";
import { Clashing, type Diagram, Diagrams, Naming, Pick, Sure } from "./Diagrams";
import { type Kept, type Working, useDraft } from "./draft";
import { go, useAddress, useLive, withQuery } from "./hooks";
import { Import } from "./Import";
import { type Chosen, type Editing, Lanes, chosenOf } from "./Lanes";
import { Link, Trouble, many, usePress } from "./parts";
import {
  ACTIONS, EMPTY, KINDS, type ItemDef, type Ref, type Release, addItem, addPlan, addProduct, addScenario, changeItem, changePlanCode, changeProduct, changeScenario, changesOf, clipOf, connect, copied, disconnect,
  freeCode, isSame, itemOf, keyOf, movedLane, pasted, removeItem, removePlan, removeScenario, tidied, waits,
} from "./release";
import { Simulation } from "./Simulation";

const CHECK_MS = 400;
const PRODUCTS_SHOWN = 20; // more are folded up

const ITEM_FIELDS = ["code", "name", "type", "system", "operation", "retry", "queue", "task", "subPlan", "event", "condition", "durationS"];
const PRODUCT_FIELDS = ["code", "name", "kind", "attributes"];
const SCENARIO_FIELDS = ["product", "actions", "when", "plan"];
const RELEASE_FIELDS = ["format", "code", "version", "products", "plans", "dependencies", "scenarios"];

interface Findings { errors: string[]; findings: string[]; id?: string }

// Where the chosen part stands: what is given another code stays the same part.
function placeOf(release: Release, chosen: NonNullable<Chosen>): string {
  if ("product" in chosen) return `product ${release.products.findIndex((each) => each.code === chosen.product)}`;
  if ("scenario" in chosen) return `scenario ${chosen.scenario}`;
  const code = "plan" in chosen ? chosen.plan : chosen.item.plan, at = release.plans?.findIndex((plan) => plan.code === code) ?? -1;
  return "plan" in chosen ? `plan ${at}` : `item ${at} ${release.plans?.[at]?.items.findIndex((item) => item.code === chosen.item.item)}`;
}

// Changes the address of the designer, as long as it is shown.
function move(changes: Record<string, string | undefined>) {
  const url = new URL(location.href);
  if (url.pathname.endsWith("/designer")) go(withQuery(url, changes), false);
}

const POLL_MS = 5_000; // what others save is told by no fact
const isTyping = (event: { target: EventTarget | null }) => (event.target as HTMLElement | null)?.matches?.("input, textarea, select") ?? false;

export function Designer() {
  const url = useAddress();
  const draft = useDraft(url.searchParams.get("draft") ?? undefined, (name) => move({ draft: name }));
  const { release, commit } = draft;
  const chosen = chosenOf(url.searchParams.get("at"));
  const choose = (...at: string[]) => move({ at: at.length ? JSON.stringify(at) : undefined });
  const published = useLive("releases", async (signal) => (await ask<{ id: string; isCurrent: boolean }[]>("list_releases", {}, { signal })).body, () => false);
  const diagrams = useLive("diagrams", async (signal) => (await ask<Diagram[]>("list_diagrams", {}, { signal })).body, () => false, { pollMs: () => POLL_MS });
  const [beside, setBeside] = useState<"import" | "simulation">();
  const [error, setError] = useState<Refusal>();
  const codes = release.plans?.map((plan) => plan.code) ?? [];
  const lanes = draft.lanes ?? codes;
  const shown = lanes.filter((code) => codes.includes(code));
  const told = useCheck(release);
  const lane = chosen && "item" in chosen ? chosen.item.plan : chosen && "plan" in chosen ? chosen.plan : shown.at(-1);
  const refused = refusedBecause("publish_release");

  const begin = async (id: string) => {
    try {
      await draft.begin({ release: id ? (await ask<Release>("get_release", { release_id: id })).body : EMPTY, base: id || undefined });
      setError(undefined);
      choose();
    } catch (problem) { setError(problem as Refusal); }
  };
  // A diagram of another catalogue opens on the newest release of that one.
  const open = async ({ name, catalogue, plans }: Diagram) => {
    if (catalogue === release.code) { draft.show(plans, name); return; }
    const id = (await ask<{ id: string }[]>("list_releases", {})).body.find((each) => each.id.startsWith(`${catalogue}@`))?.id;
    if (!id) throw new Refusal(`No release of the catalogue ${catalogue} is published.`, 404, "Open a draft of it, or publish one.");
    await draft.begin({ release: (await ask<Release>("get_release", { release_id: id })).body, base: id, lanes: plans, diagram: name });
    choose();
  };
  const wanted = url.searchParams.get("diagram");
  useEffect(() => {
    const diagram = wanted && !draft.isReading ? diagrams.data?.find((each) => each.name === wanted) : undefined;
    if (!diagram) return;
    move({ diagram: undefined });
    open(diagram).catch((problem) => setError(problem as Refusal));
  }, [wanted, diagrams.data, draft.isReading]);
  // A new plan definition is seen, whichever are shown.
  const withLane = (code: string) => (draft.lanes && !draft.lanes.includes(code) ? { lanes: [...draft.lanes, code] } : {});
  const addLane = (code: string) => { draft.change({ release: addPlan(release, code), ...withLane(code) }); choose("plan", code); };
  const add = (type: string) => {
    const plan = lane ?? freeCode(codes, "plan");
    const before = lane ? release : addPlan(release, plan);
    const code = freeCode(before.plans!.find((each) => each.code === plan)!.items.map((item) => item.code), KINDS[type].toLowerCase());
    const after = chosen && "item" in chosen ? chosen.item : undefined;
    draft.change({ release: addItem(before, plan, { code, type, ...(type === "autoTask" && { task: "noop" }) }, after), ...withLane(plan) });
    choose("item", plan, code);
  };
  const shift = (code: string, by: number) => draft.show(movedLane(lanes, code, by), draft.diagram);
  const tidy = () => draft.show(tidied(release, shown), draft.diagram);
  const keys = (event: React.KeyboardEvent) => {
    if (isTyping(event)) return;
    if (event.shiftKey && event.altKey && event.code === "KeyT") { event.preventDefault(); tidy(); }
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
    event.preventDefault();
    if (event.shiftKey) draft.redo(); else draft.undo();
  };
  // The chosen item, or all items of the chosen plan definition, by way of the clipboard.
  useEffect(() => {
    const copy = (event: ClipboardEvent) => {
      // Text that is marked is what is meant, but not in the picture.
      if (isTyping(event) || !chosen || (String(getSelection()) && !document.activeElement?.closest(".graph"))) return;
      const clip = "item" in chosen ? copied(release, chosen.item.plan, [chosen.item.item]) : "plan" in chosen ? copied(release, chosen.plan, release.plans?.find((plan) => plan.code === chosen.plan)?.items.map((item) => item.code) ?? []) : undefined;
      if (!clip?.items.length) return;
      event.preventDefault();
      event.clipboardData?.setData("text/plain", JSON.stringify(clip));
    };
    const paste = (event: ClipboardEvent) => {
      const clip = isTyping(event) ? undefined : clipOf(event.clipboardData?.getData("text/plain") ?? "");
      if (!clip || !lane) return;
      event.preventDefault();
      const made = pasted(release, lane, clip);
      commit(made.release);
      if (made.codes.length) choose("item", lane, made.codes[0]);
    };
    document.addEventListener("copy", copy);
    document.addEventListener("paste", paste);
    return () => { document.removeEventListener("copy", copy); document.removeEventListener("paste", paste); };
  });
  return (
    <div onKeyDown={keys}>
      <h1>Designer</h1>
      <Drafts draft={draft} />
      <div className="actions bar">
        <Pick label="Begin from" action="Begin" value="" pick={(id) => void begin(id === "nothing" ? "" : id)}>
          <option value="" disabled>choose…</option><option value="nothing">nothing</option>{published.data?.map((each) => <option key={each.id} value={each.id}>{each.id}{each.isCurrent ? " (current)" : ""}</option>)}
        </Pick>
        <button onClick={draft.undo} disabled={!draft.steps}>Undo</button>
        <button onClick={draft.redo} disabled={!draft.undone}>Redo</button>
        <button onClick={tidy} disabled={tidied(release, shown) === shown} title="Lanes in the order in which the work flows (Shift+Alt+T)">Tidy</button>
        <button aria-expanded={beside === "import"} onClick={() => setBeside(beside === "import" ? undefined : "import")}>Import…</button>
        <Files release={release} begin={(given) => { draft.replace({ release: given }); choose(); }} failed={setError} />
        <button aria-expanded={beside === "simulation"} onClick={() => setBeside(beside === "simulation" ? undefined : "simulation")}>Simulate…</button>
        <span className="count">{draft.base ? `Begun from ${draft.base}.` : ""}</span>
      </div>
      <Trouble error={error ?? published.error} />
      {refused && <p className="why">{refused}</p>}
      {beside === "import" && <Import version={release.code === EMPTY.code ? "1" : release.version} close={() => setBeside(undefined)} done={({ release: imported, diagrams: [first] }) => {
        draft.replace({ release: imported, lanes: first?.plans, diagram: first?.name });
        diagrams.again();
        choose();
      }} />}
      {beside === "simulation" && <Simulation release={release} close={() => setBeside(undefined)} />}
      <div className="designer">
        <Outline release={release} chosen={chosen} choose={choose} lanes={shown} show={(next) => draft.show(next, draft.diagram)} shift={shift} addLane={addLane} commit={commit} />
        <section aria-label="Lanes" className="lanes">
          <Diagrams draft={draft} shown={shown} all={diagrams} open={open} />
          <div className="actions">{Object.entries(KINDS).map(([type, label]) => <button key={type} onClick={() => add(type)}>+ {label}</button>)}</div>
          <ReactFlowProvider><Lanes release={release} shown={shown} chosen={chosen} choose={choose} commit={commit} move={shift} connectFrom={() => document.getElementById("f-wait")?.focus()} /></ReactFlowProvider>
          <Check told={told} release={release} choose={choose} />
        </section>
        <aside aria-label="What is chosen">
          {!chosen && <Publish release={release} base={draft.base} told={told} commit={commit} done={published.again} />}
          {chosen && <button className="close" onClick={() => choose()} aria-label="Close">✕</button>}
          {chosen && "item" in chosen && <ItemForm key={placeOf(release, chosen)} at={chosen.item} release={release} choose={choose} commit={commit} />}
          {chosen && "plan" in chosen && <PlanForm key={placeOf(release, chosen)} code={chosen.plan} release={release} choose={choose} commit={commit} rename={(code) => {
            draft.change({ release: changePlanCode(release, chosen.plan, { code }), ...(draft.lanes && { lanes: draft.lanes.map((each) => (each === chosen.plan ? code : each)) }) });
            choose("plan", code);
          }} />}
          {chosen && "product" in chosen && <ProductForm key={placeOf(release, chosen)} code={chosen.product} release={release} choose={choose} commit={commit} />}
          {chosen && "scenario" in chosen && <ScenarioForm key={chosen.scenario} at={chosen.scenario} release={release} choose={choose} commit={commit} />}
        </aside>
      </div>
    </div>
  );
}

// The draft on the server: which one is open, whether it is saved, and what to do where somebody else has saved it too.
function Drafts({ draft }: { draft: Working }) {
  const { name, isSaved, clash, error, refused } = draft;
  const all = useLive(`drafts ${name}`, async (signal) => (await ask<Kept[]>("list_drafts", {}, { signal })).body, () => false);
  const told = draft.isReading ? "Reading…" : clash ? "Not saved: somebody else has saved it." : error && !isSaved ? "Not saved; it is tried again." : name === undefined ? "A draft begins with the first edit." : isSaved ? "Saved." : "Saving…";
  return (
    <div role="group" aria-label="Draft">
      <div className="actions bar">
        <Pick label="Draft" action="Open the draft" text="Open" value={name ?? ""} pick={(wanted) => { if (wanted) move({ draft: wanted, at: undefined }); else { void draft.begin({ release: EMPTY }); move({ at: undefined }); } }}>
          <option value="">{name === undefined ? "none yet" : "a new one"}</option>
          {name !== undefined && !all.data?.some((each) => each.name === name) && <option value={name}>{name}</option>}
          {all.data?.map((each) => <option key={each.name} value={each.name}>{each.name}{each.of ? ` (${each.of})` : ""}</option>)}
        </Pick>
        <Naming label="Rename the draft…" text="Rename…" name={name ?? ""} refused={refused} isDisabled={name === undefined || !isSaved} send={async (to) => {
          const { release, base, lanes, diagram } = draft;
          const { body } = await ask<{ version: number }>("put_draft", { name: name! }, { body: { release, base, lanes, diagram, name: to }, version: draft.version });
          draft.renamed(to, body.version);
          all.again();
        }} />
        <Sure label="Delete the draft…" text="Delete…" effect="It goes for everybody; what was published stays." refused={refusedBecause("delete_draft")} isDisabled={name === undefined || !isSaved} send={async () => { await ask("delete_draft", { name: name! }, { version: draft.version }); draft.forgotten(); all.again(); }} />
        <span className="count" role="status">{refused ?? told}</span>
      </div>
      {clash && <Clashing what="draft" clash={clash} theirs={() => void draft.takeTheirs()} mine={() => void draft.keepMine()} />}
      <Trouble error={error ?? all.error} />
    </div>
  );
}

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
      <input ref={input} hidden type="file" accept="application/json,.json,.yaml,.yml" aria-label="Release file" onChange={async (event) => {
        const file = event.target.files?.[0];
        event.target.value = "";
        try {
          if (file && /\.ya?ml$/i.test(file.name)) begin((await ask<{ release: Release }>("read_release_file", {}, { body: { text: await file.text() } })).body.release);
          else if (file) begin(JSON.parse(await file.text()));
          failed(undefined);
        } catch (problem) { failed(problem instanceof Refusal ? problem : new Refusal(`The file is no JSON: ${(problem as Error).message}`, 400)); }
      }} />
      <button onClick={download}>Save as a file</button>
    </>
  );
}

interface OutlineProps extends Editing { chosen: Chosen; lanes: string[]; show: (lanes: string[]) => void; shift: (code: string, by: number) => void; addLane: (code: string) => void }

function Outline({ release, chosen, choose, lanes, show, shift, addLane, commit }: OutlineProps) {
  const row = (key: string, label: ReactNode, isChosen: boolean, at: string[]) => (
    <li key={key}><button className="plain" aria-pressed={isChosen} onClick={() => choose(...at)}>{label}</button></li>
  );
  const isAt = (ref: Ref) => !!chosen && "item" in chosen && isSame(chosen.item, ref);
  const plans = release.plans ?? [], scenarios = release.scenarios ?? [], isLong = release.products.length > PRODUCTS_SHOWN;
  // The lanes in their order, then what is not shown.
  const listed = [...lanes.map((code) => plans.find((plan) => plan.code === code)!), ...plans.filter((plan) => !lanes.includes(plan.code))];
  const [dragged, setDragged] = useState<string>();
  const drop = (code: string) => { if (dragged && dragged !== code) show(movedLane(lanes, dragged, lanes.indexOf(code) - lanes.indexOf(dragged))); setDragged(undefined); };
  return (
    <nav aria-label="Parts of the release" className="outline">
      <h2>Plan definitions <button aria-label="Add a plan definition" onClick={() => addLane(freeCode(plans.map((each) => each.code), "plan"))}>+</button></h2>
      <ul>{listed.map((plan) => {
        const { code } = plan, at = lanes.indexOf(code), isShown = at >= 0, name = plan.name || code;
        return (
          <li key={code} draggable={isShown} onDragStart={() => setDragged(code)} onDragOver={(event) => { if (isShown) event.preventDefault(); }} onDrop={() => drop(code)}>
            <div className="laned">
              <input type="checkbox" checked={isShown} onChange={() => show(isShown ? lanes.filter((each) => each !== code) : [...lanes, code])} aria-label={`Show the lane ${code}`} />
              <button className="plain" aria-pressed={!!chosen && "plan" in chosen && chosen.plan === code} onClick={() => choose("plan", code)}>{name}</button>
              {isShown && lanes.length > 1 && <span><button disabled={at === 0} aria-label={`Move the lane ${code} up`} onClick={() => shift(code, -1)}>↑</button><button disabled={at === lanes.length - 1} aria-label={`Move the lane ${code} down`} onClick={() => shift(code, 1)}>↓</button></span>}
            </div>
            <ul>{plan.items.map((item) => row(item.code, item.name || item.code, isAt({ plan: code, item: item.code }), ["item", code, item.code]))}</ul>
          </li>
        );
      })}</ul>
      <h2>Scenarios <button aria-label="Add a scenario" disabled={!plans.length || !release.products.length} onClick={() => { commit(addScenario(release, plans.at(-1)!.code, release.products.at(-1)!.code)); choose("scenario", String(scenarios.length)); }}>+</button></h2>
      <ul>{scenarios.map((each, at) => row(String(at), `${each.product ?? each.class}: ${each.actions.join(", ")} → ${each.plan}`, !!chosen && "scenario" in chosen && chosen.scenario === at, ["scenario", String(at)]))}</ul>
      <h2>Products <button aria-label="Add a product" onClick={() => { const code = freeCode(release.products.map((each) => each.code), "product"); commit(addProduct(release, code)); choose("product", code); }}>+</button></h2>
      <details key={String(isLong)} open={!isLong}><summary>{many(release.products.length, "product")}</summary><ul>{release.products.map((each) => row(each.code, each.name || each.code, !!chosen && "product" in chosen && chosen.product === each.code, ["product", each.code]))}</ul></details>
    </nav>
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
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => setNow(code), [code]);
  // Whoever goes through the picture by its keys stays there.
  useEffect(() => { if (!document.activeElement?.closest(".graph")) field.current?.focus(); }, []);
  const done = () => {
    if (now === code) return;
    if (!now.trim() || taken.includes(now)) setNow(code);
    else rename(now);
  };
  return (
    <p className="field"><label htmlFor="f-code">Code</label>
      <input id="f-code" ref={field} value={now} onFocus={(event) => event.target.select()} onChange={(event) => setNow(event.target.value)} onBlur={done} onKeyDown={(event) => { if (event.key === "Enter") { event.preventDefault(); done(); } }} /></p>
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
  const [wanted, setWanted] = useState("");
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
      <div className="entry"><p className="field"><label htmlFor="f-wait">Also for</label><select id="f-wait" value={wanted} onChange={(event) => setWanted(event.target.value)}>
        <option value="" />{others.map((each) => <option key={keyOf(each)} value={JSON.stringify([each.plan, each.item])}>{keyOf(each)}</option>)}</select></p>
        <button type="button" disabled={!wanted} onClick={() => { const [plan, one] = JSON.parse(wanted) as string[]; commit(connect(release, { plan, item: one }, at)); setWanted(""); document.getElementById("f-wait")?.focus(); }}>Connect</button></div>
      <Rest value={item} known={ITEM_FIELDS} change={(rest) => commit(changeItem(release, at, rest))} />
      <div className="actions">
        <button type="button" onClick={() => { const code = freeCode(release.plans!.find((plan) => plan.code === at.plan)!.items.map((each) => each.code), at.item); commit(addItem(release, at.plan, { ...item, code })); choose("item", at.plan, code); }}>Duplicate</button>
        <button type="button" onClick={() => { commit(removeItem(release, at)); choose(); }}>Remove the item</button>
      </div>
    </form>
  );
}

function PlanForm({ code, release, choose, commit, rename }: Editing & { code: string; rename: (code: string) => void }) {
  const plan = release.plans?.find((each) => each.code === code);
  if (!plan) return <p>There is no such plan definition.</p>;
  return (
    <form onSubmit={(event) => event.preventDefault()}>
      <h2>{plan.name || code}</h2>
      <CodeField code={code} taken={release.plans!.map((each) => each.code)} rename={rename} />
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
