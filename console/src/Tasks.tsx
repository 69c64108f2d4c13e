// Manual queues: what is open where, the next task, and one task with its form, beside the list.

import { type FormEvent, useEffect, useRef, useState } from "react";
import { type Problem, ask, refusedBecause } from "./api";
import { Assign } from "./Assign";
import { Field } from "./Form";
import { DESK_GAP_MS, go, useAddress, useLive, withQuery } from "./hooks";
import { Act, Due, Head, Link, Trouble, WithReason, accountAddress, age, many, orderAddress, usePress, when } from "./parts";
import { chosenUser } from "./role";
import { type Schema, cleaned } from "./schema";
import { type Heard } from "./stream";
import { Views } from "./Views";

export interface Queue { code: string; name: string; open: number; held: number; free: number; oldestAt: string | null; dueNextAt: string | null; members: number; isOpenToAll: boolean }
export interface Task {
  id: string; orderId: string; item: string; queue: string; name: string; priority: number; openedAt: string; dueAt: string | null; closedAt: string | null;
  worker: string | null; claimEndsAt: string | null; formSchema: Schema; skills: { skill: string; level: number }[]; lines: { line: string; name: string; action: string }[];
  account: string | null; externalId: string | null;
}
interface Note { at: string; by: string; text: string }

const LIMIT = 200;
const SHOWN = { may: "I may do", mine: "I hold", all: "all" };
const KINDS = new Set(["item.opened", "item.claimed", "item.released", "order.ended", "plan.changed", "plan.held", "plan.resumed"]);
const ofTasks = (fact: Heard) => KINDS.has(fact.kind) || (fact.kind === "item.completed" && fact.actor.startsWith("person:"));
const drafts = new Map<string, unknown>(); // what is filled in stays when another task is looked at

