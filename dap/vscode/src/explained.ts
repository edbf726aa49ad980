// Failures as the user sees them.

import * as vscode from 'vscode';
import { NotUsable } from './binary';

/** Runs `work`; what goes wrong is shown with what can be done about it. */
export async function explained<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    const open = 'Open Settings';
    const choices = error instanceof NotUsable ? [open] : [];
    if ((await vscode.window.showErrorMessage(text, ...choices)) === open) {
      await vscode.commands.executeCommand('workbench.action.openSettings', 'wasmdbg.path');
    }
    return undefined;
  }
}
