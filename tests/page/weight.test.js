/** What a first visit costs on the wire. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PATIENCE, browser } from './harness.js';
import { servers } from './servers.js';

/** What a first load may have, in bytes as they are sent. */
const MOST = 100_000;

test('a first load has at most 100 KB', async (t) => {
  const server = await servers.first();
  const context = await (await browser()).newContext({ serviceWorkers: 'block' });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const wire = await context.newCDPSession(page);
  await wire.send('Network.enable');
  const files = new Map();
  wire.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => files.set(requestId, encodedDataLength));
  await page.goto(`${server.base}/`);
  // The last that it loads by itself.
  await page.waitForFunction(() => ['dialogs.js', 'inspector.js', 'shell.js'].every((name) => performance.getEntriesByType('resource').some((entry) => entry.name.endsWith(name) && entry.responseEnd > 0)));
  await page.waitForFunction(() => document.querySelector('#model option'));
  // Bodies as they are encoded; heads beside them. What the API answers grows with what is stored.
  const bodies = await page.evaluate(() => ['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind)).map((entry) => [new URL(entry.name).pathname, entry.encodedBodySize]).filter(([name]) => !name.startsWith('/v1/')));
  const body = bodies.reduce((sum, [, size]) => sum + size, 0);
  const whole = [...files.values()].reduce((sum, size) => sum + size, 0);
  assert.ok(bodies.length > 20 && bodies.some(([name, size]) => name.endsWith('marked.esm.js') && size > 5000), 'they are counted');
  const largest = [...bodies].sort(([, a], [, b]) => b - a).slice(0, 5).map(([name, size]) => `${name} ${size}`).join(', ');
  t.diagnostic(`${bodies.length} answers, ${body} bytes, ${whole} with heads; largest: ${largest}`);
  assert.ok(body <= MOST, `${body} bytes; ${largest}`);
  await context.close();
});
