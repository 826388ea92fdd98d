#!/usr/bin/env bash
# A field that a helper does not know comes in pieces like `content`: DeepSeek's `reasoning_content`, OpenRouter's
# `reasoning_details` with an `index` for each block. One expects `chat.completions.stream()` to join them, as it joins
# the arguments of tool calls, or to leave them out. openai 7.59.0 (JavaScript) keeps the last piece: the final message
# has one word of the thoughts, and of two blocks with signatures one. Sent back in a tool loop, as it is meant, that
# is a history that models refuse. Join these fields from the chunks, or ask without `stream`.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts openai@7.59.0) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import OpenAI from 'openai';
import http from 'node:http';

/** An upstream that answers every request with these pieces. */
async function serve(pieces) {
  const server = http.createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(pieces.join(''));
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return `http://127.0.0.1:${server.address().port}/v1`;
}
function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}

const chunk = (delta, finish = null) =>
  `data: ${JSON.stringify({ id: 'c1', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
const block = (text, signature, index) => ({ type: 'reasoning.text', text, signature, format: 'anthropic-claude-v1', index });
const call = (piece) => ({ tool_calls: [{ index: 0, function: { arguments: piece } }] });
const baseURL = await serve([
  chunk({ role: 'assistant', content: '' }),
  chunk({ reasoning_content: 'Let me ' }),
  chunk({ reasoning_content: 'think.', reasoning_details: [block('Let me', 'c2ln', 0)] }),
  chunk({ content: 'I ' }),
  chunk({ content: 'look.', reasoning_details: [block('think.', 'bmF0', 1)] }),
  chunk({ tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: { name: 'f', arguments: '{"a"' } }] }),
  chunk(call(':1}')),
  chunk({}, 'tool_calls'),
  'data: [DONE]\n\n',
]);
const client = new OpenAI({ apiKey: 'none', baseURL, maxRetries: 0 });
const message = await client.chat.completions.stream({ model: 'm', messages: [{ role: 'user', content: 'hello' }] }).finalMessage();
console.log('openai 7.59.0');
verdict('"I look.", {"a":1}, "Let me think." and the blocks 0 and 1', {
  content: message.content,
  arguments: message.tool_calls[0].function.arguments,
  reasoning_content: message.reasoning_content,
  blocks: message.reasoning_details.map((one) => one.index),
}, { content: 'I look.', arguments: '{"a":1}', reasoning_content: 'think.', blocks: [1] });
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
