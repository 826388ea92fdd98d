// @ts-check
/**
 * The page's requests to the server, and its data in the browser.
 *
 * @typedef {{ id: string, title: string | null, system: string | null, metadata: any, active_leaf: string | null, created_at: number, updated_at: string, running: string[] }} Conversation
 * @typedef {{ id: string, parent_id: string | null, role: string, content: any, reasoning?: string, refusal?: string, tool_calls?: any[], status?: string, generation_id?: string, model?: string, usage?: any, siblings: string[], created_at: string, finish_reason?: string, error?: any }} Message
 */

import { base } from './base.js';

/** An answer that is no success. `code` is the server's, or `unreachable`. */
export class Refused extends Error {
  /** @param {number} status @param {any} problem @param {number} wait in ms */
  constructor(status, problem, wait) {
    super(problem.detail ?? problem.title ?? `status ${status}`);
    this.status = status;
    this.code = problem.code ?? 'refused';
    this.problem = problem;
    this.wait = wait;
  }

  /** Whether the same request may succeed later. */
  get passing() {
    return this.status === 0 || this.status >= 500 || [408, 425, 429].includes(this.status);
  }
}

/** Called when the server requires a sign-in. */
export const signIn = new EventTarget();

/**
 * @param {string} method @param {string} path @param {any} [body] @param {Record<string, string>} [headers]
 * @returns {Promise<any>}
 */
export async function call(method, path, body, headers = {}) {
  const init = { method, headers: { accept: 'application/json', ...headers }, body: /** @type {BodyInit | undefined} */ (undefined) };
  if (body instanceof Blob) init.body = body;
  else if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { ...init.headers, ...{ 'content-type': 'application/json' } };
  }
  let response;
  try {
    response = await fetch(base + path, init);
  } catch {
    throw new Refused(0, { code: 'unreachable', detail: 'The server cannot be reached.' }, 0);
  }
  const answer = response.status === 204 ? null : await response.json().catch(() => null);
  if (response.ok) return answer;
  if (response.status === 401) signIn.dispatchEvent(new Event('wanted'));
  throw new Refused(response.status, answer ?? {}, Number(response.headers.get('retry-after') ?? 0) * 1000);
}

export const api = {
  models: () => call('GET', '/v1/models'),
  conversations: (/** @type {string} */ q, /** @type {string | null} */ cursor) =>
    call('GET', `/v1/conversations?${new URLSearchParams({ limit: '40', ...(q && { q }), ...(cursor && { cursor }) })}`),
  create: (/** @type {any} */ fields, /** @type {string} */ key) => call('POST', '/v1/conversations', fields, { 'idempotency-key': key }),
  conversation: (/** @type {string} */ id) => call('GET', `/v1/conversations/${id}`),
  change: (/** @type {string} */ id, /** @type {any} */ fields) => call('PATCH', `/v1/conversations/${id}`, fields),
  erase: (/** @type {string} */ id) => call('DELETE', `/v1/conversations/${id}`),
  messages,
  page: pageOf,
  share: (/** @type {string} */ id, /** @type {boolean} */ later) => call('POST', `/v1/conversations/${id}/shares`, { later_turns: later }),
  unshare: (/** @type {string} */ id) => call('DELETE', `/v1/conversations/${id}/shares`),
  generation: (/** @type {string} */ id) => call('GET', `/v1/generations/${id}`),
  cancel: (/** @type {string} */ id) => call('POST', `/v1/generations/${id}/cancel`),
  goOn: (/** @type {string} */ id, /** @type {string} */ key) => call('POST', `/v1/generations/${id}/continue`, undefined, { 'idempotency-key': key }),
  start: (/** @type {any} */ body, /** @type {string} */ key) => call('POST', '/v1/generations', body, { 'idempotency-key': key }),
};

/** Gives the server a picture to keep. @param {Blob} bytes */
export const sendPicture = (bytes) => call('POST', '/v1/pictures', bytes);

/** The newest messages of the active branch, or those before a cursor. @param {string} id @param {string | null} [cursor] @param {boolean} [all] of the whole tree */
function pageOf(id, cursor, all) {
  return call('GET', `/v1/conversations/${id}/messages?${new URLSearchParams({ ...(all && { all: 'true' }), ...(cursor && { cursor }) })}`);
}

/** All messages of the active branch, or of the tree: the server gives them in pages, the newest first. @param {string} id @param {boolean} [all] */
async function messages(id, all) {
  const newest = await pageOf(id, null, all);
  for (let cursor = newest.next_cursor; cursor; ) {
    const older = await pageOf(id, cursor, all);
    newest.data.unshift(...older.data);
    cursor = older.next_cursor;
  }
  return newest;
}

/** Somebody has signed out: what still runs on this page keeps nothing any more. */
let over = false;

/** A value in the browser's storage, which may be full, shut or shared with other tabs. */
export class Kept {
  /** @param {string} name @param {any} usual */
  constructor(name, usual) {
    this.name = `lastword.${name}`;
    this.usual = usual;
  }

  get() {
    try {
      return JSON.parse(localStorage.getItem(this.name) ?? 'null') ?? this.usual;
    } catch {
      return this.usual;
    }
  }

  /** @param {any} value */
  set(value) {
    try {
      if (value === null || value === undefined) localStorage.removeItem(this.name);
      else if (!over) localStorage.setItem(this.name, JSON.stringify(value));
    } catch {
      // Private windows and full disks: the page works, it only forgets.
    }
  }
}

/** The names of all values whose names begin so. @param {string} beginning */
export function keptNames(beginning) {
  try {
    const whole = `lastword.${beginning}`;
    return Object.keys(localStorage).filter((name) => name.startsWith(whole)).map((name) => name.slice('lastword.'.length));
  } catch {
    return [];
  }
}

export const settings = new Kept('settings', {});
export const drafts = {
  /** @param {string | null} conversation */
  of: (conversation) => new Kept(`draft.${conversation ?? 'new'}`, ''),
  /** @param {string | null} conversation */
  files: (conversation) => new Kept(`files.${conversation ?? 'new'}`, []),
};

/** Somebody signs out: whoever comes next finds no text that was begun. */
export function forgetDrafts() {
  over = true;
  for (const name of ['draft.', 'files.'].flatMap(keptNames)) new Kept(name, null).set(null);
}

/** Our name for the others of a conversation: the same in all tabs of this browser. */
export function client() {
  const kept = new Kept('client', null);
  const id = kept.get() ?? crypto.randomUUID?.() ?? String(Math.random()).slice(2);
  kept.set(id);
  return { id, name: settings.get().name || `Guest ${id.slice(0, 4)}` };
}

/** A name for one start, so that it never happens twice, no matter how often it is sent. */
export function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The actions of other tabs of this browser. */
export const tabs = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel('lastword');

/** @param {string | null} conversation */
export function tell(conversation) {
  tabs?.postMessage({ changed: conversation });
}
