// What is looked at: one operation, or one site, and what is searched for. Each part of the page draws itself anew.

import type { Run } from "./model";

export type What = "selection" | "search" | "theme";

export class View {
  operation: number | null = null;
  site: number | null = null;
  query = "";
  /** Which operations fit what is searched for; null where nothing is. */
  matches: Uint8Array | null = null;
  matching = 0;
  private readonly listeners: ((what: What) => void)[] = [];

  constructor(readonly run: Run) {}

  listen(listener: (what: What) => void): void {
    this.listeners.push(listener);
  }

  tell(what: What): void {
    for (const listener of this.listeners) listener(what);
  }

  select(operation: number | null): void {
    this.operation = operation;
    this.site = operation === null ? null : this.run.operations.site[operation];
    this.tell("selection");
  }

  selectSite(site: number): void {
    if (this.run.bySite[site].length === 1) return this.select(this.run.bySite[site][0]);
    this.operation = null;
    this.site = site;
    this.tell("selection");
  }

  /** Searches for a word, and says so in the box. */
  look(query: string): void {
    const box = document.getElementById("search") as HTMLInputElement | null;
    if (box) box.value = query;
    this.search(query);
    box?.scrollIntoView({ block: "start" });
  }

  /** Words that must all be in an operation's path, name, place, backend or outcome. */
  search(query: string): void {
    this.query = query;
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const { run } = this;
    if (!words.length) {
      this.matches = null;
      this.matching = run.operations.count;
    } else {
      const places = run.sites.map((site) => `${site.operation} ${site.file}:${site.line}`.toLowerCase());
      this.matches = new Uint8Array(run.operations.count);
      this.matching = 0;
      for (let i = 0; i < run.operations.count; i++) {
        const path = run.operations.path[i].toLowerCase();
        const rest = `${places[run.operations.site[i]]} ${run.operations.backend(i)} ${run.operations.outcome(i)}`;
        if (words.every((word) => path.includes(word) || rest.toLowerCase().includes(word))) {
          this.matches[i] = 1;
          this.matching++;
        }
      }
    }
    this.tell("search");
  }
}
