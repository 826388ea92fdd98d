// @ts-check
/**
 * Markdown as it streams: marked's lexer, our own DOM. Blocks that are complete are never touched again; only the open
 * one is lexed and patched. So a frame's cost does not grow with the answer, and a selection survives. Nothing is
 * parsed as HTML, no image is loaded, no link runs code.
 *
 * @typedef {import('./blocks.js').Token} Token
 * @typedef {import('./blocks.js').Holder} Holder
 * @typedef {{ Lexer: any, options: any }} Marked
 */
import { flatBlocks, sync } from './blocks.js';
import { decorate } from './decorate.js';
import { h } from './dom.js';
import { relaxed } from './emphasis.js';
import { mathExtensions } from './math.js';
import { noteExtensions } from './notes.js';
import { Runs } from './runs.js';

/** @type {Marked | null} */
let marked = null;
/** Its rules for what stands in a line, as ours. @type {any} */
let inline = null;

// The lexer comes first, so that no text is ever shown in two ways. Without it, in a build that had no npm, text is
// shown unchanged.
try {
  const path = './vendor/marked.esm.js';
  const { Lexer, Marked } = await import(path);
  marked = { Lexer, options: new Marked({ gfm: true, extensions: [...mathExtensions, ...noteExtensions] }).defaults };
} catch {
  marked = null;
}

/** A longer text, in characters, is no formula that somebody forgot to close: it is shown unchanged. */
const MOST_HELD = 1000;

/** A bracket that is open for longer, in characters, is no link: it is shown as it is. */
const MOST_LINK = 300;

/** Text that must not be shown yet: a fence, a formula, a link, a break or an underline that is half typed. @param {string} tail @param {boolean} inCode */
function held(tail, inCode) {
  const line = tail.slice(tail.lastIndexOf('\n') + 1);
  if (/^ {0,3}(`{1,}|~{1,})[^`\n]*$/.test(line) && (inCode || /^ {0,3}(`{1,2}|~{1,2}|(`{3,}|~{3,})[^`]*)$/.test(line))) return line.length;
  if (inCode) return 0;
  // It would make a heading of the line above, until its text shows that it is a list or a rule.
  if (/^ {0,3}(-+|=+) *$/.test(line) && /\S[^\n]*\n$/.test(tail.slice(0, -line.length))) return line.length;
  // A footnote, or a reference to one at the line's beginning.
  if (/^ {0,3}\[\^\d{1,4}\]:?$/.test(line)) return line.length;
  // Behind a list and an empty line it may be the list's next item, which changes how the list looks.
  if (/^ {0,3}(\d{1,9}[.)]?|[-*+]) *$/.test(line)) return line.length;
  const formula = /(?:^|\n) {0,3}((?:\$\$|\\\[)(?:(?!\n\s*\n|\$\$|\\\])[^])*)$/.exec(tail);
  if (formula && formula[1].length < MOST_HELD) return formula[1].length;
  const open = /!?\[[^\]\n]*(\]\([^()\s]*)?$/.exec(line) ?? /<(b(r ?\/?)?)?$/i.exec(line);
  return open && open[0].length < MOST_LINK ? open[0].length : 0;
}

/** Closes what the open paragraph has half typed, so that nothing jumps when the end comes. @param {string} text */
function mended(text) {
  const last = text.slice(text.lastIndexOf('\n\n') + 1);
  if ((last.match(/`/g) ?? []).length % 2) return `${text}\``;
  if ((last.match(/\*\*/g) ?? []).length % 2) return text.endsWith('**') ? text.slice(0, -2) : `${text.trimEnd()}**`;
  return text;
}

/** Blocks stand in groups of so many: a frame lays out those of one, and finds the others as they were. */
const GROUP = 32;

export class Markdown {
  /** @param {Holder} root */
  constructor(root) {
    this.root = root;
    root.classList.add('markdown');
    /** Characters that are in complete blocks. */
    this.settled = 0;
    /** Where the open block stands, behind so many complete ones. @type {Holder | null} */
    this.group = null;
    this.inGroup = 0;
    this.shown = '';
    this.inCode = false;
    /** Where `[name]` leads. @type {Record<string, any>} */
    this.links = {};
    this.runs = new Runs();
    this.late = false;
    /** The text behind the block that is open now, once that is complete. @type {HTMLElement[]} */
    this.marks = [];
    this.reset();
  }

