// Whether an order will be late, why, and where to look; what may be done with the order stands below.

import { Link, when } from "./parts";
import { taskAddress } from "./Item";
import { type Item, type Schedule, type Summary } from "./plan";

interface Props { summary: Summary; schedule: Schedule | undefined; items: Item[]; choose: (key: string) => void }

export function Why({ summary, schedule, items, choose }: Props) {
  if (!schedule) return null;
  const { why, dueAt, dueBasis, expectedAt, model, version, at } = schedule;
  const cause = items.find((item) => item.key === why.item);
  const isLate = why.code !== "inTime", isOpen = !summary.endedAt, isPromised = dueBasis === "promised";
  // A date that is only planned has no slack: to be behind it is no lateness that anybody was promised.
  const word = !isLate ? "✓ In time" : isPromised ? (isOpen ? "⚠ Late" : "⚠ Was late") : isOpen ? "◔ Behind its plan" : "◔ Took longer than planned";
  return (
    <section aria-label="Lateness" className={`why-late${isLate ? (isPromised ? " late" : " behind") : ""}`}>
      <p>
        <strong>{word}: </strong>{why.text}
        {cause?.expected?.isCritical && isOpen && <> <span className="mark">◆ On the critical path.</span></>}
      </p>
      <p className="count">Due {when(dueAt)} ({dueBasis}){expectedAt && <> · expected {when(expectedAt)}</>}{summary.risk && isOpen && <> · risk {Math.round(summary.risk.risk * 100)} %</>}
        {isOpen && <> · estimated by {model} {version}, {when(at)}</>}</p>
      {isLate && isOpen && cause && <div className="actions">
        <button onClick={() => choose(cause.key)}>Open {cause.name}</button>
        {cause.taskId && <Link className="button" href={taskAddress(cause)}>Reassign…</Link>}
        {why.code === "outage" && cause.system && <Link className="button" href={`/console/systems?system=${encodeURIComponent(cause.system)}`}>Open system {cause.system}</Link>}
      </div>}
    </section>
  );
}
