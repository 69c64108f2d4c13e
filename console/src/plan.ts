// What the API says of an order and its plan, and what the views make of it.

export interface Item {
  key: string; name: string; type: string; plan: string | null; state: string; attempt: number; lines: string[]; dependsOn: string[];
  readyAt: string | null; startedAt: string | null; endedAt: string | null;
  system?: string; operation?: string; queue?: string; error?: string; errorCode?: string; worker?: string; skipReason?: string; timerAt?: string;
  taskId?: string; // of a task that is open
  members?: Item[]; // of a group that stands for equal items
  expected?: Expected; // by the delay model
}
export interface Expected { key: string; isCritical: boolean; expectedStartAt?: string; expectedEndAt?: string; slackS?: number; share?: number; risk?: number; reason?: string }
export interface Schedule {
  facts: number; at: string; model: string; version: string; note: string; dueAt: string; dueBasis: string; expectedAt: string | null; lateS: number;
  why: { code: string; text: string; item: string | null }; items: Expected[];
}
export interface Line {
  key: string; name: string; product: string | null; action: string; quantity: number; productId: string | null; attributes: Record<string, unknown>; sources: string[]; rules: string[];
  delivered: boolean; cancelled: boolean;
}
export interface Plan { orderId: string; state: string | null; facts: number; items: Item[]; lines: Line[] }
export interface Summary {
  id: string; state: string; account: string | null; externalId: string | null; dueAt: string | null; createdAt: string; releaseId: string;
  version: number; planState: string | null; priority: string | null; endedAt: string | null;
  reasons: { code: string; reason: string }[]; risk: { risk: number; band: string; expectedAt: string } | null;
}
export interface Fact { id: string; kind: string; at: string; item: string | null; actor: string; payload: object | null }
export interface Attempt {
  attempt: number; startedAt: string; endedAt?: string; tookS?: number; outcome?: string; by?: string; error?: string; errorCode?: string; retryAt?: string; reason?: string;
  unheard?: boolean; request?: unknown; requestError?: string; values?: unknown;
}
export interface Reason { code: string; text: string }
export interface Explanation { summary: string; reasons: Reason[]; items: { item: string; name: string; state: string; reasons: Reason[]; holdsUp: { count: number; isAtLeast: boolean } }[] }

// Where to look first: what failed, else what is at work.
export const frontier = (items: Item[]) =>
  ["Fatally Failed", "Failed", "On Hold", "Running", "Ready", "Scheduled"].map((state) => items.find((item) => item.state === state)).find(Boolean)?.key;

// What makes `after` of `before`, as a merge patch (RFC 7396); undefined: nothing. So what is masked is not sent back.
export function patchOf(before: unknown, after: unknown): unknown {
  if (JSON.stringify(before) === JSON.stringify(after)) return undefined;
  const isObject = (value: unknown): value is Record<string, unknown> => !!value && typeof value === "object" && !Array.isArray(value);
  if (!isObject(before) || !isObject(after)) return after;
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return Object.fromEntries(names.map((name) => [name, name in after ? patchOf(before[name], after[name]) : null]).filter(([, value]) => value !== undefined));
}

export const GROUP_FROM = 4; // equal items
export const DRAWN_MAX = 300; // more than a picture shows well
const MEMBERS_MAX = 100; // an opened group that is larger is divided by state first

const ORDER = ["Fatally Failed", "Failed", "On Hold", "Running", "Ready", "Scheduled", "Pending", "Completed", "Skipped"];
const rank = (state: string) => (ORDER.indexOf(state) + 1 || 1) - 1;

export const definitionOf = (item: Item) => `${item.plan} ${item.key.split("@")[0]}`;
export const planOf = (item: Item) => `all of ${item.plan ?? "other orders"}`;

// The items with those of one definition as one, except definitions that are opened: "×48 activate". Of an opened one
// that has very many items those of one state are one. What waits for one of them waits for the group. Where even that is
// more than a picture shows well, a plan definition is one until it is opened.
export function grouped(items: Item[], opened: Set<string>): Item[] {
  const sizes = new Map<string, number>();
  for (const item of items) sizes.set(definitionOf(item), (sizes.get(definitionOf(item)) ?? 0) + 1);
  const groupOf = (item: Item) => {
    const definition = definitionOf(item), byState = `${definition} ${item.state}`;
    if (!opened.has(definition)) return definition;
    return sizes.get(definition)! > MEMBERS_MAX && !opened.has(byState) ? byState : undefined;
  };
  const placed = merged(items, groupOf);
  if (placed.length <= DRAWN_MAX || merged(items, definitionOf).length <= DRAWN_MAX) return placed;
  return merged(items, (item) => (opened.has(planOf(item)) ? groupOf(item) : planOf(item)));
}

