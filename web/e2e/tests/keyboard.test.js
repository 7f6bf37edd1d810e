import assert from "node:assert/strict";
import { test } from "node:test";
import { contents, enter, eventually, fresh, say, startDirect } from "../support/browser.js";
import { useBrowser } from "../support/fixture.js";

const use = useBrowser();
/** What has the focus, by its accessible name or text. @param {import("playwright-core").Page} page */
const focused = (page) =>
  page.evaluate(() => {
    const element = /** @type {HTMLElement} */ (document.activeElement);
    return element.getAttribute("aria-label") ?? element.id ?? element.textContent?.trim() ?? "";
  });

/** Presses Tab until the focus is there. @param {import("playwright-core").Page} page @param {string} selector */
async function tabTo(page, selector) {
  for (let presses = 0; presses < 30; presses += 1) {
    if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`Tab does not come to ${selector}; it is at ${await focused(page)}`);
}

test("a whole conversation without a mouse", async (t) => {
  const { page } = await use.window(t);
  const bob = await use.window(t);
  const names = { alice: fresh("alice"), bob: fresh("bob") };
  await enter(bob.page, use.url(), names.bob);

  await page.goto(use.url());
  await page.locator("#name").waitFor();
  await tabTo(page, "#name");
  await page.keyboard.type(names.alice);
  await page.keyboard.press("Enter");
  await page.locator(`[data-user="${names.alice}"]`).waitFor();

  await tabTo(page, ".sidebar-action button");
  await page.keyboard.press("Enter");
  // The dialog has put the focus where one writes.
  await page.locator("#people:focus").waitFor();
  await page.keyboard.type(names.bob);
  await page.keyboard.press("Enter");
  await page.locator(".composer textarea:focus").waitFor();

  await page.keyboard.type("first line");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("second line");
  await page.keyboard.press("Enter");
  await eventually(() => contents(page), (seen) => seen.length === 1);
  assert.deepEqual(await contents(page), ["first line\nsecond line"]);

  await bob.page.getByRole("link", { name: new RegExp(names.alice) }).click();
  await say(bob.page, "I can read it");
  await eventually(() => contents(page), (seen) => seen.length === 2);
  // A screen reader hears it.
  assert.match((await page.locator("[aria-live=polite]").textContent()) ?? "", /I can read it/);
});

test("Escape leaves, arrow keys walk the list, and the focus is never lost", async (t) => {
  const { page } = await use.window(t);
  const others = [fresh("xavier"), fresh("yuna"), fresh("zoe")];
  await enter(page, use.url(), fresh("alice"));
  for (const other of others) {
    await startDirect(page, other);
    await say(page, `hello ${other}`);
    await eventually(() => contents(page), (seen) => seen.length === 1);
  }
  await page.locator(".composer textarea:focus").waitFor();
  // The newest stands first; Escape goes to the list, where the open one has the focus.
  await page.keyboard.press("Escape");
  const at = () => page.evaluate(() => document.activeElement?.querySelector(".channel-name")?.textContent);
  assert.equal(await at(), others[2]);
  await page.keyboard.press("ArrowDown");
  assert.equal(await at(), others[1]);
  await page.keyboard.press("End");
  assert.equal(await at(), others[0]);
  await page.keyboard.press("ArrowDown");
  assert.equal(await at(), others[0], "the end is the end");
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: others[1] ?? "" }).waitFor();
  await page.locator(".composer textarea:focus").waitFor();

  // Members: open, close by Escape, and back where it was opened.
  await page.getByRole("button", { name: "Members", exact: true }).focus();
  await page.keyboard.press("Enter");
  await page.locator("#panel-title:focus").waitFor();
  await page.keyboard.press("Escape");
  await page.locator('.conversation button[aria-expanded="false"]:focus').waitFor();

  // A dialog: the same.
  await page.getByRole("button", { name: "New conversation" }).focus();
  await page.keyboard.press("Enter");
  await page.locator("#people:focus").waitFor();
  await page.keyboard.press("Escape");
  await page.locator(".sidebar-action button:focus").waitFor();
  await eventually(() => page.locator("dialog").count(), (dialogs) => dialogs === 0);
});

test("what has the focus can be seen", async (t) => {
  const { page } = await use.window(t);
  await enter(page, use.url(), fresh("alice"));
  await startDirect(page, fresh("bob"));
  await say(page, "hello");
  const invisible = [];
  for (let presses = 0; presses < 14; presses += 1) {
    await page.keyboard.press("Tab");
    const outline = await page.evaluate(() => {
      const element = /** @type {HTMLElement} */ (document.activeElement);
      if (element === document.body) return "body";
      const field = element.closest(".composer-field");
      const style = getComputedStyle(element);
      const isOutlined = style.outlineStyle !== "none" && Number.parseFloat(style.outlineWidth) >= 2;
      return isOutlined || (field && getComputedStyle(field).boxShadow !== "none") ? "" : element.outerHTML.slice(0, 80);
    });
    if (outline !== "" && outline !== "body") invisible.push(outline);
  }
  assert.deepEqual(invisible, []);
});
