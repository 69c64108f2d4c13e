// Orders that have ended: what cycle times and first-time-right are told of.

import { useState } from "react";
import { type Refusal, ask, refusedBecause } from "./api";
import { NO_FACT, go, useAddress, useLive, withQuery } from "./hooks";
import { lasted } from "./figures";
import { Head, Link, State, Trouble, accountAddress, many, orderAddress, when } from "./parts";

interface Row { orderId: string; externalId: string | null; account: string | null; state: string; offers: string[]; createdAt: string; endedAt: string; tookS: number; firstTimeRight: boolean }
interface Page { orders: Row[]; next: string | null }

const DAY_MS = 86_400_000;
const STATES = ["completed", "partial", "cancelled", "rejected", "failed"];

export function Ended() {
  const url = useAddress();
  const [yesterday] = useState(() => new Date(Date.now() - DAY_MS).toISOString());
  const of = (name: string) => url.searchParams.get(name) || undefined;
  const query = { since: of("since") ?? yesterday, before: of("before"), offer: of("offer"), state: of("state"), right: of("right") };
  const key = JSON.stringify(query);
  const load = async (after?: string, signal?: AbortSignal) => (await ask<Page>("list_ended_orders", {}, { query: { ...query, after }, signal })).body;
  const found = useLive(key, (signal) => load(undefined, signal), NO_FACT);
  const [more, setMore] = useState<{ key: string; rows: Row[]; next: string | null }>();
  const [error, setError] = useState<Refusal>();
  const older = more?.key === key ? more : undefined;
  const rows = [...(found.data?.orders ?? []), ...(older?.rows ?? [])], next = older ? older.next : found.data?.next;
  const change = (name: string, value: string) => go(withQuery(url, { [name]: value }), false);
  const refused = refusedBecause("list_ended_orders");
  return (
    <>
      <h1>Orders that have ended</h1>
      {refused && <p className="trouble">{refused}</p>}
      <form className="filters" role="search" onSubmit={(event) => event.preventDefault()}>
        <label>Offer <input value={query.offer ?? ""} onChange={(event) => change("offer", event.target.value)} /></label>
        <label>State <select value={query.state ?? ""} onChange={(event) => change("state", event.target.value)}><option value="">any</option>{STATES.map((each) => <option key={each}>{each}</option>)}</select></label>
        <label>First time <select value={query.right ?? ""} onChange={(event) => change("right", event.target.value)}><option value="">any</option><option value="true">right</option><option value="false">repaired</option></select></label>
      </form>
      <Trouble error={found.error ?? error} again={found.again} />
      <p role="status" className="count">{found.data ? <>{many(rows.length, "order")}{next ? ", the last of more" : ""}, ended since {when(query.since)}{query.before && <> and before {when(query.before)}</>}</> : found.error ? "" : "Reading…"}</p>
      {rows.length > 0 && <div className="view"><table>
        <Head names={["Order", "State", "Account", "Offers", "Accepted", "Ended", "Took", "First time"]} />
        <tbody>{rows.map((each) => (
          <tr key={each.orderId}>
            <th scope="row"><Link href={orderAddress(each.orderId)}>{each.externalId ?? each.orderId}</Link></th><td><State state={each.state} /></td>
            <td>{each.account ? <Link href={accountAddress(each.account)}>{each.account}</Link> : "–"}</td><td className="long">{each.offers.join(", ") || "–"}</td>
            <td>{when(each.createdAt)}</td><td>{when(each.endedAt)}</td><td className="num">{lasted(each.tookS)}</td><td className={each.firstTimeRight ? "good" : "warn"}>{each.firstTimeRight ? "right" : "repaired"}</td>
          </tr>
        ))}</tbody>
      </table></div>}
      {next && <div className="actions"><button onClick={() => {
        load(next).then((page) => { setError(undefined); setMore({ key, rows: [...(older?.rows ?? []), ...page.orders], next: page.next }); }, setError);
      }}>Show more</button></div>}
    </>
  );
}
