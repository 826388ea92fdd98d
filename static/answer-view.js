// @ts-check
/** An answer on the page: thinking, text, tool calls, void text, and the ending. */
import { copyBy, h, icon, iconButton, refocus } from './dom.js';
import { Markdown } from './markdown.js';
import { api } from './store.js';

/** @typedef {import('./answer.js').Answer} Answer */

/** @type {Record<string, string>} */
const ENDINGS = {
  completed: 'Done',
  incomplete: 'Cut short by a limit',
  failed: 'Failed',
  interrupted: 'Interrupted',
  cancelled: 'Stopped',
};

/** @type {Record<string, string>} */
const FAULTS = {
  upstream_unavailable: 'the model’s server cannot be reached; this server is well',
  upstream_rate_limited: 'the model’s provider takes no more just now',
  upstream_rejected: 'the model’s provider refused',
  upstream_timeout: 'the model did not begin in time',
  upstream_stalled: 'the model fell silent',
  upstream_protocol: 'what the model’s server sent makes no sense',
  upstream_truncated: 'the model broke off',
  server_lost: 'the server that made it was lost, and its model cannot go on',
  storage_unavailable: 'it could not be stored',
  internal: 'a fault of this server',
};

/** @type {Record<string, string>} */
const LOSSES = { takeover: 'the server was replaced', upstream: 'the model broke off' };

/** A pause that is worth a mark, in ms. Turns of tabs that share connections are shorter. */
const LONG_PAUSE = 100;
/** A delta that comes so soon after a mark, in ms, came with it. */
const SAME = 1000;
/** A thought of this length, in ms, is worth a line. */
const LONG_THOUGHT = 1000;

/** A longer stored answer, in characters, is made in pieces of this length: no task holds the page up. */
const PIECE = 8000;

/** @param {number} n */
export const whole = (n) => Math.round(n).toLocaleString('en');

/** @param {number} ms */
const span = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

export class AnswerView {
  /**
   * @param {string} id @param {Answer} answer
   * @param {{ again: (view: AnswerView) => void, goOn: (view: AnswerView) => void, unable: Set<string> } | null} actions what its reader may do, who may not do anything if it is null
   */
  constructor(id, answer, actions) {
    this.id = id;
    this.answer = answer;
    this.version = -1;
    this.voidsShown = 0;
    this.voids = h('div', { class: 'voids' });
    this.thinking = h('div', { class: 'thinking-text', dir: 'auto', tabindex: '0', role: 'group', 'aria-label': 'Thoughts' });
    this.fold = h('details', { class: 'thinking', hidden: true }, h('summary', null, icon('chevron'), (this.foldLabel = h('span', null, 'Thinking'))), this.thinking);
    /** The reader has opened or closed it: it stays so. */
    this.foldChosen = false;
    this.fold.firstElementChild?.addEventListener('click', () => (this.foldChosen = true));
    this.text = h('div', { class: 'text' });
    this.caret = h('span', { class: 'caret', 'aria-hidden': 'true' });
    this.rest = h('div', { class: 'rest' });
    this.note = h('p', { class: 'note', hidden: true });
    this.facts = h('p', { class: 'facts' });
    this.switcher = h('span', { class: 'switcher' });
    this.tools = h('div', { class: 'actions' },
      iconButton('copy', 'Copy answer', (event) => copyBy(event, this.answer.said.text)),
      actions && iconButton('again', 'Answer again', () => this.again()),
      this.switcher);
    this.foot = h('footer', null, this.tools, this.facts);
    this.element = h('article', { class: answer.done ? 'message assistant' : 'message assistant running waiting', 'data-id': id },
      h('h2', { class: 'sr-only' }, 'Answer'), this.voids, this.fold, h('div', { class: 'body' }, this.text, this.caret), this.rest, this.note, this.foot);
    this.markdown = new Markdown(this.text);
    this.again = () => actions?.again(this);
    this.mayAsk = Boolean(actions);
    /** The receipt of a stop. @type {any} */
    this.stopped = null;
    /** When something came last, by this page's clock. */
    this.heardAt = 0;
    this.wasCut = false;
    /** The last mark. @type {{ element: HTMLElement, words: string, at: number } | undefined} */
    this.seam = undefined;
    /** The line about the ending. @type {HTMLElement | undefined} */
    this.card = undefined;
    /** @type {HTMLElement | undefined} */
    this.more = undefined;
    this.actions = actions;
    this.element.addEventListener('pointerenter', () => this.learn());
    this.element.addEventListener('focusin', () => this.learn());
  }

