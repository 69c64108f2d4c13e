// The designer's working copy: its steps, and its draft on the server, which it is saved to by itself.

import { useEffect, useRef, useState } from "react";
import { Refusal, ask, refusedBecause } from "./api";
import { EMPTY, type Release, freeCode } from "./release";
import { chosenUser, keep } from "./role";

// `lanes` are the plan definitions that are shown, in order (undefined: all); `diagram` is the one that they come from.
export interface Draft { release: Release; base?: string; lanes?: string[]; diagram?: string }
export interface Kept { name: string; version: number; updatedAt: string; updatedBy: string; of?: string; base?: string }
export interface Differing { path: string; stored?: unknown; sent?: unknown }
export interface Clash { version: number; updatedBy: string; updatedAt: string; differs: Differing[]; more: boolean }

const STEPS_MAX = 200;
const SAVE_MS = 800;
const RETRY_MS = 5_000;
const RETRY_MS_MAX = 60_000;
const LAST = "lastDraft";

// What a screen that has gone could not save: the next one goes on with it. Its last save is waited for, so that a screen
// that comes at once reads what it has saved.
let left: { saved: { name?: string; version: number; draft: Draft }; now: Draft } | undefined;
let leaving = Promise.resolve();

interface Steps { past: Draft[]; now: Draft; future: Draft[]; label?: string }
const beginning = (now: Draft): Steps => ({ past: [], now, future: [] });
const stepped = ({ past, now }: Steps, next: Draft): Steps => ({ past: [...past, now].slice(-STEPS_MAX), now: next, future: [] });

export const clashOf = (problem: Refusal): Clash | undefined => (problem.status === 412 ? (problem.facts as unknown as Clash) : undefined);

const bodyOf = ({ release, base, lanes, diagram }: Draft) => ({ release, ...(base && { base }), ...(lanes && { lanes }), ...(diagram && { diagram }) });

