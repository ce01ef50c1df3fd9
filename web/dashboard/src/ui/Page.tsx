import { type ReactNode, useEffect } from "react";

import { Outage } from "./Outage";

type Props = { title: string; about: ReactNode; actions?: ReactNode; children: ReactNode };

/** Title of a page, what it is for, and the page below. */
export function Page({ title, about, actions, children }: Props) {
  useEffect(() => {
    document.title = `${title} · Glassbox`;
  }, [title]);
  return (
    <>
      <div className="mb-4 flex flex-wrap items-end justify-between gap-x-6 gap-y-3">
        <div>
          <h1 className="text-xl font-semibold tracking-tight">{title}</h1>
          <p className="text-sm text-muted">{about}</p>
        </div>
        {actions !== undefined && <div className="flex flex-wrap gap-2">{actions}</div>}
      </div>
      <Outage>
        <div className="grid min-w-0 grid-cols-1 gap-4">{children}</div>
      </Outage>
    </>
  );
}
