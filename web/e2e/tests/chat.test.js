import assert from "node:assert/strict";
import { test } from "node:test";
import { contents, enter, eventually, fresh, say, startDirect } from "../support/browser.js";
import { useBrowser } from "../support/fixture.js";

const use = useBrowser();
/** @param {number} first @param {number} last */
const numbered = (first, last) => Array.from({ length: last - first + 1 }, (_, at) => `message ${first + at}`);

/** Two people in a direct channel, both looking at it. @param {import("node:test").TestContext} t */
async function twoPeople(t) {
  const [alice, bob] = [await use.window(t), await use.window(t)];
  const names = { alice: fresh("alice"), bob: fresh("bob") };
  await enter(alice.page, use.url(), names.alice);
  await enter(bob.page, use.url(), names.bob);
  await startDirect(alice.page, names.bob);
  await say(alice.page, "hello");
  await bob.page.getByRole("link", { name: new RegExp(names.alice) }).click();
  await eventually(() => contents(bob.page), (seen) => seen.length === 1);
  return { alice, bob, names };
}

test("two windows chat: live, both ways, with unread counts and read marks", async (t) => {
  const { alice, bob, names } = await twoPeople(t);
  await say(bob.page, "hello yourself");
  await eventually(() => contents(alice.page), (seen) => seen.length === 2);
  assert.deepEqual(await contents(alice.page), ["hello", "hello yourself"]);
  // Bob has it open and the focus, so it is read.
  await alice.page.locator(".message.is-own .state.is-read").waitFor();
  // And when he looks elsewhere it is counted.
  await bob.page.goto(`${use.url()}#/`);
  await bob.page.getByText("Choose a conversation").waitFor();
  await say(alice.page, "are you there?");
  await bob.page.getByRole("link", { name: new RegExp(`${names.alice}.*1 unread`, "s") }).waitFor();
  await eventually(() => bob.page.title(), (title) => title === "(1) Naru");
  await bob.page.getByRole("link", { name: new RegExp(names.alice) }).click();
  await bob.page.locator(".unread-mark").waitFor();
  await eventually(() => bob.page.title(), (title) => title === "Naru");
});

test("sent, delivered, read: each is shown from the moment it is true, and not before", async (t) => {
  const { alice, bob, names } = await twoPeople(t);
  const last = alice.page.locator(".message.is-own").last().locator(".state");
  /** @param {string} state */
  const isShown = (state) => eventually(() => last.getAttribute("title"), (title) => title === state);
  await isShown("Read");
  // Bob looks elsewhere, and then has no network.
  await bob.page.goto(`${use.url()}#/`);
  await bob.page.getByText("Choose a conversation").waitFor();
  await bob.context.setOffline(true);
  await bob.page.getByText("Connection lost").waitFor();
  await say(alice.page, "where are you?");
  await isShown("Sent");

  const link = (/** @type {number} */ unread) =>
    bob.page.getByRole("link", { name: new RegExp(`${names.alice}.*${unread} unread`, "s") });
  await bob.context.setOffline(false);
  await link(1).waitFor();
  await isShown("Delivered");
  // The next one comes live.
  await say(alice.page, "still there?");
  await link(2).waitFor();
  await isShown("Delivered");
  assert.equal(await alice.page.locator(".message.is-own .state.is-read").count(), 1, "nobody has looked at it");

  await link(2).click();
  await isShown("Read");
  assert.equal(await alice.page.locator(".message.is-own .state.is-read").count(), 3);
});

test("a window that was offline while 50 messages came shows each once, in order", async (t) => {
  const { alice, bob } = await twoPeople(t);
  await bob.context.setOffline(true);
  await bob.page.getByText("Connection lost").waitFor();
  for (const text of numbered(1, 50)) await say(alice.page, text);
  await eventually(() => contents(alice.page), (seen) => seen.length === 51);
  assert.equal((await contents(bob.page)).length, 1);
  // What is written meanwhile waits.
  await say(bob.page, "from the tunnel");
  await bob.page.locator(".message.is-waiting").waitFor();

  await bob.context.setOffline(false);
  await eventually(() => contents(bob.page), (seen) => seen.length >= 52);
  await bob.page.getByText("Connected again").waitFor();
  const seen = await contents(bob.page);
  assert.deepEqual(seen.slice(0, 51), ["hello", ...numbered(1, 50)]);
  assert.deepEqual(seen.slice(51), ["from the tunnel"]);
  await eventually(() => contents(alice.page), (all) => all.length === 52);
  assert.deepEqual(await contents(alice.page), seen);
});

test("a reload in the middle of sending loses nothing and doubles nothing", async (t) => {
  const { alice, bob } = await twoPeople(t);
  // Answers are lost now and then, and slow always: some messages are stored when the page goes, some are not.
  let calls = 0;
  await alice.context.route("**/send/message", async (route) => {
    calls += 1;
    const response = await route.fetch().catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 40));
    if (response && calls % 3 !== 0) await route.fulfill({ response }).catch(() => {});
    else await route.abort().catch(() => {});
  });
  for (const text of numbered(1, 20)) await say(alice.page, text);
  await eventually(async () => calls, (count) => count >= 6);
  await alice.page.reload();
  await alice.page.locator(".composer").waitFor();
  for (const text of numbered(21, 25)) await say(alice.page, text);
  await eventually(() => contents(bob.page), (seen) => seen.length >= 26, 60_000);
  await eventually(() => alice.page.locator(".message.is-waiting").count(), (count) => count === 0);
  assert.deepEqual(await contents(bob.page), ["hello", ...numbered(1, 25)]);
  assert.deepEqual(await contents(alice.page), ["hello", ...numbered(1, 25)]);
  // The faults were the test's own.
  await alice.context.unroute("**/send/message");
});

