// The program as it was run: a box for each place, however often it was made.

import { Graph, layout } from "@dagrejs/dagre";
import { h, s } from "./dom";
import { count, duration, plural, visible } from "./format";
import { distributions, type Run } from "./model";
import type { View } from "./view";

const WIDTH = 184;
const HEIGHT = 46;
const SMALL = 26;
/** As many boxes as can be laid out while somebody waits. */
const MOST = 250;
const BUNDLED = 6;

interface Box {
  sites: number[];
  calls: number;
  time: number;
  failed: number;
  critical: boolean;
  again: boolean;
}

export function graph(view: View): HTMLElement | null {
  const { run } = view;
  if (!run.sites.length) return null;
  const { boxes, edges, left } = folded(run);
  if (boxes.length < 2 && !boxes.some((box) => box.calls)) return null;
  const frame = h("div", { class: "graph", tabindex: 0, role: "region", "aria-label": "Graph of the program" });
  const wide = (): boolean => frame.clientWidth > 700;
  let drawn: boolean | null = null;
  const draw = (): void => {
    if (drawn === wide()) return;
    drawn = wide();
    frame.replaceChildren(picture(view, boxes, edges, drawn));
  };
  new ResizeObserver(draw).observe(frame);
  view.listen((what) => {
    if (what !== "selection") return;
    for (const node of frame.querySelectorAll<SVGElement>(".box")) {
      const sites = boxes[Number(node.dataset.box)].sites;
      node.classList.toggle("selected", view.site !== null && sites.includes(view.site));
    }
  });
  const note = left ? h("p", { class: "aside" }, `The ${count(boxes.length)} boxes that took the most time; ${plural(left, "place")} more are in the table.`) : null;
  return h("div", {}, frame, note);
}

/** Places that do the same between the same others become one box; of very many boxes those are kept that took the most time. */
function folded(run: Run): { boxes: Box[]; edges: [number, number][]; left: number } {
  const before = run.sites.map(() => new Set<number>());
  const after = run.sites.map(() => new Set<number>());
  const again = new Set<number>();
  for (const [from, to] of run.edges) {
    if (from === to) again.add(from);
    else {
      before[to].add(from);
      after[from].add(to);
    }
  }
  const groups = new Map<string, number[]>();
  run.sites.forEach((site, number) => {
    const list = (set: Set<number>): string => [...set].sort((a, b) => a - b).join(",");
    const key = `${site.operation}|${list(before[number])}|${list(after[number])}`;
    groups.set(key, [...(groups.get(key) ?? []), number]);
  });
  const found = distributions(run);
  const onPath = new Set(run.operations.criticalPath.map((i) => run.operations.site[i]));
  const boxOf = (sites: number[]): Box => ({
    sites,
    calls: sum(sites, (site) => run.bySite[site].length),
    time: sum(sites, (site) => found[site]?.sum ?? 0),
    failed: sum(sites, (site) => run.bySite[site].filter((i) => run.operations.failed(i)).length),
    critical: sites.some((site) => onPath.has(site)),
    again: sites.some((site) => again.has(site)),
  });
  let boxes = [...groups.values()].flatMap((sites) => (sites.length >= BUNDLED ? [boxOf(sites)] : sites.map((site) => boxOf([site]))));
  const left = Math.max(0, boxes.length - MOST);
  if (left) boxes = boxes.sort((a, b) => b.time - a.time).slice(0, MOST);
  const boxNumber = new Map<number, number>();
  boxes.forEach((box, number) => box.sites.forEach((site) => boxNumber.set(site, number)));
  const edges = new Map<string, [number, number]>();
  for (const [from, to] of run.edges) {
    const [a, b] = [boxNumber.get(from), boxNumber.get(to)];
    if (a !== undefined && b !== undefined && a !== b) edges.set(`${a} ${b}`, [a, b]);
  }
  return { boxes, edges: [...edges.values()], left };
}

const sum = (sites: number[], of: (site: number) => number): number => sites.reduce((total, site) => total + of(site), 0);

