// What the view "Filter transactions" says: the requests in the debugger and what each waits for.

/** The answer to the adapter's own request `wasmdbg/transactions`. */
export interface Answer {
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

/** A line of the view; `icon` is one of the editor's own. */
export interface Row {
  label: string;
  description?: string;
  tooltip?: string;
  icon: string;
}

const ICONS: Record<Transaction['state'], string> = {
  running: 'run', stopped: 'debug-stackframe-dot', queued: 'watch', paused: 'debug-pause', proxy: 'cloud',
};

/** The lines of the view; none while no request is in the debugger. */
export function rows({ transactions, fastLane }: Answer): Row[] {
  if (transactions.length === 0) {
    return [];
  }
  const debugged = transactions.map(({ name, filter, client, state, detail, ageMs }) => ({
    label: name,
    description: `${detail}, ${age(ageMs)}`,
    tooltip: `${name}\nfilter ${filter}\nclient ${client}\n${detail}`,
    icon: ICONS[state],
  }));
  return [...debugged, { label: `${fastLane} more in flight, not debugged`, icon: 'arrow-swap' }];
}

/** `1.5 s`, `3 min 7 s`. */
export function age(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  return seconds < 60 ? `${(Math.floor(ms / 100) / 10).toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
