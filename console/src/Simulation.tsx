// The working copy, tried on real orders: what each of the newest would have become. Nothing is carried out.

import { Fragment, useState } from "react";
import { Refusal, ask, refusedBecause } from "./api";
import { Head, Link, Trouble, many, orderAddress, span } from "./parts";
import type { Release } from "./release";

interface Listed<T> { total: number; first: T[] }
interface Named { key: string; name: string }
interface Changed extends Named { fields: string[]; waitsNoMoreFor: string[]; waitsNowFor: string[] }
interface Cause { code: string; reason: string }
interface Tried {
  orderId: string; externalId?: string | null; releaseId: string; outcome: string; isApproximate?: boolean; error?: Cause; errorBefore?: Cause;
  items?: { before: number; after: number }; plannedS?: { before: number; after: number };
  added?: Listed<Named>; gone?: Listed<Named>; changed?: Listed<Changed>;
  lines?: { added: Listed<{ key: string }>; gone: Listed<{ key: string }>; changed: Listed<{ key: string; fields: string[] }> };
}
interface Told { releaseId: string; outcomes: Record<string, number>; left: number; orders: Tried[] }

const COUNTS = [10, 50, 200, 500];
const OUTCOMES: Record<string, [string, string, string]> = {
  same: ["✓", "good", "the same plan"], other: ["≠", "warn", "another plan"], refused: ["✕", "bad", "refused"], accepted: ["+", "run", "accepted, was rejected"], notSimulated: ["–", "idle", "not simulated"],
};
const outcome = (name: string) => { const [sign, tone, text] = OUTCOMES[name] ?? ["", "idle", name]; return <span className={`state ${tone}`}><span aria-hidden="true">{sign}</span> {text}</span>; };

export function Simulation({ release, close }: { release: Release; close: () => void }) {
  const [orders, setOrders] = useState(50);
  const [told, setTold] = useState<Told & { of: Release }>();
  const [error, setError] = useState<Refusal>();
  const [isTrying, setTrying] = useState(false);
  const refused = refusedBecause("simulate_release");
  const send = async () => {
    setTrying(true);
    setError(undefined);
    try { setTold({ ...(await ask<Told>("simulate_release", {}, { body: { release, orders } })).body, of: release }); } catch (problem) { setError(problem as Refusal); } finally { setTrying(false); }
  };
  return (
    <section className="job" aria-label="Simulation">
      <h2>Simulation on real orders</h2>
      <p className="why">What the newest orders of this catalogue would have become under the working copy, against the plan that each was given. Nothing is stored, sent or started.</p>
      <div className="actions bar">
        <label>Orders <select value={orders} onChange={(event) => setOrders(Number(event.target.value))}>{COUNTS.map((each) => <option key={each}>{each}</option>)}</select></label>
        <button className="primary" disabled={!!refused || isTrying} title={refused} onClick={() => void send()}>{isTrying ? "Trying…" : "Try it"}</button>
        <button onClick={close}>Close</button>
        {refused && <span className="why">{refused}</span>}
      </div>
      <Trouble error={error} />
      {told && (
        <>
          <p role="status">{told.orders.length ? Object.entries(told.outcomes).map(([name, count], at) => <Fragment key={name}>{at > 0 && ", "}{count} × {outcome(name)}</Fragment>) : "No order of this catalogue was found."}
            {told.left > 0 && `; ${many(told.left, "order")} not looked at, because the time was up`}.{told.of !== release && <strong className="warn"> The working copy has changed since: try it again.</strong>}</p>
          {told.orders.length > 0 && <div className="simulated"><table>
            <Head names={["Order", "Outcome", "Items", "Planned work", "What differs"]} />
            <tbody>{told.orders.map((each) => <Row key={each.orderId} order={each} />)}</tbody>
          </table></div>}
        </>
      )}
    </section>
  );
}

const planned = (seconds: number) => span(seconds * 1_000);

function Row({ order }: { order: Tried }) {
  const { items, plannedS, added, gone, changed, lines } = order;
  const counts = [[added, "item", "added"], [gone, "item", "gone"], [changed, "item", "changed"], [lines?.added, "line", "added"], [lines?.gone, "line", "gone"], [lines?.changed, "line", "changed"]] as const;
  const short = counts.filter(([list]) => list && list.total > 0).map(([list, what, verb]) => `${many(list!.total, what)} ${verb}`).join(", ");
  return (
    <tr>
      <th scope="row"><Link href={orderAddress(order.orderId)}>{order.externalId ?? order.orderId}</Link><br /><span className="by">{order.releaseId}</span></th>
      <td>{outcome(order.outcome)}{order.isApproximate && <><br /><span className="by">approximate: its account then is not known exactly</span></>}</td>
      <td>{items && `${items.before} → ${items.after}`}</td>
      <td>{plannedS && `${planned(plannedS.before)} → ${planned(plannedS.after)}`}</td>
      <td>
        {order.errorBefore && <p>Before: {order.errorBefore.reason}</p>}
        {order.error && <p className="wrong">{order.error.reason}</p>}
        {short && <details><summary>{short}</summary><ul>
          {added?.first.map((each) => <li key={`+${each.key}`}>added: {each.key}</li>)}
          {gone?.first.map((each) => <li key={`-${each.key}`}>gone: {each.key}</li>)}
          {changed?.first.map((each) => (
            <li key={`~${each.key}`}>changed: {each.key}{each.fields.length > 0 && ` (${each.fields.join(", ")})`}
              {each.waitsNowFor.length > 0 && `; waits for ${each.waitsNowFor.join(", ")}`}{each.waitsNoMoreFor.length > 0 && `; no longer waits for ${each.waitsNoMoreFor.join(", ")}`}</li>
          ))}
          {lines?.added.first.map((each) => <li key={`l+${each.key}`}>line added: {each.key}</li>)}
          {lines?.gone.first.map((each) => <li key={`l-${each.key}`}>line gone: {each.key}</li>)}
          {lines?.changed.first.map((each) => <li key={`l~${each.key}`}>line changed: {each.key} ({each.fields.join(", ")})</li>)}
        </ul></details>}
      </td>
    </tr>
  );
}
