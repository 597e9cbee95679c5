// When the operations ran: a canvas on which only the rows that are seen are drawn.

import { eachFrame, h } from "./dom";
import { count, duration, visible } from "./format";
import { distributions, type Run } from "./model";
import type { View } from "./view";

const ROW = 20;
const AXIS = 22;
const OVERVIEW = 36;
const MOST_HEIGHT = 440;
const TIMES = 170;

interface Row {
  site: number | null;
  operations: Int32Array;
  /** Whether it stands for all operations of its site, which may lie upon each other. */
  folded: boolean;
  /** Whether a click on its name unfolds it, or folds it again. */
  openable: boolean;
}

interface Colors {
  text: string;
  faint: string;
  line: string;
  surface: string;
  work: string;
  critical: string;
  wait: string;
  bad: string;
  select: string;
}

/** `end` is how much time it shows at most, in ms; that of the run itself where nobody says. */
export function timeline(view: View, end = 0): HTMLElement {
  return new Timeline(view, end).element;
}

class Timeline {
  readonly element: HTMLElement;
  private readonly run: Run;
  private readonly canvas = h("canvas", {
    tabindex: 0,
    role: "application",
    "aria-roledescription": "timeline",
    "aria-label": "Timeline. Arrow keys go from one operation to the next, plus and minus zoom, Enter shows details.",
  });
  private readonly scroller = h("div", { class: "tl-scroll" }, this.canvas);
  private readonly spacer = h("div", { class: "tl-spacer" });
  private readonly overview = h("canvas", { class: "tl-overview", "aria-hidden": "true" });
  private readonly tip = h("div", { class: "tl-tip", hidden: true });
  private readonly said = h("div", { class: "unseen", "aria-live": "polite" });
  private rows: Row[] = [];
  private byPlace: boolean;
  private readonly opened = new Set<number>();
  private readonly lanes: Int32Array[];
  private from = 0;
  private to: number;
  private readonly end: number;
  private width = 0;
  private gutter = 180;
  private colors!: Colors;
  private hovered = -1;
  private readonly redraw = eachFrame(() => this.draw());
  private levels: Float64Array | null = null;
  private buttons!: { lanes: HTMLButtonElement; places: HTMLButtonElement };

  constructor(private readonly view: View, end: number) {
    this.run = view.run;
    const { operations } = this.run;
    this.end = Math.max(this.run.figures.duration, end, 0.001);
    this.to = this.end;
    this.lanes = packed(this.run, Int32Array.from({ length: operations.count }, (_, i) => i));
    this.byPlace = operations.count > 60 && this.run.sites.length < operations.count / 2;
    this.element = this.made();
    this.scroller.append(this.spacer);
    this.listen();
    this.arrange();
    view.listen((what) => {
      if (what === "theme") this.colors = palette();
      if (what === "selection" && view.operation !== null) this.show(view.operation);
      this.redraw();
    });
    new ResizeObserver(() => this.resize()).observe(this.scroller);
    window.addEventListener("beforeprint", () => {
      this.colors = palette();
      this.draw();
    });
  }

  private made(): HTMLElement {
    const lanes = h("button", { type: "button", click: () => this.choose(false) }, "Lanes");
    const places = h("button", { type: "button", click: () => this.choose(true) }, "Places");
    this.buttons = { lanes, places };
    const zoom = (label: string, text: string, act: () => void): HTMLButtonElement =>
      h("button", { type: "button", "aria-label": label, title: label, click: act }, text);
    return h(
      "div",
      {},
      h(
        "div",
        { class: "tools" },
        h("div", { class: "switch", role: "group", "aria-label": "Rows of the timeline" }, lanes, places),
        h(
          "div",
          { class: "switch", role: "group", "aria-label": "Zoom" },
          zoom("Zoom out", "−", () => this.zoom(2)),
          zoom("Zoom in", "+", () => this.zoom(0.5)),
          zoom("Show all", "All", () => this.range(0, this.end)),
        ),
        legend(),
      ),
      h("div", { class: "tl" }, this.overview, this.scroller, this.tip, this.said),
    );
  }

  private choose(byPlace: boolean): void {
    this.byPlace = byPlace;
    this.arrange();
    this.scroller.scrollTop = 0;
    this.redraw();
  }

