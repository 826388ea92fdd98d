// @ts-check
/**
 * A conversation: the server's messages, the growing answers, the prompts on their way. The transcript shows them.
 *
 * @typedef {import('./store.js').Message} Message
 * @typedef {import('./outbox.js').Entry} Entry
 * @typedef {{ answer: Answer, view: AnswerView, parent: string | null, from?: string, following?: { close(): void, seq: number }, spoken?: number, spokenAt?: number }} Live
 */
import { Answer, isSaid } from './answer.js';
import { AnswerView, whole } from './answer-view.js';
import { refocus, whenIdle } from './dom.js';
import { contentOf } from './files.js';
import { PromptView } from './prompt-view.js';
import { recent } from './recent.js';
import { sentences } from './sentences.js';
import { Refused, api, settings, tell } from './store.js';
import { Transcript } from './transcript.js';

export class Conversation {
  /**
   * @param {import('./stream.js').Stream} stream @param {import('./outbox.js').Outbox} outbox
   * @param {{ announce: (text: string) => void, changed: () => void, ended: () => void, moved: (id: string) => void, opening: (key: string) => void, problem: (text: string) => void, ready: (text: string, id: string) => void, withdrawn: (text: string, files: import('./files.js').TextFile[]) => void }} page
   */
  constructor(stream, outbox, page) {
    this.stream = stream;
    this.outbox = outbox;
    this.page = page;
    /** @type {string | null} */
    this.id = null;
    /** @type {import('./store.js').Conversation | null} */
    this.info = null;
    /** @type {Message[]} */
    this.messages = [];
    /** When it was read, in ms since 1970, if the server is away and this browser's copy is shown; else 0. */
    this.asOf = 0;
    /** @type {Map<string, Live>} */
    this.live = new Map();
    this.visit = 0;
    this.stopping = false;
    this.aloud = false;
    /** The key that opens the conversation which is shown before there is one. @type {string | undefined} */
    this.opening = undefined;
    /** Models that are known not to go on from a text. @type {Set<string>} */
    this.unable = new Set();
    /** The fields of a start beside the prompt; the composer knows. @type {() => Record<string, any>} */
    this.options = () => ({});
    this.transcript = new Transcript(this);
  }

  /** The running answer on this branch, if any. @returns {Live | undefined} */
  get running() {
    const here = (/** @type {Live} */ live) => live.parent === null || this.messages.some((m) => m.id === live.parent);
    return [...this.live.values()].findLast((live) => !live.answer.done && here(live));
  }

  /** The last answer, running or not. @returns {AnswerView | undefined} */
  get lastAnswer() {
    const last = this.transcript.shown().findLast((view) => view instanceof AnswerView);
    return last instanceof AnswerView ? last : undefined;
  }

  /** @param {string | null} id @param {string} [opening] of a conversation that is still to be opened */
  async open(id, opening) {
    if (this.id) this.stream.part(this.id);
    for (const live of this.live.values()) live.following?.close();
    this.live.clear();
    this.transcript.clear();
    Object.assign(this, { id, opening, info: null, messages: [], asOf: 0 });
    this.visit += 1;
    this.transcript.scroller.stick();
    if (id) this.stream.join(id);
    this.sync();
    if (id) await this.load();
    this.transcript.scroller.stick();
  }

