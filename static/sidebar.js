// @ts-check
/** The list of conversations: search, rename, delete, export, share. */
import { base } from './base.js';
import { byId, download, h, icon, iconButton } from './dom.js';
import { isSaid, textOf } from './answer.js';
import { recent } from './recent.js';
import { Refused, api, tell } from './store.js';
import { titled } from './titles.js';

/** @typedef {import('./store.js').Conversation} Info */

/** A search waits so long, in ms, for the next letter. */
const NEXT_LETTER = 150;

export class Sidebar {
  /** @param {{ open: (id: string | null) => void, leave: () => void, current: () => string | null, problem: (text: string) => void, announce: (text: string) => void, dialogs: () => Promise<typeof import('./dialogs.js')> }} page */
  constructor(page) {
    this.page = page;
    this.list = byId('conversations');
    this.search = byId('search', HTMLInputElement);
    this.older = byId('older');
    /** @type {Info[]} */
    this.shown = [];
    /** @type {string | null} */
    this.cursor = null;
    this.turn = 0;
    /** The list has the copies of this browser: the server is away. */
    this.away = false;
    /** @type {any} */
    this.wait = undefined;
    this.search.addEventListener('input', () => {
      clearTimeout(this.wait);
      this.wait = setTimeout(() => this.load(true), NEXT_LETTER);
    });
    this.search.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      // It leaves the search, and stops no answer.
      event.stopPropagation();
      if (!this.search.value) return this.page.leave();
      this.search.value = '';
      this.load();
    });
    this.older.addEventListener('click', () => this.more());
    this.list.addEventListener('keydown', (event) => this.walk(event));
    this.list.addEventListener('focusin', ({ target }) => this.reach(/** @type {HTMLElement} */ (target).closest('li')));
  }

  /** One conversation and its menu are stops of the Tab key; arrows lead to the others. @param {Element | null} row */
  reach(row) {
    for (const other of this.list.querySelectorAll('[tabindex="0"]')) other.setAttribute('tabindex', '-1');
    for (const part of row?.querySelectorAll('a, button') ?? []) part.setAttribute('tabindex', '0');
  }

  /** @param {KeyboardEvent} event */
  walk(event) {
    const links = [...this.list.querySelectorAll('a')];
    const row = /** @type {HTMLElement} */ (event.target).closest('li');
    const at = links.findIndex((link) => link.parentElement === row);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (to < 0) this.search.focus();
    else links[Math.min(to, links.length - 1)]?.focus();
  }

  /** Reads the list again. @param {boolean} [tellCount] */
  async load(tellCount) {
    const turn = ++this.turn;
    const q = this.search.value.trim();
    try {
      const { data, next_cursor } = await api.conversations(q, null);
      if (turn !== this.turn) return;
      this.away = false;
      this.shown = data;
      this.cursor = next_cursor;
      this.show();
      if (tellCount && q) this.page.announce(`${data.length} conversations found.`);
    } catch {
      // The list stays as it was; the connection's state says why.
      if (turn === this.turn && (q || !this.shown.length || this.away)) await this.remember(q, turn);
    }
  }

  /** Lists the copies of this browser, until the server is back. @param {string} q @param {number} turn */
  async remember(q, turn) {
    const words = q.toLowerCase();
    const copies = await recent.all();
    if (turn !== this.turn) return;
    const found = copies.filter(({ info, messages }) => [info.title ?? '', ...messages.map((m) => textOf(m.content))].some((text) => text.toLowerCase().includes(words)));
    this.shown = found.map(({ info }) => ({ ...info, running: [] }));
    this.cursor = null;
    this.show();
    this.away = true;
    byId('none').hidden = false;
    byId('none').textContent = found.length ? 'Kept on this device. The others are listed when the server is back.' : q ? 'Nothing found on this device.' : 'The list is shown when the server is back.';
  }

  async more() {
    const { data, next_cursor } = await api.conversations(this.search.value.trim(), this.cursor);
    this.shown = [...this.shown, ...data];
    this.cursor = next_cursor;
    this.show();
  }

  show() {
    const current = this.page.current();
    const focused = document.activeElement?.closest?.('#conversations a, #conversations button');
    const key = focused?.getAttribute('data-key');
    this.list.replaceChildren(...this.rows(current));
    this.reach((this.list.querySelector('[aria-current]') ?? this.list.querySelector('a'))?.parentElement ?? null);
    if (key) /** @type {HTMLElement | null} */ (this.list.querySelector(`[data-key="${key}"]`))?.focus();
    this.older.hidden = !this.cursor;
    byId('none').hidden = this.shown.length > 0;
    byId('none').textContent = this.search.value.trim() ? 'Nothing found.' : 'Your conversations will be listed here.';
  }

  /** By age; the results of a search are one list. @param {string | null} current */
  *rows(current) {
    let before = '';
    for (const info of this.shown) {
      const age = this.search.value.trim() ? '' : ageOf(info.updated_at);
      if (age !== before) yield h('li', { class: 'age' }, h('h2', null, age));
      before = age;
      yield this.row(info, info.id === current);
    }
  }

  /** @param {Info} info @param {boolean} here */
  row(info, here) {
    const title = titled(info.title);
    const link = h('a', { href: `${base}/c/${info.id}`, 'data-key': info.id, 'aria-current': here ? 'page' : null, title: info.title ?? title, tabindex: '-1', onclick: (/** @type {MouseEvent} */ event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.page.open(info.id);
    } }, info.running?.length ? h('span', { class: 'pulse', role: 'img', 'aria-label': 'answering' }) : null, h('span', { class: 'name', dir: 'auto' }, title));
    const menu = iconButton('more', `Actions for ${title}`, (event) => this.menu(info, /** @type {HTMLElement} */ (event.currentTarget)), { 'data-key': `menu ${info.id}`, 'aria-haspopup': 'menu', tabindex: '-1' });
    return h('li', { class: here ? 'here' : null }, link, menu);
  }

  /** The actions on a conversation. @param {Info} info @param {HTMLElement} anchor */
  menu(info, anchor) {
    document.getElementById('menu')?.remove();
    const does = (/** @type {() => any} */ action) => () => {
      menu.hidePopover();
      Promise.resolve(action()).catch((error) => this.page.problem(error.message));
    };
    const item = (/** @type {string} */ name, /** @type {string} */ label, /** @type {() => any} */ action, danger = false) =>
      h('button', { type: 'button', role: 'menuitem', class: danger ? 'danger' : null, onclick: does(action) }, icon(name), label);
    const menu = h('div', { id: 'menu', class: 'menu', popover: 'auto', role: 'menu', 'aria-label': `Actions for ${titled(info.title)}` },
      item('edit', 'Rename', () => this.rename(info)),
      item('share', 'Share a read-only link', () => this.share(info)),
      item('download', 'Export as Markdown', () => this.exportMarkdown(info)),
      item('download', 'Export as JSON', () => this.exportJson(info)),
      item('delete', 'Delete', () => this.erase(info), true));
    menu.addEventListener('keydown', (event) => step(menu, event));
    menu.addEventListener('toggle', (event) => {
      if (/** @type {ToggleEvent} */ (event).newState === 'closed') {
        menu.remove();
        // The list may have been drawn anew meanwhile.
        const button = this.list.querySelector(`[data-key="menu ${info.id}"]`) ?? anchor;
        /** @type {HTMLElement} */ (button).focus();
      }
    });
    document.body.append(menu);
    menu.showPopover();
    const place = anchor.getBoundingClientRect();
    menu.style.left = `${Math.max(8, Math.min(place.left, innerWidth - menu.offsetWidth - 8))}px`;
    menu.style.top = `${Math.min(place.bottom + 4, innerHeight - menu.offsetHeight - 8)}px`;
    /** @type {HTMLElement} */ (menu.firstElementChild).focus();
  }

  /** @param {Info} info */
  async rename(info) {
    const { ask } = await this.page.dialogs();
    const title = await ask('Rename the conversation', info.title ?? '');
    if (!title) return;
    await api.change(info.id, { title });
    tell(info.id);
    await this.load();
    if (this.page.current() === info.id) this.page.open(info.id);
  }

  /** @param {Info} info */
  async erase(info) {
    const { confirm } = await this.page.dialogs();
    const { running } = await api.conversation(info.id);
    const first = running.length ? ' The answer that is being made is stopped first.' : '';
    if (!(await confirm('Delete this conversation?', `“${titled(info.title)}” and all its answers are erased for good.${first}`, first ? 'Stop and delete' : 'Delete'))) return;
    await stopAndErase(info.id);
    await recent.drop(info.id);
    tell(info.id);
    this.page.announce('Deleted.');
    if (this.page.current() === info.id) this.page.open(null);
    await this.load();
  }

  /** @param {Info} info */
  async share(info) {
    const { shared } = await this.page.dialogs();
    const link = async (/** @type {boolean} */ later) => {
      const { token, url } = await api.share(info.id, later);
      // The page of the link, on the server's public address if it knows one.
      return url.includes('://') ? url.replace(`/v1/shared/${token}`, `/shared/${token}`) : `${location.origin}${base}/shared/${token}`;
    };
    await shared(await link(false), () => link(true), () => api.unshare(info.id));
  }

  /** @param {Info} info */
  async exportMarkdown(info) {
    const { data } = await api.messages(info.id);
    const title = info.title || 'Conversation';
    const parts = data.filter(isSaid).map((/** @type {any} */ m) => `## ${m.role === 'user' ? 'You' : (m.model ?? 'Answer')}\n\n${textOf(m.content)}\n`);
    download(`${fileName(title)}.md`, 'text/markdown', [`# ${title}\n`, ...parts].join('\n'));
  }

  /** @param {Info} info */
  async exportJson(info) {
    const [conversation, { data }] = await Promise.all([api.conversation(info.id), api.messages(info.id, true)]);
    download(`${fileName(info.title || 'conversation')}.json`, 'application/json', JSON.stringify({ ...conversation, messages: data }, null, 2));
  }
}

/** An answer that still runs there is stopped, also one that begins meanwhile. @param {string} id @param {number} [tries] @returns {Promise<void>} */
async function stopAndErase(id, tries = 5) {
  try {
    await api.erase(id);
  } catch (error) {
    if (!(error instanceof Refused) || error.code !== 'generation_running' || !tries) throw error;
    await api.cancel(error.problem.generation);
    await stopAndErase(id, tries - 1);
  }
}

/** How old, in words, by the reader's own days. @param {string} time */
function ageOf(time) {
  const then = new Date(time);
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(time).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days <= 0) return 'Today';
  if (days === 1) return 'Yesterday';
  if (days <= 7) return 'The last 7 days';
  if (days <= 30) return 'The last 30 days';
  return then.toLocaleDateString('en', { month: 'long', year: 'numeric' });
}

/** @param {string} title */
const fileName = (title) => title.replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-|-$/g, '').slice(0, 60) || 'conversation';

/** Arrows walk through a menu. @param {HTMLElement} menu @param {KeyboardEvent} event */
function step(menu, event) {
  const items = [...menu.children];
  const at = items.indexOf(/** @type {Element} */ (document.activeElement));
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  /** @type {HTMLElement} */ (items.at(to % items.length)).focus();
}
