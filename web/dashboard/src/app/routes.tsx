import { createBrowserRouter, Navigate } from "react-router";

import { CalibrationPage } from "../calibration/CalibrationPage";
import { DriftPage } from "../drift/DriftPage";
import { FleetPage } from "../fleet/FleetPage";
import { InferencesPage } from "../inferences/InferencesPage";
import { OverviewPage } from "../overview/OverviewPage";
import { PathwaysPage } from "../pathways/PathwaysPage";
import { PlaygroundPage } from "../playground/PlaygroundPage";
import { RolloutPage } from "../rollouts/RolloutPage";
import { VersionsPage } from "../versions/VersionsPage";
import { Failure, Shell } from "./Shell";

/** Every page of the front end; a new one is a line here, one in `pages.ts`, one in the server. */
export const router = createBrowserRouter([
  {
    path: "/",
    element: <Shell />,
    errorElement: <Failure />,
    children: [
      { index: true, element: <OverviewPage /> },
      { path: "inferences", element: <InferencesPage /> },
      { path: "rollout", element: <RolloutPage /> },
      { path: "drift", element: <DriftPage /> },
      { path: "calibration", element: <CalibrationPage /> },
      { path: "versions", element: <VersionsPage /> },
      { path: "fleet", element: <FleetPage /> },
      { path: "pathways", element: <PathwaysPage /> },
      { path: "playground", element: <PlaygroundPage /> },
      { path: "*", element: <Navigate to="/" replace /> },
    ],
  },
]);
