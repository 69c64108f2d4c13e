// Where the lines of an order stand: what was ordered left, what it has become right.

import { type Line } from "./plan";

export const WIDTH = 250, GAP = 110, ROW = 62, HEIGHT = 50;

export interface Placed { line: Line; x: number; y: number }

// A column for each step of decomposition; in a column lines stand as what they come from does.
export function placed(lines: Line[]): Map<string, Placed> {
  const found = new Map<string, Placed>();
  const left = new Set(lines), rows: number[] = [];
  for (let column = 0; left.size; column++) {
    let ready = [...left].filter((line) => line.sources.every((key) => found.has(key)));
    if (!ready.length) ready = [...left]; // a source that is not there any more
    const rank = (line: Line) => Math.min(...line.sources.map((key) => found.get(key)?.y ?? 0), Infinity);
    if (column) ready.sort((one, two) => rank(one) - rank(two));
    const placing = ready.map((line) => {
      left.delete(line);
      rows[column] = (rows[column] ?? -1) + 1;
      return { line, x: column * (WIDTH + GAP), y: rows[column] * ROW };
    });
    for (const each of placing) found.set(each.line.key, each);
  }
  return found;
}

// The lines that one comes from and those that come from it, itself included.
export function related(lines: Line[], key: string): Set<string> {
  const found = new Set([key]);
  const byKey = new Map(lines.map((line) => [line.key, line]));
  const up = (each: string) => byKey.get(each)?.sources.forEach((source) => { if (!found.has(source)) { found.add(source); up(source); } });
  up(key);
  const down = new Set([key]);
  for (let isMore = true; isMore;) {
    isMore = false;
    for (const line of lines) if (!down.has(line.key) && line.sources.some((source) => down.has(source))) { down.add(line.key); isMore = true; }
  }
  return new Set([...found, ...down]);
}
