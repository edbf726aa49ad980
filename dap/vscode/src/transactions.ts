// The view "Filter transactions".

import * as vscode from 'vscode';
import { Answer, Row, rows } from './rows';

/** How often the ages are read again while the view is open. */
const PERIOD_MS = 1000;

export class Transactions
  implements vscode.TreeDataProvider<Row>, vscode.DebugAdapterTrackerFactory, vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<void>();
  readonly onDidChangeTreeData = this.changed.event;
  private readonly timer = setInterval(() => {
    if (this.live && this.shown) { this.refresh(); }
  }, PERIOD_MS);
  /** Requests were listed when last asked: their ages move. */
  private shown = false;

  private get live(): vscode.DebugSession | undefined {
    const session = vscode.debug.activeDebugSession;
    return session?.type === 'wasmdbg' ? session : undefined;
  }

  refresh(): void {
    this.changed.fire();
  }

  createDebugAdapterTracker(): vscode.DebugAdapterTracker {
    const news = new Set(['thread', 'stopped', 'continued', 'terminated']);
    return {
      onDidSendMessage: (message: { type: string; event?: string }) => {
        if (message.type === 'event' && news.has(message.event ?? '')) { this.refresh(); }
      },
      onExit: () => this.refresh(),
    };
  }

  getTreeItem(row: Row): vscode.TreeItem {
    const item = new vscode.TreeItem(row.label);
    item.description = row.description;
    item.tooltip = row.tooltip;
    item.iconPath = new vscode.ThemeIcon(row.icon);
    return item;
  }

  async getChildren(row?: Row): Promise<Row[]> {
    let found: Row[] = [];
    if (!row && this.live) {
      try {
        found = rows(await this.live.customRequest('wasmdbg/transactions') as Answer);
      } catch {
        // The session is not attached yet, or over.
      }
    }
    this.shown = found.length > 0;
    return found;
  }

  dispose(): void {
    clearInterval(this.timer);
    this.changed.dispose();
  }
}
