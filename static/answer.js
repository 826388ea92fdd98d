// @ts-check
/**
 * The fold of a generation's events: the answer of a reader that saw them all.
 *
 * @typedef {import('./stream.js').Event} Event
 * @typedef {{ text: string, reasoning: string, refusal: string, tools: Tool[] }} Said
 * @typedef {{ id: string, name: string, arguments: string }} Tool
 */

/** Notices that are for programs. */
const FOR_PROGRAMS = new Set(['thinking_signature', 'redacted_thinking', 'rate_limits']);
/** A delta that comes so soon after a connection began, in ms, may have waited for it. */
const CATCHING_UP = 1000;
/** A shorter time than this, in ms, gives no pace. */
const SHORTEST = 500;

export class Answer {
  /** The answer that a stored message holds. @param {any} message */
  static of(message) {
    const answer = new Answer();
    const tools = message.tool_calls ?? [];
    answer.said = { text: textOf(message.content), reasoning: message.reasoning ?? '', refusal: message.refusal ?? '', tools };
    answer.model = message.model ?? '';
    answer.done = { status: message.status ?? 'completed', usage: message.usage, error: message.error };
    return answer;
  }

  constructor() {
    /** @type {Said} */
    this.said = { text: '', reasoning: '', refusal: '', tools: [] };
    /** Text that is void. @type {{ text: string, reason: string }[]} */
    this.voided = [];
    /** @type {{ code: string, message: string }[]} */
    this.notices = [];
    /** @type {any} */
    this.done = null;
    this.model = '';
    this.createdAt = '';
    /** The server's state of it, when asked. @type {any} */
    this.view = null;
    this.seq = 0;
    this.attempts = 1;
    /** Pieces of text that count: the best guess at tokens where `usage` is none or a guess. */
    this.pieces = 0;
    /** Pieces that were seen as they came, from when to when, by this page's clock. */
    this.paced = { pieces: 0, first: 0, last: 0 };
    /** Before this moment, pieces may have waited for us: they prove nothing about the model's pace. */
    this.steady = 0;
    /** When the thinking and the text began, if they were seen to. */
    this.thought = { from: 0, to: 0 };
    /** The answer and its pieces as they stood where an attempt began. @type {[number, Said, number][]} */
    this.boundaries = [];
    /** Grows with each change that cannot be shown by appending. */
    this.version = 0;
  }

  /** @param {Event} event */
  apply(event) {
    this.seq = event.seq;
    const { said } = this;
    switch (event.type) {
      case 'started':
        this.model = event.model;
        this.createdAt = event.created_at;
        return this.begin(event.seq);
      case 'delta':
        said.text += event.text;
        return this.count(event);
      case 'reasoning':
        said.reasoning += event.text;
        return this.count(event);
      case 'refusal':
        said.refusal += event.text;
        return this.count(event);
      case 'tool_call':
        return this.tool(event);
      case 'superseded':
        return this.supersede(event);
      case 'resumed':
        this.attempts = event.attempt;
        return this.begin(event.seq);
      case 'snapshot':
        this.said = { ...said, text: event.text ?? '', reasoning: event.reasoning ?? '' };
        this.version += 1;
        return;
      case 'notice':
        if (!FOR_PROGRAMS.has(event.code)) this.notices.push({ code: event.code, message: event.message });
        return;
      case 'done':
        this.done = event;
        return;
      default: // A later server has more events; those are not for this page.
    }
  }

  /** A connection begins: what waits for it comes first. @param {boolean} [fresh] whether nothing can wait */
  connected(fresh = false) {
    this.steady = fresh && !this.seq ? 0 : performance.now() + CATCHING_UP;
    this.paced = { pieces: 0, first: 0, last: 0 };
  }

  /** @param {number} seq */
  begin(seq) {
    this.boundaries.push([seq, structuredClone(this.said), this.pieces]);
  }

  /** @param {Event} event */
  count(event) {
    const pieces = event.seq - (event.from ?? event.seq) + 1;
    const now = performance.now();
    this.pieces += pieces;
    if (now < this.steady) return;
    if (event.type === 'reasoning') this.thought.from ||= now;
    else if (this.thought.from) this.thought.to ||= now;
    const { paced } = this;
    if (paced.first) paced.pieces += pieces;
    paced.first ||= now;
    paced.last = now;
  }

  /** Tokens a second, as they were seen to come; 0 without data. */
  get pace() {
    const { pieces, first, last } = this.paced;
    return last - first > SHORTEST ? (pieces / (last - first)) * 1000 : 0;
  }

  /** How many tokens, and whether that is a guess. */
  get tokens() {
    const { output_tokens: used, exact } = this.done?.usage ?? {};
    if (used !== undefined && exact !== false) return { count: used, exact: true };
    // One that was not seen to come has as many pieces as its log has events between the first and the last.
    return { count: this.pieces || Math.min(used ?? 0, Math.max(0, (this.view?.last_seq ?? Infinity) - 2)), exact: false };
  }

  /** @param {Event} event */
  tool(event) {
    const tool = (this.said.tools[event.index] ??= { id: '', name: '', arguments: '' });
    tool.id ||= event.id ?? '';
    tool.name ||= event.name ?? '';
    tool.arguments += event.arguments ?? '';
    this.version += 1;
  }

  /** @param {Event} event */
  supersede(event) {
    this.boundaries = this.boundaries.filter(([seq]) => seq <= event.after);
    const [, kept, pieces] = this.boundaries.at(-1) ?? [0, { text: '', reasoning: '', refusal: '', tools: [] }, 0];
    this.pieces = pieces;
    const lost = this.said.text.slice(kept.text.length);
    if (lost) this.voided.push({ text: lost, reason: event.reason });
    this.said = structuredClone(kept);
    this.attempts += 1;
    this.version += 1;
    this.begin(event.seq);
  }

  get words() {
    return this.said.text.split(/\s+/).filter(Boolean).length;
  }
}

/** Whether a message is for people: not what tools and programs say to each other. @param {any} message */
export function isSaid(message) {
  if (message.role === 'system' || message.role === 'tool') return false;
  return message.role !== 'assistant' || Boolean(message.generation_id) || textOf(message.content) !== '';
}

/** The text of a message's content, which may come in parts. @param {any} content @returns {string} */
export function textOf(content) {
  if (typeof content === 'string') return content;
  return (content ?? []).flatMap((/** @type {any} */ part) => part.text ?? []).join('\n');
}
