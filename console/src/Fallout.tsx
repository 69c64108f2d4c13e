// The fallout desk: what failed for good, by cause; the items of one cause; their repair as a job of the server.

import { useEffect, useRef, useState } from "react";
import { ask, refusedBecause } from "./api";
import { DESK_GAP_MS, go, useAddress, useLive, withQuery } from "./hooks";
import { Before, type Job, JobPanel, type Outcome } from "./Job";
import { Head, Link, Trouble, WithReason, many, when } from "./parts";

interface Group { system: string | null; errorCode: string | null; count: number; retrying: number; oldest: string; newest: string; sample: string | null }
interface Failed { orderId: string; item: string; name: string; errorCode: string | null; error: string | null; attempt: number; failedAt: string; account: string | null }

const PAGE = 100;
// What brings an item here or takes it away.
const REPAIRS = new Set(["item.retried", "item.skipped", "item.edited", "item.completed", "order.ended", "plan.changed"]);

export function Fallout() {
  const url = useAddress();
  const system = url.searchParams.get("system") ?? undefined, errorCode = url.searchParams.get("errorCode") ?? undefined;
  const plan = url.searchParams.get("plan") ?? undefined, name = url.searchParams.get("name") ?? undefined; // of the links of the overview
  const job = url.searchParams.get("job") ?? undefined;
  const isRetrying = useRef(false);
  // (order, item) of those that are chosen, whether or not the page shows them.
  const [picked, setPicked] = useState<Set<string>>(new Set());
  useEffect(() => setPicked(new Set()), [system, errorCode]);
  const groups = useLive("groups", async (signal) => (await ask<Group[]>("list_groups", {}, { signal })).body, (fact) =>
    fact.kind.startsWith("item.f") || (REPAIRS.has(fact.kind) && (fact.kind !== "item.completed" || fact.actor.startsWith("person:") || isRetrying.current)), { gapMs: DESK_GAP_MS });
  isRetrying.current = !!groups.data?.some((group) => group.retrying);
  const refused = refusedBecause("list_groups");
  return (
    <>
      <h1>Fallout</h1>
      {refused && <p className="trouble">{refused}</p>}
      <Trouble error={groups.error} again={groups.again} />
      {job && <JobPanel key={job} jobId={job} choose={(outcomes: Outcome[]) => setPicked(new Set(outcomes.map((each) => idOf(each))))} />}
      {picked.size > 0 && !system && !errorCode && <Repair picked={picked} clear={() => setPicked(new Set())} />}
      {groups.data?.length === 0 && <p>Nothing has failed.</p>}
      {!groups.data && !groups.error && <p role="status">Reading…</p>}
      {!!groups.data?.length && (
        <table>
          <Head names={["Cause", "Failed", "Tried again", "Oldest", "Newest", "Example"]} />
          <tbody>{groups.data.map((group) => {
            const isChosen = (group.system ?? undefined) === system && (group.errorCode ?? undefined) === errorCode;
            return (
              <tr key={`${group.system} ${group.errorCode}`} data-row className={isChosen ? "chosen" : undefined}>
                <th scope="row"><Link href={withQuery(url, { system: group.system ?? undefined, errorCode: group.errorCode ?? undefined, plan: undefined, name: undefined, job: undefined })}>{group.system ?? "no system"} · {group.errorCode ?? "no code"}</Link></th>
                <td>{group.count}</td><td>{group.retrying}</td><td>{when(group.oldest)}</td><td>{when(group.newest)}</td><td className="long">{group.sample ?? "–"}</td>
              </tr>
            );
          })}</tbody>
        </table>
      )}
      {(system || errorCode || plan || name) && <Cause key={`${system} ${errorCode} ${plan} ${name}`} system={system} errorCode={errorCode} plan={plan} name={name} picked={picked} setPicked={setPicked} count={system && errorCode ? groups.data?.find((group) => group.system === system && group.errorCode === errorCode)?.count : undefined} />}
    </>
  );
}

const idOf = ({ orderId, item }: { orderId: string; item: string }) => JSON.stringify([orderId, item]);
const EFFECTS = { retry: "sends each of them again", skip: "skips each of them; what waits for them goes on" } as const;
interface Foretold { total: number; done: number; refused: number; more: boolean }
type Pick = (change: Set<string> | ((before: Set<string>) => Set<string>)) => void;