test("what is stored between the reading of the history and that of the channels is shown", async (t) => {
  const { alice, bob } = await twoPeople(t);
  /** @param {number} ms @returns {(route: import("playwright-core").Route) => Promise<void>} */
  const late = (ms) => async (route) => {
    await new Promise((resolve) => setTimeout(resolve, ms));
    await route.continue().catch(() => {});
  };
  // The list, and with it the cursor, comes after the message; the session, which would bring it live, later still.
  await bob.context.route("**/channels?*", late(1_000));
  await bob.context.route("**/connect", late(2_000));
  await bob.page.reload();
  await eventually(() => contents(bob.page), (seen) => seen.length === 1);
  await say(alice.page, "in between");
  await eventually(() => contents(bob.page), (seen) => seen.length === 2);
  await say(alice.page, "after");
  await eventually(() => contents(bob.page), (seen) => seen.length === 3);
  assert.deepEqual(await contents(bob.page), ["hello", "in between", "after"]);
});

test("history comes by scrolling up, and what is looked at stays where it is", async (t) => {
  const { alice, bob } = await twoPeople(t);
  for (const text of numbered(1, 120)) await say(alice.page, text);
  await eventually(() => contents(bob.page), (seen) => seen.length === 121, 40_000);
  await bob.page.reload();
  await eventually(() => contents(bob.page), (seen) => seen.length >= 50);
  const first = bob.page.locator(".message[data-seq]").first();
  assert.notEqual(await first.getAttribute("data-seq"), "1");
  const seq = await first.getAttribute("data-seq");
  const watched = bob.page.locator(`.message[data-seq="${seq}"]`);
  // To a place from which it is asked for more, but with something to look at.
  await bob.page.locator(".messages").evaluate((area) => (area.scrollTop = 400));
  const before = await watched.evaluate((element) => element.getBoundingClientRect().top);
  await eventually(() => bob.page.locator(".message[data-seq]").count(), (count) => count >= 100);
  const after = await watched.evaluate((element) => element.getBoundingClientRect().top);
  assert.ok(Math.abs(after - before) < 2, `${before} → ${after}`);
  await eventually(
    async () => {
      await bob.page.locator(".messages").evaluate((area) => (area.scrollTop = 0));
      return contents(bob.page);
    },
    (seen) => seen.length === 121,
  );
  await bob.page.getByText("This is where it begins").waitFor();
});

test("what came while nobody looked is marked, and read only when it has been in sight", async (t) => {
  const { alice, bob, names } = await twoPeople(t);
  await bob.page.goto(`${use.url()}#/`);
  await bob.page.getByText("Choose a conversation").waitFor();
  for (const text of numbered(1, 40)) await say(alice.page, text);
  const link = bob.page.getByRole("link", { name: new RegExp(names.alice) });
  await bob.page.getByRole("link", { name: new RegExp(`${names.alice}.*40 unread`, "s") }).waitFor();
  await link.click();
  const mark = bob.page.locator(".unread-mark");
  await mark.waitFor();
  assert.ok(await mark.evaluate((element) => element.getBoundingClientRect().top > 0), "in sight");
  assert.equal(await bob.page.title(), "(40) Naru");
  await bob.page.getByRole("button", { name: /40 new/ }).click();
  await eventually(() => bob.page.title(), (title) => title === "Naru");
  await alice.page.locator(".message.is-own .state.is-read").nth(40).waitFor();
});

test("a group: renamed, joined, left", async (t) => {
  const { alice, bob, names } = await twoPeople(t);
  await alice.page.getByRole("button", { name: "New conversation" }).click();
  await alice.page.getByText("Group", { exact: true }).click();
  await alice.page.getByLabel("Name of the group").fill("Ferry crew");
  await alice.page.getByLabel(/Who else/).fill(names.bob);
  await alice.page.getByRole("button", { name: "Start" }).click();
  await alice.page.getByRole("heading", { level: 1, name: "Ferry crew" }).waitFor();
  await say(alice.page, "all aboard");
  await bob.page.getByRole("link", { name: /Ferry crew/ }).click();
  await bob.page.getByText("all aboard", { exact: true }).first().waitFor();

  await alice.page.getByRole("button", { name: "Members", exact: true }).click();
  await alice.page.getByLabel("Name", { exact: true }).fill("Night ferry");
  await alice.page.getByRole("button", { name: "Rename" }).click();
  await bob.page.getByRole("heading", { level: 1, name: "Night ferry" }).waitFor();
  await alice.page.getByLabel("Add people").fill(fresh("carol"));
  await alice.page.getByRole("button", { name: "Add", exact: true }).click();
  await bob.page.getByText(/added carol/).waitFor();
  await bob.page.getByText("3 members").first().waitFor();

  await bob.page.getByRole("button", { name: "Members", exact: true }).click();
  await bob.page.getByRole("button", { name: "Leave the group" }).click();
  await bob.page.getByRole("button", { name: "Leave", exact: true }).click();
  await bob.page.getByText("Choose a conversation").waitFor();
  assert.equal(await bob.page.getByRole("link", { name: /Night ferry/ }).count(), 0);
  await alice.page.getByText(`${names.bob} left`).waitFor();
});

test("what somebody writes is text and nothing else", async (t) => {
  const { alice, bob } = await twoPeople(t);
  const nasty = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script> &amp; javascript:alert(1)`;
  await say(alice.page, nasty);
  await eventually(() => contents(bob.page), (seen) => seen.length === 2);
  assert.equal((await contents(bob.page))[1], nasty);
  assert.equal(await bob.page.locator(".messages img, .messages script").count(), 0);
  assert.notEqual(await bob.page.title(), "owned");
});
