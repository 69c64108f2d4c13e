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
// often it is sent.
export function usePress<O extends Operation>(operation: O, parameters: Parameters[O], done: (answer: unknown) => void) {
  const press = useRef<{ key: string; body?: unknown }>(undefined);
  const [isSending, setSending] = useState(false);
  const [error, setError] = useState<Refusal>();
  const send = async (body?: unknown) => {
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
  operation: O; parameters: Parameters[O]; label: string; body?: unknown; isMain?: boolean; isDisabled?: boolean;
  done: (answer: unknown) => void;
}

// A button that does at once what it says.
export function Act<O extends Operation>({ operation, parameters, label, body = {}, isMain, isDisabled, done }: ActProps<O>) {
  const { send, isSending, error } = usePress(operation, parameters, done);
  const refused = refusedBecause(operation);
  return (
    <span className="action">
      <button className={isMain ? "primary" : undefined} disabled={!!refused || isSending || isDisabled} title={refused} onClick={() => void send(body)}>{isSending ? "Sending…" : label}</button>
      {refused && <span className="why">{refused}</span>}
      <Trouble error={error} />
    </span>
  );
}

interface RepairProps<O extends Operation> {
  operation: O; parameters: Parameters[O]; label: string; effect: ReactNode; body?: Record<string, unknown>;
  isOptional?: boolean; // the reason
  done: (answer: unknown) => void;
}

// A button that asks for the reason first. What the role may not do is disabled and says why.
export function WithReason<O extends Operation>({ operation, parameters, label, effect, body, isOptional, done }: RepairProps<O>) {
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
        <button ref={opener} disabled={!!refused} title={refused} onClick={() => setShown(true)}>{label}</button>
        {refused && <span className="why">{refused}</span>}
      </span>
    );
  }
  return (
    <form className="reason" aria-label={label} onKeyDown={(event) => { if (event.key === "Escape") { event.stopPropagation(); close(); } }}
      onSubmit={(event) => { event.preventDefault(); void send({ ...body, ...(reason.trim() && { reason }) }); }}>
      <p>{effect}</p>
      <label>Reason <input ref={field} required={!isOptional} maxLength={500} readOnly={isOpen} value={reason} onChange={(event) => setReason(event.target.value)} /></label>
      <Trouble error={error} />
      <button className="primary" disabled={isSending || !(isOptional || reason.trim())}>{isSending ? "Sending…" : label}</button>
      <button type="button" onClick={close}>Back</button>
    </form>
  );
}
