import assert from "node:assert/strict";
import { test } from "node:test";
import { fixture, pause, range, until } from "./fixture.ts";

test("entries that arrive in any order and twice are told once, in order", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"]);
  const alice = await client().started();
  const [e1, e2, e3, e4] = range(1, 4).map((at) => server.store("c", "bob", `${at}`));
  server.deliver(e2!, e1!, e1!, e4!, e3!, e2!, e4!);
  await until(() => alice.entries.length >= 4);
  await pause(20);
  assert.deepEqual(alice.seqs("c"), [1, 2, 3, 4]);
});

test("a gap is filled through sync, and what came after it waits", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"], 5);
  const alice = await client().started();
  for (const at of range(6, 8)) server.store("c", "bob", `${at}`);
  server.post("c", "bob", "nine");
  await until(() => alice.entries.length === 4);
  assert.deepEqual(alice.seqs("c"), [6, 7, 8, 9]);
  const last = server.callsTo("/sync").at(-1)?.body as unknown as { channels: object };
  assert.deepEqual(last.channels, { c: 5 });
});

test("what the server does not keep any more is not waited for", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"], 2);
  server.addChannel("empty", ["alice", "bob"], 2);
  server.resumes = false;
  const alice = await client().started();
  server.closeAll(1011);
  server.removedSeq = 6;
  for (const at of range(3, 8)) server.store("c", "bob", `${at}`);
  for (const at of range(3, 6)) server.store("empty", "bob", `${at}`);
  await until(() => alice.entries.length === 2);
  server.post("empty", "bob", "7");
  await until(() => alice.entries.length === 3);
  assert.deepEqual([alice.seqs("c"), alice.seqs("empty")], [[7, 8], [7]]);
});

test("a long absence is read page by page", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"], 1);
  server.pageLimit = 10;
  const alice = await client().started();
  server.closeAll(1011);
  for (const at of range(2, 96)) server.store("c", "bob", `${at}`);
  await until(() => alice.entries.length === 95);
  assert.deepEqual(alice.seqs("c"), range(2, 96));
});

test("entries that arrive while catching up are neither lost nor doubled nor early", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"], 1);
  server.pageLimit = 7;
  const alice = await client().started();
  server.closeAll(1011);
  for (const at of range(2, 40)) server.store("c", "bob", `${at}`);
  // Live entries between the pages: each answer was read before they were stored.
  server.duringSync = async () => {
    if (server.channels.get("c")!.entries.length >= 60) return;
    server.post("c", "bob", "meanwhile");
    server.post("c", "bob", "meanwhile");
    await pause(3);
  };
  await until(() => alice.entries.length >= 39 && alice.client.state.phase === "online" && alice.client.state.isCaughtUp);
  const last = server.post("c", "bob", "last");
  await until(() => alice.seqs("c").at(-1) === last.seq);
  assert.deepEqual(alice.seqs("c"), range(2, last.seq));
});

test("a channel that somebody opens is known before its first entry", async (t) => {
  const { server, client } = await fixture(t);
  const alice = client();
  const told: string[] = [];
  alice.client.on("channelAdded", ({ id }) => told.push(`channel ${id}`));
  alice.client.on("entries", ({ entries }) => told.push(...entries.map(({ seq }) => `entry ${seq}`)));
  await alice.started();
  server.addChannel("new", ["bob", "alice"]);
  server.post("new", "bob", "hello");
  server.post("new", "bob", "again");
  await until(() => told.length === 3);
  assert.deepEqual(told, ["channel new", "entry 1", "entry 2"]);
});

test("a channel that was opened meanwhile brings what is unread", async (t) => {
  const { server, client } = await fixture(t);
  const alice = await client().started();
  server.closeAll(1011);
  server.addChannel("new", ["alice", "bob"], 3);
  server.channels.get("new")!.members.set("alice", 1);
  await until(() => alice.entries.length === 2);
  assert.deepEqual([alice.added, alice.seqs("new")], [["new"], [2, 3]]);
});

test("a channel that the user is no longer in is told as removed", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"], 3);
  const alice = await client().started();
  server.channels.get("c")!.members.delete("alice");
  server.closeAll(1011);
  await until(() => alice.removed.length === 1);
  assert.equal(alice.client.cursorOf("c"), undefined);
});

