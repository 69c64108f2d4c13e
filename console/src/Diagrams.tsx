// Diagrams: named canvases of chosen plan definitions, in the order of their lanes, saved for everybody.

import { type FormEvent, type ReactNode, useEffect, useRef, useState } from "react";
import { Refusal, ask, refusedBecause } from "./api";
import { type Clash, type Working, clashOf } from "./draft";
import { type Loaded } from "./hooks";
import { Trouble, many, when } from "./parts";

export interface Diagram { name: string; version: number; updatedAt: string; updatedBy: string; catalogue: string; plans: string[]; description?: string }

// A list to choose from and a button that does it: the arrow keys go through the list, and nothing happens on the way.
export function Pick({ label, action, text = action, value, pick, isDisabled, children }: { label: string; action: string; text?: string; value: string; pick: (value: string) => void; isDisabled?: boolean; children: ReactNode }) {
  const [chosen, setChosen] = useState(value);
  useEffect(() => setChosen(value), [value]);
  return (
    <>
      <label>{label} <select className="wide" value={chosen} onChange={(event) => setChosen(event.target.value)}>{children}</select></label>
      <button type="button" aria-label={action} disabled={isDisabled || chosen === value} onClick={() => { pick(chosen); setChosen(value); }}>{text}</button>
    </>
  );
}

// A button that asks for a name first.
export function Naming({ label, text: short = label, name, send, refused, isDisabled }: { label: string; text?: string; name: string; send: (name: string) => Promise<void>; refused?: string; isDisabled?: boolean }) {
  const [isShown, setShown] = useState(false);
  const [text, setText] = useState(name);
  const [error, setError] = useState<Refusal>();
  const field = useRef<HTMLInputElement>(null), opener = useRef<HTMLButtonElement>(null);
  useEffect(() => { if (isShown) field.current?.select(); }, [isShown]);
  const close = () => { setShown(false); setError(undefined); setTimeout(() => opener.current?.focus()); };
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    try { await send(text.trim()); close(); } catch (problem) { setError(problem as Refusal); }
  };
  if (!isShown) return <button ref={opener} aria-label={label} disabled={!!refused || isDisabled} title={refused} onClick={() => { setText(name); setShown(true); }}>{short}</button>;
  return (
    <form className="naming" aria-label={label} onSubmit={(event) => void submit(event)} onKeyDown={(event) => { if (event.key === "Escape") { event.stopPropagation(); close(); } }}>
      <label>Name <input ref={field} required maxLength={200} value={text} onChange={(event) => setText(event.target.value)} /></label>
      <button className="primary" disabled={!text.trim()}>{short.replace("…", "")}</button><button type="button" onClick={close}>Back</button>
      <Trouble error={error} />
    </form>
  );
}

// A button that asks whether it is meant.
export function Sure({ label, text = label, effect, send, refused, isDisabled }: { label: string; text?: string; effect: string; send: () => Promise<void>; refused?: string; isDisabled?: boolean }) {
  const [isShown, setShown] = useState(false);
  const [error, setError] = useState<Refusal>();
  const yes = useRef<HTMLButtonElement>(null);
  useEffect(() => { if (isShown) yes.current?.focus(); }, [isShown]);
  if (!isShown) return <button aria-label={label} disabled={!!refused || isDisabled} title={refused} onClick={() => setShown(true)}>{text}</button>;
  const done = async () => { try { await send(); setShown(false); } catch (problem) { setError(problem as Refusal); } };
  return (
    <span className="naming" role="group" aria-label={label}>
      <span>{effect}</span> <button ref={yes} onClick={() => void done()}>{text.replace("…", "")}</button><button onClick={() => setShown(false)}>Back</button>
      <Trouble error={error} />
    </span>
  );
}

// What somebody else has saved meanwhile, and which of the two is to stay.
export function Clashing({ what, clash, theirs, mine }: { what: string; clash: Clash; theirs: () => void; mine: () => void }) {
  const shown = (value: unknown): ReactNode => (value === undefined ? <i>nothing</i> : <code>{typeof value === "string" ? value : JSON.stringify(value)}</code>);
  return (
    <section className="trouble" role="alert" aria-label={`The ${what} was changed meanwhile`}>
      <p><strong>{clash.updatedBy}</strong> has saved this {what} meanwhile ({when(clash.updatedAt)}). {clash.differs.length ? `${clash.more ? "More than " : ""}${many(clash.differs.length, "place")} differ:` : "Nothing in it differs."}</p>
      {clash.differs.length > 0 && <div className="differs"><table>
        <thead><tr><th scope="col">Place</th><th scope="col">Saved by {clash.updatedBy}</th><th scope="col">Yours</th></tr></thead>
        <tbody>{clash.differs.map((each) => <tr key={each.path}><th scope="row">{each.path}</th><td>{shown(each.stored)}</td><td>{shown(each.sent)}</td></tr>)}</tbody>
      </table></div>}
      <div className="actions"><button onClick={theirs}>Take theirs</button><button onClick={mine}>Save mine over it</button></div>
    </section>
  );
}

