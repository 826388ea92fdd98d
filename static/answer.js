// @ts-check
/**
 * The fold of a generation's events: what a reader has who saw them all.
 *
 * @typedef {import('./stream.js').Event} Event
 * @typedef {{ text: string, reasoning: string, refusal: string, tools: Tool[] }} Said
 * @typedef {{ id: string, name: string, arguments: string }} Tool
 */

/** Notices that are for programs. */
const FOR_PROGRAMS = new Set(['thinking_signature', 'redacted_thinking']);

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
    /** What was said and is void. @type {{ text: string, reason: string }[]} */
    this.voided = [];
    /** @type {{ code: string, message: string }[]} */
    this.notices = [];
    /** @type {any} */
    this.done = null;
    this.model = '';
    this.createdAt = '';
    /** What the server knows of it, when asked. @type {any} */
    this.view = null;
    this.seq = 0;
    this.attempts = 1;
    /** Pieces of text: the best guess at tokens before `usage` tells. */
    this.pieces = 0;
    /** When the first piece came, by this page's clock, if the page was there. */
    this.first = 0;
    this.last = 0;
    /** The answer as it stood where an attempt began. @type {[number, Said][]} */
    this.boundaries = [];
    /** Grows with whatever cannot be shown by appending. */
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
      default: // A later server knows more; what it says is not for us.
    }
  }

  /** @param {number} seq */
  begin(seq) {
    this.boundaries.push([seq, structuredClone(this.said)]);
  }

  /** @param {Event} event */
  count(event) {
    this.pieces += event.seq - (event.from ?? event.seq) + 1;
    this.last = performance.now();
    this.first ||= this.last;
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
    const kept = this.boundaries.at(-1)?.[1] ?? { text: '', reasoning: '', refusal: '', tools: [] };
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

/** The text of a message's content, which may come in parts. @param {any} content @returns {string} */
export function textOf(content) {
  if (typeof content === 'string') return content;
  return (content ?? []).map((/** @type {any} */ part) => part.text ?? '').join('');
}
