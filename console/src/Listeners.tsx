// Listeners of the channels' events: where events go, what waits, and how the last attempts went.

import { type FormEvent, useState } from "react";
import { ask, refusedBecause } from "./api";
import { NO_FACT, useLive } from "./hooks";
import { Act, Head, Trouble, age, many, usePress, when } from "./parts";

interface Listener {
  id: string; callback: string; query: string; createdAt: string; state: string; backlog: number; ordersWaiting: number; ordersFailing: number; oldestAt: string | null;
  delivered: number; deliveredAt: string | null; failures: number; pausedUntil: string | null; lastError: string | null; lastErrorAt: string | null;
}

const POLL_MS = 3_000; // deliveries are no facts

export function Listeners() {
  const found = useLive("listeners", async (signal) => (await ask<Listener[]>("list_listeners", {}, { signal })).body, NO_FACT, { pollMs: () => POLL_MS });
  const [callback, setCallback] = useState(""), [query, setQuery] = useState("");
  const [leaving, setLeaving] = useState<string>();
  const press = usePress("register_listener", {}, () => { setCallback(""); setQuery(""); found.again(); });
  const refused = refusedBecause("list_listeners"), mayNot = refusedBecause("register_listener");
  const tone = (state: string) => (state === "suspended" ? "bad" : state === "active" ? "good" : "warn");
  return (
    <>
      <h1>Event listeners</h1>
      {refused && <p className="trouble">{refused}</p>}
      <form className="filters" aria-label="Register a listener" onSubmit={(event: FormEvent) => { event.preventDefault(); void press.send({ callback, ...(query.trim() && { query }) }); }}>
        <label>Address <input className="wide" type="url" required readOnly={press.isOpen} placeholder="https://channel.example/listener" value={callback} onChange={(event) => setCallback(event.target.value)} /></label>
        <label>Only events for which <input className="wide" readOnly={press.isOpen} placeholder="eventType=ProductOrderStateChangeEvent" value={query} onChange={(event) => setQuery(event.target.value)} /></label>
        <button className="primary" disabled={!!mayNot || press.isSending} title={mayNot}>Register</button>
        {mayNot && <span className="why">{mayNot}</span>}
      </form>
      <Trouble error={press.error} />
      <Trouble error={found.error} again={found.again} />
      <p role="status" className="count">{found.data ? many(found.data.length, "listener") : found.error ? "" : "Reading…"}</p>
      {!!found.data?.length && <table>
        <Head names={["Address", "State", "Waiting", "Oldest", "Delivered", "Last error", "Actions"]} />
        <tbody>{found.data.map((each) => (
          <tr key={each.id}>
            <th scope="row" className="long">{each.callback}{each.query && <span className="why"> {each.query}</span>}</th>
            <td className={tone(each.state)}>{each.state}</td>
            <td>{each.backlog.toLocaleString()}{each.ordersWaiting > 0 && <span className="why"> of {many(each.ordersWaiting, "order")}</span>}</td><td>{age(each.oldestAt)}</td>
            <td>{each.delivered.toLocaleString()}{each.deliveredAt && <span className="why"> last {when(each.deliveredAt)}</span>}</td>
            <td className="long">{each.lastError ? <>{each.lastError} <span className="why">{when(each.lastErrorAt)}</span></> : "–"}</td>
            <td><div className="actions">
              {each.state !== "active" && <Act operation="resume_listener" parameters={{ listener_id: each.id }} label="Resume" done={found.again} />}
              {leaving === each.id
                ? <><Act operation="unregister_listener" parameters={{ listener_id: each.id }} body={undefined} label={each.backlog ? `Remove, drop ${many(each.backlog, "event")}` : "Remove it"} done={() => { setLeaving(undefined); found.again(); }} /><button onClick={() => setLeaving(undefined)}>Back</button></>
                : <button disabled={!!mayNot} title={mayNot} onClick={() => setLeaving(each.id)} aria-label={`Remove ${each.callback}`}>Remove</button>}
            </div></td>
          </tr>
        ))}</tbody>
      </table>}
    </>
  );
}
