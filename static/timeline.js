// @ts-check
/**
 * The times at which a generation's events were stored, drawn: a strip of time with a tick for each event. Below it is
 * the gap before each event, on a scale of powers of ten, so that 5 ms and 5 s are both seen.
 *
 * @typedef {{ seq: number, type: string, at_ms: number, bytes: number, epoch: number }} Moment
 */
import { h } from './dom.js';

const WIDTH = 1000;
const STRIP = 56;
const GAPS = 150;
/** The scale of gaps, in ms: a shorter gap has no height, a longer one fills it. */
const FLOOR = 1;
const CEILING = 100_000;
/** Gaps that are named beside the drawing. */
const NAMED = 5;
/** A pause that a reader sees, in ms. */
const LONG = 1000;
const TOKENS = new Set(['delta', 'reasoning', 'refusal', 'tool_call']);

/** @param {number} ms */
export const span = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : ms < 120_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60_000)} min`);

/** @param {string} tag @param {Record<string, any>} attributes @param {...(Node | string)} children */
function svg(tag, attributes, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** The pause before each event but the first. @param {Moment[]} moments */
export function gaps(moments) {
  return moments.slice(1).map((moment, i) => ({ ...moment, gap: Math.max(0, moment.at_ms - moments[i].at_ms) }));
}

/** @param {Moment[]} moments */
function strip(moments) {
  const [first, last] = [moments[0].at_ms, moments.at(-1)?.at_ms ?? 0];
  const x = (/** @type {Moment} */ m) => (10 + ((m.at_ms - first) / Math.max(1, last - first)) * (WIDTH - 20)).toFixed(1);
  const ticks = moments.filter((m) => TOKENS.has(m.type)).map((m) => `M${x(m)} 18v24`).join('');
  const marks = moments.filter((m) => !TOKENS.has(m.type)).map((m) => `M${x(m)} 8v40`).join('');
  return svg('svg', { class: 'chart', viewBox: `0 0 ${WIDTH} ${STRIP}`, role: 'img', 'aria-label': `${moments.length} events in ${span(last - first)}` },
    svg('path', { class: 'tick', d: ticks }), svg('path', { class: 'mark', d: marks }));
}

/** @param {ReturnType<typeof gaps>} all */
function pauses(all) {
  const high = (/** @type {number} */ ms) => (Math.log(Math.min(CEILING, Math.max(FLOOR, ms)) / FLOOR) / Math.log(CEILING / FLOOR)) * (GAPS - 30);
  const step = (WIDTH - 70) / Math.max(1, all.length);
  const bars = (/** @type {(ms: number) => boolean} */ which) => all.map(({ gap }, i) => (which(gap) && high(gap) > 0 ? `M${(60 + (i + 0.5) * step).toFixed(1)} ${GAPS - 10}v${(-high(gap)).toFixed(1)}` : '')).join('');
  const lines = [10, 100, 1000, 10_000].map((ms) => {
    const y = (GAPS - 10 - high(ms)).toFixed(1);
    return [svg('path', { class: 'grid', d: `M60 ${y}H${WIDTH - 10}` }), svg('text', { x: 52, y: Number(y) + 4, 'text-anchor': 'end' }, span(ms))];
  });
  const width = Math.max(0.5, Math.min(8, step * 0.7)).toFixed(1);
  return svg('svg', { class: 'chart', viewBox: `0 0 ${WIDTH} ${GAPS}`, role: 'img', 'aria-label': `The gap before each of ${all.length} events` },
    ...lines.flat(),
    svg('path', { class: 'bar', d: bars((gap) => gap < LONG), 'stroke-width': width }),
    svg('path', { class: 'long', d: bars((gap) => gap >= LONG), 'stroke-width': width }));
}

/** A narrow screen scrolls a drawing instead of making it unreadable. @param {string} name @param {Node} drawing */
const framed = (name, drawing) => h('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': name }, drawing);

/** The drawing, and the same in words. @param {Moment[]} moments @returns {Node[]} */
export function timeline(moments) {
  if (!moments.length) return [h('p', { class: 'quiet' }, 'No events of it are kept any more.')];
  const all = gaps(moments);
  const sorted = all.map(({ gap }) => gap).sort((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const longest = [...all].sort((a, b) => b.gap - a.gap).slice(0, NAMED);
  const special = moments.filter((m) => !TOKENS.has(m.type));
  return [
    h('h3', null, 'Events over time'), framed('Events over time', strip(moments)),
    h('h3', null, 'The gap before each event'), framed('Gaps', pauses(all)),
    h('p', { class: 'quiet', id: 'gaps' }, `Half of the gaps are below ${span(middle)}. The longest: ${longest.map((m) => `${span(m.gap)} before ${m.seq}`).join(', ') || 'none'}.`),
    h('p', { class: 'quiet' }, special.map((m) => `${m.seq} ${m.type} at ${span(m.at_ms)}`).join(' · ')),
  ];
}
