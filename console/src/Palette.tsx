// The palette (a screen, an order or a queue by a few letters) and the list of keys.

import { type ReactNode, useEffect, useRef, useState } from "react";
import { ask, refusedBecause } from "./api";
import { go } from "./hooks";
import { LETTERS, lettersAreOn, turnLetters } from "./keys";
import { orderAddress } from "./parts";
import { type OrderRow } from "./Orders";
import { type Queue } from "./Tasks";

interface Entry { label: string; kind: string; href: string }

const WAIT_MS = 200;
const ORDERS = 6;

export function Dialog({ label, close, children }: { label: string; close: () => void; children: ReactNode }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    dialog.current?.showModal();
    return () => before?.focus();
  }, []);
  return <dialog ref={dialog} aria-label={label} onClose={close} onClick={(event) => { if (event.target === dialog.current) close(); }}>{children}</dialog>;
}

export function Palette({ places, close }: { places: readonly (readonly [string, string])[]; close: () => void }) {
  const [text, setText] = useState("");
  const [found, setFound] = useState<{ text: string; entries: Entry[] }>({ text: "", entries: [] });
  const [at, setAt] = useState(0);
  const queues = useRef<Promise<Entry[]>>(undefined);
  const wanted = text.trim();
  useEffect(() => {
    if (wanted.length < 2) return;
    const stop = new AbortController();
    const timer = setTimeout(() => {
      queues.current ??= refusedBecause("list_queues") ? Promise.resolve([]) : ask<Queue[]>("list_queues", {}).then(
        ({ body }) => body.map(({ code, name }) => ({ label: name, kind: "Queue", href: `/console/tasks?queue=${encodeURIComponent(code)}` })),
      );
      // What the text asks for, and if it is one word also what begins with it.
      const search = /^[^\s"*:=<>]+$/.test(wanted) ? `${wanted}*` : wanted;
      const orders = refusedBecause("list_orders") ? Promise.resolve([]) : ask<{ items: OrderRow[] }>("list_orders", {}, { query: { search, limit: ORDERS }, signal: stop.signal }).then(
        ({ body }) => body.items.map((row) => ({ label: [row.orderId, row.externalId, row.account, row.state].filter(Boolean).join(" · "), kind: "Order", href: orderAddress(row.orderId) })),
      );
      void Promise.allSettled([orders, queues.current]).then(([first, second]) => {
        if (stop.signal.aborted) return;
        if (second.status === "rejected") queues.current = undefined;
        const all = [first, second].flatMap((each) => (each.status === "fulfilled" ? each.value : []));
        setFound({ text: wanted, entries: all.filter(({ kind, label }) => kind === "Order" || label.toLowerCase().includes(wanted.toLowerCase())) });
        setAt(0);
      });
    }, WAIT_MS);
    return () => { stop.abort(); clearTimeout(timer); };
  }, [wanted]);
  const screens = places.map(([href, label]) => ({ label, kind: "Screen", href })).filter(({ label }) => label.toLowerCase().includes(wanted.toLowerCase()));
  const entries: Entry[] = [...screens, ...(found.text === wanted ? found.entries : [])];
  if (wanted) entries.push({ label: `Search orders for “${wanted}”`, kind: "Search", href: `/console/orders?${new URLSearchParams({ search: wanted })}` });
  const chosen = Math.min(at, entries.length - 1);
  const take = (entry?: Entry) => { if (entry) { close(); go(entry.href); } };
  return (
    <Dialog label="Go to" close={close}>
      <input role="combobox" aria-label="Screen, order, customer or queue" aria-expanded={entries.length > 0} aria-controls="palette" aria-activedescendant={entries.length ? `palette-${chosen}` : undefined} autoFocus
        placeholder="Screen, order, customer or queue" value={text} onChange={(event) => { setText(event.target.value); setAt(0); }}
        onKeyDown={(event) => {
          const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
          if (by) setAt((chosen + by + entries.length) % entries.length);
          else if (event.key === "Enter") take(entries[chosen]);
          else return;
          event.preventDefault();
        }} />
      <ul id="palette" role="listbox" aria-label="Found">{entries.map((entry, index) => (
        <li key={entry.href} id={`palette-${index}`} role="option" aria-selected={index === chosen} onClick={() => take(entry)}><span>{entry.label}</span> <span className="by">{entry.kind}</span></li>
      ))}</ul>
    </Dialog>
  );
}

export function Help({ close }: { close: () => void }) {
  const [isOn, setOn] = useState(lettersAreOn());
  const here = [...document.querySelectorAll<HTMLElement>("main [data-key]")].map((each) => [each.dataset.key!, each.textContent ?? ""]);
  return (
    <Dialog label="Keys" close={close}>
      <h2>Keys</h2>
      <table><tbody>{[...LETTERS, ...here].map(([key, does]) => <tr key={key + does}><th scope="row"><kbd>{key}</kbd></th><td>{does}</td></tr>)}</tbody></table>
      <label className="tick"><input type="checkbox" checked={isOn} onChange={(event) => { turnLetters(event.target.checked); setOn(event.target.checked); }} /> Single letters are on</label>
      <button autoFocus onClick={close}>Close</button>
    </Dialog>
  );
}
