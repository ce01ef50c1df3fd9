import type { ComponentProps } from "react";

type Props = ComponentProps<"button"> & { kind?: "main" | "plain" | "danger" };

const looks = {
  main: "border-accent bg-accent text-on-accent hover:border-accent-strong hover:bg-accent-strong",
  danger: "border-danger bg-danger text-on-accent hover:opacity-85",
  plain: "border-line bg-surface text-ink hover:border-field-line",
};

export function Button({ kind = "plain", type = "button", className = "", ...rest }: Props) {
  return (
    <button
      type={type}
      className={`rounded-md border px-3 py-1 text-sm font-medium whitespace-nowrap print:hidden disabled:cursor-not-allowed disabled:opacity-55 ${looks[kind]} ${className}`}
      {...rest}
    />
  );
}
