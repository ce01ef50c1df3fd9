import { type ReactNode, useId } from "react";

/** What fields that are chosen from or typed into look like, but for their width. */
export const selectBox =
  "min-h-7.5 rounded-md border border-field-line bg-surface px-2 py-1 text-sm text-ink placeholder:text-muted disabled:opacity-60";

const box = `w-full ${selectBox}`;

type Labelled = { label: string; hint?: string };

function Row({ id, label, hint, children }: Labelled & { id: string; children: ReactNode }) {
  return (
    <div>
      <label htmlFor={id} className="mb-1 block text-sm font-medium">
        {label}
      </label>
      {children}
      {hint !== undefined && (
        <p id={`${id}-hint`} className="mt-1 text-xs text-muted">
          {hint}
        </p>
      )}
    </div>
  );
}

type TextProps = Labelled & {
  value: string;
  onChange: (value: string) => void;
  type?: "text" | "password";
  autoComplete?: string;
  placeholder?: string;
  inputMode?: "numeric" | "decimal" | "text";
  mono?: boolean;
  invalid?: boolean;
};

export function TextField({ label, hint, onChange, mono, invalid, ...rest }: TextProps) {
  const id = useId();
  return (
    <Row id={id} label={label} {...(hint === undefined ? {} : { hint })}>
      <input
        id={id}
        aria-describedby={hint === undefined ? undefined : `${id}-hint`}
        aria-invalid={invalid === true ? true : undefined}
        spellCheck={false}
        className={`${box} ${mono === true ? "font-mono" : ""} ${invalid === true ? "border-danger outline-danger" : ""}`}
        onChange={(event) => onChange(event.target.value)}
        {...rest}
      />
    </Row>
  );
}

type SelectProps<Value extends string> = Labelled & {
  value: Value;
  options: readonly { value: Value; name: string }[];
  onChange: (value: Value) => void;
  disabled?: boolean;
};

export function SelectField<Value extends string>({
  label,
  hint,
  value,
  options,
  onChange,
  disabled,
}: SelectProps<Value>) {
  const id = useId();
  // An address may name what is not there (any more): the browser would show the first one instead.
  const isKnown = options.some((option) => option.value === value);
  return (
    <Row id={id} label={label} {...(hint === undefined ? {} : { hint })}>
      <select
        id={id}
        aria-describedby={hint === undefined ? undefined : `${id}-hint`}
        className={box}
        value={value}
        disabled={disabled}
        onChange={(event) => onChange(event.target.value as Value)}
      >
        {!isKnown && <option value={value}>{value}</option>}
        {options.map((option) => (
          <option key={option.value} value={option.value}>
            {option.name}
          </option>
        ))}
      </select>
    </Row>
  );
}

type SliderProps = Labelled & {
  value: number;
  min: number;
  max: number;
  step: number;
  onChange: (value: number) => void;
};

/** A slider with its value beside the label. */
export function Slider({ label, hint, value, onChange, ...range }: SliderProps) {
  const id = useId();
  return (
    <div>
      <div className="mb-1 flex justify-between text-sm">
        <label htmlFor={id} className="font-medium">
          {label}
        </label>
        <output htmlFor={id} className="font-mono">
          {value}
        </output>
      </div>
      <input
        id={id}
        type="range"
        className="w-full accent-accent"
        value={value}
        aria-describedby={hint === undefined ? undefined : `${id}-hint`}
        onChange={(event) => onChange(event.target.valueAsNumber)}
        {...range}
      />
      {hint !== undefined && (
        <p id={`${id}-hint`} className="text-xs text-muted">
          {hint}
        </p>
      )}
    </div>
  );
}

type ChoiceProps<Value extends string> = {
  label: string;
  value: Value;
  options: readonly { value: Value; name: string; disabled?: boolean }[];
  onChange: (value: Value) => void;
};

/** One of a few, as a row of radio buttons that look like a switch. */
export function Choice<Value extends string>({
  label,
  value,
  options,
  onChange,
}: ChoiceProps<Value>) {
  const name = useId();
  return (
    <fieldset className="flex flex-wrap items-center gap-2 text-sm">
      <legend className="sr-only">{label}</legend>
      <span aria-hidden="true" className="text-muted">
        {label}
      </span>
      <span className="inline-flex rounded-md border border-field-line bg-surface p-0.5">
        {options.map((option) => (
          <label
            key={option.value}
            className="relative rounded px-2 py-0.5 whitespace-nowrap has-checked:bg-accent has-checked:text-on-accent has-disabled:opacity-50 has-focus-visible:outline-2 has-focus-visible:outline-offset-2 has-focus-visible:outline-accent"
          >
            <input
              type="radio"
              className="absolute inset-0 opacity-0 not-disabled:cursor-pointer"
              name={name}
              checked={option.value === value}
              disabled={option.disabled}
              onChange={() => onChange(option.value)}
            />
            {option.name}
          </label>
        ))}
      </span>
    </fieldset>
  );
}
