// The `wasmdbg` program: which one, whether it is new enough, and running it.

import { execFile } from 'node:child_process';
import { homedir } from 'node:os';
import * as path from 'node:path';

/** The oldest version with `wasmdbg dap`. */
const OLDEST = [0, 1, 0];

/** The program is not there, or is of no use; the user can set its path. */
export class NotUsable extends Error {}

/** The program that the setting `wasmdbg.path` names; without one the first on the PATH. */
export function chosen(setting: string | undefined): string {
  const named = setting?.trim() || 'wasmdbg';
  return named.startsWith('~/') ? path.join(homedir(), named.slice(2)) : named;
}

/** The program, once it has said that it is new enough. */
export async function checked(program: string): Promise<string> {
  const said = await run(program, ['--version']);
  const version = /^wasmdbg (\d+)\.(\d+)\.(\d+)/.exec(said)?.slice(1).map(Number);
  if (!version) {
    throw new NotUsable(`${program} is not wasmdbg: set "wasmdbg.path"`);
  }
  const difference = OLDEST.map((part, index) => version[index] - part).find(part => part !== 0) ?? 0;
  if (difference < 0) {
    throw new NotUsable(
      `${program} is wasmdbg ${version.join('.')}, too old for this extension: it needs ${OLDEST.join('.')} or newer`);
  }
  return program;
}

/** Runs the program to its end and gives what it printed. */
export function run(program: string, args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { timeout: 15_000, maxBuffer: 16 << 20 }, (error, stdout, stderr) => {
      const code = (error as NodeJS.ErrnoException | null)?.code;
      if (!error) {
        resolve(stdout);
      } else if (code === 'ENOENT') {
        reject(new NotUsable(`${program} is not found: install wasmdbg, or set "wasmdbg.path" to where it is`));
      } else if (code === 'EACCES') {
        reject(new NotUsable(`${program} cannot be run: set "wasmdbg.path" to the wasmdbg program`));
      } else {
        reject(new NotUsable(`${program} ${args.join(' ')} failed: ${stderr.trim() || error.message}`));
      }
    });
  });
}
