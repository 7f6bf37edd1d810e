// Prints what a browser has to fetch: the page's built files, and the client alone, bundled and minified.
//
//   node sizes.js DIRECTORY_OF_THE_PAGE
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { build } from "vite";

const directory = process.argv[2] ?? "dist";

/** @param {string} name @param {Buffer[]} files */
function print(name, files) {
  const total = (/** @type {(file: Buffer) => number} */ size) => files.reduce((sum, file) => sum + size(file), 0);
  const raw = total((file) => file.length);
  const gzip = total((file) => gzipSync(file, { level: 9 }).length);
  const brotli = total((file) => brotliCompressSync(file).length);
  console.log(`${name.padEnd(28)}${[raw, gzip, brotli].map((size) => String(size).padStart(9)).join("")}`);
}

const files = readdirSync(directory, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name))
  .toSorted();
console.log(`${"bytes".padEnd(28)}${["raw", "gzip", "brotli"].map((word) => word.padStart(9)).join("")}`);
for (const file of files) print(file.slice(directory.length + 1), [readFileSync(file)]);
print("page, all of it", files.map((file) => readFileSync(file)));

const bundle = await build({
  configFile: false,
  logLevel: "error",
  build: {
    write: false,
    target: "es2022",
    rolldownOptions: { output: { minify: true } },
    lib: { entry: new URL("client/src/index.ts", import.meta.url).pathname, formats: ["es"] },
  },
});
const [output] = Array.isArray(bundle) ? bundle : [bundle];
const code = output && "output" in output ? output.output[0].code : "";
print("@naru/client", [Buffer.from(code)]);
