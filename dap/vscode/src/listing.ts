// The live filters of this machine, as `wasmdbg ps --json` lists them, and what can be chosen of them.

import { NotUsable } from './binary';

/** What is needed of docs/PS_JSON.md. */
export interface Listing {
  proxies: Proxy[];
}

interface Proxy {
  pid: number | null;
  process: string | null;
  socket: string | null;
  error?: string;
  status?: { filters: Filter[] };
}

interface Filter {
  name: string;
  module_path: string;
  state: { state: 'active' } | { state: 'inactive'; reason: string };
}

/** The version of the form. */
const SCHEMA = 1;

/** A filter of a proxy, as launch.json names it. */
export interface Chosen {
  pid?: number;
  socket?: string;
  filter: string;
}

/** A filter as the user chooses it. */
export interface Choice {
  label: string;
  description: string;
  detail: string;
  chosen: Chosen;
}

/** Reads what `program ps --json` has printed. */
export function parse(printed: string, program: string): Listing {
  let listing: { schema?: unknown; proxies?: unknown };
  try {
    listing = JSON.parse(printed);
  } catch {
    throw new NotUsable(`${program} ps --json printed no list of filters: set "wasmdbg.path" to the wasmdbg program`);
  }
  if (typeof listing?.schema === 'number' && listing.schema > SCHEMA) {
    throw new Error('this wasmdbg lists filters in a newer form: update the extension');
  }
  if (listing?.schema !== SCHEMA || !Array.isArray(listing.proxies)) {
    throw new NotUsable(`${program} ps --json printed no list of filters that is known here: update wasmdbg`);
  }
  return { proxies: listing.proxies };
}

/** All filters that can be attached to; throws with the reason when there is none. */
export function choices({ proxies }: Listing): Choice[] {
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
    const why = proxies.flatMap(reasons);
    throw new Error(why.length > 0
      ? `No filter can be debugged: ${why.join('; ')}`
      : 'No running proxy has wasmdbg.so loaded. Start it, or give "socket" in launch.json');
  }
  return found;
}

/** Why nothing of a proxy can be debugged. */
function reasons(proxy: Proxy): string[] {
  const filters = (proxy.status?.filters ?? []).flatMap(({ name, state }) =>
    state.state === 'inactive' ? [`${name} is inactive: ${state.reason}`] : []);
  return filters.length > 0 ? filters : [proxy.error ?? `${proxy.process ?? 'a proxy'} has no filter`];
}

/** Those of this name; throws with the names that there are. */
export function named(all: Choice[], name: string | undefined): Choice[] {
  const fitting = name === undefined ? all : all.filter(choice => choice.chosen.filter === name);
  if (fitting.length === 0) {
    throw new Error(`No live filter is named ${name}; there are ${all.map(choice => choice.label).join(', ')}`);
  }
  return fitting;
}

/** What `"pid": "${command:wasmdbg.pickProxy}"` becomes. */
export function pid(chosen: Chosen): string {
  if (chosen.pid === undefined) {
    throw new Error(`This user cannot see the process of ${chosen.filter}: in launch.json replace "pid" by `
      + `"socket": ${JSON.stringify(chosen.socket)}`);
  }
  return String(chosen.pid);
}
