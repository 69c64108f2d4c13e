// What screens share: the address, data that is read and read anew when facts come, the state of the stream.

import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { Refusal } from "./api";
import { type Live, hear, liveNow } from "./stream";

const COALESCE_MS = 300;
const moved = new Set<() => void>();
window.addEventListener("popstate", () => moved.forEach((each) => each()));

export function go(address: string, isNew = true) {
  history[isNew ? "pushState" : "replaceState"](null, "", address);
  moved.forEach((each) => each());
}

export function useAddress(): URL {
  const href = useSyncExternalStore((changed) => (moved.add(changed), () => moved.delete(changed)), () => location.href);
  return new URL(href);
}

// The address with some of its query changed; empty takes away.
export function withQuery(url: URL, changes: Record<string, string | undefined>): string {
  const query = new URLSearchParams(url.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  return `${url.pathname}${query.size ? `?${query}` : ""}`;
}

export interface Loaded<T> { data?: T; error?: Refusal; again: () => void }

// Reads `load` now, when `key` changes, and after facts for which `concerns` says so: at most a few times a second,
// one reading at a time.
export function useLive<T>(key: string, load: (signal: AbortSignal) => Promise<T>, concerns: (orderId: string | null) => boolean): Loaded<T> {
  const [found, setFound] = useState<{ key: string; data?: T; error?: Refusal }>({ key });
  const latest = useRef({ load, concerns });
  latest.current = { load, concerns };
  const again = useRef(() => {});
  useEffect(() => {
    const stop = new AbortController();
    let timer = 0, isReading = false, isStale = false;
    const read = async () => {
      timer = 0;
      if (isReading) { isStale = true; return; }
      isReading = true;
      try {
        const data = await latest.current.load(stop.signal);
        if (!stop.signal.aborted) setFound({ key, data });
      } catch (error) {
        if (stop.signal.aborted) return;
        const shown = error instanceof Refusal ? error : new Refusal(String(error), 0);
        setFound((before) => ({ key, data: before.key === key ? before.data : undefined, error: shown }));
      } finally {
        isReading = false;
        if (isStale) { isStale = false; soon(); }
      }
    };
    const soon = () => { if (!timer && !stop.signal.aborted) timer = window.setTimeout(read, COALESCE_MS); };
    again.current = () => void read();
    void read();
    const deaf = hear((message) => {
      if ("resync" in message || ("fact" in message && latest.current.concerns(message.fact.orderId))) soon();
    });
    return () => { stop.abort(); deaf(); clearTimeout(timer); };
  }, [key]);
  const now = found.key === key ? found : { key };
  return { data: now.data, error: now.error, again: useCallback(() => again.current(), []) };
}

export function useLiveState(): Live {
  return useSyncExternalStore(hear, liveNow);
}
