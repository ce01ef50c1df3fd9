import { createBrowserRouter, Navigate } from "react-router";

import { PlaygroundPage } from "../playground/PlaygroundPage";
import { Failure, Shell } from "./Shell";

/** Every page of the front end; a new one is a line here and a line in `pages` of the shell. */
export const router = createBrowserRouter([
  {
    path: "/",
    element: <Shell />,
    errorElement: <Failure />,
    children: [
      { path: "playground", element: <PlaygroundPage /> },
      { path: "*", element: <Navigate to="/playground" replace /> },
    ],
  },
]);
