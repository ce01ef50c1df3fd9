import type { Version } from "../api/wire";
import { short } from "../ui/format";

type Pair = readonly [name: string, value: string];

/** The evaluation's numbers of a version, by their names, whatever they are. */
export function metricsOf({ metadata }: Version): Pair[] {
  return Object.entries(fieldsOf(metadata.metrics)).flatMap(([name, value]) =>
    typeof value === "number" ? [[name, short(value)] as const] : [],
  );
}

/** What a person compares versions by; where a version has none of them, others stand in. */
const LEADING = ["accuracy", "ece"];

/** At most two of the evaluation's numbers, for a line of a table. */
export function leadingMetricsOf(version: Version): Pair[] {
  const rank = ([name]: Pair) => {
    const at = LEADING.indexOf(name);
    return at < 0 ? LEADING.length : at;
  };
  return metricsOf(version)
    .toSorted((one, other) => rank(one) - rank(other))
    .slice(0, LEADING.length);
}

/** The same, each with its interval where one is kept. */
export function boundedMetricsOf(version: Version): Pair[] {
  const intervals = fieldsOf(version.metadata.intervals);
  return metricsOf(version).map(([name, value]) => {
    const { low, high } = fieldsOf(intervals[name]);
    const isBounded = typeof low === "number" && typeof high === "number";
    const bounds = isBounded ? ` (${short(low)} to ${short(high)})` : "";
    return [name.replaceAll("_", " "), `${value}${bounds}`] as const;
  });
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

/** What a person looks for first; the rest is a click away. */
const FIRST = ["calibrator", "labels", "measured on", "n rows", "run"];

export function isFirst([name]: Pair): boolean {
  return FIRST.includes(name);
}

/** Everything else that is kept with a version, in words. */
export function factsOf({ metadata }: Version): Pair[] {
  return Object.entries(metadata)
    .filter(([name, value]) => !["metrics", "intervals"].includes(name) && value != null)
    .map(([name, value]) => [name.replaceAll("_", " "), inWords(value)] as const);
}

const DIGEST = /^[0-9a-f]{40,}$/;

function inWords(value: unknown): string {
  if (typeof value === "number") return short(value);
  // Nobody reads more of a digest; the whole one is in the API's answer.
  if (typeof value === "string") return DIGEST.test(value) ? `${value.slice(0, 12)}…` : value;
  if (Array.isArray(value)) return value.map(inWords).join(", ");
  if (typeof value === "object" && value !== null) {
    return Object.entries(value)
      .filter(([, each]) => each != null)
      .map(([name, each]) => `${name.replaceAll("_", " ")}: ${inWords(each)}`)
      .join(" · ");
  }
  return String(value);
}
