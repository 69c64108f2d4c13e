// One event stream per browser: the tab that holds the lock listens and tells the others. It comes in frames, four a
// second at most: what there was of each kind, and the first facts by name. When that tab closes the next one has the
// lock: nobody knows what was told between, so all read anew.

import { addressOf } from "./api";

export type Live = "connecting" | "live" | "reconnecting";
export interface Heard { id: string; kind: string; orderId: string | null; account: string | null; item: string | null; actor: string; state?: string }
export interface Frame { counts: Record<string, number>; facts: Heard[]; more: number } // `more` came and are not named
type Message = Frame | { live: Live } | { resync: true } | { hello: true };

const RETRY_MS = 3_000;
const channel = new BroadcastChannel("orderplan.stream");
const hearers = new Set<(message: Message) => void>();
let live: Live = "connecting";
let isLeader = false;
let isPaused = false;
let hasMissed = false;
let resyncedAt: number | undefined;

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
  const source = new EventSource(addressOf("get_stream", {}, { frames: "true" }));
  source.onopen = () => {
    // Frames begin now: what is on the screen is read anew after a break.
    if (isSuccessor || live === "reconnecting") spread({ resync: true });
    isSuccessor = false;
    spread({ live: "live" });
  };
  source.addEventListener("frame", ({ data }) => spread(JSON.parse(data) as Frame));
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
