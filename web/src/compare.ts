// Two runs beside each other: their figures, what changed at each place, and what was answered otherwise.

import { $, h, section } from "./dom";
import { count, duration, known, percent, plural, visible, visibleNodes } from "./format";
import { textsOf, type Change, type Model, type Run } from "./model";
import { moment } from "./summary";
import { themes } from "./themes";
import { timeline } from "./timeline";
import { View } from "./view";

const MOST_LISTED = 200;
const NAMES = ["A", "B"];

export function compare(model: Model): void {
  const [a, b] = model.runs;
  const views = model.runs.map((run) => new View(run));
  const end = Math.max(a.figures.duration, b.figures.duration);
  const panel = details(model);
  const title = a.name === b.name ? a.name : `${a.name} and ${b.name}`;
  const parts = [
    h("header", {}, h("div", { class: "title" }, h("h1", {}, visible(title)), h("span", { class: "chip" }, "two runs"), themes(views[0])), h("ul", { class: "runs" }, ...model.runs.map(named))),
    section("figures", "What changed", figures(a, b)),
    section("places", "Where", places(model.changes!, panel.show)),
    ...model.runs.map((run, side) => (run.operations.count ? section(`timeline-${side}`, `Timeline of ${NAMES[side]}`, timeline(views[side], end)) : null)),
  ].filter((each) => each !== null);
  views.forEach((view, side) =>
    view.listen((what) => {
      if (what === "selection" && view.operation !== null) panel.operation(view.run.operations.path[view.operation]);
      if (what === "theme" && side === 0) views[1].tell("theme");
    }),
  );
  $("page").replaceChildren(...parts, h("footer", {}, `made by apxm ${model.version}`));
  document.body.append(panel.element);
}

function named(run: Run, side: number): HTMLElement {
  const when = run.began === null ? "" : ` · ${moment(run.began)}`;
  const notes = run.notes.map((note) => h("div", { class: "aside" }, note));
  return h(
    "li",
    {},
    h("b", {}, NAMES[side]), h("span", { class: `status ${run.status}` }, run.status),
    h("span", { class: "facts" }, `run ${run.id}${when}${run.backends.some((each) => each.simulated) ? " · simulated" : ""}`), ...notes,
  );
}

type Row = [name: string, a: number | null, b: number | null, shown: (n: number) => string];

function figures(a: Run, b: Run): HTMLElement {
  const [f, g] = [a.figures, b.figures];
  const times = (n: number): string => `${n.toFixed(2)}×`;
  const money = (n: number): string => n.toPrecision(4);
  const rows: Row[] = [
    ["Duration", f.duration, g.duration, duration],
    ["Work T1", f.t1, g.t1, duration],
    ["Span T∞", f.t_inf, g.t_inf, duration],
    ["Speedup", f.speedup, g.speedup, times],
    ["In flight at most", f.most, g.most, count],
    ["Model calls", f.calls, g.calls, count],
    ["Retries", f.retries, g.retries, count],
    ["Failed", f.failed, g.failed, count],
    ["Input tokens", f.input, g.input, count],
    ["Output tokens", f.output, g.output, count],
    ["Cost", f.cost, g.cost, money],
  ];
  const cell = (n: number | null, shown: (n: number) => string): HTMLElement => h("td", { class: "number" }, n === null ? "–" : shown(n));
  const body = rows.map(([name, x, y, shown]) =>
    h("tr", {}, h("th", { scope: "row" }, name), cell(x, shown), cell(y, shown), h("td", { class: "number" }, difference(x, y, shown)), h("td", { class: "number aside" }, share(x, y))),
  );
  const head = ["", "A", "B", "Change", ""].map((each) => (each ? h("th", { scope: "col", class: "number" }, each) : h("td", {})));
  return h("table", { class: "plain" }, h("caption", { class: "unseen" }, "Figures of both runs"), h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...body));
}

function difference(x: number | null, y: number | null, shown: (n: number) => string): string {
  if (x === null || y === null || x === y) return "–";
  return (y > x ? "+" : "−") + shown(Math.abs(y - x));
}

const share = (x: number | null, y: number | null): string =>
  x && y !== null && x !== y ? `${y > x ? "+" : "−"}${percent(Math.abs(y / x - 1))}` : "";

