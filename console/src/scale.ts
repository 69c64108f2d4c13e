// Time as a picture has it.

const IDLE_PART = 0.15; // of the time shown: longer stretches without a beginning or an end are cut to so much
const CUT_MS_MIN = 60_000;
const WIDTH = 100;

// Where instants stand, from 0 to 100, and the stretches that are cut.
export function scaleOf(instants: number[]) {
  const points = [...new Set(instants)].sort((one, two) => one - two);
  const all = points.length > 1 ? points.at(-1)! - points[0] : 1;
  const limit = Math.max(all * IDLE_PART, CUT_MS_MIN);
  const steps = points.map((at, index) => (index ? at - points[index - 1] : 0));
  const shown = steps.map((step) => Math.min(step, limit));
  const whole = shown.reduce((sum, step) => sum + step, 0) || 1;
  let sum = 0;
  const places = new Map(points.map((at, index) => [at, ((sum += shown[index]) / whole) * WIDTH]));
  return { place: (at: number) => places.get(at)!, cuts: points.flatMap((at, index) => (steps[index] > limit ? [{ at, ms: steps[index] }] : [])) };
}
