import js from "@eslint/js";
import a11y from "eslint-plugin-jsx-a11y";
import hooks from "eslint-plugin-react-hooks";
import ts from "typescript-eslint";

/** A page's folder may use the shared ones, never another page's; only `app` knows them all. */
const pages = [
  "overview",
  "inferences",
  "rollouts",
  "drift",
  "calibration",
  "versions",
  "fleet",
  "pathways",
  "playground",
];

function restricted(folder, names, message) {
  return {
    files: [`${folder}/**/*.{ts,tsx}`],
    rules: {
      "no-restricted-imports": [
        "error",
        { patterns: names.map((name) => ({ group: [`**/${name}/**`], message })) },
      ],
    },
  };
}

export default ts.config(
  { ignores: ["src/api/schema.d.ts"] },
  js.configs.recommended,
  {
    files: ["**/*.{ts,tsx}"],
    extends: [...ts.configs.strictTypeChecked, ...ts.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/consistent-type-definitions": ["error", "type"],
      eqeqeq: ["error", "always", { null: "ignore" }],
    },
  },
  { files: ["src/**/*.tsx"], ...a11y.flatConfigs.strict },
  {
    files: ["src/**/*.tsx"],
    rules: {
      // A table whose cells are gone through with the arrow keys is a grid.
      "jsx-a11y/no-noninteractive-element-to-interactive-role": ["error", { table: ["grid"] }],
    },
  },
  { files: ["src/**/*.{ts,tsx}"], ...hooks.configs.flat["recommended-latest"] },
  restricted(
    "src/{api,ui,charts,inference,models,diagnostics}",
    pages,
    "Shared folders know no page.",
  ),
  ...pages.map((page) =>
    restricted(
      `src/${page}`,
      pages.filter((other) => other !== page),
      "A page knows no other page.",
    ),
  ),
);
