/** A virtual display that no other has. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** @returns {Promise<{ name: string, end: () => Promise<void> }>} */
export async function display() {
  const child = spawn('Xvfb', ['-displayfd', '1', '-screen', '0', '1280x900x24', '-nolisten', 'tcp'], { stdio: ['ignore', 'pipe', 'ignore'] });
  const [number] = await once(child.stdout, 'data');
  return { name: `:${String(number).trim()}`, end: () => ended(child) };
}

/** Ends a program, and waits until it is gone. @param {import('node:child_process').ChildProcess} child */
export async function ended(child) {
  if (child.exitCode !== null) return;
  const gone = once(child, 'exit');
  child.kill();
  await gone;
}
