// node check.mjs BROWSER PAGE: uses a page as people do, and prints what it saw as JSON; tests/reports/test_browser.py says what it should.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [executablePath, page] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const saw = { errors: [], requests: [] };

async function opened(width, colorScheme) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme, bypassCSP: false });
  const tab = await context.newPage();
  tab.on("console", (message) => message.type() !== "log" && saw.errors.push(message.text()));
  tab.on("pageerror", (error) => saw.errors.push(String(error)));
  tab.on("request", (request) => request.url().startsWith("file:") || saw.requests.push(request.url()));
  tab.on("dialog", (dialog) => (saw.errors.push(`a dialog: ${dialog.message()}`), dialog.dismiss()));
  await tab.goto(pathToFileURL(page).href);
  await tab.waitForSelector("html[data-ready]");
  return tab;
}

// The rules that fail, of those that are serious: axe is run beside the page, as its policy lets nothing else in.
async function serious(tab) {
  const session = await tab.context().newCDPSession(tab);
  const { frameTree } = await session.send("Page.getFrameTree");
  const { executionContextId } = await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id });
  const run = async (expression) => {
    const { result, exceptionDetails } = await session.send("Runtime.evaluate", { expression, contextId: executionContextId, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };
  await run(`${axe};0`);
  return run(`axe.run(document).then((found) => found.violations.filter((each) => /serious|critical/.test(each.impact))
    .map((each) => each.id + ": " + each.nodes.map((node) => node.target.join(" ") + " " + (node.failureSummary ?? "")).join("; ")))`);
}

const details = (tab) => tab.locator("#details");
const wide = await opened(1280, "light");
saw.light = await wide.evaluate(() => getComputedStyle(document.body).backgroundColor);
saw.title = await wide.title();
saw.axe = await serious(wide);

saw.advice = await wide.locator("#advice tbody tr").first().innerText();
await wide.locator("#advice .link").first().click();
saw.line = await wide.evaluate(() => document.activeElement.getAttribute("aria-label"));

await wide.locator("#operations tbody .link").first().click();
await details(wide).locator(".texts pre").first().waitFor();
saw.details = await details(wide).innerText();
saw.axeDetails = await serious(wide);
await wide.keyboard.press("Escape");
saw.closed = await details(wide).isHidden();

await wide.locator("#graph .box").first().click();
saw.graph = await details(wide).locator("h2").innerText();
await wide.keyboard.press("Escape");

// The canvas says nothing of what is on it, so pictures of it are compared.
const canvas = wide.locator("#timeline .tl-scroll canvas");
const picture = async () => (await canvas.screenshot()).toString("base64");
const before = await picture();
await wide.getByRole("button", { name: "Zoom in" }).click();
await wide.evaluate(() => new Promise(requestAnimationFrame));
saw.zoomed = (await picture()) !== before;
await wide.getByRole("button", { name: "Show all" }).click();

await wide.keyboard.press("/");
saw.focused = await wide.evaluate(() => document.activeElement.id);
await wide.keyboard.type("second");
await wide.waitForFunction(() => /match/.test(document.querySelector("#operations .aside").textContent));
saw.found = await wide.locator("#operations .aside").innerText();
await wide.locator("#search").fill("");
await wide.waitForFunction(() => document.querySelector("#operations .aside").textContent === "");

await canvas.focus();
await wide.keyboard.press("Home");
await wide.keyboard.press("ArrowRight");
saw.stepped = await wide.locator("#timeline [aria-live]").innerText();
await wide.keyboard.press("Enter");
saw.entered = await wide.evaluate(() => document.activeElement.id);
await wide.keyboard.press("Escape");

await wide.locator("#operations tbody .link").first().focus();
await wide.keyboard.press("ArrowDown");
saw.row = await wide.evaluate(() => document.activeElement.closest("tr").getAttribute("aria-rowindex"));
await wide.locator("#operations thead button", { hasText: "Latency" }).click();
saw.sorted = await wide.locator("#operations thead [aria-sort]").innerText();

await wide.locator("#source .time button").first().click();
saw.source = await details(wide).locator("h2").innerText();
await wide.keyboard.press("Escape");
await wide.getByRole("button", { name: "Theme" }).click();
await wide.getByRole("button", { name: "Theme" }).click();
saw.switched = await wide.evaluate(() => getComputedStyle(document.body).backgroundColor);

const narrow = await opened(400, "dark");
saw.dark = await narrow.evaluate(() => getComputedStyle(document.body).backgroundColor);
saw.overflow = await narrow.evaluate(() => document.documentElement.scrollWidth - innerWidth);
saw.axeDark = await serious(narrow);
await browser.close();
console.log(JSON.stringify(saw));
