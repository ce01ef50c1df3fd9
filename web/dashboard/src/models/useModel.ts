import { useSearchParams } from "react-router";

import { modelsPath } from "../api/http";
import { useResource } from "../api/useResource";
import type { Versions } from "../api/wire";
import { answeringModels, DEFAULT_MODEL } from "./models";

export type ModelChoice = {
  /** The registered model that the page is about; null until that is known. */
  model: string | null;
  /** Those that can be chosen. */
  models: readonly string[];
  choose: (model: string) => void;
};

/** Which registered model a page is about; the page's address says it, so that it can be sent. */
export function useModel(): ModelChoice {
  const [query, setQuery] = useSearchParams();
  const versions = useResource<Versions>(modelsPath("/versions"), { on: ["rollout"] });
  const models = answeringModels(versions.data);
  const asked = query.get("model");
  return {
    model: asked ?? (versions.loading ? null : (models[0] ?? DEFAULT_MODEL)),
    models,
    // What else the address says is about the model before.
    choose: (model) => setQuery({ model }),
  };
}
