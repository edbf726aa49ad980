// What becomes of a configuration before the adapter gets it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ATTACH, Configuration, LAUNCH, orAttach, resolve } from '../src/resolving';

const attach = (further: object): Configuration => ({ ...ATTACH, ...further });

test('F5 without launch.json attaches', () => {
  assert.deepEqual(orAttach({} as Configuration), ATTACH);
  assert.notEqual(orAttach({} as Configuration), ATTACH);
  assert.equal(orAttach(LAUNCH), LAUNCH);
});

test('an attach that names no proxy has the user choose a filter', () => {
  assert.deepEqual(resolve(attach({}), '/folder').choose, {});
  assert.deepEqual(resolve(attach({ filter: '' }), '/folder').choose, {});
  assert.deepEqual(resolve(attach({ filter: [] }), '/folder').choose, {});
  assert.deepEqual(resolve(attach({ filter: 'token' }), '/folder').choose, { name: 'token' });
  // What a picked proxy is substituted by when none was picked.
  assert.deepEqual(resolve(attach({ pid: '' }), '/folder').choose, {});
});

test('a proxy or several filters need no choice', () => {
  for (const named of [{ pid: 7 }, { pid: '7' }, { socket: '/run/wasmdbg.sock' }, { filter: ['a', 'b'] },
    { pid: 7, filter: 'token' }]) {
    assert.equal(resolve(attach(named), '/folder').choose, undefined, JSON.stringify(named));
  }
  assert.equal(resolve(LAUNCH, '/folder').choose, undefined);
});

test('sources are looked for in the folder unless the configuration says otherwise', () => {
  assert.deepEqual(resolve(LAUNCH, '/folder').configuration, { ...LAUNCH, cwd: '/folder' });
  assert.equal(resolve(attach({ pid: 7, cwd: '/other' }), '/folder').configuration.cwd, '/other');
  assert.equal(resolve(attach({ pid: 7 }), undefined).configuration.cwd, undefined);
  const all = { pid: 7, when: ['path:/a'], deadline: 90, reconnect: 0, unheardOf: true };
  assert.deepEqual(resolve(attach(all), '/folder').configuration, { ...ATTACH, ...all, cwd: '/folder' });
});
