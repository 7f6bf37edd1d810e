import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { useBrowser } from "../support/fixture.js";

const use = useBrowser();

test("the client's types are made from the document that this server serves", async () => {
  const committed = JSON.parse(await readFile(new URL("../../openapi.json", import.meta.url), "utf8"));
  const served = await (await fetch(`${use.url()}openapi.json`)).json();
  // What differs is told by its name; web/client/README.md says how the document is refreshed.
  assert.deepEqual(Object.keys(served.paths), Object.keys(committed.paths));
  assert.deepEqual(served, committed);
});
