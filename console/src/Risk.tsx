// Orders that may be late: how likely, why, what is at stake, and what would help.

import { useState } from "react";
import { ask, refusedBecause } from "./api";
import { NO_FACT, go, useAddress, useLive, withQuery } from "./hooks";
import { Act, Due, Head, Link, Trouble, WithReason, accountAddress, many, orderAddress, span, when } from "./parts";

interface Charge { kind: string; currency: string; net: number | string; period?: string }
interface Reason { reason: string; item?: string | null; weight?: number }
interface Score {
  orderId: string; risk: number; band: string; expectedAt: string; lowAt: string; highAt: string; dueAt: string; dueBasis: string; scoredAt: string; model: string; version: string;
  steps: string[]; value: Charge[]; reasons: Reason[];
}
interface Listed extends Score { account: string | null; externalId: string | null; state: string; priority: string | null }
interface Point { scoredAt: string; risk: number }
interface Told { score: Score | null; history: Point[]; jeopardy: { item: string; name: string; status: string; warnsAt: string; lateAt: string }[] }
interface Gain { what: string; changes: { variable: string; item?: string; to?: string }[]; risk: number; gain: number; gainS: number }
interface WhatIf { risk: number; improvements: Gain[]; tried: number; note: string; contributions: { item: string; reason: string }[] }

const POLL_MS = 5_000; // scores come without facts
const PAGE = 100;
const SORTS = { risk: "risk", due: "due date", delay: "expected delay" };
const BOUNDS = ["0", "0.2", "0.5", "0.8"];
const percent = (risk: number) => `${Math.round(risk * 100)} %`;
const tone = { low: "good", medium: "warn", high: "bad" } as Record<string, string>;
const worth = (charges: Charge[]) => charges.filter((each) => each.kind === "recurring" || each.kind === "oneTime").map((each) => `${Number(each.net).toLocaleString()} ${each.currency}${each.period ? ` a ${each.period}` : ""}`).join(", ") || "–";

export function Risk() {
  const url = useAddress();
  const sort = url.searchParams.get("sort") ?? "risk", minRisk = url.searchParams.get("minRisk") ?? "0.2";
  const account = url.searchParams.get("account") ?? "", system = url.searchParams.get("system") ?? "", chosen = url.searchParams.get("order") ?? undefined;
  const query = { sort, minRisk, account, system, limit: PAGE };
  const found = useLive(JSON.stringify(query), async (signal) => (await ask<{ orders: Listed[]; next: string | null }>("list_risks", {}, { query, signal })).body,
    NO_FACT, { pollMs: () => POLL_MS });
  const change = (name: string, value?: string) => go(withQuery(url, { [name]: value }), false);
  const orders = found.data?.orders ?? [];
  const refused = refusedBecause("list_risks");
  return (
    <>
      <h1>Orders at risk <Link className="button" href="/console/calibration">How good the scores are</Link></h1>
      {refused && <p className="trouble">{refused}</p>}
      <form className="filters" role="search" onSubmit={(event) => event.preventDefault()}>
        <label>Sorted by <select value={sort} onChange={(event) => change("sort", event.target.value)}>{Object.entries(SORTS).map(([value, label]) => <option key={value} value={value}>{label}</option>)}</select></label>
        <label>Risk from <select value={minRisk} onChange={(event) => change("minRisk", event.target.value)}>{BOUNDS.map((each) => <option key={each} value={each}>{percent(Number(each))}</option>)}</select></label>
        <label>Account <input value={account} onChange={(event) => change("account", event.target.value)} /></label>
        <label>At system <input value={system} onChange={(event) => change("system", event.target.value)} /></label>
      </form>
      <Trouble error={found.error} again={found.again} />
      <p role="status" className="count">{found.data ? (orders.length ? `${many(orders.length, "order")}${found.data.next ? ", the first of more" : ""}` : "No open order has that much risk.") : found.error ? "" : "Reading…"}</p>
      <div className={`split${chosen ? " open" : ""}`}>
        <div className="view">
          {orders.length > 0 && <table>
            <Head names={["Risk", "Order", "Account", "Due", "Expected", "At stake", "Why"]} />
            <tbody>{orders.map((each) => (
              <tr key={each.orderId} className={each.orderId === chosen ? "chosen" : undefined}>
                <td className={tone[each.band]}><strong>{percent(each.risk)}</strong> {each.band}</td>
                <th scope="row"><button className="plain" aria-pressed={each.orderId === chosen} onClick={() => change("order", each.orderId)}>{each.externalId ?? each.orderId}</button></th>
                <td>{each.account ? <Link href={accountAddress(each.account)}>{each.account}</Link> : "–"}</td>
                <td><Due at={each.dueAt} />{each.dueBasis !== "promised" && <span className="why"> {each.dueBasis}</span>}</td>
                <td>{when(each.expectedAt)}</td><td>{worth(each.value)}</td>
                <td className="long">{each.reasons[0]?.reason ?? "–"}</td>
              </tr>
            ))}</tbody>
          </table>}
        </div>
        {chosen && <OneRisk key={chosen} orderId={chosen} close={() => change("order", undefined)} />}
      </div>
    </>
  );
}

