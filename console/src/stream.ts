// One event stream per browser: the tab that holds the lock listens and tells the others, a few times a second.

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
let waiting: Heard[] = [];

function tell(message: Message) {
  if ("live" in message) live = message.live;
  hearers.forEach((hear) => hear(message));
}

function spread(message: Message) {
  tell(message);
  channel.postMessage(message);
}

function listen() {
  const source = new EventSource(addressOf("get_stream", {}));
  source.onopen = () => {
    // After a break the source resumes by itself; what is on the screen is read anew to be sure.
    if (live === "reconnecting") spread({ resync: true });
    spread({ live: "live" });
  };
  source.addEventListener("fact", (event) => {
    const { id, kind, orderId, account, item, actor, payload } = JSON.parse(event.data) as Heard & { payload?: { state?: string } };
    if (!waiting.length) setTimeout(() => { const facts = waiting; waiting = []; spread({ facts }); }, TOLD_MS);
    waiting.push({ id, kind, orderId, account, item, actor, state: payload?.state });
  });
  source.onerror = () => {
    spread({ live: "reconnecting" });
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS + Math.random() * 1_000);
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
    listen();
    return new Promise(() => undefined); // held until the tab closes
  });
}

export const liveNow = () => live;

export function hear(listener: (message: Message) => void): () => void {
  hearers.add(listener);
  return () => hearers.delete(listener);
}
