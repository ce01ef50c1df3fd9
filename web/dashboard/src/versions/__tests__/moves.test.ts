import { afterEach, expect, test, vi } from "vitest";

import type { Version } from "../../api/wire";
import { fakeServer } from "../../testing/server";
import { boundedMetricsOf, factsOf, leadingMetricsOf, metricsOf } from "../metadata";
import { carryOut, freeChallenger, movesOf } from "../moves";

afterEach(() => {
  vi.unstubAllGlobals();
});

function version(number: number, aliases: string[]): Version {
  return {
    model: "default",
    number,
    name: `v${number}`,
    kind: "sklearn",
    digest: "00",
    uri: `models:/default/${number}`,
    created_s: 0,
    aliases,
    metadata: { metrics: { accuracy: 0.9, note: "x" }, labels: ["a", "b"], threshold: null },
  };
}

const aliases = { champion: 1, challenger: 2, previous_champion: 3 };

test("the champion is replaced by another, never moved itself", () => {
  expect(movesOf(version(1, ["champion"]), aliases)).toEqual([]);
});

test("going back to the previous champion is a roll-back, to any other a promotion", () => {
  const kinds = (number: number, held: string[]) =>
    movesOf(version(number, held), aliases).map(({ kind }) => kind);
  expect(kinds(3, ["previous_champion"])).toEqual(["roll-back", "challenge"]);
  expect(kinds(2, ["challenger"])).toEqual(["promote", "withdraw"]);
  expect(kinds(4, [])).toEqual(["promote", "challenge"]);
});

test("every move says what it expects to find", async () => {
  const server = fakeServer({ "/versions/aliases/champion": () => ({}) });
  const [move] = movesOf(version(4, []), aliases);
  if (move === undefined) throw new Error("no move");
  await carryOut(move, "better");
  expect(server.asked).toEqual(["PUT /versions/aliases/champion"]);
  expect(server.bodies).toEqual([{ model: "default", number: 4, expected: 1, reason: "better" }]);
});

test("a further challenger gets the first free alias", () => {
  expect(freeChallenger({})).toBe("challenger");
  expect(freeChallenger({ challenger: 1, "challenger-2": 2 })).toBe("challenger-3");
});

test("metadata is told apart into numbers of the evaluation and the rest", () => {
  expect(metricsOf(version(1, []))).toEqual([["accuracy", "0.9"]]);
  expect(factsOf(version(1, []))).toEqual([["labels", "a, b"]]);
});

test("a version's line leads with its accuracy and its calibration error", () => {
  const metrics = { accuracy: 0.9, auroc: 0.8, brier: 0.2, ece: 0.05 };
  const given = { ...version(1, []), metadata: { metrics } };
  expect(leadingMetricsOf(given).map(([name]) => name)).toEqual(["accuracy", "ece"]);
});

test("an interval stands beside its number, and a digest is shortened", () => {
  const given = version(1, []);
  given.metadata = {
    metrics: { accuracy: 0.9, ece: 0.1 },
    intervals: { accuracy: { low: 0.85, high: 0.95, level: 0.95 } },
    base: { digest: "ab".repeat(32), path: "tiny", none: null },
  };
  expect(boundedMetricsOf(given)).toEqual([
    ["accuracy", "0.9 (0.85 to 0.95)"],
    ["ece", "0.1"],
  ]);
  expect(factsOf(given)).toEqual([["base", "digest: abababababab… · path: tiny"]]);
});
