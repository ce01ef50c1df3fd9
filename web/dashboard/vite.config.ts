import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

export default defineConfig({
  // The server hands out the built files below this path; see src/glassbox/server/routes/front_end.py.
  base: "/ui/",
  plugins: [react(), tailwindcss()],
  build: {
    outDir: "../../src/glassbox/assets/web",
    emptyOutDir: true,
    target: "es2022",
    sourcemap: false,
    // The strict content policy forbids data: scripts and fonts, so nothing is put inline.
    assetsInlineLimit: 0,
    rolldownOptions: {
      output: {
        // What several pages share comes in one piece, not in a dozen of some hundred bytes.
        codeSplitting: {
          groups: [{ name: "shared", test: /\/src\/(api|charts|inference|models|ui)\// }],
        },
      },
    },
  },
  server: {
    // `npm run dev` shows the sources; a `glassbox serve` on its usual port answers the calls.
    // As objects, so that the name which the browser called goes along: a server without keys
    // answers no page of another origin.
    proxy: {
      "/v1": { target: "http://127.0.0.1:8787" },
      "/api": { target: "http://127.0.0.1:8787" },
    },
  },
  test: { environment: "jsdom", setupFiles: ["src/testing/setup.ts"] },
});
