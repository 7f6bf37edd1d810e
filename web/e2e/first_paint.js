// Prints how long a new visitor waits for the first paint and for the field to type a name into.
//
//   node e2e/first_paint.js [URL]     (a standalone of its own without one)
import { launch } from "./support/browser.js";
import { startServer } from "./support/server.js";

const LOADS = 9;
/** Lighthouse's "slow 4G", in bytes a second. */
const slow4g = { offline: false, latency: 150, downloadThroughput: 204_800, uploadThroughput: 96_000 };

const server = process.argv[2] ? { url: process.argv[2], stop: async () => {} } : await startServer();
const browser = await launch();
for (const [name, conditions] of /** @type {const} */ ([["this machine", undefined], ["slow 4G", slow4g]])) {
  const paints = [];
  const fields = [];
  for (let load = 0; load < LOADS; load += 1) {
    // A context of its own: nothing is in the cache.
    const context = await browser.newContext();
    const page = await context.newPage();
    const debug = await context.newCDPSession(page);
    if (conditions) await debug.send("Network.emulateNetworkConditions", conditions);
    await page.goto(server.url);
    await page.locator("#name").waitFor();
    fields.push(await page.evaluate(() => performance.now()));
    paints.push(await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0));
    await context.close();
  }
  const median = (/** @type {number[]} */ values) => Math.round(values.toSorted((one, other) => one - other)[LOADS >> 1] ?? 0);
  console.log(`${name}: first paint after ${median(paints)} ms, ready after ${median(fields)} ms (median of ${LOADS})`);
}
await browser.close();
await server.stop();
