/** The stream reader alone, in Node, against the real server: what others import. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { after, test } from 'node:test';
import { Stream } from '../../static/stream.js';
import { Answer } from '../../static/answer.js';
import { Server } from './harness.js';
import { servers } from './servers.js';

/** Follows to the end; what is seen must be whole. */
function follow(stream, id, { after = 0, event = () => {} } = {}) {
  const seen = [];
  return new Promise((resolve, reject) => {
    stream.follow(id, {
      event: (e) => {
        seen.push(e);
        event(e, seen);
      },
      end: () => resolve(seen),
      fail: (problem) => reject(Object.assign(new Error(problem.code), problem)),
    }, after);
  });
}

/** Each seq once, in order, from behind `after` to `done`. */
function whole(events, after = 0) {
  let last = after;
  for (const event of events) {
    assert.equal(event.from ?? event.seq, last + 1);
    last = event.seq;
  }
  assert.equal(events.at(-1).type, 'done');
}

function text(events) {
  const answer = new Answer();
  for (const event of events) answer.apply(event);
  return answer.said.text;
}

/** A stream of a failed test would reconnect for ever, and keep the run from ending. */
const opened = [];
after(() => opened.forEach((stream) => stream.close()));

for (const transport of /** @type {const} */ (['auto', 'sse'])) {
  const open = (server, options = {}) => {
    opened.push(new Stream({ base: server.base, transport, random: () => 0.1, ...options }));
    return opened.at(-1);
  };

  test(`cut at many places, each event once, ${transport}`, async () => {
    const server = await servers.first();
    const resumes = [];
    const stream = open(server, { onResume: (_, seq) => resumes.push(seq) });
    // It has no end but the one that comes when it was cut often enough, however many events come at once.
    const { id } = await server.post('/v1/generations', { prompt: '/demo tokens=1000000 tps=300 seed=1 unicode' });
    let stopped = false;
    const event = (/** @type {any} */ e) => {
      if (resumes.length >= 4 && !stopped) {
        stopped = true;
        server.post(`/v1/generations/${id}/cancel`, {});
      } else if (e.seq % 60 < 2 && e.type !== 'done') setTimeout(() => stream.cut());
    };
    const seen = await follow(stream, id, { event });
    whole(seen);
    assert.ok(resumes.length >= 4, `${resumes}`);
    assert.equal(text(seen), (await server.get(`/v1/generations/${id}`)).text);
    // An ended generation is read again from anywhere, and behind its end there is nothing.
    whole(await follow(stream, id, { after: 100 }), 100);
    assert.deepEqual(await follow(stream, id, { after: seen.at(-1).seq }), []);
    stream.close();
  });

  test(`many at once, and one that does not exist, ${transport}`, async () => {
    const server = await servers.first();
    const stream = open(server);
    const ids = await Promise.all([1, 2, 3, 4, 5].map(async (seed) => (await server.post('/v1/generations', { prompt: `/demo tokens=40 tps=200 seed=${seed}` })).id));
    for (const events of await Promise.all(ids.map((id) => follow(stream, id)))) whole(events);
    await assert.rejects(follow(stream, '01900000-0000-7000-8000-000000000000'), { code: 'not_found' });
    stream.close();
  });

  test(`the server dies and comes back, ${transport}`, async () => {
    let server = await Server.start();
    const states = [];
    const stream = open(server, { onState: ({ phase }) => states.push(phase) });
    const { id } = await server.post('/v1/generations', { prompt: '/demo tokens=150 tps=100 seed=2' });
    let killed;
    const seen = await follow(stream, id, { event: (_, all) => {
      if (all.length > 20) killed ??= server.kill().then(async () => (server = await Server.start({ port: server.port })));
    } });
    await killed;
    whole(seen);
    assert.ok(seen.some((e) => e.type === 'resumed'));
    assert.ok(states.includes('waiting'));
    stream.close();
    await server.kill();
  });
}

test('what is not new is dropped, what is missing is asked for again', () => {
  const asked = [];
  const stream = new Stream({ base: 'http://127.0.0.1:1', transport: 'sse' });
  stream.begin = () => {};
  stream.again = (follow) => asked.push(follow.seq);
  const seen = [];
  stream.follow('x', { event: (e) => seen.push(e.seq) });
  const take = (event) => stream.take(stream.follows.get('x'), { type: 'delta', ...event });
  for (const event of [{ seq: 1 }, { seq: 1 }, { seq: 3 }, { from: 2, seq: 5 }, { from: 4, seq: 6 }, { seq: 6 }]) take(event);
  take({ seq: 3, type: 'snapshot' });
  take({ seq: 4 });
  assert.deepEqual(seen, [1, 5, 6, 3, 4]);
  assert.deepEqual(asked, [1, 5]);
  stream.close();
});

test('pauses grow, with jitter, to a limit', () => {
  const stream = new Stream({ base: 'http://127.0.0.1:1', transport: 'sse', random: () => 1 });
  assert.deepEqual([0, 1, 2, 5, 6, 20].map((tries) => stream.pause(tries)), [250, 500, 1000, 8000, 15000, 15000]);
  stream.options.random = () => 0;
  assert.equal(stream.pause(9), 0);
});

test('no file of the page needs itself', async () => {
  const folder = new URL('../../static/', import.meta.url);
  const names = readdirSync(folder).filter((name) => name.endsWith('.js'));
  /** The immediate imports of each file, by name. */
  const needs = new Map(names.map((name) => [name, [...readFileSync(new URL(name, folder), 'utf8').matchAll(/^import .*?'\.\/([\w-]+\.js)';$/gm)].map(([, other]) => other)]));
  assert.ok(needs.get('app.js')?.includes('stream.js'), 'they are found');
  const circles = [];
  const walk = (/** @type {string[]} */ path) => {
    for (const next of needs.get(path.at(-1)) ?? []) {
      if (next === path[0]) circles.push([...path, next].join(' > '));
      else if (!path.includes(next)) walk([...path, next]);
    }
  };
  for (const name of names) walk([name]);
  assert.deepEqual(circles, []);
});
