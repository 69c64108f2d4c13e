// How it stands: what comes in and is done while one looks, what has failed, is late, waits for people or for systems.
// Every number leads to the list behind it.

import { useEffect, useState } from "react";
import { ask } from "./api";
import { useLive } from "./hooks";
import { Due, Head, Link, Trouble, age, many, span } from "./parts";
import { type Queue } from "./Tasks";
import { hear } from "./stream";

interface Group { system: string | null; errorCode: string | null; count: number; retrying: number; oldest: string }
interface System { code: string; state: string; holds: { reason: string; cause: string }[]; heldItems: number; heldItemsAreMore: boolean }
interface Late { orderId: string; externalId: string | null; account: string | null; risk: number; dueAt: string; reasons: { reason: string }[] }

const POLL_MS = 5_000;
const BUCKET_S = 10;
const BUCKETS = 60;
const SHOWN = 100;
const HIGH = "0.5";
const COUNTED = { "order.accepted": "in", "order.ended": "done", "item.fatallyFailed": "failed" } as Record<string, "in" | "done" | "failed">;

interface Bucket { at: number; in: number; done: number; failed: number }

// What the stream tells, counted in parts of ten seconds since the screen was opened.
function useFlow(): { since: number; buckets: Bucket[] } {
  const [flow, setFlow] = useState<{ since: number; buckets: Bucket[] }>(() => ({ since: Date.now(), buckets: [] }));
  useEffect(() => {
    let counted: Bucket[] = [];
    const deaf = hear((message) => {
      if (!("facts" in message)) return;
      const at = Math.floor(Date.now() / 1_000 / BUCKET_S);
      for (const fact of message.facts) {
        const kind = COUNTED[fact.kind];
        if (!kind) continue;
        if (counted.at(-1)?.at !== at) counted = [...counted, { at, in: 0, done: 0, failed: 0 }].slice(-BUCKETS);
        counted.at(-1)![kind]++;
      }
    });
    const timer = setInterval(() => { if (!document.hidden) setFlow(({ since }) => ({ since, buckets: [...counted] })); }, 1_000);
    return () => { deaf(); clearInterval(timer); };
  }, []);
  return flow;
}

