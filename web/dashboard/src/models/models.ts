import type { Version, Versions } from "../api/wire";

/** What the server takes where a request names no model. */
export const DEFAULT_MODEL = "default";

/** Registered models that have a champion, the default one first. */
export function answeringModels(versions: Versions | null): readonly string[] {
  const found = Object.entries(versions?.aliases ?? {}).flatMap(([model, aliases]) =>
    aliases.champion === undefined ? [] : [model],
  );
  return found.toSorted((one, other) =>
    one === DEFAULT_MODEL ? -1 : other === DEFAULT_MODEL ? 1 : one.localeCompare(other),
  );
}

/** Versions of all models by when they were registered, the latest first. */
export function newestFirst(versions: readonly Version[]): Version[] {
  return versions.toSorted(
    (one, other) => other.created_s - one.created_s || other.number - one.number,
  );
}

/** What a command needs behind it to be about a model, as " --model toxicity". */
export function modelOption(model: string = DEFAULT_MODEL): string {
  return model === DEFAULT_MODEL ? "" : ` --model ${model}`;
}
