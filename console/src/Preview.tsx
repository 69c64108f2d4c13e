// What would come of a new order or of a change, as the server works it out; the same for submit, amend and cancel.

import { Graph } from "./Graph";
import { Head, many, span } from "./parts";
import { type Item } from "./plan";

export interface Planned { key: string; name: string; type: string; state: string; dependsOn: string[] }
export interface Told {
  dryRun: true; state: string; releaseId?: string; changed?: boolean; plan?: Planned[]; plannedRestS: number | { before: number; after: number };
  reasons?: { code: string; reason: string }[]; refused?: { code: string; reason: string }[]; waitsFor?: string[]; behind?: string[];
  values?: { of: string; name: string; before: unknown; after: unknown }[]; lines?: { line?: string; key?: string; outcome?: string; product?: string; action?: string }[];
  items?: { key: string; name: string; state: string; outcome: string; stateAfter: string }[]; added?: { key: string; name: string; role?: string; of?: string }[]; notUndone?: string[];
}

const OUTCOMES: Record<string, string> = {
  update: "works on the new values", redo: "is done again", undoThenRedo: "is undone, then done again", amendPlan: "is brought in line by its amend plan", nothing: "stays as it was done",
  undo: "is undone", notUndone: "is not undone: nothing says how", discard: "is not done any more", resolve: "failed: a person finds out what it has done",
};
const LINES: Record<string, string> = { noChange: "as before", create: "is added", cancel: "is cancelled", amend: "changes" };
const seconds = (s: number) => (s ? span(s * 1_000) : "none");
const text = (value: unknown) => (value === undefined || value === null ? "–" : typeof value === "string" ? value : JSON.stringify(value));

export function Preview({ told }: { told: Told }) {
  const { plan = [], values = [], items = [], added = [], lines = [], plannedRestS: rest } = told;
  const others = items.filter((each) => each.outcome !== "keep");
  return (
    <section aria-label="Preview" className="job">
      <h2>What would come of it</h2>
      {told.refused?.map((each) => <p key={each.code} className="trouble">It would be refused: {each.reason}</p>)}
      {told.reasons?.map((each) => <p key={each.code + each.reason} className="trouble">{each.reason}</p>)}
      <p role="status">
        {told.changed === false ? "Nothing would change. " : ""}State: {told.state}. {many(plan.length, "item")} in the plan.
        {" "}Planned work that is left: {typeof rest === "number" ? seconds(rest) : `${seconds(rest.before)} now, ${seconds(rest.after)} then`}.
        {told.releaseId && ` Release: ${told.releaseId}.`}
      </p>
      {!!told.behind?.length && <p>It would wait for order {told.behind.join(", ")}.</p>}
      {!!told.waitsFor?.length && <p>First it waits until work under way has ended: {told.waitsFor.join(", ")}.</p>}
      {!!told.notUndone?.length && <p className="trouble">Not undone: {told.notUndone.join(", ")}.</p>}
      {values.length > 0 && <table>
        <Head names={["Of", "Value", "Before", "After"]} />
        <tbody>{values.map((each) => <tr key={`${each.of} ${each.name}`}><td>{each.of}</td><th scope="row">{each.name}</th><td className="long">{text(each.before)}</td><td className="long">{text(each.after)}</td></tr>)}</tbody>
      </table>}
      {lines.some((each) => each.outcome) && <p>Lines: {lines.map((each) => `${each.line} ${LINES[each.outcome ?? ""] ?? each.outcome}`).join(", ")}.</p>}
      {others.length + added.length > 0 && <table>
        <Head names={["Item", "Now", "What becomes of it", "Then"]} />
        <tbody>
          {others.map((each) => <tr key={each.key}><th scope="row">{each.name}</th><td>{each.state}</td><td>{OUTCOMES[each.outcome] ?? each.outcome}</td><td>{each.stateAfter}</td></tr>)}
          {added.map((each) => <tr key={each.key}><th scope="row">{each.name}</th><td>–</td><td>added{each.role ? ` (${each.role}${each.of ? ` of ${each.of}` : ""})` : ""}</td><td>new</td></tr>)}
        </tbody>
      </table>}
      {plan.length > 0 && <Graph items={plan as unknown as Item[]} choose={() => undefined} />}
    </section>
  );
}
