import { expect, test } from "vitest";

import { extent, linear, thinned, ticks } from "../scale";

test("a scale goes there and back", () => {
  const scale = linear([2, 4], [100, 0]);
  for (const value of [2, 2.5, 4, 7]) expect(scale.invert(scale(value))).toBeCloseTo(value);
  expect(scale(2)).toBe(100);
  expect(linear([3, 3], [0, 10])(3)).toBe(5);
});

test.each([
  [[0, 1], 5],
  [[-0.013, 0.0471], 4],
  [[0, 2500], 6],
  [[0.99, 0.991], 5],
] as const)("ticks of %j are round, inside and not too many", ([low, high], about) => {
  const found = ticks([low, high], about);
  expect(found.length).toBeGreaterThanOrEqual(2);
  expect(found.length).toBeLessThanOrEqual(2 * about + 1);
  for (const tick of found) {
    expect(tick).toBeGreaterThanOrEqual(low - 1e-9);
    expect(tick).toBeLessThanOrEqual(high + 1e-9);
    expect(String(tick).length).toBeLessThan(9);
  }
});

test("an extent holds every known value, and is never empty", () => {
  expect(extent([])).toEqual([0, 1]);
  expect(extent([null, undefined, NaN, Infinity])).toEqual([0, 1]);
  const [low, high] = extent([3, null, 5], { from: 0 });
  expect(low).toBe(0);
  expect(high).toBeGreaterThan(5);
  expect(extent([0, 0], { from: 0 })).toEqual([0, 1]);
  const [least, most] = extent([2, 2]);
  expect(most).toBeGreaterThan(least);
});

test("thinning keeps both ends and the order", () => {
  const many = Array.from({ length: 1000 }, (_, at) => at);
  const few = thinned(many, 50);
  expect(few).toHaveLength(50);
  expect([few[0], few.at(-1)]).toEqual([0, 999]);
  expect([...few].sort((a, b) => a - b)).toEqual(few);
  expect(thinned([1, 2], 50)).toEqual([1, 2]);
});

test("what is counted has no halves", () => {
  expect(ticks([0, 1.06], 4, 1)).toEqual([0, 1]);
  expect(ticks([1, 3], 6, 1)).toEqual([1, 2, 3]);
});
