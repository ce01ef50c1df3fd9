import { expect, test } from "vitest";

import { compact, fraction, visible } from "../format";
import { entropyDoubt, finalSure, probabilityDoubt, probabilitySure } from "../scales";

test.each([probabilityDoubt, entropyDoubt, probabilitySure, finalSure])(
  "$title: eight named steps, and values never leave them",
  (scale) => {
    expect(new Set(scale.labels).size).toBe(8);
    for (const value of [0, 1e-12, 0.01, 0.5, 0.9, 1, 3, 20]) {
      expect(scale.levelOf(value)).toBeGreaterThanOrEqual(0);
      expect(scale.levelOf(value)).toBeLessThanOrEqual(7);
    }
  },
);

test("less probable is never paler, more entropy is never paler", () => {
  const values = Array.from({ length: 200 }, (_, at) => at / 199);
  values.slice(1).forEach((value, at) => {
    const before = values[at] ?? 0;
    expect(probabilityDoubt.levelOf(value)).toBeLessThanOrEqual(probabilityDoubt.levelOf(before));
    expect(entropyDoubt.levelOf(5 * value)).toBeGreaterThanOrEqual(
      entropyDoubt.levelOf(5 * before),
    );
    expect(probabilitySure.levelOf(value)).toBeGreaterThanOrEqual(probabilitySure.levelOf(before));
  });
});

test("an edge belongs to the step that names it", () => {
  expect(probabilityDoubt.levelOf(0.9)).toBe(0);
  expect(probabilityDoubt.levelOf(0.899)).toBe(1);
  expect(entropyDoubt.levelOf(4)).toBe(7);
  expect(probabilitySure.levelOf(0.01)).toBe(1);
});

test("numbers and tokens show nothing that is not there", () => {
  expect(fraction(0)).toBe("0.000");
  expect(fraction(0.0004)).toBe("< 0.001");
  expect(fraction(0.25)).toBe("0.250");
  expect(visible(" a\n")).toBe("␣a↵");
  expect(visible("")).toBe("∅");
  expect(compact(" a")).toBe(" a");
  expect(compact("  ")).toBe("␣␣");
});
