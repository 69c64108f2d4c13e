// How it stands: what is due and what fails, how long orders take, what waits for people and for systems; what comes in
// and is done while one looks. Every number leads to the list behind it.

import { useEffect, useState } from "react";
import { ask, refusedBecause } from "./api";
import { NO_FACT, go, useAddress, useLive, withQuery } from "./hooks";
import { Columns, Csv, Failures, Hours, Num, Offers, Teams, useFew } from "./Numbers";
import { BEGUN, type Numbers, WINDOWS, due, ended, failed, lasted, orders, percent, useNumbers } from "./figures";
import { Due, Head, Link, Trouble, age, many, span } from "./parts";
import { type Queue } from "./Tasks";
import { hear } from "./stream";

interface Group { system: string | null; errorCode: string | null; count: number; retrying: number; oldest: string }
interface System { code: string; state: string; holds: { reason: string; cause: string }[]; heldItems: number; heldItemsAreMore: boolean }
interface Calls { code: string; running: number; waiting: number; breaker: string }
interface Late { orderId: string; externalId: string | null; account: string | null; risk: number; dueAt: string; reasons: { reason: string }[] }

const POLL_MS = 5_000;
const BUCKET_S = 10;
const BUCKETS = 60;
const SHOWN = 100;
const HIGH = "0.5";
const BEHIND_MS = 60_000; // counted to longer ago than this is worth a word
const COUNTED = { "order.accepted": "in", "order.ended": "done", "item.fatallyFailed": "failed" } as const;
const BREAKERS: Record<string, string> = { closed: "closed", open: "OPEN", halfOpen: "trying" };

type Kind = (typeof COUNTED)[keyof typeof COUNTED];
type Counts = Record<Kind, number>;
interface Flowing { since: number; totals: Counts; buckets: Counts[] }

const NONE: Counts = { in: 0, done: 0, failed: 0 };
const part = () => Math.floor(Date.now() / 1_000 / BUCKET_S);

// What the stream tells since the screen was opened, and of the last ten minutes in parts of ten seconds.
function useFlow(): Flowing {
  const [flow, setFlow] = useState<Flowing>(() => ({ since: Date.now(), totals: NONE, buckets: Array<Counts>(BUCKETS).fill(NONE) }));
  useEffect(() => {
    const totals = { ...NONE };
    let last = part(), buckets = Array.from({ length: BUCKETS }, () => ({ ...NONE }));
    const roll = () => {
      const now = part(), passed = Math.min(BUCKETS, now - last);
      if (passed > 0) buckets = [...buckets.slice(passed), ...Array.from({ length: passed }, () => ({ ...NONE }))];
      last = now;
    };
    const deaf = hear((message) => {
      if (!("counts" in message)) return;
      roll();
      for (const [kind, name] of Object.entries(COUNTED)) {
        const count = message.counts[kind] ?? 0;
        totals[name] += count;
        buckets[BUCKETS - 1][name] += count;
      }
    });
    const timer = setInterval(() => {
      if (document.hidden) return;
      roll();
      setFlow(({ since }) => ({ since, totals: { ...totals }, buckets: buckets.map((each) => ({ ...each })) }));
    }, 1_000);
    return () => { deaf(); clearInterval(timer); };
  }, []);
  return flow;
}

