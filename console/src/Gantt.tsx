// The plan in time: a row for each item, its wait and its work, and when what is left is expected to be done. Long
// stretches in which nothing happens are cut short.

import { More, many, span, useMore, when } from "./parts";
import { type Item, isCritical } from "./plan";
import { scaleOf } from "./scale";
import { look } from "./states";

interface Props { items: Item[]; chosen?: string; choose: (key: string) => void }

interface Row { item: Item; ready: number; start: number; end: number; from?: number; to?: number }

const instant = (at?: string | null) => (at ? Date.parse(at) : undefined);

// When an item was ready, begun and ended (or now), and from when to when what is left of it is expected.
function rowOf(item: Item, now: number): Row | undefined {
  const from = instant(item.expected?.expectedStartAt), to = instant(item.expected?.expectedEndAt);
  const start = instant(item.startedAt), ready = instant(item.readyAt) ?? start;
  if (ready === undefined) return from === undefined || to === undefined ? undefined : { item, ready: from, start: from, end: from, from, to };
  const end = Math.max(instant(item.endedAt) ?? now, start ?? ready);
  const begun = Math.min(ready, start ?? ready);
  return { item, ready: begun, start: start ?? end, end, ...(to !== undefined && !item.endedAt && { from: end, to: Math.max(to, end) }) };
}

export function Gantt({ items, chosen, choose }: Props) {
  const now = Date.now();
  const rows = items.flatMap((item) => rowOf(item, now) ?? []).sort((one, two) => one.ready - two.ready || (one.to ?? one.end) - (two.to ?? two.end));
  const more = useMore(rows);
  if (!rows.length) return <p>Nothing of it has begun.</p>;
  const { place, cuts } = scaleOf(rows.flatMap((row) => [row.ready, row.start, row.end, row.from ?? row.end, row.to ?? row.end]));
  const first = Math.min(...rows.map((row) => row.ready)), last = Math.max(...rows.map((row) => row.to ?? row.end));
  const rest = items.length - rows.length, isExpected = rows.some((row) => row.to !== undefined);
  return (
    <>
      <table className="gantt">
        <thead><tr><th scope="col">Item</th><th scope="col">Waited</th><th scope="col">Worked</th>{isExpected && <><th scope="col">Expected end</th><th scope="col">Slack</th></>}<th scope="col" className="axis">
          <span>{when(new Date(first).toISOString())}</span> <span>{span(last - first)}</span> <span>{when(new Date(last).toISOString())}</span>
        </th></tr></thead>
        <tbody>{more.shown.map(({ item, ready, start, end, from, to }) => {
          const { tone, sign } = look(item.state);
          const hasBegun = !!(item.readyAt ?? item.startedAt);
          return (
            <tr key={item.key} className={item.key === chosen ? "chosen" : undefined}>
              <th scope="row"><button className="plain" aria-pressed={item.key === chosen} onClick={() => choose(item.key)}>{item.name}</button> <span className={tone}><span aria-hidden="true">{sign}</span> {item.state}</span>{isCritical(item) && <> <span className="mark">◆ critical</span></>}</th>
              <td>{hasBegun ? span(start - ready) : "–"}</td><td>{item.startedAt ? span(end - start) : "–"}</td>
              {isExpected && <><td>{item.endedAt ? "–" : when(item.expected?.expectedEndAt)}</td><td>{item.expected?.slackS === undefined ? "–" : isCritical(item) ? "none" : span(item.expected.slackS * 1_000)}</td></>}
              <td><div className="lane">
                {cuts.map((cut) => <i key={cut.at} className="cut" style={{ left: `${place(cut.at)}%` }} title={`${span(cut.ms)} cut short`} />)}
                {hasBegun && <i className="wait" style={{ left: `${place(ready)}%`, width: `${place(start) - place(ready)}%` }} />}
                {item.startedAt && <i className={`work ${tone}`} style={{ left: `${place(start)}%`, width: `max(4px, ${place(end) - place(start)}%)` }} />}
                {from !== undefined && to !== undefined && <i className={`rest${isCritical(item) ? " critical" : ""}`} style={{ left: `${place(from)}%`, width: `max(4px, ${place(to) - place(from)}%)` }} />}
              </div></td>
            </tr>
          );
        })}</tbody>
      </table>
      <More {...more} what="items" />
      <p className="count">Striped: ready, not begun. Solid: at work.{isExpected && " Outlined: expected, double where it is critical."}{cuts.length > 0 && ` ${many(cuts.length, "long stretch", "long stretches")} ${cuts.length === 1 ? "is" : "are"} cut short, at the dotted lines.`}{rest > 0 && ` ${many(rest, "item")} ${rest === 1 ? "waits" : "wait"} for others.`}</p>
    </>
  );
}
