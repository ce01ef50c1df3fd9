/** A page's query with some of its values set, and those that are null or empty taken out. */
export function changed(
  before: URLSearchParams,
  changes: Readonly<Record<string, string | null>>,
): URLSearchParams {
  const next = new URLSearchParams(before);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") next.delete(name);
    else next.set(name, value);
  }
  return next;
}

/** The address of another page about the same registered model as this one. */
export function sameModel(
  here: URLSearchParams,
  path: string,
  values: Readonly<Record<string, string>> = {},
): string {
  const kept = new URLSearchParams();
  const model = here.get("model");
  if (model !== null) kept.set("model", model);
  const said = changed(kept, values).toString();
  return said === "" ? path : `${path}?${said}`;
}
