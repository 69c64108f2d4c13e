// What the API says of an order and its plan.

export interface Item {
  key: string; name: string; type: string; plan: string | null; state: string; attempt: number; lines: string[]; dependsOn: string[];
  readyAt: string | null; startedAt: string | null; endedAt: string | null;
  system?: string; operation?: string; queue?: string; error?: string; errorCode?: string; worker?: string; skipReason?: string; timerAt?: string;
  members?: Item[]; // of a group that stands for equal items
}
export interface Line {
  key: string; name: string; product: string | null; action: string; quantity: number; productId: string | null; attributes: Record<string, unknown>; sources: string[]; rules: string[];
  delivered: boolean; cancelled: boolean;
}
export interface Plan { orderId: string; state: string | null; items: Item[]; lines: Line[] }
export interface Summary {
  id: string; state: string; account: string | null; externalId: string | null; dueAt: string | null; createdAt: string; releaseId: string;
  version: number; planState: string | null; priority: string | null; endedAt: string | null;
  reasons: { code: string; reason: string }[]; risk: { risk: number; band: string } | null;
}
export interface Fact { id: string; kind: string; at: string; item: string | null; actor: string; payload: object | null }
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

const ORDER = ["Fatally Failed", "Failed", "On Hold", "Running", "Ready", "Scheduled", "Pending", "Completed", "Skipped"];
const rank = (state: string) => (ORDER.indexOf(state) + 1 || 1) - 1;

// The items with those of one definition as one, except definitions that are opened: "×48 activate". What waits for one
// of them waits for the group.
export function grouped(items: Item[], opened: Set<string>): Item[] {
  const definition = (item: Item) => `${item.plan} ${item.key.split("@")[0]}`;
  const members = new Map<string, Item[]>();
  for (const item of items) members.set(definition(item), [...(members.get(definition(item)) ?? []), item]);
  const groups = new Map([...members].filter(([name, all]) => all.length >= GROUP_FROM && !opened.has(name)));
  if (!groups.size) return items;
  const placeOf = new Map(items.map((item) => [item.key, groups.has(definition(item)) ? definition(item) : item.key]));
  const waitsFor = (all: Item[], own: string) => [...new Set(all.flatMap((item) => item.dependsOn.map((key) => placeOf.get(key) ?? key)))].filter((key) => key !== own);
  return [...members].flatMap(([name, all]) => {
    if (!groups.has(name)) return all.map((item) => ({ ...item, dependsOn: waitsFor([item], item.key) }));
    const worst = [...all].sort((one, other) => rank(one.state) - rank(other.state))[0];
    return [{ ...worst, key: name, name: `×${all.length} ${worst.name}`, dependsOn: waitsFor(all, name), members: all, lines: [] }];
  });
}

// "45 Completed, 2 Running", the most urgent first.
export function counts(items: Item[]): [string, number][] {
  const found = new Map<string, number>();
  for (const item of items) found.set(item.state, (found.get(item.state) ?? 0) + 1);
  return [...found].sort(([one], [other]) => rank(one) - rank(other));
}
