import { expect, test } from "vitest";

import { differenceOf } from "../difference";
import { abortOf, phaseOf } from "../phases";
import { rollout } from "../../testing/samples";

test.each([
  [0, "good"],
  [0.05, "good"],
  [0.051, "warn"],
  [0.15, "warn"],
  [0.151, "bad"],
  [1, "bad"],
])("a difference of %f is %s", (diff, tone) => {
  expect(differenceOf(diff).tone).toBe(tone);
});

test("what the champion differs from itself by is no difference", () => {
  expect(differenceOf(0.1, 0.12).tone).toBe("good");
});

test.each([
  ["WaitingPromotion", false, "Waits for confirmation", 2],
  ["waiting_promotion", false, "Waits for confirmation", 2],
  ["Progressing", true, "Paused (canary)", 1],
  ["Failed", true, "Rolled back", -1],
  ["Succeeded", false, "Promoted", 5],
  ["Somewhere", false, "Somewhere", -1],
])("phase %s (paused: %s) reads %s", (phase, paused, name, step) => {
  expect(phaseOf({ phase, paused })).toMatchObject({ name, step });
});

test("the last step into failure is the one that explains it", () => {
  const step = (after: string, reason: string) => ({
    time_s: 1,
    before: null,
    after,
    actor: "controller",
    reason,
    evidence: {},
  });
  const transitions = [step("Failed", "first"), step("Failed", "last"), step("Other", "no")];
  expect(abortOf(rollout({ transitions }))?.reason).toBe("last");
  expect(abortOf(rollout())).toBeNull();
});
