// What would have made the run quicker, with how sure that is.

import { h } from "./dom";
import { count, duration, visible } from "./format";
import type { Gain, Run } from "./model";

/** A line of the source, or null where it is a setting or a backend. */
function lineOf(where: string): [string, number] | null {
  const found = /^(.*):(\d+)$/.exec(where);
  return found && [found[1], Number(found[2])];
}

/** How much longer the run would have been. */
const longer = (ms: number): string => (Math.abs(ms) < 0.005 ? "nothing" : ms > 0 ? `−${duration(ms)}` : `+${duration(-ms)}`);

function range(gain: Gain): string {
  const [low, high] = [longer(gain.low_ms), longer(gain.high_ms)];
  return low === high ? "" : `${low} to ${high}`;
}

function cost(gain: Gain): string {
  if (gain.cost === null) return "the price is not known";
  return Math.abs(gain.cost) < 1e-12 ? "" : `costs ${gain.cost < 0 ? "−" : "+"}${Math.abs(gain.cost).toPrecision(4)}`;
}

/** A text in which what stands between backticks is code. */
const marked = (text: string): (Node | string)[] =>
  text.split("`").map((part, number) => (number % 2 ? h("code", {}, visible(part)) : visible(part)));

function row(run: Run, gain: Gain, to: (file: string, line: number) => void): HTMLElement {
  const line = lineOf(gain.where);
  const bar = h("i", { class: "gain", "aria-hidden": "true" });
  bar.style.width = `${Math.min(100, Math.max(0, gain.percent))}%`;
  const where = visible(gain.where);
  const known = line && run.sites.some((site) => site.file === line[0] && site.line === line[1]);
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, ...marked(gain.change)),
    h("td", { class: "number" }, longer(gain.ms)),
    h("td", { class: "number" }, `${gain.percent < 0 ? "+" : "−"}${Math.abs(gain.percent).toFixed(0)}%`),
    h("td", { class: "gains" }, bar),
    h("td", { class: "aside" }, range(gain)),
    h("td", { class: "aside" }, known ? h("button", { type: "button", class: "link", title: "Show the line", click: () => to(line[0], line[1]) }, where) : where),
    h("td", { class: "aside" }, cost(gain)),
  );
}

function rows(run: Run, caption: string, gains: Gain[], to: (file: string, line: number) => void): HTMLElement {
  const heads = ["Change", "Time", "Of the run", "Share", "Between", "Where", "Cost"];
  return h(
    "table",
    { class: "plain advice" },
    h("caption", { class: "unseen" }, caption),
    h("thead", { class: "unseen" }, h("tr", {}, ...heads.map((each) => h("th", { scope: "col" }, each)))),
    h("tbody", {}, ...gains.map((each) => row(run, each, to))),
  );
}

export function advice(run: Run, to: (file: string, line: number) => void): HTMLElement | null {
  const found = run.advice;
  if (!found) return null;
  const notes = found.notes.map((each) => h("p", { class: "aside" }, ...marked(each)));
  if (found.fits === null) return h("div", {}, ...notes);
  if (!found.fits) {
    const [again, before] = [duration(found.rerun_ms), duration(found.duration_ms)];
    return h("p", { class: "bad" }, `Running again from its trace the run takes ${again}, and it took ${before}: something held it up that its trace does not show. So what a change would do is not known.`);
  }
  const unseen = [...found.gains, ...found.unsure].find((each) => each.unseen !== null);
  return h(
    "div",
    {},
    found.gains.length ? rows(run, "What would have helped", found.gains, to) : h("p", {}, "No single change would have made it shorter by a hundredth."),
    found.unsure.length ? h("h3", {}, "Of which this run does not tell whether it helps") : null,
    found.unsure.length ? rows(run, "Of which this run does not tell whether it helps", found.unsure, to) : null,
    h("p", { class: "aside" }, "Each is one change by itself: the trace ran again with it, on virtual time."),
    unseen ? h("p", { class: "aside" }, `The run never had more than ${count(unseen.unseen!)} calls in flight at one endpoint. What more of them do to each other is a guess, and nothing at all may be gained by them.`) : null,
    ...notes,
  );
}
