import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../src/backoff.ts";
import { ChannelLog } from "../src/channel_log.ts";
import type { Entry } from "../src/index.ts";
import { readClaims } from "../src/index.ts";
import { range } from "./fixture.ts";
import { makeToken } from "./tokens.ts";

const entry = (seq: number) => ({ seq }) as Entry;
/** mulberry32: the same numbers in each run. */
function seeded(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

test("back-off: every delay lies below a bound that doubles up to a limit, and they spread", () => {
  const backoff = new Backoff({ firstMs: 500, longestMs: 30_000 }, seeded(7));
  const delays = range(0, 199).map(() => backoff.nextDelayMs());
  delays.forEach((delay, at) => assert.ok(delay >= 0 && delay <= Math.min(30_000, 500 * 2 ** Math.min(at, 30))));
  const late = delays.slice(10);
  assert.ok(Math.min(...late) < 3_000 && Math.max(...late) > 27_000, "over the whole range");
  backoff.reset();
  assert.ok(backoff.nextDelayMs() <= 500);
});

test("a log lets a random shuffle with duplicates through in order, once", () => {
  for (const seed of range(1, 200)) {
    const random = seeded(seed);
    const log = new ChannelLog(0);
    const out: number[] = [];
    const arriving = range(1, 60).flatMap((seq) => (random() < 0.3 ? [seq, seq] : [seq]));
    arriving.sort(() => random() - 0.5);
    for (const seq of arriving) out.push(...log.offer([entry(seq)]).map((one) => one.seq));
    assert.deepEqual(out, range(1, 60), `seed ${seed}`);
    assert.equal(log.hasGap, false);
  }
});

test("a log holds back a bounded number, and loses nothing when the rest comes again", () => {
  const log = new ChannelLog(0);
  for (const seq of range(2, 5_000)) assert.deepEqual(log.offer([entry(seq)]), []);
  assert.equal(log.hasGap, true);
  const passed = log.offer(range(1, 5_000).map(entry));
  assert.deepEqual(passed.map(({ seq }) => seq), range(1, 5_000));
  assert.equal(log.hasGap, false);
});

test("claims are read from a token, and nothing from what is none", () => {
  assert.equal(readClaims(makeToken("알리스")).sub, "알리스");
  for (const text of ["", "a.b.c", "opaque", "a.bnVsbA.c"]) assert.deepEqual(readClaims(text), {});
});