export function Overview() {
  const url = useAddress();
  const asked = url.searchParams.get("window") ?? "24h", window = asked in WINDOWS ? asked : "24h";
  const refused = refusedBecause("get_numbers");
  const found = useLive("overview", async (signal) => {
    // What the role may not ask for is left out, with its part of the screen.
    const read = async <T,>(operation: "list_groups" | "list_queues" | "list_systems" | "list_calls" | "list_risks", query = {}) =>
      (refusedBecause(operation) ? undefined : (await ask<T>(operation, {}, { query, signal })).body);
    const [groups, queues, systems, calls, risks] = await Promise.all([
      read<Group[]>("list_groups"), read<Queue[]>("list_queues"), read<System[]>("list_systems"), read<Calls[]>("list_calls"),
      read<{ orders: Late[]; next: string | null }>("list_risks", { minRisk: HIGH, limit: SHOWN }),
    ]);
    return { groups, queues, systems, calls, risks };
  }, NO_FACT, { pollMs: () => POLL_MS });
  const told = useNumbers(window, !refused);
  const numbers = told.data ?? undefined;
  const { groups, queues, systems, calls, risks } = found.data ?? {};
  const count = groups?.reduce((all, each) => all + each.count, 0) ?? 0;
  const open = queues?.reduce((all, each) => all + each.open, 0) ?? 0;
  const late = queues?.filter((each) => each.dueNextAt && Date.parse(each.dueNextAt) < Date.now()).length ?? 0;
  const offline = systems?.filter((each) => each.state !== "online").length ?? 0;
  return (
    <>
      <h1>Overview</h1>
      <Trouble error={found.error} again={found.again} />
      {!found.data && !found.error && <p role="status">Reading…</p>}
      <div className="tiles">
        {numbers && <>
          <Tile href={due(numbers.dayStartsAt, numbers.dayEndsAt)} label="open orders due today" value={numbers.orders[0].dueToday.toLocaleString()} tone="run" />
          <Tile href={due(undefined, numbers.at)} label="open orders overdue" value={numbers.orders[0].overdue.toLocaleString()} tone={numbers.orders[0].overdue ? "bad" : "good"} />
        </>}
        {risks && <Tile href={`/console/risk?minRisk=${HIGH}`} label="open orders with high risk" value={`${risks.orders.length}${risks.next ? "+" : ""}`} tone={risks.orders.length ? "bad" : "good"} />}
        {groups && <Tile href="/console/fallout" label="items failed for good" value={count.toLocaleString()} tone={count ? "bad" : "good"} />}
        {queues && <Tile href="/console/tasks?show=all" label={`manual tasks open${late ? `, ${many(late, "queue")} overdue` : ""}`} value={open.toLocaleString()} tone={late ? "warn" : "run"} />}
        {systems && <Tile href="/console/systems" label="systems offline" value={String(offline)} tone={offline ? "bad" : "good"} />}
      </div>
      <Flow />
      <div className="filters bar">
        <label>Numbers of <select value={window} onChange={(event) => go(withQuery(url, { window: event.target.value }), false)}>{Object.entries(WINDOWS).map(([value, label]) => <option key={value} value={value}>{label}</option>)}</select></label>
        {numbers && <span className="why">Today is that of {numbers.zone}. {numbers.countedTo === null ? "Nothing is counted yet." : Date.parse(numbers.at) - Date.parse(numbers.countedTo) > BEHIND_MS ? `Counted up to ${span(Date.parse(numbers.at) - Date.parse(numbers.countedTo))} ago.` : ""}</span>}
      </div>
      {refused && <p className="trouble">{refused}</p>}
      <Trouble error={told.error} again={told.again} />
      {numbers && <Totals numbers={numbers} window={window} />}
      {numbers && <Hours numbers={numbers} window={window} />}
      <div className="columns even">
        {numbers && <Offers numbers={numbers} window={window} />}
        {risks && <section aria-label="Late">
          <h2>Most likely late <Link className="button" href="/console/calibration">How good the scores are</Link></h2>
          {!risks.orders.length ? <p>None.</p> : <table><Head names={["Order", "Risk", "Due", "Why"]} /><tbody>{risks.orders.slice(0, 10).map((each) => (
            <tr key={each.orderId}><th scope="row"><Link href={`/console/risk?minRisk=${HIGH}&order=${encodeURIComponent(each.orderId)}`}>{each.externalId ?? each.orderId}</Link></th><td>{Math.round(each.risk * 100)} %</td><td><Due at={each.dueAt} /></td><td className="long">{each.reasons[0]?.reason ?? "–"}</td></tr>
          ))}</tbody></table>}
        </section>}
      </div>
      {numbers && <Failures numbers={numbers} window={window} />}
      {groups && <Causes groups={groups} />}
      {systems && <Systems systems={systems} calls={calls ?? []} numbers={numbers} window={window} />}
      {numbers && <Teams numbers={numbers} window={window} />}
    </>
  );
}

function Tile({ href, label, value, tone }: { href: string; label: string; value: string; tone: string }) {
  return <Link href={href} className="tile"><strong className={tone}>{value}</strong> <span>{label}</span></Link>;
}

function Totals({ numbers, window }: { numbers: Numbers; window: string }) {
  const [all] = numbers.orders;
  return (
    <section aria-label="Orders">
      <h2>Orders in {WINDOWS[window as keyof typeof WINDOWS]} <Csv table="orders" window={window} what="Orders" /></h2>
      <div className="tiles">
        <Tile href={orders(`${BEGUN} ordered>=${numbers.since}`)} label="accepted" value={all.accepted.toLocaleString()} tone="run" />
        <Tile href={ended(numbers, { state: "completed" })} label="completed" value={all.completed.toLocaleString()} tone="good" />
        <Tile href={ended(numbers, { state: "completed" })} label={`half took no longer, nine in ten ${lasted(all.cycleP90S)}`} value={lasted(all.cycleP50S)} tone="run" />
        <Tile href={ended(numbers, { state: "completed", right: "false" })} label={`first time right, ${many(all.completed - all.firstTimeRight, "order")} repaired`} value={percent(all.firstTimeRightShare)} tone={all.completed > all.firstTimeRight ? "warn" : "good"} />
        <Tile href={orders("state:open")} label="open now" value={all.open.toLocaleString()} tone="run" />
      </div>
      {all.lookedAt < all.ended && <p className="why">Times and shares are those of the {all.lookedAt.toLocaleString()} orders that ended last.</p>}
    </section>
  );
}

