#!/usr/bin/env bash
# assistant-stream 0.3.44 decodes the UI message stream of the AI SDK for assistant-ui. One expects of it what
# `readUIMessageStream` of ai 7.0.173 makes of the same bytes. Two texts in a row are two parts there and one part
# here, joined without a space. And an answer that was stopped (`abort`, which has no `finish`) is "complete" here,
# like a whole one. Look for the reason "unknown".
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts assistant-stream@0.3.44 ai@7.0.173 zod@4.6.7) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { AssistantMessageAccumulator, UIMessageStreamDecoder } from 'assistant-stream';
import { readUIMessageStream } from 'ai';

function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}

const start = [{ type: 'start', messageId: 'm' }, { type: 'start-step' }];
const text = (id, delta) => [{ type: 'text-start', id }, { type: 'text-delta', id, delta }, { type: 'text-end', id }];
const end = [{ type: 'finish-step' }, { type: 'finish', finishReason: 'stop' }];
const answers = {
  'two texts': [...start, ...text('1', 'I look it up.'), ...text('2', 'Found.'), ...end],
  stopped: [...start, { type: 'text-start', id: '1' }, { type: 'text-delta', id: '1', delta: 'Do not' }, { type: 'abort' }],
  whole: [...start, ...text('1', 'Do not worry.'), ...end],
};
const stream = (values) => new ReadableStream({
  start(controller) {
    for (const value of values) controller.enqueue(value);
    controller.close();
  },
});
async function ai(chunks) {
  let last;
  for await (const message of readUIMessageStream({ stream: stream(chunks) })) last = message;
  return last.parts.filter((part) => part.type === 'text').map((part) => part.text);
}
async function assistant(chunks) {
  const bytes = [...chunks.map((chunk) => JSON.stringify(chunk)), '[DONE]'].map((line) => new TextEncoder().encode(`data: ${line}\n\n`));
  let last;
  for await (const message of stream(bytes).pipeThrough(new UIMessageStreamDecoder()).pipeThrough(new AssistantMessageAccumulator())) last = message;
  return [last.parts.filter((part) => part.type === 'text').map((part) => part.text), last.status.type, last.status.reason];
}
const seen = {};
for (const [name, chunks] of Object.entries(answers)) seen[name] = { ai: await ai(chunks), 'assistant-stream': await assistant(chunks) };
console.log('assistant-stream 0.3.44, ai 7.0.173');
verdict('the same parts, and "incomplete" for the stopped one', seen, {
  'two texts': { ai: ['I look it up.', 'Found.'], 'assistant-stream': [['I look it up.Found.'], 'complete', 'stop'] },
  stopped: { ai: ['Do not'], 'assistant-stream': [['Do not'], 'complete', 'unknown'] },
  whole: { ai: ['Do not worry.'], 'assistant-stream': [['Do not worry.'], 'complete', 'stop'] },
});
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
