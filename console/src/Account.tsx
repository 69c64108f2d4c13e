// One account: what it has, and what happened to it, newest first.

import { useState } from "react";
import { type Refusal, ask } from "./api";
import { DESK_GAP_MS, useLive } from "./hooks";
import { Head, Link, State, Trouble, many, orderAddress, when } from "./parts";
import { quoted } from "./search";

interface Summary { account: string; orders: number; openOrders: number; products: number; openTasks: number; failedItems: number }
interface Entry { at: string; kind: string; id: string; state: string | null; orderId?: string; item?: string; name?: string }
interface Page { entries: Entry[]; next: string | null }
interface Product { id: string; name?: string; status: string; productSpecification?: { name: string } }

const PAGE = 50;
const PRODUCTS = 200;
const KINDS: Record<string, string> = {
  "order.accepted": "order accepted", "order.ended": "order ended", "task.opened": "task opened", "task.closed": "task closed", "item.failed": "item failed", "product.changed": "product changed",
};

export function Account({ account }: { account: string }) {
  const of = { account };
  const found = useLive(account, async (signal) => {
    const [summary, timeline, products] = await Promise.all([
      ask<Summary>("get_account", of, { signal }), ask<Page>("get_timeline", of, { query: { limit: PAGE }, signal }),
      ask<Product[]>("list_products", {}, { query: { "billingAccount.id": account, limit: PRODUCTS }, signal }),
    ]);
    return { summary: summary.body, timeline: timeline.body, products: products.body, all: products.total };
  }, (fact) => fact.account === account, { gapMs: DESK_GAP_MS });
  const [older, setOlder] = useState<{ entries: Entry[]; next: string | null }>();
  const [error, setError] = useState<Refusal>();
  const data = found.data;
  if (!data) return <><h1>Account {account}</h1>{found.error ? <Trouble error={found.error} again={found.again} /> : <p role="status">Reading…</p>}</>;
  const shown = new Set(data.timeline.entries.map((each) => each.kind + each.id));
  const entries = [...data.timeline.entries, ...(older?.entries.filter((each) => !shown.has(each.kind + each.id)) ?? [])];
  const next = older ? older.next : data.timeline.next;
  const more = () => ask<Page>("get_timeline", of, { query: { limit: PAGE, cursor: next! } }).then(({ body }) => {
    setError(undefined);
    setOlder({ entries: [...(older?.entries ?? []), ...body.entries], next: body.next });
  }, setError);
  const { summary } = data;
  return (
    <>
      <h1>Account {account}</h1>
      <Trouble error={found.error ?? error} again={found.again} />
      <p className="facts">
        <Link href={`/console/orders?${new URLSearchParams({ search: `customer:${quoted(account)}` })}`}>{many(summary.orders, "order")}</Link>, {summary.openOrders} open · {many(summary.products, "product")} · {many(summary.openTasks, "open task")} · {many(summary.failedItems, "failed item")}
      </p>
      <div className="columns">
        <section aria-label="What happened">
          <h2>What happened</h2>
          <table>
            <Head names={["When", "What", "Name", "State", "Order"]} />
            <tbody>{entries.map((each) => (
              <tr key={each.kind + each.id}>
                <td>{when(each.at)}</td><td>{KINDS[each.kind] ?? each.kind}</td><td>{each.name ?? "–"}</td><td>{each.state ? <State state={each.state} /> : "–"}</td>
                <td>{each.orderId ? <Link href={orderAddress(each.orderId, each.item)}>{each.orderId}</Link> : "–"}</td>
              </tr>
            ))}</tbody>
          </table>
          {next && <p><button onClick={more}>Show older</button></p>}
        </section>
        <section aria-label="Products">
          <h2>Products</h2>
          {data.products.length === 0 ? <p>It has none.</p> : (
            <table>
              <Head names={["Product", "Status", "Id"]} />
              <tbody>{data.products.map((each) => <tr key={each.id}><th scope="row">{each.productSpecification?.name ?? each.name ?? each.id}</th><td>{each.status}</td><td>{each.id}</td></tr>)}</tbody>
            </table>
          )}
          {data.all > data.products.length && <p>The first {data.products.length} of {data.all.toLocaleString()} are shown.</p>}
        </section>
      </div>
    </>
  );
}
