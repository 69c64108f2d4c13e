// Saved views of a desk: filters under a name, private or shared. A view stands in the address, as its filters do.

import { type FormEvent, useEffect, useRef, useState } from "react";
import { ask, refusedBecause } from "./api";
import { go, useAddress, useLive, withQuery } from "./hooks";
import { Act, Trouble, usePress } from "./parts";
import { chosenUser } from "./role";

interface View { id: string; owner: string; name: string; shared: boolean; query: Record<string, string> }

const DESKS = {
  orders: { list: "list_order_views", put: "put_order_view", remove: "delete_order_view", members: ["search"] },
  queues: { list: "list_queue_views", put: "put_queue_view", remove: "delete_queue_view", members: ["queue", "show"] },
} as const;

export function Views({ desk }: { desk: keyof typeof DESKS }) {
  const url = useAddress();
  const { list, put, remove, members } = DESKS[desk];
  const user = chosenUser();
  const found = useLive(`${desk} views ${user}`, async (signal) => (await ask<View[]>(list, {}, { signal })).body, () => false);
  const chosen = url.searchParams.get("view") ?? undefined;
  const view = found.data?.find((each) => each.id === chosen);
  const now = Object.fromEntries(members.flatMap((name) => (url.searchParams.get(name) ? [[name, url.searchParams.get(name)!]] : [])));
  const isAsked = Object.keys(now).length > 0;
  const open = (each?: View) => go(withQuery(new URL(url.pathname, url), { ...each?.query, view: each?.id }));
  // A link that names a view alone shows what the view says by now.
  useEffect(() => { if (view && !isAsked && Object.keys(view.query).length) go(withQuery(url, { ...view.query, view: view.id }), false); }, [view?.id, isAsked]);
  const [isSaving, setSaving] = useState(false);
  const isChanged = !!view && JSON.stringify(now) !== JSON.stringify(Object.fromEntries(members.flatMap((name) => (view.query[name] ? [[name, view.query[name]]] : []))));
  const refused = refusedBecause(put);
  if (refusedBecause(list)) return null;
  return (
    <div className="views">
      <label>View <select value={view?.id ?? ""} onChange={(event) => open(found.data?.find((each) => each.id === event.target.value))}>
        <option value="">{found.data?.length ? "none" : "none saved yet"}</option>
        {found.data?.map((each) => <option key={each.id} value={each.id}>{each.name}{each.owner === user ? (each.shared ? " (shared)" : "") : ` (of ${each.owner})`}</option>)}
      </select></label>
      {isChanged && <span className="by">changed since</span>}
      {!isSaving && <button disabled={!!refused} title={refused} onClick={() => setSaving(true)}>Save view…</button>}
      {view?.owner === user && <Act operation={remove} parameters={{ view_id: view.id }} label="Delete view" done={() => { open(); found.again(); }} />}
      {isSaving && <Save key={desk} put={put} view={view?.owner === user ? view : undefined} query={now} close={() => setSaving(false)} done={(saved) => {
        setSaving(false);
        found.again();
        go(withQuery(url, { view: saved.id }), false);
      }} />}
      <Trouble error={found.error} again={found.again} />
    </div>
  );
}

interface SaveProps { put: "put_order_view" | "put_queue_view"; view?: View; query: Record<string, string>; close: () => void; done: (saved: View) => void }

function Save({ put, view, query, close, done }: SaveProps) {
  const [name, setName] = useState(view?.name ?? "");
  const [shared, setShared] = useState(view?.shared ?? false);
  const field = useRef<HTMLInputElement>(null);
  const press = usePress(put, { name: name.trim() }, (saved) => done(saved as View), true);
  useEffect(() => field.current?.focus(), []);
  return (
    <form className="reason" aria-label="Save view" onKeyDown={(event) => { if (event.key === "Escape") { event.stopPropagation(); close(); } }}
      onSubmit={(event: FormEvent) => { event.preventDefault(); void press.send({ query, shared }); }}>
      <label>Name <input ref={field} required maxLength={100} value={name} onChange={(event) => setName(event.target.value)} /></label>
      <label className="tick"><input type="checkbox" checked={shared} onChange={(event) => setShared(event.target.checked)} /> Everybody here may use it</label>
      <Trouble error={press.error} />
      <button className="primary" disabled={press.isSending || !name.trim()}>{press.isSending ? "Sending…" : "Save"}</button>
      <button type="button" onClick={close}>Back</button>
    </form>
  );
}