const same = (one: string[], other: string[]) => one.length === other.length && one.every((each, at) => each === other[at]);

interface Props { draft: Working; shown: string[]; all: Loaded<Diagram[]>; open: (diagram: Diagram) => Promise<void> }

export function Diagrams({ draft, shown, all, open }: Props) {
  const [clash, setClash] = useState<Clash>();
  const [error, setError] = useState<Refusal>();
  const [told, setTold] = useState("");
  const stored = all.data?.find((each) => each.name === draft.diagram);
  const known = new Set(draft.release.plans?.map((plan) => plan.code));
  const absent = draft.lanes?.filter((code) => !known.has(code)) ?? [];
  const lanes = draft.lanes ?? shown;
  const isChanged = !!stored && !same(stored.plans, lanes);
  // The version that is worked on: as it was when it last looked like this, whatever others have saved since.
  const [base, setBase] = useState<{ name: string; version: number }>();
  useEffect(() => { if (stored && !isChanged) setBase({ name: stored.name, version: stored.version }); }, [stored, isChanged]);
  const version = base && base.name === stored?.name ? base.version : 0;
  const refused = refusedBecause("put_diagram");
  const catalogue = draft.release.code;
  const save = async (name: string, extra: { version?: number; name?: string }) => {
    const body = { catalogue: stored && extra.version !== undefined ? stored.catalogue : catalogue, plans: lanes, ...(stored?.description && { description: stored.description }), ...(extra.name && { name: extra.name }) };
    const { body: kept } = await ask<{ name: string; version: number }>("put_diagram", { name }, { body, version: extra.version });
    setBase(kept);
    setClash(undefined);
    setError(undefined);
    draft.show(lanes, extra.name ?? name);
    setTold(`${extra.name ?? name} is saved.`);
    all.again();
  };
  const over = async (anyway = version) => {
    try { if (stored) await save(stored.name, { version: anyway }); } catch (problem) {
      const found = clashOf(problem as Refusal);
      if (found) setClash(found); else setError(problem as Refusal);
    }
  };
  const take = async () => {
    try {
      const { body } = await ask<Diagram>("get_diagram", { name: draft.diagram! });
      setClash(undefined);
      setBase({ name: body.name, version: body.version });
      draft.show(body.plans, body.name);
      all.again();
    } catch (problem) { setError(problem as Refusal); }
  };
  const choose = (name: string) => {
    const diagram = all.data?.find((each) => each.name === name);
    setTold("");
    setError(undefined);
    setClash(undefined);
    if (diagram) void open(diagram).then(() => setBase({ name, version: diagram.version })).catch((problem) => setError(problem as Refusal));
    else draft.show(undefined);
  };
  const [mine, others] = [all.data?.filter((each) => each.catalogue === catalogue) ?? [], all.data?.filter((each) => each.catalogue !== catalogue) ?? []];
  const option = (each: Diagram) => <option key={each.name} value={each.name}>{each.name}</option>;
  return (
    <div role="group" aria-label="Diagram">
      <div className="actions bar">
        <Pick label="Diagram" action="Open the diagram" text="Open" value={draft.diagram ?? (draft.lanes ? "-" : "")} pick={choose}>
          {draft.lanes && !draft.diagram && <option value="-">not saved yet</option>}
          <option value="">all plan definitions</option>
          {draft.diagram && !stored && <option value={draft.diagram}>{draft.diagram}</option>}
          {mine.length > 0 && <optgroup label={`Of ${catalogue}`}>{mine.map(option)}</optgroup>}
          {others.length > 0 && <optgroup label="Of other catalogues">{others.map(option)}</optgroup>}
        </Pick>
        <button aria-label="Save the diagram" disabled={!!refused || !isChanged} title={refused} onClick={() => void over()}>Save</button>
        <Naming label="Save the diagram as…" text="Save as…" name={draft.diagram ?? `Diagram of ${catalogue}`} refused={refused} isDisabled={!lanes.length} send={(name) => save(name, {})} />
        <Naming label="Rename the diagram…" text="Rename…" name={draft.diagram ?? ""} refused={refused} isDisabled={!stored} send={(name) => save(stored!.name, { version, name })} />
        <Sure label="Delete the diagram…" text="Delete…" effect="It goes for everybody; its plan definitions stay." refused={refusedBecause("delete_diagram")} isDisabled={!stored} send={async () => { await ask("delete_diagram", { name: stored!.name }, { version: stored!.version }); draft.show(draft.lanes); all.again(); }} />
        <span className="count" role="status">{told || (isChanged ? "Changed." : stored ? `Saved by ${stored.updatedBy}.` : "")}</span>
      </div>
      {absent.length > 0 && <p className="warn">Not in this release: {absent.join(", ")}.</p>}
      {clash && <Clashing what="diagram" clash={clash} theirs={() => void take()} mine={() => void over(clash.version)} />}
      <Trouble error={error ?? all.error} />
    </div>
  );
}