function picture(view: View, boxes: Box[], edges: [number, number][], wide: boolean): SVGElement {
  const { run } = view;
  const laid = new Graph();
  laid.setGraph({ rankdir: wide ? "LR" : "TB", nodesep: 14, ranksep: wide ? 44 : 34, edgesep: 8, marginx: 8, marginy: 8 });
  laid.setDefaultEdgeLabel(() => ({}));
  boxes.forEach((box, number) => laid.setNode(String(number), { width: WIDTH, height: box.calls ? HEIGHT : SMALL }));
  for (const [from, to] of edges) laid.setEdge(String(from), String(to), {});
  layout(laid);
  const size = laid.graph() as { width: number; height: number };
  const svg = s("svg", { viewBox: `0 0 ${Math.ceil(size.width)} ${Math.ceil(size.height)}`, width: Math.ceil(size.width), height: Math.ceil(size.height) });
  svg.append(
    s("defs", {}, arrow("arrow", "head"), arrow("arrow-critical", "head critical")),
  );
  const critical = criticalEdges(run, boxes);
  for (const edge of laid.edges()) {
    const { points } = laid.edge(edge) as { points: { x: number; y: number }[] };
    const marked = critical.has(`${edge.v} ${edge.w}`);
    svg.append(s("path", { d: smooth(points), class: marked ? "edge critical" : "edge", "marker-end": `url(#arrow${marked ? "-critical" : ""})` }));
  }
  boxes.forEach((box, number) => svg.append(drawn(view, box, number, laid.node(String(number)) as { x: number; y: number })));
  return svg;
}

const arrow = (id: string, name: string): SVGElement =>
  s(
    "marker",
    { id, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, markerUnits: "userSpaceOnUse", orient: "auto" },
    s("path", { d: "M0 0.5 8 4 0 7.5z", class: name }),
  );

/** Which edges the critical path goes along. */
function criticalEdges(run: Run, boxes: Box[]): Set<string> {
  const box = new Map<number, number>();
  boxes.forEach((each, number) => each.sites.forEach((site) => box.set(site, number)));
  const path = run.operations.criticalPath.map((i) => box.get(run.operations.site[i]));
  return new Set(path.slice(1).map((to, at) => `${path[at]} ${to}`));
}

function smooth(points: { x: number; y: number }[]): string {
  const at = ({ x, y }: { x: number; y: number }): string => `${x.toFixed(1)} ${y.toFixed(1)}`;
  let d = `M${at(points[0])}`;
  for (let i = 1; i < points.length - 1; i++) {
    const middle = { x: (points[i].x + points[i + 1].x) / 2, y: (points[i].y + points[i + 1].y) / 2 };
    d += `Q${at(points[i])} ${at(i === points.length - 2 ? points[i + 1] : middle)}`;
  }
  return points.length === 2 ? `${d}L${at(points[1])}` : d;
}

function drawn(view: View, box: Box, number: number, { x, y }: { x: number; y: number }): SVGElement {
  const { run } = view;
  const site = run.sites[box.sites[0]];
  const several = box.sites.length > 1;
  const name = several ? `${plural(box.sites.length, site.operation)}` : visible(site.path.split("/").slice(-2).join("/"));
  const shown = shortened(name, 26);
  const tall = box.calls ? HEIGHT : SMALL;
  const state = box.failed ? "failed" : box.calls ? "done" : site.family === "other" ? "inline" : "not-run";
  const times = box.calls > 1 ? `×${count(box.calls)} · ${duration(box.time / box.calls)} each` : duration(box.time);
  const line = box.calls ? `${several ? "" : `${site.operation} · `}${times}` : state === "not-run" ? "not run" : site.operation;
  const label = `${shown} ${line}${box.failed ? `, ${count(box.failed)} failed` : ""}${box.critical ? ", on the critical path" : ""}`;
  const choose = (): void => view.selectSite(box.sites.find((each) => run.bySite[each].length) ?? box.sites[0]);
  const node = s(
    "g",
    {
      class: `box ${state}${box.critical ? " critical" : ""}`,
      transform: `translate(${(x - WIDTH / 2).toFixed(1)} ${(y - tall / 2).toFixed(1)})`,
      tabindex: 0,
      role: "button",
      "aria-label": label,
      "data-box": number,
      click: choose,
      keydown: (event: KeyboardEvent) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          choose();
        }
      },
    },
    s("rect", { width: WIDTH, height: tall, rx: box.calls ? 6 : tall / 2 }),
    s("text", { x: 12, y: box.calls ? 19 : SMALL / 2 + 4, class: "name" }, shown),
  );
  if (box.calls) node.append(" ", s("text", { x: 12, y: 35, class: "line" }, line)); // the space parts them for who hears them
  if (box.again) node.append(s("text", { x: WIDTH - 18, y: 19, class: "line", "aria-hidden": "true" }, "↻"));
  return node;
}

const shortened = (text: string, most: number): string => (text.length > most ? `…${text.slice(1 - most)}` : text);
