// One operation, or all of one site: what it asked, what it was answered, and how long that took.

import { h } from "./dom";
import { count, duration, known, visible, visibleNodes } from "./format";
import { distribution, distributions, textsOf, type Part, type Run } from "./model";
import type { View } from "./view";

const LONGEST = 40_000;
const MOST_LISTED = 50;

export function details(view: View, toSource: (file: string, line: number) => void): HTMLElement {
  const title = h("h2", { id: "details-title" });
  const content = h("div", { class: "details-content" });
  let before: Element | null = null;
  const close = (): void => {
    view.select(null);
    if (before instanceof HTMLElement) before.focus();
  };
  const element = h(
    "aside",
    { id: "details", tabindex: -1, "aria-labelledby": "details-title", hidden: true },
    h(
      "div",
      { class: "details-head" },
      title,
      h("button", { type: "button", class: "close", "aria-label": "Close details", click: close }, "×"),
    ),
    content,
  );
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !element.hidden) close();
  });
  view.listen((what) => {
    if (what !== "selection") return;
    const { run, operation, site } = view;
    if (element.hidden) before = document.activeElement;
    element.hidden = site === null;
    document.body.classList.toggle("with-details", site !== null);
    if (site === null) return;
    element.scrollTop = 0;
    if (operation === null) {
      title.textContent = visible(run.sites[site].path);
      content.replaceChildren(...ofSite(view, run, site, toSource));
    } else {
      title.textContent = visible(run.operations.path[operation]);
      content.replaceChildren(...ofOperation(view, run, operation, toSource));
    }
  });
  return element;
}

const fact = (name: string, ...value: (Node | string)[]): HTMLElement => h("div", {}, h("dt", {}, name), h("dd", {}, ...value));

function place(run: Run, site: number, toSource: (file: string, line: number) => void): HTMLElement {
  const { file, line } = run.sites[site];
  const text = visible(`${file.split("/").at(-1)}:${line}`);
  return h("button", { type: "button", class: "link", title: visible(file), click: () => toSource(file, line) }, text);
}

function ofOperation(view: View, run: Run, i: number, toSource: (file: string, line: number) => void): HTMLElement[] {
  const { operations } = run;
  const site = operations.site[i];
  const facts = h(
    "dl",
    { class: "pairs" },
    fact("Operation", run.sites[site].operation),
    fact("Source", place(run, site, toSource)),
    fact("Backend", visible(operations.backend(i))),
    fact("Outcome", h("span", { class: operations.failed(i) ? "bad" : "" }, operations.outcome(i))),
    fact("Started", duration(operations.began[i])),
    fact("Waited", duration(operations.waited(i))),
    fact("Latency", duration(operations.received[i] - operations.sent[i])),
  );
  const first = operations.first(i);
  if (first !== null) facts.append(fact("First part", duration(first - operations.sent[i])));
  const service = operations.service(i);
  if (service !== null) facts.append(fact("Service", duration(service)));
  facts.append(fact("Tokens", `${known(operations.input(i))} in, ${known(operations.output(i))} out`));
  if (operations.critical[i]) {
    const at = operations.criticalPath.indexOf(i);
    const next = operations.criticalPath[at + 1];
    const previous = operations.criticalPath[at - 1];
    const go = (to: number | undefined, text: string): Node | string =>
      to === undefined ? "" : h("button", { type: "button", class: "link", click: () => view.select(to) }, text);
    facts.append(
      fact("Critical path", `${count(at + 1)} of ${count(operations.criticalPath.length)} `, go(previous, "← previous"), " ", go(next, "next →")),
    );
  }
  const found: HTMLElement[] = [facts];
  const all = run.bySite[site];
  if (all.length > 1) {
    found.push(
      h("p", {}, h("button", { type: "button", class: "link", click: () => view.selectSite(site) }, `One of ${count(all.length)} at this place`)),
    );
  }
  if (operations.hasEarlier(i)) found.push(attempts(run, i));
  const texts = h("div", { class: "texts", "aria-live": "polite" });
  found.push(texts);
  if (operations.texts(i).length) {
    textsOf(run, i).then(
      (parts) => view.operation === i && texts.replaceChildren(...parts.map((part) => text(part, operations.hasEarlier(i)))),
      (error) => texts.replaceChildren(h("p", { class: "bad" }, String(error))),
    );
  } else {
    const why = run.redacts ? "Prompt and answer are left out of this report." : "Prompt and answer were not recorded.";
    texts.append(h("p", { class: "aside" }, why));
  }
  return found;
}

