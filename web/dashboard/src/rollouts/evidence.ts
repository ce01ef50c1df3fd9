import type { Gate, Transition } from "../api/wire";

const verdicts = ["pass", "fail", "inconclusive", "not_enough_data", "off"] as const;

/**
 * The gates as they stood at a step, from what was kept of it.
 *
 * The evidence is free JSON: either a list of gates, or gates by name.
 */
export function gatesOf({ evidence }: Pick<Transition, "evidence">): Gate[] {
  const held: unknown = evidence.gates ?? evidence;
  const pairs: [string, unknown][] = Array.isArray(held)
    ? held.map((each: unknown) => ["", each])
    : Object.entries(isObject(held) ? held : {});
  return pairs.flatMap(([name, each]) => {
    const gate = isObject(each) ? gateOf(name, each) : null;
    return gate === null ? [] : [gate];
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function gateOf(key: string, held: Record<string, unknown>): Gate | null {
  const verdict = verdicts.find((each) => each === held.verdict);
  const name = typeof held.name === "string" ? held.name : key;
  if (verdict === undefined || name === "") return null;
  const numberAt = (field: string) => {
    const value = held[field];
    return typeof value === "number" ? value : null;
  };
  return {
    name,
    verdict,
    value: numberAt("value"),
    low: numberAt("low"),
    high: numberAt("high"),
    limit: numberAt("limit"),
    n: numberAt("n") ?? 0,
    needed: numberAt("needed"),
    about: typeof held.about === "string" ? held.about : null,
  };
}
