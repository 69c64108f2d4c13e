// One item of a plan, beside it: why it stands where it stands, what is expected of it, its attempts with what each said,
// and its repair.

import { useMemo, useState } from "react";
import { ask, refusedBecause } from "./api";
import { useLive } from "./hooks";
import { Link, State, Trouble, WithReason, many, span, when } from "./parts";
import { type Attempt, type Explanation, type Fact, type Item, patchOf } from "./plan";
import { isFailed } from "./states";

export function useFacts(orderId: string) {
  return useLive(`${orderId} facts`, async (signal) => (await ask<Fact[]>("get_facts", { order_id: orderId }, { signal })).body, (fact) => fact.orderId === orderId);
}

export const taskAddress = (item: Item) => `/console/tasks?${new URLSearchParams({ show: "all", ...(item.queue && { queue: item.queue }), ...(item.taskId && { task: item.taskId }) })}`;

interface Props { orderId: string; item: Item; names: Item[]; choose: (key?: string) => void; changed: () => void }
interface Own { nextPayload?: unknown; nextPayloadError?: string; attempts?: Attempt[] }

export function Drawer({ orderId, item, names, choose, changed }: Props) {
  const explained = useLive(`${orderId} ${item.key}`, async (signal) => {
    const [told, own] = await Promise.all([
      ask<Explanation>("explain", { order_id: orderId }, { query: { item: item.key }, signal }),
      ask<Own>("get_item", { order_id: orderId, item: item.key }, { signal }),
    ]);
    return { ...told.body, next: own.body };
  }, (fact) => fact.orderId === orderId);
  const facts = useFacts(orderId);
  const own = useMemo(() => facts.data?.filter((fact) => fact.item === item.key) ?? [], [facts.data, item.key]);
  const reasons = explained.data?.items[0]?.reasons ?? [];
  const behind = explained.data?.items[0]?.holdsUp;
  const next = explained.data?.next;
  const nameOf = (key: string) => names.find((each) => each.key === key)?.name ?? key;
  const done = () => { changed(); explained.again(); };
  const repair = (action: string, label: string, effect: string) => (
    <WithReason key={action} operation="operate_item" parameters={{ order_id: orderId, item: item.key, action } as never} label={label} effect={effect} done={done} />
  );
  return (
    <aside aria-label={`Item ${item.name}`} onKeyDown={(event) => { if (event.key === "Escape") choose(undefined); }}>
      <h2>{item.name}</h2>
      <button className="close" onClick={() => choose(undefined)} aria-label="Close the item">✕</button>
      <p><State state={item.state} /> · attempt {item.attempt}</p>
      {item.error && <p className="trouble">{item.errorCode ? `${item.errorCode}: ` : ""}{item.error}</p>}
      <Trouble error={explained.error} again={explained.again} />
      {reasons.length > 0 && <><h3>Why</h3><ul>{reasons.map((each, at) => <li key={at}>{each.text}</li>)}</ul></>}
      {behind && behind.count > 0 && <p>Holds up {behind.isAtLeast ? "at least " : ""}{many(behind.count, "item")}{isFailed(item.state) && `, which a repair or "Skip" lets go on`}.</p>}
      {isFailed(item.state) && <div className="actions">
        {repair("retry", "Retry", "The item is sent again now, with a new count of attempts.")}
        {next?.nextPayload !== undefined && <EditPayload orderId={orderId} item={item.key} payload={next.nextPayload ?? {}} done={done} />}
        {repair("skip", "Skip", "The item is passed over; what waits for it goes on.")}
        {repair("complete", "Complete by hand", "The item counts as done; what waits for it goes on.")}
      </div>}
      {item.taskId && <p><Link className="button" href={taskAddress(item)}>Open the task</Link></p>}
      <dl>
        <dt>Where</dt><dd>{item.system ? `${item.system} · ${item.operation ?? ""}` : item.queue ?? item.type}</dd>
        <dt>Plan</dt><dd>{item.plan ?? "–"}</dd>
        <dt>Started</dt><dd>{when(item.startedAt)}</dd><dt>Ended</dt><dd>{when(item.endedAt)}</dd>
        <dt>Waits for</dt><dd>{item.dependsOn.length ? item.dependsOn.map((key) => <button className="plain" key={key} onClick={() => choose(key)}>{nameOf(key)}</button>) : "nothing"}</dd>
      </dl>
      {item.expected && <Outlook item={item} />}
      {!!next?.attempts?.length && <Attempts attempts={next.attempts} />}
      {next?.nextPayload !== undefined && <details><summary>What its next attempt sends</summary>{next.nextPayloadError ? <p className="trouble">{next.nextPayloadError}</p> : <Json value={next.nextPayload} />}</details>}
      <h3>What happened</h3>
      <Trouble error={facts.error} again={facts.again} />
      <ol className="happened">{own.map((fact) => {
        const line = <>{when(fact.at)} {fact.kind} <span className="by">{fact.actor}</span></>;
        return <li key={fact.id}>{fact.payload && Object.keys(fact.payload).length ? <details><summary>{line}</summary><Json value={fact.payload} /></details> : line}</li>;
      })}</ol>
    </aside>
  );
}

