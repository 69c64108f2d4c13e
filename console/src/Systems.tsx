// The fulfilment systems: what holds them, what waits for them, their limits; holding and releasing.

import { Fragment } from "react";
import { ask, refusedBecause } from "./api";
import { NO_FACT, go, useAddress, useLive, withQuery } from "./hooks";
import { Head, Trouble, WithReason, age, many, when } from "./parts";

interface Hold { system: string; cause: string; isHeld: boolean; reason: string; by: string; since: string; tryAt: string | null }
interface System {
  code: string; adapter: string; config: Record<string, unknown>; updatedAt: string; state: string; holds: Hold[]; heldItems: number; heldItemsAreMore: boolean;
  concurrency: number; ratePerS: number | null; breaker: { failures: number; pauseS: number } | null; drainPerS: number;
}
interface Change { at: string; by: string; kind: string; change: unknown }

const POLL_MS = 3_000; // breakers open without a fact
const ALL = "*";
const CAUSES: Record<string, string> = { breaker: "circuit breaker", busy: "no room", away: "adapters away" };
const holdOf = (hold: Hold) => CAUSES[hold.cause] ?? (hold.system === ALL ? `everything is paused by ${hold.by}` : `held by ${hold.by}`);

export function Systems() {
  const url = useAddress();
  const chosen = url.searchParams.get("system") ?? undefined;
  const found = useLive("systems", async (signal) => (await ask<System[]>("list_systems", {}, { signal })).body, (fact) => fact.kind === "item.held", { gapMs: 1_000, pollMs: () => POLL_MS });
  const refused = refusedBecause("list_systems");
  const systems = found.data ?? [];
  const isPaused = systems.some((each) => each.holds.some((hold) => hold.system === ALL));
  const system = systems.find((each) => each.code === chosen);
  const choose = (code?: string) => go(withQuery(url, { system: code }), false);
  return (
    <>
      <h1>Systems</h1>
      {refused && <p className="trouble">{refused}</p>}
      <Trouble error={found.error} again={found.again} />
      {!found.data && !found.error && <p role="status">Reading…</p>}
      {found.data && <>
        <div className="actions bar">
          {isPaused
            ? <WithReason operation="steer_everything" parameters={{ action: "release" }} label="Release everything" isOptional effect="The pause and every other hold end; what rests On Hold goes on at the rate of each system." done={found.again} />
            : <WithReason operation="steer_everything" parameters={{ action: "hold" }} label="Pause everything" effect="No call leaves until the pause is ended; calls under way go on." done={found.again} />}
          <span role="status" className="count">{many(systems.length, "system")}, {systems.filter((each) => each.state !== "online").length} offline</span>
        </div>
        <div className={`split${system ? " open" : ""}`}>
          <div className="view"><table>
            <Head names={["System", "State", "Items On Hold", "Held because", "Calls at once", "Calls a second"]} />
            <tbody>{systems.map((each) => (
              <tr key={each.code} className={each.code === chosen ? "chosen" : undefined}>
                <th scope="row"><button className="plain" aria-pressed={each.code === chosen} onClick={() => choose(each.code)}>{each.code}</button></th>
                <td><span className={`state ${each.state === "online" ? "good" : "bad"}`}><span aria-hidden="true">{each.state === "online" ? "✓" : "‖"}</span> {each.state}</span></td>
                <td>{each.heldItems.toLocaleString()}{each.heldItemsAreMore && " or more"}</td>
                <td className="long">{each.holds.map((hold) => `${holdOf(hold)}${hold.reason ? `: ${hold.reason}` : ""}`).join("; ") || "–"}</td>
                <td>{each.concurrency}</td><td>{each.ratePerS ?? "no limit"}</td>
              </tr>
            ))}</tbody>
          </table></div>
          {system && <OneSystem key={system.code} system={system} close={() => choose(undefined)} changed={found.again} />}
        </div>
      </>}
    </>
  );
}

function OneSystem({ system, close, changed }: { system: System; close: () => void; changed: () => void }) {
  const of = { code: system.code };
  const changes = useLive(`changes ${system.code} ${JSON.stringify(system.holds)}`, async (signal) => (await ask<Change[]>("list_changes", of, { signal })).body, NO_FACT);
  const own = system.holds.filter((hold) => hold.system !== ALL);
  return (
    <aside aria-label={`System ${system.code}`} onKeyDown={(event) => { if (event.key === "Escape") close(); }}>
      <h2>{system.code}</h2>
      <button className="close" onClick={close} aria-label="Close the system">✕</button>
      {system.holds.map((hold) => (
        <p key={hold.cause + hold.system} className="trouble">{holdOf(hold)}, since {when(hold.since)}{hold.reason && `: ${hold.reason}`}{hold.tryAt && <>; tried again at {when(hold.tryAt)}</>}</p>
      ))}
      <div className="actions">
        {own.length > 0
          ? <WithReason operation="steer_system" parameters={{ ...of, action: "release" }} label="Release" isOptional effect={`${system.heldItems ? `${many(system.heldItems, "item")} On Hold` : "What is held"} goes on, ${system.drainPerS} a second; an open circuit breaker is closed.`} done={() => { changed(); changes.again(); }} />
          : <WithReason operation="steer_system" parameters={{ ...of, action: "hold" }} label="Hold" effect="It gets no more calls; what is about to start rests On Hold. Calls under way go on." done={() => { changed(); changes.again(); }} />}
      </div>
      <dl>
        <dt>Adapter</dt><dd>{system.adapter}</dd>
        {Object.entries(system.config).map(([name, value]) => <Fragment key={name}><dt>{name}</dt><dd>{typeof value === "string" ? value : JSON.stringify(value)}</dd></Fragment>)}
        <dt>Breaker</dt><dd>{system.breaker ? `opens after ${many(system.breaker.failures, "failure")} in a row, tries again after ${system.breaker.pauseS} s` : "none"}</dd>
        <dt>Set up</dt><dd>{age(system.updatedAt)} ago</dd>
      </dl>
      <h3>Who changed it</h3>
      <Trouble error={changes.error} again={changes.again} />
      <ol className="happened">{changes.data?.map((each) => <li key={each.at + each.kind}>{when(each.at)} {each.kind} <span className="by">{each.by}</span></li>)}</ol>
    </aside>
  );
}
