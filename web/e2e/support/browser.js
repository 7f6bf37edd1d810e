// One Chromium for a test file; one window for each person.
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const screenshots = fileURLToPath(new URL("../screenshots/", import.meta.url));

export function launch() {
  return chromium.launch({
    executablePath: process.env.NARU_CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

let people = 0;
/** A name that no other test uses, as all share one server. @param {string} name */
export const fresh = (name) => `${name}-${process.pid}-${(people += 1)}`;

/**
 * A window of its own, with a storage of its own, whose faults are the test's.
 * @param {import("playwright-core").Browser} browser
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export async function openWindow(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: "en-GB", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  /** @type {string[]} */
  const faults = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  // A refused inline style or script is told here, too. A network that fails does so because a test has cut it.
  page.on("console", (message) => {
    // Whoever leaves a channel may have asked about it a moment before.
    const isGone = message.text().includes("404") && /\/channels\/[^/]+\/(members|read)/.test(message.location().url);
    if (message.type() === "error" && !/net::ERR_/.test(message.text()) && !isGone) faults.push(message.text());
  });
  return { context, page, faults };
}

/** @param {import("playwright-core").Page} page @param {string} url @param {string} name */
export async function enter(page, url, name) {
  await page.goto(url);
  await page.getByLabel("Your name").fill(name);
  await page.getByRole("button", { name: "Enter", exact: true }).click();
  await page.locator(`[data-user="${name}"]`).waitFor();
}

/** @param {import("playwright-core").Page} page @param {string} other */
export async function startDirect(page, other) {
  await page.getByRole("button", { name: "New conversation" }).click();
  await page.getByLabel("With whom").fill(other);
  await page.getByRole("button", { name: "Start" }).click();
  await page.getByRole("heading", { level: 1, name: other }).waitFor();
}

/** @param {import("playwright-core").Page} page @param {string} text */
export async function say(page, text) {
  await page.getByRole("textbox", { name: /^Message to/ }).fill(text);
  await page.keyboard.press("Enter");
}

/** What stands in the open conversation, in order; without what waits to be sent unless `withWaiting`. @param {import("playwright-core").Page} page */
export function contents(page, withWaiting = false) {
  return page.locator(withWaiting ? ".message .content" : ".message[data-seq] .content").allTextContents();
}

/** @param {import("playwright-core").Page} page @param {string} name */
export async function screenshot(page, name) {
  await mkdir(screenshots, { recursive: true });
  await page.screenshot({ path: `${screenshots}${name}.png`, animations: "disabled" });
}

/**
 * Waits until it is true, and says what it was instead when it never is.
 * @template Value
 * @param {() => Promise<Value>} read @param {(value: Value) => boolean} isRight
 */
export async function eventually(read, isRight, limitMs = 15_000) {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const value = await read();
    if (isRight(value)) return value;
    if (Date.now() > deadline) throw new Error(`not within ${limitMs} ms; last: ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
