// @ts-check
/** The box for prompts: draft, model, parameters, send and stop in one place, “is typing”. */
import { byId, h } from './dom.js';
import { Files, contentOf } from './files.js';
import { composing, fit } from './grow.js';
import { api, drafts, settings } from './store.js';

/** One “active” per so many ms says that somebody types; the server forgets it after 6 s. */
const TYPING_EVERY = 3000;
/** No key for so long, in ms, is a pause. */
const TYPING_IDLE = 4000;

/** Models that were not to be had are asked for again after so long, in ms. */
const AGAIN = 3000;

/** Parameters of a start that settings hold, as numbers. */
const NUMBERS = ['temperature', 'top_p', 'max_output_tokens', 'seed'];

export class Composer {
  /** @param {import('./conversation.js').Conversation} conversation @param {import('./stream.js').Stream} stream */
  constructor(conversation, stream) {
    this.conversation = conversation;
    this.stream = stream;
    this.area = byId('prompt', HTMLTextAreaElement);
    this.button = byId('send', HTMLButtonElement);
    this.model = byId('model', HTMLSelectElement);
    this.files = new Files({ changed: () => this.input(), problem: conversation.page.problem, blind: () => this.blind, room: () => this.room });
    this.typed = 0;
    /** The most bytes of a prompt, once the server said so. */
    this.most = Infinity;
    /** The most of its pictures, as a model is told them, once the server said so. */
    this.room = Infinity;
    /** The text that was typed while the scripts still loaded. */
    this.early = this.area.value;
    conversation.options = () => this.options();
    byId('composer').addEventListener('submit', (event) => {
      event.preventDefault();
      this.press();
    });
    this.area.addEventListener('keydown', (event) => this.key(event));
    this.area.addEventListener('input', () => this.input());
    this.area.addEventListener('blur', () => this.pause());
    this.model.addEventListener('change', () => {
      settings.set({ ...settings.get(), model: this.model.value });
      this.suggest();
    });
    this.models();
  }

  async models() {
    clearTimeout(this.later);
    const { data, limits } = await api.models().catch((error) => {
      if (error.passing) this.later = setTimeout(() => this.models(), AGAIN);
      return { data: [], limits: {} };
    });
    this.most = limits?.prompt_bytes ?? Infinity;
    this.room = limits?.media_bytes ?? Infinity;
    const chosen = settings.get().model;
    this.model.replaceChildren(...data.map((/** @type {any} */ model) => {
      const name = model.provider === 'demo' ? `${model.id} (no AI)` : model.id;
      return h('option', { value: model.id, 'data-provider': model.provider, 'data-blind': model.pictures === false ? '' : undefined, selected: chosen ? model.id === chosen : model.default }, name);
    }));
    this.known = data.length > 0;
    this.conversation.unable = new Set(data.filter((/** @type {any} */ model) => !model.continues).map((/** @type {any} */ model) => model.id));
    this.suggest();
  }

  get isDemo() {
    return this.model.selectedOptions[0]?.dataset.provider === 'demo';
  }

  /** The model, if it is known not to see pictures. */
  get blind() {
    const model = this.model.selectedOptions[0];
    return model?.dataset.blind === undefined ? '' : model.value;
  }

  /** Words that only the built-in model understands are suggested for it alone. */
  suggest() {
    byId('examples').classList.toggle('real', !this.isDemo);
  }

  /** The fields of a start beside the prompt. */
  options() {
    const kept = settings.get();
    /** @type {Record<string, any>} */
    const options = {};
    if (this.model.value) options.model = this.model.value;
    for (const name of NUMBERS) if (kept[name] !== undefined && kept[name] !== '') options[name] = Number(kept[name]);
    if (kept.stop) options.stop = kept.stop.split('\n').filter(Boolean);
    if (kept.system && !this.conversation.id) options.system = kept.system;
    return options;
  }

  /** The draft of another conversation. */
  open() {
    const draft = drafts.of(this.conversation.id);
    if (this.early) draft.set(this.early);
    this.early = '';
    this.area.value = draft.get();
    this.files.set(drafts.files(this.conversation.id).get());
    this.typed = 0;
    fit(this.area);
    this.show();
  }

  /** @param {string} text @param {import('./files.js').TextFile[]} [files] those of a prompt that comes back */
  fill(text, files) {
    this.area.value = text;
    if (files?.length) this.files.set(files);
    this.area.focus();
    this.input();
  }

  input() {
    fit(this.area);
    drafts.of(this.conversation.id).set(this.area.value || null);
    drafts.files(this.conversation.id).set(this.files.files.length ? this.files.files : null);
    this.show();
    const { id } = this.conversation;
    if (!id || settings.get().silent) return;
    const now = performance.now();
    if (this.area.value && (!this.typed || now - this.typed > TYPING_EVERY)) {
      this.typed = now;
      this.stream.typing(id, true);
    }
    clearTimeout(this.idle);
    this.idle = setTimeout(() => this.pause(), TYPING_IDLE);
    if (!this.area.value) this.pause();
  }

  pause() {
    clearTimeout(this.idle);
    if (this.typed && this.conversation.id) this.stream.typing(this.conversation.id, false);
    this.typed = 0;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key === 'Enter' && !event.shiftKey && !composing(event)) {
      event.preventDefault();
      if (this.written) this.send();
    } else if (event.key === 'ArrowUp' && !this.area.value) {
      event.preventDefault();
      this.conversation.editLast();
    }
  }

  /** The one button: it stops while an answer runs and the box is empty. */
  press() {
    if (this.button.dataset.does === 'stop') this.conversation.stop();
    else if (this.written) this.send();
  }

  /** Whether there is something to send. */
  get written() {
    return Boolean(this.area.value.trim() || this.files.files.length);
  }

  send() {
    const text = this.area.value.trim();
    const { files } = this.files;
    const draft = drafts.of(this.conversation.id);
    const content = contentOf(text, files);
    const parts = typeof content === 'string' ? [content] : content.map((part) => (part.type === 'text' ? part.text : ''));
    if (this.blind && files.some(({ picture }) => picture)) return this.conversation.page.problem(`Not sent: the model ${this.blind} cannot see pictures. Choose another model, or remove them.`);
    const bytes = new TextEncoder().encode(parts.join('\n')).length;
    // This is known before a conversation is opened for it, and the text stays where it can be cut.
    if (bytes > this.most) return this.conversation.page.problem(`Not sent: the prompt has ${bytes.toLocaleString('en')} bytes; the limit is ${this.most.toLocaleString('en')}.`);
    byId('problem').replaceChildren();
    const keptFiles = drafts.files(this.conversation.id);
    this.conversation.send(text, this.options(), undefined, files);
    this.area.value = '';
    this.files.set([]);
    draft.set(null);
    keptFiles.set(null);
    fit(this.area);
    this.pause();
    this.show();
    this.area.focus();
  }

  /** The present action of the button. */
  show() {
    const running = Boolean(this.conversation.running);
    const { written } = this;
    const does = running && !written ? 'stop' : running ? 'queue' : 'send';
    const label = { stop: this.conversation.stopping ? 'Stopping…' : 'Stop', queue: 'Queue', send: 'Send' }[does];
    if (this.button.dataset.does !== does || this.button.title !== label) {
      this.button.dataset.does = does;
      this.button.title = label;
      this.button.setAttribute('aria-label', label);
    }
    const disabled = does === 'send' && !written;
    if (this.button.getAttribute('aria-disabled') !== String(disabled)) this.button.setAttribute('aria-disabled', String(disabled));
  }
}