function OneRisk({ orderId, close }: { orderId: string; close: () => void }) {
  const of = { order_id: orderId };
  const found = useLive(orderId, async (signal) => (await ask<Told>("get_risk", of, { signal })).body, (fact) => fact.orderId === orderId, { gapMs: 1_000, pollMs: ({ score }) => (score ? POLL_MS : 1_000) });
  const [help, setHelp] = useState<WhatIf>();
  const { score, history = [] } = found.data ?? {};
  const jeopardy = found.data?.jeopardy.filter((each) => each.status !== "ok") ?? [];
  return (
    <aside aria-label="Risk of the order" onKeyDown={(event) => { if (event.key === "Escape") close(); }}>
      <h2>{score ? `Risk ${percent(score.risk)}` : "Risk"}</h2>
      <button className="close" onClick={close} aria-label="Close the order">✕</button>
      <Trouble error={found.error} again={found.again} />
      <p><Link href={orderAddress(orderId)}>{orderId}</Link></p>
      {found.data && !score && <p>It has not been scored yet.</p>}
      {score && <>
        <dl>
          <dt>Due</dt><dd>{when(score.dueAt)} ({score.dueBasis})</dd>
          <dt>Expected</dt><dd>{when(score.expectedAt)}</dd>
          <dt>Likely</dt><dd>{when(score.lowAt)} to {when(score.highAt)}</dd>
          <dt>At</dt><dd>{score.steps.join(", ") || "–"}</dd>
          <dt>Model</dt><dd>{score.model} {score.version}, {when(score.scoredAt)}</dd>
        </dl>
        <h3>Why</h3><ul>{score.reasons.map((each) => <li key={each.reason}>{each.reason}</li>)}</ul>
        {jeopardy.length > 0 && <><h3>Items in jeopardy</h3><ul>{jeopardy.map((each) => <li key={each.item}><Link href={orderAddress(orderId, each.item)}>{each.name}</Link>: {each.status}, <Due at={each.lateAt} /></li>)}</ul></>}
        <Trend points={history} />
        <h3>What would help</h3>
        <div className="actions"><Act operation="what_if" parameters={of} label="Ask the model" body={{}} done={(answer) => setHelp(answer as WhatIf)} /></div>
        {help && <div role="status">
          {help.improvements.length === 0 && <p>Of {many(help.tried, "change")} that may be made none would help.</p>}
          <ul>{help.improvements.map((each) => (
            <li key={each.what}>{each.what}: {percent(each.risk)} ({each.gain > 0 ? "−" : "+"}{Math.round(Math.abs(each.gain) * 100)} points, {span(each.gainS * 1_000)} {each.gainS < 0 ? "later" : "earlier"})
              {each.changes.length === 1 && each.changes[0].variable === "priority" && <div className="actions">
                <WithReason operation="act_on_order" parameters={{ ...of, action: "prioritize" }} label={`Make it ${each.changes[0].to}`} body={{ priority: each.changes[0].to }} effect="Its items and tasks are taken earlier from now on." done={() => { setHelp(undefined); found.again(); }} />
              </div>}
            </li>
          ))}</ul>
          {help.contributions.length > 0 && <><h3>What makes it late</h3><ul>{help.contributions.map((each) => <li key={each.item}>{each.reason}</li>)}</ul></>}
          <p className="why">{help.note}</p>
        </div>}
      </>}
    </aside>
  );
}

// How the risk has moved; the table says the same.
function Trend({ points }: { points: Point[] }) {
  if (points.length < 2) return null;
  const first = Date.parse(points[0].scoredAt), all = Date.parse(points.at(-1)!.scoredAt) - first || 1;
  const line = points.map((each) => `${(((Date.parse(each.scoredAt) - first) / all) * 320).toFixed(1)},${(48 - each.risk * 46).toFixed(1)}`).join(" ");
  return (
    <details>
      <summary>How it has moved: {percent(points[0].risk)} to {percent(points.at(-1)!.risk)} <svg viewBox="0 0 320 50" width="320" height="50" aria-hidden="true" className="trend"><polyline points={line} /></svg></summary>
      <table><Head names={["When", "Risk"]} /><tbody>{points.map((each) => <tr key={each.scoredAt}><td>{when(each.scoredAt)}</td><td>{percent(each.risk)}</td></tr>)}</tbody></table>
    </details>
  );
}
