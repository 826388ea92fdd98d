/** With others: who is here, who types, who may come in, and what they may do. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { audit } from './axe.js';
import { Server, openPage } from './harness.js';
import { servers } from './servers.js';
import { Upstream } from './upstream.js';

const QUICK = '/demo tokens=12 tps=0 ttft_ms=0';

test('others are seen, and seen typing, until they stop, until they leave', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  await page.ask(`${QUICK} seed=71`);
  await page.whole();
  // On the other instance: who is there is known on all.
  const guest = await openPage(await servers.second(), { path: new URL(page.url()).pathname });
  await guest.whole();
  await page.locator('#presence li').waitFor();
  assert.match(await page.locator('#presence li').getAttribute('aria-label'), /Guest .* is here/);
  await guest.locator('#presence li').waitFor();
  await guest.getByRole('button', { name: 'Settings' }).click();
  await guest.getByLabel('Your name').fill('Mira');
  await guest.getByRole('button', { name: 'Save' }).click();
  await page.locator('#presence li[aria-label="Mira is here"]').waitFor();
  assert.equal(await page.locator('#presence li').count(), 1);
  await audit(page, 'together');
  await guest.locator('#prompt').pressSequentially('hm');
  await page.locator('#typing', { hasText: /^Mira is typing…$/ }).waitFor();
  assert.equal(await guest.locator('#typing').textContent(), '', 'nobody hears of themselves');
  await guest.fill('#prompt', '');
  await page.waitForFunction(() => document.getElementById('typing').textContent === '');
  await guest.done();
  await page.locator('#presence li').waitFor({ state: 'detached' });
  await page.done();
});

test('the assistant is seen at work before its first word, by all', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  await page.ask(`${QUICK} seed=72`);
  await page.whole();
  const guest = await openPage(server, { path: new URL(page.url()).pathname });
  await guest.whole();
  await page.ask('/demo tokens=40 tps=0 ttft_ms=3600000');
  for (const one of [page, guest]) {
    const waiting = one.locator('.message.assistant.running.waiting');
    await waiting.locator('.caret').waitFor();
    assert.equal(await waiting.getAttribute('aria-busy'), 'true');
  }
  await guest.keyboard.press('Escape');
  await page.whole(1);
  await page.done();
  await guest.done();
});

test('a server with keys asks who one is, once', async () => {
  const server = await Server.start({ keys: [['--name', 'browser']] });
  const page = await openPage(server, { ready: 'dialog' });
  const key = page.getByLabel('API key');
  await key.fill(`lw_${'x'.repeat(43)}`);
  await page.keyboard.press('Enter');
  await page.getByText('This key is not valid, or not any more.').waitFor();
  await key.fill(server.keys[0]);
  await page.keyboard.press('Enter');
  await page.locator('#chip[data-phase="live"]').waitFor();
  await page.locator('#model option').first().waitFor({ state: 'attached' });
  await page.ask(`${QUICK} seed=73`);
  await page.whole();
  assert.equal(await page.evaluate(() => document.cookie), '', 'no script can read the session');
  assert.ok(!(await page.evaluate(() => JSON.stringify(localStorage))).includes('lw_'), 'the key is kept nowhere');
  await page.reload();
  await page.whole();
  assert.equal(await page.locator('dialog').count(), 0);
  await page.done();
  await server.kill();
});

test('who has a link can read, and nothing else', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  await page.ask(`${QUICK} seed=74`);
  await page.whole();
  const { url } = await server.post(`/v1/conversations/${new URL(page.url()).pathname.split('/')[2]}/shares`, {});
  const guest = await openPage(server, { path: url.replace('/v1/shared/', '/shared/') });
  await guest.locator('.message.assistant .text').waitFor();
  await guest.locator('.message.assistant').hover();
  for (const name of ['Edit and send again', 'Answer again', 'Send']) {
    assert.equal(await guest.getByRole('button', { name }).filter({ visible: true }).count(), 0, name);
  }
  assert.equal(await guest.getByRole('button', { name: 'Copy answer' }).filter({ visible: true }).count(), 1);
  assert.equal(await guest.locator('.facts').innerText(), 'Done · demo', 'nothing that one is not told');
  await guest.done();
  await page.done();
});

test('a crash of a model that cannot go on: what was said is struck, folded and replaced', async () => {
  const upstream = await Upstream.start();
  const folder = mkdtempSync(join(tmpdir(), 'lastword-config-'));
  // A database of its own: an instance that does not know the model would take the answer over.
  const env = { ...upstream.env(folder), DATABASE_URL: undefined };
  let server = await Server.start({ env });
  const page = await openPage(server);
  await page.ask('say something');
  await page.grown(60);
  await server.kill({ keep: true });
  server = await Server.start({ env, port: server.port, dir: server.dir });
  const lost = page.locator('.message.assistant .void');
  await lost.waitFor();
  const id = await page.whole();
  const view = await server.get(`/v1/generations/${id}`);
  assert.equal((await page.locator('.text').innerText()).trim(), view.text.trim());
  assert.match(view.text, /^try2word0 .*try2word59 $/);
  assert.equal(await lost.locator('del').isVisible(), false);
  assert.match(await lost.locator('summary').innerText(), /A first try of \d+ words is void: the server was replaced/);
  await lost.locator('summary').click();
  assert.match(await lost.locator('del').innerText(), /^try1word0 /);
  assert.equal(await lost.locator('del').evaluate((node) => getComputedStyle(node).textDecorationLine), 'line-through');
  await page.done();

  // The next is refused. Another try is one try, however often one clicks.
  upstream.refuses = 1;
  const again = await openPage(server);
  await again.ask('say more');
  await again.locator('.ending[role="alert"]', { hasText: 'Failed' }).waitFor();
  const before = upstream.asked.length;
  await again.getByRole('button', { name: 'Try again' }).dblclick();
  await again.getByText('2 / 2').waitFor();
  await again.grown(200);
  await again.whole();
  assert.deepEqual(upstream.asked.slice(before), ['say more']);
  await again.done();
  await server.kill();
  upstream.stop();
  rmSync(folder, { recursive: true });
});
