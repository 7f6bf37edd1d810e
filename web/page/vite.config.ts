import { defaultClientConditions, defineConfig } from "vite";

// While developing, everything but the page itself is a Naru's: `cargo run` in another terminal.
const server = process.env.NARU_URL ?? "http://127.0.0.1:8080";
const proxied = ["/channels", "/send", "/sync", "/connect", "/devices", "/try", "/openapi.json"];

export default defineConfig({
  // The client's source, so that there is nothing to build first.
  resolve: { conditions: ["naru-source", ...defaultClientConditions] },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    // Browsers of 2024: they have `light-dark()` and `findLast`.
    target: ["chrome123", "firefox121", "safari17.5"],
    // A data URL or an inline script would need a looser Content-Security-Policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      output: {
        entryFileNames: "assets/[name]-[hash].js",
        chunkFileNames: "assets/[name]-[hash].js",
        assetFileNames: "assets/[name]-[hash][extname]",
      },
    },
  },
  server: { port: 5173, proxy: Object.fromEntries(proxied.map((path) => [path, server])) },
});
