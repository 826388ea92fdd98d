// @ts-check
/**
 * Markdown as it streams: marked's lexer, our own DOM. Blocks that are complete are never touched
 * again; only the open one is lexed and patched, so that a frame's cost does not grow with the answer
 * and a selection survives. Nothing is parsed as HTML, no image is loaded, no link runs code.
 *
 * @typedef {{ type: string, raw: string, text?: string, tokens?: Token[], [field: string]: any }} Token
 * @typedef {{ Lexer: any, options: any }} Marked
 */
import { h, icon, copy } from './dom.js';
import { decorate } from './decorate.js';
import { mathExtensions } from './math.js';

/** @type {Marked | null} */
let marked = null;

// The lexer comes first, so that no text is ever shown in two ways. Without it, in a build that had no npm, text is
// shown as it is.
try {
  const path = './vendor/marked.esm.js';
  const { Lexer, Marked } = await import(path);
  marked = { Lexer, options: new Marked({ gfm: true, extensions: mathExtensions }).defaults };
} catch {
  marked = null;
}

/** @type {Record<string, string>} */
const ENTITIES = {
  amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0', copy: '©', reg: '®', trade: '™', hellip: '…',
  mdash: '—', ndash: '–', lsquo: '‘', rsquo: '’', ldquo: '“', rdquo: '”', laquo: '«', raquo: '»', times: '×',
  middot: '·', bull: '•', deg: '°', plusmn: '±', rarr: '→', larr: '←', euro: '€', pound: '£', sect: '§', para: '¶',
};

/** @param {string} text */
function unescape(text) {
  if (!text.includes('&')) return text;
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|([a-z]+));/gi, (all, decimal, hex, name) => {
    if (name) return ENTITIES[name] ?? all;
    const code = Number.parseInt(decimal ?? hex, decimal ? 10 : 16);
    return code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code < 0xe000) ? String.fromCodePoint(code) : '\ufffd';
  });
}

