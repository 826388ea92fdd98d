// @ts-check
/** How the connection is, in one calm line beside a light: live, cut, resumed. */
import { byId } from './dom.js';
import { signIn } from './store.js';

/** How long “resumed at …” stays, in ms: long enough to be read. */
const STAYS = 5000;

export class Connection {
  /**
   * @param {import('./stream.js').Stream} stream
   * @param {{ announce: (text: string) => void, back: () => void, changed: () => void }} page `back`: it is live after a cut
   */
  constructor(stream, page) {
    this.stream = stream;
    this.page = page;
    /** The latest change, for a moment. @type {string | undefined} */
    this.resumed = undefined;
    /** @type {any} */
    this.resumedTimer = undefined;
    this.wasCut = false;
    /** @type {any} */
    this.counting = undefined;
    byId('retry').addEventListener('click', () => stream.retry());
  }

  /** Shows the latest change beside the light. @param {string} text */
  news(text) {
    this.resumed = text;
    clearTimeout(this.resumedTimer);
    this.resumedTimer = setTimeout(() => {
      this.resumed = undefined;
      this.show();
    }, STAYS);
  }

  show() {
    const { phase, transport, retryAt, why } = this.stream.state;
    const chip = byId('chip');
    const seconds = retryAt ? Math.max(0, Math.ceil((retryAt - Date.now()) / 1000)) : 0;
    const texts = {
      idle: 'ready',
      live: this.resumed ?? 'live',
      connecting: this.wasCut ? 'reconnecting…' : 'connecting…',
      waiting: seconds > 1 ? `reconnecting in ${seconds} s` : 'reconnecting…',
      offline: 'offline',
      stopped: 'signed out',
    };
    if (phase === 'waiting' || phase === 'offline') {
      if (!this.wasCut) this.page.announce(phase === 'offline' ? 'Offline.' : 'Reconnecting.');
      this.wasCut = true;
    } else if (phase === 'live' && this.wasCut) {
      this.wasCut = false;
      this.page.back();
      if (!this.resumed) {
        this.page.announce('Back online.');
        this.news('back online');
      }
    }
    chip.dataset.phase = phase;
    const news = this.resumed && (phase === 'live' || phase === 'idle') ? this.resumed : '';
    byId('chip-text').textContent = news || texts[phase];
    byId('chip-text').classList.toggle('news', Boolean(news));
    chip.title = `Connection: ${texts[phase]}, by ${transport === 'sse' ? 'SSE' : 'WebSocket'}`;
    byId('retry').hidden = phase !== 'waiting' || seconds <= 1;
    clearTimeout(this.counting);
    if (phase === 'waiting') this.counting = setTimeout(() => this.show(), 500);
    if (phase === 'stopped' && why === '4501') signIn.dispatchEvent(new Event('wanted'));
    this.page.changed();
  }
}
