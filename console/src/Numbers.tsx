// Tables of the numbers that managers look at; each number leads to the list behind it, each table is there as CSV.

import { type ReactNode, useState } from "react";
import { addressOf } from "./api";
import { type FailingItem, type Hour, type Numbers, type Offer, type Team, clearing, ended, failed, lasted, percent, zone } from "./figures";
import { Link, age } from "./parts";

type Table = "orders" | "offers" | "items" | "systems" | "queues" | "hours";

export function Csv({ table, window, what }: { table: Table; window: string; what: string }) {
  return <a className="button" href={addressOf("get_number_table", { table }, { window, zone, format: "csv" })} download>{what} as CSV</a>;
}

const FEW = 10;

// The first rows of a long table, and a button for the others.
export function useFew<Row>(rows: Row[], what: string): [Row[], ReactNode] {
  const [isWhole, setWhole] = useState(false);
  if (rows.length <= FEW) return [rows, null];
  return [isWhole ? rows : rows.slice(0, FEW), <button className="more" aria-expanded={isWhole} onClick={() => setWhole(!isWhole)}>{isWhole ? `Show the first ${FEW} ${what}` : `Show all ${rows.length.toLocaleString()} ${what}`}</button>];
}

// Numbers of a column stand below one another.
export function Num({ children }: { children: ReactNode }) {
  return <td className="num">{children}</td>;
}

// A name that begins with # is that of a column of numbers.
export function Columns({ names }: { names: string[] }) {
  return <thead><tr>{names.map((each) => <th key={each} scope="col" className={each.startsWith("#") ? "num" : undefined}>{each.replace("#", "")}</th>)}</tr></thead>;
}

function To({ href, count }: { href: string; count: number }) {
  return count ? <Link href={href}>{count.toLocaleString()}</Link> : <>0</>;
}

export function Offers({ numbers, window }: { numbers: Numbers; window: string }) {
  const [offers, more] = useFew(numbers.offers, "offers");
  return (
    <section aria-label="Cycle times">
      <h2>Cycle time and first time right, by offer <Csv table="offers" window={window} what="Offers" /></h2>
      {!numbers.offers.length ? <p>No order has ended in this window.</p> : <div className="view"><table className="numbers">
        <Columns names={["Offer", "#Completed", "#Half within", "#Nine in ten within", "#First time right"]} />
        <tbody>{offers.map((each: Offer) => (
          <tr key={each.offer}>
            <th scope="row"><Link href={ended(numbers, { offer: each.offer })}>{each.offer}</Link></th>
            <Num><To href={ended(numbers, { offer: each.offer, state: "completed" })} count={each.completed} /></Num>
            <Num>{lasted(each.cycleP50S)}</Num><Num>{lasted(each.cycleP90S)}</Num>
            <Num>{each.completed > each.firstTimeRight ? <Link href={ended(numbers, { offer: each.offer, state: "completed", right: "false" })}>{percent(each.firstTimeRightShare)}</Link> : percent(each.firstTimeRightShare)}</Num>
          </tr>
        ))}</tbody>
      </table></div>}
      {more}
    </section>
  );
}

export function Failures({ numbers, window }: { numbers: Numbers; window: string }) {
  const [items, more] = useFew(numbers.items.filter((each) => each.failedForGood || each.failedAttempts || each.failedNow), "items");
  return (
    <section aria-label="Fallout">
      <h2>What fails, by item <Csv table="items" window={window} what="Items" /></h2>
      {!items.length ? <p>No item has failed in this window.</p> : <div className="view"><table className="numbers">
        <Columns names={["Item", "System", "#Completed", "#Tries failed", "#Failed for good", "#Fallout rate", "#Failed now"]} />
        <tbody>{items.map((each: FailingItem) => (
          <tr key={`${each.item} ${each.system}`}>
            <th scope="row">{each.name ?? each.item} <span className="why">{each.item}</span></th><td>{each.system ?? "–"}</td>
            <Num>{each.completed.toLocaleString()}</Num><Num>{each.failedAttempts.toLocaleString()}</Num><Num>{each.failedForGood.toLocaleString()}</Num>
            <Num>{percent(each.falloutRate)}</Num>
            <Num><To href={failed({ system: each.system, plan: each.item.split("/")[0], name: each.name })} count={each.failedNow} /></Num>
          </tr>
        ))}</tbody>
      </table></div>}
      {more}
    </section>
  );
}

