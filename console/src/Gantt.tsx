// The plan in time: a row for each item, its wait and its work. Long stretches in which nothing happens are cut short.

import { many, span, when } from "./parts";
import { type Item } from "./plan";
import { look } from "./states";

interface Props { items: Item[]; chosen?: string; choose: (key: string) => void }

const IDLE_PART = 0.15; // of the time shown: longer stretches without a beginning or an end are cut to so much
const CUT_MS_MIN = 60_000;
const WIDTH = 100;

// Where instants stand, from 0 to 100, and the stretches that are cut.
export function scaleOf(instants: number[]) {
  const points = [...new Set(instants)].sort((one, two) => one - two);
  const all = points.length > 1 ? points.at(-1)! - points[0] : 1;
  const limit = Math.max(all * IDLE_PART, CUT_MS_MIN);
  const steps = points.map((at, index) => (index ? at - points[index - 1] : 0));
  const shown = steps.map((step) => Math.min(step, limit));
  const whole = shown.reduce((sum, step) => sum + step, 0) || 1;
  let sum = 0;
  const places = new Map(points.map((at, index) => [at, ((sum += shown[index]) / whole) * WIDTH]));
  return { place: (at: number) => places.get(at)!, cuts: points.filter((_, index) => steps[index] > limit).map((at) => ({ at, ms: steps[points.indexOf(at)] })) };
}

export function Gantt({ items, chosen, choose }: Props) {
  const now = Date.now();
  const timed = items.filter((item) => item.readyAt ?? item.startedAt);
  const rows = timed.map((item) => {
    const start = item.startedAt ? Date.parse(item.startedAt) : undefined;
    const ready = item.readyAt ? Date.parse(item.readyAt) : start!;
    const end = item.endedAt ? Date.parse(item.endedAt) : now;
    return { item, ready: Math.min(ready, start ?? ready), start: start ?? end, end: Math.max(end, start ?? ready) };
  }).sort((one, two) => one.ready - two.ready || one.end - two.end);
  if (!rows.length) return <p>Nothing of it has begun.</p>;
  const { place, cuts } = scaleOf(rows.flatMap((row) => [row.ready, row.start, row.end]));
  const first = Math.min(...rows.map((row) => row.ready)), last = Math.max(...rows.map((row) => row.end));
  const rest = items.length - timed.length;
  return (
    <>
      <table className="gantt">
        <thead><tr><th scope="col">Item</th><th scope="col">Waited</th><th scope="col">Worked</th><th scope="col" className="axis">
          <span>{when(new Date(first).toISOString())}</span> <span>{span(last - first)}</span> <span>{when(new Date(last).toISOString())}</span>
        </th></tr></thead>
        <tbody>{rows.map(({ item, ready, start, end }) => {
          const { tone, sign } = look(item.state);
          return (
            <tr key={item.key} className={item.key === chosen ? "chosen" : undefined}>
              <th scope="row"><button className="plain" aria-pressed={item.key === chosen} onClick={() => choose(item.key)}>{item.name}</button> <span className={tone}><span aria-hidden="true">{sign}</span> {item.state}</span></th>
              <td>{span(start - ready)}</td><td>{item.startedAt ? span(end - start) : "–"}</td>
              <td><div className="lane">
                {cuts.map((cut) => <i key={cut.at} className="cut" style={{ left: `${place(cut.at)}%` }} title={`${span(cut.ms)} cut short`} />)}
                <i className="wait" style={{ left: `${place(ready)}%`, width: `${place(start) - place(ready)}%` }} />
                {item.startedAt && <i className={`work ${tone}`} style={{ left: `${place(start)}%`, width: `max(4px, ${place(end) - place(start)}%)` }} />}
              </div></td>
            </tr>
          );
        })}</tbody>
      </table>
      <p className="count">Striped: ready, not begun. Solid: at work.{cuts.length > 0 && ` ${many(cuts.length, "long stretch", "long stretches")} ${cuts.length === 1 ? "is" : "are"} cut short, at the dotted lines.`}{rest > 0 && ` ${many(rest, "item")} ${rest === 1 ? "waits" : "wait"} for others.`}</p>
    </>
  );
}
