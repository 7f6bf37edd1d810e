// The server under test: a standalone of our own, or whatever NARU_E2E_URL names.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const START_MS = 30_000;
const STOP_MS = 15_000;

/** @typedef {{ url: string, stop: () => Promise<void> }} Server */

/** @returns {Promise<Server>} */
export async function startServer() {
  const running = process.env.NARU_E2E_URL;
  if (running) return { url: running.replace(/\/$/, ""), stop: async () => {} };
  const target = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL("../../../target", import.meta.url));
  const binary = process.env.NARU_STANDALONE ?? join(target, "debug", "standalone");
  const data = await mkdtemp(join(tmpdir(), "naru-e2e-"));
  const url = `http://127.0.0.1:${await freePort()}`;
  const options = ["--data", data, "--listen", new URL(url).host, "--ws-listen", `127.0.0.1:${await freePort()}`];
  const child = spawn(binary, options, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += text));
  const ended = new Promise((resolve) => child.once("close", resolve));
  const failed = new Promise((_, reject) => {
    child.once("error", reject);
    child.once("close", (code) => reject(new Error(`${binary} has ended (${code}):\n${output}`)));
  });
  let hasFailed = false;
  failed.catch(() => (hasFailed = true));
  await Promise.race([failed, answers(`${url}/try/config`, () => hasFailed)]);
  return {
    url,
    async stop() {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
      await ended;
      clearTimeout(timer);
      await rm(data, { recursive: true, force: true });
    },
  };
}

/** @param {string} url @param {() => boolean} isInVain */
async function answers(url, isInVain) {
  const deadline = Date.now() + START_MS;
  while (Date.now() < deadline && !isInVain()) {
    const response = await fetch(url).catch(() => undefined);
    if (response?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${url} does not answer within ${START_MS} ms`);
}

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      const port = typeof address === "object" && address ? address.port : 0;
      probe.close(() => resolve(port));
    });
  });
}
