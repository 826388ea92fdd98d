// @ts-check
/** Sets the worker up that opens the page without the server. */

import { base } from './base.js';

/** The one address of code that this page may name. */
const WORKER = `${base}/worker.js`;

/** Asks the browser to keep the page's files; a browser that cannot changes nothing. */
export async function keepShell() {
  if (!navigator.serviceWorker) return;
  // The policy lets this one name exist, once, and what it gives is always the same.
  const { trustedTypes } = /** @type {any} */ (window);
  const address = trustedTypes ? trustedTypes.createPolicy('shell', { createScriptURL: () => WORKER }).createScriptURL('') : WORKER;
  await navigator.serviceWorker.register(address, { updateViaCache: 'none' }).catch(() => {});
}
