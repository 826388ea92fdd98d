// @ts-check
/**
 * The conversations that were last read here, to be read again while the server is away. The browser keeps them in
 * IndexedDB, for one signed-in reader at a time: another reader, a sign-out or a 401 erases them all.
 *
 * @typedef {import('./store.js').Conversation} Conversation
 * @typedef {import('./store.js').Message} Message
 * @typedef {{ id: string, at: number, info: Conversation, messages: Message[] }} Copy `at`: when it was read, in ms since 1970
 * @typedef {{ tenant: string, key: string | null, expires_in_s: number | null }} Session as `GET /v1/session` tells it
 */
import { Kept } from './store.js';

/** So many conversations are kept. */
export const MOST = 20;
/** A longer conversation, as JSON and in characters, is not kept: a browser's space is shared with everything else. */
const LONGEST = 8_000_000;
const NAME = 'lastword';
const COPIES = 'copies';
/** The owner of the copies, and the time until which they last. */
const OWNER = 'owner';

/** The wish of each reader, by tenant and key. */
const choices = new Kept('recent', {});

export class Recent {
  constructor() {
    /** The reader; null until the server said so. @type {string | null} */
    this.reader = null;
    this.hasKey = false;
    /** Read before the reader was known. @type {[Conversation, Message[]] | null} */
    this.early = null;
    /** The last copy: the page reads a conversation again and again. */
    this.stamp = '';
    /** @type {Promise<IDBDatabase> | undefined} */
    this.opened = undefined;
  }

  /** Whether this reader's conversations are kept: without keys, unless it is refused; with a key, only if asked. */
  get wanted() {
    return this.reader !== null && (choices.get()[this.reader] ?? !this.hasKey);
  }

  /** The reader's wish. @param {boolean} keep */
  async choose(keep) {
    if (this.reader === null || keep === this.wanted) return;
    choices.set({ ...choices.get(), [this.reader]: keep });
    this.stamp = '';
    if (!keep) await this.clear();
  }

  /** The server names the reader: copies of any other reader are erased. @param {Session} session */
  async enter({ tenant, key, expires_in_s: left }) {
    const reader = `${tenant} ${key ?? ''}`;
    this.reader = reader;
    this.hasKey = key !== null;
    const until = left === null ? Infinity : Date.now() + left * 1000;
    const { wanted } = this;
    await this.within('readwrite', (copies, owner) => {
      owner.get(OWNER).onsuccess = (event) => {
        const before = resultOf(event);
        if (!wanted || before?.reader !== reader) copies.clear();
        owner.put({ reader, until }, OWNER);
      };
    });
    if (this.early) await this.keep(...this.early);
  }

  /** No reader is signed in any more: no copy stays. */
  async leave() {
    this.reader = null;
    await this.clear();
  }

  async clear() {
    this.early = null;
    this.stamp = '';
    await this.within('readwrite', (copies, owner) => {
      copies.clear();
      owner.clear();
    });
  }

  /** Keeps the conversation that was just read, and removes the oldest. @param {Conversation} info @param {Message[]} messages */
  async keep(info, messages) {
    const { reader } = this;
    if (reader === null) {
      this.early = [info, messages];
      return;
    }
    this.early = null;
    const stamp = `${info.id} ${info.updated_at} ${messages.length} ${messages.at(-1)?.id}`;
    if (!this.wanted || stamp === this.stamp) return;
    this.stamp = stamp;
    if (JSON.stringify(messages).length > LONGEST) return;
    await this.within('readwrite', (copies, owner) => {
      owner.get(OWNER).onsuccess = (event) => {
        // Another tab signed out or in meanwhile.
        if (resultOf(event)?.reader !== reader) return;
        copies.put({ id: info.id, at: Date.now(), info, messages });
        copies.index('at').getAllKeys().onsuccess = (found) => {
          for (const old of resultOf(found).slice(0, -MOST)) copies.delete(old);
        };
      };
    });
  }

  /** A conversation was erased. @param {string} id */
  async drop(id) {
    this.stamp = '';
    await this.within('readwrite', (copies) => void copies.delete(id));
  }

  /** The copy of a conversation. @param {string} id @returns {Promise<Copy | undefined>} */
  async find(id) {
    return (await this.all()).find((copy) => copy.id === id);
  }

  /** All copies, the last read first; none once the session is over. @returns {Promise<Copy[]>} */
  async all() {
    /** @type {Copy[]} */
    let found = [];
    let over = false;
    await this.within('readonly', (copies, owner) => {
      owner.get(OWNER).onsuccess = (event) => {
        const now = resultOf(event);
        over = now !== undefined && now.until < Date.now();
        if (!now || over) return;
        copies.index('at').getAll().onsuccess = (all) => {
          found = resultOf(all).reverse();
        };
      };
    });
    if (over) await this.clear();
    return found;
  }

  /**
   * Does `work` in one transaction; resolves when it is committed. Where the browser keeps nothing, as in some private
   * windows, nothing is kept and nothing is found.
   * @param {IDBTransactionMode} mode @param {(copies: IDBObjectStore, owner: IDBObjectStore) => void} work
   */
  async within(mode, work) {
    try {
      const db = await (this.opened ??= open(() => (this.opened = undefined)));
      await new Promise((resolve, reject) => {
        const transaction = db.transaction([COPIES, OWNER], mode);
        transaction.oncomplete = resolve;
        transaction.onabort = () => reject(transaction.error);
        work(transaction.objectStore(COPIES), transaction.objectStore(OWNER));
      });
    } catch {
      this.opened = undefined;
    }
  }
}

/** @param {Event} event @returns {any} */
const resultOf = (event) => /** @type {IDBRequest} */ (event.target).result;

/** @param {() => void} closed @returns {Promise<IDBDatabase>} */
function open(closed) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(COPIES, { keyPath: 'id' }).createIndex('at', 'at');
      request.result.createObjectStore(OWNER);
    };
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const db = request.result;
      db.onclose = closed;
      db.onversionchange = () => {
        db.close();
        closed();
      };
      resolve(db);
    };
  });
}

export const recent = new Recent();
