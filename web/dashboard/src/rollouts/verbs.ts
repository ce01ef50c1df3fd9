import { call, modelsPath } from "../api/http";

/** What a person may say of a rollout, in the order of its buttons. */
export const verbs = ["promote", "finish", "pause", "resume", "abort"] as const;

export type Verb = (typeof verbs)[number];

/** How its button is called. */
export const verbNames: Record<Verb, string> = {
  promote: "Promote",
  finish: "End the bake",
  pause: "Pause",
  resume: "Resume",
  abort: "Roll back",
};

/** What is said of a step that is taken by hand; `force` promotes although there is doubt. */
export type Said = { reason: string; force?: boolean };

/** Take a step of a rollout by hand. */
export async function take(rolloutId: string, verb: Verb, said: Said): Promise<void> {
  await call(modelsPath(`/rollouts/${encodeURIComponent(rolloutId)}/${verb}`), said);
}
