import { useEffect, useRef } from "react";
import { NavLink, Outlet, useLocation, useSearchParams } from "react-router";

import { Boundary } from "./Boundary";
import { KeyButton } from "./KeyButton";
import { LiveMark } from "./LiveMark";
import { pages } from "./pages";
import { sameModel } from "./query";
import { ThemeButton } from "./ThemeButton";

/** Head of every page, and the page below it. */
export function Shell() {
  const [query] = useSearchParams();
  const { pathname } = useLocation();
  const nav = useRef<HTMLElement>(null);
  // On a phone the pages' names are wider than the screen. Not by scrollIntoView: Chromium takes what
  // that shows for the place from which the first Tab goes on, past the link that skips to the page.
  useEffect(() => {
    const bar = nav.current;
    const current = bar?.querySelector("[aria-current=page]");
    if (!bar || !current) return;
    const [within, link] = [bar.getBoundingClientRect(), current.getBoundingClientRect()];
    bar.scrollLeft += Math.min(0, link.left - within.left) + Math.max(0, link.right - within.right);
  }, [pathname]);
  return (
    <>
      <a
        href="#main"
        className="absolute left-2 top-2 z-20 -translate-y-16 rounded bg-accent px-3 py-1 text-on-accent focus:translate-y-0"
      >
        Skip to the page
      </a>
      <header className="border-b border-line bg-surface print:hidden">
        <div className="mx-auto flex max-w-[92rem] flex-wrap items-center gap-x-4 gap-y-2 px-4 py-2.5 sm:px-6">
          <span className="flex items-center gap-2 font-semibold tracking-tight">
            <img src={`${import.meta.env.BASE_URL}favicon.svg`} alt="" width="24" height="24" />
            Glassbox
          </span>
          <nav
            ref={nav}
            aria-label="Pages"
            className="order-last -mx-1 flex max-w-full gap-1 overflow-x-auto px-1 text-sm xl:order-none"
          >
            {pages.map(({ to, name }) => (
              <NavLink
                key={to}
                to={sameModel(query, to)}
                end={to === "/"}
                className="shrink-0 rounded px-2 py-1 text-muted hover:text-ink aria-[current=page]:bg-accent-soft aria-[current=page]:font-medium aria-[current=page]:text-accent-strong"
              >
                {name}
              </NavLink>
            ))}
          </nav>
          <span className="ml-auto">
            <LiveMark />
          </span>
          <span className="flex items-center gap-2">
            <KeyButton />
            <ThemeButton />
          </span>
        </div>
      </header>
      <main id="main" className="mx-auto max-w-[92rem] px-4 py-5 sm:px-6">
        <Boundary key={pathname}>
          <Outlet />
        </Boundary>
      </main>
    </>
  );
}
