// Numbers as people read them.

const NUMBER = new Intl.NumberFormat("en-US");

export const count = (n: number): string => NUMBER.format(n);

export const plural = (n: number, noun: string): string => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;

/** A duration given in ms, with as many digits as tell something. */
export function duration(ms: number): string {
  const sign = ms < 0 ? "−" : "";
  const size = Math.abs(ms);
  if (size >= 60_000) {
    const seconds = Math.round(size / 1000);
    const hours = Math.floor(seconds / 3600);
    const minutes = Math.floor(seconds / 60) % 60;
    return sign + (hours ? `${count(hours)} h ${pad(minutes)} min` : `${minutes} min ${pad(seconds % 60)} s`);
  }
  if (size >= 1000) return `${sign}${(size / 1000).toFixed(2)} s`;
  if (size >= 1) return `${sign}${size.toFixed(1)} ms`;
  return size === 0 ? "0 ms" : `${sign}${size.toFixed(2)} ms`;
}

const pad = (n: number): string => String(n).padStart(2, "0");

export const percent = (share: number): string => `${(share * 100).toFixed(share !== 0 && Math.abs(share) < 0.1 ? 1 : 0)}%`;

/** A number or a dash: nobody knows it. */
export const known = (n: number | null): string => (n === null || n < 0 ? "–" : count(n));

// What shows nothing, drives something, or turns the direction of the text around it.
const ODD =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]|[\u{e0000}-\u{e007f}]/gu;

const named = (odd: string): string => `U+${odd.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}`;

/** A text in which what cannot be seen is named. */
export const visible = (text: string): string => text.replace(ODD, (odd) => `⟨${named(odd)}⟩`);

/** The same as nodes, in which what is named looks different from what is there. */
export function visibleNodes(text: string): Node[] {
  const nodes: Node[] = [];
  let from = 0;
  for (const found of text.matchAll(ODD)) {
    if (found.index > from) nodes.push(document.createTextNode(text.slice(from, found.index)));
    const mark = document.createElement("span");
    mark.className = "odd";
    mark.textContent = named(found[0]);
    nodes.push(mark);
    from = found.index + found[0].length;
  }
  if (from < text.length) nodes.push(document.createTextNode(text.slice(from)));
  return nodes;
}
