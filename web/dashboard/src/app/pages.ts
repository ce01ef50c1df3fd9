/** The pages, in the order of the head. The server answers each of these addresses with the page. */
export const pages = [
  { to: "/", name: "Overview" },
  { to: "/inferences", name: "Inferences" },
  { to: "/rollout", name: "Rollout" },
  { to: "/drift", name: "Drift" },
  { to: "/calibration", name: "Calibration" },
  { to: "/versions", name: "Versions" },
  { to: "/fleet", name: "Fleet" },
  { to: "/pathways", name: "Pathways" },
  { to: "/playground", name: "Playground" },
] as const;

/** Address of a page, below which there is no other. */
export type Address = (typeof pages)[number]["to"];
