// @ts-check
/** The protocol, as it goes over the wire. Buttons cut it, so that one can watch a resume. */
import { byId, h, iconButton } from './dom.js';

/** Rows that are kept: enough to see a cut and what followed. */
const ROWS = 400;
/** How long “Go offline” lasts, in ms. */
const OFFLINE = 5000;

/** @typedef {import('./stream.js').Wire} Wire */

export class Inspector {
  /** @param {import('./stream.js').Stream} stream @param {() => void} close */
  constructor(stream, close) {
    this.stream = stream;
    this.drawer = byId('inspector');
    /** @type {Wire[]} */
    this.pending = [];
    /** @type {number | undefined} */
    this.frame = undefined;
    this.last = 0;
    this.counts = { events: 0, resumes: 0, dropped: 0 };
    this.sum = h('p', { class: 'quiet', role: 'status' });
    this.body = h('tbody');
    this.box = h('div', { class: 'wire', tabindex: '0', role: 'group', 'aria-label': 'Events' },
      h('table', null, h('thead', null, h('tr', null, ['seq', 'event', 'gap', 'via'].map((name) => h('th', { scope: 'col' }, name)))), this.body));
    const button = (/** @type {string} */ label, /** @type {() => void} */ onclick) => h('button', { type: 'button', class: 'button quiet', onclick }, label);
    this.transport = button('', () => {
      stream.use(stream.transport() === 'sse' ? 'auto' : 'sse');
      this.show();
    });
    this.drawer.replaceChildren(
      h('header', null, h('h2', null, 'Protocol'), iconButton('close', 'Close the inspector', close)),
      h('div', { class: 'buttons' }, button('Cut the connection', () => stream.cut()), button('Go offline for 5 s', () => {
        stream.leave();
        setTimeout(() => stream.back(), OFFLINE);
      }), this.transport, button('Clear', () => this.clear())),
      this.sum, this.box);
    this.clear();
  }

  clear() {
    this.body.replaceChildren();
    this.counts = { events: 0, resumes: 0, dropped: 0 };
    this.show();
  }

  /** @param {Wire} wire */
  add(wire) {
    this.pending.push(wire);
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  /** @param {number} seq */
  resumed(seq) {
    this.counts.resumes += 1;
    this.add({ at: performance.now(), transport: this.stream.transport(), note: `resumed behind ${seq}` });
  }

  draw() {
    this.frame = undefined;
    const end = this.box.scrollHeight - this.box.clientHeight - this.box.scrollTop < 40;
    this.body.append(...this.pending.slice(-ROWS).map((wire) => this.row(wire)));
    this.pending = [];
    while (this.body.childElementCount > ROWS) this.body.firstChild?.remove();
    if (end) this.box.scrollTop = this.box.scrollHeight;
    this.show();
  }

  /** @param {Wire} wire */
  row({ at, transport, event, frame, note }) {
    const gap = this.last ? `${Math.round(at - this.last)} ms` : '';
    this.last = at;
    const via = transport === 'sse' ? 'SSE' : 'WS';
    if (note) {
      if (note.includes('dropped')) this.counts.dropped += 1;
      return h('tr', { class: 'cut' }, h('td', { colspan: '2' }, note), h('td', null, gap), h('td', null, via));
    }
    if (event) {
      this.counts.events += 1;
      const { seq, from, type, ...rest } = event;
      const shown = typeof rest.text === 'string' ? JSON.stringify(rest.text) : JSON.stringify(rest);
      return h('tr', null, h('td', null, from ? `${from}–${seq}` : String(seq)), h('td', null, h('b', null, type), ' ', h('span', { class: 'quiet' }, clip(shown))), h('td', null, gap), h('td', null, via));
    }
    return h('tr', { class: 'frame' }, h('td', null, ''), h('td', null, h('b', null, frame.type), ' ', h('span', { class: 'quiet' }, clip(JSON.stringify(frame)))), h('td', null, gap), h('td', null, via));
  }

  show() {
    const { events, resumes, dropped } = this.counts;
    const words = this.body.firstChild ? `${events} events · ${resumes} ${resumes === 1 ? 'resume' : 'resumes'} · ${dropped} repeats dropped` : 'Send a message, and watch its events come.';
    if (this.sum.textContent !== words) this.sum.textContent = words;
    this.transport.textContent = this.stream.transport() === 'sse' ? 'Use a WebSocket' : 'Use SSE';
  }
}

/** @param {string} text */
const clip = (text) => (text.length > 160 ? `${text.slice(0, 160)}…` : text);
