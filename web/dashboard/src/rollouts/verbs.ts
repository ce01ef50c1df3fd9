import { call, modelsPath } from "../api/http";

export type Verb = "pause" | "resume" | "promote" | "abort";

/** What is said of a step that is taken by hand; `force` promotes although there is doubt. */
export type Said = { reason: string; force?: boolean };

/** Take a step of a rollout by hand. */
export async function take(rolloutId: string, verb: Verb, said: Said): Promise<void> {
  await call(modelsPath(`/rollouts/${encodeURIComponent(rolloutId)}/${verb}`), said);
}
