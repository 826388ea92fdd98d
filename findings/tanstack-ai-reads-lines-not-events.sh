#!/usr/bin/env bash
# A client of SSE ignores fields that it does not know, joins the `data:` lines of an event, and gives an event of
# another name to those who asked for it. One expects a new AI client to do so, too. @tanstack/ai-client 0.33.2
# reads line by line and parses each one as JSON: an event whose data is empty (what MCP sends first, to give a
# position), a ping whose data is no JSON, JSON over two `data:` lines, or a field of another name ends the run with
# a SyntaxError. Comments, `event:`, `id:` and `retry:` lines are fine.
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

const run = [
  { type: 'RUN_STARTED', threadId: 't', runId: 'r' },
  { type: 'TEXT_MESSAGE_START', messageId: 'm', role: 'assistant' },
  { type: 'TEXT_MESSAGE_CONTENT', messageId: 'm', delta: 'Hello' },
  { type: 'TEXT_MESSAGE_END', messageId: 'm' },
  { type: 'RUN_FINISHED', threadId: 't', runId: 'r' },
].map((value) => `data: ${JSON.stringify(value)}\n\n`);
async function ask(...pieces) {
  const { url } = await serve([pieces]);
  let end = 'nothing';
  const client = new ChatClient({
    connection: fetchServerSentEvents(url),
    onFinish: (message) => (end = message.parts.map((part) => part.content).join('')),
    onError: (error) => (end = error.name),
  });
  await client.sendMessage('hello').catch(() => {});
  return end;
}
console.log('@tanstack/ai-client 0.33.2');
verdict('"Hello" in all five', {
  'a comment': await ask(': ping\nretry: 1000\n\n', ...run),
  'empty data': await ask('event: priming\ndata:\n\n', ...run),
  'a ping with a word': await ask('event: ping\ndata: now\n\n', ...run),
  'two data lines': await ask(...run.map((piece) => piece.replace(',', ',\ndata: '))),
  'another field': await ask('took: 12\n', ...run),
}, {
  'a comment': 'Hello',
  'empty data': 'SyntaxError',
  'a ping with a word': 'SyntaxError',
  'two data lines': 'SyntaxError',
  'another field': 'SyntaxError',
});
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