function places(changes: Change[], show: (change: Change) => void): HTMLElement {
  const heads: [string, boolean][] = [
    ["Place", false], ["Kind", false], ["Calls A", true], ["Calls B", true], ["Time A", true], ["Time B", true], ["Change", true], ["Tokens A", true], ["Tokens B", true], ["Other answers", true],
  ];
  const rows = changes.map((change) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, h("button", { type: "button", class: "link", title: visible(change.path), click: () => show(change) }, visible(change.path))),
      h("td", {}, change.operation),
      ...change.calls.map((n) => h("td", { class: "number" }, count(n))),
      ...change.time.map((ms) => h("td", { class: "number" }, duration(ms))),
      h("td", { class: "number" }, difference(change.time[0], change.time[1], duration)),
      ...change.tokens.map((n) => h("td", { class: "number" }, known(n))),
      h("td", { class: "number" }, change.number ? count(change.number) : "–"),
    ),
  );
  const head = heads.map(([name, numeric]) => h("th", { scope: "col", class: numeric ? "number" : "" }, name));
  return h(
    "div",
    { class: "rows limited", role: "region", tabindex: 0, "aria-label": "What changed at each place" },
    h("table", { class: "operations changes" }, h("caption", { class: "unseen" }, "What changed at each place"), h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows)),
  );
}

interface Panel {
  element: HTMLElement;
  show: (change: Change) => void;
  operation: (path: string) => void;
}

function details(model: Model): Panel {
  const [a, b] = model.runs;
  const numbers = model.runs.map((run) => new Map(run.operations.path.map((path, i) => [path, i])));
  const changed = new Set(model.changes!.flatMap((change) => change.changed));
  const title = h("h2", { id: "details-title" });
  const content = h("div", { class: "details-content" });
  let before: Element | null = null;
  const close = (): void => {
    element.hidden = true;
    document.body.classList.remove("with-details");
    if (before instanceof HTMLElement) before.focus();
  };
  const element = h(
    "aside",
    { id: "details", tabindex: -1, "aria-labelledby": "details-title", hidden: true },
    h("div", { class: "details-head" }, title, h("button", { type: "button", class: "close", "aria-label": "Close details", click: close }, "×")),
    content,
  );
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !element.hidden) close();
  });
  const open = (name: string, ...parts: HTMLElement[]): void => {
    if (element.hidden) before = document.activeElement;
    element.hidden = false;
    document.body.classList.add("with-details");
    title.textContent = visible(name);
    content.replaceChildren(...parts);
    element.scrollTop = 0;
  };
  const took = (run: Run, path: string): string => {
    const i = numbers[run.number].get(path);
    return i === undefined ? "not made" : duration(run.operations.latency[i]);
  };
  const operation = (path: string): void => {
    const sides = model.runs.map((run, side) => {
      const part = h("div", { class: "texts" }, h("h3", {}, NAMES[side], h("small", {}, took(run, path))));
      const i = numbers[side].get(path);
      if (i !== undefined) {
        if (!run.operations.texts(i).length) part.append(h("p", { class: "aside" }, "Prompt and answer are not in this report."));
        void textsOf(run, i).then((parts) => {
          for (const [, name, text] of parts) part.append(h("h3", {}, visible(name)), h("pre", { dir: "auto", tabindex: 0, "aria-label": visible(name) }, ...visibleNodes(text.slice(0, 40_000))));
        });
      }
      return part;
    });
    open(path, h("div", { class: "sides" }, ...sides));
  };
  const show = (change: Change): void => {
    const all = [...new Set([a, b].flatMap((run) => run.operations.path.filter((_, i) => isAt(run, i, change))))];
    all.sort((x, y) => Number(changed.has(y)) - Number(changed.has(x)));
    const list = h("ol", { class: "slowest" });
    for (const path of all.slice(0, MOST_LISTED)) {
      const times = `${took(a, path)} → ${took(b, path)}${changed.has(path) ? " · other answer" : ""}`;
      list.append(h("li", {}, h("button", { type: "button", class: "link", click: () => operation(path) }, visible(path)), h("span", { class: "number" }, times)));
    }
    const rest = all.length - MOST_LISTED;
    open(change.path, list, ...(rest > 0 ? [h("p", { class: "aside" }, `and ${plural(rest, "operation")} more`)] : []));
  };
  return { element, show, operation };
}

function isAt(run: Run, i: number, change: Change): boolean {
  const site = run.sites[run.operations.site[i]];
  return site.path === change.path && site.operation === change.operation;
}
