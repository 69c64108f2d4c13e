// The numbers that managers look at, as the server tells them; how they are written.

import { ask } from "./api";
import { NO_FACT, useLive } from "./hooks";

export interface Times { completed: number; firstTimeRight: number; firstTimeRightShare: number | null; cycleP50S: number | null; cycleP90S: number | null }
export interface Totals extends Times { open: number; dueToday: number; overdue: number; accepted: number; ended: number; failedForGood: number; lookedAt: number }
export interface Offer extends Times { offer: string; ended: number }
export interface Failing { system: string | null; completed: number; failedForGood: number; failedAttempts: number; falloutRate: number | null; failedNow: number }
export interface FailingItem extends Failing { item: string; name: string | null }
export interface Team {
  queue: string; open: number; held: number; overdue: number; oldestAt: string | null; upTo1H: number; upTo4H: number; upTo1D: number; upTo3D: number; older: number;
  opened: number; closed: number; waitP50S: number | null; waitP90S: number | null; closedPerHour: number; hoursToClear: number | null; isGrowing: boolean; members: number;
}
export interface Hour { hour: string; accepted: number; ended: number; failedForGood: number }
export interface Numbers {
  at: string; since: string; zone: string; dayStartsAt: string; dayEndsAt: string; countedTo: string | null;
  orders: [Totals]; offers: Offer[]; items: FailingItem[]; systems: Failing[]; queues: Team[]; hours: Hour[];
}

const POLL_MS = 15_000; // they are counted every two seconds; a long window takes the server a while
export const WINDOWS = { "1h": "the last hour", "24h": "the last 24 hours", "7d": "the last 7 days", "30d": "the last 30 days" };
export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

export function useNumbers(window: string, isWanted: boolean) {
  return useLive(window, async (signal) => (isWanted ? (await ask<Numbers>("get_numbers", {}, { query: { window, zone }, signal })).body : null), NO_FACT, { pollMs: () => POLL_MS });
}

export const percent = (share: number | null, digits = 1) => (share === null ? "–" : `${(share * 100).toFixed(digits)} %`);

// "4.2 s", "12.5 min", "3.1 h", "2.4 d".
export function lasted(s: number | null): string {
  if (s === null) return "–";
  if (s < 100) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
  if (s < 6_000) return `${(s / 60).toFixed(1)} min`;
  return s < 172_800 ? `${(s / 3_600).toFixed(1)} h` : `${(s / 86_400).toFixed(1)} d`;
}

// How long a team has work for, in hours.
export function clearing({ open, hoursToClear, isGrowing }: Team): string {
  if (!open) return "nothing to do";
  if (hoursToClear === null) return "never at this rate";
  return `${lasted(hoursToClear * 3_600)}${isGrowing ? ", and growing" : ""}`;
}

const query = (entries: Record<string, string | null | undefined>) => new URLSearchParams(Object.entries(entries).filter((each): each is [string, string] => !!each[1])).toString();
export const ended = (numbers: Numbers, more: { offer?: string; state?: string; right?: string } = {}) => `/console/ended?${query({ since: numbers.since, before: numbers.at, ...more })}`;
export const due = (from: string | undefined, to: string) => orders(`state:open${from ? ` due>=${from}` : ""} due<${to}`);
export const orders = (search: string) => `/console/orders?${query({ search })}`;
export const BEGUN = "state:acknowledged,pending,held,inProgress,assessingCancellation,pendingCancellation,cancelled,completed,failed,partial";
export const failed = (of: { system?: string | null; errorCode?: string | null; plan?: string; name?: string | null }) => `/console/fallout?${query(of)}`;
