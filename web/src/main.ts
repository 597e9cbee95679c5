// The page: it is drawn as soon as its model is unpacked.

import { advice } from "./advice";
import { compare } from "./compare";
import { $, h, section } from "./dom";
import { details } from "./details";
import { graph } from "./graph";
import { load, type Model } from "./model";
import { source } from "./source";
import { inputs } from "./inputs";
import { complaints, figures, header, value, whereTimeWent } from "./summary";
import { table } from "./table";
import { timeline } from "./timeline";
import { themes } from "./themes";
import { View } from "./view";

function search(view: View): HTMLElement {
  const box = h("input", { type: "search", id: "search", placeholder: "Search operations", "aria-label": "Search operations", autocomplete: "off", spellcheck: "false" });
  let timer = 0;
  box.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => view.search(box.value), 80);
  });
  document.addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) {
      event.preventDefault();
      box.focus();
    }
  });
  return box;
}

function draw(model: Model): void {
  if (model.changes) return compare(model);
  const run = model.runs[0];
  const view = new View(run);
  const page = $("page");
  const code = source(view, model.sources);
  const has = run.operations.count > 0;
  const parts = [
    header(run, themes(view)),
    complaints(run),
    figures(run),
    value(run),
    section("inputs", "Inputs", inputs(model, view)),
    section("time", "Where the time went", whereTimeWent(run)),
    section("advice", "What would have helped", advice(run, code.to)),
    has ? h("div", { class: "bar", role: "search" }, search(view), h("span", { class: "aside" }, "press / to search, Esc to close details")) : null,
    has ? section("timeline", "Timeline", timeline(view)) : null,
    section("graph", "Graph", graph(view)),
    has ? section("operations", "Operations", table(view)) : null,
    section("source", "Source", code.element),
  ].filter((each) => each !== null);
  page.replaceChildren(...parts, h("footer", {}, `made by apxm ${model.version}`));
  document.body.append(details(view, code.to));
}

load().then(
  (model) => {
    draw(model);
    document.documentElement.dataset.ready = "true";
  },
  (error) => $("page").replaceChildren(h("p", { class: "bad" }, `This report cannot be read: ${String(error)}`)),
);
