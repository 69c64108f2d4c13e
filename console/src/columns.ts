// Places of items by what waits for what, without a layout engine.

export const WIDTH = 240;
export const HEIGHT = 64;

export interface Point { x: number; y: number }
export interface Layout { places: Map<string, Point>; ways: Map<string, Point[]> }
export interface Waiting { key: string; dependsOn: string[] }

// A column per longest way that leads to an item; for when the layout takes too long.
export function columns(items: Waiting[]): Layout {
  const byKey = new Map(items.map((item) => [item.key, item]));
  const depth = new Map<string, number>();
  const depthOf = (key: string): number => {
    if (!depth.has(key)) {
      depth.set(key, 0); // groups may wait for one another in a circle
      depth.set(key, Math.max(0, ...(byKey.get(key)?.dependsOn ?? []).map((each) => depthOf(each) + 1)));
    }
    return depth.get(key)!;
  };
  const used: number[] = [];
  const places = new Map(items.map((item) => {
    const column = depthOf(item.key);
    used[column] = (used[column] ?? -1) + 1;
    return [item.key, { x: column * (WIDTH + 56), y: used[column] * (HEIGHT + 24) }];
  }));
  return { places, ways: new Map() };
}
