// The program: which one is run, and what is said when it cannot be.

import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { checked, chosen, NotUsable, run } from '../src/binary';

const WASMDBG = process.env.WASMDBG ?? '';

let folder: string;
before(() => { folder = mkdtempSync(path.join(tmpdir(), 'wasmdbg-extension-')); });
after(() => rmSync(folder, { recursive: true }));

/** A program that prints and ends. */
function program(name: string, body: string, mode = 0o755): string {
  const file = path.join(folder, name);
  writeFileSync(file, `#!/bin/sh\n${body}\n`);
  chmodSync(file, mode);
  return file;
}

/** Why a program is of no use. */
async function refused(file: string): Promise<string> {
  const error = await checked(file).then(() => undefined, (error: unknown) => error);
  assert.ok(error instanceof NotUsable, `${file}: ${error}`);
  return error.message;
}

test('the setting names the program, or the PATH has it', () => {
  assert.equal(chosen(undefined), 'wasmdbg');
  assert.equal(chosen('  '), 'wasmdbg');
  assert.equal(chosen(' /opt/wasmdbg '), '/opt/wasmdbg');
  assert.equal(chosen('~/bin/wasmdbg'), path.join(homedir(), 'bin/wasmdbg'));
  assert.equal(chosen('~other/wasmdbg'), '~other/wasmdbg');
});

test('the program of this build is new enough', async () => {
  assert.equal(await checked(WASMDBG), WASMDBG);
});

test('versions are compared number by number', async () => {
  for (const version of ['0.1.0', '0.1.12', '0.10.0', '1.0.0-rc.1']) {
    const file = program(`new-${version}`, `echo "wasmdbg ${version}"`);
    assert.equal(await checked(file), file);
  }
  const old = program('old', 'echo "wasmdbg 0.0.99"');
  assert.equal(await refused(old), `${old} is wasmdbg 0.0.99, too old for this extension: it needs 0.1.0 or newer`);
});

test('what is not the program is named with what to do', async () => {
  const absent = path.join(folder, 'absent');
  assert.equal(await refused(absent),
    `${absent} is not found: install wasmdbg, or set "wasmdbg.path" to where it is`);
  const locked = program('locked', 'true', 0o644);
  assert.equal(await refused(locked), `${locked} cannot be run: set "wasmdbg.path" to the wasmdbg program`);
  assert.equal(await refused(folder), `${folder} cannot be run: set "wasmdbg.path" to the wasmdbg program`);
  const other = program('other', 'echo "another 7.0.0"');
  assert.equal(await refused(other), `${other} is not wasmdbg: set "wasmdbg.path"`);
  const broken = program('broken', 'echo "no such library" >&2; exit 127');
  assert.equal(await refused(broken), `${broken} --version failed: no such library`);
});

test('all of a long output comes', async () => {
  const long = program('long', 'head -c 3000000 /dev/zero | tr "\\0" x');
  assert.equal((await run(long, [])).length, 3_000_000);
});
