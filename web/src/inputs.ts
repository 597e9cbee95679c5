// The inputs of a batch: those that failed first, then those that took longest.

import { h } from "./dom";
import { count, duration, known, visible } from "./format";
import type { Model } from "./model";
import type { View } from "./view";

const MOST = 1000;

export function inputs(model: Model, view: View): HTMLElement | null {
  if (!model.inputs?.length) return null;
  const rows = model.inputs.slice(0, MOST).map(([id, status, began, ended, calls, tokens, error]) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, h("button", { type: "button", class: "link", title: "Search for its operations", click: () => view.look(`${id}/`) }, visible(id))),
      h("td", { class: error ? "bad" : "" }, status),
      h("td", { class: "number" }, duration(began)),
      h("td", { class: "number" }, duration(ended - began)),
      h("td", { class: "number" }, count(calls)),
      h("td", { class: "number" }, known(tokens)),
      h("td", { class: "bad", title: visible(error) }, visible(error)),
    ),
  );
  const heads: [string, boolean][] = [["Input", false], ["Status", false], ["Start", true], ["Took", true], ["Calls", true], ["Tokens", true], ["", false]];
  const head = heads.map(([name, numeric]) => (name ? h("th", { scope: "col", class: numeric ? "number" : "" }, name) : h("td", {})));
  return h(
    "div",
    { class: "rows inputs", role: "region", tabindex: 0, "aria-label": "Table of inputs" },
    h("table", { class: "operations" }, h("caption", { class: "unseen" }, "Inputs"), h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows)),
  );
}
