#!/usr/bin/env bash
# An SSE event may have an `id:` line, and a server whose streams can be taken up again gives one to each event. One
# expects an SDK to pass over the fields that it does not use, as EventSource does. @google/genai 2.32.0 looks at
# events that begin with `data:` only: with `id:` or `event:` lines before it each event is passed over, and the
# answer is empty without an error. The same line behind the data is a SyntaxError; comments alone are passed over.
# A proxy that adds ids to a Gemini stream makes every answer empty.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts @google/genai@2.32.0) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { GoogleGenAI } from '@google/genai';
import http from 'node:http';

/** An upstream that answers every request with these pieces; `cut` breaks the connection instead of ending the body. */
async function serve(pieces, { cut = false, pause = 20, kind = 'text/event-stream' } = {}) {
  const server = http.createServer((request, response) => {
    request.resume();
    request.on('end', async () => {
      response.writeHead(200, { 'content-type': kind });
      response.flushHeaders();
      for (const piece of pieces) {
        response.write(piece);
        await new Promise((done) => setTimeout(done, pause));
      }
      cut ? response.destroy() : response.end();
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return `http://127.0.0.1:${server.address().port}`;
}
const event = (value, name) => `${name ? `event: ${name}\n` : ''}data: ${JSON.stringify(value)}\n\n`;
function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}

const parts = [
  { candidates: [{ index: 0, content: { role: 'model', parts: [{ text: 'Hel' }] } }] },
  { candidates: [{ index: 0, content: { role: 'model', parts: [{ text: 'lo' }] }, finishReason: 'STOP' }] },
];
async function ask(pieces) {
  const client = new GoogleGenAI({ apiKey: 'none', httpOptions: { baseUrl: await serve(pieces) } });
  let text = '';
  let reason = null;
  try {
    for await (const part of await client.models.generateContentStream({ model: 'm', contents: 'hello' })) {
      text += part.text;
      reason = part.candidates[0].finishReason ?? reason;
    }
  } catch (error) {
    return [text, error.name];
  }
  return [text, reason];
}
console.log('@google/genai 2.32.0');
verdict('["Hello","STOP"] five times', {
  plain: await ask(parts.map((part) => event(part))),
  comments: await ask([': still here\n\n', ...parts.map((part) => event(part))]),
  id: await ask(parts.map((part, i) => `id: ${i}\n${event(part)}`)),
  event: await ask(parts.map((part) => event(part, 'message'))),
  behind: await ask(parts.map((part, i) => event(part).replace(/\n$/, `id: ${i}\n\n`))),
}, { plain: ['Hello', 'STOP'], comments: ['Hello', 'STOP'], id: ['', null], event: ['', null], behind: ['', 'SyntaxError'] });
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
