import { type ReactNode, useId } from "react";

type Props = { title: string; aside?: ReactNode; children: ReactNode; className?: string };

/** A titled region of a page. */
export function Card({ title, aside, children, className = "" }: Props) {
  const id = useId();
  return (
    <section
      aria-labelledby={id}
      className={`min-w-0 rounded-lg border border-line bg-surface p-4 print:break-inside-avoid ${className}`}
    >
      <div className="mb-3 flex flex-wrap items-center justify-between gap-x-4 gap-y-2">
        <h2 id={id} className="text-base font-semibold">
          {title}
        </h2>
        {aside}
      </div>
      {children}
    </section>
  );
}