function attempts(run: Run, i: number): HTMLElement {
  const rows = run.operations.attempts(i).map((attempt, number) =>
    h(
      "tr",
      {},
      h("th", { scope: "row", class: "number" }, count(number + 1)),
      h("td", { class: "number" }, duration(attempt.sent)),
      h("td", { class: "number" }, duration(attempt.received - attempt.sent)),
      h("td", { class: attempt.outcome === "ok" ? "" : "bad" }, attempt.outcome),
    ),
  );
  const heads = ["Attempt", "Sent", "Latency", "Outcome"].map((each) => h("th", { scope: "col" }, each));
  return h("table", { class: "plain attempts" }, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows));
}

function text([attempt, name, whole]: Part, several: boolean): HTMLElement {
  const heading = h("h3", {}, visible(name), h("small", {}, `${several ? `attempt ${attempt + 1} · ` : ""}${count(whole.length)} characters`));
  const pre = h("pre", { dir: "auto", tabindex: 0, "aria-label": visible(name) }, ...visibleNodes(whole.slice(0, LONGEST)));
  const section = h("section", {}, heading, pre);
  if (whole.length > LONGEST) {
    const more = h("button", {
      type: "button",
      click: () => {
        pre.replaceChildren(...visibleNodes(whole));
        more.remove();
      },
    }, `Show all ${count(whole.length)} characters`);
    section.append(more);
  }
  return section;
}

function ofSite(view: View, run: Run, site: number, toSource: (file: string, line: number) => void): HTMLElement[] {
  const { operations } = run;
  const all = run.bySite[site];
  const found = distributions(run)[site];
  const facts = h(
    "dl",
    { class: "pairs" },
    fact("Operation", run.sites[site].operation),
    fact("Source", place(run, site, toSource)),
    fact("Done", `${count(all.length)} of ${count(Math.max(all.length, run.sites[site].opened))}`),
  );
  if (!found) return [facts, h("p", { class: "aside" }, "It does not wait, so nothing of it is timed.")];
  const failed = all.filter((i) => operations.failed(i)).length;
  if (failed) facts.append(fact("Failed", h("span", { class: "bad" }, count(failed))));
  const waits = distribution(Float64Array.from(all, (i) => operations.waited(i)))!;
  facts.append(fact("Together", duration(found.sum)), fact("Waited", `${duration(waits.p50)} in the median`));
  const slowest = all.slice().sort((a, b) => operations.latency[b] - operations.latency[a]).slice(0, MOST_LISTED);
  const list = h("ol", { class: "slowest" });
  for (const i of slowest) {
    list.append(
      h(
        "li",
        {},
        h("button", { type: "button", class: "link", click: () => view.select(i) }, visible(operations.path[i])),
        h("span", { class: "number" }, duration(operations.latency[i])),
      ),
    );
  }
  const rest = all.length > MOST_LISTED ? h("p", { class: "aside" }, `${count(all.length - MOST_LISTED)} more are in the table.`) : null;
  const head = h("h3", {}, "Slowest first");
  return [facts, histogram(Float64Array.from(all, (i) => operations.latency[i])), head, list, ...(rest ? [rest] : [])];
}

function histogram(values: Float64Array): HTMLElement {
  const found = distribution(values)!;
  const bins = 32;
  const size = (found.most - found.least) / bins || 1;
  const counts = new Array<number>(bins).fill(0);
  for (const value of values) counts[Math.min(bins - 1, Math.floor((value - found.least) / size))]++;
  const most = Math.max(...counts);
  const bars = counts.map((n) => {
    const bar = h("i", {});
    bar.style.height = `${n ? Math.max(4, (n / most) * 100) : 0}%`;
    return bar;
  });
  const said = `Latencies from ${duration(found.least)} to ${duration(found.most)}, median ${duration(found.p50)}, 95th percentile ${duration(found.p95)}`;
  return h(
    "div",
    { class: "histogram", role: "img", "aria-label": said },
    h("div", { class: "bars" }, ...bars),
    h(
      "div",
      { class: "caption" },
      h("span", {}, duration(found.least)), h("span", {}, `p50 ${duration(found.p50)} · p95 ${duration(found.p95)}`), h("span", {}, duration(found.most)),
    ),
  );
}
