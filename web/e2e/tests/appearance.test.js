// Every view, light and dark, on a desk and on a phone: no serious accessibility fault, nothing sticks out, and a picture.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { seriousFaults } from "../support/axe.js";
import { contents, enter, eventually, fresh, say, screenshot, startDirect } from "../support/browser.js";
import { useBrowser } from "../support/fixture.js";

const use = useBrowser();
/** Of the operator's charts; for pictures to show around, set it to 12 or more. */
const MOMENTS = Number(process.env.NARU_E2E_MOMENTS ?? 3);
const sizes = {
  desktop: { viewport: { width: 1280, height: 800 } },
  phone: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 },
};

/** People of each variant, as all share one server; a server that has been used before may know them already. */
const casts = [
  ["mina", "jun", "haru", "soyeon", "harbour.office"],
  ["sena", "tae", "yuri", "dana", "ticket.desk"],
  ["hana", "min", "joon", "sora", "pier-3"],
  ["yuna", "kai", "nari", "bora", "lighthouse"],
].map((cast) => (process.env.NARU_E2E_URL ? cast.map(fresh) : cast));

/** @param {import("playwright-core").Page} page @param {string} name */
async function inspect(page, name) {
  await screenshot(page, name);
  assert.deepEqual(await seriousFaults(page), [], name);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(overflow, 0, `${name} is wider than its window`);
}

// Beside each other: most of their time they wait for the page to notice that the network is gone.
describe("every view", { concurrency: true }, () => {
  for (const theme of /** @type {const} */ (["light", "dark"])) {
    for (const [size, options] of Object.entries(sizes)) {
      test(`${theme}, ${size}`, async (t) => {
        const { page, context } = await use.window(t, { ...options, colorScheme: theme });
        const other = await use.window(t);
        const [self = "", mate = "", third = "", ...others] = casts.pop() ?? [];
        const isPhone = size === "phone";
        /** @param {string} view */
        const look = (view) => inspect(page, `${view}-${theme}-${size}`);
        const toList = async () => {
          if (isPhone) await page.getByRole("link", { name: "Back to the conversations" }).click();
        };

        await page.goto(use.url());
        await page.locator("#name").waitFor();
        await look("welcome");
        await enter(page, use.url(), self);
        await page.getByText("No conversations yet").waitFor();
        await look("empty");
        await page.getByRole("button", { name: "New conversation" }).click();
        await page.getByText("Group", { exact: true }).click();
        await look("new-conversation");
        await page.keyboard.press("Escape");

        for (const name of others) {
          await startDirect(page, name);
          await say(page, "Does the 9 o’clock ferry still run on Sundays?");
          await eventually(() => contents(page), (seen) => seen.length === 1);
          await toList();
        }
        await enter(other.page, use.url(), mate);
        await page.getByRole("button", { name: "New conversation" }).click();
        await page.getByText("Group", { exact: true }).click();
        await page.getByLabel("Name of the group").fill("Ferry crew");
        await page.getByLabel(/Who else/).fill(`${mate}, ${third}`);
        await page.getByRole("button", { name: "Start" }).click();
        await page.getByRole("heading", { level: 1, name: "Ferry crew" }).waitFor();
        await say(page, "Good morning! Who takes the early boat?");
        await eventually(() => contents(page), (seen) => seen.length === 1);
        await other.page.getByRole("link", { name: /Ferry crew/ }).click();
        await eventually(() => contents(other.page), (seen) => seen.length === 1);
        await say(other.page, "I do. 안개가 짙어요, so we leave ten minutes late.");
        await say(other.page, "The new timetable is on the board at pier 3, and the harbour office has copies for everybody.");
        await eventually(() => contents(page), (seen) => seen.length === 3);
        await say(page, "Thanks. I’ll tell the passengers who wait outside. 👋");
        await eventually(() => contents(page), (seen) => seen.length === 4);
        await say(other.page, "See you on board");
        await eventually(() => contents(page), (seen) => seen.length === 5);
        await look("conversation");
        await page.getByRole("button", { name: "Members", exact: true }).click();
        await page.getByRole("heading", { level: 3, name: "3 members" }).waitFor();
        await look("members");
        await page.getByRole("button", { name: "Close members" }).click();

        // Read, delivered and sent, one below the other.
        await toList();
        await startDirect(page, mate);
        const lastIs = (/** @type {string} */ state) =>
          eventually(() => page.locator(".state").last().getAttribute("title"), (title) => title === state);
        await say(page, "Is the lamp at the end of the pier mended?");
        await other.page.getByRole("link", { name: new RegExp(self) }).click();
        await lastIs("Read");
        await other.page.goto(`${use.url()}#/`);
        await say(page, "The captain asks.");
        await lastIs("Delivered");
        await other.context.setOffline(true);
        // A pong that was on its way satisfies the first probe; then it is the next one that finds out.
        await other.page.getByText("Connection lost").waitFor({ timeout: 40_000 });
        await say(page, "She wants to sail at six, lamp or no lamp.");
        await lastIs("Sent");
        await look("states");
        await other.context.setOffline(false);
        await lastIs("Delivered");
        await toList();
        await page.getByRole("link", { name: /Ferry crew/ }).click();
        await page.getByRole("heading", { level: 1, name: "Ferry crew" }).waitFor();
        await other.page.getByRole("link", { name: /Ferry crew/ }).click();
        await other.page.getByRole("heading", { level: 1, name: "Ferry crew" }).waitFor();

        await context.setOffline(true);
        await page.getByText("Connection lost").waitFor();
        await say(page, "This one waits for the network");
        await page.locator(".message.is-waiting").waitFor();
        await look("lost");
        await context.setOffline(false);
        await eventually(() => contents(page), (seen) => seen.length === 6);
        if (isPhone) {
          await toList();
          await say(other.page, "One more thing");
          await page.locator(".badge").waitFor();
          await look("list");
        }
        await page.goto(`${use.url()}#/operator`);
        await eventually(() => page.locator("path.line").count(), (count) => count >= 5);
        // So that the picture has something to show.
        for (let moment = 0; moment < MOMENTS; moment += 1) {
          for (let at = 0; at < 1 + ((moment * 5) % 7); at += 1) await say(other.page, "and another");
          await page.waitForTimeout(700);
        }
        await look("operator");
      });
    }
  }
});

test("the switch goes from the system's theme to light and dark, and a reload keeps it", async (t) => {
  const { page } = await use.window(t, { colorScheme: "light" });
  await page.goto(use.url());
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await page.getByRole("button", { name: /^Theme: system/ }).click();
  await page.getByRole("button", { name: /^Theme: light/ }).click();
  await page.getByRole("button", { name: /^Theme: dark/ }).waitFor();
  const dark = await ground();
  assert.notEqual(dark, light);
  await page.reload();
  assert.equal(await ground(), dark);
});
