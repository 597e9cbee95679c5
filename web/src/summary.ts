// How the run ended, in numbers; and where its time went.

import { h } from "./dom";
import { count, duration, known, percent, plural, visible, visibleNodes } from "./format";
import type { Failure, Run } from "./model";

export function header(run: Run, themes: HTMLElement): HTMLElement {
  const simulated = run.backends.some((backend) => backend.simulated);
  const model = run.backends.map((each) => (each.model && each.model !== each.name ? `${each.model} at ${each.name}` : each.name));
  const own = run.backends.every((each) => each.name === each.kind && each.simulated);
  const facts = [run.began === null ? "" : moment(run.began), `run ${run.id}`, own ? "" : visible(model.join(", "))];
  return h(
    "header",
    {},
    h(
      "div",
      { class: "title" },
      h("h1", {}, visible(run.name)),
      h("span", { class: `status ${run.status}` }, run.status),
      simulated
        ? h("span", { class: "chip", title: "The answers and their latencies are made up." }, "simulated")
        : h("span", { class: "chip" }, "real calls"),
      themes,
    ),
    h("p", { class: "facts" }, facts.filter(Boolean).join(" · ")),
  );
}

export const moment = (unix: number): string => `${new Date(unix * 1000).toISOString().replace("T", " ").slice(0, 19)} UTC`;

export function figures(run: Run): HTMLElement {
  const f = run.figures;
  const tokens = f.input === null || f.output === null ? "–" : count(f.input + f.output);
  const list: [string, string, string][] = [
    ["Duration", duration(f.duration), "from the start of the run to its end"],
    ["Work T1", duration(f.t1), "all calls one after the other"],
    ["Span T∞", duration(f.t_inf), "the longest chain of calls: no number of slots is faster"],
    ["Speedup", `${f.speedup.toFixed(2)}×`, `T1 over duration; ${f.parallelism.toFixed(2)}× is the most that the graph allows`],
    ["In flight", `${count(f.most)} at most`, `${f.mean.toFixed(1)} on average`],
    ["Model calls", count(f.calls), callsNote(run)],
    ["Tokens", tokens, `${known(f.input)} in, ${known(f.output)} out`],
    ["Cost", f.cost === null ? "–" : f.cost.toPrecision(4), f.cost === null ? "no price is known" : "by the configured prices"],
  ];
  const dl = h("dl", { class: "figures" });
  for (const [name, value, note] of list) {
    dl.append(h("div", {}, h("dt", {}, name), h("dd", {}, value, h("small", {}, note))));
  }
  return dl;
}

function callsNote(run: Run): string {
  const f = run.figures;
  const parts = [
    f.retries ? plural(f.retries, "retry").replace("retrys", "retries") : "",
    f.repairs ? plural(f.repairs, "repair") : "",
    f.reused ? `${count(f.reused)} from the journal` : "",
    f.failed ? `${count(f.failed)} failed` : "",
    f.skipped ? `${count(f.skipped)} not run` : "",
  ].filter(Boolean);
  return parts.join(", ") || `p50 ${duration(f.p50)}, p95 ${duration(f.p95)}`;
}

export function complaints(run: Run): HTMLElement | null {
  const items: HTMLElement[] = run.said.map((line) => h("li", {}, ...visibleNodes(line)));
  const of = (failure: Failure, how: string): HTMLElement =>
    h(
      "li",
      {},
      h("b", {}, visible(failure.path)), ` ${how} (${failure.kind}) at ${visible(failure.where)}`,
      failure.message ? h("div", { class: "quoted" }, ...visibleNodes(failure.message.slice(0, 2000))) : null,
    );
  items.push(...run.failures.map((each) => of(each, "failed")));
  items.push(...run.caught.map((each) => of(each, "failed, and was caught")));
  const notes = run.notes.map((line) => h("li", { class: "aside" }, line));
  if (run.redacts) notes.push(h("li", { class: "aside" }, "Prompts, answers, messages and source texts are left out."));
  if (!items.length && !notes.length) return null;
  return h("ul", { class: "complaints" }, ...items, ...notes);
}

const TERMS: Record<string, string> = {
  isolated: "what the longest chain takes when nothing else is in flight",
  contention: "the endpoint was slower under load",
  variation: "calls on the way were slower or faster than their like",
  transport: "network, client library, event loop",
  retries: "attempts that were in vain",
  waiting: "pauses, and waits for slots and limits",
  runtime: "A-PXM itself",
};

export function whereTimeWent(run: Run): HTMLElement | null {
  if (!run.losses || !run.operations.count) return null;
  const { terms, calibrated, transport_included } = run.losses;
  const total = run.figures.duration || 1;
  const parts = Object.entries(terms);
  const bar = h("div", { class: "losses", "aria-hidden": "true" });
  const rows = parts.map(([name, ms], number) => {
    const share = h("i", { class: `share term-${number}` });
    share.style.flexGrow = String(Math.max(0, ms));
    share.title = `${name}: ${duration(ms)}`;
    if (ms > 0) bar.append(share);
    return h(
      "tr",
      { class: Math.abs(ms) < 0.005 ? "none" : "" },
      h("th", { scope: "row" }, h("i", { class: `key term-${number}` }), name === "isolated" && !calibrated ? "calls" : name),
      h("td", { class: "number" }, duration(ms)),
      h("td", { class: "number" }, percent(ms / total)),
      h("td", { class: "aside" }, name === "isolated" && !calibrated ? "what the longest chain takes, contention included" : TERMS[name] ?? ""),
    );
  });
  const notes = [
    calibrated ? "" : "Without a profile (apxm calibrate) contention is part of the calls.",
    transport_included ? "The endpoint does not report its own time, so transport is part of the calls." : "",
  ].filter(Boolean);
  return h(
    "div",
    {},
    bar,
    h(
      "table",
      { class: "plain" },
      h("caption", { class: "unseen" }, "Where the time went"),
      h("thead", { class: "unseen" }, h("tr", {}, ...["Term", "Time", "Share", "Meaning"].map((each) => h("th", { scope: "col" }, each)))),
      h("tbody", {}, ...rows),
    ),
    notes.length ? h("p", { class: "aside" }, notes.join(" ")) : null,
  );
}

export function value(run: Run): HTMLElement | null {
  if (run.value === null) return null;
  return h(
    "details",
    { class: "value" },
    h("summary", {}, "Result"),
    h("pre", { tabindex: 0, "aria-label": "Result" }, ...visibleNodes(run.value)),
  );
}