export function Tasks() {
  const url = useAddress();
  const queue = url.searchParams.get("queue") ?? undefined, chosen = url.searchParams.get("task") ?? undefined;
  const show = (url.searchParams.get("show") ?? "may") as keyof typeof SHOWN;
  const user = chosenUser();
  const desk = useLive(`${queue} ${show} ${user}`, async (signal) => {
    const query = { queue, worker: show === "all" ? undefined : user, limit: LIMIT };
    const [queues, tasks] = await Promise.all([ask<Queue[]>("list_queues", {}, { signal }), ask<Task[]>("list_tasks", {}, { query, signal })]);
    return { queues: queues.body, tasks: tasks.body };
  }, ofTasks, { gapMs: DESK_GAP_MS });
  const open = (task?: string) => go(withQuery(url, { task }), false);
  const [isEmpty, setEmpty] = useState(false);
  const [picked, setPicked] = useState<Set<string>>(new Set());
  const flip = (id: string) => setPicked((before) => { const now = new Set(before); if (!now.delete(id)) now.add(id); return now; });
  const tasks = desk.data?.tasks.filter((task) => show !== "mine" || task.worker === user) ?? [];
  const refused = refusedBecause("list_tasks");
  return (
    <>
      <h1>Manual queues</h1>
      {refused && <p className="trouble">{refused}</p>}
      <Trouble error={desk.error} again={desk.again} />
      {!desk.data && !desk.error && <p role="status">Reading…</p>}
      {desk.data && <>
        <table>
          <Head names={["Queue", "Open", "Free", "Oldest", "Next due", "Members"]} />
          <tbody>
            {desk.data.queues.map((each) => (
              <tr key={each.code} data-row className={each.code === queue ? "chosen" : undefined}>
                <th scope="row"><Link href={withQuery(url, { queue: each.code === queue ? undefined : each.code })}>{each.name}</Link></th>
                <td>{each.open}</td><td>{each.free}</td><td>{age(each.oldestAt)}</td><td><Due at={each.dueNextAt} /></td><td>{each.isOpenToAll ? "open to all" : each.members}</td>
              </tr>
            ))}
          </tbody>
        </table>
        <div className="actions bar">
          <Act operation="take_next_task" parameters={{}} isMain letter="n" label={queue ? `Take next of ${queue}` : "Take next"} body={queue ? { queues: [queue] } : {}}
            done={(task) => { setEmpty(!task); if (task) open((task as Task).id); desk.again(); }} />
          <label>Tasks that are shown <select value={show} onChange={(event) => go(withQuery(url, { show: event.target.value }), false)}>
            {Object.entries(SHOWN).map(([value, label]) => <option key={value} value={value}>{label}</option>)}
          </select></label>
          <Views desk="queues" />
          <span role="status" className="count">{isEmpty ? "There is no free task that you may do." : `${many(tasks.length, "task")}${desk.data.tasks.length === LIMIT ? ", the most urgent ones" : ""}${queue ? ` in ${queue}` : ""}`}</span>
        </div>
        {tasks.length > 0 && <Assign picked={[...picked].filter((id) => tasks.some((task) => task.id === id))} all={tasks.map((task) => task.id)} pick={setPicked} done={desk.again} />}
        <div className={`split${chosen ? " open" : ""}`}>
          <div className="view">
            {tasks.length > 0 && <table>
              <Head names={["", "Task", "Order", "Queue", "Due", "Age", "Held by"]} />
              <tbody>{tasks.map((task) => (
                <tr key={task.id} data-row className={task.id === chosen ? "chosen" : undefined}>
                  <td><input type="checkbox" aria-label={`Choose ${task.name} of ${task.externalId ?? task.orderId}`} checked={picked.has(task.id)} onChange={() => flip(task.id)} /></td>
                  <th scope="row"><button className="plain" aria-pressed={task.id === chosen} onClick={() => open(task.id)}>{task.name}</button></th>
                  <td><Link href={orderAddress(task.orderId, task.item)}>{task.externalId ?? task.orderId}</Link></td>
                  <td>{task.queue}</td><td><Due at={task.dueAt} /></td><td>{age(task.openedAt)}</td><td>{task.worker === user ? "me" : task.worker ?? "–"}</td>
                </tr>
              ))}</tbody>
            </table>}
          </div>
          {chosen && <TaskDrawer key={chosen} taskId={chosen} close={() => open(undefined)} changed={desk.again} />}
        </div>
      </>}
    </>
  );
}

