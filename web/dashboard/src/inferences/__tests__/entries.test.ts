import { expect, test } from "vitest";

import { entry } from "../../testing/samples";
import { filtersOf, isUsable, recentPath } from "../filters";
import { merged } from "../useEntries";

test("only filters that are set are sent, and an unusable number is not", () => {
  const filters = filtersOf(new URLSearchParams("status=error&label=a b&min_diff=x&status2=1"));
  expect(recentPath(filters)).toBe("/api/v2/models/audit/recent?limit=100&status=error&label=a+b");
  expect(recentPath({ ...filters, min_diff: "0.1" }, 7)).toContain("min_diff=0.1&before=7");
  expect(recentPath(filtersOf(new URLSearchParams("model=second")))).toContain("model=second");
});

test("an outcome that does not exist is none", () => {
  expect(filtersOf(new URLSearchParams("status=odd")).status).toBe("");
});

test.each([
  ["", true],
  ["0.05", true],
  ["-1", false],
  ["abc", false],
])("%j as smallest difference: %s", (text, usable) => {
  expect(isUsable(text)).toBe(usable);
});

test("pages join without doubles, and the newer of two forms of an entry counts", () => {
  const newest = [entry(3), entry(2, { shadow_diff: 0.2 })];
  const older = [entry(2, { shadow_diff: null }), entry(1)];
  const all = merged(newest, older);
  expect(all.map(({ sequence }) => sequence)).toEqual([3, 2, 1]);
  expect(all[1]?.shadow_diff).toBe(0.2);
});
