/** Conversations that no server has. */

/** A conversation of so many turns, as the server would give it: prompts and answers in Markdown. */
export function messages(count) {
  const id = (/** @type {number} */ n) => `00000000-0000-7000-8000-${String(n).padStart(12, '0')}`;
  return Array.from({ length: count }, (_, n) => ({
    id: id(n + 1), parent_id: n ? id(n) : null, siblings: [id(n + 1)], created_at: '2026-01-01T00:00:00Z',
    ...(n % 2 ? { role: 'assistant', status: 'completed', model: 'demo', usage: { output_tokens: 60, exact: true }, content: `## Answer ${n}\n\nA paragraph with **bold** words and \`code\`.\n\n- one\n- two\n- three\n\n\`\`\`js\nlet x = ${n};\n\`\`\`\n` } : { role: 'user', content: `Question ${n}?` }),
  }));
}