  /** Makes the rows anew. */
  private arrange(): void {
    const { run } = this;
    this.buttons.lanes.setAttribute("aria-pressed", String(!this.byPlace));
    this.buttons.places.setAttribute("aria-pressed", String(this.byPlace));
    if (this.byPlace) {
      this.rows = [];
      const order = run.bySite.map((_, site) => site).filter((site) => run.bySite[site].length);
      order.sort((a, b) => run.operations.ready[run.bySite[a][0]] - run.operations.ready[run.bySite[b][0]]);
      for (const site of order) {
        const operations = run.bySite[site];
        this.rows.push({ site, operations, folded: operations.length > 1, openable: operations.length > 1 });
        if (this.opened.has(site)) {
          for (const lane of packed(run, operations)) {
            this.rows.push({ site: null, operations: lane, folded: false, openable: false });
          }
        }
      }
    } else {
      this.rows = this.lanes.map((operations) => ({ site: null, operations, folded: false, openable: false }));
    }
    this.resize();
  }

  private resize(): void {
    const height = this.rows.length * ROW + AXIS;
    const shown = Math.min(height, MOST_HEIGHT);
    this.width = this.scroller.clientWidth || 800;
    this.gutter = this.byPlace ? Math.min(260, Math.max(90, this.width * 0.24)) : 44;
    this.scroller.style.height = `${shown}px`;
    this.spacer.style.height = `${Math.max(0, height - shown)}px`;
    const ratio = window.devicePixelRatio || 1;
    for (const [canvas, tall] of [[this.canvas, shown], [this.overview, OVERVIEW]] as const) {
      canvas.width = Math.round(this.width * ratio);
      canvas.height = Math.round(tall * ratio);
      canvas.style.width = `${this.width}px`;
      canvas.style.height = `${tall}px`;
      canvas.getContext("2d")!.setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    this.levels = null;
    this.redraw();
  }

  private x(time: number): number {
    return this.gutter + ((time - this.from) / (this.to - this.from)) * this.plot;
  }

  private time(x: number): number {
    return this.from + ((x - this.gutter) / this.plot) * (this.to - this.from);
  }

  /** Whether a column on the right says how long the operations of each place took. */
  private get showsTimes(): boolean {
    return this.byPlace && this.width > 640;
  }

  private get plot(): number {
    return Math.max(10, this.width - this.gutter - (this.showsTimes ? TIMES : 8));
  }

  private range(from: number, to: number): void {
    const size = Math.min(this.end, Math.max(to - from, this.end / 1e6, 0.005));
    this.from = Math.min(Math.max(0, from), this.end - size);
    this.to = this.from + size;
    this.redraw();
  }

  private zoom(factor: number, around = (this.from + this.to) / 2): void {
    this.range(around - (around - this.from) * factor, around + (this.to - around) * factor);
  }

  private listen(): void {
    const { canvas, scroller, overview } = this;
    scroller.addEventListener("scroll", this.redraw);
    scroller.addEventListener(
      "wheel",
      (event) => {
        if (event.ctrlKey || event.metaKey) {
          event.preventDefault();
          this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.time(event.offsetX));
        } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
          event.preventDefault();
          const by = ((event.deltaX || event.deltaY) / this.plot) * (this.to - this.from);
          this.range(this.from + by, this.to + by);
        }
      },
      { passive: false },
    );
    let pressed: { x: number; from: number; to: number; moved: boolean } | null = null;
    canvas.addEventListener("pointerdown", (event) => {
      pressed = { x: event.offsetX, from: this.from, to: this.to, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (pressed) {
        const by = event.offsetX - pressed.x;
        if (Math.abs(by) > 3) pressed.moved = true;
        if (pressed.moved) {
          const moved = (by / this.plot) * (pressed.to - pressed.from);
          this.range(pressed.from - moved, pressed.to - moved);
        }
      } else this.hover(event.offsetX, event.offsetY);
    });
    canvas.addEventListener("pointerleave", () => this.hover(-1, -1));
    canvas.addEventListener("pointerup", (event) => {
      if (pressed && !pressed.moved) this.click(event.offsetX, event.offsetY);
      pressed = null;
    });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", this.redraw);
    let dragging = false;
    const to = (event: PointerEvent): void => {
      const middle = ((event.offsetX - this.gutter) / this.plot) * this.end;
      const half = (this.to - this.from) / 2;
      this.range(middle - half, middle + half);
    };
    overview.addEventListener("pointerdown", (event) => {
      dragging = true;
      overview.setPointerCapture(event.pointerId);
      if (this.to - this.from > this.end * 0.999) this.zoom(0.2, ((event.offsetX - this.gutter) / this.plot) * this.end);
      to(event);
    });
    overview.addEventListener("pointermove", (event) => dragging && to(event));
    overview.addEventListener("pointerup", () => (dragging = false));
  }

