// A state is told by sign, word and colour.

export interface Look { sign: string; tone: "good" | "run" | "bad" | "warn" | "idle" }

const LOOKS: Record<string, Look> = {
  Completed: { sign: "✓", tone: "good" }, completed: { sign: "✓", tone: "good" },
  Running: { sign: "▶", tone: "run" }, Ready: { sign: "▷", tone: "run" }, inProgress: { sign: "▶", tone: "run" },
  "Fatally Failed": { sign: "✕", tone: "bad" }, failed: { sign: "✕", tone: "bad" }, rejected: { sign: "✕", tone: "bad" },
  Failed: { sign: "↻", tone: "warn" }, "On Hold": { sign: "‖", tone: "warn" }, held: { sign: "‖", tone: "warn" },
  Scheduled: { sign: "◷", tone: "idle" }, Skipped: { sign: "⤼", tone: "idle" }, partial: { sign: "◐", tone: "warn" },
};

export function look(state: string): Look {
  return LOOKS[state] ?? (state.startsWith("Frozen") ? { sign: "❄", tone: "warn" } : { sign: "○", tone: "idle" });
}
export const isFailed = (state: string) => state === "Fatally Failed" || state === "Failed";
