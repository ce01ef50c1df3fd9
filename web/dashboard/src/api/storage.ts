type Kept = {
  get: (name: string) => string | null;
  /** Keep a text; null takes it away. */
  set: (name: string, text: string | null) => void;
};

/**
 * What a browser keeps for a page. One that was told to keep nothing throws at the first touch: then
 * it is kept until the page is left.
 */
function kept(storage: () => Storage): Kept {
  const here = new Map<string, string>();
  return {
    get: (name) => {
      try {
        return storage().getItem(name);
      } catch {
        return here.get(name) ?? null;
      }
    },
    set: (name, text) => {
      try {
        if (text === null) storage().removeItem(name);
        else storage().setItem(name, text);
      } catch {
        if (text === null) here.delete(name);
        else here.set(name, text);
      }
    },
  };
}

/** Until the tab is closed. */
export const tabStorage = kept(() => sessionStorage);

/** For all tabs, until somebody clears it. */
export const browserStorage = kept(() => localStorage);