  /** Shows the answer as it is now. Returns whether it can still change. */
  render() {
    const { said, done, voided } = this.answer;
    const running = !done;
    this.element.classList.toggle('running', running);
    this.element.classList.toggle('waiting', running && !said.text && !said.reasoning);
    this.element.setAttribute('aria-busy', String(running));
    while (this.voidsShown < voided.length) this.void(voided[this.voidsShown++]);
    if (said.reasoning) {
      this.fold.hidden = false;
      const { from, to } = this.answer.thought;
      this.foldLabel.textContent = running && !said.text ? 'Thinking…' : to - from >= LONG_THOUGHT ? `Thought for ${span(to - from)}` : 'Thoughts';
      // Open while they come, out of the way when the text does.
      const open = running && !said.text;
      if (!this.foldChosen && this.fold.open !== open) this.fold.open = open;
      if (this.thinking.textContent !== said.reasoning) this.thinking.textContent = said.reasoning;
    }
    if (done && !this.markdown.shown && said.text.length > 2 * PIECE) this.pieces();
    else this.markdown.write(said.text, !running);
    this.caret.hidden = !running || Boolean(said.text);
    if (this.version !== this.answer.version || said.refusal !== this.refused || done) this.others();
    if (done && !this.over) this.finish();
    return running;
  }

  /** An event came. After a cut, or on another server, the text gets a mark at that place. @param {import('./stream.js').Event} event */
  heard({ type, reason }) {
    const now = performance.now();
    const replaced = type === 'resumed' && reason === 'takeover';
    const pause = now - this.heardAt;
    if (this.heardAt && this.answer.said.text && (replaced || this.wasCut) && pause > LONG_PAUSE) {
      const words = `went on here, ${span(pause)} later`;
      this.seam = { element: h('div', { class: 'seam', role: 'separator', 'aria-label': words }), words, at: now };
      this.markdown.marks.push(this.seam.element);
    }
    // The text before the loss may come first.
    if (replaced && this.seam && now - this.seam.at < SAME) this.seam.element.setAttribute('aria-label', `the server was replaced: ${this.seam.words}`);
    this.wasCut = false;
    this.heardAt = performance.now();
  }

  /** Makes a stored answer piece by piece, and shows it when it is whole: each piece on the page would be a layout. */
  pieces() {
    this.text.hidden = true;
    const piece = (/** @type {number} */ length) => {
      const { text } = this.answer.said;
      this.markdown.write(text.slice(0, length), length >= text.length);
      if (length < text.length) setTimeout(() => piece(length + PIECE));
      else this.text.hidden = false;
    };
    piece(PIECE);
  }

  /** @param {{ text: string, reason: string }} lost */
  void({ text, reason }) {
    const words = text.split(/\s+/).filter(Boolean).length;
    this.voids.append(h('details', { class: 'void' },
      h('summary', null, icon('chevron'), h('span', null, `A first try of ${whole(words)} words is void: ${LOSSES[reason] ?? reason}`)),
      h('del', { dir: 'auto' }, text)));
  }

  others() {
    const { said, version } = this.answer;
    this.version = version;
    this.refused = said.refusal;
    this.rest.replaceChildren();
    for (const tool of said.tools.filter(Boolean)) this.rest.append(toolCard(tool));
    if (said.refusal) this.rest.append(h('p', { class: 'refusal', dir: 'auto' }, said.refusal));
  }

  finish() {
    this.over = true;
    const { status, error } = this.answer.done;
    this.element.classList.add(`is-${status}`);
    if (status !== 'completed' && !this.card) this.ending(status, error);
    // The receipt may come before the last words: then it knew of fewer tokens.
    if (this.stopped) this.note.textContent = this.stoppedText(this.stopped);
    this.offer();
    this.facts.textContent = this.summary();
    // A reader that was there sees at once how long it took; of older answers, a reader who looks.
    if (this.answer.seq) this.learn();
  }

