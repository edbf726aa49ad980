// The extension: starts `wasmdbg dap` for a debug session and helps to choose what to attach to.
// Everything about debugging is in the adapter.

import * as vscode from 'vscode';
import { checked } from './binary';
import { Configurations } from './configurations';
import { explained } from './explained';
import { pickFilter } from './filters';
import { pid } from './listing';
import { program } from './settings';
import { Transactions } from './transactions';

const TYPE = 'wasmdbg';

export function activate(context: vscode.ExtensionContext): void {
  const transactions = new Transactions();
  const configurations = new Configurations();
  context.subscriptions.push(
    vscode.debug.registerDebugAdapterDescriptorFactory(TYPE, {
      async createDebugAdapterDescriptor() {
        return new vscode.DebugAdapterExecutable(await checked(program()), ['dap']);
      },
    }),
    vscode.debug.registerDebugConfigurationProvider(TYPE, configurations),
    vscode.debug.registerDebugConfigurationProvider(
      TYPE, configurations, vscode.DebugConfigurationProviderTriggerKind.Dynamic),
    vscode.debug.registerDebugAdapterTrackerFactory(TYPE, transactions),
    vscode.window.registerTreeDataProvider('wasmdbg.transactions', transactions),
    vscode.commands.registerCommand('wasmdbg.refreshTransactions', () => transactions.refresh()),
    vscode.commands.registerCommand('wasmdbg.attach', () => explained(attach)),
    // For "pid": "${command:wasmdbg.pickProxy}" in launch.json.
    vscode.commands.registerCommand('wasmdbg.pickProxy', () =>
      explained(async () => {
        const chosen = await pickFilter();
        return chosen && pid(chosen);
      })),
    transactions,
  );
}

async function attach(): Promise<void> {
  const chosen = await pickFilter();
  if (chosen) {
    const folder = vscode.workspace.workspaceFolders?.[0];
    await vscode.debug.startDebugging(folder, { type: TYPE, request: 'attach', name: chosen.filter, ...chosen });
  }
}
