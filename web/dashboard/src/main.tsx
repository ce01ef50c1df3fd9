import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { Pages } from "./app/routes";
import "./styles.css";

const root = document.getElementById("root");
if (root !== null) {
  createRoot(root).render(
    <StrictMode>
      <Pages />
    </StrictMode>,
  );
}
