import type { Tone } from "../charts/marks";
import type { Role } from "./chart";

const tones: Record<Role, Tone> = {
  base: "one",
  tuned: "two",
  wrong: "bad",
  other: "three",
  highlight: "warn",
  baseline: "plain",
};

/** The colour of what a curve stands for; the same in every chart. */
export function toneOf(role: Role): Tone {
  return tones[role];
}
