// Debug configurations, completed before a session starts.

import * as vscode from 'vscode';
import { explained } from './explained';
import { pickFilter } from './filters';
import { ATTACH, LAUNCH, orAttach, resolve } from './resolving';

export class Configurations implements vscode.DebugConfigurationProvider {
  provideDebugConfigurations(): vscode.DebugConfiguration[] {
    return [ATTACH, LAUNCH];
  }

  resolveDebugConfiguration(
    _folder: vscode.WorkspaceFolder | undefined, configuration: vscode.DebugConfiguration,
  ): vscode.DebugConfiguration {
    return orAttach(configuration);
  }

  async resolveDebugConfigurationWithSubstitutedVariables(
    folder: vscode.WorkspaceFolder | undefined, configuration: vscode.DebugConfiguration,
  ): Promise<vscode.DebugConfiguration | undefined> {
    const resolved = resolve(configuration, folder?.uri.fsPath);
    const { choose } = resolved;
    if (!choose) {
      return resolved.configuration;
    }
    const chosen = await explained(() => pickFilter(choose.name));
    return chosen && { ...resolved.configuration, ...chosen };
  }
}
