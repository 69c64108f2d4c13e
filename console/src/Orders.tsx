// Order search: the filters that the API has, pages that go on after the last row, and a list of which only what is
// in sight is in the page.

import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useRef, useState } from "react";
import { type Refusal, ask } from "./api";
import { DESK_GAP_MS, go, useAddress, useLive, withQuery } from "./hooks";
import { Link, State, Trouble, accountAddress, many, orderAddress, when } from "./parts";

interface Row { id: string; externalId?: string; state: string; orderDate: string; billingAccount?: { id: string } }

const PAGE = 200;
const FIELDS = "externalId,state,orderDate,billingAccount";
const STATES = ["acknowledged", "pending", "held", "inProgress", "assessingCancellation", "pendingCancellation", "cancelled", "completed", "failed", "partial", "rejected"];
const FILTERS = ["state", "externalId", "billingAccount.id", "orderDate.gte", "orderDate.lte"] as const;

// The page after `last`: what is as old as it and has been seen is passed over by count.
function after(rows: Row[]): Record<string, string | number> {
  const last = rows.at(-1);
  if (!last) return {};
  return { "orderDate.lte": last.orderDate, offset: rows.filter((row) => row.orderDate === last.orderDate).length };
}

const instant = (local: string) => (local ? new Date(local).toISOString() : undefined);

export function Orders() {
  const url = useAddress();
  const asked = Object.fromEntries(FILTERS.map((name) => [name, url.searchParams.get(name) ?? ""]));
  const filters = { ...asked, "orderDate.gte": instant(asked["orderDate.gte"]), "orderDate.lte": instant(asked["orderDate.lte"]) };
  const key = JSON.stringify(filters);
  const shown = useRef(new Set<string>());
  const head = useLive(key, async (signal) => {
    const { body, total } = await ask<Row[]>("list_product_orders", {}, { query: { ...filters, limit: PAGE, fields: FIELDS }, signal });
    shown.current = new Set(body.map((row) => row.id));
    return { rows: body, total };
  }, ({ kind, orderId, account, state }) => {
    if (!kind.startsWith("order.") || (asked["billingAccount.id"] && account !== asked["billingAccount.id"])) return false;
    // New orders come on top; of the others those that are shown, or have come into the state that is asked for.
    return kind === "order.accepted" || kind === "order.rejected" || shown.current.has(orderId ?? "") || (!!asked.state && state === asked.state);
  }, { gapMs: DESK_GAP_MS });
  const [more, setMore] = useState<{ key: string; rows: Row[]; isLast: boolean }>({ key, rows: [], isLast: false });
  const [error, setError] = useState<Refusal>();
  const isLoading = useRef(false);
  const first = head.data?.rows ?? [];
  const older = more.key === key ? more.rows : [];
  const known = new Set(first.map((row) => row.id));
  const rows = [...first, ...older.filter((row) => !known.has(row.id))];
  const isLast = more.key === key && older.length ? more.isLast : first.length < PAGE;
  const pane = useRef<HTMLDivElement>(null);
  const list = useVirtualizer({ count: rows.length, getScrollElement: () => pane.current, estimateSize: () => 40, overscan: 8 });
  const seen = list.getVirtualItems();
  const end = seen.at(-1)?.index ?? 0;

  useEffect(() => {
    if (isLast || isLoading.current || end < rows.length - 20 || !rows.length) return;
    isLoading.current = true;
    ask<Row[]>("list_product_orders", {}, { query: { ...filters, ...after(rows), limit: PAGE, fields: FIELDS } })
      .then(({ body }) => {
        setError(undefined);
        setMore((before) => ({ key, rows: [...(before.key === key && before.rows.length ? before.rows : first), ...body], isLast: body.length < PAGE }));
      }, setError)
      .finally(() => { isLoading.current = false; });
  }, [end, rows.length, isLast, key]);

  const change = (name: string, value: string) => go(withQuery(new URL(url.pathname === "/" ? "/console/orders" + url.search : url.href, url), { [name]: value }), false);
  const step = (event: React.KeyboardEvent) => {
    const by = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const at = Number((event.target as HTMLElement).closest<HTMLElement>("[data-index]")?.dataset.index ?? -1) + by;
    if (at < 0 || at >= rows.length) return;
    list.scrollToIndex(at);
    requestAnimationFrame(() => pane.current?.querySelector<HTMLElement>(`[data-index="${at}"] a`)?.focus());
  };
  return (
    <>
      <h1>Orders <Link className="button" href="/console/new">New order…</Link></h1>
      <form className="filters" role="search" onSubmit={(event) => {
        event.preventDefault();
        const id = new FormData(event.currentTarget).get("id") as string;
        if (id.trim()) go(`/console/orders/${encodeURIComponent(id.trim())}`);
      }}>
        <label>Order <input name="id" placeholder="id, then Enter" /></label>
        <label>State <select value={asked.state} onChange={(event) => change("state", event.target.value)}>
          <option value="">any</option>{STATES.map((each) => <option key={each}>{each}</option>)}
        </select></label>
        <label>External id <input value={asked.externalId} onChange={(event) => change("externalId", event.target.value)} /></label>
        <label>Account <input value={asked["billingAccount.id"]} onChange={(event) => change("billingAccount.id", event.target.value)} /></label>
        <label>From <input type="datetime-local" value={asked["orderDate.gte"]} onChange={(event) => change("orderDate.gte", event.target.value)} /></label>
        <label>To <input type="datetime-local" value={asked["orderDate.lte"]} onChange={(event) => change("orderDate.lte", event.target.value)} /></label>
      </form>
      <Trouble error={head.error ?? error} again={head.again} />
      <p role="status" className="count">{head.data ? (head.data.total ? `${many(head.data.total, "order")}, newest first` : "No order is like that. Take a filter away.") : head.error ? "" : "Reading…"}</p>
      <div className="list" ref={pane} role="table" aria-label="Orders" aria-rowcount={head.data?.total} onKeyDown={step} tabIndex={0}>
        <div role="rowgroup"><div role="row" className="row head">{["Order", "State", "External id", "Account", "Ordered"].map((each) => <span role="columnheader" key={each}>{each}</span>)}</div></div>
        <div role="rowgroup" className="body" style={{ height: list.getTotalSize() }}>
          {seen.map(({ index, start }) => {
            const row = rows[index];
            return (
              <div role="row" key={row.id} className="row" data-index={index} aria-rowindex={index + 2} style={{ transform: `translateY(${start}px)` }}>
                <span role="cell"><Link href={orderAddress(row.id)}>{row.id}</Link></span>
                <span role="cell"><State state={row.state} /></span>
                <span role="cell" title={row.externalId}>{row.externalId ?? "–"}</span>
                <span role="cell">{row.billingAccount ? <Link href={accountAddress(row.billingAccount.id)}>{row.billingAccount.id}</Link> : "–"}</span>
                <span role="cell">{when(row.orderDate)}</span>
              </div>
            );
          })}
        </div>
      </div>
    </>
  );
}