  private key(event: KeyboardEvent): void {
    const act: Record<string, () => void> = {
      "+": () => this.zoom(0.5),
      "=": () => this.zoom(0.5),
      "-": () => this.zoom(2),
      "0": () => this.range(0, this.end),
      ArrowRight: () => this.step(1),
      ArrowLeft: () => this.step(-1),
      ArrowDown: () => this.stepRow(1),
      ArrowUp: () => this.stepRow(-1),
      Home: () => this.go(this.ordered()[0]),
      End: () => this.go(this.ordered().at(-1)),
    };
    const found = event.ctrlKey || event.metaKey || event.altKey ? undefined : act[event.key];
    if (found) {
      event.preventDefault();
      found();
    } else if (event.key === "Enter" && this.view.operation !== null) {
      this.view.select(this.view.operation);
      document.getElementById("details")?.focus();
    }
  }

  private ordered(): Int32Array {
    const { operations } = this.run;
    this.order ??= Int32Array.from({ length: operations.count }, (_, i) => i).sort(
      (a, b) => operations.began[a] - operations.began[b] || a - b,
    );
    return this.view.matches ? this.order.filter((i) => this.view.matches![i]) : this.order;
  }

  private order: Int32Array | null = null;

  private step(by: number): void {
    const order = this.ordered();
    const at = this.view.operation === null ? -1 : order.indexOf(this.view.operation);
    this.go(order[Math.min(order.length - 1, Math.max(0, at + by))]);
  }

  private stepRow(by: number): void {
    const now = this.view.operation;
    const row = now === null ? -1 : this.rowOf(now);
    for (let next = row + by; next >= 0 && next < this.rows.length; next += by) {
      const { operations } = this.rows[next];
      if (!operations.length || (this.rows[next].folded && this.opened.has(this.rows[next].site!))) continue;
      const wanted = now === null ? 0 : this.run.operations.began[now];
      let best = operations[0];
      for (const i of operations) {
        const distance = (j: number): number => Math.abs(this.run.operations.began[j] - wanted);
        if (distance(i) < distance(best)) best = i;
      }
      return this.go(best);
    }
  }

  private go(operation: number | undefined): void {
    if (operation === undefined) return;
    this.view.select(operation);
    const { operations } = this.run;
    this.said.textContent =
      `${visible(operations.path[operation])}, ${duration(operations.latency[operation])}, ` +
      `${operations.outcome(operation)}${operations.critical[operation] ? ", on the critical path" : ""}`;
  }

  private rowOf(operation: number): number {
    if (!this.byPlace) {
      return (this.rowsOf ??= rowNumbers(this.lanes, this.run.operations.count))[operation];
    }
    const site = this.run.operations.site[operation];
    const first = this.rows.findIndex((row) => row.site === site);
    if (!this.opened.has(site)) return first;
    for (let row = first + 1; row < this.rows.length && this.rows[row].site === null; row++) {
      if (this.rows[row].operations.includes(operation)) return row;
    }
    return first;
  }

  private rowsOf: Int32Array | null = null;

  /** Scrolls and moves so that it can be seen. */
  private show(operation: number): void {
    const row = this.rowOf(operation);
    const top = row * ROW;
    const height = this.scroller.clientHeight - AXIS;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (top + ROW > this.scroller.scrollTop + height) this.scroller.scrollTop = top + ROW - height;
    const { ready, received } = this.run.operations;
    const size = this.to - this.from;
    if (ready[operation] >= this.to || received[operation] <= this.from) {
      const middle = (ready[operation] + received[operation]) / 2;
      this.range(middle - size / 2, middle + size / 2);
    }
  }

