import { useEffect, useState } from "react";

import { SelectField, TextField } from "../ui/Field";
import { type Filters, isUsable } from "./filters";

type Props = {
  filters: Filters;
  /** Registered models; with only one there is nothing to choose. */
  models: readonly string[];
  versions: readonly string[];
  onChange: (changes: Partial<Filters>) => void;
};

/** Milliseconds without a keystroke before what was typed is asked for. */
const PAUSE_MS = 350;

export function FilterForm({ filters, models, versions, onChange }: Props) {
  const named = (names: readonly string[]) => [
    { value: "", name: "any" },
    ...names.map((name) => ({ value: name, name })),
  ];
  return (
    <form
      aria-label="Filters"
      className={`grid grid-cols-2 gap-3 md:grid-cols-3 ${models.length > 1 ? "xl:grid-cols-6" : "xl:grid-cols-5"}`}
      onSubmit={(event) => event.preventDefault()}
    >
      {models.length > 1 && (
        <SelectField
          label="Model"
          value={filters.model}
          options={named(models)}
          onChange={(model) => onChange({ model, model_version: "" })}
        />
      )}
      <SelectField
        label="Version"
        value={filters.model_version}
        options={named(versions)}
        onChange={(model_version) => onChange({ model_version })}
      />
      <SelectField
        label="Outcome"
        value={filters.status}
        options={[
          { value: "", name: "any" },
          { value: "success", name: "answered" },
          { value: "error", name: "failed" },
        ]}
        onChange={(status) => onChange({ status })}
      />
      <Typed label="Label" value={filters.label} onChange={(label) => onChange({ label })} />
      <Typed
        label="Difference at least"
        inputMode="decimal"
        value={filters.min_diff}
        invalid={(draft) => !isUsable(draft)}
        fault="A number with a point, such as 0.1."
        onChange={(min_diff) => onChange({ min_diff })}
      />
      <Typed
        label="Request id"
        mono
        value={filters.request_id}
        onChange={(request_id) => onChange({ request_id })}
      />
    </form>
  );
}

type TypedProps = {
  label: string;
  value: string;
  onChange: (value: string) => void;
  invalid?: (draft: string) => boolean;
  /** What to write instead of what is wrong. */
  fault?: string;
  inputMode?: "decimal";
  mono?: boolean;
};

/** A field that waits for a pause before it tells what was typed. */
function Typed({ value, onChange, invalid, fault, ...rest }: TypedProps) {
  const [draft, setDraft] = useState({ of: value, text: value });
  const text = draft.of === value ? draft.text : value;
  const isWrong = invalid?.(text) === true;
  useEffect(() => {
    if (text.trim() === value || isWrong) return;
    const timer = window.setTimeout(() => onChange(text.trim()), PAUSE_MS);
    return () => window.clearTimeout(timer);
  }, [text, value, isWrong, onChange]);
  return (
    <TextField
      {...rest}
      value={text}
      invalid={isWrong}
      {...(isWrong && fault !== undefined ? { hint: fault } : {})}
      onChange={(next) => setDraft({ of: value, text: next })}
    />
  );
}
