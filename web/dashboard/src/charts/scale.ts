/** A straight scale from values to pixels. */
export type Scale = {
  (value: number): number;
  domain: readonly [number, number];
  /** The value at a pixel. */
  invert: (pixel: number) => number;
};

export function linear(
  [low, high]: readonly [number, number],
  [from, to]: readonly [number, number],
): Scale {
  // A domain without width is given one, so that its single value stands in the middle.
  const [start, end] = low === high ? [low - 0.5, high + 0.5] : [low, high];
  const scale = (value: number) => from + ((value - start) / (end - start)) * (to - from);
  const invert = (pixel: number) => start + ((pixel - from) / (to - from)) * (end - start);
  return Object.assign(scale, { domain: [start, end] as const, invert });
}

/**
 * Round values inside a domain, about as many as asked for; steps of 1, 2 or 5 times a power of ten,
 * none smaller than `least`: of what is counted there are no halves.
 */
export function ticks([low, high]: readonly [number, number], about = 5, least = 0): number[] {
  if (!(high > low)) return [low];
  const rough = Math.max(least, (high - low) / Math.max(1, about));
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((times) => times * power >= rough * 0.999) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: Math.max(0, last - first) + 1 }, (_, at) =>
    Number(((first + at) * step).toPrecision(12)),
  );
}

/** The smallest domain that holds the values, with a little air; `[0, 1]` without any. */
export function extent(
  values: Iterable<number | null | undefined>,
  { air = 0.06, from }: { air?: number; from?: number } = {},
): [number, number] {
  const known = [...values].filter((value): value is number => value != null && isFinite(value));
  if (from !== undefined) known.push(from);
  if (known.length === 0) return [0, 1];
  const low = known.reduce((a, b) => Math.min(a, b));
  const high = known.reduce((a, b) => Math.max(a, b));
  // All of them stand on the level itself, as counts that are all zero: it stays at the bottom.
  if (low === high && low === from) return [low, low + 1];
  const width = high - low || Math.abs(high) || 1;
  return [low === from ? low : low - air * width, high === from ? high : high + air * width];
}

/** At most so many of the points, the first and the last among them. */
export function thinned<Point>(points: readonly Point[], most: number): readonly Point[] {
  if (points.length <= most) return points;
  const step = (points.length - 1) / (most - 1);
  return Array.from({ length: most }, (_, at) => points[Math.round(at * step)] as Point);
}
