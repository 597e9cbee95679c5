// What the page knows: unpacked once when it opens; texts when somebody looks at them.

export interface Site {
  path: string;
  operation: string;
  family: string;
  file: string;
  line: number;
  column: number;
  opened: number;
}

export interface Attempt {
  asked: number;
  granted: number;
  sent: number;
  received: number;
  outcome: string;
  input: number;
  output: number;
}

export interface Failure {
  path: string;
  where: string;
  kind: string;
  message: string;
}

export interface Figures {
  duration: number;
  t1: number;
  t_inf: number;
  parallelism: number;
  speedup: number;
  most: number;
  mean: number;
  executed: number;
  failed: number;
  caught: number;
  reused: number;
  skipped: number;
  calls: number;
  repairs: number;
  retries: number;
  input: number | null;
  output: number | null;
  cost: number | null;
  p50: number;
  p95: number;
  longest: number;
  overhead: number;
}

export interface Backend {
  name: string;
  kind: string;
  model: string;
  endpoint: string | null;
  simulated: boolean;
}

export interface Gain {
  kind: string;
  change: string;
  where: string;
  ms: number;
  percent: number;
  low_ms: number;
  high_ms: number;
  cost: number | null;
  unseen: number | null;
}

export interface Advice {
  duration_ms: number;
  rerun_ms: number;
  /** Null where it was not tried. */
  fits: boolean | null;
  gains: Gain[];
  unsure: Gain[];
  notes: string[];
}

interface RawRun {
  id: string;
  name: string;
  began: number | null;
  kind: string;
  status: string;
  said: string[];
  failures: Failure[];
  caught: Failure[];
  value: string | null;
  redacts: boolean;
  notes: string[];
  figures: Figures;
  backends: Backend[];
  losses: { terms: Record<string, number>; calibrated: boolean; transport_included: boolean; classes_of_one: string[] } | null;
  advice: Advice | null;
  breaks?: [number, string][];
  sites: [string, string, string, string, number, number, number][];
  edges: [number, number][];
  operations: RawOperations;
}

interface RawOperations {
  path: string[];
  site: number[];
  ready: number[];
  asked: number[];
  granted: number[];
  sent: number[];
  received: number[];
  routed: number[];
  service: number[];
  input: number[];
  output: number[];
  outcome: number[];
  backend: number[];
  words: string[];
  first: Record<string, number>;
  earlier: Record<string, number[][]>;
  critical: number[];
  texts: number[][];
}

/** The operations that waited, in columns; instants in ms since the beginning of the run. */
export class Operations {
  readonly count: number;
  readonly path: string[];
  readonly site: Int32Array;
  readonly ready: Float64Array;
  readonly asked: Float64Array;
  readonly granted: Float64Array;
  readonly sent: Float64Array;
  readonly received: Float64Array;
  readonly routed: Float64Array;
  /** In flight for the first time: the first attempt's `sent`. */
  readonly began: Float64Array;
  /** The latency of all attempts: what T1 is made of. */
  readonly latency: Float64Array;
  readonly critical: Uint8Array;
  /** The place of each on the critical path. */
  readonly criticalPath: number[];

  constructor(private readonly raw: RawOperations) {
    const n = (this.count = raw.path.length);
    this.path = raw.path;
    this.site = Int32Array.from(raw.site);
    const instants = [raw.ready, raw.asked, raw.granted, raw.sent, raw.received, raw.routed].map(() => new Float64Array(n));
    [this.ready, this.asked, this.granted, this.sent, this.received, this.routed] = instants as [
      Float64Array, Float64Array, Float64Array, Float64Array, Float64Array, Float64Array,
    ];
    this.latency = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      let at = raw.ready[i];
      this.ready[i] = at / 1000;
      this.asked[i] = (at += raw.asked[i]) / 1000;
      this.granted[i] = (at += raw.granted[i]) / 1000;
      this.sent[i] = (at += raw.sent[i]) / 1000;
      this.received[i] = (at += raw.received[i]) / 1000;
      this.routed[i] = (at += raw.routed[i]) / 1000;
      this.latency[i] = this.received[i] - this.sent[i];
    }
    this.began = this.sent.slice();
    for (const key in raw.earlier) {
      const i = Number(key);
      this.began[i] = raw.earlier[key][0][2] / 1000;
      for (const each of raw.earlier[key]) this.latency[i] += (each[3] - each[2]) / 1000;
    }
    this.criticalPath = raw.critical;
    this.critical = new Uint8Array(n);
    for (const i of raw.critical) this.critical[i] = 1;
  }

  outcome(i: number): string {
    return this.raw.words[this.raw.outcome[i]];
  }

  backend(i: number): string {
    return this.raw.words[this.raw.backend[i]];
  }

  failed(i: number): boolean {
    return this.outcome(i) !== "ok";
  }

  input(i: number): number {
    return this.raw.input[i];
  }

  output(i: number): number {
    return this.raw.output[i];
  }

  service(i: number): number | null {
    return this.raw.service[i] < 0 ? null : this.raw.service[i] / 1000;
  }

  first(i: number): number | null {
    const found = this.raw.first[i];
    return found === undefined ? null : found / 1000;
  }

  hasEarlier(i: number): boolean {
    return this.raw.earlier[i] !== undefined;
  }

  /** All attempts, the last one included. */
  attempts(i: number): Attempt[] {
    const earlier = (this.raw.earlier[i] ?? []).map((each) => ({
      asked: each[0] / 1000,
      granted: each[1] / 1000,
      sent: each[2] / 1000,
      received: each[3] / 1000,
      outcome: this.raw.words[each[4]],
      input: each[5],
      output: each[6],
    }));
    return [
      ...earlier,
      {
        asked: this.asked[i],
        granted: this.granted[i],
        sent: this.sent[i],
        received: this.received[i],
        outcome: this.outcome(i),
        input: this.input(i),
        output: this.output(i),
      },
    ];
  }

  /** What it waited before its first attempt. */
  waited(i: number): number {
    return this.began[i] - this.ready[i];
  }

  texts(i: number): number[] {
    return this.raw.texts[i];
  }
}