  reset() {
    this.root.replaceChildren();
    this.settled = 0;
    this.group = null;
    this.inGroup = 0;
    this.shown = '';
    this.inCode = false;
    this.links = {};
    this.runs = new Runs();
  }

  /** Shows `text`, which begins with what was shown before, or else everything anew. @param {string} text @param {boolean} [complete] */
  write(text, complete = false) {
    if (!text.startsWith(this.shown.slice(-64), Math.max(0, this.shown.length - 64)) || text.length < this.shown.length) this.reset();
    if (text === this.shown && !complete) return;
    this.shown = text;
    if (!marked) return this.plain(text);
    let tail = text.slice(this.settled);
    if (!complete) {
      const hold = held(tail, this.inCode);
      if (hold) tail = tail.slice(0, -hold);
    }
    let tokens = this.lex(tail);
    const last = tokens.findLastIndex((t) => t.type !== 'space');
    const keep = complete ? tokens.length : Math.max(0, last);
    const done = tokens.slice(0, keep);
    for (const token of done) {
      this.settled += token.raw.length;
      this.settle(token);
    }
    tokens = tokens.slice(keep);
    const open = tokens[0];
    this.inCode = Boolean(open?.type === 'code' && /^ {0,3}[`~]/.test(open.raw));
    if (open !== undefined && !complete && !this.inCode && /^(paragraph|list|heading|blockquote)$/.test(open.type)) {
      const end = mended(open.raw);
      if (end !== open.raw) tokens = this.lex(end);
    }
    this.open(flatBlocks(tokens));
    // A reference was defined behind its use: complete blocks are read again.
    if (complete && this.late) this.again(text);
  }

  /** @param {string} text */
  again(text) {
    const { links } = this;
    this.reset();
    Object.assign(this, { links, late: false });
    this.write(text, true);
  }

  /** @param {string} text @returns {Token[]} */
  lex(text) {
    const lexer = new /** @type {Marked} */ (marked).Lexer(/** @type {Marked} */ (marked).options);
    const { rules } = lexer.tokenizer;
    lexer.tokenizer.rules = { ...rules, inline: (inline ??= relaxed(rules.inline)) };
    Object.assign(lexer.tokens.links, this.links);
    const inTokens = lexer.inlineTokens.bind(lexer);
    lexer.inlineTokens = (/** @type {string} */ source, /** @type {Token[]} */ tokens = []) => this.runs.lex(source, tokens, inTokens);
    return lexer.lex(text);
  }

  /** A block is complete: it takes its place for good. @param {Token} token */
  settle(token) {
    if (token.type === 'def' && !this.links[token.tag ?? '']) {
      this.links[token.tag ?? ''] = { href: token.href, title: token.title };
      this.late = this.group !== null;
    }
    const [shown] = flatBlocks([token]);
    if (!shown) return;
    const group = this.open([shown]);
    const node = group?.childNodes[this.inGroup];
    this.inGroup += 1;
    if (group) group.tokens = [];
    if (node instanceof HTMLElement) decorate(node);
    for (const mark of this.marks.splice(0)) {
      group?.insertBefore(mark, group.childNodes[this.inGroup] ?? null);
      this.inGroup += 1;
    }
  }

  /** Shows what is behind the complete blocks. @param {Token[]} tokens */
  open(tokens) {
    if (tokens.length && (!this.group || this.inGroup === GROUP)) {
      this.group = h('div', { class: 'group' });
      this.inGroup = 0;
      this.root.append(this.group);
    }
    if (this.group) sync(this.group, tokens, this.inGroup);
    return this.group;
  }

  /** Without a lexer: paragraphs. @param {string} text */
  plain(text) {
    const paragraphs = text.split(/\n{2,}/);
    for (let i = Math.max(0, this.root.childElementCount - 1); i < paragraphs.length; i += 1) {
      const node = this.root.children[i];
      if (node) node.textContent = paragraphs[i];
      else this.root.append(h('p', { dir: 'auto', class: 'plain' }, paragraphs[i]));
    }
  }
}
