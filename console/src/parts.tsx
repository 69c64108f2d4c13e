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

interface RepairProps<O extends Operation> {
  operation: O; parameters: Parameters[O]; label: string; effect: string; body?: Record<string, unknown>;
  done: (answer: unknown) => void;
  children?: ReactNode;
}

// A button that asks for the reason first. What the role may not do is disabled and says why.
export function WithReason<O extends Operation>({ operation, parameters, label, effect, body, done }: RepairProps<O>) {
  const [isOpen, setOpen] = useState(false);
  const [isSending, setSending] = useState(false);
  const [error, setError] = useState<Refusal>();
  const [reason, setReason] = useState("");
  const field = useRef<HTMLInputElement>(null);
  const opener = useRef<HTMLButtonElement>(null);
  const refused = refusedBecause(operation);
  useEffect(() => { if (isOpen) field.current?.focus(); }, [isOpen]);
  const close = () => { setOpen(false); setError(undefined); setTimeout(() => opener.current?.focus()); };
  if (!isOpen) {
    return (
      <span className="action">
        <button ref={opener} disabled={!!refused} title={refused} onClick={() => setOpen(true)}>{label}</button>
        {refused && <span className="why">{refused}</span>}
      </span>
    );
  }
  return (
    <form className="reason" aria-label={label} onKeyDown={(event) => { if (event.key === "Escape") { event.stopPropagation(); close(); } }}
      onSubmit={async (event) => {
        event.preventDefault();
        setSending(true);
        try {
          const answer = await ask(operation, parameters, { body: { ...body, reason } });
          close();
          setReason("");
          done(answer.body);
        } catch (problem) {
          setError(problem as Refusal);
        } finally {
          setSending(false);
        }
      }}>
      <p>{effect}</p>
      <label>Reason <input ref={field} required maxLength={500} value={reason} onChange={(event) => setReason(event.target.value)} /></label>
      <Trouble error={error} />
      <button className="primary" disabled={isSending || !reason.trim()}>{isSending ? "Sending…" : label}</button>
      <button type="button" onClick={close}>Back</button>
    </form>
  );
}
