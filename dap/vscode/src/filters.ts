// The live filters of this machine, as `wasmdbg ps --json` lists them, and the choice of one.

import * as vscode from 'vscode';
import { checked, program, run } from './binary';

/** What is needed of docs/PS_JSON.md. */
interface Listing {
  schema: number;
  proxies: Proxy[];
}

interface Proxy {
  pid: number | null;
  process: string | null;
  socket: string | null;
  host?: string;
  error?: string;
  status?: { filters: Filter[] };
}

interface Filter {
  name: string;
  module_path: string;
  state: { state: 'active' } | { state: 'inactive'; reason: string };
}

/** A filter of a proxy, as launch.json names it. */
export interface Chosen {
  pid?: number;
  socket?: string;
  filter: string;
}

interface Item extends vscode.QuickPickItem {
  chosen: Chosen;
}

async function list(): Promise<Listing> {
  const listing = JSON.parse(await run(await checked(program()), ['ps', '--json'])) as Listing;
  if (listing.schema !== 1) {
    throw new Error('this wasmdbg lists filters in a newer form: update the extension');
  }
  return listing;
}

/** All filters that can be attached to; throws with the reason when there is none. */
async function items(): Promise<Item[]> {
  const { proxies } = await list();
  const found = proxies.flatMap(proxy => (proxy.status?.filters ?? [])
    .filter(filter => filter.state.state === 'active')
    .map(filter => ({
      label: filter.name,
      description: `${proxy.process ?? 'proxy'} ${proxy.pid ?? ''}`.trim(),
      detail: filter.module_path,
      chosen: {
        filter: filter.name,
        // The socket tells proxies in containers apart.
        ...(proxy.pid !== null ? { pid: proxy.pid } : { socket: proxy.socket ?? undefined }),
      },
    })));
  if (found.length === 0) {
    const why = proxies.map(proxy => proxy.error ?? 'no filter of it is active').filter(Boolean);
    throw new Error(why.length > 0
      ? `No filter can be debugged: ${why.join('; ')}`
      : 'No running proxy has wasmdbg.so loaded. Start it, or give "socket" in launch.json');
  }
  return found;
}

/** Lets the user choose a filter; the only one there is needs no choice. */
export async function pickFilter(name?: string): Promise<Chosen | undefined> {
  const all = await items();
  const fitting = name === undefined ? all : all.filter(item => item.chosen.filter === name);
  if (fitting.length === 0) {
    throw new Error(`No live filter is named ${name}; there are ${all.map(item => item.label).join(', ')}`);
  }
  if (fitting.length === 1) {
    return fitting[0].chosen;
  }
  const placeHolder = 'The filter to debug: requests that match stop, all others are served';
  return (await vscode.window.showQuickPick(fitting, { placeHolder, matchOnDescription: true, matchOnDetail: true }))
    ?.chosen;
}
