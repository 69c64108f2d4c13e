// Order search: one box, a list of up to a hundred thousand of which only what is in sight is in the page, and jobs over
// what is chosen or over all that was found.

import { useVirtualizer } from "@tanstack/react-virtual";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { addressOf, ask } from "./api";
import { DESK_GAP_MS, go, useAddress, useLive, withQuery } from "./hooks";
import { Before, type Job, JobPanel } from "./Job";
import { lettersAreOn } from "./keys";
import { Due, Link, State, Trouble, WithReason, accountAddress, many, orderAddress, when } from "./parts";
import { mayChange, searchOf, valueOf, withValue } from "./search";
import { Views } from "./Views";

export interface OrderRow {
  orderId: string; externalId: string | null; state: string; account: string | null; priority: string; items: number; failedItems: number;
  risk: number | null; dueAt: string | null; orderedAt: string;
}
interface Counted { total: number; states: Record<string, number> } // before any action: the same for all of them
interface Page { items: OrderRow[]; total: number; more: boolean }

const PAGE = 100;
const CHOSEN_MAX = 1_000; // one by one; whoever wants more takes all that was found
const ROW_PX = 40;
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const STATES = ["open", "ended", "fallout", "acknowledged", "pending", "held", "inProgress", "assessingCancellation", "pendingCancellation", "cancelled", "completed", "failed", "partial", "rejected"];
const COLUMNS = ["Order", "State", "Failed", "Customer", "External id", "Priority", "Risk", "Due", "Ordered"];
const HINTS = "state: customer: external: channel: priority: release: system: error: queue: risk>=60 due<today ordered>=-7d; acme* for what begins so";