function merged(items: Item[], groupOf: (item: Item) => string | undefined): Item[] {
  const members = new Map<string, Item[]>();
  const placeOf = new Map<string, string>();
  for (const item of items) {
    const place = groupOf(item) ?? item.key;
    placeOf.set(item.key, place);
    const all = members.get(place);
    if (all) all.push(item);
    else members.set(place, [item]);
  }
  const isGroup = (place: string) => members.get(place)!.length >= GROUP_FROM;
  if (![...members.keys()].some(isGroup)) return items;
  const target = (key: string) => { const place = placeOf.get(key); return place && isGroup(place) ? place : key; };
  const waitsFor = (all: Item[], own: string) => {
    const found = new Set<string>();
    for (const item of all) for (const key of item.dependsOn) found.add(target(key));
    found.delete(own);
    return [...found];
  };
  return [...members].flatMap(([place, all]) => {
    if (!isGroup(place)) return all.map((item) => ({ ...item, dependsOn: waitsFor([item], item.key) }));
    const worst = all.reduce((one, other) => (rank(other.state) < rank(one.state) ? other : one));
    return [{ ...worst, key: place, name: `×${all.length} ${place === planOf(worst) ? worst.plan ?? "other orders" : worst.name}`, dependsOn: waitsFor(all, place), members: all, lines: [], expected: together(place, all) }];
  });
}

// What is expected of a group: of its most urgent members.
function together(key: string, all: Item[]): Expected | undefined {
  const known = all.flatMap((item) => item.expected ?? []);
  if (!known.length) return undefined;
  const open = known.filter((each) => each.expectedEndAt);
  return {
    key, isCritical: known.some((each) => each.isCritical), risk: Math.max(0, ...open.map((each) => each.risk ?? 0)),
    ...(open.length > 0 && {
      slackS: Math.min(...open.map((each) => each.slackS ?? 0)), expectedStartAt: open.map((each) => each.expectedStartAt!).sort()[0],
      expectedEndAt: open.map((each) => each.expectedEndAt!).sort().at(-1),
    }),
  };
}

// "45 Completed, 2 Running", the most urgent first.
export function counts(items: Item[]): [string, number][] {
  const found = new Map<string, number>();
  for (const item of items) found.set(item.state, (found.get(item.state) ?? 0) + 1);
  return [...found].sort(([one], [other]) => rank(one) - rank(other));
}

// The items with what is expected of each.
export function withSchedule(items: Item[], schedule: Schedule | undefined): Item[] {
  if (!schedule) return items;
  const expected = new Map(schedule.items.map((each) => [each.key, each]));
  return items.map((item) => { const found = expected.get(item.key); return found ? { ...item, expected: found } : item; });
}

export const isCritical = (item: Item) => !!item.expected?.isCritical;
const endOf = (item: Item) => Date.parse(item.expected?.expectedEndAt ?? item.endedAt ?? "") || 0;
const SAME_MS = 1_000;

// The ways of the critical path, as "from to": both are on it, and the later one could not begin before the earlier ends.
export function criticalWays(items: Item[]): Set<string> {
  const byKey = new Map(items.map((item) => [item.key, item]));
  const found = new Set<string>();
  for (const item of items) {
    if (!isCritical(item)) continue;
    const before = item.dependsOn.flatMap((key) => byKey.get(key) ?? []);
    const last = Math.max(0, ...before.map(endOf));
    for (const each of before) if (isCritical(each) && endOf(each) >= last - SAME_MS) found.add(`${each.key} ${item.key}`);
  }
  return found;
}

// The keys of the critical path, in the order of time.
export const criticalKeys = (items: Item[]) =>
  items.filter(isCritical).sort((one, two) => endOf(one) - endOf(two) || Number(one.dependsOn.includes(two.key)) - Number(two.dependsOn.includes(one.key))).map((item) => item.key);

export const SHOWN = { all: "all items", critical: "the critical path", failed: "failed", busy: "at work", open: "not ended" };
export type Shown = keyof typeof SHOWN;
const ENDED = new Set(["Completed", "Skipped", "Amended", "Cancelled", "Discarded", "Failed Discarded"]);
export const isEnded = (item: Item) => ENDED.has(item.state);

// Those that are asked for; what waits for others that are not shown waits for nothing that is.
export function filtered(items: Item[], shown: Shown, place: string): Item[] {
  if (shown === "all" && !place) return items;
  const holds = (item: Item) => (!place || (item.system ?? item.queue) === place) && (
    shown === "all" || (shown === "critical" ? isCritical(item) : shown === "failed" ? /Failed/.test(item.state) : shown === "open" ? !isEnded(item) : ["Running", "Ready", "On Hold"].includes(item.state)));
  const kept = items.filter(holds);
  const keys = new Set(kept.map((item) => item.key));
  return kept.map((item) => ({ ...item, dependsOn: item.dependsOn.filter((key) => keys.has(key)) }));
}

// How long an item took, has taken by now, or is expected to take, in milliseconds; undefined: nothing is known.
export function lasts(item: Item, now: number): { ms: number; isExpected: boolean } | undefined {
  const since = item.startedAt ?? item.readyAt, { expectedStartAt, expectedEndAt } = item.expected ?? {};
  if (item.endedAt) return since ? { ms: Date.parse(item.endedAt) - Date.parse(item.readyAt ?? since), isExpected: false } : undefined;
  if (since && item.state !== "Pending") return { ms: Math.max(0, now - Date.parse(item.readyAt ?? since)), isExpected: false };
  return expectedStartAt && expectedEndAt ? { ms: Date.parse(expectedEndAt) - Date.parse(expectedStartAt), isExpected: true } : undefined;
}