// One repair of all that is chosen; without a choice, of all that `filter` finds when it begins.
function Repair({ picked, clear, filter, count }: { picked: Set<string>; clear: () => void; filter?: Record<string, string | undefined>; count?: string }) {
  const url = useAddress();
  const selection = picked.size || !filter ? { items: [...picked].map((id) => JSON.parse(id)) } : { filter: Object.fromEntries(Object.entries(filter).filter(([, value]) => value)) };
  const what = picked.size ? `the ${picked.size} chosen` : count;
  return (
    <div className="actions">
      {(["retry", "skip"] as const).map((action) => (
        <WithReason key={action + JSON.stringify(selection)} operation="start_job" parameters={{ action }} body={selection} label={`${action === "retry" ? "Retry" : "Skip"} ${what}`} letter={action[0]}
          effect={<>The server {EFFECTS[action]}, in a job. {picked.size ? "One that is not failed any more is refused." : "It takes those that are failed when it begins."} <Before<Foretold> operation="start_job" parameters={{ action }} body={selection}
            tell={({ total, done, refused, more }) => `${more ? `Of the ${total.toLocaleString()} that failed longest ago` : `Of ${many(total, "item")} by now`} ${done.toLocaleString()} would be carried out, ${refused.toLocaleString()} refused.`} /></>}
          done={(job) => { clear(); go(withQuery(url, { job: (job as Job).id })); }} />
      ))}
      {picked.size > 0 && <button onClick={clear}>Choose none</button>}
    </div>
  );
}

function Cause({ system, errorCode, plan, name, picked, setPicked, count }: { system?: string; errorCode?: string; plan?: string; name?: string; picked: Set<string>; setPicked: Pick; count?: number }) {
  const url = useAddress();
  const query = { system, errorCode, plan, name };
  const shown = useRef(new Set<string>());
  const found = useLive(JSON.stringify(query), async (signal) => (await ask<{ items: Failed[]; next: string | null }>("list_fallout", {}, { query: { ...query, limit: PAGE }, signal })).body, (fact) =>
    fact.kind === "item.fatallyFailed" || (REPAIRS.has(fact.kind) && shown.current.has(fact.orderId ?? "")), { gapMs: DESK_GAP_MS });
  const items = found.data?.items ?? [];
  shown.current = new Set(items.map((item) => item.orderId));
  const flip = (id: string) => setPicked((before) => { const now = new Set(before); if (!now.delete(id)) now.add(id); return now; });
  return (
    <section aria-label="Items of the cause">
      <h2>{system ?? (name ? "any system" : "no system")} · {errorCode ?? "any error"}{name && ` · ${name}`} <Link className="button" data-back href={withQuery(url, { system: undefined, errorCode: undefined, plan: undefined, name: undefined })}>All causes</Link></h2>
      <Trouble error={found.error} again={found.again} />
      {found.data && !items.length && <p>No item of this cause is failed now.</p>}
      {(items.length > 0 || picked.size > 0) && <Repair picked={picked} clear={() => setPicked(new Set())} filter={query} count={!found.data?.next ? `all ${items.length}` : count ? `all ${count.toLocaleString()}` : "all of this cause"} />}
      {items.length > 0 && <>
        <table>
          <Head names={["", "Order", "Item", "Error", "Attempts", "Since"]} />
          <tbody>{items.map((item) => (
            <tr key={idOf(item)} data-row>
              <td><input type="checkbox" aria-label={`Choose ${item.name} of ${item.orderId}`} checked={picked.has(idOf(item))} onChange={() => flip(idOf(item))} /></td>
              <td><Link href={`/console/orders/${encodeURIComponent(item.orderId)}?item=${encodeURIComponent(item.item)}`}>{item.orderId}</Link></td>
              <td>{item.name}</td><td className="long">{item.error ?? item.errorCode ?? "–"}</td><td>{item.attempt}</td><td>{when(item.failedAt)}</td>
            </tr>
          ))}</tbody>
        </table>
        {found.data?.next && <p>The {PAGE} that failed longest ago are shown; the job takes all of the cause.</p>}
      </>}
    </section>
  );
}
