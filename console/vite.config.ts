import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// The bundle is committed in the Python package, so the same sources must give the same bytes everywhere.
export default defineConfig({
  plugins: [react()],
  base: "/console/",
  build: {
    outDir: "../gateway/console",
    emptyOutDir: true,
    target: "es2022",
    license: { fileName: "NOTICE.md" },
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 2000,
    rollupOptions: {
      output: { manualChunks: (id: string) => (id.includes("node_modules") ? "vendor" : undefined) },
    },
  },
});
