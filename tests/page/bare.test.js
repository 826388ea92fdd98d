/** A server that was built without Node.js: `scripts/bare` builds it, and runs this. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { audit } from './axe.js';
import { openPage } from './harness.js';
import { works } from './plain.js';
import { servers } from './servers.js';

test('a server built without Node.js: the page works, with plain text', async () => {
  const server = await servers.first();
  const html = await (await fetch(server.base, { headers: { accept: 'text/html' } })).text();
  assert.ok(!html.includes('/vendor/'), 'nothing is announced that is not there');
  const [script] = /\/static\/[0-9a-f]{16}\/app\.js/.exec(html) ?? [];
  assert.ok(script, 'the files are in the program, under the id of its build');
  assert.match((await fetch(server.base + script)).headers.get('cache-control') ?? '', /immutable/);
  assert.equal((await fetch(server.base + script.replace('app.js', 'vendor/marked.esm.js'))).status, 404);
  const page = await openPage(server);
  await page.ask('/demo tokens=40 tps=0 seed=3 markdown');
  await page.whole();
  await audit(page, 'plain');
  await page.locator('#new').click();
  await page.locator('.empty').waitFor();
  await works(page, server);
});