// `name` is the draft that the address asks for; `named` hears under which name the working copy is saved.
export function useDraft(name: string | undefined, named: (name?: string) => void) {
  const [steps, setSteps] = useState<Steps>(() => beginning({ release: EMPTY }));
  const [clash, setClash] = useState<Clash>();
  const [error, setError] = useState<Refusal>();
  const [isReading, setReading] = useState(false);
  const [saved, setSaved] = useState<{ name?: string; version: number; draft: Draft }>(() => ({ version: 0, draft: steps.now }));
  // What saves looks at what is now, also when the screen has gone.
  const latest = useRef({ now: steps.now, saved, clash, queue: Promise.resolve(false) });
  latest.current = { ...latest.current, now: steps.now, saved, clash };
  const isKept = () => latest.current.now === latest.current.saved.draft || (latest.current.saved.name === undefined && latest.current.now.release === EMPTY);
  const isSaved = isKept();
  const refused = refusedBecause("put_draft");

  const taken = (next: { name?: string; version: number; draft: Draft }) => { latest.current.saved = next; setSaved(next); };
  // Whether to try again.
  const saveNow = async (over?: number): Promise<boolean> => {
    const { now, saved: before, clash: open } = latest.current;
    if (refused || isKept() || (open && over === undefined)) return false;
    try {
      const to = before.name ?? freeCode((await ask<Kept[]>("list_drafts", {})).body.map((each) => each.name), `Draft of ${chosenUser()}`);
      const version = over ?? (before.name === undefined ? undefined : before.version);
      const { body } = await ask<{ version: number }>("put_draft", { name: to }, { body: bodyOf(now), version });
      taken({ name: to, version: body.version, draft: now });
      latest.current.clash = undefined;
      setClash(undefined);
      setError(undefined);
      if (before.name === undefined) { keep(LAST, to); named(to); }
      return false;
    } catch (problem) {
      const refusal = problem as Refusal, found = clashOf(refusal), isNew = before.name === undefined;
      if (found) { latest.current.clash = found; setClash(found); } else setError(refusal);
      // Somebody has deleted it, or taken the name a moment before: it becomes a new one.
      const isLost = !isNew && refusal.status === 404;
      if (isLost) taken({ version: 0, draft: before.draft });
      return isLost || (isNew && refusal.status === 409) || (refusal.isOpen && !found);
    }
  };
  // One after the other: each is made for the version that the one before has given.
  const save = (over?: number) => (latest.current.queue = latest.current.queue.then(() => saveNow(over)));
  const saving = useRef(save);
  saving.current = save;

  // A moment after the last edit; where the server does not answer again, less and less often.
  useEffect(() => {
    if (isSaved || clash || refused || isReading) return;
    let waitMs = RETRY_MS, isOver = false;
    const attempt = async () => {
      if (!(await saving.current()) || isOver) return;
      timer = setTimeout(attempt, waitMs);
      waitMs = Math.min(waitMs * 2, RETRY_MS_MAX);
    };
    let timer = setTimeout(attempt, SAVE_MS);
    return () => { isOver = true; clearTimeout(timer); };
  }, [steps.now, saved, clash, refused, isReading]);
  useEffect(() => () => {
    leaving = saving.current().then(() => {
      const { saved: kept, now } = latest.current;
      left = isKept() ? undefined : { saved: kept, now };
    });
  }, []);
  useEffect(() => {
    if (isSaved) return;
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener("beforeunload", warn);
    return () => window.removeEventListener("beforeunload", warn);
  }, [isSaved]);

  const read = async (wanted: string, isStep = false) => {
    const before = latest.current.now;
    setReading(true);
    try {
      const { body } = await ask<Draft & Kept>("get_draft", { name: wanted });
      if (!isStep && latest.current.now !== before) return; // edited meanwhile: that is saved, and nothing else is opened
      const { release, base, lanes, diagram } = body, draft: Draft = { release, base, lanes, diagram };
      setSteps((before) => (isStep ? stepped(before, draft) : beginning(draft)));
      taken({ name: wanted, version: body.version, draft });
      latest.current.clash = undefined;
      setClash(undefined);
      setError(undefined);
      keep(LAST, wanted);
    } catch (problem) {
      if ((problem as Refusal).status === 404) { keep(LAST, ""); named(); }
      if ((problem as Refusal).status !== 404 || name) setError(problem as Refusal);
    } finally {
      setReading(false);
    }
  };
  useEffect(() => {
    void leaving.then(async () => {
      if (left) {
        const { saved: kept, now } = left;
        left = undefined;
        latest.current.now = now;
        taken(kept);
        setSteps(beginning(now));
        if (kept.name !== name) named(kept.name);
        return;
      }
      const wanted = name ?? (latest.current.saved.name === undefined ? localStorage.getItem(`orderplan.${LAST}`) || undefined : undefined);
      if (!wanted || wanted === latest.current.saved.name) return;
      await saving.current();
      // What could not be saved stays open.
      if (isKept() || refused) await read(wanted);
      if (latest.current.saved.name !== name) named(latest.current.saved.name);
    });
  }, [name]);

  // Edits of one field in a row are one step.
  const change = (changes: Partial<Draft>, label?: string) => setSteps((all) => {
    const next = { ...all.now, ...changes };
    if ((Object.keys(changes) as (keyof Draft)[]).every((each) => next[each] === all.now[each])) return { ...all, label };
    return label && label === all.label ? { ...all, now: next, future: [] } : { ...stepped(all, next), label };
  });
  return {
    ...steps.now,
    name: saved.name, version: saved.version, isSaved, isReading, clash, error, refused,
    steps: steps.past.length, undone: steps.future.length,
    change,
    commit: (release: Release, label?: string) => change({ release }, label),
    show: (lanes: string[] | undefined, diagram?: string) => change({ lanes, diagram }),
    // Everything else instead, as one step.
    replace: (draft: Draft) => setSteps((all) => stepped(all, draft)),
    undo: () => setSteps((all) => (all.past.length ? { past: all.past.slice(0, -1), now: all.past.at(-1)!, future: [all.now, ...all.future] } : all)),
    redo: () => setSteps((all) => (all.future.length ? { past: [...all.past, all.now], now: all.future[0], future: all.future.slice(1) } : all)),
    // Somebody else has saved the draft meanwhile: theirs, with one's own a step back; or one's own over it.
    takeTheirs: () => (saved.name === undefined ? undefined : read(saved.name, true)),
    keepMine: () => save(clash?.version),
    // Another working copy, which is no draft before it is edited; the one before is saved first.
    begin: async (draft: Draft) => {
      await save();
      if (!isKept()) return; // why is told
      keep(LAST, "");
      latest.current.now = draft;
      taken({ version: 0, draft });
      setSteps(beginning(draft));
      named();
    },
    renamed: (to: string, version: number) => { taken({ ...latest.current.saved, name: to, version }); keep(LAST, to); named(to); },
    forgotten: () => {
      keep(LAST, "");
      taken({ version: 0, draft: latest.current.now });
      named();
    },
  };
}

export type Working = ReturnType<typeof useDraft>;
