/** The boxes that one writes in. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Server, browser, openPage } from './harness.js';
import { servers } from './servers.js';

const LINES = 'one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine';

test('a box grows with its text where the style sheet cannot make it', async () => {
  const server = await servers.first();
  const context = await (await browser()).newContext({ viewport: { width: 1000, height: 800 }, reducedMotion: 'reduce' });
  // As Safari and Firefox were before they learnt the property.
  await context.route('**/style.css', async (route) => route.fulfill({ contentType: 'text/css', body: readFileSync(new URL('../../static/style.css', import.meta.url), 'utf8').replaceAll('field-sizing: content', '') }));
  await context.addInitScript(() => {
    const supports = CSS.supports.bind(CSS);
    CSS.supports = (/** @type {string} */ name, /** @type {string} */ value) => name !== 'field-sizing' && supports(name, value);
  });
  const page = await openPage(server, { context });
  const height = () => page.locator('#prompt').evaluate((node) => node.clientHeight);
  const low = await height();
  await page.fill('#prompt', LINES);
  const high = await height();
  assert.ok(high >= 9 * 24, `${low} to ${high}`);
  assert.ok(await page.locator('#prompt').evaluate((node) => node.scrollHeight <= node.clientHeight), 'all of it is seen');
  await page.reload();
  await page.waitForFunction(() => document.getElementById('prompt').value.includes('nine'));
  assert.equal(await height(), high, 'a draft, too');
  await page.fill('#prompt', '/demo tokens=2 tps=0\n' + LINES);
  await page.keyboard.press('Enter');
  await page.whole();
  assert.equal(await height(), low);
  await page.getByRole('button', { name: 'Edit and send again' }).click();
  assert.ok(await page.getByLabel('Edit your message').evaluate((node) => node.scrollHeight <= node.clientHeight));
  await page.done();
  await context.close();
});

test('an input method’s Enter sends nothing', async () => {
  const page = await openPage(await servers.first());
  await page.fill('#prompt', '日本');
  // As Safari sends it: the composition is over, and only the old code tells.
  await page.locator('#prompt').evaluate((node) => node.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', keyCode: 229, bubbles: true, cancelable: true })));
  assert.equal(await page.locator('.message').count(), 0);
  assert.equal(await page.inputValue('#prompt'), '日本');
  await page.done();
});

test('a prompt that is too long opens nothing, and stays where it can be cut', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lastword-limit-'));
  writeFileSync(join(folder, 'lastword.toml'), '[limits]\nprompt_bytes = 262144\n');
  const server = await Server.start({ env: { DATABASE_URL: undefined, LASTWORD_CONFIG: join(folder, 'lastword.toml') } });
  const page = await openPage(server);
  const long = 'x'.repeat(300_000);
  await page.fill('#prompt', long);
  await page.locator('#prompt').press('Enter');
  await page.getByText('Not sent: the prompt has 300,000 bytes; the limit is 262,144.').waitFor();
  assert.equal((await page.inputValue('#prompt')).length, long.length);
  assert.deepEqual((await server.get('/v1/conversations')).data, []);
  await page.done();
  await server.kill();
  rmSync(folder, { recursive: true });
});

test('a long prompt is folded', async () => {
  const page = await openPage(await servers.first());
  await page.ask(`/demo tokens=3 tps=0\n${'word '.repeat(8000)}`);
  await page.whole();
  const bubble = page.locator('.bubble');
  const height = () => bubble.evaluate((node) => node.offsetHeight);
  assert.ok((await height()) < 400, `${await height()} px`);
  await bubble.getByRole('button', { name: 'Show more' }).click();
  assert.ok((await height()) > 2000);
  await bubble.getByRole('button', { name: 'Show less' }).click();
  assert.ok((await height()) < 400);
  await page.done();
});
