// The fallout desk: what failed for good, by cause; the items of one cause; their repair as a job of the server.

import { useRef, useState } from "react";
import { ask, refusedBecause } from "./api";
import { DESK_GAP_MS, go, useAddress, useLive, withQuery } from "./hooks";
import { Link, Trouble, WithReason, when } from "./parts";

interface Group { system: string | null; errorCode: string | null; count: number; retrying: number; oldest: string; newest: string; sample: string | null }
interface Failed { orderId: string; item: string; name: string; errorCode: string | null; error: string | null; attempt: number; failedAt: string; account: string | null }
interface Job { id: string; action: string; state: string; total: number; done: number; refused: number; failed: number; open: number; failedAgain: number; reason: string }
interface Outcome { number: number; orderId: string; item: string; outcome: string; reason: string | null; stateNow: string | null }

const PAGE = 100;
const JOB_POLL_MS = 500;
// What brings an item here or takes it away.
const REPAIRS = new Set(["item.retried", "item.skipped", "item.edited", "item.completed", "order.ended", "plan.changed"]);

export function Fallout() {
  const url = useAddress();
  const system = url.searchParams.get("system") ?? undefined, errorCode = url.searchParams.get("errorCode") ?? undefined;
  const job = url.searchParams.get("job") ?? undefined;
  const isRetrying = useRef(false);
  const groups = useLive("groups", async (signal) => (await ask<Group[]>("list_groups", {}, { signal })).body, (fact) =>
    fact.kind.startsWith("item.f") || (REPAIRS.has(fact.kind) && (fact.kind !== "item.completed" || fact.actor.startsWith("person:") || isRetrying.current)), { gapMs: DESK_GAP_MS });
  isRetrying.current = !!groups.data?.some((group) => group.retrying);
  const refused = refusedBecause("list_groups");
  return (
    <>
      <h1>Fallout</h1>
      {refused && <p className="trouble">{refused}</p>}
      <Trouble error={groups.error} again={groups.again} />
      {job && <Outcomes jobId={job} />}
      {groups.data?.length === 0 && <p>Nothing has failed.</p>}
      {!groups.data && !groups.error && <p role="status">Reading…</p>}
      {!!groups.data?.length && (
        <table>
          <thead><tr>{["Cause", "Failed", "Tried again", "Oldest", "Newest", "Example"].map((each) => <th key={each} scope="col">{each}</th>)}</tr></thead>
          <tbody>{groups.data.map((group) => {
            const isChosen = (group.system ?? undefined) === system && (group.errorCode ?? undefined) === errorCode;
            return (
              <tr key={`${group.system} ${group.errorCode}`} className={isChosen ? "chosen" : undefined}>
                <th scope="row"><Link href={withQuery(url, { system: group.system ?? undefined, errorCode: group.errorCode ?? undefined, job: undefined })}>{group.system ?? "no system"} · {group.errorCode ?? "no code"}</Link></th>
                <td>{group.count}</td><td>{group.retrying}</td><td>{when(group.oldest)}</td><td>{when(group.newest)}</td><td className="long">{group.sample ?? "–"}</td>
              </tr>
            );
          })}</tbody>
        </table>
      )}
      {(system || errorCode) && <Cause key={`${system} ${errorCode}`} system={system} errorCode={errorCode} />}
    </>
  );
}

function Cause({ system, errorCode }: { system?: string; errorCode?: string }) {
  const url = useAddress();
  const query = { system, errorCode };
  const shown = useRef(new Set<string>());
  const found = useLive(`${system} ${errorCode}`, async (signal) => (await ask<{ items: Failed[]; next: string | null }>("list_fallout", {}, { query: { ...query, limit: PAGE }, signal })).body, (fact) =>
    fact.kind === "item.fatallyFailed" || (REPAIRS.has(fact.kind) && shown.current.has(fact.orderId ?? "")), { gapMs: DESK_GAP_MS });
  const [picked, setPicked] = useState<Set<string>>(new Set());
  const idOf = (item: Failed) => JSON.stringify([item.orderId, item.item]);
  const items = found.data?.items ?? [];
  shown.current = new Set(items.map((item) => item.orderId));
  const chosen = items.filter((item) => picked.has(idOf(item)));
  const flip = (id: string) => setPicked((before) => { const now = new Set(before); if (!now.delete(id)) now.add(id); return now; });
  const selection = chosen.length ? { items: chosen.map((item) => [item.orderId, item.item]) } : { filter: Object.fromEntries(Object.entries(query).filter(([, value]) => value)) };
  const what = chosen.length ? `the ${chosen.length} chosen` : found.data?.next ? "all of this cause" : `all ${items.length}`;
  return (
    <section aria-label="Items of the cause">
      <h2>{system ?? "no system"} · {errorCode ?? "any error"}</h2>
      <Trouble error={found.error} again={found.again} />
      {found.data && !items.length && <p>No item of this cause is failed now.</p>}
      {items.length > 0 && <>
        <div className="actions">{(["retry", "skip"] as const).map((action) => (
          <WithReason key={action} operation="start_job" parameters={{ action }} body={selection} label={`${action === "retry" ? "Retry" : "Skip"} ${what}`}
            effect={`The server ${action === "retry" ? "sends each of them again" : "skips each of them; what waits for them goes on"}, in a job. It takes those that are failed when it begins.`}
            done={(job) => { setPicked(new Set()); go(withQuery(url, { job: (job as Job).id })); }} />
        ))}</div>
        <table>
          <thead><tr>{["", "Order", "Item", "Error", "Attempts", "Since"].map((each, at) => <th key={at} scope="col">{each || <span className="hidden">Chosen</span>}</th>)}</tr></thead>
          <tbody>{items.map((item) => (
            <tr key={idOf(item)}>
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

function Outcomes({ jobId }: { jobId: string }) {
  const url = useAddress();
  const job = useLive(`job ${jobId}`, async (signal) => {
    const [told, bad] = await Promise.all([
      ask<Job>("get_job", { job_id: jobId }, { signal }),
      Promise.all(["refused", "failed"].map((outcome) => ask<Outcome[]>("list_job_items", { job_id: jobId }, { query: { outcome, limit: 100 }, signal }))),
    ]);
    return { job: told.body, bad: bad.flatMap((each) => each.body) };
  }, (fact) => fact.kind === "item.fatallyFailed", { gapMs: DESK_GAP_MS, pollMs: ({ job: { open, state } }) => (open && state !== "stopped" ? JOB_POLL_MS : undefined) });
  if (!job.data) return <Trouble error={job.error} again={job.again} />;
  const { job: told, bad } = job.data;
  return (
    <section className="job" aria-label="The job" role="status">
      <h2>Job “{told.action}”: {told.state}</h2>
      <progress max={told.total || 1} value={told.total - told.open} aria-label="Progress of the job" />
      <p>{told.total} chosen: {told.done} carried out, {told.refused} refused, {told.failed} failed, {told.open} open. {told.failedAgain} of those carried out failed again.</p>
      {bad.length > 0 && <ul>{bad.map((each) => <li key={each.number}>{each.orderId} {each.item}: {each.outcome}, {each.reason}</li>)}</ul>}
      <Trouble error={job.error} />
      <button onClick={job.again}>Read again</button> <Link href={withQuery(url, { job: undefined })}>Close</Link>
    </section>
  );
}
