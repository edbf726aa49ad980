// Debug configurations: what F5 does without launch.json, and what a configuration leaves open.

/** As in launch.json. */
export interface Configuration {
  type: string;
  request: string;
  name: string;
  [key: string]: unknown;
}

export const ATTACH: Configuration = { type: 'wasmdbg', request: 'attach', name: 'Attach to a live filter' };
export const LAUNCH: Configuration = {
  type: 'wasmdbg', request: 'launch', name: 'Run a filter in a proxy of its own',
  program: '${workspaceFolder}/filter.wasm', listen: '127.0.0.1:8080',
};

/** F5 without launch.json comes as an empty configuration. */
export function orAttach(configuration: Configuration): Configuration {
  return configuration.type ? configuration : { ...ATTACH };
}

/** A configuration for the adapter, as far as it is known. */
export interface Resolved {
  configuration: Configuration;
  /** The user must choose a filter first: one of this name, or any. */
  choose?: { name?: string };
}

/** Completes a configuration; `folder` is where sources are, unless it says otherwise. */
export function resolve(configuration: Configuration, folder: string | undefined): Resolved {
  const resolved = { configuration: { cwd: folder, ...configuration } };
  const { pid, socket, filter } = configuration;
  // Several filters of one configuration are one proxy's: the adapter finds it.
  const several = Array.isArray(filter) && filter.length > 0;
  if (configuration.request === 'launch' || pid || socket || several) {
    return resolved;
  }
  return { ...resolved, choose: typeof filter === 'string' && filter ? { name: filter } : {} };
}