export interface Run extends Omit<RawRun, "sites" | "operations"> {
  number: number;
  sites: Site[];
  operations: Operations;
  /** The operations of each site, in order of their beginning. */
  bySite: Int32Array[];
}

export interface Change {
  path: string;
  operation: string;
  calls: [number, number];
  time: [number, number];
  tokens: [number | null, number | null];
  changed: string[];
  number: number;
}

export interface Model {
  version: string;
  runs: Run[];
  sources: [string, string][];
  changes: Change[] | null;
  inputs: [id: string, status: string, began: number, ended: number, calls: number, tokens: number | null, error: string][] | null;
}

async function unpacked(id: string): Promise<unknown> {
  const element = document.getElementById(id);
  if (!element) throw new Error(`this file is not whole: it lacks ${id}`);
  const text = atob(element.textContent!);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

export async function load(): Promise<Model> {
  const raw = (await unpacked("model")) as Omit<Model, "runs"> & { runs: RawRun[] };
  document.getElementById("model")!.remove();
  return { ...raw, changes: raw.changes ?? null, inputs: raw.inputs ?? null, runs: raw.runs.map(read) };
}

function read(raw: RawRun, number: number): Run {
  const sites = raw.sites.map(([path, operation, family, file, line, column, opened]) => ({
    path, operation, family, file, line, column, opened,
  }));
  const operations = new Operations(raw.operations);
  const sizes = new Int32Array(sites.length);
  for (const site of operations.site) sizes[site]++;
  const bySite = Array.from(sizes, (size) => new Int32Array(size));
  const filled = new Int32Array(sites.length);
  for (let i = 0; i < operations.count; i++) bySite[operations.site[i]][filled[operations.site[i]]++] = i;
  for (const each of bySite) each.sort((a, b) => operations.ready[a] - operations.ready[b]);
  return { ...raw, number, sites, operations, bySite };
}

export type Part = [attempt: number, name: string, text: string];
const ENTRIES = 4096;
const pieces = new Map<string, Promise<Part[][]>>();

/** What the attempts of an operation asked and were answered. */
export async function textsOf(run: Run, i: number): Promise<Part[]> {
  const found: Part[] = [];
  for (const place of run.operations.texts(i)) {
    const id = `texts-${run.number}-${Math.floor(place / ENTRIES)}`;
    if (!pieces.has(id)) {
      if (pieces.size > 40) pieces.clear();
      pieces.set(id, unpacked(id) as Promise<Part[][]>);
    }
    found.push(...(await pieces.get(id)!)[place % ENTRIES]);
  }
  return found;
}

export interface Distribution {
  count: number;
  least: number;
  p25: number;
  p50: number;
  p75: number;
  p95: number;
  most: number;
  sum: number;
}

export function distribution(values: Float64Array): Distribution | null {
  if (!values.length) return null;
  const sorted = values.slice().sort();
  const at = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  let sum = 0;
  for (const value of sorted) sum += value;
  return {
    count: sorted.length, least: sorted[0], p25: at(0.25), p50: at(0.5), p75: at(0.75), p95: at(0.95),
    most: sorted[sorted.length - 1], sum,
  };
}

const known = new WeakMap<Run, (Distribution | null)[]>();

/** How long the operations of each site took. */
export function distributions(run: Run): (Distribution | null)[] {
  let found = known.get(run);
  if (!found) {
    found = run.bySite.map((each) => distribution(Float64Array.from(each, (i) => run.operations.latency[i])));
    known.set(run, found);
  }
  return found;
}
