import type { Rollout, RolloutBrief } from "../api/wire";
import type { ChipTone } from "../ui/Chip";

/** The way of a rollout, in the order in which it is gone. */
export const steps = [
  { phases: ["initialized", "waiting"], name: "Shadow", about: "sees copies, answers nothing" },
  { phases: ["progressing"], name: "Canary", about: "answers a share that grows" },
  { phases: ["waitingpromotion"], name: "Confirm", about: "waits for a person" },
  { phases: ["promoting"], name: "Promote", about: "becomes champion" },
  { phases: ["finalising"], name: "Bake", about: "watched as champion" },
  { phases: ["succeeded"], name: "Done", about: "is champion" },
] as const;

/** A phase without the differences of spelling. */
function plainPhase(phase: string): string {
  return phase.toLowerCase().replaceAll(/[^a-z]/g, "");
}

export type Phase = {
  /** For people. */
  name: string;
  tone: ChipTone;
  /** Index in `steps`; -1 where it was left. */
  step: number;
  isFailed: boolean;
  isOver: boolean;
};

const named: Record<string, { name: string; tone: ChipTone }> = {
  initialized: { name: "Begins", tone: "info" },
  waiting: { name: "Shadow", tone: "info" },
  progressing: { name: "Canary", tone: "info" },
  waitingpromotion: { name: "Waits for confirmation", tone: "warn" },
  promoting: { name: "Promotes", tone: "info" },
  finalising: { name: "Bakes", tone: "info" },
  succeeded: { name: "Promoted", tone: "good" },
  failed: { name: "Rolled back", tone: "bad" },
  unreadable: { name: "Cannot be read", tone: "warn" },
};

/** Where a rollout stands, in words. */
export function phaseOf({ phase, paused }: Pick<RolloutBrief, "phase" | "paused">): Phase {
  const plain = plainPhase(phase);
  const step = steps.findIndex(({ phases }) => phases.some((each) => each === plain));
  const { name, tone } = named[plain] ?? { name: phase, tone: "plain" as const };
  const isFailed = plain === "failed";
  const isOver = isFailed || plain === "succeeded";
  return paused && !isOver
    ? { name: `Paused (${name.toLowerCase()})`, tone: "warn", step, isFailed, isOver }
    : { name, tone, step, isFailed, isOver };
}

/** The step that ended a rollout which failed: what to show when someone asks why. */
export function abortOf(rollout: Rollout): Rollout["transitions"][number] | null {
  return rollout.transitions.findLast(({ after }) => plainPhase(after) === "failed") ?? null;
}
