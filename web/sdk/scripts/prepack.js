/** Before packing: build from nothing, and put the project's licence into the package. */
import { execFileSync } from "node:child_process";
import { copyFileSync, rmSync } from "node:fs";

rmSync(new URL("../dist", import.meta.url), { recursive: true, force: true });
copyFileSync(new URL("../../../LICENSE", import.meta.url), new URL("../LICENSE", import.meta.url));
execFileSync("npm", ["run", "--silent", "build"], {
  cwd: new URL("..", import.meta.url),
  stdio: "inherit",
});
