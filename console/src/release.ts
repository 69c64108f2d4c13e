// A release in its file form, and its edits: pure functions from one document to the next.

export interface ItemDef { code: string; name?: string; type: string; system?: string; operation?: string; queue?: string; task?: string; subPlan?: string; event?: string; condition?: string; durationS?: number; retry?: string; [more: string]: unknown }
export interface PlanDef { code: string; name?: string; scope?: string; items: ItemDef[]; [more: string]: unknown }
export interface Ref { plan: string; item: string }
export interface Dependency { item: Ref; other: Ref; type?: string; scope?: string; [more: string]: unknown }
export interface Scenario { plan: string; product?: string; class?: string; actions: string[]; when?: string; [more: string]: unknown }
export interface Product { code: string; name?: string; kind?: string; attributes?: { name: string }[]; [more: string]: unknown }
export interface Named { code: string; name?: string }
export interface Release {
  code: string; version: string; products: Product[]; plans?: PlanDef[]; dependencies?: Dependency[]; scenarios?: Scenario[]; systems?: Named[]; queues?: Named[]; retries?: Named[];
  [more: string]: unknown;
}

export const EMPTY: Release = { code: "catalogue", version: "1", products: [], plans: [], dependencies: [], scenarios: [], systems: [], queues: [] };
export const KINDS: Record<string, string> = { callout: "Callout", manualTask: "Manual task", milestone: "Milestone", pushEvent: "Push event", autoTask: "Auto task", subPlan: "Sub-plan" };
export const ACTIONS = ["add", "modify", "delete", "noChange", "suspend", "resume", "move"];

export const keyOf = ({ plan, item }: Ref) => `${plan}/${item}`;
export const isSame = (one: Ref, other: Ref) => one.plan === other.plan && one.item === other.item;
export const itemOf = (release: Release, ref: Ref) => release.plans?.find((plan) => plan.code === ref.plan)?.items.find((item) => item.code === ref.item);
// Who waits for whom, whichever way it is written.
export const waits = (dependency: Dependency) => (dependency.type === "processedBefore" ? { who: dependency.other, for: dependency.item } : { who: dependency.item, for: dependency.other });

// A code that is not taken: "item", "item 2", …
export function freeCode(taken: string[], wanted: string): string {
  let code = wanted;
  for (let number = 2; taken.includes(code); number++) code = `${wanted} ${number}`;
  return code;
}

const without = <T extends object>(value: T): T => Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined && each !== "")) as T;

function changePlan(release: Release, code: string, change: (plan: PlanDef) => PlanDef): Release {
  return { ...release, plans: release.plans?.map((plan) => (plan.code === code ? change(plan) : plan)) };
}

// What an item names has to be declared.
function declared(release: Release): Release {
  const items = release.plans?.flatMap((plan) => plan.items) ?? [];
  const missing = (known: Named[] = [], wanted: (string | undefined)[]) => [...new Set(wanted)].filter((code): code is string => !!code && !known.some((each) => each.code === code)).map((code) => ({ code }));
  return {
    ...release,
    systems: [...(release.systems ?? []), ...missing(release.systems, items.map((item) => item.system))],
    queues: [...(release.queues ?? []), ...missing(release.queues, items.map((item) => item.queue))],
  };
}

export const addPlan = (release: Release, code: string): Release => ({ ...release, plans: [...(release.plans ?? []), { code, items: [] }] });

export function addItem(release: Release, plan: string, item: ItemDef, after?: Ref): Release {
  const added = changePlan(release, plan, (each) => ({ ...each, items: [...each.items, item] }));
  return declared(after ? connect(added, after, { plan, item: item.code }) : added);
}

// What an item named and nobody names any more goes, if nothing else was said of it: a name that is typed is no system
// after each letter.
function forgotten(release: Release, old: ItemDef | undefined, changes: Partial<ItemDef>): Release {
  const isNamed = (code: unknown) => release.plans?.some((plan) => plan.items.some((item) => Object.values(item).includes(code)));
  const left = (known: Named[] | undefined, member: "system" | "queue") => (member in changes && old?.[member] && !isNamed(old[member]) ? known?.filter((each) => each.code !== old[member] || Object.keys(each).length > 1) : known);
  return { ...release, systems: left(release.systems, "system"), queues: left(release.queues, "queue") };
}

export function changeItem(release: Release, ref: Ref, changes: Partial<ItemDef>): Release {
  const code = changes.code ?? ref.item, old = itemOf(release, ref);
  const moved = (each: Ref) => (isSame(each, ref) ? { plan: ref.plan, item: code } : each);
  const changed = changePlan(release, ref.plan, (plan) => ({ ...plan, items: plan.items.map((item) => (item.code === ref.item ? without({ ...item, ...changes }) : item)) }));
  return declared(forgotten({ ...changed, dependencies: release.dependencies?.map((each) => ({ ...each, item: moved(each.item), other: moved(each.other) })) }, old, changes));
}

