import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const hub = process.env.TANDEM_URL ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [react()],
  build: {
    // Fonts and images stay files: the CSP of the portal allows no data: URLs.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 700,
  },
  server: {
    // The hub compares Origin with Host before it takes a change: both must be its own.
    proxy: {
      "/api": {
        target: hub,
        changeOrigin: true,
        headers: { origin: hub },
      },
    },
  },
  test: {
    include: ["src/**/*.test.{ts,tsx}"],
  },
});
