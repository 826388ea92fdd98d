// @ts-check
/** A prompt on the page, its state on the way, and its other versions. */
import { copyBy, h, iconButton } from './dom.js';
import { folded, split } from './files.js';
import { composing, fit } from './grow.js';

/** @typedef {import('./outbox.js').Entry} Entry */

/** A longer text, in characters or lines, is folded: one scrolls to the answer, not through the question. */
const LONG = 1200;
const LINES = 16;

/** The text of a prompt; folded where it is long. @param {string} text @param {import('./files.js').TextFile[]} files */
export function bubble(text, files) {
  const said = text || !files.length ? h('div', { class: 'said', dir: 'auto' }, text) : null;
  const box = h('div', { class: 'bubble' }, said, folded(files));
  if (text.length <= LONG && text.split('\n', LINES + 1).length <= LINES) return box;
  const more = h('button', { type: 'button', class: 'link more', 'aria-expanded': 'false', onclick: () => {
    const short = box.classList.toggle('folded');
    more.setAttribute('aria-expanded', String(!short));
    more.textContent = short ? 'Show more' : 'Show less';
    if (short) box.scrollIntoView({ block: 'nearest' });
  } }, 'Show more');
  box.classList.add('folded');
  said?.after(more);
  return box;
}

/** Refusals that another try cannot change. @type {Record<string, string>} */
const FINAL = { prompt_too_long: '', pictures_not_supported: '', unsupported_picture: '', broken_picture: '', picture_lost: '', not_found: 'This conversation was deleted, or is not yours.' };

/** Why a prompt waits, in words for people; for other reasons, the server's. @type {Record<string, string>} */
const WAITS = {
  conversation_busy: 'the answer before it comes first', unreachable: 'it is sent when the server is back', unauthenticated: 'it is sent when you are signed in',
};

/** @param {Entry} entry */
function waits({ why, code }) {
  if (!why) return '';
  return navigator.onLine ? `: ${WAITS[code ?? ''] ?? why.replace(/\.$/, '')}.` : ': you are offline.';
}

export class PromptView {
  /** @param {string} id @param {any} content @param {import('./conversation.js').Conversation} conversation */
  constructor(id, content, conversation) {
    this.id = id;
    const { text, files } = split(content);
    this.text = text;
    this.files = files;
    /** @type {string | null} */
    this.parent = null;
    this.conversation = conversation;
    /** @type {string | undefined} */
    this.marked = undefined;
    /** @type {string | undefined} */
    this.why = undefined;
    this.bubble = bubble(text, files);
    this.state = h('p', { class: 'queued', hidden: true });
    this.switcher = h('span', { class: 'switcher' });
    this.actions = h('div', { class: 'actions' },
      this.switcher,
      iconButton('edit', 'Edit and send again', () => this.edit(), { class: 'icon-button edit' }),
      iconButton('copy', 'Copy prompt', (event) => copyBy(event, this.text)));
    this.foot = h('footer', null, this.actions);
    this.element = h('article', { class: 'message user', 'data-id': id }, h('h2', { class: 'sr-only' }, 'You'), this.bubble, this.state, this.foot);
  }

  /** Shows how far a prompt is on its way; without an entry it has arrived. @param {Entry} [entry] */
  mark(entry) {
    const state = entry?.state ?? '';
    if (state === this.marked && entry?.why === this.why) return;
    this.marked = state;
    this.why = entry?.why;
    this.element.dataset.state = state;
    this.foot.hidden = Boolean(entry);
    this.state.hidden = !entry || (entry.state === 'sending' && !entry.why);
    if (!entry) return this.state.replaceChildren();
    const { outbox } = this.conversation;
    const drop = h('button', { type: 'button', class: 'link', onclick: () => this.withdraw(entry) }, 'Take back');
    if (entry.state === 'failed') {
      const again = h('button', { type: 'button', class: 'link', onclick: () => {
        outbox.change(entry.key, { state: 'queued', why: undefined });
        outbox.flush();
      } }, 'Try again');
      const final = FINAL[entry.code ?? ''];
      this.state.replaceChildren(`Not sent: ${final || entry.why || ''} `, final === undefined ? again : '', ' ', drop);
    } else {
      this.state.replaceChildren(`Queued${waits(entry)} `, drop);
    }
  }

  /** @param {Entry} entry */
  withdraw(entry) {
    this.conversation.outbox.change(entry.key, null);
    this.conversation.page.withdrawn(this.text, this.files);
    this.conversation.sync();
  }

  /** Another version of this prompt becomes a branch of its own. */
  edit() {
    if (this.editor) return;
    const area = h('textarea', { 'aria-label': 'Edit your message', rows: '2', dir: 'auto' });
    area.value = this.text;
    area.addEventListener('input', () => fit(area));
    const close = () => {
      this.editor?.replaceWith(this.bubble);
      this.editor = undefined;
      this.foot.hidden = false;
      document.getElementById('prompt')?.focus();
    };
    const send = () => {
      const text = area.value.trim();
      close();
      if (text || this.files.length) this.conversation.send(text, this.conversation.options(), this.parent, this.files);
    };
    area.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !event.shiftKey && !composing(event)) {
        event.preventDefault();
        send();
      } else if (event.key === 'Escape') {
        event.preventDefault();
        event.stopPropagation();
        close();
      }
    });
    this.editor = h('form', { class: 'editor', onsubmit: (/** @type {Event} */ e) => {
      e.preventDefault();
      send();
    } }, area, h('div', { class: 'row' }, h('button', { type: 'button', class: 'button quiet', onclick: close }, 'Cancel'), h('button', { class: 'button' }, 'Send')));
    this.bubble.replaceWith(this.editor);
    this.foot.hidden = true;
    fit(area);
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }
}

/**
 * “2 of 3”, where a message has other versions.
 * @param {HTMLElement} place @param {import('./store.js').Message} message @param {(id: string) => void} go
 */
export function switcher(place, message, go) {
  const { siblings = [], id } = message;
  const at = siblings.indexOf(id);
  if (place.dataset.at === `${at} ${siblings.length}`) return;
  place.dataset.at = `${at} ${siblings.length}`;
  place.replaceChildren();
  if (siblings.length < 2) return;
  const step = (/** @type {number} */ by, /** @type {string} */ name, /** @type {string} */ label) => {
    const button = iconButton(name, label, () => go(siblings[at + by]));
    button.disabled = !siblings[at + by];
    return button;
  };
  place.append(step(-1, 'left', 'Previous version'), h('span', { class: 'count' }, `${at + 1} / ${siblings.length}`), step(1, 'right', 'Next version'));
}