export function Orders() {
  const url = useAddress();
  const text = searchOf(url.searchParams);
  const [anchor, setAnchor] = useState<{ text: string; id?: string }>({ text });
  const [chosen, setChosen] = useState<Set<string> | "all">(new Set());
  const kept = useRef<{ key: string; rows: Map<number, OrderRow>; total: number; more: boolean }>({ key: "", rows: new Map(), total: 0, more: false });
  const pane = useRef<HTMLDivElement>(null);
  // What is newer than the first row that was read moves nothing that somebody looks at.
  const from = anchor.text === text ? anchor.id : undefined;
  const known = kept.current.key === text ? kept.current : undefined;
  const list = useVirtualizer({ count: known?.total ?? 0, getScrollElement: () => pane.current, estimateSize: () => ROW_PX, overscan: 8 });
  const seen = list.getVirtualItems();
  const [first, last] = [Math.floor((seen[0]?.index ?? 0) / PAGE), Math.floor((seen.at(-1)?.index ?? 0) / PAGE)];
  const shown = useRef(new Set<string>());
  const isAll = chosen === "all";
  const number = isAll ? Infinity : chosen.size;
  const read = useLive(`${text}\n${first} ${last}`, async (signal) => {
    const query = { search: text, zone: ZONE };
    const isAtRest = !number && first === 0 && !pane.current?.scrollTop && !pane.current?.matches(":hover, :focus-within");
    const begin = isAtRest ? undefined : from;
    const pages = Array.from({ length: last - first + 1 }, (_, index) => first + index);
    const [head, ...bodies] = await Promise.all([
      begin ? ask<Page>("list_orders", {}, { query: { ...query, limit: 1 }, signal }) : undefined,
      ...pages.map((page) => ask<Page>("list_orders", {}, { query: { ...query, from: begin, offset: page * PAGE, limit: PAGE }, signal })),
    ]);
    const { total, more } = bodies[0].body;
    const rows = kept.current.key === text && begin ? new Map(kept.current.rows) : new Map<number, OrderRow>();
    bodies.forEach(({ body }, index) => body.items.forEach((row, place) => rows.set(pages[index] * PAGE + place, row)));
    kept.current = { key: text, rows, total, more };
    if (!begin) setAnchor({ text, id: bodies[0].body.items[0]?.orderId });
    shown.current = new Set(bodies.flatMap(({ body }) => body.items.map((row) => row.orderId)));
    return { newer: head ? Math.max(0, head.body.total - total) : 0 };
  }, (fact) => mayChange(text, shown.current, fact), { gapMs: DESK_GAP_MS });
  const { rows, total, more } = kept.current.key === text ? kept.current : { rows: new Map<number, OrderRow>(), total: 0, more: false };
  const isRead = kept.current.key === text;
  useEffect(() => { setChosen(new Set()); pane.current?.scrollTo(0, 0); }, [text]);

  const home = new URL("/console/orders", url);
  const find = (search: string) => go(withQuery(home, { search, view: url.searchParams.get("view") ?? undefined, job: url.searchParams.get("job") ?? undefined }), false);
  const flip = (id: string) => setChosen((before) => {
    if (before === "all") return new Set(); // none of all can be left out: the choice begins anew
    const now = new Set(before);
    if (!now.delete(id) && now.size < CHOSEN_MAX) now.add(id);
    return now;
  });
  const move = (event: React.KeyboardEvent) => {
    const by = { ArrowDown: 1, ArrowUp: -1, ...(lettersAreOn() && { j: 1, k: -1 }) }[event.key];
    const jump = { Home: 0, End: total - 1 }[event.key];
    if ((by === undefined && jump === undefined) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const row = (event.target as HTMLElement).closest<HTMLElement>("[data-index]");
    const at = jump ?? Number(row?.dataset.index ?? -1) + by!;
    if (at < 0 || at >= total) return;
    const id = row && event.shiftKey && rows.get(Number(row.dataset.index))?.orderId;
    if (id) setChosen((before) => before === "all" ? new Set() : new Set([...before, id, ...(rows.get(at) ? [rows.get(at)!.orderId] : [])]));
    list.scrollToIndex(at);
    focusRow(pane.current, at);
  };
  const count = isAll ? total : number;
  const selection = isAll ? { search: text, zone: ZONE, from: anchor.id } : { orders: [...chosen] };
  const what = isAll && more ? `more than ${many(total, "order")}` : many(count, "order");
  return (
    <>
      <h1>Orders <Link className="button" href="/console/new">New order…</Link></h1>
      <form className="filters" role="search" onSubmit={(event: FormEvent<HTMLFormElement>) => { event.preventDefault(); find((new FormData(event.currentTarget).get("search") as string).trim()); }}>
        <label className="search">Search orders <input key={text} name="search" type="search" data-search defaultValue={text} placeholder="order, external id or customer, or state:fallout due<today" aria-describedby="hints" spellCheck={false} autoComplete="off" /></label>
        <button className="primary">Search</button>
        <label>State <select value={STATES.find((each) => each.toLowerCase() === valueOf(text, "state")?.toLowerCase()) ?? ""} onChange={(event) => find(withValue(text, "state", event.target.value))}>
          <option value="">any</option>{STATES.map((each) => <option key={each}>{each}</option>)}
        </select></label>
      </form>
      <p className="by" id="hints">{HINTS}</p>
      {url.searchParams.get("job") && <JobPanel key={url.searchParams.get("job")} jobId={url.searchParams.get("job")!} choose={(outcomes) => setChosen(new Set(outcomes.map((each) => each.orderId)))} />}
      <Trouble error={read.error} again={read.again} />
      <div className="actions bar">
        <span role="status" className="count">{isRead ? (total ? `${more ? "More than " : ""}${many(total, "order")}, newest first` : "No order is like that. Take a word away.") : read.error ? "" : "Reading…"}</span>
        {!!read.data?.newer && <button onClick={() => { setAnchor({ text }); setChosen(new Set()); pane.current?.scrollTo(0, 0); read.again(); }}>{read.data.newer} new: show</button>}
        {total > 0 && <button data-key="a" aria-pressed={isAll} onClick={() => setChosen(isAll ? new Set() : "all")}>{isAll ? "Choose none" : `Choose all ${more ? "" : total.toLocaleString()} found`}</button>}
        {!isAll && number > 0 && <button onClick={() => setChosen(new Set())}>Choose none</button>}
        {total > 0 && <a className="button" download href={addressOf("list_orders", {}, { search: text, zone: ZONE, from: anchor.id, format: "csv" })}>CSV</a>}
        <Views desk="orders" />
      </div>
      {number > 0 && <Bulk key={JSON.stringify(selection)} what={what} selection={selection} done={(job) => { setChosen(new Set()); go(withQuery(url, { job: job.id })); }} />}
      <div className="list orders" ref={pane} role="table" aria-label="Orders" aria-rowcount={more ? -1 : total + 1} onKeyDown={move} tabIndex={0}>
        <div role="rowgroup"><div role="row" className="row head" aria-rowindex={1}><span role="columnheader"><span className="hidden">Chosen</span></span>{COLUMNS.map((each) => <span role="columnheader" key={each}>{each}</span>)}</div></div>
        <div role="rowgroup" className="body" style={{ height: list.getTotalSize() }}>
          {seen.map(({ index, start }) => {
            const row = rows.get(index);
            const style = { transform: `translateY(${start}px)` };
            if (!row) return <div role="row" key={index} className="row" data-index={index} aria-rowindex={index + 2} style={style}><span role="cell" /><span role="cell">…</span></div>;
            return (
              <div role="row" key={index} className="row" data-row data-index={index} aria-rowindex={index + 2} style={style}>
                <span role="cell"><input type="checkbox" tabIndex={-1} aria-label={`Choose ${row.orderId}`} checked={isAll || chosen.has(row.orderId)} onChange={() => flip(row.orderId)} /></span>
                <span role="cell"><Link href={orderAddress(row.orderId)}>{row.orderId}</Link></span>
                <span role="cell"><State state={row.state} /></span>
                <span role="cell" className={row.failedItems ? "bad" : undefined}>{row.failedItems ? `✕ ${row.failedItems} of ${row.items}` : "–"}</span>
                <span role="cell">{row.account ? <Link href={accountAddress(row.account)}>{row.account}</Link> : "–"}</span>
                <span role="cell" title={row.externalId ?? undefined}>{row.externalId ?? "–"}</span>
                <span role="cell">{row.priority}</span>
                <span role="cell">{row.risk === null ? "–" : `${Math.round(row.risk * 100)} %`}</span>
                <span role="cell"><Due at={row.dueAt} /></span>
                <span role="cell">{when(row.orderedAt)}</span>
              </div>
            );
          })}
        </div>
      </div>
    </>
  );
}

// A row may come only after the list has scrolled to it: looked for a few times, frame by frame.
function focusRow(pane: HTMLElement | null, index: number, tries = 30) {
  requestAnimationFrame(() => {
    const link = pane?.querySelector<HTMLElement>(`[data-index="${index}"] a`);
    if (link) link.focus();
    else if (tries > 0) focusRow(pane, index, tries - 1);
  });
}

const ACTIONS = { hold: "Nothing more of them begins; work under way goes on.", resume: "What was held goes on.", cancel: "What was done is taken back, what waits is not done. An order past its point of no return is refused." } as const;

function Bulk({ what, selection, done }: { what: string; selection: Record<string, unknown>; done: (job: Job) => void }) {
  const [priority, setPriority] = useState("high");
  const effect = (text: string) => (
    <>{text} The server does it one by one, in a job. <Before<Counted> operation="start_order_job" parameters={{ action: "hold" }} body={selection}
      tell={({ total, states }) => `It takes ${many(total, "order")}: ${Object.entries(states).map(([state, count]) => `${count.toLocaleString()} ${state}`).join(", ")}. What comes later is left out.`} /></>
  );
  const shared = { operation: "start_order_job", done: (job: unknown) => done(job as Job) } as const;
  return (
    <div className="actions" role="group" aria-label="What is done with the orders that are chosen">
      {(Object.keys(ACTIONS) as (keyof typeof ACTIONS)[]).map((action) => (
        <WithReason key={action} {...shared} parameters={{ action }} body={selection} label={`${action[0].toUpperCase()}${action.slice(1)} ${what}`} effect={effect(ACTIONS[action])} />
      ))}
      <WithReason {...shared} parameters={{ action: "prioritize" }} body={{ ...selection, priority }} label={`Give ${what} priority ${priority}`} effect={effect("Their work goes before or behind that of others.")} />
      <label>Priority <select value={priority} onChange={(event) => setPriority(event.target.value)}>{["high", "normal", "low"].map((each) => <option key={each}>{each}</option>)}</select></label>
    </div>
  );
}