  /** Names the reason for the early end. @param {string} status @param {{ code?: string, message?: string } | undefined} error */
  ending(status, error) {
    const why = FAULTS[error?.code ?? ''] ?? error?.message;
    const words = status === 'cancelled' ? 'Stopped. What was said is kept.' : `${ENDINGS[status] ?? status}${why ? `: ${why}.` : '.'}`;
    const more = error?.message && why !== error.message && this.mayAsk ? h('small', null, error.message) : null;
    this.card = h('div', { class: 'ending' }, h('p', null, words, more));
    if (status === 'failed' || status === 'interrupted') {
      this.card.setAttribute('role', 'alert');
      if (this.mayAsk) this.card.append(h('button', { type: 'button', class: 'button', onclick: this.again }, 'Try again'));
    }
    this.rest.after(this.card);
  }

  /** Offers to go on, where there is a text to go on from and a model that does. */
  offer() {
    const { done, said, model } = this.answer;
    if (!done || done.status === 'completed' || !said.text || said.refusal || said.tools.some(Boolean)) return;
    if (!this.actions || this.actions.unable.has(model ?? '')) return;
    this.more ??= h('button', { type: 'button', class: 'button', onclick: () => (this.actions?.goOn(this), refocus()) }, 'Continue');
    this.card?.append(this.more);
  }

  /** The receipt of a stop: the final state, on every instance. @param {any} receipt */
  receipt(receipt) {
    this.stopped = receipt;
    const text = this.stoppedText(receipt);
    this.note.textContent = text;
    this.note.hidden = false;
    if (this.card !== this.note) this.card?.remove();
    this.card = this.note;
    this.offer();
    return text;
  }

  /** @param {any} receipt */
  stoppedText(receipt) {
    if (!receipt.cancelled) return `It had already ended: ${ENDINGS[receipt.status] ?? receipt.status}.`;
    return `Stopped at event ${whole(receipt.last_seq)}. The model’s connection is closed, ${this.amount(receipt.usage)} were used, and what was said is kept.`;
  }

  /** “about 60 tokens”: what is a guess is called one. @param {any} [usage] */
  amount(usage = this.answer.done?.usage) {
    const exact = usage && usage.exact !== false;
    const count = exact ? usage.output_tokens : this.answer.tokens.count || (usage?.output_tokens ?? 0);
    return `${exact ? '' : 'about '}${whole(count)} ${count === 1 ? 'token' : 'tokens'}`;
  }

  /** One line: how it ended, how much, how fast. */
  summary() {
    const { done, pace, tokens, view } = this.answer;
    if (!done && !tokens.count) return 'Waiting for the first word…';
    // A card above says how it ended.
    const parts = done && !this.card ? [ENDINGS[done.status] ?? done.status] : [];
    // A reader by a link is not told, and a guess waits until its log was asked for.
    if (tokens.count && (!done || (this.mayAsk && (tokens.exact || this.answer.pieces || view)))) parts.push(this.amount());
    const ttft = view?.time_to_first_token_ms;
    if (Number.isFinite(ttft)) parts.push(`first token ${span(ttft)}`);
    const ms = view?.finished_at ? Date.parse(view.finished_at) - Date.parse(view.started_at) - (ttft ?? 0) : 0;
    // Only the server knows the pace of the whole answer; the page knows the part that it saw.
    const speed = !done ? pace : ms > 50 && tokens.count > 1 && (tokens.exact || this.answer.pieces) ? (tokens.count / ms) * 1000 : 0;
    if (speed) parts.push(`${whole(speed)} tok/s`);
    if (done && this.answer.model) parts.push(this.answer.model);
    return parts.join(' · ');
  }

  /** Asks the server for the times, when somebody looks. */
  async learn() {
    if (this.asked || !this.over || !this.mayAsk) return;
    this.asked = true;
    this.answer.view = await api.generation(this.id).catch(() => null);
    this.asked = Boolean(this.answer.view);
    this.facts.textContent = this.summary();
  }
}

/** @param {{ id: string, name: string, arguments: string }} tool */
function toolCard(tool) {
  let shown = tool.arguments;
  try {
    shown = JSON.stringify(JSON.parse(tool.arguments), null, 2);
  } catch {
    // Not yet whole, or never JSON: as it is.
  }
  return h('details', { class: 'tool' },
    h('summary', null, icon('tool'), h('span', null, 'Tool call'), h('code', null, tool.name || '…')),
    h('pre', { tabindex: '0', role: 'group', 'aria-label': 'arguments' }, h('code', null, shown)));
}
