import { type ComponentType, useEffect, useState } from "react";

import { Button } from "../ui/Button";
import { Page } from "../ui/Page";
import { Waiting } from "../ui/Shown";

type State = { Drawn: ComponentType | null; isMissing: boolean };

/**
 * A page whose script is loaded when it is first opened, and at once where it is opened already.
 *
 * Not by React's `lazy`: what that shows comes 300 ms after what stood in its place, however soon the
 * script was there.
 */
export function later(address: string, load: () => Promise<ComponentType>): ComponentType {
  let arrived: ComponentType | null = null;
  // What goes wrong is said where the page is drawn.
  if (location.pathname === address) load().catch(() => undefined);
  return function Later() {
    const [{ Drawn, isMissing }, setState] = useState<State>({ Drawn: arrived, isMissing: false });
    useEffect(() => {
      if (arrived !== null) return;
      let isShown = true;
      const show = (state: State) => {
        if (isShown) setState(state);
      };
      load().then(
        (found) => {
          arrived = found;
          show({ Drawn: found, isMissing: false });
        },
        () => show({ Drawn: null, isMissing: true }),
      );
      return () => {
        isShown = false;
      };
    }, []);
    if (isMissing) return <Missing />;
    if (Drawn !== null) return <Drawn />;
    return (
      <div className="soon">
        <Waiting what="the page" />
      </div>
    );
  };
}

/** Whether the server hands out another build than the one that runs here. */
async function isUpgraded(): Promise<boolean> {
  // Its name holds a digest of the build.
  const script = document.querySelector("script[src]")?.getAttribute("src");
  const answer = await fetch(location.pathname, { headers: { accept: "text/html" } });
  return script != null && answer.ok && !(await answer.text()).includes(script);
}

/**
 * Loads everything anew where the server was upgraded, and says what is missing otherwise.
 *
 * Not twice for one reason: after that the server's build is the one that runs here.
 */
function Missing() {
  useEffect(() => {
    isUpgraded().then(
      (is) => {
        if (is) location.reload();
      },
      // Nobody answers: the button is for when somebody does again.
      () => undefined,
    );
  }, []);
  return (
    <div role="alert">
      <Page
        title="This page did not come"
        about="The server does not answer, or was upgraded since this tab was opened."
      >
        <div>
          <Button onClick={() => location.reload()}>Load it again</Button>
        </div>
      </Page>
    </div>
  );
}
