// One event stream per browser: the tab that holds the lock listens and tells the others.

import { addressOf } from "./api";

export type Live = "connecting" | "live" | "reconnecting";
export interface Fact { id: string; kind: string; orderId: string | null; item: string | null }
type Message = { fact: Fact } | { live: Live } | { resync: true } | { hello: true };

const RETRY_MS = 3_000;
const channel = new BroadcastChannel("orderplan.stream");
const hearers = new Set<(message: Message) => void>();
let live: Live = "connecting";
let isLeader = false;

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
    const { id, kind, orderId, item } = JSON.parse(event.data) as Fact;
    spread({ fact: { id, kind, orderId, item } });
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