export function Overview() {
  const found = useLive("overview", async (signal) => {
    const [groups, queues, systems, risks] = await Promise.all([
      ask<Group[]>("list_groups", {}, { signal }), ask<Queue[]>("list_queues", {}, { signal }), ask<System[]>("list_systems", {}, { signal }),
      ask<{ orders: Late[]; next: string | null }>("list_risks", {}, { query: { minRisk: HIGH, limit: SHOWN }, signal }),
    ]);
    return { groups: groups.body, queues: queues.body, systems: systems.body, risks: risks.body };
  }, () => false, { pollMs: () => POLL_MS });
  const flow = useFlow();
  const data = found.data;
  const sum = (kind: "in" | "done" | "failed") => flow.buckets.reduce((all, each) => all + each[kind], 0);
  const failed = data?.groups.reduce((all, each) => all + each.count, 0) ?? 0;
  const open = data?.queues.reduce((all, each) => all + each.open, 0) ?? 0;
  const late = data?.queues.filter((each) => each.dueNextAt && Date.parse(each.dueNextAt) < Date.now()).length ?? 0;
  const offline = data?.systems.filter((each) => each.state !== "online") ?? [];
  return (
    <>
      <h1>Overview</h1>
      <Trouble error={found.error} again={found.again} />
      {!data && !found.error && <p role="status">Reading…</p>}
      {data && <>
        <div className="tiles">
          <Tile href="/console/fallout" label="items failed for good" value={failed.toLocaleString()} tone={failed ? "bad" : "good"} />
          <Tile href={`/console/risk?minRisk=${HIGH}`} label="open orders with high risk" value={`${data.risks.orders.length}${data.risks.next ? " or more" : ""}`} tone={data.risks.orders.length ? "bad" : "good"} />
          <Tile href="/console/tasks?show=all" label={`manual tasks open${late ? `, ${many(late, "queue")} overdue` : ""}`} value={open.toLocaleString()} tone={late ? "warn" : "run"} />
          <Tile href="/console/systems" label="systems offline" value={String(offline.length)} tone={offline.length ? "bad" : "good"} />
        </div>
        <section aria-label="Flow">
          <h2>While you look: {span(Date.now() - flow.since)}</h2>
          <p role="status">{many(sum("in"), "order")} in, {sum("done").toLocaleString()} ended, {many(sum("failed"), "item")} failed for good.</p>
          <Flow buckets={flow.buckets} />
        </section>
        <div className="columns even">
          <section aria-label="Failed">
            <h2>Failed for good</h2>
            {!data.groups.length ? <p>Nothing.</p> : <table><Head names={["Cause", "Items", "Oldest"]} /><tbody>{data.groups.slice(0, 20).map((each) => (
              <tr key={`${each.system} ${each.errorCode}`}><th scope="row"><Link href={`/console/fallout?${new URLSearchParams(Object.entries({ system: each.system ?? "", errorCode: each.errorCode ?? "" }).filter(([, value]) => value))}`}>{each.system ?? "no system"} · {each.errorCode ?? "no code"}</Link></th><td>{each.count}</td><td>{age(each.oldest)}</td></tr>
            ))}</tbody></table>}
          </section>
          <section aria-label="Late">
            <h2>Most likely late</h2>
            {!data.risks.orders.length ? <p>None.</p> : <table><Head names={["Order", "Risk", "Due", "Why"]} /><tbody>{data.risks.orders.slice(0, 10).map((each) => (
              <tr key={each.orderId}><th scope="row"><Link href={`/console/risk?minRisk=${HIGH}&order=${encodeURIComponent(each.orderId)}`}>{each.externalId ?? each.orderId}</Link></th><td>{Math.round(each.risk * 100)} %</td><td><Due at={each.dueAt} /></td><td className="long">{each.reasons[0]?.reason ?? "–"}</td></tr>
            ))}</tbody></table>}
          </section>
          <section aria-label="Queues">
            <h2>Queues</h2>
            {!data.queues.length ? <p>None.</p> : <table><Head names={["Queue", "Open", "Free", "Oldest", "Next due"]} /><tbody>{data.queues.slice(0, 12).map((each) => (
              <tr key={each.code}><th scope="row"><Link href={`/console/tasks?show=all&queue=${encodeURIComponent(each.code)}`}>{each.name}</Link></th><td>{each.open}</td><td>{each.free}</td><td>{age(each.oldestAt)}</td><td><Due at={each.dueNextAt} /></td></tr>
            ))}</tbody></table>}
          </section>
          <section aria-label="Systems">
            <h2>Systems that take no calls</h2>
            {!offline.length ? <p>None.</p> : <table><Head names={["System", "Items On Hold", "Why"]} /><tbody>{offline.map((each) => (
              <tr key={each.code}><th scope="row"><Link href={`/console/systems?system=${encodeURIComponent(each.code)}`}>{each.code}</Link></th><td>{each.heldItems.toLocaleString()}{each.heldItemsAreMore && " or more"}</td><td className="long">{each.holds.map((hold) => hold.reason || hold.cause).join("; ")}</td></tr>
            ))}</tbody></table>}
          </section>
        </div>
      </>}
    </>
  );
}

function Tile({ href, label, value, tone }: { href: string; label: string; value: string; tone: string }) {
  return <Link href={href} className="tile"><strong className={tone}>{value}</strong> <span>{label}</span></Link>;
}

// In above the line, ended below it; the sentence beside it says the sums.
function Flow({ buckets }: { buckets: Bucket[] }) {
  if (!buckets.length) return null;
  const most = Math.max(1, ...buckets.map((each) => Math.max(each.in, each.done))), last = buckets.at(-1)!.at;
  return (
    <svg className="flow" viewBox={`0 0 ${BUCKETS * 10} 84`} role="img" aria-label={`Orders in and ended, in parts of ${BUCKET_S} s; at most ${most}`}>
      {buckets.map((each) => {
        const x = (BUCKETS - 1 - (last - each.at)) * 10;
        return x < 0 ? null : <g key={each.at}><rect className="in" x={x} width="8" y={40 - (each.in / most) * 38} height={(each.in / most) * 38} /><rect className="done" x={x} width="8" y="44" height={(each.done / most) * 38} /></g>;
      })}
      <line x1="0" x2={BUCKETS * 10} y1="42" y2="42" />
    </svg>
  );
}
