// What the API says of an order and its plan.

export interface Item {
  key: string; name: string; type: string; plan: string | null; state: string; attempt: number; lines: string[]; dependsOn: string[];
  readyAt: string | null; startedAt: string | null; endedAt: string | null;
  system?: string; operation?: string; queue?: string; error?: string; errorCode?: string; worker?: string; skipReason?: string; timerAt?: string;
}
export interface Plan { orderId: string; state: string | null; items: Item[] }
export interface Summary {
  id: string; state: string; account: string | null; externalId: string | null; dueAt: string | null; createdAt: string; releaseId: string;
  reasons: { code: string; reason: string }[]; risk: { risk: number; band: string } | null;
}
export interface Fact { id: string; kind: string; at: string; item: string | null; actor: string; payload: unknown }
export interface Reason { code: string; text: string }
export interface Explanation { summary: string; reasons: Reason[]; items: { item: string; name: string; state: string; reasons: Reason[]; holdsUp: { count: number; isAtLeast: boolean } }[] }

// Where to look first: what failed, else what is at work.
export const frontier = (items: Item[]) =>
  ["Fatally Failed", "Failed", "On Hold", "Running", "Ready", "Scheduled"].map((state) => items.find((item) => item.state === state)).find(Boolean)?.key;
