import type { ReactNode } from "react";

/** What stands where there is nothing yet: why, and how to change that. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="rounded-md border border-dashed border-field-line px-4 py-8 text-center">
      <p className="font-medium">{title}</p>
      {children !== undefined && (
        <div className="mx-auto mt-1 max-w-prose text-sm text-muted">{children}</div>
      )}
    </div>
  );
}

/** A command to be typed. */
export function Command({ children }: { children: string }) {
  return (
    <code className="mt-2 inline-block max-w-full rounded bg-sunken px-2 py-1 text-left font-mono text-xs text-ink">
      {children}
    </code>
  );
}
