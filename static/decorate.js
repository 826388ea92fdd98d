// @ts-check
/**
 * Later additions to a complete block: coloured code, set formulas. Their libraries are large, so they are loaded when
 * the first block wants them, and a build without them shows the source.
 */
import { h, whenIdle } from './dom.js';

/** A longer block is shown without colours, in characters: colouring it would hold up a frame. */
const MOST_CODE = 50_000;

/** @type {Promise<any> | undefined} */
let highlighter;
/** @type {Promise<any> | undefined} */
let typesetter;

const loadHighlighter = () => {
  const path = './vendor/highlight.min.js';
  return (highlighter ??= import(path).then((m) => m.default, () => null));
};

const loadTypesetter = () => {
  const path = './vendor/katex.min.js';
  const style = h('link', { rel: 'stylesheet', href: new URL('./vendor/katex.min.css', import.meta.url).href });
  return (typesetter ??= import(path).then(
    () => {
      document.head.append(style);
      return /** @type {any} */ (globalThis).katex;
    },
    () => null,
  ));
};

/** Blocks that wait: the last is seen first. @type {HTMLElement[]} */
const waiting = [];
/** So long, in ms, blocks are decorated before a frame gets its turn. */
const TURN = 6;

/** A complete block gets its colours and formulas, soon. @param {HTMLElement} block */
export function decorate(block) {
  if (!block.matches('[data-tex]') && !block.querySelector('code[data-language], [data-tex]')) return;
  if (waiting.push(block) === 1) whenIdle(some);
}

function some() {
  const end = performance.now() + TURN;
  for (let block; performance.now() < end && (block = waiting.pop()); ) dress(block);
  if (waiting.length) whenIdle(some);
}

/** @param {HTMLElement} block */
function dress(block) {
  for (const code of block.querySelectorAll('code[data-language]')) colour(/** @type {HTMLElement} */ (code));
  const formulas = block.matches('[data-tex]') ? [block] : block.querySelectorAll('[data-tex]');
  for (const formula of formulas) typeset(/** @type {HTMLElement} */ (formula));
}

/** @param {HTMLElement} code */
async function colour(code) {
  const language = code.dataset.language ?? '';
  const text = code.textContent ?? '';
  if (text.length > MOST_CODE) return;
  const hljs = await loadHighlighter();
  if (!hljs?.getLanguage(language)) return;
  // The tree that its own HTML is made of, as lowlight reads it.
  const tree = hljs.highlight(text, { language, ignoreIllegals: true })._emitter?.rootNode;
  if (tree && code.textContent === text) code.replaceChildren(...tree.children.map(coloured));
}

/** @param {any} node @returns {Node | string} */
function coloured(node) {
  if (typeof node === 'string') return node;
  const inside = node.children.map(coloured);
  return node.scope ? h('span', { class: `hl-${node.scope.replace(/[._].*$/, '')}` }, inside) : h('span', null, inside);
}

/** @param {HTMLElement} formula */
async function typeset(formula) {
  const katex = await loadTypesetter();
  const displayMode = formula.classList.contains('mathblock');
  katex?.render(formula.dataset.tex ?? '', formula, {
    displayMode,
    throwOnError: false,
    trust: false,
    // Models write TeX that LaTeX would refuse; that is no message for the console.
    strict: 'ignore',
    maxSize: 20,
    maxExpand: 200,
  });
}