export function removeItem(release: Release, ref: Ref): Release {
  const left = changePlan(release, ref.plan, (plan) => ({ ...plan, items: plan.items.filter((item) => item.code !== ref.item) }));
  return { ...left, dependencies: release.dependencies?.filter((each) => !isSame(each.item, ref) && !isSame(each.other, ref)) };
}

export function changePlanCode(release: Release, code: string, changes: { code?: string; name?: string }): Release {
  const now = changes.code ?? code;
  const moved = (ref: Ref) => (ref.plan === code ? { ...ref, plan: now } : ref);
  return {
    ...release,
    plans: release.plans?.map((plan) => ({
      ...(plan.code === code ? without({ ...plan, ...changes }) : plan),
      items: plan.items.map((item) => (item.subPlan === code ? { ...item, subPlan: now } : item)),
    })),
    dependencies: release.dependencies?.map((each) => ({ ...each, item: moved(each.item), other: moved(each.other) })),
    scenarios: release.scenarios?.map((each) => (each.plan === code ? { ...each, plan: now } : each)),
  };
}

export function removePlan(release: Release, code: string): Release {
  return {
    ...release, plans: release.plans?.filter((plan) => plan.code !== code), scenarios: release.scenarios?.filter((each) => each.plan !== code),
    dependencies: release.dependencies?.filter((each) => each.item.plan !== code && each.other.plan !== code),
  };
}

// `then` waits for `first`.
export function connect(release: Release, first: Ref, then: Ref): Release {
  const known = release.dependencies ?? [];
  if (isSame(first, then) || known.some((each) => isSame(waits(each).who, then) && isSame(waits(each).for, first))) return release;
  return { ...release, dependencies: [...known, { item: then, other: first }] };
}

export function disconnect(release: Release, first: Ref, then: Ref): Release {
  return { ...release, dependencies: release.dependencies?.filter((each) => !(isSame(waits(each).who, then) && isSame(waits(each).for, first))) };
}

export const addProduct = (release: Release, code: string): Release => ({ ...release, products: [...release.products, { code }] });

export function changeProduct(release: Release, code: string, changes: Partial<Product>): Release {
  const now = changes.code ?? code;
  return {
    ...release, products: release.products.map((each) => (each.code === code ? without({ ...each, ...changes }) : each)),
    scenarios: release.scenarios?.map((each) => (each.product === code ? { ...each, product: now } : each)),
  };
}

export const addScenario = (release: Release, plan: string, product: string): Release => ({ ...release, scenarios: [...(release.scenarios ?? []), { plan, product, actions: ["add"] }] });
export const changeScenario = (release: Release, at: number, changes: Partial<Scenario>): Release => ({ ...release, scenarios: release.scenarios?.map((each, index) => (index === at ? without({ ...each, ...changes }) : each)) });
export const removeScenario = (release: Release, at: number): Release => ({ ...release, scenarios: release.scenarios?.filter((_, index) => index !== at) });

// Where items stand: a lane for each plan definition, a column for the longest way that leads to an item.
export function lanesOf(release: Release, shown: string[]) {
  const plans = shown.map((code) => release.plans?.find((plan) => plan.code === code)).filter((plan): plan is PlanDef => !!plan);
  const before = new Map<string, string[]>();
  for (const dependency of release.dependencies ?? []) {
    const { who, for: first } = waits(dependency);
    before.set(keyOf(who), [...(before.get(keyOf(who)) ?? []), keyOf(first)]);
  }
  const drawn = new Set(plans.flatMap((plan) => plan.items.map((item) => keyOf({ plan: plan.code, item: item.code }))));
  const depth = new Map<string, number>();
  const depthOf = (key: string, way: Set<string>): number => {
    if (depth.has(key)) return depth.get(key)!;
    if (way.has(key)) return 0; // a cycle is told by the check
    way.add(key);
    const found = Math.max(0, ...(before.get(key) ?? []).filter((each) => drawn.has(each)).map((each) => depthOf(each, way) + 1));
    way.delete(key);
    depth.set(key, found);
    return found;
  };
  let top = 0;
  return plans.map((plan) => {
    const used: number[] = [];
    const items = plan.items.map((item) => {
      const key = keyOf({ plan: plan.code, item: item.code }), column = depthOf(key, new Set());
      used[column] = (used[column] ?? 0) + 1;
      return { key, item, column, row: used[column] - 1 };
    });
    const rows = Math.max(1, ...used.filter(Boolean)), lane = { plan, items, top, rows };
    top += rows;
    return lane;
  });
}

