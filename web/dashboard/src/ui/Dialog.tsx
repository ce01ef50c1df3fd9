import { type ReactNode, useEffect, useId, useRef } from "react";

type Props = {
  title: string;
  onClose: () => void;
  children: ReactNode;
  /** For what is read rather than filled in: wider, and begun at its head. */
  wide?: boolean;
};

/** A window over the page; the browser keeps the focus inside, and Escape closes it. */
export function Dialog({ title, onClose, children, wide = false }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  const head = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    const element = dialog.current;
    const opener = document.activeElement;
    if (element !== null && !element.open) element.showModal();
    // The browser takes the first thing that can be pressed, which may lie below what is to be read.
    if (wide) head.current?.focus();
    // A window that is taken out of the page gives the focus to nobody by itself.
    return () => {
      if (opener instanceof HTMLElement) opener.focus();
    };
  }, [wide]);
  return (
    <dialog
      ref={dialog}
      aria-labelledby={heading}
      className={`m-auto max-h-[90dvh] w-full overflow-auto rounded-lg border border-line bg-surface p-5 text-ink shadow-xl backdrop:bg-black/50 ${wide ? "max-w-3xl" : "max-w-lg"}`}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <h2
        ref={head}
        id={heading}
        tabIndex={wide ? -1 : undefined}
        className="mb-3 text-lg font-semibold outline-none"
      >
        {title}
      </h2>
      {children}
    </dialog>
  );
}