/** A link's target, if it leads to a place and runs nothing. @param {string} href */
function safe(href) {
  try {
    const url = new URL(unescape(href));
    return ['http:', 'https:', 'mailto:'].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** Tokens whose nodes stand side by side: the parts of a tight item's text are its own. @param {Token[] | undefined} tokens @returns {Token[]} */
function flat(tokens) {
  const shown = (tokens ?? []).filter((t) => t.type !== 'space' && t.type !== 'def');
  return shown.flatMap((t) => (t.type === 'text' && t.tokens ? flat(t.tokens) : [t]));
}

/**
 * Makes the children of `parent`, behind the first `skip`, those of `tokens`, and leaves alone what is the same.
 * @typedef {HTMLElement & { tokens?: Token[] }} Holder
 * @param {Holder} parent @param {Token[]} tokens @param {number} [skip]
 */
function sync(parent, tokens, skip = 0) {
  const before = parent.tokens ?? [];
  for (let i = 0; i < tokens.length; i += 1) {
    const old = /** @type {any} */ (parent.childNodes[skip + i]);
    if (old && before[i]?.raw === tokens[i].raw && before[i].type === tokens[i].type) continue;
    if (!old) parent.append(build(tokens[i]));
    else if (before[i]?.type !== tokens[i].type || !patch(old, tokens[i], before[i])) old.replaceWith(build(tokens[i]));
  }
  while (parent.childNodes.length > skip + tokens.length) parent.lastChild?.remove();
  parent.tokens = tokens;
}

/** Changes a node in place, if what it shows only grew. @param {any} node @param {Token} token @param {Token} before */
function patch(node, token, before) {
  switch (token.type) {
    case 'text':
      node.data = unescape(token.text ?? '');
      return true;
    case 'paragraph':
    case 'blockquote':
    case 'strong':
    case 'em':
    case 'del':
      sync(node, flat(token.tokens));
      return true;
    case 'heading':
      if (token.depth !== before.depth) return false;
      sync(node, flat(token.tokens));
      return true;
    case 'code': {
      const code = node.querySelector('code');
      const shown = code.firstChild;
      if (token.lang !== before.lang || !shown || !token.text?.startsWith(shown.data)) return false;
      shown.appendData(token.text.slice(shown.data.length));
      return true;
    }
    case 'list':
      if (token.ordered !== before.ordered || token.loose !== before.loose) return false;
      sync(node, token.items);
      return true;
    case 'list_item':
      if (token.task !== before.task || token.checked !== before.checked) return false;
      sync(node, items(token));
      return true;
    case 'table': {
      if (String(token.align) !== String(before.align) || token.header.length !== before.header.length) return false;
      sync(node.querySelector('tbody'), rows(token));
      return true;
    }
    case 'row':
      sync(node, token.tokens ?? []);
      return true;
    case 'cell':
      sync(node, flat(token.tokens));
      return true;
    default:
      return false;
  }
}

/** @param {Token} token @returns {Token[]} */
function items(token) {
  const box = token.task ? [{ type: 'checkbox', raw: String(token.checked), checked: token.checked }] : [];
  return [...box, ...flat(token.tokens).filter((t) => t.type !== 'checkbox')];
}

/** @param {Token} table @returns {Token[]} */
function rows(table) {
  return table.rows.map((/** @type {any[]} */ row) => ({
    type: 'row',
    raw: row.map((cell) => cell.text).join('|'),
    tokens: row.map((cell) => ({ ...cell, type: 'cell', raw: cell.text })),
  }));
}

/** @param {Holder} parent @param {Token[]} tokens */
function filled(parent, tokens) {
  sync(parent, tokens);
  return parent;
}

/** @param {Token} token @returns {Node} */
function build(token) {
  const inside = () => flat(token.tokens);
  switch (token.type) {
    case 'text':
    case 'escape':
      return document.createTextNode(token.type === 'text' ? unescape(token.text ?? '') : (token.text ?? ''));
    case 'paragraph':
      return filled(h('p', { dir: 'auto' }), inside());
    case 'heading':
      // The page has its own first and second heading.
      return filled(h(/** @type {'h3'} */ (`h${Math.min(6, token.depth + 2)}`), { dir: 'auto', class: `h${token.depth}` }), inside());
    case 'strong':
    case 'em':
    case 'del':
      return filled(h(/** @type {'em'} */ (token.type)), inside());
    case 'codespan':
      return h('code', { dir: 'ltr' }, token.text ?? '');
    case 'br':
      return h('br');
    case 'hr':
      return h('hr');
    case 'blockquote':
      return filled(h('blockquote', { dir: 'auto' }), inside());
    case 'code':
      return code(token);
    case 'list': {
      const list = token.ordered ? h('ol', { dir: 'auto', start: token.start === 1 ? null : token.start }) : h('ul', { dir: 'auto' });
      return filled(list, token.items);
    }
    case 'list_item':
      return filled(h('li', { dir: 'auto', class: token.task ? 'task' : null }), items(token));
    case 'checkbox':
      return h('input', { type: 'checkbox', disabled: true, checked: token.checked, 'aria-label': token.checked ? 'done' : 'to do' });
    case 'table':
      return table(token);
    case 'row':
      return filled(h('tr'), token.tokens ?? []);
    case 'cell':
      return filled(h(token.header ? 'th' : 'td', { dir: 'auto', class: token.align, scope: token.header ? 'col' : null }), inside());
    case 'link':
      return link(token, inside());
    case 'image':
      return picture(token);
    case 'math':
    case 'mathblock':
      return h('span', { class: token.type, 'data-tex': token.text }, token.raw.trim());
    default:
      // Raw HTML, and whatever a later lexer knows: its source, as text.
      return token.type === 'html' && token.block ? h('p', { dir: 'auto', class: 'plain' }, token.raw) : document.createTextNode(token.raw);
  }
}

/** @param {Token} token @param {Token[]} inside */
function link(token, inside) {
  const href = safe(token.href ?? '');
  if (!href) return filled(h('span', { class: 'dead-link', title: 'This link leads nowhere safe' }), inside);
  return filled(h('a', { href, target: '_blank', rel: 'noopener noreferrer', title: token.title }), inside);
}

/** A picture from elsewhere would tell its server who reads: it becomes a link. @param {Token} token */
function picture(token) {
  const href = safe(token.href ?? '');
  const name = unescape(token.text || 'picture');
  if (!href) return h('span', { class: 'chip' }, icon('image'), name);
  return h('a', { class: 'chip', href, target: '_blank', rel: 'noopener noreferrer' }, icon('image'), `${name} (${new URL(href).host})`);
}

/** @param {Token} token */
function code(token) {
  const language = (token.lang ?? '').match(/^[\w+#.-]*/)?.[0] ?? '';
  const button = h('button', { type: 'button', class: 'copy', onclick: async () => {
    const done = await copy(body.textContent ?? '');
    button.textContent = done ? 'Copied' : 'Select and copy';
    setTimeout(() => (button.textContent = 'Copy'), 1500);
  } }, 'Copy');
  const body = h('code', { 'data-language': language || null });
  body.append(document.createTextNode(token.text ?? ''));
  const pre = h('pre', { tabindex: '0', role: 'group', 'aria-label': language ? `${language} code` : 'code' }, body);
  return h('div', { class: 'code', dir: 'ltr' }, h('div', { class: 'code-head' }, h('span', null, language || 'text'), button), pre);
}

/** @param {Token} token */
function table(token) {
  const head = h('tr', null, token.header.map((/** @type {any} */ cell) => build({ ...cell, type: 'cell', raw: cell.text })));
  const body = filled(h('tbody'), rows(token));
  return h('div', { class: 'table', tabindex: '0', role: 'group', 'aria-label': 'table' }, h('table', null, h('thead', null, head), body));
}

/** What is longer, in characters, is no formula that somebody forgot to close: it is shown as it is. */
const MOST_HELD = 1000;

/** What must not be shown yet: a fence, a formula or a link that is half typed. @param {string} tail @param {boolean} inCode */
function held(tail, inCode) {
  const line = tail.slice(tail.lastIndexOf('\n') + 1);
  if (/^ {0,3}(`{1,}|~{1,})[^`\n]*$/.test(line) && (inCode || /^ {0,3}(`{1,2}|~{1,2}|(`{3,}|~{3,})[^`]*)$/.test(line))) return line.length;
  if (inCode) return 0;
  const formula = /(?:^|\n) {0,3}((?:\$\$|\\\[)(?:(?!\n\s*\n|\$\$|\\\])[^])*)$/.exec(tail);
  if (formula && formula[1].length < MOST_HELD) return formula[1].length;
  const open = /!?\[[^\]\n]*(\]\([^()\s]*)?$/.exec(line);
  return open ? open[0].length : 0;
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
    this.late = false;
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
    // A reference that was defined behind its use: what was settled is seen with other eyes.
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
    Object.assign(lexer.tokens.links, this.links);
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

/** Blocks, each with one node. @param {Token[]} tokens @returns {Token[]} */
function flatBlocks(tokens) {
  const shown = tokens.filter((t) => t.type !== 'space' && t.type !== 'def');
  return shown.map((t) => (t.type === 'text' ? { ...t, type: 'paragraph', tokens: t.tokens ?? [{ type: 'text', raw: t.raw, text: t.text }] } : t));
}
