// @ts-check
/**
 * The stream reader follows generations of a lastword server to their `done`, each event exactly once. It uses one
 * WebSocket, or SSE by `fetch` where a WebSocket does not get through. Needs no page and no library; docs/protocol.md
 * shows its use in Node.
 *
 *   const stream = new Stream({ base: 'http://127.0.0.1:7878' });
 *   const following = stream.follow(id, { event: (e) => console.log(e.seq, e.type) });
 *   following.close();   // or stream.close()
 *
 * @typedef {{ seq: number, from?: number, type: string, [field: string]: any }} Event
 * @typedef {{ event: (event: Event) => void, open?: () => void, end?: () => void, fail?: (problem: Problem) => void }} Handlers
 * @typedef {{ status?: number, code: string, message: string }} Problem
 * @typedef {'idle'|'connecting'|'live'|'waiting'|'offline'|'stopped'} Phase
 * @typedef {{ phase: Phase, transport: 'websocket'|'sse', retryAt?: number, why?: string }} State
 * @typedef {{ at: number, transport: string, generation?: string, event?: Event, frame?: any, note?: string }} Wire
 * @typedef {{ id: string, seq: number, handlers: Handlers, connected: boolean, tries: number, since: number, turned?: boolean, abort?: AbortController, timer?: any }} Follow
 * @typedef {object} Options
 * @property {string} [base] the server's address; default: where the page came from
 * @property {'auto'|'sse'} [transport] `sse` never tries a WebSocket
 * @property {string} [token] an API key, where no cookie speaks for the reader
 * @property {{ id?: string, name?: string }} [client] who this is, for the others of a conversation
 * @property {any} [WebSocket] the class to use, where there is none in the global scope
 * @property {() => number} [random] 0 … 1
 * @property {(id: string) => string} [path] where the events of what is followed are, for SSE; default: those of a generation
 * @property {(state: State) => void} [onState] how the connection is
 * @property {(generation: string, seq: number) => void} [onResume] went on behind `seq` after a cut
 * @property {(frame: any) => void} [onFrame] a frame about a conversation: `typing`, `presence`, …
 * @property {(wire: Wire) => void} [onWire] everything that happens, for an inspector
 */

import { HEALTHY, PATIENCE, SILENCE, read } from './sse.js';

/** Full jitter below a limit that doubles, in ms: a server that comes back is not run over. */
const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 15_000;
/** A pong takes no longer, in ms, on a link that lives. */
const PONG = 5_000;
/** So many sockets fail while HTTP answers before SSE takes over: one could be chance. */
const BLOCKED = 2;

export class Stream {
  /** @param {Options} [options] */
  constructor(options = {}) {
    this.options = options;
    this.base = (options.base ?? globalThis.location?.origin ?? '').replace(/\/$/, '');
    /** @type {Map<string, Follow>} */
    this.follows = new Map();
    /** @type {Set<string>} */
    this.rooms = new Set();
    /** @type {State} */
    this.state = { phase: 'idle', transport: 'websocket' };
    this.Socket = options.WebSocket ?? globalThis.WebSocket;
    /** @type {any} */
    this.socket = null;
    this.welcomed = false;
    this.tries = 0;
    this.blocked = options.transport === 'sse' || !this.Socket ? BLOCKED : 0;
    this.closed = false;
    this.away = false;
    this.ref = 0;
    this.listeners = new AbortController();
    const on = (/** @type {string} */ type, /** @type {() => void} */ listener) =>
      globalThis.addEventListener?.(type, listener, { signal: this.listeners.signal });
    on('online', () => this.back());
    on('offline', () => this.leave());
    on('pageshow', () => this.back());
    globalThis.document?.addEventListener('visibilitychange', () => this.look(), { signal: this.listeners.signal });
  }

  /**
   * Follows a generation from behind `after` to its `done`.
   * @param {string} id @param {Handlers} handlers @param {number} [after]
   */
  follow(id, handlers, after = 0) {
    this.follows.get(id)?.abort?.abort();
    /** @type {Follow} */
    const follow = { id, seq: after, handlers, connected: false, tries: 0, since: after };
    this.follows.set(id, follow);
    this.begin(follow);
    return {
      close: () => this.drop(follow),
      get seq() { return follow.seq; },
    };
  }

  /** Another name for the others, in the conversations that are joined, too. @param {{ id?: string, name?: string }} client */
  introduce(client) {
    this.options.client = client;
    this.send({ type: 'hello', ref: this.next(), client, ...(this.options.token && { token: this.options.token }) });
    for (const conversation of [...this.rooms]) {
      this.part(conversation);
      this.join(conversation);
    }
  }

  /** Takes part in a conversation: `onFrame` gets the participants and those that type. @param {string} conversation */
  join(conversation) {
    this.rooms.add(conversation);
    if (!this.send({ type: 'join', ref: this.next(), conversation })) this.connect();
  }