const AGES = ["#< 1 h", "#1–4 h", "#4–24 h", "#1–3 d", "#> 3 d"];

export function Teams({ numbers, window }: { numbers: Numbers; window: string }) {
  const [queues, more] = useFew(numbers.queues, "queues");
  return (
    <section aria-label="Queues">
      <h2>Queues: how old the work is, and how long there is work for <Csv table="queues" window={window} what="Queues" /></h2>
      {!numbers.queues.length ? <p>No task is open, and none was closed in this window.</p> : <div className="view"><table className="numbers">
        <Columns names={["Queue", "#Open", "#Held", "#Overdue", "#Oldest", ...AGES, "#Opened", "#Closed", "#Half within", "#Nine in ten within", "#Clear in", "#People"]} />
        <tbody>{queues.map((each: Team) => (
          <tr key={each.queue}>
            <th scope="row"><Link href={`/console/tasks?show=all&queue=${encodeURIComponent(each.queue)}`}>{each.queue}</Link></th>
            <Num><To href={`/console/tasks?show=all&queue=${encodeURIComponent(each.queue)}`} count={each.open} /></Num><Num>{each.held.toLocaleString()}</Num>
            <Num><span className={each.overdue ? "bad" : undefined}>{each.overdue.toLocaleString()}</span></Num><Num>{age(each.oldestAt)}</Num>
            {[each.upTo1H, each.upTo4H, each.upTo1D, each.upTo3D, each.older].map((count, at) => <Num key={at}>{count.toLocaleString()}</Num>)}
            <Num>{each.opened.toLocaleString()}</Num><Num>{each.closed.toLocaleString()}</Num><Num>{lasted(each.waitP50S)}</Num><Num>{lasted(each.waitP90S)}</Num>
            <Num><span className={each.open && (each.isGrowing || each.hoursToClear === null) ? "warn" : undefined}>{clearing(each)}</span></Num><Num>{each.members || "anybody"}</Num>
          </tr>
        ))}</tbody>
      </table></div>}
      {more}
    </section>
  );
}

const HOUR_MS = 3_600_000;

// In above the line, ended below it; the table says the same.
export function Hours({ numbers, window }: { numbers: Numbers; window: string }) {
  const last = Date.parse(numbers.at), count = Math.max(24, Math.ceil((last - Date.parse(numbers.since)) / HOUR_MS));
  const most = Math.max(1, ...numbers.hours.map((each: Hour) => Math.max(each.accepted, each.ended)));
  return (
    <section aria-label="By the hour">
      <h2>In (above the line) and ended (below it), by the hour <Csv table="hours" window={window} what="Hours" /></h2>
      {!numbers.hours.length ? <p>Nothing in this window.</p> : <>
        <svg className="flow" viewBox={`0 0 ${count * 10} 84`} preserveAspectRatio="none" role="img" aria-label={`Orders in and ended by the hour; at most ${most.toLocaleString()}`}>
          {numbers.hours.map((each: Hour) => {
            const x = (count - Math.ceil((last - Date.parse(each.hour)) / HOUR_MS)) * 10;
            return <g key={each.hour}><rect className="in" x={x} width="8" y={40 - (each.accepted / most) * 38} height={(each.accepted / most) * 38} /><rect className="done" x={x} width="8" y="44" height={(each.ended / most) * 38} /></g>;
          })}
          <line x1="0" x2={count * 10} y1="42" y2="42" />
        </svg>
        <details>
          <summary>As a table</summary>
          <table className="numbers"><Columns names={["Hour", "#In", "#Ended", "#Items failed for good"]} /><tbody>{numbers.hours.map((each: Hour) => (
            <tr key={each.hour}><th scope="row"><time dateTime={each.hour}>{new Date(each.hour).toLocaleString()}</time></th><Num>{each.accepted.toLocaleString()}</Num><Num>{each.ended.toLocaleString()}</Num><Num>{each.failedForGood.toLocaleString()}</Num></tr>
          ))}</tbody></table>
        </details>
      </>}
    </section>
  );
}
