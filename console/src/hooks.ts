// What screens share: the address, data that is read and read anew when facts come, the state of the stream.

import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { Refusal } from "./api";
import { type Heard, type Live, hear, liveNow } from "./stream";

const COALESCE_MS = 150; // the stream is told of in parts already
const SLOW_FACTOR = 4;
const MORE_MS = 1_000; // between two readings because of facts that were not named
const RETRY_MS = 5_000;
export const DESK_GAP_MS = 1_000;
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

interface Rate<T> {
  gapMs?: number; // between the beginnings of two readings, if not asked for by hand
  pollMs?: (data: T) => number | undefined; // what no fact tells of is read again after so long
}

export const NO_FACT = () => false; // of what is read by the clock alone

// Reads `load` now, when `key` changes, and after facts for which `concerns` says so. One reading at a time; a server
// that answers slowly is asked less often; a tab that nobody sees waits until it is looked at.
export function useLive<T>(key: string, load: (signal: AbortSignal) => Promise<T>, concerns: (fact: Heard) => boolean, rate: Rate<T> = {}): Loaded<T> {
  const [found, setFound] = useState<{ key: string; data?: T; error?: Refusal }>({ key });
  const latest = useRef({ load, concerns, rate });
  latest.current = { load, concerns, rate };
  const again = useRef(() => {});
  useEffect(() => {
    const stop = new AbortController();
    let timer = 0, poll = 0, unnamed = 0, isReading = false, isStale = false, notBefore = 0;
    const read = async () => {
      clearTimeout(timer);
      clearTimeout(poll);
      timer = 0;
      if (isReading) { isStale = true; return; }
      isReading = true;
      isStale = false;
      const began = performance.now();
      try {
        const data = await latest.current.load(stop.signal);
        if (stop.signal.aborted) return;
        setFound({ key, data });
        const pollMs = latest.current.rate.pollMs?.(data);
        if (pollMs) poll = window.setTimeout(soon, pollMs);
      } catch (error) {
        if (stop.signal.aborted) return;
        const shown = error instanceof Refusal ? error : new Refusal(String(error), 0);
        setFound((before) => ({ key, data: before.key === key ? before.data : undefined, error: shown }));
        if (latest.current.rate.pollMs) poll = window.setTimeout(soon, RETRY_MS);
      } finally {
        isReading = false;
        notBefore = began + Math.max(latest.current.rate.gapMs ?? COALESCE_MS, (performance.now() - began) * SLOW_FACTOR);
        if (isStale) soon();
      }
    };
    const soon = () => {
      if (timer || stop.signal.aborted) return;
      isStale = true;
      if (!isReading && !document.hidden) timer = window.setTimeout(read, Math.max(COALESCE_MS, notBefore - performance.now()));
    };
    const seen = () => { if (isStale && !document.hidden) soon(); };
    again.current = () => void read();
    void read();
    document.addEventListener("visibilitychange", seen);
    const deaf = hear((message) => {
      if ("resync" in message || ("facts" in message && message.facts.some(latest.current.concerns))) soon();
      else if ("facts" in message && message.more && !unnamed && latest.current.concerns !== NO_FACT) {
        unnamed = window.setTimeout(() => { unnamed = 0; soon(); }, MORE_MS);
      }
    });
    return () => {
      stop.abort();
      deaf();
      document.removeEventListener("visibilitychange", seen);
      clearTimeout(timer);
      clearTimeout(poll);
      clearTimeout(unnamed);
    };
  }, [key]);
  const now = found.key === key ? found : { key };
  return { data: now.data, error: now.error, again: useCallback(() => again.current(), []) };
}

export function useLiveState(): Live {
  return useSyncExternalStore(hear, liveNow);
}
