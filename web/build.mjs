// Makes src/apxm/reports/page/report.{js,css} of what is here; with --check it only says whether they are what it makes.
import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const target = new URL("../src/apxm/reports/page/", import.meta.url);
const license = (name) => `${name}\n\n${readFileSync(new URL(`node_modules/${name}/LICENSE`, import.meta.url), "utf8").trim()}`;
const notice = ["@dagrejs/dagre", "@dagrejs/graphlib"].map(license).join("\n\n");
const made = await build({
  entryPoints: { report: "src/main.ts", "report-style": "src/style.css" },
  outdir: "out",
  bundle: true,
  minify: true,
  charset: "utf8",
  format: "iife",
  target: ["es2022", "chrome110", "firefox115", "safari16.4"],
  legalComments: "none",
  banner: { js: `/* This holds parts of\n\n${notice}\n*/` },
  write: false,
});
let differs = false;
for (const file of made.outputFiles) {
  const name = file.path.endsWith(".css") ? "report.css" : "report.js";
  if (/<\/(script|style)|<!--/i.test(file.text)) throw new Error(`${name} would end the element that it stands in`);
  const path = new URL(name, target);
  if (!process.argv.includes("--check")) writeFileSync(path, file.text);
  else if (readFileSync(path, "utf8") !== file.text) {
    console.error(`${name} is not what web/ gives: run make web`);
    differs = true;
  }
}
process.exit(differs ? 1 : 0);
