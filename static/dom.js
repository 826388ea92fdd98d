// @ts-check
/**
 * Elements from code. Text becomes text nodes: nothing here, or anywhere, parses HTML.
 *
 * @typedef {Node | string | null | undefined | false} Child
 */

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag @param {Record<string, any> | null} [props] @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/**
 * The element of the page that has this id; the page's HTML promises it.
 * @template {HTMLElement} T
 * @overload
 * @param {string} id @param {new () => T} type @returns {T}
 */
/**
 * @overload
 * @param {string} id @returns {HTMLElement}
 */
/** @param {string} id @param {new () => HTMLElement} [type] */
export function byId(id, type = HTMLElement) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no #${id}`);
  return element;
}

/** An icon of the sprite in the page. @param {string} name */
export function icon(name) {
  const ns = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(ns, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(ns, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

/**
 * A button with an icon and a name that is spoken and shown on hover.
 * @param {string} name @param {string} label @param {(event: MouseEvent) => void} onclick @param {Record<string, any>} [props]
 */
export function iconButton(name, label, onclick, props = {}) {
  return h('button', { type: 'button', class: 'icon-button', 'aria-label': label, title: label, onclick, ...props }, icon(name));
}

let failures = 0;

/** A module that is loaded late. A browser remembers a failure for good, by the address: another try has another one. @param {string} path @returns {Promise<any>} */
export function late(path) {
  return import(path).catch(() => import(`${path}?${(failures += 1)}`));
}

/** What was pressed is gone: the keys go on in the box. On a phone this would bring its keyboard up. */
export function refocus() {
  if (matchMedia('(hover: hover)').matches) document.getElementById('prompt')?.focus();
}

/** When the browser is idle; Safari cannot tell. @param {() => void} work */
export function whenIdle(work) {
  if ('requestIdleCallback' in globalThis) requestIdleCallback(work, { timeout: 1000 });
  else setTimeout(work, 50);
}

/** @param {string} text */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without a secure context there is no clipboard API.
    const area = h('textarea', { class: 'sr-only' });
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand('copy');
    area.remove();
    return copied;
  }
}

/** So long, in ms, a button says that it copied. */
const SAID = 1200;

/** Copies, and has the button say so: to the eye by its colour, to a screen reader by its name. @param {MouseEvent} event @param {string} text */
export async function copyBy({ currentTarget }, text) {
  const button = /** @type {HTMLElement} */ (currentTarget);
  const name = button.title;
  const done = await copy(text);
  button.classList.toggle('did', done);
  button.setAttribute('aria-label', done ? 'Copied' : 'Not copied: select it and copy');
  setTimeout(() => {
    button.classList.remove('did');
    button.setAttribute('aria-label', name);
  }, SAID);
}

/** Gives a file to the reader. @param {string} name @param {string} type @param {string} text */
export function download(name, type, text) {
  const href = URL.createObjectURL(new Blob([text], { type }));
  const link = h('a', { href, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}
