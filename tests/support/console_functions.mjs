// The console's pure functions, built and tried: node console_functions.mjs FOLDER. Needs what `make console` installs.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const sources = resolve("console/src");
const { build } = await import(pathToFileURL(createRequire(resolve("console/package.json")).resolve("vite")));
const folder = resolve(process.argv[2]);
const names = ["plan", "release", "schema", "decomposition", "scale", "columns", "search"];
await build({
  root: folder, configFile: false, logLevel: "error",
  build: { outDir: folder, lib: { entry: names.map((name) => join(sources, `${name}.ts`)), formats: ["es"] }, rollupOptions: { output: { entryFileNames: "[name].mjs" } } },
});
const [plan, release, schema, lines, scale, layout, search] = await Promise.all(names.map((name) => import(pathToFileURL(join(folder, `${name}.mjs`)))));

// Equal items are one, unless they are opened; what waits for one of them waits for the group.
const item = (key, dependsOn, state) => ({ key, name: key.split("@")[0], plan: "p", state, dependsOn });
const many = Array.from({ length: 2000 }, (_, at) => item(`sim@${at}`, ["start@"], at % 50 ? "Completed" : "Failed"));
const items = [item("start@", [], "Completed"), ...many, item("end@", many.map(({ key }) => key), "Pending")];
const grouped = plan.grouped(items, new Set());
assert.deepEqual(grouped.map(({ key, name, state, dependsOn }) => [key, name, state, dependsOn]), [
  ["start@", "start", "Completed", []], ["p sim", "×2000 sim", "Failed", ["start@"]], ["end@", "end", "Pending", ["p sim"]],
]);
assert.deepEqual(plan.counts(grouped[1].members), [["Failed", 40], ["Completed", 1960]]);
assert.deepEqual(plan.grouped(items, new Set(["p sim"])).map(({ key, name }) => [key, name]), [
  ["start@", "start"], ["p sim Failed", "×40 sim"], ["p sim Completed", "×1960 sim"], ["end@", "end"],
]);
assert.equal(plan.grouped(items, new Set(["p sim", "p sim Failed"])).length, 43);
// What has no equals is drawn as one for each plan definition, if it is too much for a picture.
const lone = Array.from({ length: 600 }, (_, at) => ({ ...item(`step${at}@`, at % 300 ? [`step${at - 1}@`] : [], "Pending"), plan: `p${at % 3}` }));
assert.deepEqual(plan.grouped(lone, new Set()).map(({ key }) => key), ["all of p0", "all of p1", "all of p2"]);
assert.equal(plan.grouped(lone, new Set(["all of p1"])).length, 202); // the others stay closed
assert.equal(plan.grouped(items, new Set(["p sim", ...["Failed", "Completed"].map((state) => `p sim ${state}`)])).length, 2002); // who opens all sees all
assert.ok(layout.columns(plan.grouped(lone, new Set())).places.size === 3); // which wait for one another in a circle

// The critical path: its ways, its order, and what is shown of it alone.
const at_ = (second) => new Date(Date.UTC(2030, 0, 1, 0, 0, second)).toISOString();
const expected = (key, end, slackS = 0) => ({ key, isCritical: !slackS, expectedStartAt: at_(0), expectedEndAt: at_(end), slackS, risk: slackS ? 0 : 0.5 });
const slow = plan.withSchedule(
  [{ ...item("a@", [], "Completed"), endedAt: at_(0) }, item("b@", ["a@"], "Pending"), item("c@", ["a@"], "Pending"), item("d@", ["a@", "b@", "c@"], "Pending")],
  { items: [{ key: "a@", isCritical: true }, expected("b@", 20), expected("c@", 5, 15), expected("d@", 30)] },
);
assert.deepEqual([...plan.criticalWays(slow)], ["a@ b@", "b@ d@"]); // not a to d, which would have time
assert.deepEqual(plan.criticalKeys(slow), ["a@", "b@", "d@"]);
assert.deepEqual(plan.filtered(slow, "critical", "").map(({ key, dependsOn }) => [key, dependsOn]), [["a@", []], ["b@", ["a@"]], ["d@", ["a@", "b@"]]]);
assert.deepEqual(plan.lasts(slow[1], 0), { ms: 20_000, isExpected: true });
const four = plan.grouped([1, 2, 3, 4].map((each) => ({ ...item(`sim@${each}`, [], "Pending"), expected: expected(`sim@${each}`, each, each) })), new Set())[0].expected;
assert.deepEqual([four.isCritical, four.slackS, four.expectedEndAt], [false, 1, at_(4)]);

// Lines: what was ordered left, what it became right, near what it comes from; what belongs to one line.
const line = (key, ...sources) => ({ key, sources, rules: [] });
const became = [line("1"), line("2"), line("2/x", "2"), line("1/x", "1"), line("1/x/y", "1/x")];
assert.deepEqual([...lines.placed(became)].map(([key, { x, y }]) => [key, x, y]), [["1", 0, 0], ["2", 0, 62], ["1/x", 360, 0], ["2/x", 360, 62], ["1/x/y", 720, 0]]);
assert.deepEqual([...lines.related(became, "1/x")].sort(), ["1", "1/x", "1/x/y"]);

// Time: long idle stretches are cut short, what is expected has a place.
const { place, cuts } = scale.scaleOf([0, 60_000, 120_000, 86_400_000]);
assert.deepEqual([place(0), Math.round(place(86_400_000)), cuts.length], [0, 100, 1]);

// A patch says what differs and nothing else, so what is masked stays as it is.
assert.deepEqual(plan.patchOf({ secret: "********", b: { c: 2, d: 3 }, e: 5 }, { secret: "********", b: { c: 2, d: 4 } }), { b: { d: 4 }, e: null });
assert.equal(plan.patchOf({ a: [1] }, { a: [1] }), undefined);

