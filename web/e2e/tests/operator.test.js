import assert from "node:assert/strict";
import { test } from "node:test";
import { contents, enter, eventually, fresh, say, startDirect } from "../support/browser.js";
import { useBrowser } from "../support/fixture.js";

const use = useBrowser();

test("the operator view moves with what happens", async (t) => {
  const operator = await use.window(t);
  const chat = await use.window(t);
  await operator.page.goto(`${use.url()}#/operator`);
  /** @param {string} title */
  const headline = (title) =>
    operator.page.getByRole("region", { name: title, exact: true }).locator(".headline").getAttribute("data-value").then(Number);
  const line = () => operator.page.getByRole("region", { name: "Sends" }).locator("path.line").first().getAttribute("d");
  await eventually(() => operator.page.locator(".legend .value").count(), (count) => count >= 3);
  const sessionsBefore = await headline("Sessions");

  await enter(chat.page, use.url(), fresh("alice"));
  await startDirect(chat.page, fresh("bob"));
  await eventually(() => headline("Sessions"), (sessions) => sessions >= sessionsBefore + 1);
  let sends = 0;
  await eventually(
    async () => {
      await say(chat.page, `message ${(sends += 1)}`);
      return headline("Sends");
    },
    (rate) => rate > 0,
  );
  await eventually(() => contents(chat.page), (seen) => seen.length === sends);
  const drawn = await line();
  assert.match(drawn ?? "", /^M.*L/);
  await eventually(line, (now) => now !== drawn);
});
