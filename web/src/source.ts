// The program, and beside each line what its operations took.

import { h } from "./dom";
import { count, duration, visible, visibleNodes } from "./format";
import { distributions, type Run } from "./model";
import type { View } from "./view";

interface Line {
  sites: number[];
  calls: number;
  time: number;
  critical: boolean;
}

export function source(view: View, sources: [string, string][]): { element: HTMLElement | null; to: (file: string, line: number) => void } {
  const { run } = view;
  const files = new Map<string, Map<number, Line>>();
  const found = distributions(run);
  const onPath = new Set(run.operations.criticalPath.map((i) => run.operations.site[i]));
  run.sites.forEach((site, number) => {
    if (!site.line) return;
    if (!files.has(site.file)) files.set(site.file, new Map());
    const lines = files.get(site.file)!;
    const line = lines.get(site.line) ?? { sites: [], calls: 0, time: 0, critical: false };
    line.sites.push(number);
    line.calls += run.bySite[number].length;
    line.time += found[number]?.sum ?? 0;
    line.critical ||= onPath.has(number);
    lines.set(site.line, line);
  });
  if (!files.size) return { element: null, to: () => {} };
  const texts = new Map(sources);
  const anchors = new Map<string, HTMLElement>();
  const most = Math.max(...[...files.values()].flatMap((lines) => [...lines.values()].map((line) => line.time)), 1e-9);
  const parts = [...files].map(([file, lines]) => {
    const text = texts.get(file);
    const shown = text === undefined ? [...lines.keys()].sort((a, b) => a - b) : text.split("\n").map((_, index) => index + 1);
    const written = text?.split("\n") ?? [];
    const rows = shown.map((number) => lineOf(view, run, number, lines.get(number), written[number - 1], most, anchors, file));
    const head = h(
      "thead",
      { class: "unseen" },
      h("tr", {}, ...["Time of its calls", "Calls", "Line", "Source"].map((each) => h("th", { scope: "col" }, each))),
    );
    const first = Math.min(...[...lines].filter(([, line]) => line.calls).map(([number]) => number));
    const row = anchors.get(`${file}:${first}`);
    if (row) requestAnimationFrame(() => row.closest(".code")?.scrollTo({ top: Math.max(0, row.offsetTop - 60) }));
    return h(
      "div",
      { class: "file" },
      files.size > 1 || text === undefined ? h("h3", {}, visible(file), text === undefined ? h("small", {}, "its text is not in this report") : null) : null,
      h(
        "div",
        { class: "code", role: "region", tabindex: 0, "aria-label": `Source of ${visible(file)}` },
        h("table", {}, h("caption", { class: "unseen" }, visible(file)), head, h("tbody", {}, ...rows)),
      ),
    );
  });
  const to = (file: string, line: number): void => {
    const row = anchors.get(`${file}:${line}`);
    if (!row) return;
    row.closest("details")?.setAttribute("open", "");
    row.scrollIntoView({ block: "center" });
    row.classList.add("found");
    setTimeout(() => row.classList.remove("found"), 1600);
    row.querySelector("button")?.focus({ preventScroll: true });
  };
  return { element: h("div", {}, ...parts), to };
}

function lineOf(
  view: View, run: Run, number: number, line: Line | undefined, text: string | undefined, most: number,
  anchors: Map<string, HTMLElement>, file: string,
): HTMLElement {
  const time = h("td", { class: "number time" });
  if (line?.calls) {
    const bar = h("i", { class: line.critical ? "critical" : "" });
    bar.style.width = `${(line.time / most) * 100}%`;
    const open = (): void => view.selectSite(line.sites.find((site) => run.bySite[site].length) ?? line.sites[0]);
    time.append(bar, h("button", { type: "button", class: "link", click: open, "aria-label": `Line ${number}: ${duration(line.time)}` }, duration(line.time)));
  }
  const row = h(
    "tr",
    {},
    time,
    h("td", { class: "number calls" }, line?.calls ? `×${count(line.calls)}` : ""),
    h("td", { class: "number line" }, String(number)),
    h("td", { class: "text" }, ...(text === undefined ? line?.sites.map((site) => visible(`${run.sites[site].path} `)) ?? [] : visibleNodes(text || " "))),
  );
  anchors.set(`${file}:${number}`, row);
  return row;
}
