// The line of releases: what new orders take, how many orders run on each, what differs between two.

import { ask, refusedBecause } from "./api";
import { NO_FACT, go, useAddress, useLive, withQuery } from "./hooks";
import { Head, Trouble, WithReason, many, when } from "./parts";

interface Release { id: string; state: string; isCurrent: boolean; publishedAt: string; effectiveFrom: string; retiredAt: string | null; openOrders: number }
interface Change { at: string; by: string; kind: string; change: { reason?: string } | null }
interface Field { path: string; from?: unknown; to?: unknown }
interface Diff { from: string; to: string; added: number; removed: number; changed: number; openOrders: number; changes: { kind: string; name: string; change: string; fields?: Field[] }[]; effects: { item: string; touch: string; why: string[] }[] }

const POLL_MS = 5_000; // a release is published without a fact
const TOUCHES: Record<string, string> = {
  presence: "is there or is not", work: "does something else", result: "its result is used otherwise", start: "begins at another time, or not", change: "is amended or cancelled otherwise", shown: "is named and planned otherwise",
};
const shown = (value: unknown) => (value === undefined ? "–" : typeof value === "string" ? value : JSON.stringify(value));

export function Releases() {
  const url = useAddress();
  const found = useLive("releases", async (signal) => (await ask<Release[]>("list_releases", {}, { signal })).body, NO_FACT, { pollMs: () => POLL_MS });
  const chosen = url.searchParams.get("release") ?? undefined, other = url.searchParams.get("to") ?? undefined;
  const refused = refusedBecause("list_releases");
  const releases = found.data ?? [];
  const release = releases.find((each) => each.id === chosen);
  const choose = (changes: Record<string, string | undefined>) => go(withQuery(url, changes), false);
  return (
    <>
      <h1>Releases</h1>
      {refused && <p className="trouble">{refused}</p>}
      <Trouble error={found.error} again={found.again} />
      {!found.data && !found.error && <p role="status">Reading…</p>}
      {found.data && <p className="count" role="status">{many(releases.length, "release")}; new orders take {releases.find((each) => each.isCurrent)?.id ?? "none"}.</p>}
      <div className={`split${release ? " open" : ""}`}>
        <div className="view">
          {releases.length > 0 && <table>
            <Head names={["Release", "State", "Open orders", "In force from", "Published", "Retired"]} />
            <tbody>{releases.map((each) => (
              <tr key={each.id} className={each.id === chosen ? "chosen" : undefined}>
                <th scope="row"><button className="plain" aria-pressed={each.id === chosen} onClick={() => choose({ release: each.id, to: undefined })}>{each.id}</button></th>
                <td>{each.isCurrent ? <strong className="good">current</strong> : each.state}</td><td>{each.openOrders.toLocaleString()}</td><td>{when(each.effectiveFrom)}</td><td>{when(each.publishedAt)}</td><td>{when(each.retiredAt)}</td>
              </tr>
            ))}</tbody>
          </table>}
          {release && other && <Differences key={`${release.id} ${other}`} from={release.id} to={other} />}
        </div>
        {release && <OneRelease key={release.id} release={release} all={releases} other={other} choose={choose} changed={found.again} />}
      </div>
    </>
  );
}

interface OneProps { release: Release; all: Release[]; other?: string; choose: (changes: Record<string, string | undefined>) => void; changed: () => void }

function OneRelease({ release, all, other, choose, changed }: OneProps) {
  const of = { release_id: release.id };
  const changes = useLive(`${release.id} ${release.state}`, async (signal) => (await ask<Change[]>("list_release_changes", of, { signal })).body, NO_FACT);
  const done = () => { changed(); changes.again(); };
  const close = () => choose({ release: undefined, to: undefined });
  const next = all.find((each) => each.state === "published" && each.id !== release.id);
  return (
    <aside aria-label={`Release ${release.id}`} onKeyDown={(event) => { if (event.key === "Escape") close(); }}>
      <h2>{release.id}</h2>
      <button className="close" onClick={close} aria-label="Close the release">✕</button>
      <p>{release.isCurrent ? "New orders take it." : release.state === "retired" ? "No new order takes it." : release.state === "scheduled" ? <>New orders take it from {when(release.effectiveFrom)} on.</> : "A later one has taken its place."} {many(release.openOrders, "open order")} {release.openOrders === 1 ? "runs" : "run"} on it.</p>
      <div className="actions">
        {release.state === "retired"
          ? <WithReason operation="steer_release" parameters={{ ...of, action: "unretire" }} label="Take back" effect="It stands in the line again, where it stood." done={done} />
          : (!release.isCurrent || next) && <WithReason operation="steer_release" parameters={{ ...of, action: "retire" }} label="Retire" body={release.isCurrent ? { replacement: next!.id } : {}}
              effect={`No new order takes it; open ones go on.${release.isCurrent ? ` New orders take ${next!.id}.` : ""}`} done={done} />}
      </div>
      <p className="field"><label htmlFor="other">Compare with</label>
        <select id="other" value={other ?? ""} onChange={(event) => choose({ to: event.target.value })}>
          <option value="" />{all.filter((each) => each.id !== release.id).map((each) => <option key={each.id}>{each.id}</option>)}
        </select></p>
      <h3>Who changed it</h3>
      <Trouble error={changes.error} again={changes.again} />
      <ol className="happened">{changes.data?.map((each) => <li key={each.at + each.kind}>{when(each.at)} {each.kind} <span className="by">{each.by}{each.change?.reason && `: ${each.change.reason}`}</span></li>)}</ol>
    </aside>
  );
}

function Differences({ from, to }: { from: string; to: string }) {
  const found = useLive(`${from} ${to}`, async (signal) => (await ask<Diff>("diff_two_releases", { release_id: from }, { query: { to }, signal })).body, NO_FACT);
  if (!found.data) return found.error ? <Trouble error={found.error} again={found.again} /> : <p role="status">Comparing…</p>;
  const { changes, effects, added, removed, changed, openOrders } = found.data;
  return (
    <section aria-label="Differences">
      <h2>From {from} to {to}</h2>
      <p>{added} added, {removed} removed, {changed} changed. {many(openOrders, "open order")} {openOrders === 1 ? "runs" : "run"} on {from}.</p>
      {changes.length > 0 && <table>
        <Head names={["Element", "Name", "Change", "Before", "After"]} />
        <tbody>{changes.flatMap((each) => (each.fields ?? [{ path: "" } as Field]).map((field) => (
          <tr key={`${each.kind} ${each.name} ${field.path}`}><td>{each.kind}</td><th scope="row">{each.name}</th><td>{each.change} {field.path}</td><td className="long">{each.fields ? shown(field.from) : ""}</td><td className="long">{each.fields ? shown(field.to) : ""}</td></tr>
        )))}</tbody>
      </table>}
      {effects.length > 0 && <><h3>What it means for items</h3><ul>{effects.map((each) => <li key={each.item + each.touch}>{each.item} {TOUCHES[each.touch] ?? each.touch} ({each.why.join(", ")})</li>)}</ul></>}
    </section>
  );
}
