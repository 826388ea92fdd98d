/** What a first visit costs on the wire. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PATIENCE, browser } from './harness.js';
import { servers } from './servers.js';

/** What a first load may have, in bytes as they are sent: bodies, and with their heads. */
const MOST = 82_000;
const MOST_WITH_HEADS = 100_000;

test('a first load has at most 100 KB', async (t) => {
  const server = await servers.first();
  const context = await (await browser()).newContext({ serviceWorkers: 'block' });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const wire = await context.newCDPSession(page);
  await wire.send('Network.enable');
  const files = new Map();
  const ours = new Set();
  // Answers of the API grow with what is stored.
  wire.on('Network.requestWillBeSent', ({ requestId, request }) => new URL(request.url).pathname.startsWith('/v1/') || ours.add(requestId));
  wire.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => files.set(requestId, encodedDataLength));
  await page.goto(`${server.base}/`);
  // The last that it loads by itself.
  await page.waitForFunction(() => ['dialogs.js', 'inspector.js', 'shell.js'].every((name) => performance.getEntriesByType('resource').some((entry) => entry.name.endsWith(name) && entry.responseEnd > 0)));
  await page.waitForFunction(() => document.querySelector('#model option'));
  // Bodies as they are encoded; heads beside them.
  const bodies = await page.evaluate(() => ['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind)).map((entry) => [new URL(entry.name).pathname, entry.encodedBodySize]).filter(([name]) => !name.startsWith('/v1/')));
  const body = bodies.reduce((sum, [, size]) => sum + size, 0);
  const whole = [...files].reduce((sum, [id, size]) => sum + (ours.has(id) ? size : 0), 0);
  assert.ok(bodies.length > 20 && bodies.some(([name, size]) => name.endsWith('marked.esm.js') && size > 5000), 'they are counted');
  const largest = [...bodies].sort(([, a], [, b]) => b - a).slice(0, 5).map(([name, size]) => `${name} ${size}`).join(', ');
  t.diagnostic(`${bodies.length} answers, ${body} bytes, ${whole} with heads; largest: ${largest}`);
  assert.ok(body <= MOST, `${body} bytes; ${largest}`);
  assert.ok(whole <= MOST_WITH_HEADS, `${whole} bytes with heads`);
  await context.close();
});

test('what is sent without comments is the code of the source, line by line', async () => {
  const { base } = await servers.first();
  const source = fileURLToPath(new URL('../../static/', import.meta.url));
  const names = readdirSync(source).filter((name) => name.endsWith('.js'));
  const folder = mkdtempSync(join(tmpdir(), 'lastword-code-'));
  /** The code as a compiler writes it, without any comment. @param {string} name @param {(name: string) => string | Promise<string>} text */
  const written = async (name, text) => {
    mkdirSync(join(folder, name));
    for (const file of names) writeFileSync(join(folder, name, file), await text(file));
    const compiler = fileURLToPath(new URL('node_modules/.bin/tsc', import.meta.url));
    execFileSync(compiler, ['--allowJs', '--noCheck', '--noResolve', '--removeComments', '--target', 'esnext', '--module', 'esnext', '--outDir', `${name}-out`, ...names.map((file) => join(name, file))], { cwd: folder });
    return Object.fromEntries(names.map((file) => [file, readFileSync(join(folder, `${name}-out`, file), 'utf8')]));
  };
  const lines = {};
  const ours = await written('ours', (file) => readFileSync(join(source, file), 'utf8'));
  const sent = await written('sent', async (file) => {
    const text = await (await fetch(`${base}/static/${file}`)).text();
    lines[file] = text.split('\n').length;
    assert.ok(!/^\s*\/[/*]/m.test(text.replaceAll(/\/\*.*?\*\/ *\S/g, '')), `${file} is sent with comments`);
    return text;
  });
  assert.deepEqual(sent, ours);
  for (const file of names) assert.equal(lines[file], readFileSync(join(source, file), 'utf8').split('\n').length, `${file}: an error's line is the source's`);
  rmSync(folder, { recursive: true });
});
