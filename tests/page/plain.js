/** The behaviour of a page that has no libraries. */
import assert from 'node:assert/strict';

const flat = (/** @type {string} */ text) => text.replace(/\s+/g, ' ').trim();

/** An answer in Markdown is there to its last mark, as plain text, and can be asked for again. */
export async function works(page, server) {
  await page.locator('#model option').first().waitFor({ state: 'attached' });
  await page.ask('/demo tokens=300 tps=400 seed=2 markdown');
  const view = await server.get(`/v1/generations/${await page.whole()}`);
  assert.equal(flat(await page.locator('.text').innerText()), flat(view.text), 'to the last mark');
  await page.getByRole('button', { name: 'Answer again' }).click();
  await page.getByText('2 / 2').waitFor();
  await page.reload();
  await page.getByText('2 / 2').waitFor();
  await page.done();
}