// The lanes in the order in which the work flows: by where their items stand on average, then as they were.
export function tidied(release: Release, shown: string[]): string[] {
  const mean = new Map(lanesOf(release, shown).map(({ plan, items }) => [plan.code, items.reduce((sum, each) => sum + each.column, 0) / Math.max(1, items.length)]));
  const order = [...shown].sort((one, other) => (mean.get(one) ?? 0) - (mean.get(other) ?? 0));
  return order.every((each, at) => each === shown[at]) ? shown : order;
}

// A lane one place up or down; the same list where there is no such place.
export function movedLane(shown: string[], code: string, by: number): string[] {
  const at = shown.indexOf(code), to = at + by;
  if (at < 0 || to < 0 || to >= shown.length) return shown;
  const left = shown.filter((each) => each !== code);
  return [...left.slice(0, to), code, ...left.slice(to)];
}

// Items on their way to another place, or to another release: with what they wait for among themselves.
export interface Clip { orderplan: "items"; items: ItemDef[]; waits: [string, string][] }

export function copied(release: Release, plan: string, codes: string[]): Clip {
  const isCopied = (ref: Ref) => ref.plan === plan && codes.includes(ref.item);
  return {
    orderplan: "items",
    items: release.plans?.find((each) => each.code === plan)?.items.filter((item) => codes.includes(item.code)) ?? [],
    waits: release.dependencies?.map(waits).filter((each) => isCopied(each.who) && isCopied(each.for)).map((each): [string, string] => [each.who.item, each.for.item]) ?? [],
  };
}

// What a text carries, if it is a clip.
export function clipOf(text: string): Clip | undefined {
  try {
    const read = JSON.parse(text) as Clip;
    const isClip = read?.orderplan === "items" && Array.isArray(read.items) && read.items.every((each) => typeof each?.code === "string" && typeof each.type === "string") && Array.isArray(read.waits);
    return isClip ? read : undefined;
  } catch { return undefined; }
}

// The release with a clip in a plan, under codes that are free, and those codes.
export function pasted(release: Release, plan: string, clip: Clip): { release: Release; codes: string[] } {
  const taken = release.plans?.find((each) => each.code === plan)?.items.map((item) => item.code) ?? [];
  const now = new Map<string, string>();
  for (const item of clip.items) now.set(item.code, freeCode([...taken, ...now.values()], item.code));
  let grown = clip.items.reduce((before, item) => addItem(before, plan, { ...item, code: now.get(item.code)! }), release);
  for (const [who, first] of clip.waits) {
    if (now.has(who) && now.has(first)) grown = connect(grown, { plan, item: now.get(first)! }, { plan, item: now.get(who)! });
  }
  return { release: grown, codes: [...now.values()] };
}

const KNOWN_OF = (release: Release): Record<string, Map<string, unknown>> => ({
  product: new Map(release.products.map((each) => [each.code, each])),
  "plan definition": new Map(release.plans?.map(({ items: _, ...plan }) => [plan.code, plan])),
  item: new Map(release.plans?.flatMap((plan) => plan.items.map((item) => [`${plan.code}/${item.code}`, item] as const))),
  dependency: new Map(release.dependencies?.map((each) => { const { who, for: first } = waits(each); return [`${keyOf(who)} waits for ${keyOf(first)}`, each]; })),
  scenario: new Map(release.scenarios?.map((each) => [`${each.product ?? each.class}: ${each.actions.join(", ")} → ${each.plan}`, each])),
});

// What a draft changes, part by part: [what has become of it, kind, name].
export function changesOf(before: Release, after: Release): ["added" | "removed" | "changed", string, string][] {
  const [old, now] = [KNOWN_OF(before), KNOWN_OF(after)];
  // Members in another order are the same.
  const plain = (value: unknown): string => JSON.stringify(value, (_, each) => (each && typeof each === "object" && !Array.isArray(each) ? Object.fromEntries(Object.entries(each).sort(([one], [other]) => (one < other ? -1 : 1))) : each));
  return Object.keys(now).flatMap((kind) => [
    ...[...now[kind]].filter(([name]) => !old[kind].has(name)).map(([name]) => ["added", kind, name] as ["added", string, string]),
    ...[...old[kind]].filter(([name]) => !now[kind].has(name)).map(([name]) => ["removed", kind, name] as ["removed", string, string]),
    ...[...now[kind]].filter(([name, value]) => old[kind].has(name) && plain(old[kind].get(name)) !== plain(value)).map(([name]) => ["changed", kind, name] as ["changed", string, string]),
  ]);
}