  private at(x: number, y: number): { row: Row; operation: number } | null {
    if (y < AXIS || x < 0) return null;
    const row = this.rows[Math.floor((y - AXIS + this.scroller.scrollTop) / ROW)];
    if (!row) return null;
    const time = this.time(x);
    const slack = (2 / this.plot) * (this.to - this.from);
    const { ready, received } = this.run.operations;
    let best = -1;
    if (x >= this.gutter) {
      for (const i of row.operations) {
        if (ready[i] > time + slack) break;
        if (time <= Math.max(received[i], ready[i]) + slack && (best < 0 || received[i] < received[best])) best = i;
      }
    }
    return { row, operation: best };
  }

  private hover(x: number, y: number): void {
    const found = this.at(x, y);
    const operation = found?.operation ?? -1;
    this.canvas.style.cursor = operation >= 0 || (found?.row.openable && x < this.gutter) ? "pointer" : "default";
    const { operations } = this.run;
    if (found && (operation >= 0 || found.row.site !== null)) {
      const site = found.row.site;
      const text =
        operation >= 0 && !(found.row.folded && x < this.gutter)
          ? `${visible(operations.path[operation])} · ${duration(operations.latency[operation])}` +
            (operations.waited(operation) >= 0.05 ? ` · waited ${duration(operations.waited(operation))}` : "") +
            (operations.failed(operation) ? ` · ${operations.outcome(operation)}` : "")
          : visible(this.run.sites[site!].path);
      this.tip.textContent = text;
      this.tip.hidden = false;
      const left = Math.min(x + 12, this.width - this.tip.offsetWidth - 4);
      this.tip.style.transform = `translate(${Math.max(0, left)}px, ${y + OVERVIEW + 20}px)`;
    } else this.tip.hidden = true;
    if (operation !== this.hovered) {
      this.hovered = operation;
      this.redraw();
    }
  }

  private click(x: number, y: number): void {
    const found = this.at(x, y);
    if (!found) return;
    if (found.row.openable && x < this.gutter) {
      const site = found.row.site!;
      if (!this.opened.delete(site)) this.opened.add(site);
      this.arrange();
    } else if (found.operation >= 0) this.view.select(found.operation);
    else if (found.row.site !== null) this.view.selectSite(found.row.site);
  }

  private draw(): void {
    this.colors ??= palette();
    this.drawOverview();
    const context = this.canvas.getContext("2d")!;
    const height = this.scroller.clientHeight;
    const { colors, scroller } = this;
    context.clearRect(0, 0, this.width, height);
    const first = Math.floor(scroller.scrollTop / ROW);
    const last = Math.min(this.rows.length, Math.ceil((scroller.scrollTop + height) / ROW));
    this.drawGrid(context, height);
    context.save();
    context.beginPath();
    context.rect(0, AXIS, this.width, height - AXIS);
    context.clip();
    for (let number = first; number < last; number++) {
      const y = AXIS + number * ROW - scroller.scrollTop;
      const row = this.rows[number];
      context.save();
      context.beginPath();
      context.rect(this.gutter, y, this.plot + 2, ROW);
      context.clip();
      if (row.folded) this.drawFolded(context, row, y);
      else this.drawLane(context, row, y);
      context.restore();
      this.drawName(context, row, number, y);
    }
    context.restore();
    if (document.activeElement === this.canvas) {
      context.strokeStyle = colors.critical;
      context.lineWidth = 2;
      context.strokeRect(1, 1, this.width - 2, height - 2);
    }
  }

  private drawGrid(context: CanvasRenderingContext2D, height: number): void {
    const { colors } = this;
    context.font = FONT;
    context.textBaseline = "middle";
    const step = niceStep((this.to - this.from) / Math.max(2, this.plot / 110));
    for (let at = Math.ceil(this.from / step) * step; at <= this.to; at += step) {
      const x = Math.round(this.x(at)) + 0.5;
      context.strokeStyle = colors.line;
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(x, AXIS - 4);
      context.lineTo(x, height);
      context.stroke();
      context.fillStyle = colors.faint;
      const text = axisLabel(at, step);
      if (x + 3 + context.measureText(text).width < this.gutter + this.plot + 8) context.fillText(text, x + 3, AXIS / 2);
    }
    for (const [at, text] of this.run.breaks ?? []) {
      const x = this.x(at);
      if (x < this.gutter) continue;
      context.strokeStyle = colors.text;
      context.setLineDash([3, 3]);
      context.beginPath();
      context.moveTo(x, 0);
      context.lineTo(x, height);
      context.stroke();
      context.setLineDash([]);
      context.fillStyle = colors.text;
      context.fillText(text, x + 4, height - 8);
    }
  }

