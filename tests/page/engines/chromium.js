/** Chromium in a window, with scrollbars that take room; as the other engines are driven. */
import { chromium as launcher } from 'playwright-core';
import { CHROMIUM, QUIET } from '../harness.js';

const KEYS = { '\uE007': 'Enter', '\uE00C': 'Escape' };

/** @param {string} display */
export async function chromium(display) {
  const browser = await launcher.launch({ executablePath: CHROMIUM, headless: false, env: { ...process.env, DISPLAY: display }, args: QUIET, ignoreDefaultArgs: ['--hide-scrollbars'] });
  const page = await browser.newPage({ viewport: { width: 1260, height: 790 } });
  return {
    goto: (/** @type {string} */ address) => page.goto(address),
    reload: () => page.reload(),
    value: (/** @type {string} */ expression) => page.evaluate(expression),
    picture: () => page.screenshot(),
    size: (/** @type {number} */ width, /** @type {number} */ height) => page.setViewportSize({ width, height }),
    type: async (/** @type {string} */ text) => {
      for (const key of text) await page.keyboard.press(/** @type {any} */ (KEYS)[key] ?? key);
    },
    end: () => browser.close(),
  };
}
