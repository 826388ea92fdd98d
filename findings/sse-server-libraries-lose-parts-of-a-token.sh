#!/usr/bin/env bash
# A server library for SSE takes a text and sends it so that a client gets the same text: that is hono's streamSSE
# (4.13.19), except that a CR becomes LF. One expects the same of others. better-sse 0.16.1 with a serializer for
# plain text writes one `data:` line whatever the text holds: what follows a line break is lost, and so is a space
# at the beginning of a token. fastify-sse-v2 4.2.2 and @fastify/sse 0.6.0 split at LF, not at a CR alone, and lose
# what follows that; the first sends no event for an empty text. Send JSON instead of plain text.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts better-sse@0.16.1 fastify-sse-v2@4.2.2 @fastify/sse@0.6.0 fastify@5.12.8 hono@4.13.19 @hono/node-server@2.1.8 eventsource-parser@4.1.3) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { createSession } from 'better-sse';
import { createParser } from 'eventsource-parser';
import Fastify from 'fastify';
import { FastifySSEPlugin } from 'fastify-sse-v2';
import fastifySse from '@fastify/sse';
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { streamSSE } from 'hono/streaming';
import http from 'node:http';

function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}

const tokens = ['a\nb', 'a\rb', ' word', '', 'end'];
const servers = {
  hono: () => new Promise((done) => {
    const app = new Hono();
    app.get('/', (context) => streamSSE(context, async (stream) => {
      for (const data of tokens) await stream.writeSSE({ data });
    }));
    serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => done(port));
  }),
  'better-sse': () => new Promise((done) => {
    const server = http.createServer(async (request, response) => {
      const session = await createSession(request, response, { serializer: (text) => text });
      for (const token of tokens) session.push(token);
    });
    server.listen(0, '127.0.0.1', () => done(server.address().port));
  }),
  'fastify-sse-v2': async () => {
    const app = Fastify();
    await app.register(FastifySSEPlugin);
    app.get('/', (_, reply) => reply.sse((async function* () {
      for (const data of tokens) yield { data };
    })()));
    await app.listen({ port: 0, host: '127.0.0.1' });
    return app.server.address().port;
  },
  '@fastify/sse': async () => {
    const app = Fastify();
    await app.register(fastifySse, { serializer: (text) => text });
    app.get('/', { sse: true }, async (_, reply) => {
      for (const data of tokens) await reply.sse.send({ data });
    });
    await app.listen({ port: 0, host: '127.0.0.1' });
    return app.server.address().port;
  },
};
/** The data of the events, up to the last token. */
const read = (port) => new Promise((done) => {
  const seen = [];
  const parser = createParser({ onEvent: ({ data }) => (data === 'end' ? done(seen) : seen.push(data)) });
  http.get({ port, host: '127.0.0.1', headers: { accept: 'text/event-stream' } }, (response) => {
    response.setEncoding('utf8');
    response.on('data', (piece) => parser.feed(piece));
  });
});
const seen = {};
for (const [name, start] of Object.entries(servers)) seen[name] = await read(await start());
console.log('hono 4.13.19, better-sse 0.16.1, fastify-sse-v2 4.2.2, @fastify/sse 0.6.0');
verdict(`${JSON.stringify(tokens.slice(0, 4))} of all, CR as LF`, seen, {
  hono: ['a\nb', 'a\nb', ' word', ''],
  'better-sse': ['a', 'a', 'word', ''],
  'fastify-sse-v2': ['a\nb', 'a', ' word'],
  '@fastify/sse': ['a\nb', 'a', ' word', ''],
});
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
