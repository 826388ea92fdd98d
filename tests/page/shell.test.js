/** The page opens without its server, from its own files, and goes on when the server is back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Server, openPage } from './harness.js';

const QUICK = '/demo tokens=12 tps=0 ttft_ms=0 seed=3';
const allowed = { serviceWorkers: 'allow' };

/** Waits until the worker has the page in its care, and its files. */
const kept = (page) => page.evaluate(async () => {
  await navigator.serviceWorker.ready;
  if (!navigator.serviceWorker.controller) await new Promise((resolve) => navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true }));
});

/** The paths of all that is kept. */
const paths = (page) => page.evaluate(async () => {
  const all = [];
  for (const name of await caches.keys()) for (const { url } of await (await caches.open(name)).keys()) all.push(new URL(url).pathname);
  return all;
});

test('a reload while the server is dead: the shell opens, a prompt waits, the answer comes', async () => {
  const env = { DATABASE_URL: undefined };
  let server = await Server.start({ env });
  const page = await openPage(server, allowed);
  await page.ask(QUICK);
  await page.whole();
  await kept(page);
  const { pathname } = new URL(page.url());
  const { token } = await server.post(`/v1/conversations/${pathname.split('/')[2]}/shares`, {});
  const guest = await openPage(server, { path: `/shared/${token}`, context: page.context() });
  await guest.whole();
  await guest.done();
  const all = await paths(page);
  assert.ok(all.includes('/') && all.some((path) => path.endsWith('/dialogs.js')), all.join(' '));
  assert.deepEqual(all.filter((path) => path !== '/' && !path.startsWith('/static/')), [], 'neither the API nor what is shared');

  await server.kill({ keep: true });
  await page.reload();
  await page.locator('#chip[data-phase="waiting"]').waitFor();
  await page.locator('#line', { hasText: 'The server cannot be reached.' }).waitFor();
  await page.locator('#none', { hasText: 'when the server is back.' }).waitFor();
  const other = await page.context().newPage();
  await other.goto(server.base + pathname);
  const strict = await other.evaluate(() => {
    try {
      document.createElement('script').text = 'window.ran = 1';
    } catch (error) {
      return error.name;
    }
  });
  assert.equal(strict, 'TypeError', 'the policy is as strict as ever');
  await assert.rejects(other.goto(`${server.base}/shared/${token}`), /ERR_CONNECTION_REFUSED/);
  await other.close();

  await page.goto(`${server.base}/`);
  await page.ask(QUICK.replace('seed=3', 'seed=4'));
  await page.getByText(/Queued|Waiting/).first().waitFor();
  await page.reload();
  await page.locator('.message.user').waitFor();
  // It is said for five seconds: one who waits from before cannot miss it.
  const back = page.locator('#chip-text', { hasText: 'back online' }).waitFor();
  server = await Server.start({ env, port: server.port, dir: server.dir });
  await back;
  await page.whole();
  await page.locator('#model option').first().waitFor({ state: 'attached' });
  const { data } = await server.get('/v1/conversations');
  assert.equal(data.length, 2, 'sent once');
  await page.locator('#conversations a').nth(1).click();
  await page.locator('.bubble', { hasText: 'seed=3' }).waitFor();
  await page.done();
  await server.kill();
});

test('the page can be installed', async () => {
  const server = await Server.start({ env: { DATABASE_URL: undefined } });
  const page = await openPage(server, allowed);
  await kept(page);
  const chrome = await page.context().newCDPSession(page);
  const manifest = await chrome.send('Page.getAppManifest');
  assert.deepEqual(manifest.errors, []);
  assert.equal(new URL(JSON.parse(manifest.data).start_url, manifest.url).pathname, '/');
  const { installabilityErrors: errors } = await chrome.send('Page.getInstallabilityErrors');
  // A test's profile is as a private window, where nothing can be installed.
  assert.deepEqual(errors.map(({ errorId }) => errorId).filter((id) => id !== 'in-incognito'), []);
  await page.done();
  await server.kill();
});