test("a server that resumes is not asked for the same by sync", async (t) => {
  const { server, client } = await fixture(t);
  server.resumes = true;
  server.addChannel("c", ["alice", "bob"], 2);
  const alice = await client().started();
  server.closeAll(1011);
  for (const at of range(3, 6)) server.store("c", "bob", `${at}`);
  await until(() => alice.entries.length === 4);
  assert.deepEqual(alice.seqs("c"), range(3, 6));
  assert.equal(server.callsTo("/sync").length, 0);
  assert.deepEqual(server.frames.findLast(({ type }) => type === "resume")?.cursors, { c: 2 });
});

test("what a resume cannot bring is read by sync, and nothing else is", async (t) => {
  const { server, client } = await fixture(t);
  server.resumes = true;
  server.resumeLimit = 5;
  server.pageLimit = 4;
  server.addChannel("near", ["alice", "bob"], 2);
  server.addChannel("far", ["alice", "bob"], 2);
  server.addChannel("left", ["alice", "bob"], 2);
  const alice = await client().started();
  server.closeAll(1011);
  for (const at of range(3, 5)) server.store("near", "bob", `${at}`);
  for (const at of range(3, 12)) server.store("far", "bob", `${at}`);
  server.channels.get("left")!.members.delete("alice");
  server.addChannel("new", ["alice", "bob"], 2);
  // Before `resumed`, as a gateway must not do it; the order is the client's own business all the same.
  server.duringResume = () => server.deliver(server.store("far", "bob", "13"));
  await until(() => alice.entries.length === 3 + 11 + 2 && alice.removed.length === 1);
  assert.deepEqual([alice.seqs("near"), alice.seqs("far"), alice.seqs("new")], [range(3, 5), range(3, 13), [1, 2]]);
  assert.deepEqual([alice.added, alice.removed], [["new"], ["left"]]);
  const asked = server.callsTo("/sync").flatMap(({ body }) => Object.keys((body as { channels: object }).channels));
  assert.ok(!asked.includes("near"), `${asked}`);
});

test("a gateway that cannot resume at the moment is asked again after the next connect", async (t) => {
  const { server, client } = await fixture(t);
  server.resumes = true;
  server.addChannel("c", ["alice", "bob"], 2);
  const alice = await client().started();
  server.resumeError = { code: "overloaded", detail: "Fetch what you missed by POST /sync." };
  server.closeAll(1011);
  server.store("c", "bob", "three");
  await until(() => alice.entries.length === 1);
  assert.equal(server.callsTo("/sync").length, 1);
  assert.deepEqual(alice.errors.filter(({ kind }) => kind === "session"), []);
  server.closeAll(1011);
  server.store("c", "bob", "four");
  await until(() => alice.entries.length === 2);
  assert.equal(server.callsTo("/sync").length, 1, "the session brought it");
});

test("a server that does not resume is asked once, and by sync from then on", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"], 2);
  const alice = await client().started();
  server.closeAll(1011);
  server.store("c", "bob", "missed");
  await until(() => alice.entries.length === 1);
  assert.equal(server.frames.filter(({ type }) => type === "resume").length, 1);
  assert.deepEqual(alice.errors.filter(({ kind }) => kind === "session"), []);
});

test("cursors are kept across a restart, and their entries are not told again", async (t) => {
  const { server, client } = await fixture(t);
  const { MemoryStorage } = await import("../src/index.ts");
  const storage = new MemoryStorage();
  server.addChannel("c", ["alice", "bob"], 2);
  const before = await client({ storage }).started();
  server.post("c", "bob", "three");
  await until(() => before.entries.length === 1);
  await before.client.stop();
  server.store("c", "bob", "four");
  const after = client({ storage });
  await after.started();
  await until(() => after.entries.length === 1);
  assert.deepEqual(after.seqs("c"), [4]);
});

test("what is on the device is acked, once for a burst", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"]);
  await client().started();
  for (const at of range(1, 20)) server.post("c", "bob", `${at}`);
  await until(() => server.frames.some(({ type, seq }) => type === "ack" && seq === 20));
  assert.ok(server.frames.filter(({ type }) => type === "ack").length <= 3);
});