function Outlook({ item }: { item: Item }) {
  const { isCritical, expectedEndAt, slackS, risk, reason } = item.expected!;
  if (item.endedAt) return <p><span className="mark">◆</span> On the critical path: what came after waited for it.</p>;
  return (
    <>
      <h3>Expected, by the delay model</h3>
      <dl>
        <dt>End</dt><dd>{when(expectedEndAt)}</dd>
        <dt>Slack</dt><dd>{isCritical ? <><span className="mark">◆</span> none: it is on the critical path</> : slackS !== undefined ? span(slackS * 1_000) : "–"}</dd>
        <dt>Risk</dt><dd>{Math.round((risk ?? 0) * 100)} % of the cases are late because the end waits for it</dd>
      </dl>
      {reason && <p className="by">{reason}.</p>}
    </>
  );
}

const OUTCOMES: Record<string, string> = { completed: "✓ done", failed: "↻ failed, tried again", failedForGood: "✕ failed", held: "‖ its system takes no calls", skipped: "⤼ skipped" };

// Each attempt with its time, and what was sent and came of it, side by side with the attempt before.
function Attempts({ attempts }: { attempts: Attempt[] }) {
  return (
    <>
      <h3>Attempts</h3>
      <ol className="happened" aria-label="Attempts">{[...attempts].reverse().map((each, at, all) => {
        const before = all[at + 1];
        const changed = before && each.request !== undefined && before.request !== undefined ? patchOf(before.request, each.request) : undefined;
        return (
          <li key={`${each.attempt} ${each.startedAt}`} value={each.attempt}>
            <details>
              <summary>{when(each.startedAt)}{each.tookS !== undefined && ` · ${span(each.tookS * 1_000)}`} · {OUTCOMES[each.outcome ?? ""] ?? "▶ under way"}{each.errorCode && ` (${each.errorCode})`}</summary>
              {each.error && <p className="trouble">{each.error}</p>}
              {each.unheard && <p>Nobody heard whether it was done: it is repeated under its own key.</p>}
              {each.retryAt && <p>Next try {when(each.retryAt)}.</p>}
              {changed !== undefined && <><h4>What differs from the attempt before</h4><Json value={changed} /></>}
              <h4>What it sent</h4>{each.requestError ? <p className="trouble">{each.requestError}</p> : <Json value={each.request} />}
              {each.outcome === "completed" && <><h4>What came back</h4>{each.values !== undefined ? <Json value={each.values} /> : <p>Nothing that the plan keeps.</p>}</>}
            </details>
          </li>
        );
      })}</ol>
    </>
  );
}

const Json = ({ value }: { value: unknown }) => <pre tabIndex={0}>{JSON.stringify(value, null, 1)}</pre>;

// The payload of the next attempt, with other values; what is masked stays as it is.
function EditPayload({ orderId, item, payload, done }: { orderId: string; item: string; payload: unknown; done: () => void }) {
  const [text, setText] = useState<string>();
  const refused = refusedBecause("operate_item");
  if (text === undefined) return <button disabled={!!refused} title={refused} onClick={() => setText(JSON.stringify(payload, null, 1))}>Edit and retry…</button>;
  let patch: unknown, wrong = "";
  try { patch = patchOf(payload, JSON.parse(text)); } catch (problem) { wrong = (problem as Error).message; }
  return (
    <div className="reason">
      <p className="field"><label htmlFor="payload">Payload of the next attempt (JSON)</label>
        <textarea id="payload" className="code" rows={8} spellCheck={false} value={text} aria-invalid={!!wrong || undefined} onChange={(event) => setText(event.target.value)} /><span className="wrong">{wrong}</span></p>
      {patch !== undefined && !wrong && <WithReason operation="operate_item" parameters={{ order_id: orderId, item, action: "edit" }} label="Send with these values" body={{ patch: patch as object }} effect="The item is sent again with these values." done={() => { setText(undefined); done(); }} />}
      <button onClick={() => setText(undefined)}>Back</button>
    </div>
  );
}
