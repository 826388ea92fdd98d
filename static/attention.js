// @ts-check
/** For a person who looks elsewhere: the tab's title and icon show that an answer runs, or is ready. A notification
 * comes on request. */
import { settings } from './store.js';

/** Of a notification, so many characters of the answer. */
const QUOTE = 120;

const link = document.querySelector('link[rel="icon"]');
const usual = link?.getAttribute('href') ?? '';
let ready = false;
let shown = '';

/** @param {string} name of the page @param {boolean} answering */
export function title(name, answering) {
  const text = `${answering ? '… ' : ready ? '● ' : ''}${name}`;
  if (text === shown) return;
  shown = document.title = text;
  link?.setAttribute('href', usual.replace('icon.svg', answering ? 'icon-answering.svg' : ready ? 'icon-ready.svg' : 'icon.svg'));
}

/** An answer is ready. @param {string} name of its conversation @param {string} text its beginning @param {string} id */
export function tell(name, text, id) {
  if (!document.hidden) return;
  ready = true;
  if (!settings.get().notify || globalThis.Notification?.permission !== 'granted') return;
  try {
    const note = new Notification(name, { body: text.slice(0, QUOTE), tag: id, icon: usual });
    note.onclick = () => {
      focus();
      note.close();
    };
  } catch {
    // Phones want a service worker for it: the title has to do.
  }
}

/** Asks the browser whether notifications may be shown. */
export async function ask() {
  if (globalThis.Notification?.permission === 'default') await Notification.requestPermission();
}

/** The person looks at the page. @param {() => void} look what shows the title anew */
export function watch(look) {
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return;
    ready = false;
    look();
  });
}