  /** @param {string} conversation */
  part(conversation) {
    if (this.rooms.delete(conversation)) this.send({ type: 'leave', ref: this.next(), conversation });
  }

  /** @param {string} conversation @param {boolean} active */
  typing(conversation, active) {
    this.send({ type: 'typing', conversation, state: active ? 'active' : 'paused' });
  }

  /** Tries again at once. */
  retry() {
    if (this.closed || this.away) return;
    this.tries = 0;
    if (this.usesSockets() && this.socket) return;
    this.connect();
    for (const follow of this.follows.values()) this.begin(follow);
  }

  /** Cuts the connection, as a bad network does. */
  cut() {
    this.wire({ note: 'cut by hand' });
    if (this.socket) this.lost(this.socket, 'cut by hand');
    for (const follow of this.follows.values()) follow.abort?.abort();
  }

  /** The network is gone: cuts, and waits for `back`. */
  leave() {
    this.away = true;
    clearTimeout(this.timer);
    if (this.socket) this.lost(this.socket, 'offline');
    for (const follow of this.follows.values()) this.quiet(follow);
    this.show({ phase: 'offline', transport: this.transport() });
  }

  /** The network may be back. */
  back() {
    this.away = false;
    if (this.socket) this.look();
    else this.retry();
  }

  /** Changes the transport: `sse`, or `auto` for a WebSocket where it gets through. @param {'auto'|'sse'} transport */
  use(transport) {
    this.blocked = transport === 'sse' || !this.Socket ? BLOCKED : 0;
    this.cut();
    for (const follow of this.follows.values()) this.quiet(follow);
    if (this.socket) this.lost(this.socket, 'another transport');
    this.retry();
  }

  /** Ends everything. */
  close() {
    this.closed = true;
    this.listeners.abort();
    clearTimeout(this.timer);
    for (const follow of [...this.follows.values()]) this.drop(follow);
    if (this.socket) this.lost(this.socket, 'closed');
    this.show({ phase: 'idle', transport: this.transport() });
  }

  // ---- one rule for both transports -------------------------------------------------------

  /** @param {Follow} follow @param {Event} event */
  take(follow, event) {
    if (this.follows.get(follow.id) !== follow) return;
    this.wire({ generation: follow.id, event });
    if (event.type === 'snapshot') {
      follow.seq = event.seq;
    } else if (event.seq <= follow.seq) {
      return this.wire({ generation: follow.id, note: `${event.seq} is not new: dropped` });
    } else if ((event.from ?? event.seq) !== follow.seq + 1) {
      this.wire({ generation: follow.id, note: `${follow.seq + 1} is missing: again from there` });
      return this.again(follow);
    } else {
      follow.seq = event.seq;
    }
    if (follow.since > 0) {
      this.options.onResume?.(follow.id, follow.since);
      follow.since = 0;
    }
    follow.handlers.event(event);
    if (event.type === 'done') this.end(follow);
  }

  /** @param {Follow} follow */
  end(follow) {
    this.drop(follow);
    follow.handlers.end?.();
  }

  /** @param {Follow} follow @param {Problem} problem */
  fail(follow, problem) {
    this.drop(follow);
    follow.handlers.fail?.(problem);
  }

  /** @param {Follow} follow */
  drop(follow) {
    if (this.follows.get(follow.id) !== follow) return;
    this.follows.delete(follow.id);
    this.quiet(follow);
    if (this.usesSockets()) this.send({ type: 'unsubscribe', ref: this.next(), generation: follow.id });
    else if (!this.follows.size && this.state.phase === 'live') this.show({ phase: 'idle', transport: 'sse' });
  }

  /** @param {Follow} follow */
  again(follow) {
    if (!this.usesSockets()) return follow.abort?.abort();
    this.send({ type: 'unsubscribe', ref: this.next(), generation: follow.id });
    this.subscribe(follow);
  }

  /** @param {Follow} follow */
  begin(follow) {
    if (this.closed || this.away) return;
    if (!this.usesSockets()) read(this, follow);
    else if (this.welcomed) this.subscribe(follow);
    else this.connect();
  }

  usesSockets() {
    return this.blocked < BLOCKED;
  }

  transport() {
    return this.usesSockets() ? /** @type {const} */ ('websocket') : /** @type {const} */ ('sse');
  }

  /** @param {State} state */
  show(state) {
    this.state = state;
    this.options.onState?.(state);
  }

  /** @param {Partial<Wire>} wire */
  wire(wire) {
    this.options.onWire?.({ at: performance.now(), transport: this.transport(), ...wire });
  }

  next() {
    return String(++this.ref);
  }