  private drawName(context: CanvasRenderingContext2D, row: Row, number: number, y: number): void {
    const { colors, gutter } = this;
    context.font = FONT;
    context.textBaseline = "middle";
    context.textAlign = "left";
    context.fillStyle = colors.faint;
    if (!this.byPlace) {
      context.textAlign = "right";
      context.fillText(count(number + 1), gutter - 8, y + ROW / 2);
      context.textAlign = "left";
      return;
    }
    if (row.site === null) return;
    const site = this.run.sites[row.site];
    const mark = row.openable ? (this.opened.has(row.site) ? "▾" : "▸") : "";
    context.fillText(mark, 4, y + ROW / 2);
    const times = row.operations.length > 1 ? `×${count(row.operations.length)}` : "";
    const taken = times ? context.measureText(times).width + 8 : 0;
    context.fillText(times, gutter - taken, y + ROW / 2);
    context.fillStyle = row.site === this.view.site ? colors.critical : colors.text;
    context.fillText(fitted(context, visible(site.path), gutter - taken - 24), 16, y + ROW / 2);
    const found = distributions(this.run)[row.site];
    if (!found || !this.showsTimes) return;
    context.fillStyle = colors.faint;
    context.textAlign = "right";
    const text = row.folded ? `p50 ${duration(found.p50)} · p95 ${duration(found.p95)}` : duration(found.p50);
    context.fillText(text, this.width - 4, y + ROW / 2);
    context.textAlign = "left";
  }

  /** One row for all operations of a site: how many were in flight, and how long they took. */
  private drawFolded(context: CanvasRenderingContext2D, row: Row, y: number): void {
    const { colors, view } = this;
    const { operations } = this.run;
    const columns = Math.ceil(this.plot);
    const waits = new Float64Array(columns + 1);
    const works = new Float64Array(columns + 1);
    const critical = new Uint8Array(columns + 1);
    const bad = new Uint8Array(columns + 1);
    const matching = new Uint8Array(columns + 1);
    const column = (time: number): number => Math.min(columns, Math.max(0, Math.round(this.x(time) - this.gutter)));
    for (const i of row.operations) {
      if (operations.ready[i] > this.to) break;
      if (operations.received[i] < this.from) continue;
      const [ready, sent, received] = [column(operations.ready[i]), column(operations.began[i]), column(operations.received[i])];
      const end = Math.max(received, sent + 1);
      waits[ready]++;
      waits[sent]--;
      works[sent]++;
      if (end <= columns) works[end]--;
      if (operations.critical[i]) critical.fill(1, sent, end);
      if (operations.failed(i)) bad.fill(1, Math.max(sent, end - 2), end);
      if (view.matches?.[i]) matching.fill(1, sent, end);
    }
    let most = 1;
    let [waiting, working] = [0, 0];
    for (let x = 0; x < columns; x++) {
      waiting += waits[x];
      working += works[x];
      waits[x] = waiting;
      works[x] = working;
      most = Math.max(most, waiting + working);
    }
    const tall = ROW - 5;
    const high = (n: number): number => (n ? Math.max(1.5, (n / most) * tall) : 0);
    for (let x = 0; x < columns; x++) {
      const [work, wait] = [high(works[x]), high(waits[x])];
      const left = this.gutter + x;
      const base = y + ROW - 2;
      if (wait) {
        context.fillStyle = colors.wait;
        context.fillRect(left, base - work - wait, 1, wait);
      }
      if (work) {
        context.globalAlpha = view.matches && !matching[x] ? 0.25 : 1;
        context.fillStyle = colors.work;
        context.fillRect(left, base - work, 1, work);
        context.globalAlpha = 1;
        if (critical[x]) {
          context.fillStyle = colors.critical;
          context.fillRect(left, base - Math.min(work, 4), 1, Math.min(work, 4));
        }
      }
      if (bad[x]) {
        context.fillStyle = colors.bad;
        context.fillRect(left, y + 2, 1.5, tall);
      }
    }
    if (view.operation !== null && operations.site[view.operation] === row.site) this.outline(context, view.operation, y);
  }

