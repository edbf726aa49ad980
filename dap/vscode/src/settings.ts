// What the user has set.

import * as vscode from 'vscode';
import { chosen } from './binary';

/** The `wasmdbg` program. */
export function program(): string {
  return chosen(vscode.workspace.getConfiguration('wasmdbg').get<string>('path'));
}
