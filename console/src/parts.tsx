// Small parts that every screen uses.

import { type AnchorHTMLAttributes, type ReactNode, useEffect, useRef, useState } from "react";
import { type Operation, type Parameters } from "./api.generated";
import { Refusal, ask, refusedBecause } from "./api";
import { go } from "./hooks";
import { look } from "./states";

export function Link({ href, children, ...rest }: AnchorHTMLAttributes<HTMLAnchorElement> & { href: string; children: ReactNode }) {
  return (
    <a {...rest} href={href} onClick={(event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
      event.preventDefault();
      go(href);
    }}>{children}</a>
  );
}

export function State({ state }: { state: string }) {
  const { sign, tone } = look(state);
  return <span className={`state ${tone}`}><span aria-hidden="true">{sign}</span> {state}</span>;
}

export function Trouble({ error, again }: { error?: Refusal; again?: () => void }) {
  if (!error) return null;
  return (
    <div className="trouble" role="alert">
      <p>{error.message}{error.mend && <> <span className="mend">{error.mend}</span></>}</p>
      {again && <button onClick={again}>Try again</button>}
    </div>
  );
}

export const when = (at: string | null | undefined) => (at ? <time dateTime={at}>{new Date(at).toLocaleString()}</time> : "–");

// "1 order", "4 orders".
export const many = (count: number, one: string, more = `${one}s`) => `${count.toLocaleString()} ${count === 1 ? one : more}`;

// Sends one press of a button: its key and body stay the same until the server has said what became of it, however
// often it is sent. Where somebody may have changed what is sent meanwhile (`isOther`), that is another press.
export function usePress<O extends Operation>(operation: O, parameters: Parameters[O], done: (answer: unknown) => void, isOther = false) {
  const press = useRef<{ key: string; body?: unknown }>(undefined);
  const [isSending, setSending] = useState(false);
  const [error, setError] = useState<Refusal>();
  const send = async (body?: unknown) => {
    if (isOther && JSON.stringify(press.current?.body) !== JSON.stringify(body)) press.current = undefined;
    press.current ??= { key: crypto.randomUUID(), body };
    setSending(true);
    setError(undefined);
    try {
      const { body: answer } = await ask(operation, parameters, press.current);
      press.current = undefined;
      done(answer);
    } catch (problem) {
      const refusal = problem as Refusal;
      if (!refusal.isOpen) press.current = undefined;
      setError(refusal);
    } finally {
      setSending(false);
    }
  };
  return { send, isSending, error, isOpen: !!press.current, clear: () => { press.current = undefined; setError(undefined); } };
}

interface ActProps<O extends Operation> {
  operation: O; parameters: Parameters[O]; label: string; body?: unknown; isMain?: boolean; isDisabled?: boolean; letter?: string;
  done: (answer: unknown) => void;
}

// A button that does at once what it says.
export function Act<O extends Operation>({ operation, parameters, label, body = {}, isMain, isDisabled, letter, done }: ActProps<O>) {
  const { send, isSending, error } = usePress(operation, parameters, done);
  const refused = refusedBecause(operation);
  return (
    <span className="action">
      <button className={isMain ? "primary" : undefined} data-key={letter} disabled={!!refused || isSending || isDisabled} title={refused} onClick={() => void send(body)}>{isSending ? "Sending…" : label}</button>
      {refused && <span className="why">{refused}</span>}
      <Trouble error={error} />
    </span>
  );
}

interface RepairProps<O extends Operation> {
  operation: O; parameters: Parameters[O]; label: string; effect: ReactNode; body?: Record<string, unknown>;
  isOptional?: boolean; // the reason
  letter?: string; // that presses it
  field?: { name: string; label: string }; // asked for in place of the reason
  done: (answer: unknown) => void;
}

const REASON = { name: "reason", label: "Reason" };

// A button that asks for the reason first. What the role may not do is disabled and says why.
export function WithReason<O extends Operation>({ operation, parameters, label, effect, body, isOptional, letter, field: wanted = REASON, done }: RepairProps<O>) {
  const [isShown, setShown] = useState(false);
  const [reason, setReason] = useState("");
  const field = useRef<HTMLInputElement>(null);
  const opener = useRef<HTMLButtonElement>(null);
  const refused = refusedBecause(operation);
  const close = () => { setShown(false); clear(); setTimeout(() => opener.current?.focus()); };
  const { send, isSending, error, isOpen, clear } = usePress(operation, parameters, (answer) => {
    close();
    setReason("");
    done(answer);
  });
  useEffect(() => { if (isShown) field.current?.focus(); }, [isShown]);
  if (!isShown) {
    return (
      <span className="action">
        <button ref={opener} data-key={letter} disabled={!!refused} title={refused} onClick={() => setShown(true)}>{label}</button>
        {refused && <span className="why">{refused}</span>}
      </span>
    );
  }
  return (
    <form className="reason" aria-label={label} onKeyDown={(event) => { if (event.key === "Escape") { event.stopPropagation(); close(); } }}
      onSubmit={(event) => { event.preventDefault(); void send({ ...body, ...(reason.trim() && { [wanted.name]: reason }) }); }}>
      <p>{effect}</p>
      <label>{wanted.label} <input ref={field} required={!isOptional} maxLength={500} readOnly={isOpen} value={reason} onChange={(event) => setReason(event.target.value)} /></label>
      <Trouble error={error} />
      <button className="primary" disabled={isSending || !(isOptional || reason.trim())}>{isSending ? "Sending…" : label}</button>
      <button type="button" onClick={close}>Back</button>
    </form>
  );
}

export function Head({ names }: { names: string[] }) {
  return <thead><tr>{names.map((each) => <th key={each} scope="col">{each || <span className="hidden">Chosen</span>}</th>)}</tr></thead>;
}

// "3 min", "26 h": how long ago, or how long yet.
export function span(ms: number): string {
  const s = Math.abs(ms) / 1_000;
  if (s < 100) return `${Math.round(s)} s`;
  if (s < 6_000) return `${Math.round(s / 60)} min`;
  return s < 172_800 ? `${Math.round(s / 3_600)} h` : `${Math.round(s / 86_400)} d`;
}

export const age = (at: string | null | undefined) => (at ? <time dateTime={at} title={new Date(at).toLocaleString()}>{span(Date.now() - Date.parse(at))}</time> : "–");

// When something is due: how long yet, or how long it has been late.
export function Due({ at }: { at: string | null | undefined }) {
  if (!at) return <>–</>;
  const left = Date.parse(at) - Date.now();
  return <time dateTime={at} title={new Date(at).toLocaleString()} className={left < 0 ? "bad" : undefined}>{left < 0 ? `${span(left)} late` : `in ${span(left)}`}</time>;
}

export const orderAddress = (orderId: string, item?: string) => `/console/orders/${encodeURIComponent(orderId)}${item ? `?item=${encodeURIComponent(item)}` : ""}`;
export const accountAddress = (account: string) => `/console/accounts/${encodeURIComponent(account)}`;

const ROWS = 300; // more are shown on request

// The first rows of a long table.
export function useMore<T>(all: T[]) {
  const [limit, setLimit] = useState(ROWS);
  return { shown: all.length > limit ? all.slice(0, limit) : all, rest: Math.max(0, all.length - limit), more: () => setLimit(limit + ROWS) };
}

export function More({ rest, more, what }: { rest: number; more: () => void; what: string }) {
  return rest > 0 ? <p><button onClick={more}>Show {Math.min(ROWS, rest)} more of {rest.toLocaleString()} {what}</button></p> : null;
}
