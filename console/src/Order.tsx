// One order: its plan as a graph, in time, as a table, as lines and as history, on one selection; beside it the chosen item.

import { useEffect, useMemo, useState } from "react";
import { ask } from "./api";
import { OrderActions } from "./Change";
import { Gantt } from "./Gantt";
import { Graph } from "./Graph";
import { go, useAddress, useLive, withQuery } from "./hooks";
import { Drawer, useFacts } from "./Item";
import { warm } from "./layout";
import { Lines } from "./Lines";
import { Link, More, State, Trouble, accountAddress, many, span, useMore, when } from "./parts";
import { DRAWN_MAX, type Explanation, GROUP_FROM, type Item, type Plan, SHOWN, type Schedule, type Shown, type Summary, definitionOf, filtered, frontier, grouped, isCritical, planOf, withSchedule } from "./plan";
import { type Heard } from "./stream";
import { Why } from "./Why";

const VIEWS = ["graph", "gantt", "table", "lines", "history"] as const;
const GROUP_ITEMS_FROM = 12; // fewer are all shown
const SCHEDULE_POLL_MS = 5_000; // estimates change as time goes by; those of large plans more slowly
const SCHEDULE_POLL_LARGE_MS = 30_000;

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
  const hasPlan = !!order.data?.plan.items.length;
  const schedule = useLive(`${orderId} ${hasPlan}`, async (signal) => (hasPlan ? (await ask<Schedule>("get_schedule", of, { signal })).body : undefined), mine,
    { gapMs: 1_000, pollMs: (data) => (!data?.expectedAt ? undefined : data.items.length > DRAWN_MAX ? SCHEDULE_POLL_LARGE_MS : SCHEDULE_POLL_MS) });
  useEffect(warm, []);
  const [opened, setOpened] = useState<Set<string>>(new Set());
  const isGrouped = url.searchParams.get("grouped") !== "no";
  const shown = (Object.keys(SHOWN).find((each) => each === url.searchParams.get("show")) ?? "all") as Shown, place = url.searchParams.get("at") ?? "";
  const plan = order.data?.plan;
  const items = useMemo(() => withSchedule(plan?.items ?? [], schedule.data), [plan, schedule.data]);
  const wanted = useMemo(() => filtered(items, shown, place), [items, shown, place]);
  const drawn = useMemo(() => (isGrouped && wanted.length >= GROUP_ITEMS_FROM ? grouped(wanted, opened) : wanted), [wanted, opened, isGrouped]);
  if (!order.data || !plan) return <><h1>Order {orderId}</h1>{order.error ? <><Trouble error={order.error} again={order.again} /><p><Link href="/console/orders">All orders</Link></p></> : <p role="status">Reading…</p>}</>;
  const { summary, explained } = order.data;
  const view = VIEWS.find((each) => each === url.searchParams.get("view")) ?? (drawn.length > DRAWN_MAX ? "table" : "graph");
  const chosen = url.searchParams.get("item") ?? undefined;
  const choose = (key?: string) => go(withQuery(url, { item: key }), false);
  const change = (changes: Record<string, string | undefined>) => go(withQuery(url, changes), false);
  const item = items.find((each) => each.key === chosen);
  const open = (key: string) => {
    // A part that a picture does not show well is shown as a table.
    const members = drawn.find((each) => each.key === key)?.members ?? [];
    if (opened.size && members.length > DRAWN_MAX) change({ view: "table", at: members[0].system ?? members[0].queue });
    else setOpened((before) => new Set([...before, key]));
  };
  const close = (key: string) => {
    const seen = drawn.find((each) => each.key === key), own = seen?.members?.[0] ?? seen;
    if (!own) return;
    const definition = definitionOf(own), isInner = [...opened].some((name) => name.startsWith(definition));
    setOpened((before) => new Set([...before].filter((name) => (isInner ? name !== definition && !name.startsWith(`${definition} `) : name !== planOf(own)))));
  };
  const places = [...new Set(items.flatMap((each) => each.system ?? each.queue ?? []))].sort();
  const isPicture = view === "graph" || view === "gantt" || view === "table";
  return (
    <>
      <h1>Order {summary.externalId ?? summary.id} <State state={summary.state} /></h1>
      <Trouble error={order.error} again={order.again} />
      <p className="facts">{summary.externalId && <>{summary.id} · </>}account {summary.account ? <Link href={accountAddress(summary.account)}>{summary.account}</Link> : "–"} · release {summary.releaseId} · ordered {when(summary.createdAt)}
        {summary.priority && <> · priority {summary.priority}</>}</p>
      <p className="summary">{explained.summary}</p>
      {summary.reasons?.map((each) => <p key={each.code} className="trouble">{each.reason}</p>)}
      <Why summary={summary} schedule={schedule.data} items={items} choose={choose} />
      {schedule.error && !schedule.data && items.length > 0 && <p className="count" role="status">No estimates: {schedule.error.message}</p>}
      <OrderActions summary={summary} changed={order.again} />
      <nav className="tabs" aria-label="Views of the plan">
        {VIEWS.map((each) => <Link key={each} href={withQuery(url, { view: each })} aria-current={each === view ? "page" : undefined}>{each[0].toUpperCase() + each.slice(1)}</Link>)}
        {isPicture && items.length > 0 && <>
          <label>Show <select value={shown} onChange={(event) => change({ show: event.target.value === "all" ? undefined : event.target.value })}>{Object.entries(SHOWN).map(([value, label]) => <option key={value} value={value}>{label}</option>)}</select></label>
          {places.length > 1 && <label>At <select value={place} onChange={(event) => change({ at: event.target.value || undefined })}><option value="">everywhere</option>{places.map((each) => <option key={each}>{each}</option>)}</select></label>}
        </>}
        {view === "graph" && (drawn.some((each) => each.members) || opened.size > 0 || (!isGrouped && items.length >= GROUP_ITEMS_FROM)) && (
          <label className="tick"><input type="checkbox" checked={isGrouped && !opened.size} onChange={(event) => { setOpened(new Set()); change({ grouped: event.target.checked ? undefined : "no" }); }} /> Equal items as one; Enter or a click opens them, Backspace closes them</label>
        )}
        {view === "graph" && items.length > 1 && <label className="tick"><input type="checkbox" checked={url.searchParams.has("heat")} onChange={(event) => change({ heat: event.target.checked ? "yes" : undefined })} /> Durations as bars</label>}
      </nav>
      <div className={`split${item ? " open" : ""}`}>
        <div className="view">
          {view === "lines" ? <Lines orderId={orderId} lines={plan.lines} />
            : !items.length ? <p>This order has no plan.</p>
            : view === "history" ? <History orderId={orderId} chosen={chosen} choose={choose} />
            : !wanted.length ? <p role="status">No item is like that. <button className="plain" onClick={() => change({ show: undefined, at: undefined })}>Show all</button></p>
            : view === "graph" ? <Graph items={drawn} chosen={chosen && drawn.some((each) => each.key === chosen) ? chosen : frontier(drawn)} choose={choose} open={open} close={close} isHeat={url.searchParams.has("heat")} />
            : view === "gantt" ? <Gantt items={wanted} chosen={chosen} choose={choose} />
            : <Table items={wanted} names={items} chosen={chosen} choose={choose} />}
        </div>
        {item && <Drawer key={item.key} orderId={orderId} item={item} names={items} choose={choose} changed={order.again} />}
      </div>
    </>
  );
}

