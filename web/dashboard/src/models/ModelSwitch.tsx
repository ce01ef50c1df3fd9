import { useId } from "react";

import { selectBox } from "../ui/Field";
import type { ModelChoice } from "./useModel";

/** Chooses which registered model a page is about; nothing where there is only one. */
export function ModelSwitch({ model, models, choose }: ModelChoice) {
  const id = useId();
  const named = model === null || models.includes(model) ? models : [...models, model];
  if (named.length < 2) return null;
  return (
    <span className="flex items-center gap-2 text-sm">
      <label htmlFor={id} className="text-muted">
        Model
      </label>
      <select
        id={id}
        className={`${selectBox} max-w-56`}
        value={model ?? ""}
        onChange={(event) => choose(event.target.value)}
      >
        {named.map((name) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </select>
    </span>
  );
}
