// Accessibility faults that axe-core finds in what the page shows now.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const source = readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/**
 * Serious and critical ones, each with where it is.
 * @param {import("playwright-core").Page} page
 * @returns {Promise<string[]>}
 */
export async function seriousFaults(page) {
  // By the debugger, which the page's Content-Security-Policy does not bind.
  await page.evaluate(await source);
  return page.evaluate(async () => {
    const { violations } = await /** @type {any} */ (window).axe.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    });
    return violations
      .filter((/** @type {any} */ fault) => ["serious", "critical"].includes(fault.impact))
      .flatMap((/** @type {any} */ fault) =>
        fault.nodes.map((/** @type {any} */ node) => `${fault.id}: ${node.target.join(" ")} ${node.failureSummary}`),
      );
  });
}
