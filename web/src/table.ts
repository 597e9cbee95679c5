// All operations as a table, of which the page holds the rows that are seen: what the timeline shows, in words.

import { eachFrame, h } from "./dom";
import { count, duration, known, visible } from "./format";
import type { Run } from "./model";
import type { View } from "./view";

const ROW = 26;
const MOST_HEIGHT = 460;
const MOST_PRINTED = 500;

interface Column {
  name: string;
  numeric: boolean;
  value: (run: Run, i: number) => number | string;
  shown?: (run: Run, i: number) => string;
}

const COLUMNS: Column[] = [
  { name: "Operation", numeric: false, value: (run, i) => run.operations.path[i] },
  { name: "Kind", numeric: false, value: (run, i) => run.sites[run.operations.site[i]].operation },
  {
    name: "Line", numeric: true, value: (run, i) => run.sites[run.operations.site[i]].line,
    shown: (run, i) => String(run.sites[run.operations.site[i]].line || "–"),
  },
  { name: "Start", numeric: true, value: (run, i) => run.operations.began[i], shown: (run, i) => duration(run.operations.began[i]) },
  { name: "Waited", numeric: true, value: (run, i) => run.operations.waited(i), shown: (run, i) => duration(run.operations.waited(i)) },
  { name: "Latency", numeric: true, value: (run, i) => run.operations.latency[i], shown: (run, i) => duration(run.operations.latency[i]) },
  { name: "In", numeric: true, value: (run, i) => run.operations.input(i), shown: (run, i) => known(run.operations.input(i)) },
  { name: "Out", numeric: true, value: (run, i) => run.operations.output(i), shown: (run, i) => known(run.operations.output(i)) },
  {
    name: "Tries", numeric: true,
    value: (run, i) => (run.operations.hasEarlier(i) ? run.operations.attempts(i).length : 1),
    shown: (run, i) => count(run.operations.hasEarlier(i) ? run.operations.attempts(i).length : 1),
  },
  { name: "Outcome", numeric: false, value: (run, i) => run.operations.outcome(i) },
];

export function table(view: View): HTMLElement {
  const { run } = view;
  let order = Int32Array.from({ length: run.operations.count }, (_, i) => i);
  let sorted = 3;
  let descending = false;
  let printing = false;
  const heads = COLUMNS.map((column, number) =>
    h(
      "th",
      { scope: "col", class: column.numeric ? "number" : "" },
      h(
        "button",
        {
          type: "button",
          click: () => {
            descending = sorted === number ? !descending : column.numeric && number !== 3 && number !== 2;
            sorted = number;
            arrange();
          },
        },
        column.name,
      ),
    ),
  );
  const body = h("tbody", {});
  const element = h(
    "table",
    { class: "operations" },
    h("caption", { class: "unseen" }, "Operations that waited"),
    h("thead", {}, h("tr", {}, ...heads)),
    body,
  );
  const scroller = h("div", { class: "rows", role: "region", "aria-label": "Table of operations", tabindex: 0 }, element);
  const said = h("p", { class: "aside", "aria-live": "polite" });

  function arrange(): void {
    const column = COLUMNS[sorted];
    const all = Array.from({ length: run.operations.count }, (_, i) => i).filter((i) => !view.matches || view.matches[i]);
    if (column.numeric) {
      const keys = Float64Array.from({ length: run.operations.count }, (_, i) => column.value(run, i) as number);
      order = Int32Array.from(all).sort((a, b) => (descending ? keys[b] - keys[a] : keys[a] - keys[b]) || a - b);
    } else {
      const keys = all.map((i) => [String(column.value(run, i)), i] as const);
      keys.sort(([a, i], [b, j]) => (a < b ? -1 : a > b ? 1 : i - j));
      if (descending) keys.reverse();
      order = Int32Array.from(keys, ([, i]) => i);
    }
    heads.forEach((head, number) =>
      number === sorted ? head.setAttribute("aria-sort", descending ? "descending" : "ascending") : head.removeAttribute("aria-sort"),
    );
    element.setAttribute("aria-rowcount", String(order.length + 1));
    said.textContent = view.matches ? `${count(order.length)} of ${count(run.operations.count)} match` : "";
    scroller.scrollTop = 0;
    shown = "";
    draw();
  }

  let shown = "";
  function draw(): void {
    const height = Math.min(MOST_HEIGHT, (order.length + 1) * ROW + 4);
    scroller.style.height = printing ? "auto" : `${height}px`;
    const first = printing ? 0 : Math.max(0, Math.floor(scroller.scrollTop / ROW) - 8);
    const last = printing ? Math.min(order.length, MOST_PRINTED) : Math.min(order.length, Math.ceil((scroller.scrollTop + height) / ROW) + 8);
    const now = `${first} ${last} ${view.operation} ${sorted} ${descending} ${view.query}`;
    if (now === shown) return;
    shown = now;
    const focused = document.activeElement instanceof HTMLElement && body.contains(document.activeElement)
      ? document.activeElement.dataset.operation
      : undefined;
    const rows: HTMLElement[] = [gap(first)];
    for (let at = first; at < last; at++) rows.push(row(at));
    rows.push(gap(order.length - last));
    body.replaceChildren(...rows);
    if (focused !== undefined) body.querySelector<HTMLElement>(`[data-operation="${focused}"]`)?.focus({ preventScroll: true });
  }

  function gap(rows: number): HTMLElement {
    const space = h("tr", { class: "gap", "aria-hidden": "true" }, h("td", { colspan: COLUMNS.length }));
    space.style.height = `${rows * ROW}px`;
    space.hidden = rows === 0;
    return space;
  }

  function row(at: number): HTMLElement {
    const i = order[at];
    const cells = COLUMNS.map((column, number) => {
      const text = visible(column.shown ? column.shown(run, i) : String(column.value(run, i)));
      if (number === 0) {
        return h(
          "th",
          { scope: "row" },
          h("button", { type: "button", class: "link", "data-operation": i, title: text, click: () => view.select(i) }, text),
        );
      }
      return h("td", { class: column.numeric ? "number" : number === COLUMNS.length - 1 && run.operations.failed(i) ? "bad" : "" }, text);
    });
    const classes = [i === view.operation ? "selected" : "", run.operations.critical[i] ? "critical" : ""].join(" ").trim();
    return h("tr", { class: classes, "aria-rowindex": at + 2, "aria-current": i === view.operation ? "true" : null }, ...cells);
  }

  body.addEventListener("keydown", (event) => {
    const by = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    const target = event.target as HTMLElement;
    if (!by || target.dataset.operation === undefined) return;
    event.preventDefault();
    const next = order[order.indexOf(Number(target.dataset.operation)) + by];
    if (next === undefined) return;
    const place = (order.indexOf(next) + 1) * ROW;
    if (place < scroller.scrollTop + ROW) scroller.scrollTop = place - ROW;
    if (place > scroller.scrollTop + scroller.clientHeight - 2 * ROW) scroller.scrollTop = place - scroller.clientHeight + 2 * ROW;
    draw();
    body.querySelector<HTMLElement>(`[data-operation="${next}"]`)?.focus({ preventScroll: true });
  });
  scroller.addEventListener("scroll", eachFrame(draw));
  view.listen((what) => (what === "search" ? arrange() : draw()));
  const print = (now: boolean) => (): void => {
    printing = now;
    shown = "";
    draw();
  };
  window.addEventListener("beforeprint", print(true));
  window.addEventListener("afterprint", print(false));
  arrange();
  return h("div", {}, said, scroller);
}