  /** Reads the server's messages; answers that are followed go on undisturbed. */
  async load() {
    const { id, visit } = this;
    if (!id) return;
    try {
      const known = this.messages;
      const [info, newest] = await Promise.all([api.conversation(id), api.page(id)]);
      if (visit !== this.visit) return;
      this.info = info;
      this.asOf = 0;
      let { data, next_cursor: cursor } = newest;
      // Messages never change: the messages above known ones are known.
      const above = data[0]?.parent_id ? known.findIndex((m) => m.id === data[0].parent_id) : -1;
      if (above >= 0) data = [...known.slice(0, above + 1), ...data];
      if (!known.length) this.transcript.begin(data.length);
      this.take({ ...newest, data });
      while (cursor && above < 0) {
        const older = await api.page(id, cursor);
        if (visit !== this.visit) return;
        data = [...older.data, ...data];
        cursor = older.next_cursor;
        this.transcript.skipped += older.data.length;
        this.take({ data });
      }
      whenIdle(() => recent.keep(info, data));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.passing) return this.remember(id, visit);
      if (error.status === 404) recent.drop(id);
      if (visit === this.visit) this.page.problem(error.status === 404 ? 'This conversation does not exist, or not any more.' : error.message);
    }
  }

  /** Shows this browser's copy of it, until the server is back. @param {string} id @param {number} visit */
  async remember(id, visit) {
    const copy = this.info ? undefined : await recent.find(id);
    if (!copy || visit !== this.visit || this.info) return;
    Object.assign(this, { info: copy.info, asOf: copy.at });
    this.transcript.begin(copy.messages.length);
    this.take({ data: copy.messages });
    this.transcript.scroller.stick();
  }

  /** @param {{ messages?: Message[], data?: Message[], running?: { generation: string, parent_id: string | null }[] }} branch */
  take(branch) {
    this.messages = (branch.data ?? branch.messages ?? []).filter(isSaid);
    for (const { generation, parent_id } of branch.running ?? []) this.follow(generation, parent_id);
    this.sync();
  }

  /** @param {string} generation @param {string | null} parent @param {boolean} [fresh] whether it was started just now @param {string} [from] the answer that it goes on from */
  follow(generation, parent, fresh = false, from) {
    const known = this.live.get(generation);
    if (known && !known.answer.said.text) known.from ??= from;
    if (known) return this.sync();
    this.aloud = Boolean(settings.get().sentences);
    const answer = new Answer();
    const view = new AnswerView(generation, answer, this);
    /** @type {Live} */
    const live = { answer, view, parent, from };
    this.live.set(generation, live);
    this.transcript.views.set(generation, view);
    live.following = this.stream.follow(generation, {
      open: () => answer.connected(fresh),
      event: (event) => {
        view.heard(event);
        answer.apply(event);
        // The text from which it goes on stands there until that text has come again.
        if (live.from && answer.said.text) {
          live.from = undefined;
          view.render();
          this.sync();
        }
        this.transcript.draw();
      },
      end: () => this.ended(generation, live),
      fail: (problem) => {
        answer.done ??= { status: 'failed', error: { message: problem.message } };
        this.ended(generation, live);
      },
    });
    this.sync();
  }

  /** Its events come again after a cut. @param {string} generation */
  resumed(generation) {
    const live = this.live.get(generation);
    if (live) live.view.wasCut = true;
  }

  /** @param {string} generation @param {Live} live */
  ended(generation, live) {
    const { status } = live.answer.done ?? { status: 'completed' };
    const words = `${whole(live.answer.words)} words`;
    const rest = this.aloud ? sentences(live) : '';
    if (status === 'completed') this.page.announce(`${rest}Answer ready, ${words}.`);
    else if (status !== 'cancelled') this.page.announce(`${rest}The answer ended early, after ${words}.`);
    // Not with the next frame: a tab in the background has none, and what is stored takes its place before.
    live.view.render();
    this.transcript.draw();
    this.page.ready(live.answer.said.text, generation);
    tell(this.id);
    this.load().then(() => {
      if (this.messages.some((m) => m.id === generation)) this.live.delete(generation);
      this.page.ended();
    });
    this.outbox.flush();
    this.page.changed();
  }

  /** A prompt of ours has arrived. @param {Entry} entry @param {any} receipt */
  arrived(entry, receipt) {
    if (this.id === null && entry.conversation && entry.opening === this.opening) {
      this.id = entry.conversation;
      this.stream.join(this.id);
      this.page.moved(this.id);
    }
    if (entry.conversation !== this.id) return;
    const view = this.transcript.views.get(entry.key);
    if (view instanceof PromptView && receipt.parent_id) {
      this.transcript.views.delete(entry.key);
      this.transcript.views.set(receipt.parent_id, view);
      view.files = entry.files ?? [];
      // Stands in until the server's list is read.
      const parent = entry.parent === undefined ? (this.messages.at(-1)?.id ?? null) : entry.parent;
      const kept = entry.parent === undefined ? this.messages : this.upTo(entry.parent);
      this.messages = [...kept, { id: receipt.parent_id, parent_id: parent, role: 'user', content: contentOf(entry.text ?? '', entry.files ?? []), siblings: [], created_at: '' }];
    } else if (entry.parent) this.messages = this.upTo(entry.parent);
    this.page.announce('Generating an answer.');
    this.follow(receipt.id, receipt.parent_id ?? null, true, entry.continues);
    this.load();
    this.page.changed();
  }

  /** @param {string} text @param {Record<string, any>} options @param {string | null} [parent] @param {import('./files.js').TextFile[]} [files] */
  send(text, options, parent, files) {
    const opening = this.id ? undefined : this.opening;
    const [before] = this.entries();
    // One conversation has one system message: that of the prompt that opens it.
    if (opening && before) options.system = before.options.system;
    this.outbox.add({ conversation: this.id, opening, text, ...(files?.length && { files }), parent, options });
    if (opening) this.page.opening(opening);
    this.transcript.scroller.stick();
    this.sync();
  }

  /** Answers a prompt once more; a double click is one answer. @param {AnswerView} view */
  again(view) {
    const message = this.messages.find((m) => m.id === view.id);
    const parent = message?.parent_id ?? this.live.get(view.id)?.parent;
    if (!parent || !this.id || this.entries().some((e) => e.parent === parent && e.text === undefined)) return;
    this.outbox.add({ conversation: this.id, parent, options: this.options() });
    this.transcript.scroller.stick();
    this.sync();
  }

  /** Goes on from an answer that ended early; a double click is one continuation. @param {AnswerView} view */
  goOn(view) {
    const message = this.messages.find((m) => m.id === view.id);
    const parent = message?.parent_id ?? this.live.get(view.id)?.parent;
    if (!parent || !this.id || this.running || this.entries().some((e) => e.continues === view.id)) return;
    this.outbox.add({ conversation: this.id, parent, continues: view.id, options: {} });
    this.transcript.scroller.stick();
    this.sync();
  }

  /** Stops the answer, and shows the receipt. */
  async stop() {
    const live = this.running;
    if (!live || this.stopping) return;
    this.stopping = true;
    this.page.changed();
    try {
      const receipt = await api.cancel(live.view.id);
      this.page.announce(live.view.receipt(receipt));
    } catch (error) {
      this.page.problem(`Not stopped yet: ${error instanceof Error ? error.message : error}`);
    }
    this.stopping = false;
    this.page.changed();
  }

  /** Opens the last prompt for a change. */
  editLast() {
    const view = this.transcript.shown().findLast((v) => v instanceof PromptView && !v.marked);
    if (view instanceof PromptView) view.edit();
  }

  /** Shows another branch: the newest below `id`. @param {string} id */
  async branch(id) {
    const tree = await api.messages(/** @type {string} */ (this.id), true);
    /** @type {Message[]} */
    const all = tree.data ?? [];
    let leaf = id;
    for (let next; (next = all.findLast((m) => m.parent_id === leaf)); leaf = next.id);
    await api.change(/** @type {string} */ (this.id), { active_leaf: leaf });
    await this.load();
    tell(this.id);
    refocus();
  }

  /** Our prompts on their way to this conversation. */
  entries() {
    const { id, opening } = this;
    return this.outbox.entries.filter((e) => (id && e.conversation === id) || (opening && e.opening === opening));
  }

  /** The branch down to a message. @param {string | null} id */
  upTo(id) {
    return this.messages.slice(0, this.messages.findIndex((m) => m.id === id) + 1);
  }

  /** Puts what there is in its place on the page. */
  sync() {
    this.transcript.sync();
  }
}
