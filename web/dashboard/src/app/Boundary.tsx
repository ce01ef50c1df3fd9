import { Component, type ReactNode } from "react";

type Props = { children: ReactNode };

/** Shows the page, or why it could not be drawn; the head with the other pages stays. */
export class Boundary extends Component<Props, { error: unknown }> {
  override state = { error: null };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    const error: unknown = this.state.error;
    if (error === null) return this.props.children;
    return (
      <div role="alert" className="mx-auto max-w-xl py-12">
        <h1 className="text-xl font-semibold">This page could not be drawn</h1>
        <p className="mt-2 text-muted">
          {error instanceof Error ? error.message : "The reason is not known."} Reload it; if that
          does not help, the page may be older than the server.
        </p>
      </div>
    );
  }
}
