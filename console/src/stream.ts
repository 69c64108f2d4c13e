// One event stream per browser: the tab that holds the lock listens and tells the others, a few times a second. When
// that tab closes the next one has the lock: nobody knows what was told between, so all read anew.

import { addressOf } from "./api";

export type Live = "connecting" | "live" | "reconnecting";
export interface Heard { id: string; kind: string; orderId: string | null; account: string | null; item: string | null; actor: string; state?: string }
type Message = { facts: Heard[] } | { live: Live } | { resync: true } | { hello: true };

const RETRY_MS = 3_000;
const TOLD_MS = 200;
const channel = new BroadcastChannel("orderplan.stream");
const hearers = new Set<(message: Message) => void>();
let live: Live = "connecting";
let isLeader = false;
let isPaused = false;
let hasMissed = false;
let resyncedAt: number | undefined;
let waiting: Heard[] = [];

function tell(message: Message) {
  if ("live" in message) live = message.live;
  if ("resync" in message) resyncedAt = Date.now();
  // Of this tab alone: the others go on.
  if (isPaused && !("live" in message)) hasMissed = true;
  else hearers.forEach((hear) => hear(message));
}

function spread(message: Message) {
  tell(message);
  channel.postMessage(message);
}

function listen(isSuccessor = false) {
  const source = new EventSource(addressOf("get_stream", {}));
  source.onopen = () => {
    // After a break the source resumes by itself; what is on the screen is read anew to be sure.
    if (isSuccessor || live === "reconnecting") spread({ resync: true });
    isSuccessor = false;
    spread({ live: "live" });
  };
  source.addEventListener("fact", (event) => {
    const { id, kind, orderId, account, item, actor, payload } = JSON.parse(event.data) as Heard & { payload?: { state?: string } };
    if (!waiting.length) setTimeout(() => { const facts = waiting; waiting = []; spread({ facts }); }, TOLD_MS);
    waiting.push({ id, kind, orderId, account, item, actor, state: payload?.state });
  });
  source.onerror = () => {
    spread({ live: "reconnecting" });
    if (source.readyState === EventSource.CLOSED) setTimeout(() => listen(), RETRY_MS + Math.random() * 1_000);
  };
}

export function start() {
  channel.onmessage = ({ data }: MessageEvent<Message>) => {
    if ("hello" in data) {
      if (isLeader) channel.postMessage({ live });
    } else tell(data);
  };
  channel.postMessage({ hello: true });
  void navigator.locks.request("orderplan.stream", () => {
    isLeader = true;
    listen(live !== "connecting");
    return new Promise(() => undefined); // held until the tab closes
  });
}

export const liveNow = () => live;
export const pausedNow = () => isPaused;
export const resyncedNow = () => resyncedAt;

export function pause(shall: boolean) {
  isPaused = shall;
  if (!shall && hasMissed) {
    hasMissed = false;
    tell({ resync: true });
  } else tell({ live });
}

export function hear(listener: (message: Message) => void): () => void {
  hearers.add(listener);
  return () => hearers.delete(listener);
}
