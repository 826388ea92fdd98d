// @ts-check
/** The titles of conversations. */

/** The built-in model's directives, in words. @type {Record<string, (value: string) => string>} */
const DIRECTIVES = {
  tokens: (n) => `${Number(n).toLocaleString('en')} ${n === '1' ? 'token' : 'tokens'}`,
  markdown: () => 'Markdown',
  unicode: () => 'Unicode',
  reasoning: () => 'thinking',
  tool_call: () => 'a tool call',
  refusal: () => 'a refusal',
  fail_at: () => 'breaks off',
  stall_at: () => 'stalls',
};

/** A title for people: for a prompt to the built-in model, its directives in words. @param {string | null | undefined} title */
export function titled(title) {
  if (!title) return 'New conversation';
  const [, file] = /^<file name="([^"]*)/.exec(title) ?? [];
  if (file) return file;
  const demo = /^\/demo(?:\s+(.*))?$/s.exec(title);
  if (!demo) return title;
  const words = (demo[1] ?? '').split(/\s+/).map((word) => word.split('='));
  const parts = words.map(([name, value]) => DIRECTIVES[name]?.(value ?? '')).filter(Boolean);
  return parts.length ? `Demo: ${parts.join(', ')}` : 'Demo';
}
