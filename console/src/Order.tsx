// One order: its plan as a graph, a table and a history, on one selection; beside it the chosen item.

import { useEffect, useMemo, useState } from "react";
import { ask } from "./api";
import { OrderActions } from "./Change";
import { Gantt } from "./Gantt";
import { Graph } from "./Graph";
import { go, useAddress, useLive, withQuery } from "./hooks";
import { warm } from "./layout";
import { Head, Link, State, Trouble, WithReason, accountAddress, many, when } from "./parts";
import { type Explanation, type Fact, type Item, type Line, type Plan, type Summary, frontier, grouped, patchOf } from "./plan";
import { isFailed } from "./states";
import { type Heard } from "./stream";

const VIEWS = ["graph", "gantt", "table", "lines", "history"] as const;
const GROUP_ITEMS_FROM = 12; // fewer are all shown
const TABLE_FROM = 300; // items: more than a picture shows well

export function Order({ orderId }: { orderId: string }) {
  const url = useAddress();
  const mine = (fact: Heard) => fact.orderId === orderId;
  const of = { order_id: orderId };
  const order = useLive(orderId, async (signal) => {
    const [summary, plan, explained] = await Promise.all([
      ask<Summary>("get_order", of, { signal }), ask<Plan>("get_plan", of, { signal }), ask<Explanation>("explain", of, { signal }),
    ]);
    return { summary: summary.body, plan: plan.body, explained: explained.body };
  }, mine);
  useEffect(warm, []);
  const [opened, setOpened] = useState<Set<string>>(new Set());
  const isGrouped = url.searchParams.get("grouped") !== "no";
  if (!order.data) return <><h1>Order {orderId}</h1>{order.error ? <><Trouble error={order.error} again={order.again} /><p><Link href="/console/orders">All orders</Link></p></> : <p role="status">Reading…</p>}</>;
  const { summary, plan, explained } = order.data;
  const drawn = isGrouped && plan.items.length >= GROUP_ITEMS_FROM ? grouped(plan.items, opened) : plan.items;
  const view = VIEWS.find((each) => each === url.searchParams.get("view")) ?? (drawn.length > TABLE_FROM ? "table" : "graph");
  const chosen = url.searchParams.get("item") ?? undefined;
  const choose = (key?: string) => go(withQuery(url, { item: key }), false);
  const item = plan.items.find((each) => each.key === chosen);
  return (
    <>
      <h1>Order {summary.externalId ?? summary.id} <State state={summary.state} /></h1>
      <Trouble error={order.error} again={order.again} />
      <p className="facts">{summary.externalId && <>{summary.id} · </>}account {summary.account ? <Link href={accountAddress(summary.account)}>{summary.account}</Link> : "–"} · release {summary.releaseId} · ordered {when(summary.createdAt)}
        {summary.dueAt && <> · due {when(summary.dueAt)}</>}
        {summary.risk && <> · risk {Math.round(summary.risk.risk * 100)} % ({summary.risk.band})</>}</p>
      <p className="summary">{explained.summary}</p>
      {summary.reasons?.map((each) => <p key={each.code} className="trouble">{each.reason}</p>)}
      <OrderActions summary={summary} changed={order.again} />
      <nav className="tabs" aria-label="Views of the plan">
        {VIEWS.map((each) => <Link key={each} href={withQuery(url, { view: each })} aria-current={each === view ? "page" : undefined}>{each[0].toUpperCase() + each.slice(1)}</Link>)}
        {view === "graph" && (drawn.some((item) => item.members) || opened.size > 0 || !isGrouped) && (
          <label className="tick"><input type="checkbox" checked={isGrouped && !opened.size} onChange={(event) => { setOpened(new Set()); go(withQuery(url, { grouped: event.target.checked ? undefined : "no" }), false); }} /> Equal items as one; Enter or a click opens them</label>
        )}
      </nav>
      <div className={`split${item ? " open" : ""}`}>
        <div className="view">
          {view === "lines" ? <Lines lines={plan.lines} />
            : !plan.items.length ? <p>This order has no plan.</p>
            : view === "graph" ? <Graph items={drawn} chosen={chosen ?? frontier(drawn)} choose={choose} open={(name) => setOpened((before) => new Set([...before, name]))} />
            : view === "gantt" ? <Gantt items={plan.items} chosen={chosen} choose={choose} />
            : view === "table" ? <Table items={plan.items} chosen={chosen} choose={choose} />
            : <History orderId={orderId} chosen={chosen} choose={choose} />}
        </div>
        {item && <Drawer key={item.key} orderId={orderId} item={item} names={plan.items} choose={choose} changed={order.again} />}
      </div>
    </>
  );
}

// What was ordered and what it has become: each line, the lines that it comes from, and by which rules.
function Lines({ lines }: { lines: Line[] }) {
  return (
    <table>
      <Head names={["Line", "Product", "Action", "Quantity", "Comes from", "By rules", "Values", "Delivered"]} />
      <tbody>{lines.map((line) => (
        <tr key={line.key}>
          <th scope="row">{line.key}</th><td>{line.name}</td><td>{line.cancelled ? <s>{line.action}</s> : line.action}</td><td>{line.quantity}</td>
          <td>{line.sources.length ? `← ${line.sources.join(", ")}` : "the order"}</td><td>{line.rules.join(", ") || "–"}</td>
          <td className="long">{Object.entries(line.attributes).map(([name, value]) => <div key={name}>{name}: {typeof value === "string" ? value : JSON.stringify(value)}</div>)}</td>
          <td>{line.delivered ? `yes${line.productId ? `, ${line.productId}` : ""}` : "no"}</td>
        </tr>
      ))}</tbody>
    </table>
  );
}

interface Choice { chosen?: string; choose: (key?: string) => void }

