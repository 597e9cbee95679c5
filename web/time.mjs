// node time.mjs BROWSER PAGE: how long a page takes to load, and to answer clicks and a search, in ms, as JSON.
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [executablePath, page] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const tab = await browser.newPage({ viewport: { width: 1280, height: 900 } });
const errors = [];
tab.on("pageerror", (error) => errors.push(String(error)));
const began = performance.now();
await tab.goto(pathToFileURL(page).href);
await tab.waitForSelector("html[data-ready]", { timeout: 120_000 });
await tab.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done))));
const load = performance.now() - began;
const clicks = await tab.evaluate(async () => {
  const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const times = [];
  for (const link of [...document.querySelectorAll("#operations tbody .link")].slice(0, 20)) {
    const began = performance.now();
    document.querySelector(`[data-operation="${link.dataset.operation}"]`).click();
    while (!document.querySelector("#details .texts > *")) await new Promise((done) => setTimeout(done));
    await painted();
    times.push(performance.now() - began);
  }
  return times;
});
const search = await tab.evaluate(async () => {
  const box = document.getElementById("search");
  box.value = "7]";
  const began = performance.now();
  box.dispatchEvent(new Event("input"));
  while (!document.querySelector("#operations .aside").textContent) await new Promise((done) => setTimeout(done));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - began;
});
await browser.close();
clicks.sort((a, b) => a - b);
console.log(JSON.stringify({ load, click: clicks[clicks.length >> 1], slowest: clicks.at(-1), search, errors }));
