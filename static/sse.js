// @ts-check
/**
 * Server-Sent Events by `fetch`. A native EventSource gives up for good on any status but 200, and hides the reason.
 *
 * @typedef {import('./stream.js').Event} Event
 * @typedef {import('./stream.js').Follow} Follow
 */

/** A connection that lasted so long, in ms, was a good one: the next cut starts at the first pause. */
export const HEALTHY = 10_000;
/** No welcome, or no response's head, for so long, in ms: this attempt failed. */
export const PATIENCE = 10_000;
/** Three keep-alives were missed: the link is dead, although no error came. In ms. */
export const SILENCE = 45_000;

/** A browser opens six connections to a server over HTTP/1.1, for all its tabs: two stay free for the rest. */
const AT_ONCE = 4;
/** Where more streams are wanted than may be open, each has the connection for so long, in ms. */
const TURN_MS = 1000;
const TURN = 'the turn of another tab';

/**
 * Reads a generation's events until `done`, or until the connection ends; then a pause and again.
 * @param {import('./stream.js').Stream} stream @param {Follow} follow
 */
export async function read(stream, follow) {
  stream.quiet(follow);
  const locks = globalThis.document && navigator.locks;
  if (!locks) return attempt(stream, follow);
  const name = `lastword.sse.${Number.parseInt(follow.id.slice(-4), 16) % AT_ONCE}`;
  const waiting = (follow.abort = new AbortController());
  await locks.request(name, { signal: waiting.signal }, async () => {
    if (follow.abort !== waiting) return;
    const turn = setInterval(async () => {
      const { pending = [] } = await locks.query();
      if (pending.some((lock) => lock.name === name)) follow.abort?.abort(TURN);
    }, TURN_MS);
    await attempt(stream, follow).finally(() => clearInterval(turn));
  }).catch(() => {});
}

/** @param {import('./stream.js').Stream} stream @param {Follow} follow */
async function attempt(stream, follow) {
  const abort = (follow.abort = new AbortController());
  const { signal } = abort;
  if (stream.state.phase !== 'live') stream.show({ phase: 'connecting', transport: 'sse' });
  const began = performance.now();
  const limit = (/** @type {number} */ ms) => {
    clearTimeout(follow.timer);
    follow.timer = setTimeout(() => abort.abort(), ms);
  };
  let why = 'the stream ended early';
  let least = 0;
  try {
    limit(PATIENCE);
    const headers = { accept: 'text/event-stream', 'last-event-id': String(follow.seq), ...stream.credentials() };
    const path = stream.options.path?.(follow.id) ?? `/v1/generations/${follow.id}/events`;
    const url = `${stream.base}${path}${path.includes('?') ? '&' : '?'}coalesce=true`;
    const response = await fetch(url, { headers, signal, cache: 'no-store' });
    if (response.status === 204) return stream.end(follow);
    if (!response.ok || !response.body) {
      const problem = await response.json().catch(() => ({}));
      const again = response.status >= 500 || [408, 425, 429].includes(response.status);
      if (!again) return stream.fail(follow, { status: response.status, code: problem.code ?? 'refused', message: problem.detail ?? '' });
      least = Number(response.headers.get('retry-after') ?? 0) * 1000;
      throw new Error(problem.code ?? `status ${response.status}`);
    }
    follow.since = follow.turned ? 0 : follow.seq;
    follow.turned = false;
    follow.handlers.open?.();
    stream.show({ phase: 'live', transport: 'sse' });
    for await (const event of events(response.body, () => limit(SILENCE))) stream.take(follow, event);
  } catch (error) {
    why = error instanceof Error ? error.message : String(error);
  }
  clearTimeout(follow.timer);
  if (stream.closed || stream.away || stream.follows.get(follow.id) !== follow || follow.abort !== abort) return;
  // Its cursor keeps its place until it is its turn again.
  if (signal.reason === TURN) {
    follow.turned = true;
    return stream.begin(follow);
  }
  abort.abort();
  if (performance.now() - began > HEALTHY) follow.tries = 0;
  const pause = Math.max(least, stream.pause(follow.tries++));
  stream.wire({ generation: follow.id, note: `connection lost: ${why}` });
  stream.show({ phase: 'waiting', transport: 'sse', retryAt: Date.now() + pause, why });
  follow.timer = setTimeout(() => stream.begin(follow), pause);
}

/**
 * The events of an SSE body. `alive` is called for every piece, keep-alives too.
 * @param {ReadableStream<Uint8Array>} body @param {() => void} [alive] @returns {AsyncGenerator<Event>}
 */
export async function* events(body, alive) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  /** @type {string[]} */
  let data = [];
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      alive?.();
      const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const clean = line.endsWith('\r') ? line.slice(0, -1) : line;
        if (clean.startsWith('data:')) data.push(clean.slice(clean[5] === ' ' ? 6 : 5));
        else if (clean === '' && data.length) {
          yield JSON.parse(data.join('\n'));
          data = [];
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
