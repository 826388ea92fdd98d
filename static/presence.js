// @ts-check
/** The others in a conversation: who is there, and who types. */
import { byId, h } from './dom.js';

export class Presence {
  /** @param {import('./conversation.js').Conversation} conversation @param {import('./stream.js').Stream} stream */
  constructor(conversation, stream) {
    this.conversation = conversation;
    this.stream = stream;
    /** Whether the server reports the participants, and with them the asking one. */
    this.reported = false;
  }

  /** Another conversation comes. */
  clear() {
    this.hear({ type: 'presence', participants: [] });
    this.hear({ type: 'typing', who: [] });
  }

  /** A frame about the conversation. @param {any} frame */
  hear(frame) {
    const { conversation } = this;
    if (frame.conversation && frame.conversation !== conversation.id) return;
    if (frame.type === 'typing') {
      const people = frame.who.filter((/** @type {any} */ who) => who.kind === 'user').map((/** @type {any} */ who) => who.name || 'Somebody');
      const names = people.length > 2 ? `${people.length} people` : people.join(' and ');
      byId('typing').textContent = names ? `${names} ${people.length > 1 ? 'are' : 'is'} typing…` : '';
      const answering = frame.who.some((/** @type {any} */ who) => who.kind === 'model');
      // Somebody else asked: the list says which answer to follow.
      if (answering && !conversation.running) conversation.load();
    } else if (frame.type === 'presence') {
      this.reported = Boolean(frame.conversation);
      const others = frame.participants.filter((/** @type {any} */ who) => who.id !== this.stream.options.client?.id);
      byId('presence').replaceChildren(...others.slice(0, 5).map((/** @type {any} */ who) => face(who.name || 'Somebody')));
    }
  }
}

/** The participants, by letter and colour: of a guest, the letter of the name that tells guests apart. @param {string} name */
function face(name) {
  const item = h('li', { title: name, 'aria-label': `${name} is here` }, name.replace(/^Guest (?=.)/, '').slice(0, 1).toUpperCase());
  const hue = [...name].reduce((sum, letter) => (sum * 31 + (letter.codePointAt(0) ?? 0)) % 360, 7);
  item.style.setProperty('--hue', String(hue));
  return item;
}