function Table({ items, chosen, choose }: Choice & { items: Item[] }) {
  const names = new Map(items.map((item) => [item.key, item.name]));
  return (
    <table>
      <thead><tr>{["Item", "State", "Where", "Attempts", "Started", "Ended", "Waits for"].map((each) => <th key={each} scope="col">{each}</th>)}</tr></thead>
      <tbody>{items.map((item) => (
        <tr key={item.key} className={item.key === chosen ? "chosen" : undefined}>
          <th scope="row"><button className="plain" aria-pressed={item.key === chosen} onClick={() => choose(item.key)}>{item.name}</button></th>
          <td><State state={item.state} /></td><td>{item.system ?? item.queue ?? item.type}</td><td>{item.attempt}</td>
          <td>{when(item.startedAt)}</td><td>{when(item.endedAt)}</td><td>{item.dependsOn.map((key) => names.get(key)).join(", ") || "–"}</td>
        </tr>
      ))}</tbody>
    </table>
  );
}

function useFacts(orderId: string) {
  return useLive(`${orderId} facts`, async (signal) => (await ask<Fact[]>("get_facts", { order_id: orderId }, { signal })).body, (fact) => fact.orderId === orderId);
}

function History({ orderId, chosen, choose }: Choice & { orderId: string }) {
  const { data, error, again } = useFacts(orderId);
  if (!data) return error ? <Trouble error={error} again={again} /> : <p role="status">Reading…</p>;
  return (
    <table>
      <thead><tr>{["When", "What", "Item", "By"].map((each) => <th key={each} scope="col">{each}</th>)}</tr></thead>
      <tbody>{data.map((fact) => (
        <tr key={fact.id} className={fact.item && fact.item === chosen ? "chosen" : undefined}>
          <td>{when(fact.at)}</td><td>{fact.kind}</td>
          <td>{fact.item ? <button className="plain" onClick={() => choose(fact.item!)}>{fact.item}</button> : "–"}</td><td>{fact.actor}</td>
        </tr>
      ))}</tbody>
    </table>
  );
}

function Drawer({ orderId, item, names, choose, changed }: { orderId: string; item: Item; names: Item[]; choose: (key?: string) => void; changed: () => void }) {
  const explained = useLive(`${orderId} ${item.key}`, async (signal) => {
    const [told, own] = await Promise.all([
      ask<Explanation>("explain", { order_id: orderId }, { query: { item: item.key }, signal }),
      ask<{ nextPayload?: unknown; nextPayloadError?: string }>("get_item", { order_id: orderId, item: item.key }, { signal }),
    ]);
    return { ...told.body, next: own.body };
  }, (fact) => fact.orderId === orderId);
  const facts = useFacts(orderId);
  const own = useMemo(() => facts.data?.filter((fact) => fact.item === item.key) ?? [], [facts.data, item.key]);
  const reasons = explained.data?.items[0]?.reasons ?? [];
  const behind = explained.data?.items[0]?.holdsUp;
  const next = explained.data?.next;
  const nameOf = (key: string) => names.find((each) => each.key === key)?.name ?? key;
  const repair = (action: string, label: string, effect: string) => (
    <WithReason key={action} operation="operate_item" parameters={{ order_id: orderId, item: item.key, action } as never} label={label} effect={effect}
      done={() => { changed(); explained.again(); }} />
  );
  return (
    <aside aria-label={`Item ${item.name}`} onKeyDown={(event) => { if (event.key === "Escape") choose(undefined); }}>
      <h2>{item.name}</h2>
      <button className="close" onClick={() => choose(undefined)} aria-label="Close the item">✕</button>
      <p><State state={item.state} /> · attempt {item.attempt}</p>
      {item.error && <p className="trouble">{item.errorCode ? `${item.errorCode}: ` : ""}{item.error}</p>}
      <Trouble error={explained.error} again={explained.again} />
      {reasons.length > 0 && <><h3>Why</h3><ul>{reasons.map((each, at) => <li key={at}>{each.text}</li>)}</ul></>}
      {behind && behind.count > 0 && <p>Holds up {behind.isAtLeast ? "at least " : ""}{many(behind.count, "item")}.</p>}
      {isFailed(item.state) && <div className="actions">
        {repair("retry", "Retry", "The item is sent again, with a new count of attempts.")}
        {repair("skip", "Skip", "The item is passed over; what waits for it goes on.")}
        {next?.nextPayload !== undefined && <EditPayload orderId={orderId} item={item.key} payload={next.nextPayload ?? {}} done={() => { changed(); explained.again(); }} />}
        {repair("complete", "Complete by hand", "The item counts as done; what waits for it goes on.")}
      </div>}
      <dl>
        <dt>Where</dt><dd>{item.system ? `${item.system} · ${item.operation ?? ""}` : item.queue ?? item.type}</dd>
        <dt>Plan</dt><dd>{item.plan ?? "–"}</dd>
        <dt>Started</dt><dd>{when(item.startedAt)}</dd><dt>Ended</dt><dd>{when(item.endedAt)}</dd>
        <dt>Waits for</dt><dd>{item.dependsOn.length ? item.dependsOn.map((key) => <button className="plain" key={key} onClick={() => choose(key)}>{nameOf(key)}</button>) : "nothing"}</dd>
      </dl>
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

const Json = ({ value }: { value: unknown }) => <pre tabIndex={0}>{JSON.stringify(value, null, 1)}</pre>;

// The payload of the next attempt, with other values; what is masked stays as it is.
function EditPayload({ orderId, item, payload, done }: { orderId: string; item: string; payload: unknown; done: () => void }) {
  const [text, setText] = useState<string>();
  if (text === undefined) return <button onClick={() => setText(JSON.stringify(payload, null, 1))}>Edit and retry…</button>;
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
