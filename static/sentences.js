// @ts-check
/** Whole sentences of a running answer, for a person who asked to hear them: never tokens. */

/** They are read at most every so many ms, so that they do not cut each other off. */
const EVERY = 2000;

/** Text that can be read aloud now and was not yet. @param {import('./conversation.js').Live} live */
export function sentences(live) {
  if (!live.answer.done && performance.now() - (live.spokenAt ?? 0) < EVERY) return '';
  const rest = live.answer.said.text.slice(live.spoken ?? 0);
  const end = /^[^]*[.!?…](?=\s)|^[^]*[.!?…]$/.exec(rest)?.[0];
  if (!end) return '';
  live.spoken = (live.spoken ?? 0) + end.length;
  live.spokenAt = performance.now();
  return `${end.replace(/[*_`#>|~]+/g, '').trim()} `;
}
