// Where the items of a plan stand: ELK, in a worker of its own, bounded in time. States do not move items, so places
// are kept by what waits for what.

import ELK, { type ElkExtendedEdge, type ElkNode } from "elkjs/lib/elk-api.js";
import workerAddress from "elkjs/lib/elk-worker.min.js?url";
import { HEIGHT, type Layout, type Waiting, WIDTH, columns } from "./columns";

const TIMEOUT_MS = 20_000;
const OPTIONS = {
  "elk.algorithm": "layered", "elk.direction": "RIGHT", "elk.edgeRouting": "ORTHOGONAL",
  "elk.layered.nodePlacement.strategy": "LINEAR_SEGMENTS", "elk.layered.spacing.nodeNodeBetweenLayers": "56", "elk.spacing.nodeNode": "24",
  "elk.layered.thoroughness": "3", // half the time of the usual 7, for plans as compact
};

interface TrustedTypes { createPolicy(name: string, rules: { createScriptURL: (url: string) => string }): { createScriptURL(url: string): string } }
const trusted = (window as { trustedTypes?: TrustedTypes }).trustedTypes?.createPolicy("console-worker", {
  createScriptURL: (url) => {
    if (url !== workerAddress) throw new TypeError("not the layout's worker");
    return url;
  },
});
const kept = new Map<string, Promise<Layout>>();
let elk: InstanceType<typeof ELK> | undefined;

export function layout(items: Waiting[]): Promise<Layout> {
  const key = JSON.stringify(items.map((item) => [item.key, item.dependsOn]));
  let found = kept.get(key);
  if (!found) {
    if (kept.size > 20) kept.clear();
    kept.set(key, (found = worked(items)));
  }
  return found;
}

const engine = () => (elk ??= new ELK({ workerUrl: workerAddress, workerFactory: (url) => new Worker((trusted?.createScriptURL(url!) ?? url!) as string) }));

// Loads the worker while the plan is still being read.
export const warm = () => void engine();

async function worked(items: Waiting[]): Promise<Layout> {
  const graph: ElkNode = {
    id: "plan", layoutOptions: OPTIONS,
    children: items.map((item) => ({ id: item.key, width: WIDTH, height: HEIGHT })),
    edges: items.flatMap((item): ElkExtendedEdge[] => item.dependsOn.map((from) => ({ id: `${from} ${item.key}`, sources: [from], targets: [item.key] }))),
  };
  const late = new Promise<undefined>((done) => setTimeout(done, TIMEOUT_MS));
  const drawn = await Promise.race([engine().layout(graph), late]);
  if (!drawn) {
    elk?.terminateWorker();
    elk = undefined;
    return columns(items);
  }
  return {
    places: new Map(drawn.children!.map((node) => [node.id, { x: node.x!, y: node.y! }])),
    ways: new Map(drawn.edges!.map((edge) => {
      const { startPoint, bendPoints = [], endPoint } = edge.sections![0];
      return [edge.id, [startPoint, ...bendPoints, endPoint]];
    })),
  };
}