  /** @param {number} tries */
  pause(tries) {
    return (this.options.random ?? Math.random)() * Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** tries);
  }

  /** The page is looked at again: is the link still there? */
  look() {
    if (this.closed || globalThis.document?.hidden) return;
    if (this.welcomed) this.probe();
    else this.retry();
  }

  // ---- WebSocket --------------------------------------------------------------------------

  connect() {
    if (this.closed || this.away || this.socket) return;
    if (!this.usesSockets()) return this.follows.size || this.show({ phase: 'idle', transport: 'sse' });
    clearTimeout(this.timer);
    this.show({ phase: 'connecting', transport: 'websocket' });
    const socket = new this.Socket(`${this.base.replace(/^http/, 'ws')}/v1/ws`, ['lastword.v1']);
    this.socket = socket;
    this.deadline = setTimeout(() => this.lost(socket, 'no welcome'), PATIENCE);
    socket.onopen = () => {
      const { token, client } = this.options;
      socket.send(JSON.stringify({ type: 'hello', ...(token && { token }), ...(client && { client }) }));
    };
    socket.onmessage = (/** @type {MessageEvent} */ message) => this.hear(socket, message.data);
    socket.onclose = (/** @type {CloseEvent} */ close) => this.lost(socket, close.reason || `closed, ${close.code}`, close.code);
  }

  /** @param {any} socket @param {string} data */
  hear(socket, data) {
    if (socket !== this.socket) return;
    clearTimeout(this.pong);
    this.watch();
    const frame = JSON.parse(data);
    const follow = this.follows.get(frame.generation);
    if (frame.type === 'event') return follow && this.take(follow, frame.event);
    if (frame.type === 'pong') return;
    this.wire({ frame });
    if (frame.type === 'welcome') return this.greeted(frame);
    const asked = [...this.follows.values()].find((f) => f.timer === `ref ${frame.ref}`);
    if (frame.type === 'error' && asked) return this.fail(asked, frame);
    // Nothing is left behind the cursor: `done` was seen before.
    if (frame.type === 'ack' && asked && frame.complete === true) return this.end(asked);
    this.options.onFrame?.(frame);
  }

  /** @param {any} frame */
  greeted(frame) {
    clearTimeout(this.deadline);
    this.welcomed = true;
    this.blocked = 0;
    this.heartbeat = (frame.heartbeat_s ?? 20) * 1000;
    this.began = performance.now();
    this.show({ phase: 'live', transport: 'websocket' });
    for (const conversation of this.rooms) this.send({ type: 'join', ref: this.next(), conversation });
    for (const follow of this.follows.values()) this.subscribe(follow);
    this.watch();
  }

  /** @param {Follow} follow */
  subscribe(follow) {
    const ref = this.next();
    follow.timer = `ref ${ref}`;
    follow.since = follow.seq;
    follow.handlers.open?.();
    this.send({ type: 'subscribe', ref, generation: follow.id, after: follow.seq, coalesce: true });
  }

  /** @param {any} frame */
  send(frame) {
    if (!this.welcomed || this.socket?.readyState !== 1) return false;
    this.socket.send(JSON.stringify(frame));
    return true;
  }

  /** Browsers answer a server's pings unseen; whether the link lives, only a frame of ours can tell. */
  watch() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.probe(), this.heartbeat ?? SILENCE);
  }

  probe() {
    const socket = this.socket;
    if (!this.send({ type: 'ping', ref: this.next() })) return;
    clearTimeout(this.pong);
    this.pong = setTimeout(() => this.lost(socket, 'no pong'), PONG);
  }

  /** @param {any} socket @param {string} why @param {number} [code] */
  lost(socket, why, code = 1006) {
    if (socket !== this.socket) return;
    for (const timer of [this.deadline, this.pong, this.silence]) clearTimeout(timer);
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    const welcomed = this.welcomed;
    this.socket = null;
    this.welcomed = false;
    this.wire({ note: `connection lost: ${why}` });
    if (this.closed || this.away) return;
    if (code >= 4500 && code < 5000) return this.show({ phase: 'stopped', transport: 'websocket', why: String(code) });
    if (welcomed && performance.now() - (this.began ?? 0) > HEALTHY) this.tries = 0;
    const pause = this.pause(this.tries++);
    this.show({ phase: 'waiting', transport: 'websocket', retryAt: Date.now() + pause, why });
    this.timer = setTimeout(() => (welcomed ? this.connect() : this.fallBack()), pause);
  }

  /** A socket did not open. If HTTP works, something between us blocks sockets. */
  async fallBack() {
    const answers = await fetch(`${this.base}/healthz`, { cache: 'no-store' }).then((r) => r.ok, () => false);
    if (answers) this.blocked += 1;
    if (this.usesSockets()) return this.connect();
    this.wire({ note: 'no WebSocket gets through: SSE' });
    if (!this.follows.size) this.show({ phase: 'idle', transport: 'sse' });
    for (const follow of this.follows.values()) this.begin(follow);
  }

  // ---- SSE --------------------------------------------------------------------------------

  /** @param {Follow} follow */
  quiet(follow) {
    clearTimeout(follow.timer);
    follow.abort?.abort();
    follow.abort = undefined;
  }

  /** @returns {Record<string, string>} */
  credentials() {
    return this.options.token ? { authorization: `Bearer ${this.options.token}` } : {};
  }
}