  private drawLane(context: CanvasRenderingContext2D, row: Row, y: number): void {
    const { operations } = this.run;
    const all = row.operations;
    let low = 0;
    let high = all.length; // those of a lane do not overlap, so their ends are in order, too
    while (low < high) {
      const middle = (low + high) >> 1;
      if (operations.received[all[middle]] < this.from) low = middle + 1;
      else high = middle;
    }
    for (let k = low; k < all.length && operations.ready[all[k]] <= this.to; k++) this.drawBar(context, all[k], y);
  }

  private drawBar(context: CanvasRenderingContext2D, i: number, y: number): void {
    const { colors, view } = this;
    const { operations } = this.run;
    const top = y + 3;
    const tall = ROW - 6;
    context.globalAlpha = view.matches && !view.matches[i] ? 0.2 : 1;
    const bar = (from: number, to: number, color: string): [number, number] => {
      const left = Math.max(this.gutter - 2, this.x(from));
      const right = Math.min(this.width + 2, Math.max(this.x(to), this.x(from) + 1.5));
      context.fillStyle = color;
      context.fillRect(left, top, right - left, tall);
      return [left, right];
    };
    const wait = (from: number, to: number): void => {
      const left = Math.max(this.gutter - 2, this.x(from));
      const right = Math.min(this.width + 2, this.x(to));
      if (right - left < 1) return;
      context.fillStyle = colors.wait;
      context.fillRect(left, top + tall / 2 - 2, right - left, 4);
    };
    wait(operations.ready[i], operations.began[i]);
    if (operations.hasEarlier(i)) {
      let before: number | null = null;
      const attempts = operations.attempts(i);
      attempts.forEach((attempt, number) => {
        if (before !== null) wait(before, attempt.sent);
        if (number < attempts.length - 1) bar(attempt.sent, attempt.received, colors.bad);
        before = attempt.received;
      });
    }
    const bad = operations.failed(i);
    const critical = operations.critical[i];
    const [left, right] = bar(
      operations.sent[i], operations.received[i], bad ? colors.bad : critical ? colors.critical : colors.work,
    );
    if (right - left > 48) {
      context.font = FONT;
      context.textBaseline = "middle";
      context.fillStyle = critical || bad ? colors.surface : colors.text;
      context.fillText(fitted(context, visible(operations.path[i]), right - left - 10), left + 5, top + tall / 2 + 0.5);
    }
    context.globalAlpha = 1;
    if (i === view.operation || i === this.hovered) this.outline(context, i, y);
  }

  private outline(context: CanvasRenderingContext2D, i: number, y: number): void {
    const { operations } = this.run;
    const left = Math.max(this.gutter, this.x(operations.ready[i]) - 1.5);
    const right = Math.min(this.gutter + this.plot + 2, Math.max(this.x(operations.received[i]), this.x(operations.began[i]) + 1.5) + 1.5);
    context.strokeStyle = i === this.view.operation ? this.colors.select : this.colors.faint;
    context.lineWidth = 2;
    context.strokeRect(left, y + 2, Math.max(3, right - left), ROW - 4);
  }

  /** How many operations were in flight, over all of the run; what is seen below is bright. */
  private drawOverview(): void {
    const context = this.overview.getContext("2d")!;
    const { colors } = this;
    const columns = Math.ceil(this.plot);
    if (this.levels?.length !== columns + 2) this.levels = null;
    if (!this.levels) {
      const { operations } = this.run;
      const levels = new Float64Array(columns + 2);
      const column = (time: number): number => Math.min(columns, Math.max(0, Math.round((time / this.end) * columns)));
      for (let i = 0; i < operations.count; i++) {
        const from = column(operations.began[i]);
        levels[from]++;
        levels[Math.max(from + 1, column(operations.received[i]))]--;
      }
      let level = 0;
      for (let x = 0; x <= columns; x++) levels[x] = level += levels[x];
      this.levels = levels;
    }
    let most = 1;
    for (const level of this.levels) most = Math.max(most, level);
    context.clearRect(0, 0, this.width, OVERVIEW);
    context.fillStyle = colors.work;
    for (let x = 0; x < columns; x++) {
      const tall = (this.levels[x] / most) * (OVERVIEW - 8);
      if (tall) context.fillRect(this.gutter + x, OVERVIEW - 2 - tall, 1, tall);
    }
    context.fillStyle = colors.faint;
    context.font = FONT;
    context.textBaseline = "top";
    context.textAlign = "right";
    context.fillText(count(most), this.gutter - 8, 5);
    context.textAlign = "left";
    const [left, right] = [this.from, this.to].map((time) => this.gutter + (time / this.end) * this.plot);
    context.fillStyle = colors.surface;
    context.globalAlpha = 0.65;
    context.fillRect(this.gutter, 0, left - this.gutter, OVERVIEW);
    context.fillRect(right, 0, this.gutter + this.plot - right, OVERVIEW);
    context.globalAlpha = 1;
    if (right - left < this.plot - 1) {
      context.strokeStyle = colors.critical;
      context.lineWidth = 1;
      context.strokeRect(left + 0.5, 1.5, Math.max(2, right - left - 1), OVERVIEW - 3);
    }
  }
}

