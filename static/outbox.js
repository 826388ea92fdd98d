// @ts-check
/**
 * Prompts on their way. Each is kept before it is sent and until its generation is known, with the key that makes a
 * repeat the same start. Prompts for a conversation that is still to be opened share the key that opens it, so that
 * it is opened once. The tab that took a prompt sends it; when that tab is gone, another one does.
 *
 * @typedef {{ key: string, tab: string, conversation: string | null, opening?: string, text?: string, files?: import('./files.js').TextFile[], parent?: string | null, continues?: string, state: 'queued' | 'sending' | 'failed', why?: string, code?: string, at: number, options: Record<string, any> }} Entry
 */
import { contentOf } from './files.js';
import { arrived, sent } from './pictures.js';
import { Kept, Refused, api, keptNames, newKey, tell } from './store.js';

/** How long after a failed attempt the next one comes, in ms. */
const LATER = [500, 1000, 2000, 5000, 10_000];
/** One place in the storage for each entry: tabs that write at the same moment overwrite nothing of each other. */
const PLACE = 'outbox.';

/** @param {string} key */
const place = (key) => new Kept(PLACE + key, null);

/** A lock that a tab holds for as long as it lives. @param {string} tab */
const life = (tab) => `lastword.tab.${tab}`;

export class Outbox {
  /**
   * @param {(entry: Entry, receipt: any) => void} arrived
   * @param {() => void} changed
   * @param {(entry: Entry) => boolean} busy whether its conversation still answers another prompt
   * @param {(entry: Entry, error: Refused) => void} refused of an entry without words, which is not kept then
   */
  constructor(arrived, changed, busy, refused) {
    this.arrived = arrived;
    this.changed = changed;
    this.busy = busy;
    this.refused = refused;
    this.tries = 0;
    this.running = false;
    this.tab = newKey();
    /** The prompts that this tab sends, oldest first. @type {Map<string, Entry>} */
    this.mine = new Map();
    /** Tabs whose end is waited for. @type {Set<string>} */
    this.others = new Set();
    navigator.locks?.request(life(this.tab), () => new Promise(() => {}));
    addEventListener('online', () => this.flush());
    addEventListener('storage', ({ key, newValue }) => key?.startsWith(`lastword.${PLACE}`) && this.hear(key.slice(`lastword.${PLACE}`.length), newValue));
    this.adopt();
  }

  /** All that is on its way, from all tabs, oldest first. @returns {Entry[]} */
  get entries() {
    const all = new Map(stored().map((entry) => [entry.key, entry]));
    for (const entry of this.mine.values()) all.set(entry.key, entry);
    return [...all.values()].sort((a, b) => a.at - b.at);
  }

  /** @param {Omit<Entry, 'key' | 'tab' | 'state' | 'at'>} entry */
  add(entry) {
    const added = /** @type {Entry} */ ({ ...entry, key: newKey(), tab: this.tab, state: 'queued', at: Date.now() });
    this.put(added);
    this.changed();
    this.flush();
    return added;
  }

  /** @param {string} key @param {Partial<Entry> | null} change */
  change(key, change) {
    const entry = this.mine.get(key) ?? place(key).get();
    if (change && entry) this.put({ ...entry, ...change });
    else {
      this.mine.delete(key);
      place(key).set(null);
    }
    this.changed();
  }

  /** @param {Entry} entry */
  put(entry) {
    if (entry.tab === this.tab) this.mine.set(entry.key, entry);
    place(entry.key).set(entry);
  }

  /** Another tab took one in, sent it, or changed one of ours. @param {string} key @param {string | null} value */
  hear(key, value) {
    if (this.mine.has(key)) {
      if (value === null) this.mine.delete(key);
      else this.mine.set(key, { ...JSON.parse(value), tab: this.tab });
    }
    this.changed();
    this.adopt();
    this.flush();
  }

  /** Takes over from tabs that are gone, now or later. Without locks no tab can know this, and only the keys prevent
   * a double start. */
  adopt() {
    const others = new Set(stored().map(({ tab }) => tab));
    for (const tab of others) {
      if (tab === this.tab || this.others.has(tab)) continue;
      this.others.add(tab);
      const gone = () => {
        this.others.delete(tab);
        for (const entry of stored()) if (entry.tab === tab) this.put({ ...entry, tab: this.tab });
        this.flush();
      };
      if (navigator.locks) navigator.locks.request(life(tab), gone);
      else gone();
    }
  }

  /** Sends the prompts that can be sent, one after the other. */
  async flush() {
    clearTimeout(this.timer);
    if (this.running) return void (this.more = true);
    this.running = true;
    try {
      await this.sendAll();
    } finally {
      this.running = false;
    }
    if (this.more) {
      this.more = false;
      this.flush();
    }
  }

  async sendAll() {
    for (const { key } of [...this.mine.values()].sort((a, b) => a.at - b.at)) {
      const entry = this.mine.get(key);
      if (!entry || entry.state === 'failed' || this.busy(entry)) continue;
      try {
        await this.send(entry);
        this.tries = 0;
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        this.failed(entry, error);
        if (error.passing) return;
      }
    }
  }

  /** @param {Entry} entry */
  async send(entry) {
    this.change(entry.key, { state: 'sending' });
    const { system, ...options } = entry.options;
    // First, so that no conversation is opened for a picture that is refused.
    if (entry.files?.some(({ waiting }) => waiting)) {
      entry.files = await sent(entry.files);
      // Taken back meanwhile: nothing is opened for it.
      if (!this.mine.has(entry.key)) return;
      this.change(entry.key, { files: entry.files });
    }
    if (!entry.conversation) {
      entry.conversation = (await api.create(system ? { system } : {}, entry.opening ?? entry.key)).id;
      this.opened(entry);
    }
    // Taken back meanwhile.
    if (!this.mine.has(entry.key)) return;
    const content = contentOf(entry.text ?? '', entry.files ?? []);
    const said = typeof content === 'string' ? { prompt: content } : { messages: [{ role: 'user', content }] };
    const body = {
      conversation_id: entry.conversation,
      ...(entry.text === undefined ? {} : said),
      ...(entry.parent === undefined ? {} : { parent_id: entry.parent }),
      ...options,
    };
    const receipt = await (entry.continues ? api.goOn(entry.continues, entry.key) : api.start(body, entry.key));
    this.change(entry.key, null);
    arrived(entry.files ?? []);
    this.arrived(entry, receipt);
    tell(entry.conversation);
  }

  /** The prompts that waited for it know their conversation, too. @param {Entry} entry */
  opened({ key, opening, conversation }) {
    for (const other of this.mine.values()) {
      if (other.key === key || (opening && other.opening === opening)) this.change(other.key, { conversation });
    }
  }

  /** @param {Entry} entry @param {Refused} error */
  failed(entry, error) {
    const busy = error.code === 'conversation_busy';
    const later = busy || error.passing || error.status === 401;
    if (!later && entry.text === undefined) {
      this.change(entry.key, null);
      this.refused(entry, error);
      return;
    }
    this.change(entry.key, later ? { state: 'queued', why: error.message, code: error.code } : { state: 'failed', why: error.message, code: error.code });
    if (!later) return;
    const wait = Math.max(error.wait, LATER[Math.min(this.tries++, LATER.length - 1)]);
    this.timer = setTimeout(() => this.flush(), wait * (0.5 + Math.random() / 2));
  }
}

/** The content of the storage, of all tabs. @returns {Entry[]} */
function stored() {
  return keptNames(PLACE).map((name) => new Kept(name, null).get()).filter(Boolean);
}
