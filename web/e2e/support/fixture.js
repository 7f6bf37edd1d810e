// A server, a browser, and windows that are closed when their test ends; a window with a fault fails it.
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { launch, openWindow } from "./browser.js";
import { startServer } from "./server.js";

/** For one test file; call it at the top. */
export function useBrowser() {
  /** @type {import("./server.js").Server | undefined} */
  let server;
  /** @type {import("playwright-core").Browser | undefined} */
  let browser;
  before(async () => {
    server = await startServer();
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });
  return {
    url: () => `${server?.url}/`,
    /** @param {import("node:test").TestContext} test @param {import("playwright-core").BrowserContextOptions} [options] */
    async window(test, options) {
      if (!browser) throw new Error("the browser does not run");
      const { context, page, faults } = await openWindow(browser, options);
      test.after(async () => {
        await context.close();
        assert.deepEqual(faults, [], "faults in the browser's console");
      });
      return { context, page };
    },
  };
}