function Causes({ groups }: { groups: Group[] }) {
  const [few, more] = useFew(groups, "causes");
  return (
    <section aria-label="Failed">
      <h2>Failed for good, by cause</h2>
      {!groups.length ? <p>Nothing.</p> : <table className="numbers"><Columns names={["Cause", "#Items", "#Tried again", "#Oldest"]} /><tbody>{few.map((each) => (
        <tr key={`${each.system} ${each.errorCode}`}><th scope="row"><Link href={failed({ system: each.system, errorCode: each.errorCode })}>{each.system ?? "no system"} · {each.errorCode ?? "no code"}</Link></th><Num>{each.count.toLocaleString()}</Num><Num>{each.retrying.toLocaleString()}</Num><Num>{age(each.oldest)}</Num></tr>
      ))}</tbody></table>}
      {more}
    </section>
  );
}

function Systems({ systems, calls, numbers, window }: { systems: System[]; calls: Calls[]; numbers?: Numbers; window: string }) {
  const of = new Map(calls.map((each) => [each.code, each])), failing = new Map(numbers?.systems.map((each) => [each.system, each]));
  const [few, more] = useFew(systems, "systems");
  return (
    <section aria-label="Systems">
      <h2>Systems <Csv table="systems" window={window} what="Systems" /></h2>
      {!systems.length ? <p>None is set up.</p> : <div className="view"><table className="numbers">
        <Columns names={["System", "State", "Breaker", "#Calls running", "#Calls waiting", "#Items On Hold", "#Completed", "#Tries failed", "#Fallout rate", "#Failed now"]} />
        <tbody>{few.map((each) => {
          const now = of.get(each.code), rate = failing.get(each.code);
          return (
            <tr key={each.code}>
              <th scope="row"><Link href={`/console/systems?system=${encodeURIComponent(each.code)}`}>{each.code}</Link></th>
              <td><span className={`state ${each.state === "online" ? "good" : "bad"}`} title={each.holds.map((hold) => hold.reason || hold.cause).join("; ")}><span aria-hidden="true">{each.state === "online" ? "✓" : "‖"}</span> {each.state}</span></td>
              <td className={now && now.breaker !== "closed" ? "bad" : undefined}>{now ? BREAKERS[now.breaker] ?? now.breaker : "–"}</td><Num>{now?.running.toLocaleString() ?? "–"}</Num><Num>{now?.waiting.toLocaleString() ?? "–"}</Num>
              <Num>{each.heldItems.toLocaleString()}{each.heldItemsAreMore && " or more"}</Num><Num>{rate?.completed.toLocaleString() ?? "–"}</Num><Num>{rate?.failedAttempts.toLocaleString() ?? "–"}</Num><Num>{rate ? percent(rate.falloutRate) : "–"}</Num>
              <Num>{rate?.failedNow ? <Link href={failed({ system: each.code })}>{rate.failedNow.toLocaleString()}</Link> : "0"}</Num>
            </tr>
          );
        })}</tbody>
      </table></div>}
      {more}
    </section>
  );
}

// In above the line, ended below it; the sentence beside it says the sums. Drawn by itself: it moves every second.
function Flow() {
  const { since, totals, buckets } = useFlow();
  // The last bucket is still filled, and those from before the screen was opened are empty.
  const known = Math.min(6, Math.floor((Date.now() - since) / 1_000 / BUCKET_S) - 1), full = buckets.slice(-1 - known, -1);
  const rate = (kind: Kind) => (full.reduce((all, each) => all + each[kind], 0) / (full.length * BUCKET_S)).toLocaleString(undefined, { maximumFractionDigits: 1 });
  const most = Math.max(1, ...buckets.map((each) => Math.max(each.in, each.done)));
  return (
    <section aria-label="Flow">
      <h2>While you look: {span(Date.now() - since)}</h2>
      <p className="flowing">{many(totals.in, "order")} in, {totals.done.toLocaleString()} ended, {many(totals.failed, "item")} failed for good.{known > 0 && ` Of late ${rate("in")} in and ${rate("done")} ended a second.`}</p>
      <svg className="flow" viewBox={`0 0 ${BUCKETS * 10} 84`} preserveAspectRatio="none" role="img" aria-label={`Orders in and ended of the last ten minutes, in parts of ${BUCKET_S} s; at most ${most}`}>
        {buckets.map((each, at) => <g key={at}><rect className="in" x={at * 10} width="8" y={40 - (each.in / most) * 38} height={(each.in / most) * 38} /><rect className="done" x={at * 10} width="8" y="44" height={(each.done / most) * 38} /></g>)}
        <line x1="0" x2={BUCKETS * 10} y1="42" y2="42" />
      </svg>
    </section>
  );
}
