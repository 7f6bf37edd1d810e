// Compares ../../openapi.json with what a running server serves, or brings it up to date.
//
//   node openapi.js http://127.0.0.1:8080           fails when they differ
//   node openapi.js http://127.0.0.1:8080 --write   takes the server's, and makes the types anew
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const [server, flag] = process.argv.slice(2);
if (!server) {
  console.error("usage: node openapi.js SERVER_URL [--write]");
  process.exit(2);
}
const file = fileURLToPath(new URL("../../openapi.json", import.meta.url));
const response = await fetch(new URL("/openapi.json", server));
if (!response.ok) throw new Error(`${server} answers ${response.status}`);
const served = `${JSON.stringify(await response.json(), null, 1)}\n`;
if (flag === "--write") {
  writeFileSync(file, served);
  execFileSync(process.execPath, [
    fileURLToPath(new URL("generate-types.js", import.meta.url)),
    file,
    fileURLToPath(new URL("../src/openapi.ts", import.meta.url)),
  ]);
} else if (served !== readFileSync(file, "utf8")) {
  console.error(`web/openapi.json is not what ${server} serves; see web/client/README.md`);
  process.exit(1);
}
