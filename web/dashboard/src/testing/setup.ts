import { cleanup } from "@testing-library/react";
import { afterEach } from "vitest";

// The simulated browser knows the element but not how to open it.
HTMLDialogElement.prototype.showModal = function showModal() {
  this.open = true;
};

afterEach(cleanup);
