// A job of the server: how far it is, what became of each item, and those that are to be chosen again.

import { useEffect, useRef, useState } from "react";
import { type Parameters } from "./api.generated";
import { type Refusal, ask } from "./api";
import { DESK_GAP_MS, useAddress, useLive, withQuery } from "./hooks";
import { Act, Head, Link, Trouble, many, orderAddress } from "./parts";

export interface Job {
  id: string; action: string; state: string; operator: string; total: number; done: number; refused: number; failed: number; open: number; failedAgain: number; reason: string; createdAt: string;
}
export interface Outcome { number: number; orderId: string; item: string; outcome: string | null; code: string | null; reason: string | null; stateNow: string | null }

const POLL_MS = 500;
const SHOWN = 100;
const CHOSEN_MAX = 1_000; // as many as a page of the server has
const KINDS = { refused: "refused", failed: "failed", failedAgain: "failed again", done: "carried out", open: "open" } as const;
type Kind = keyof typeof KINDS;

export function JobPanel({ jobId, choose }: { jobId: string; choose?: (outcomes: Outcome[]) => void }) {
  const url = useAddress();
  const [kind, setKind] = useState<Kind>();
  const job = useLive(`job ${jobId} ${kind}`, async (signal) => {
    const { body: told } = await ask<Job>("get_job", { job_id: jobId }, { signal });
    const wanted = kind ?? (["refused", "failed", "failedAgain"] as const).find((each) => told[each] > 0);
    const items = wanted ? (await ask<Outcome[]>("list_job_items", { job_id: jobId }, { query: { outcome: wanted, limit: SHOWN }, signal })).body : [];
    return { told, wanted, items };
  }, (fact) => fact.kind === "item.fatallyFailed" || fact.kind === "item.completed", { gapMs: DESK_GAP_MS, pollMs: ({ told: { open, state } }) => (open && state === "running" ? POLL_MS : undefined) });
  // What was pressed may be gone by now: whoever works by keys goes on here.
  const panel = useRef<HTMLElement>(null);
  useEffect(() => { if (document.activeElement === document.body) panel.current?.focus(); }, [!job.data]);
  const again = async (which: Kind) => choose?.((await ask<Outcome[]>("list_job_items", { job_id: jobId }, { query: { outcome: which, limit: CHOSEN_MAX } })).body);
  if (!job.data) return <Trouble error={job.error} again={job.again} />;
  const { told, wanted, items } = job.data;
  return (
    <section className="job" aria-label="The job" ref={panel} tabIndex={-1}>
      <h2>Job “{told.action}”: {told.state}</h2>
      <progress max={told.total || 1} value={told.total - told.open} aria-label="Progress of the job" />
      <p role="status">{told.total} chosen: {told.done} carried out, {told.refused} refused, {told.failed} failed, {told.open} open. {told.failedAgain} of those carried out failed again.</p>
      <p className="by">By {told.operator}: {told.reason}</p>
      <div className="actions">
        {choose && (["failedAgain", "refused", "failed"] as const).map((each) => told[each] > 0 && (
          <button key={each} onClick={() => void again(each)}>Select the {Math.min(told[each], CHOSEN_MAX)} that {each === "failedAgain" ? "failed again" : each === "failed" ? "failed" : "were refused"}</button>
        ))}
        {told.state === "running" && <Act operation="steer_job" parameters={{ job_id: jobId, action: "pause" }} label="Pause" done={job.again} />}
        {told.state === "paused" && <Act operation="steer_job" parameters={{ job_id: jobId, action: "resume" }} label="Go on" done={job.again} />}
        {(told.state === "running" || told.state === "paused") && <Act operation="steer_job" parameters={{ job_id: jobId, action: "stop" }} label="Stop" done={job.again} />}
        <label>Outcomes <select value={wanted ?? ""} onChange={(event) => setKind((event.target.value || undefined) as Kind | undefined)}>
          <option value="">those with trouble</option>
          {Object.entries(KINDS).map(([value, label]) => <option key={value} value={value}>{label}</option>)}
        </select></label>
        <Link className="button" data-back href={withQuery(url, { job: undefined })}>Close</Link>
      </div>
      {items.length > 0 && <div className="outcomes" tabIndex={0} role="group" aria-label="Outcomes"><table>
        <Head names={["Order", "Item", "Outcome", "Why", "Now"]} />
        <tbody>{items.map((each) => (
          <tr key={each.number}>
            <td><Link href={orderAddress(each.orderId, each.item || undefined)}>{each.orderId}</Link></td><td className="long">{each.item || "–"}</td>
            <td>{each.outcome ?? "open"}</td><td className="long">{each.reason ?? "–"}</td><td>{each.stateNow ?? "–"}</td>
          </tr>
        ))}</tbody>
      </table></div>}
      {items.length === SHOWN && <p>The first {many(SHOWN, "outcome")} are shown.</p>}
      <Trouble error={job.error} again={job.again} />
    </section>
  );
}

interface BeforeProps<T> { operation: "start_job" | "start_order_job"; parameters: Parameters["start_job"] | Parameters["start_order_job"]; body: Record<string, unknown>; tell: (told: T) => string }

// What a job would take or do, told by the server just before it is begun; nothing is done for that.
export function Before<T>({ operation, parameters, body, tell }: BeforeProps<T>) {
  const [told, setTold] = useState<T>();
  const [error, setError] = useState<Refusal>();
  const key = JSON.stringify(body);
  useEffect(() => {
    const stop = new AbortController();
    ask<T>(operation, parameters as Parameters["start_job"], { query: { dryRun: "true" }, body: { reason: "to see what it would do", ...JSON.parse(key) }, signal: stop.signal })
      .then(({ body: answer }) => setTold(answer), (problem) => { if (!stop.signal.aborted) setError(problem); });
    return () => stop.abort();
  }, [key]);
  return <><span role="status">{told ? tell(told) : error ? "" : "Counting…"}</span><Trouble error={error} /></>;
}
