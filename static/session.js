// @ts-check
/** Who is signed in: asked for a key where one is needed, named in the sidebar, and signed out without a trace. */
import { base } from './base.js';
import { byId } from './dom.js';
import { forget } from './pictures.js';
import { recent } from './recent.js';
import { call, forgetDrafts, signIn } from './store.js';

export class Session {
  /**
   * @param {import('./outbox.js').Outbox} outbox
   * @param {{ problem: (text: string) => void, dialogs: () => Promise<typeof import('./dialogs.js')>, entered: () => Promise<void> }} page `entered`: somebody has just signed in
   */
  constructor(outbox, page) {
    this.outbox = outbox;
    this.page = page;
    /** Somebody is asked for a key. */
    this.asking = false;
    /** This page is about to go. */
    this.leaving = false;
    byId('sign-out').addEventListener('click', () => this.leave());
    signIn.addEventListener('wanted', () => this.ask());
  }

  /** Names the signed-in key, where one is needed. */
  async who() {
    // A refusal asks for no sign-in: who wants to see something is asked by then.
    const answer = await fetch(`${base}/v1/session`).catch(() => null);
    const me = answer?.ok ? await answer.json() : null;
    if (me) await recent.enter(me);
    else if (answer?.status === 401) await recent.leave();
    byId('who').hidden = !me?.key;
    byId('who-name').textContent = me?.name ?? '';
  }

  async ask() {
    recent.leave();
    // The page that comes asks: what is typed here would go with this one.
    if (this.asking || this.leaving) return;
    this.asking = true;
    const signedIn = await this.page.dialogs().then(({ signIn: ask }) => ask());
    this.asking = false;
    if (signedIn) await this.page.entered();
  }

  async leave() {
    const waiting = this.outbox.entries;
    if (waiting.length) {
      const { confirm } = await this.page.dialogs();
      const text = `${waiting.length === 1 ? 'One prompt is' : `${waiting.length} prompts are`} not sent yet, and would stay on this device for whoever signs in next.`;
      if (!(await confirm('Discard what waits, and sign out?', text, 'Discard and sign out'))) return;
      for (const { key } of waiting) this.outbox.change(key, null);
    }
    this.leaving = true;
    await recent.leave();
    await call('DELETE', '/v1/session').catch((error) => this.page.problem(error.message));
    // The content that was shown, begun and kept in memory goes with the page, also for who comes back to it.
    forgetDrafts();
    await forget();
    document.body.hidden = true;
    addEventListener('pageshow', ({ persisted }) => persisted && location.reload());
    location.replace(`${base}/`);
  }
}
