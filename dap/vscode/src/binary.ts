// The `wasmdbg` program: where it is, whether it is new enough, and running it.

import { execFile } from 'node:child_process';
import * as vscode from 'vscode';

/** The oldest version with `wasmdbg dap`. */
const OLDEST = [0, 1, 0];

/** The program is not there, or is of no use; the user can set its path. */
export class NotUsable extends Error {}

/** As set by the user. */
export function program(): string {
  return vscode.workspace.getConfiguration('wasmdbg').get<string>('path')?.trim() || 'wasmdbg';
}

/** The program, once it has said that it is new enough. */
export async function checked(path: string): Promise<string> {
  const said = await run(path, ['--version']);
  const version = /^wasmdbg (\d+)\.(\d+)\.(\d+)/.exec(said)?.slice(1).map(Number);
  if (!version) {
    throw new NotUsable(`${path} is not wasmdbg: set "wasmdbg.path"`);
  }
  const difference = OLDEST.map((part, index) => version[index] - part).find(part => part !== 0) ?? 0;
  if (difference < 0) {
    throw new NotUsable(
      `${path} is wasmdbg ${version.join('.')}, too old for this extension: it needs ${OLDEST.join('.')} or newer`);
  }
  return path;
}

/** Runs the program to its end and gives what it printed. */
export function run(path: string, args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(path, args, { timeout: 15_000, maxBuffer: 16 << 20 }, (error, stdout, stderr) => {
      if (!error) {
        resolve(stdout);
      } else if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
        reject(new NotUsable(`${path} is not found: install wasmdbg, or set "wasmdbg.path" to where it is`));
      } else if ((error as NodeJS.ErrnoException).code === 'EACCES') {
        reject(new NotUsable(`${path} cannot be run: set "wasmdbg.path" to the wasmdbg program`));
      } else {
        reject(new NotUsable(`${path} ${args.join(' ')} failed: ${stderr.trim() || error.message}`));
      }
    });
  });
}
