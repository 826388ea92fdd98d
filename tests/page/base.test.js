/** The page below a path that a proxy puts in front: everything that it asks for is there. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { test } from 'node:test';
import { Server, openPage } from './harness.js';

test('below a path the page chats, comes back, is shared and opens without its server', async () => {
  const server = await Server.start({ env: { DATABASE_URL: undefined, LASTWORD_PUBLIC_URL: 'http://chat.example/ai' } });
  const page = await openPage(server, { path: '/ai/', serviceWorkers: 'allow' });
  const asked = [];
  page.on('request', (request) => asked.push(new URL(request.url()).pathname));
  page.on('websocket', (socket) => asked.push(new URL(socket.url()).pathname));
  await page.reload();
  await page.locator('#model option').first().waitFor({ state: 'attached' });
  assert.ok(await page.evaluate(() => document.documentElement.classList.contains('fresh')), 'a new conversation');
  await page.ask('/demo tokens=12 tps=0 ttft_ms=0 seed=3');
  await page.whole();
  const { pathname } = new URL(page.url());
  assert.match(pathname, /^\/ai\/c\/[0-9a-f-]{36}$/);
  await page.reload();
  await page.whole();
  await page.locator(`#conversations a[href="${pathname}"]`).waitFor();
  const { token } = await server.post(`/v1/conversations/${pathname.split('/')[3]}/shares`, {});
  const guest = await openPage(server, { path: `/ai/shared/${token}`, ready: '.message', context: page.context() });
  await guest.whole();
  await guest.close();
  await page.evaluate(async () => {
    await navigator.serviceWorker.ready;
    if (!navigator.serviceWorker.controller) await new Promise((resolve) => navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true }));
  });
  assert.deepEqual(asked.filter((path) => !path.startsWith('/ai/')), [], 'nothing outside its path');
  assert.ok(asked.includes('/ai/v1/ws'), asked.join(' '));
  await page.fine();
  await server.kill({ keep: true });
  await page.reload();
  await page.locator('#chip[data-phase="waiting"]').waitFor();
  await page.done();
  rmSync(server.dir, { recursive: true, force: true });
});
