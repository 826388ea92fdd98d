/** The special features are seen: where an answer went on, the thoughts, and how to kill the server. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { audit } from './axe.js';
import { Server, openPage, words } from './harness.js';
import { servers } from './servers.js';

const seams = (page) => page.locator('.seam').evaluateAll((all) => all.map((node) => node.getAttribute('aria-label')));

test('where an answer went on after a cut is marked, and is no part of it', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  await page.ask('/demo tokens=100000 tps=40 seed=3');
  await page.grown(120);
  // An open socket outlives the browser's "offline": the inspector really cuts.
  await page.keyboard.press('Control+i');
  await page.getByRole('button', { name: 'Cut the connection' }).click();
  await page.locator('.seam').waitFor({ state: 'attached' });
  await page.keyboard.press('Control+i');
  await page.keyboard.press('Escape');
  const id = await page.whole();
  const [mark, ...more] = await seams(page);
  assert.match(mark, /^went on here, \d+(\.\d)? m?s later$/);
  assert.deepEqual(more, []);
  assert.equal(await page.says(), words((await server.view(id)).text));
  await audit(page, 'seam');
  await page.done();
});

test('a server that is replaced in the middle is told where it was', async () => {
  const env = { DATABASE_URL: undefined };
  let server = await Server.start({ env });
  const page = await openPage(server);
  await page.ask('/demo tokens=300 tps=40 seed=3 stall_at=60 stall_s=600');
  await page.grown(120);
  await server.kill({ keep: true });
  server = await Server.start({ env, port: server.port, dir: server.dir });
  const id = await page.whole();
  const marks = await seams(page);
  assert.equal(marks.length, 1, `${marks}`);
  assert.match(marks[0], /^the server was replaced: went on here, \d+(\.\d)? m?s later$/);
  assert.equal(await page.says(), words((await server.view(id)).text));
  await page.done();
  await server.kill();
});

test('thoughts are open while they come, and closed when the text begins, unless one wants them', async () => {
  const page = await openPage(await servers.first());
  const open = () => page.locator('.message.assistant').last().locator('.thinking').evaluate((node) => node.open);
  const thinks = () => page.locator('.message.assistant').last().locator('.thinking-text', { hasText: 'me' }).waitFor();
  const prompt = '/demo tokens=60 tps=4 reasoning ttft_ms=0';
  await page.ask(prompt);
  await thinks();
  assert.equal(await open(), true);
  await page.grown(5);
  assert.equal(await open(), false);
  await page.keyboard.press('Escape');
  await page.whole();
  assert.equal(await open(), false);

  // A reader that closes them has closed them, and one that opens them reads on.
  await page.ask(prompt);
  await page.locator('.message.assistant').nth(1).waitFor();
  await thinks();
  await page.locator('.thinking summary').last().click();
  assert.equal(await open(), false);
  await page.grown(2);
  await page.locator('.thinking summary').last().click();
  await page.grown(20);
  assert.equal(await open(), true);
  await page.keyboard.press('Escape');
  await page.whole(1);
  assert.equal(await open(), true);
  await page.done();
});

test('a card says how to kill the server, where that can be tried', async () => {
  const server = await servers.first();
  const page = await openPage(server, { permissions: ['clipboard-read', 'clipboard-write'] });
  await page.getByRole('button', { name: 'Kill the server' }).click();
  await page.locator('#line', { hasText: 'Copied' }).waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'pkill -9 -x lastword');
  assert.match(await page.inputValue('#prompt'), /^\/demo tokens=\d+ tps=\d+/);
  await audit(page, 'cards');
  await page.done();
  const phone = await openPage(server, { viewport: { width: 390, height: 760 } });
  assert.equal(await phone.getByRole('button', { name: 'Kill the server' }).count(), 0);
  await phone.done();
});
