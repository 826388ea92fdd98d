// @ts-check
/**
 * A long paragraph in runs, so that a frame costs no more than its last run. A run ends at a space where no emphasis,
 * code, link or formula is open. The text before it decides this: text that comes in pieces ends as text that came at
 * once.
 *
 * @typedef {import('./blocks.js').Token} Token
 * @typedef {{ src: string, blocks: Token[], tokens: Token[], from: number }} Known what is lexed for good: whole blocks, and the runs behind them, which begin at `from`
 */

/** A run's least, in characters. */
const LEAST = 2000;
/** A mark that is still open after so many characters is taken for no mark at all. */
const MOST = 8000;
/** From so many characters on, a paragraph's runs stand in blocks of this length: browsers lay out a paragraph as a whole. */
const BLOCK = 16_000;
/** So many paragraphs are remembered: the open one, and those that an item or a quotation around it has. */
const REMEMBERED = 8;

/** How often each mark stands in a text. @param {string} text */
function isClosed(text) {
  const count = (/** @type {RegExp} */ mark) => (text.match(mark) ?? []).length;
  return [/\*/g, /_/g, /`/g, /~~/g, /\$/g].every((mark) => count(mark) % 2 === 0) && count(/\[/g) === count(/\]/g) && count(/\\\(/g) === count(/\\\)/g) && !/<[^>]*$/.test(text);
}

/** Where the run that begins at `from` ends; its text may still grow if there is no such place. @param {string} src @param {number} from */
function endOf(src, from) {
  if (src.length - from <= LEAST) return -1;
  const spaces = /\s/g;
  spaces.lastIndex = from + LEAST;
  for (let found; (found = spaces.exec(src)) && found.index < from + MOST; ) if (isClosed(src.slice(from, found.index))) return found.index;
  return src.length - from > MOST ? from + MOST : -1;
}

export class Runs {
  constructor() {
    /** @type {Known[]} */
    this.known = [];
  }

  /**
   * The tokens of a text, with those of its runs as they were.
   * @param {string} src @param {Token[]} tokens where they go @param {(src: string, tokens: Token[]) => Token[]} lex what makes those of a run
   */
  lex(src, tokens, lex) {
    if (src.length <= LEAST) return lex(src, tokens);
    let known = this.known.find((one) => src.startsWith(one.src));
    if (!known) {
      known = { src: '', blocks: [], tokens: [], from: 0 };
      this.known = [known, ...this.known].slice(0, REMEMBERED);
    }
    for (let end; (end = endOf(src, known.src.length)) >= 0; ) {
      known.tokens.push(...lex(src.slice(known.src.length, end), []));
      known.src = src.slice(0, end);
      if (end - known.from < BLOCK) continue;
      known.blocks.push({ type: 'run', raw: src.slice(known.from, end), tokens: known.tokens });
      Object.assign(known, { tokens: [], from: end });
    }
    const rest = [...known.tokens, ...lex(src.slice(known.src.length), [])];
    if (!known.blocks.length) tokens.push(...rest);
    else tokens.push(...known.blocks, { type: 'run', raw: src.slice(known.from), tokens: rest });
    return tokens;
  }
}
