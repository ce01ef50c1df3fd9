import type { ReactNode } from "react";

type Props = { name: string; className?: string; children: ReactNode };

/** A named region that scrolls by itself, reachable without a pointer. */
export function ScrollBox({ name, className = "", children }: Props) {
  return (
    <div
      role="region"
      aria-label={name}
      // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex
      tabIndex={0}
      className={`relative overflow-auto print:max-h-none print:overflow-visible ${className}`}
    >
      {children}
    </div>
  );
}
