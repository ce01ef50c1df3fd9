import type { Version } from "../api/wire";
import { short } from "../ui/format";

type Pair = readonly [name: string, value: string];

/** The evaluation's numbers of a version, by their names, whatever they are. */
export function metricsOf({ metadata }: Version): Pair[] {
  const metrics: unknown = metadata.metrics;
  if (typeof metrics !== "object" || metrics === null) return [];
  return Object.entries(metrics).flatMap(([name, value]) =>
    typeof value === "number" ? [[name, short(value)] as const] : [],
  );
}

/** Everything else that is kept with a version, in words. */
export function factsOf({ metadata }: Version): Pair[] {
  return Object.entries(metadata)
    .filter(([name, value]) => name !== "metrics" && value != null)
    .map(([name, value]) => [name.replaceAll("_", " "), inWords(value)] as const);
}

function inWords(value: unknown): string {
  if (typeof value === "number") return short(value);
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return value.map(inWords).join(", ");
  if (typeof value === "object" && value !== null) {
    return Object.entries(value)
      .map(([name, each]) => `${name.replaceAll("_", " ")} ${inWords(each)}`)
      .join(", ");
  }
  return String(value);
}