// Edits of a release: references follow a new code, what is named is declared, what is removed takes its dependencies along.
const at = (code) => ({ plan: "p", item: code });
let drawn = release.addItem(release.addPlan(release.EMPTY, "p"), "p", { code: "a", type: "callout", system: "net" });
drawn = release.addItem(drawn, "p", { code: "b", type: "manualTask", queue: "desk" }, at("a"));
drawn = release.changeItem(drawn, at("a"), { code: "first" });
assert.deepEqual(drawn.dependencies, [{ item: at("b"), other: at("first") }]);
assert.deepEqual([drawn.systems, drawn.queues], [[{ code: "net" }], [{ code: "desk" }]]);
assert.equal(release.connect(drawn, at("first"), at("b")), drawn);
const typed = ["n", "ne", "new"].reduce((before, system) => release.changeItem(before, at("first"), { system }), { ...drawn, systems: [...drawn.systems, { code: "n", name: "kept" }] });
assert.deepEqual(typed.systems, [{ code: "n", name: "kept" }, { code: "new" }]);
assert.deepEqual(release.lanesOf(drawn, ["p"])[0].items.map(({ key, column, row }) => [key, column, row]), [["p/first", 0, 0], ["p/b", 1, 0]]);
assert.deepEqual(release.lanesOf(release.connect(drawn, at("b"), at("first")), ["p"])[0].items.length, 2); // a cycle is drawn, not followed for ever
assert.deepEqual(release.removeItem(drawn, at("first")).dependencies, []);
assert.deepEqual(release.changePlanCode(release.addScenario(drawn, "p", "line"), "p", { code: "q" }).scenarios, [{ plan: "q", product: "line", actions: ["add"] }]);
assert.deepEqual(release.EMPTY.plans, []);
const other = release.removeItem(release.addProduct(release.changeItem(drawn, at("b"), { durationS: 60 }), "line"), at("first"));
assert.deepEqual(release.changesOf(drawn, other), [
  ["added", "product", "line"], ["removed", "item", "p/first"], ["changed", "item", "p/b"], ["removed", "dependency", "p/b waits for p/first"],
]);

// A form sends what was filled in, and an object that is needed even if it is empty.
const form = {
  type: "object", required: ["address"], $defs: { list: { type: "array", items: { type: "number" } } },
  properties: { address: { type: "object", properties: { street: { type: "string" } } }, place: { type: "object", properties: { x: { type: "string" } } }, slot: { enum: ["a"] }, numbers: { $ref: "#/$defs/list" } },
};
assert.deepEqual(schema.cleaned({ address: { street: "" }, place: { x: "" }, numbers: [1] }, form, form), { address: {}, numbers: [1] });

// The search box: a value under a name is read, put in its place and taken away; old addresses are searches.
assert.equal(search.valueOf('acme customer:"A b" state:held', "customer", "account"), "A b");
assert.equal(search.valueOf("due<today", "due"), undefined);
assert.equal(search.withValue("acme state:held due<today", "state", "fallout"), "acme due<today state:fallout");
assert.equal(search.withValue("state:held", "state", ""), "");
assert.equal(search.searchOf(new URLSearchParams({ "billingAccount.id": "a b", state: "held", search: "x" })), 'x state:held customer:"a b"');
const heard = (kind, orderId, account, state) => ({ kind, orderId, account, state });
assert.equal(search.mayChange("customer:acme", new Set(), heard("order.accepted", "o1", "other")), false);
assert.equal(search.mayChange("customer:acme", new Set(), heard("order.accepted", "o1", "acme")), true);
assert.equal(search.mayChange("state:held", new Set(["o2"]), heard("order.moved", "o1", null, "inProgress")), false);
assert.equal(search.mayChange("state:held", new Set(), heard("order.moved", "o1", null, "held")), true);
assert.equal(search.mayChange("", new Set(["o1"]), heard("order.ended", "o1", null)), true);
assert.equal(search.mayChange("state:fallout", new Set(), heard("item.fatallyFailed", "o9", null)), true);
// Copies have codes that are free, and wait for one another as the originals do; what is no clip is none.
const clip = release.copied(drawn, "p", ["first", "b"]);
const doubled = release.pasted(drawn, "p", release.clipOf(JSON.stringify(clip)));
assert.deepEqual(doubled.codes, ["first 2", "b 2"]);
assert.deepEqual(doubled.release.dependencies.at(-1), { item: at("b 2"), other: at("first 2") });
assert.deepEqual(release.copied(drawn, "p", ["b"]).waits, []);
assert.deepEqual(["{", "null", '{"orderplan":"items","items":[{}],"waits":[]}'].map(release.clipOf), [undefined, undefined, undefined]);

// Lanes change places, and are put in the order in which the work flows; where nothing moves the list is the same.
const codes = ["a", "b", "c"];
assert.deepEqual([release.movedLane(codes, "c", -1), release.movedLane(codes, "a", 2)], [["a", "c", "b"], ["b", "c", "a"]]);
assert.equal(release.movedLane(codes, "a", -1), codes);
const flow = release.connect(release.addItem(release.addItem(release.addPlan(release.addPlan(release.EMPTY, "late"), "early"), "late", { code: "x", type: "milestone" }), "early", { code: "y", type: "milestone" }), { plan: "early", item: "y" }, { plan: "late", item: "x" });
const ordered = release.tidied(flow, ["late", "early"]);
assert.deepEqual(ordered, ["early", "late"]);
assert.equal(release.tidied(flow, ordered), ordered);
