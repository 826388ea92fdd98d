#!/usr/bin/env bash
# resumable-stream keeps a stream in the memory of the process that makes it, and a mark in Redis. When that process
# is gone, one expects `resumeExistingStream` to say that there is no stream (undefined, as for an unknown id), and
# `resumableStream` to make it anew. resumable-stream 2.2.13: `hasExistingStream` stays true, and both raise
# "Timeout waiting for ack" after a second, for the 24 hours that the mark lives. The route of its README answers
# 500, and the text that was there is lost: a reader needs the answer from somewhere else.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts resumable-stream@2.2.13) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { createResumableStreamContext } from 'resumable-stream/generic';

function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}

/** Redis in a few lines: keys, and channels whose messages nobody keeps. `die()` is the end of one process. */
function redis() {
  const keys = new Map();
  const channels = new Map();
  const lag = () => new Promise((done) => setTimeout(done, 5));
  return () => {
    const own = [];
    const publisher = {
      connect: async () => {},
      publish: async (channel, message) => (await lag(), [...(channels.get(channel) ?? [])].forEach((hear) => hear(message))),
      set: async (key, value) => (await lag(), keys.set(key, value), 'OK'),
      get: async (key) => (await lag(), keys.get(key) ?? null),
      incr: async (key) => {
        await lag();
        const value = Number(keys.get(key) ?? 0) + 1;
        if (Number.isNaN(value)) throw new Error('ERR value is not an integer or out of range');
        keys.set(key, String(value));
        return value;
      },
    };
    const subscriber = {
      connect: async () => {},
      subscribe: async (channel, hear) => {
        await lag();
        channels.set(channel, [...(channels.get(channel) ?? []), hear]);
        own.push([channel, hear]);
      },
      unsubscribe: async (channel) => (await lag(), channels.delete(channel)),
    };
    const die = () => own.forEach(([channel, hear]) => channels.set(channel, channels.get(channel).filter((one) => one !== hear)));
    return { context: createResumableStreamContext({ waitUntil: () => {}, publisher, subscriber }), die };
  };
}
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

const attempt = (run) => run().then((value) => String(value), (error) => error.message);
let made = 0;
const make = () => new ReadableStream({ start: (stream) => (made++, stream.enqueue('Half an ans')) });
const connect = redis();
const producer = connect();
const reader = connect().context;
await producer.context.createNewResumableStream('s1', make);
await pause(50);
producer.die();
console.log('resumable-stream 2.2.13');
verdict('null, undefined, undefined, a second stream', [
  await reader.hasExistingStream('s1'),
  await attempt(() => reader.resumeExistingStream('unknown')),
  await attempt(() => reader.resumeExistingStream('s1')),
  await attempt(() => reader.resumableStream('s1', make)),
  made,
], [true, 'undefined', 'Timeout waiting for ack', 'Timeout waiting for ack', 1]);
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
