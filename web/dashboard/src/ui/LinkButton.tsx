import type { ComponentProps } from "react";

/** A button that reads as a link: for the row of a table that opens something. */
export function LinkButton({ className = "", ...rest }: ComponentProps<"button">) {
  return (
    <button
      type="button"
      className={`max-w-full truncate rounded align-bottom text-accent underline decoration-1 underline-offset-3 hover:text-accent-strong ${className}`}
      {...rest}
    />
  );
}
