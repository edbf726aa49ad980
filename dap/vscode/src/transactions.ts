// The view "Filter transactions": the requests in the debugger and what each waits for.

import * as vscode from 'vscode';

/** The answer to the adapter's own request `wasmdbg/transactions`. */
interface Answer {
  transactions: Transaction[];
  fastLane: number;
}

interface Transaction {
  name: string;
  filter: string;
  client: string;
  state: 'running' | 'stopped' | 'queued' | 'paused' | 'proxy';
  detail: string;
  ageMs: number;
}

const ICONS: Record<Transaction['state'], string> = {
  running: 'run', stopped: 'debug-stackframe-dot', queued: 'watch', paused: 'debug-pause', proxy: 'cloud',
};

type Row = Transaction | { fastLane: number };

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
    if ('fastLane' in row) {
      const item = new vscode.TreeItem(`${row.fastLane} more in flight, not debugged`);
      item.iconPath = new vscode.ThemeIcon('arrow-swap');
      return item;
    }
    const item = new vscode.TreeItem(row.name);
    item.description = `${row.detail}, ${(row.ageMs / 1000).toFixed(1)} s`;
    item.tooltip = `${row.name}\nfilter ${row.filter}\nclient ${row.client}\n${row.detail}`;
    item.iconPath = new vscode.ThemeIcon(ICONS[row.state]);
    return item;
  }

  async getChildren(row?: Row): Promise<Row[]> {
    if (row || !this.live) {
      this.shown = false;
      return [];
    }
    try {
      const answer: Answer = await this.live.customRequest('wasmdbg/transactions');
      this.shown = answer.transactions.length > 0;
      return this.shown ? [...answer.transactions, { fastLane: answer.fastLane }] : [];
    } catch {
      // The session is not attached yet, or over.
      this.shown = false;
      return [];
    }
  }

  dispose(): void {
    clearInterval(this.timer);
    this.changed.dispose();
  }
}
