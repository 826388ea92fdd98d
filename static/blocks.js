// @ts-check
/**
 * marked's tokens as elements. A node whose token only grew is changed in place. Nothing is parsed as HTML, no image
 * is loaded, no link runs code.
 *
 * @typedef {{ type: string, raw: string, text?: string, tokens?: Token[], [field: string]: any }} Token
 * @typedef {HTMLElement & { tokens?: Token[] }} Holder
 */
import { h, icon, copy } from './dom.js';
import { alertOf, withoutMark } from './notes.js';

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

/** Where the first letter of a text decides its direction: `dir="auto"` does not look into parts that have their own. */
const LETTER = /\p{L}/u;
const FROM_RIGHT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

/** @param {string} raw */
const direction = (raw) => (FROM_RIGHT.test(LETTER.exec(raw)?.[0] ?? '') ? 'rtl' : 'ltr');

/** @param {HTMLElement} node @param {Token} token */
function turn(node, token) {
  const dir = direction(token.raw);
  if (node.dir !== dir) node.dir = dir;
}

/** A line break that a model wrote as HTML: the one tag that is understood, because cells of tables have no other
 * way. */
const BREAK = /^\s*<br\s*\/?>\s*$/i;

/** Tokens whose nodes stand side by side: the parts of a tight item's text are its own. @param {Token[] | undefined} tokens @returns {Token[]} */
function flat(tokens) {
  const shown = (tokens ?? []).filter((t) => t.type !== 'space' && t.type !== 'def');
  return shown.flatMap((t) => (t.type === 'text' && t.tokens ? flat(t.tokens) : [t]));
}

/**
 * Makes the children of `parent`, behind the first `skip`, those of `tokens`, and does not touch equal ones.
 * @param {Holder} parent @param {Token[]} tokens @param {number} [skip]
 */
export function sync(parent, tokens, skip = 0) {
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
    case 'blockquote': {
      const alert = alertOf(token);
      if (alert !== alertOf(before)) return false;
      turn(node, token);
      if (alert) sync(node, withoutMark(flat(token.tokens)), 1);
      else sync(node, flat(token.tokens));
      return true;
    }
    case 'footnote':
      if (token.text !== before.text) return false;
      turn(node, token);
      sync(node, flat(token.tokens), 1);
      return true;
    case 'paragraph':
    case 'run':
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
      turn(node, token);
      sync(node, token.items);
      return true;
    case 'list_item':
      if (token.task !== before.task || token.checked !== before.checked) return false;
      sync(node, items(token));
      return true;
    case 'table': {
      if (String(token.align) !== String(before.align) || token.header.length !== before.header.length) return false;
      turn(node, token);
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
    case 'run':
      return filled(h('span', { class: 'run' }), inside());
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
      return quotation(token, inside());
    case 'footnote': {
      const note = h('div', { class: 'footnote', dir: direction(token.raw), 'data-note': token.text }, h('sup', null, token.text));
      sync(note, inside(), 1);
      return note;
    }
    case 'reference':
      return reference(token.text ?? '');
    case 'code':
      return code(token);
    case 'list': {
      const dir = direction(token.raw);
      const list = token.ordered ? h('ol', { dir, start: token.start === 1 ? null : token.start }) : h('ul', { dir });
      return filled(list, token.items);
    }
    case 'list_item':
      // Its mark stands where the list's direction wants it; its text turns by itself, see the style sheet.
      return filled(h('li', { class: token.task ? 'task' : null }), items(token));
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
      // Raw HTML except a break, and every kind of token of a later lexer: its source, as text.
      if (token.type === 'html' && BREAK.test(token.raw)) return token.block ? h('p', null, h('br')) : h('br');
      return token.type === 'html' && token.block ? h('p', { dir: 'auto', class: 'plain' }, token.raw) : document.createTextNode(token.raw);
  }
}

/** @param {Token} token @param {Token[]} inside */
function quotation(token, inside) {
  const alert = alertOf(token);
  const box = h('blockquote', { dir: direction(token.raw), class: alert ? `alert ${alert}` : null });
  if (!alert) return filled(box, inside);
  box.append(h('strong', { class: 'alert-title' }, alert[0].toUpperCase() + alert.slice(1)));
  sync(box, withoutMark(inside), 1);
  return box;
}

/** Leads to its footnote in the same answer, once that is there. @param {string} number */
function reference(number) {
  const go = (/** @type {Event} */ { target }) => {
    const answer = /** @type {HTMLElement} */ (target).closest('.markdown');
    answer?.querySelector(`[data-note="${number}"]`)?.scrollIntoView({ block: 'center' });
  };
  return h('sup', null, h('button', { type: 'button', class: 'link', 'aria-label': `Footnote ${number}`, onclick: go }, number));
}

const SCHEME = /^\s*[a-z][a-z\d+.-]*:/i;

/** @param {Token} token @param {Token[]} inside */
function link(token, inside) {
  const href = safe(token.href ?? '');
  const why = SCHEME.test(unescape(token.href ?? '')) ? 'This link leads nowhere safe' : `A link inside a project, which is not here: ${token.href}`;
  if (!href) return filled(h('span', { class: 'dead-link', title: why }), inside);
  return filled(h('a', { href, target: '_blank', rel: 'noopener noreferrer', title: token.title }), inside);
}

/** A picture from elsewhere would show its server the reader: it becomes a link. @param {Token} token */
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
  return h('div', { class: 'table', dir: direction(token.raw), tabindex: '0', role: 'group', 'aria-label': 'table' }, h('table', null, h('thead', null, head), body));
}

/** Blocks, each with one node. @param {Token[]} tokens @returns {Token[]} */
export function flatBlocks(tokens) {
  const shown = tokens.filter((t) => t.type !== 'space' && t.type !== 'def');
  return shown.map((t) => (t.type === 'text' ? { ...t, type: 'paragraph', tokens: t.tokens ?? [{ type: 'text', raw: t.raw, text: t.text }] } : t));
}
