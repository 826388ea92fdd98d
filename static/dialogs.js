// @ts-check
/** Dialogs; loaded when the first one opens. The browser's own `<dialog>` keeps the focus inside. */
import { copy, h } from './dom.js';
import { MOST, recent } from './recent.js';
import { call, client, settings } from './store.js';

/**
 * @param {string} title @param {(Node | string)[]} content @param {string} action what its button says
 * @param {{ danger?: boolean, cancel?: string }} [look] @returns {Promise<boolean>} whether the action was chosen
 */
function dialog(title, content, action, { danger, cancel = 'Cancel' } = {}) {
  const id = 'dialog-title';
  const box = h('dialog', { 'aria-labelledby': id },
    h('form', { method: 'dialog' }, h('h2', { id }, title), content,
      h('div', { class: 'row' },
        cancel ? h('button', { type: 'button', class: 'button quiet', onclick: () => box.close() }, cancel) : null,
        h('button', { value: 'yes', class: danger ? 'button danger' : 'button' }, action))));
  document.body.append(box);
  box.showModal();
  return new Promise((resolve) => box.addEventListener('close', () => {
    resolve(box.returnValue === 'yes');
    box.remove();
  }));
}

/** @param {string} title @param {string} value @returns {Promise<string | null>} */
export async function ask(title, value) {
  const input = h('input', { type: 'text', value, maxlength: '200', 'aria-label': title, dir: 'auto' });
  queueMicrotask(() => input.select());
  return (await dialog(title, [input], 'Save')) ? input.value.trim() : null;
}

/** @param {string} title @param {string} text @param {string} action */
export const confirm = (title, text, action) => dialog(title, [h('p', null, text)], action, { danger: true });

/** What bearers of a link may do: without later turns, and with them. */
const BEARERS = ['read the conversation up to here, and follow an answer that is being made', 'read the conversation up to here, and everything that is asked and answered next'];

/** @param {string} address @param {() => Promise<string>} later makes a link that shows later turns, too @param {() => Promise<any>} revoke */
export async function shared(address, later, revoke) {
  const links = [address];
  const input = h('input', { type: 'url', readonly: true, value: address, 'aria-label': 'Link' });
  const note = h('p', { class: 'quiet', role: 'status' });
  const box = h('input', { type: 'checkbox', onchange: async () => {
    try {
      if (box.checked) links[1] ??= await later();
      show();
    } catch (error) {
      box.checked = false;
      show();
      note.textContent = `There is no such link: ${error instanceof Error ? error.message : error}`;
    }
  } });
  const show = () => {
    const chosen = Number(box.checked);
    input.value = links[chosen] ?? links[0];
    note.textContent = `Whoever has this link can ${BEARERS[chosen]}; not write in it.`;
  };
  const choice = h('label', { class: 'check' }, box, h('span', null, 'Show later questions and answers, too'));
  const off = h('button', { type: 'button', class: 'link danger', onclick: async () => {
    await revoke();
    note.textContent = 'All links to this conversation are void now.';
    choice.remove();
    off.remove();
  } }, 'Stop sharing: make all its links void');
  show();
  queueMicrotask(() => input.select());
  const wanted = await dialog('A link to read along', [input, choice, note, off], 'Copy link', { cancel: 'Close' });
  if (wanted) await copy(input.value);
}

/** @param {boolean} again whether a key was refused before @returns {Promise<boolean>} */
export async function signIn(again = false) {
  const input = h('input', { type: 'password', autocomplete: 'current-password', 'aria-label': 'API key', placeholder: 'lw_…', required: true });
  const text = again ? 'This key is not valid, or not any more.' : 'This server wants an API key. It is exchanged for a session cookie that scripts cannot read.';
  if (!(await dialog('Sign in', [h('p', again ? { role: 'alert' } : null, text), input], 'Sign in'))) return false;
  try {
    await call('POST', '/v1/session', { key: input.value.trim() });
    return true;
  } catch {
    return signIn(true);
  }
}

const field = (/** @type {string} */ label, /** @type {HTMLElement} */ input, hint = '') =>
  h('label', { class: 'field' }, h('span', null, label), input, hint ? h('small', null, hint) : null);

const check = (/** @type {string} */ label, /** @type {HTMLElement} */ input) => h('label', { class: 'check' }, input, h('span', null, label));

/** @param {string | null} system the conversation's own system prompt @param {boolean} inConversation @returns {Promise<{ system: string } | null>} */
export async function tune(system, inConversation) {
  const kept = settings.get();
  const number = (/** @type {string} */ name, /** @type {Record<string, string>} */ limits) => h('input', { type: 'number', value: kept[name] ?? '', placeholder: 'the model’s own', ...limits });
  const text = h('textarea', { rows: '3', dir: 'auto' });
  text.value = (inConversation ? system : kept.system) ?? '';
  const stop = h('textarea', { rows: '2' });
  stop.value = kept.stop ?? '';
  const temperature = number('temperature', { min: '0', max: '2', step: '0.1' });
  const topP = number('top_p', { min: '0', max: '1', step: '0.05' });
  const most = number('max_output_tokens', { min: '1', step: '1' });
  const seed = number('seed', { step: '1' });
  const name = h('input', { type: 'text', value: kept.name ?? '', placeholder: client().name, maxlength: '40' });
  const silent = h('input', { type: 'checkbox', checked: Boolean(kept.silent) });
  const notify = h('input', { type: 'checkbox', checked: Boolean(kept.notify) });
  const keep = h('input', { type: 'checkbox', checked: recent.wanted });
  const aloud = h('input', { type: 'checkbox', checked: Boolean(kept.sentences) });
  const fields = [
    field('System prompt', text, inConversation ? 'For this conversation.' : 'For new conversations.'),
    h('div', { class: 'grid' }, field('Temperature', temperature), field('Top p', topP), field('Most tokens of an answer', most), field('Seed', seed)),
    field('Stop at', stop, 'One text per line.'),
    field('Your name', name, 'For the others in a shared conversation.'),
    check('Notify me when an answer is ready and I look elsewhere', notify),
    check('Do not tell others that I am typing', silent),
    recent.reader === null ? '' : check(`Keep my last ${MOST} conversations on this device, to read them while the server is away`, keep),
    check('Read sentences of an answer to my screen reader as they come', aloud),
  ];
  if (!(await dialog('Settings', fields, 'Save'))) return null;
  await recent.choose(keep.checked);
  settings.set({
    ...kept, stop: stop.value, temperature: temperature.value, top_p: topP.value, max_output_tokens: most.value, seed: seed.value,
    name: name.value.trim(), silent: silent.checked, notify: notify.checked, sentences: aloud.checked, ...(inConversation ? {} : { system: text.value.trim() }),
  });
  return { system: text.value.trim() };
}

const KEYS = [
  ['Enter', 'Send'], ['Shift Enter', 'New line'], ['Esc', 'Stop the answer'], ['Ctrl K', 'Search'], ['Ctrl Shift O', 'New conversation'],
  ['↑', 'Edit your last message (empty box)'], ['Ctrl Shift C', 'Copy the last answer'], ['Ctrl I', 'Protocol inspector'], ['?', 'This list'],
];

export function help() {
  const mac = /Mac|iP/.test(navigator.platform);
  const keys = (/** @type {string} */ combination) => combination.split(' ').map((key) => h('kbd', null, mac && key === 'Ctrl' ? '⌘' : key));
  return dialog('Keyboard', [h('dl', { class: 'keys' }, KEYS.flatMap(([k, text]) => [h('dt', null, keys(k)), h('dd', null, text)]))], 'Close', { cancel: '' });
}