interface Choice { chosen?: string; choose: (key?: string) => void }

function Table({ items, names, chosen, choose }: Choice & { items: Item[]; names: Item[] }) {
  const called = useMemo(() => new Map(names.map((item) => [item.key, item.name])), [names]);
  const more = useMore(items);
  const isExpected = items.some((item) => item.expected);
  const waits = (keys: string[]) => (keys.length > GROUP_FROM ? `${keys.slice(0, GROUP_FROM).map((key) => called.get(key)).join(", ")} and ${many(keys.length - GROUP_FROM, "other")}` : keys.map((key) => called.get(key)).join(", ") || "–");
  return (
    <>
      <table>
        <thead><tr>{["Item", "State", "Where", "Attempts", "Started", "Ended", ...(isExpected ? ["Expected end", "Slack", "Risk"] : []), "Waits for"].map((each) => <th key={each} scope="col">{each}</th>)}</tr></thead>
        <tbody>{more.shown.map((item) => (
          <tr key={item.key} className={item.key === chosen ? "chosen" : undefined}>
            <th scope="row"><button className="plain" aria-pressed={item.key === chosen} onClick={() => choose(item.key)}>{item.name}</button></th>
            <td><State state={item.state} /></td><td>{item.system ?? item.queue ?? item.type}</td><td>{item.attempt}</td>
            <td>{when(item.startedAt)}</td><td>{when(item.endedAt)}</td>
            {isExpected && <><td>{item.endedAt ? "–" : when(item.expected?.expectedEndAt)}</td>
              <td>{isCritical(item) ? <span className="mark">◆ critical</span> : item.expected?.slackS !== undefined ? span(item.expected.slackS * 1_000) : "–"}</td>
              <td title={item.expected?.reason}>{item.expected?.risk !== undefined ? `${Math.round(item.expected.risk * 100)} %` : "–"}</td></>}
            <td className="long">{waits(item.dependsOn)}</td>
          </tr>
        ))}</tbody>
      </table>
      <More {...more} what="items" />
    </>
  );
}

function History({ orderId, chosen, choose }: Choice & { orderId: string }) {
  const { data, error, again } = useFacts(orderId);
  const more = useMore(data ?? []);
  if (!data) return error ? <Trouble error={error} again={again} /> : <p role="status">Reading…</p>;
  return (
    <>
      <table>
        <thead><tr>{["When", "What", "Item", "By"].map((each) => <th key={each} scope="col">{each}</th>)}</tr></thead>
        <tbody>{more.shown.map((fact) => (
          <tr key={fact.id} className={fact.item && fact.item === chosen ? "chosen" : undefined}>
            <td>{when(fact.at)}</td><td>{fact.kind}</td>
            <td>{fact.item ? <button className="plain" onClick={() => choose(fact.item!)}>{fact.item}</button> : "–"}</td><td>{fact.actor}</td>
          </tr>
        ))}</tbody>
      </table>
      <More {...more} what="facts" />
    </>
  );
}
