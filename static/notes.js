// @ts-check
/** Footnotes (`[^1]`) and GitHub's alerts (`> [!NOTE]`), as marked's tokens. */

/** @typedef {import('./blocks.js').Token} Token */

/** Only numbers: `[^abc]` in a text is more often a class of characters. */
const REFERENCE = /^\[\^(\d{1,4})\](?!\()/;
const FOOTNOTE = /^ {0,3}\[\^(\d{1,4})\]:[ \t]*([^\n]*(?:\n(?:[ ]{2,}|\t)[^\n]*\S[^\n]*)*)(?:\n+|$)/;

export const noteExtensions = [
  {
    name: 'footnote',
    level: 'block',
    start: (/** @type {string} */ source) => source.match(/(^|\n) {0,3}\[\^\d{1,4}\]:/)?.index,
    /** @this {any} @param {string} source */
    tokenizer(source) {
      const match = FOOTNOTE.exec(source);
      if (!match) return undefined;
      return { type: 'footnote', raw: match[0], text: match[1], tokens: this.lexer.blockTokens(match[2].replace(/\n[ \t]+/g, '\n'), []) };
    },
  },
  {
    name: 'reference',
    level: 'inline',
    start: (/** @type {string} */ source) => source.match(/\[\^\d/)?.index,
    tokenizer: (/** @type {string} */ source) => {
      const match = REFERENCE.exec(source);
      return match ? { type: 'reference', raw: match[0], text: match[1] } : undefined;
    },
  },
];

const ALERT = /^\[!(note|tip|important|warning|caution)\][ \t]*(?:\n|$)/i;

/** Which alert a quotation is, if it is one: `note`, `tip`, … @param {Token} quotation */
export const alertOf = (quotation) => ALERT.exec(quotation.text ?? '')?.[1].toLowerCase();

/** The text of an alert, without its mark. @param {Token[]} tokens @returns {Token[]} */
export function withoutMark([first, ...rest]) {
  if (!first?.tokens?.length) return rest;
  const [mark, ...inline] = first.tokens;
  const text = (mark.text ?? '').replace(ALERT, '');
  const tokens = text ? [{ ...mark, raw: text, text }, ...inline] : inline.slice(inline[0]?.type === 'br' ? 1 : 0);
  return tokens.length ? [{ ...first, raw: first.raw.replace(ALERT, ''), tokens }, ...rest] : rest;
}
