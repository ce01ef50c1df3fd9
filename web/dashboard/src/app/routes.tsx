import type { ComponentType } from "react";
import { BrowserRouter, Navigate, Route, Routes } from "react-router";

import { later } from "./later";
import { type Address, pages } from "./pages";
import { Shell } from "./Shell";

/** The script of each page, loaded when it is opened. */
const scripts: Record<Address, () => Promise<ComponentType>> = {
  "/": async () => (await import("../overview/OverviewPage")).OverviewPage,
  "/inferences": async () => (await import("../inferences/InferencesPage")).InferencesPage,
  "/rollout": async () => (await import("../rollouts/RolloutPage")).RolloutPage,
  "/drift": async () => (await import("../drift/DriftPage")).DriftPage,
  "/calibration": async () => (await import("../calibration/CalibrationPage")).CalibrationPage,
  "/versions": async () => (await import("../versions/VersionsPage")).VersionsPage,
  "/fleet": async () => (await import("../fleet/FleetPage")).FleetPage,
  "/pathways": async () => (await import("../pathways/PathwaysPage")).PathwaysPage,
  "/playground": async () => (await import("../playground/PlaygroundPage")).PlaygroundPage,
};

const drawn = pages.map(({ to }) => ({ to, Page: later(to, scripts[to]) }));

/** Every page of the front end; a new one is a line here, one in `pages.ts`, one in the server. */
export function Pages() {
  return (
    <BrowserRouter>
      <Routes>
        <Route element={<Shell />}>
          {drawn.map(({ to, Page }) => (
            <Route key={to} path={to} element={<Page />} />
          ))}
          <Route path="*" element={<Navigate to="/" replace />} />
        </Route>
      </Routes>
    </BrowserRouter>
  );
}
