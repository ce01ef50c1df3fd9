import type { Fleet, FleetReplica } from "../api/wire";
import type { ChipTone } from "../ui/Chip";

export const stageTones: Record<FleetReplica["status"], ChipTone> = {
  loading: "info",
  ready: "good",
  failed: "bad",
  draining: "warn",
  left: "plain",
  lost: "bad",
};

const ENDED: readonly FleetReplica["status"][] = ["left", "failed", "lost"];

/** Whether a server takes no requests any more and will not again. */
export function hasEnded(replica: FleetReplica): boolean {
  return ENDED.includes(replica.status);
}

export function sum(counts: Record<string, number>): number {
  return Object.values(counts).reduce((total, each) => total + each, 0);
}

/** An adapter's name; a digest stands for itself by its beginning. */
export function shortName(adapter: string): string {
  return /^[0-9a-f]{64}$/.test(adapter) ? adapter.slice(0, 12) : adapter;
}

/** Requests a second of all servers that take some; null before the first is known. */
export function perSecond(fleet: Fleet): number | null {
  const known = fleet.replicas
    .filter((each) => !hasEnded(each))
    .map(({ load }) => load.requests_per_s)
    .filter((each) => each != null);
  return known.length === 0 ? null : known.reduce((total, each) => total + each, 0);
}

/** Whether all servers answer alike, in a few words. */
export function agreementOf({ agreement }: Fleet): {
  words: string;
  hint: string;
  isGood: boolean;
} {
  const { revision, n_ready, n_behind, reached_s } = agreement;
  if (revision == null) return { words: "–", hint: "no server has looked yet", isGood: true };
  if (n_behind > 0) {
    return { words: `${n_behind} behind`, hint: `newest revision ${revision}`, isGood: false };
  }
  const hint =
    reached_s == null
      ? `revision ${revision}`
      : `revision ${revision}, reached all within ${Math.max(0.1, reached_s).toFixed(1)} s`;
  return { words: n_ready > 1 ? "all agree" : "one server", hint, isGood: true };
}

export function mebibytes(bytes: number | null | undefined): string {
  return bytes == null ? "–" : `${Math.round(bytes / 2 ** 20).toLocaleString("en-GB")} MiB`;
}
