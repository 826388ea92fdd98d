/** The API reference: everything of the server's description is on the page, and nothing goes wrong. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openPage } from './harness.js';
import { servers } from './servers.js';

test('the reference shows every operation, frame and object', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  await page.goto(`${server.base}/docs#readEvents`);
  await page.waitForSelector('body[data-ready]');
  const [api, socket] = [await server.get('/openapi.json'), await server.get('/asyncapi.json')];
  const operations = Object.values(api.paths).flatMap((path) => Object.values(path).map((of) => of.operationId));
  const frames = Object.keys(socket.components.messages).map((name) => `frame-${name}`);
  const objects = new Set([...Object.keys(api.components.schemas), ...Object.keys(socket.components.schemas)]);
  const schemas = [...objects].map((name) => `schema-${name}`);
  const shown = await page.evaluate(() => [...document.querySelectorAll('main section')].map((section) => section.id));
  assert.deepEqual(shown.toSorted(), [...operations, ...frames, ...schemas, 'close-codes'].toSorted());
  const broken = await page.evaluate(() => [...document.querySelectorAll('a[href^="#"]')].map((a) => a.getAttribute('href').slice(1)).filter((id) => !document.getElementById(id)));
  assert.deepEqual(broken, [], 'every link leads somewhere');
  assert.ok(!(await page.locator('#about, main > .quiet').allInnerTexts()).join('').includes('`'), 'words of code are set as such');
  for (const path of Object.values(api.paths)) {
    for (const of of Object.values(path)) {
      for (const [status, answer] of Object.entries(of.responses)) {
        const codes = answer.description.match(/`\w+`/g) ?? [];
        if (status >= '400') assert.deepEqual(codes, [...new Set(codes)], `${of.operationId} ${status}`);
      }
    }
  }
  await page.done();
});