function TaskDrawer({ taskId, close, changed }: { taskId: string; close: () => void; changed: () => void }) {
  const user = chosenUser();
  const found = useLive(`${taskId} ${user}`, async (signal) => {
    const of = { task_id: taskId };
    const [task, notes] = await Promise.all([ask<Task>("get_task", of, { signal }), ask<Note[]>("list_notes", of, { signal })]);
    return { task: task.body, notes: notes.body };
  }, (fact) => taskId.startsWith(`${fact.orderId}.`));
  const task = found.data?.task;
  // A claim lapses without a fact that comes at that very moment.
  useEffect(() => {
    if (!task?.claimEndsAt) return;
    const timer = setTimeout(() => { found.again(); changed(); }, Math.max(500, Math.min(Date.parse(task.claimEndsAt) - Date.now() + 500, 2 ** 31 - 1)));
    return () => clearTimeout(timer);
  }, [task?.claimEndsAt]);
  const done = () => { found.again(); changed(); };
  const of = { task_id: taskId };
  const isMine = !!task && task.worker === user;
  return (
    <aside aria-label={task ? `Task ${task.name}` : "Task"} onKeyDown={(event) => { if (event.key === "Escape") close(); }}>
      <h2>{task?.name ?? "Task"}</h2>
      <button className="close" data-back onClick={close} aria-label="Close the task">✕</button>
      <Trouble error={found.error} again={found.again} />
      {task && <>
        <p role="status">{task.closedAt ? <>Done {when(task.closedAt)}.</> : isMine ? <>You hold it until {when(task.claimEndsAt)}.</> : task.worker ? <>{task.worker} holds it until {when(task.claimEndsAt)}.</> : "Nobody holds it."}</p>
        <dl>
          <dt>Order</dt><dd><Link href={orderAddress(task.orderId, task.item)}>{task.externalId ?? task.orderId}</Link></dd>
          <dt>Account</dt><dd>{task.account ? <Link href={accountAddress(task.account)}>{task.account}</Link> : "–"}</dd>
          <dt>Queue</dt><dd>{task.queue}</dd>
          <dt>For</dt><dd>{task.lines.map((line) => `${line.action} ${line.name} (line ${line.line})`).join(", ") || "–"}</dd>
          <dt>Skills</dt><dd>{task.skills.map((each) => `${each.skill} from level ${each.level}`).join(", ") || "none needed"}</dd>
          <dt>Due</dt><dd><Due at={task.dueAt} /></dd>
        </dl>
        {!task.closedAt && <div className="actions">
          {!task.worker && <Act operation="claim_task" parameters={of} isMain label="Claim" done={done} />}
          {isMine && <>
            <Act operation="claim_task" parameters={of} label="Hold longer" done={done} />
            <Act operation="release_task" parameters={of} label="Give back" done={done} />
          </>}
          {task.worker && <WithReason operation="hand_over_task" parameters={of} label="Hand over" body={isMine ? {} : { asOperator: true }} field={{ name: "to", label: "To whom" }}
            effect={isMine ? "Somebody else holds the task from now on." : `It is taken from ${task.worker}; somebody else holds it from now on.`} done={done} />}
          <WithReason operation="add_note" parameters={of} label="Add a note" field={{ name: "text", label: "Note" }} effect="It is kept with the order." done={done} />
        </div>}
        {isMine && !task.closedAt && <Complete task={task} done={() => { drafts.delete(taskId); done(); }} />}
        {found.data!.notes.length > 0 && <><h3>Notes</h3><ul>{found.data!.notes.map((note) => <li key={note.at}>{note.text} <span className="by">{note.by}, {when(note.at)}</span></li>)}</ul></>}
      </>}
    </aside>
  );
}

function Complete({ task, done }: { task: Task; done: () => void }) {
  const schema = task.formSchema;
  const [value, setValue] = useState(drafts.get(task.id) ?? {});
  const press = usePress("complete_task", { task_id: task.id }, done, true);
  const form = useRef<HTMLFormElement>(null);
  const problems: Problem[] = press.error?.problems.length ? press.error.problems.filter((each) => typeof each !== "string") : press.error?.path ? [{ path: press.error.path, reason: press.error.message }] : [];
  useEffect(() => { form.current?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus(); }, [press.error]);
  const change = (now: unknown) => { drafts.set(task.id, now); setValue(now as object); };
  // The order of properties is not kept by the server: what is required comes first.
  const isNeeded = (name: string) => !!schema.required?.includes(name);
  const fields = Object.entries(schema.properties ?? {}).sort(([one], [other]) => Number(isNeeded(other)) - Number(isNeeded(one)));
  return (
    <form ref={form} aria-label="Complete the task" onSubmit={(event: FormEvent) => { event.preventDefault(); void press.send({ data: cleaned(value, { ...schema, type: "object", properties: schema.properties ?? {} }, schema) }); }}>
      {fields.length > 0 && <h3>Form</h3>}
      {fields.map(([name, each]) => (
        <Field key={name} schema={each} root={schema} path={`data.${name}`} name={name} value={(value as Record<string, unknown>)[name]} isRequired={isNeeded(name)} problems={problems}
          change={(now) => change({ ...value, [name]: now })} />
      ))}
      <Trouble error={press.error} />
      <button className="primary" disabled={press.isSending || !!refusedBecause("complete_task")}>{press.isSending ? "Sending…" : "Complete"}</button>
    </form>
  );
}