const FONT = "11px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";

function palette(): Colors {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  return {
    text: of("text"), faint: of("faint"), line: of("line"), surface: of("surface"), work: of("work"),
    critical: of("accent"), wait: of("wait"), bad: of("bad"), select: of("text"),
  };
}

function legend(): HTMLElement {
  const entry = (kind: string, text: string): HTMLElement => h("span", {}, h("i", { class: `key ${kind}` }), text);
  return h(
    "div",
    { class: "legend" },
    entry("critical", "critical path"), entry("work", "in flight"), entry("wait", "waiting"), entry("bad", "failed"),
  );
}

/** As few lanes as there can be, in none of which two operations overlap. */
function packed(run: Run, all: Int32Array): Int32Array[] {
  const { ready, routed, received } = run.operations;
  const order = all.slice().sort((a, b) => ready[a] - ready[b] || a - b);
  const free: number[] = []; // lanes that are free now: a heap, the first lane on top
  const busy: [number, number][] = []; // ends and lanes: a heap, the next end on top
  const lanes: number[][] = [];
  for (const i of order) {
    while (busy.length && busy[0][0] <= ready[i]) pushed(free, popped(busy, pairLess)![1], numberLess);
    const lane = free.length ? popped(free, numberLess)! : lanes.push([]) - 1;
    lanes[lane].push(i);
    pushed(busy, [Math.max(routed[i], received[i]), lane] as [number, number], pairLess);
  }
  return lanes.map((lane) => Int32Array.from(lane));
}

const numberLess = (a: number, b: number): boolean => a < b;
const pairLess = (a: [number, number], b: [number, number]): boolean => a[0] < b[0];

function pushed<T>(heap: T[], item: T, less: (a: T, b: T) => boolean): void {
  let at = heap.push(item) - 1;
  while (at && less(heap[at], heap[(at - 1) >> 1])) {
    const parent = (at - 1) >> 1;
    [heap[at], heap[parent]] = [heap[parent], heap[at]];
    at = parent;
  }
}

function popped<T>(heap: T[], less: (a: T, b: T) => boolean): T | undefined {
  const top = heap[0];
  const last = heap.pop();
  if (heap.length && last !== undefined) {
    heap[0] = last;
    for (let at = 0; ; ) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) if (child < heap.length && less(heap[child], heap[least])) least = child;
      if (least === at) break;
      [heap[at], heap[least]] = [heap[least], heap[at]];
      at = least;
    }
  }
  return top;
}

function rowNumbers(lanes: Int32Array[], size: number): Int32Array {
  const found = new Int32Array(size);
  lanes.forEach((lane, number) => lane.forEach((i) => (found[i] = number)));
  return found;
}

function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  for (const factor of [1, 2, 5, 10]) if (power * factor >= least) return power * factor;
  return power * 10;
}

function axisLabel(at: number, step: number): string {
  const digits = (unit: number): number => Math.max(0, Math.min(3, Math.ceil(-Math.log10(step / unit) - 1e-9)));
  if (step >= 60_000) return duration(at);
  if (step >= 100 || at >= 10_000) return `${(at / 1000).toFixed(digits(1000))} s`;
  return `${at.toFixed(digits(1))} ms`;
}

function fitted(context: CanvasRenderingContext2D, text: string, width: number): string {
  if (text.length > 400) text = `…${text.slice(-400)}`;
  if (context.measureText(text).width <= width) return text;
  let low = 0;
  let high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(`…${text.slice(-middle)}`).width <= width) low = middle;
    else high = middle - 1;
  }
  return low ? `…${text.slice(-low)}` : "";
}

