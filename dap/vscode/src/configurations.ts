// Debug configurations: what F5 does without launch.json, and what a configuration leaves open.

import * as vscode from 'vscode';
import { explained } from './explained';
import { pickFilter } from './filters';

const ATTACH: vscode.DebugConfiguration = { type: 'wasmdbg', request: 'attach', name: 'Attach to a live filter' };
const LAUNCH: vscode.DebugConfiguration = {
  type: 'wasmdbg', request: 'launch', name: 'Run a filter in a proxy of its own',
  program: '${workspaceFolder}/filter.wasm', listen: '127.0.0.1:8080',
};

export class Configurations implements vscode.DebugConfigurationProvider {
  provideDebugConfigurations(): vscode.DebugConfiguration[] {
    return [ATTACH, LAUNCH];
  }

  resolveDebugConfiguration(
    _folder: vscode.WorkspaceFolder | undefined, configuration: vscode.DebugConfiguration,
  ): vscode.DebugConfiguration {
    // F5 without launch.json comes as an empty configuration.
    return configuration.type ? configuration : { ...ATTACH };
  }

  async resolveDebugConfigurationWithSubstitutedVariables(
    folder: vscode.WorkspaceFolder | undefined, configuration: vscode.DebugConfiguration,
  ): Promise<vscode.DebugConfiguration | undefined> {
    const resolved = { cwd: folder?.uri.fsPath, ...configuration };
    if (configuration.request === 'launch') {
      return resolved;
    }
    if (configuration.pid || configuration.socket) {
      return resolved;
    }
    const named = typeof configuration.filter === 'string' ? configuration.filter : undefined;
    // Several filters of one configuration are one proxy's: the adapter finds it.
    if (Array.isArray(configuration.filter) && configuration.filter.length > 0) {
      return resolved;
    }
    const chosen = await explained(() => pickFilter(named || undefined));
    return chosen && { ...resolved, ...chosen };
  }
}
