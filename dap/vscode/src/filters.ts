// The choice of a live filter.

import * as vscode from 'vscode';
import { checked, run } from './binary';
import { choices, Chosen, named, parse } from './listing';
import { program } from './settings';

/** Lets the user choose a filter; the only one there is needs no choice. */
export async function pickFilter(name?: string): Promise<Chosen | undefined> {
  const wasmdbg = await checked(program());
  const fitting = named(choices(parse(await run(wasmdbg, ['ps', '--json']), wasmdbg)), name);
  if (fitting.length === 1) {
    return fitting[0].chosen;
  }
  const placeHolder = 'The filter to debug: requests that match stop, all others are served';
  return (await vscode.window.showQuickPick(fitting, { placeHolder, matchOnDescription: true, matchOnDetail: true }))
    ?.chosen;
}
