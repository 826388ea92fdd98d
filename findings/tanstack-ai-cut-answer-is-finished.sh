#!/usr/bin/env bash
# An AG-UI run ends with RUN_FINISHED or RUN_ERROR; a body that ends before either is a cut answer. One expects a
# chat client to report an error. @tanstack/ai-client 0.33.2 puts a RUN_FINISHED of its own there, with the finish
# reason "stop": the status is "ready", `onFinish` is called with the half answer, and there is no error. A
# connection that breaks is an error, so behind a proxy that turns a crash into a clean end nobody is told. With an
# `id:` before each event it asks again instead.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts @tanstack/ai-client@0.33.2 @tanstack/ai@0.58.0) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { ChatClient, fetchServerSentEvents } from '@tanstack/ai-client';
import http from 'node:http';

/** An upstream that gives one answer after the other: a status, or pieces of a body; null breaks the connection. */
async function serve(answers) {
  const asked = [];
  const server = http.createServer((request, response) => {
    request.resume();
    request.on('end', async () => {
      const answer = answers[Math.min(asked.length, answers.length - 1)];
      asked.push(request);
      if (typeof answer === 'number') return response.writeHead(answer).end();
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.flushHeaders();
      for (const piece of answer) {
        if (piece === null) return response.destroy();
        response.write(piece);
        await new Promise((done) => setTimeout(done, 20));
      }
      response.end();
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return { url: `http://127.0.0.1:${server.address().port}`, asked };
}
function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}

const data = (value) => `data: ${JSON.stringify(value)}\n\n`;
const half = [
  data({ type: 'RUN_STARTED', threadId: 't', runId: 'r' }),
  data({ type: 'TEXT_MESSAGE_START', messageId: 'm', role: 'assistant' }),
  data({ type: 'TEXT_MESSAGE_CONTENT', messageId: 'm', delta: 'Do not' }),
];
const whole = [...half, data({ type: 'TEXT_MESSAGE_END', messageId: 'm' }), data({ type: 'RUN_FINISHED', threadId: 't', runId: 'r' })];
async function ask(answer) {
  const { url } = await serve([answer]);
  const seen = { finished: null, status: null, error: null };
  const client = new ChatClient({
    connection: fetchServerSentEvents(url),
    onFinish: (message) => (seen.finished = message.parts.map((part) => part.content).join('')),
    onStatusChange: (status) => (seen.status = status),
    onError: (error) => (seen.error = error.name),
  });
  await client.sendMessage('hello').catch(() => {});
  return seen;
}
console.log('@tanstack/ai-client 0.33.2');
verdict('an error for the last two', { whole: await ask(whole), 'ended early': await ask(half), broken: await ask([...half, null]) }, {
  whole: { finished: 'Do not', status: 'ready', error: null },
  'ended early': { finished: 'Do not', status: 'ready', error: null },
  broken: { finished: null, status: 'error', error: 'StreamReadError' },
});
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
