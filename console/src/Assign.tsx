// Bulk assignment for leads: tasks that are chosen go to one person, whoever held them; what was refused is told.

import { useState } from "react";
import { refusedBecause } from "./api";
import { WithReason, many } from "./parts";

interface Outcome { id: string; done: boolean; error?: { reason: string } }
interface Told { done: number; refused: number; outcomes: Outcome[] }

const MOST = 200; // in one request

export function Assign({ picked, all, pick, done }: { picked: string[]; all: string[]; pick: (ids: Set<string>) => void; done: () => void }) {
  const [told, setTold] = useState<Told>();
  const ids = picked.slice(0, MOST);
  if (refusedBecause("assign_tasks") && !picked.length) return null;
  return (
    <div className="actions" role="group" aria-label="Tasks that are chosen">
      <button data-key="a" onClick={() => pick(new Set(picked.length === all.length ? [] : all))}>{picked.length === all.length ? "Choose none" : `Choose all ${all.length}`}</button>
      {ids.length > 0 && <WithReason operation="assign_tasks" parameters={{}} body={{ ids }} label={`Assign ${many(ids.length, "task")}`} field={{ name: "to", label: "To whom" }}
        effect="One person holds them from now on, whoever held them before." done={(answer) => {
          const now = answer as Told;
          setTold(now);
          pick(new Set(now.outcomes.filter((each) => !each.done).map((each) => each.id)));
          done();
        }} />}
      {told && <div role="status"><p>{many(told.done, "task")} assigned, {told.refused} refused{told.refused ? "; those are chosen still:" : "."}</p>
        {told.refused > 0 && <ul>{told.outcomes.filter((each) => !each.done).map((each) => <li key={each.id}>{each.id}: {each.error?.reason}</li>)}</ul>}</div>}
    </div>
  );
}
