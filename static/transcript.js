// @ts-check
/**
 * A conversation on the page. Elements are kept by the id of their content. So nothing flickers when an answer that was
 * followed becomes a message that is stored.
 *
 * @typedef {import('./store.js').Message} Message
 * @typedef {import('./outbox.js').Entry} Entry
 */
import { Answer } from './answer.js';
import { AnswerView } from './answer-view.js';
import { byId, whenIdle } from './dom.js';
import { contentOf } from './files.js';
import { PromptView, switcher } from './prompt-view.js';
import { Scroller } from './scroller.js';
import { sentences } from './sentences.js';
import { arrange } from './stretches.js';

/** A frame's work that took longer, in ms, is followed by a rest, so that input is never starved. */
const HEAVY = 8;
/** So many messages are shown at once, the newest; the older ones follow so many at a time, when nothing else is to be done. */
const AT_ONCE = 48;

export class Transcript {
  /** @param {import('./conversation.js').Conversation} conversation */
  constructor(conversation) {
    this.conversation = conversation;
    this.list = byId('transcript');
    this.scroller = new Scroller(byId('scroller'), this.list, byId('jump'));
    /** @type {Map<string, AnswerView | PromptView>} */
    this.views = new Map();
    /** So many messages at the beginning are not shown yet. */
    this.skipped = 0;
    this.filling = false;
    this.frame = 0;
    /** An event came that is not drawn yet. */
    this.stale = false;
  }

  /** Another conversation comes. */
  clear() {
    this.views.clear();
    this.list.replaceChildren();
    this.skipped = 0;
  }

  /** The first messages come: so many, of which the newest are shown. @param {number} count */
  begin(count) {
    this.skipped = Math.max(0, count - AT_ONCE);
  }

  /** The shown messages, from top to bottom. @returns {(AnswerView | PromptView)[]} */
  shown() {
    const { conversation } = this;
    let path = conversation.messages;
    const entries = conversation.entries();
    const running = [...conversation.live.values()].filter((l) => !path.some((m) => m.id === l.view.id));
    const live = running.findLast((l) => l.parent === null || path.some((m) => m.id === l.parent));
    const turned = entries.findLast((e) => e.parent !== undefined);
    if (turned) path = conversation.upTo(turned.parent ?? null);
    else if (live?.parent) path = conversation.upTo(live.parent);
    const views = path.slice(Math.min(this.skipped, Math.max(0, path.length - AT_ONCE))).map((m) => this.viewOf(m));
    // An answer that is gone on from stands there until its text has come again.
    const held = this.views.get(turned?.continues ?? live?.from ?? '');
    if (held) views.push(held);
    else if (live && !turned) views.push(live.view);
    return [...views, ...entries.filter((e) => e.text !== undefined).map((e) => this.prompt(e.key, contentOf(e.text ?? '', e.files ?? []), e))];
  }

  /** @param {Message} message @returns {AnswerView | PromptView} */
  viewOf(message) {
    if (message.role !== 'assistant') {
      const view = this.prompt(message.id, message.content);
      view.parent = message.parent_id;
      switcher(view.switcher, message, (id) => this.conversation.branch(id));
      return view;
    }
    let view = this.views.get(message.id);
    if (!(view instanceof AnswerView)) {
      view = new AnswerView(message.id, Answer.of(message), this.conversation);
      view.render();
      this.views.set(message.id, view);
    }
    switcher(view.switcher, message, (id) => this.conversation.branch(id));
    return view;
  }

  /** @param {string} key @param {any} content @param {Entry} [entry] */
  prompt(key, content, entry) {
    let view = this.views.get(key);
    if (!(view instanceof PromptView)) {
      view = new PromptView(key, content, this.conversation);
      this.views.set(key, view);
    }
    view.mark(entry);
    return view;
  }

  /** Puts the shown messages in their places, and does not touch those that are there already. */
  sync() {
    const views = this.shown();
    arrange(this.list, views.map((view) => view.element), this.skipped);
    if (this.skipped) this.more();
    document.documentElement.classList.toggle('fresh', !this.conversation.id && !views.length);
    this.draw();
    this.conversation.page.changed();
  }

  /** Shows some more of the older messages above the shown ones, which stay in place. */
  more() {
    if (this.filling) return;
    this.filling = true;
    whenIdle(() => {
      this.filling = false;
      this.skipped = Math.max(0, Math.min(this.skipped, this.conversation.messages.length) - AT_ONCE);
      this.scroller.keeping(() => this.sync());
    });
  }

  /** Draws the growing answers, once per frame. */
  draw() {
    this.stale = true;
    if (this.frame) return;
    const { conversation } = this;
    this.frame = requestAnimationFrame(() => {
      const began = performance.now();
      this.stale = false;
      for (const live of conversation.live.values()) {
        if (live.view.over) continue;
        live.view.render();
        const heard = conversation.aloud && sentences(live);
        if (heard) conversation.page.announce(heard);
      }
      this.scroller.follow();
      conversation.page.changed();
      if (performance.now() - began < HEAVY) this.frame = 0;
      else {
        this.frame = -1;
        setTimeout(() => {
          this.frame = 0;
          if (this.stale) this.draw();
        }, HEAVY * 4);
      }
    });
  }
}
