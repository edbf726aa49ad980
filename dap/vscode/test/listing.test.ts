// `wasmdbg ps --json` and the filters that can be chosen of it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NotUsable, run } from '../src/binary';
import { choices, named, parse, pid } from '../src/listing';

const WASMDBG = process.env.WASMDBG ?? '';
const FILTER = process.env.FILTER ?? '';

const active = (name: string) => ({ name, module_path: `/etc/${name}.wasm`, state: { state: 'active' } });
const inactive = (name: string, reason: string) => ({ ...active(name), state: { state: 'inactive', reason } });
const proxy = (pid: number | null, filters: object[], further = {}) =>
  ({ pid, process: 'traffic_server', socket: `/run/${pid}/wasmdbg.sock`, status: { filters }, ...further });
const listing = (...proxies: object[]) => parse(JSON.stringify({ schema: 1, proxies }), 'wasmdbg');

test('a live filter is in what the program of this build prints', async () => {
  const found = named(choices(parse(await run(WASMDBG, ['ps', '--json']), WASMDBG)), FILTER);
  assert.equal(found.length, 1);
  assert.equal(found[0].chosen.filter, FILTER);
  assert.match(found[0].description, /^traffic_server \d+$/);
  assert.match(found[0].detail, /\.wasm$/);
  assert.equal(pid(found[0].chosen), found[0].description.split(' ')[1]);
});

test('active filters of all proxies can be chosen', () => {
  const all = choices(listing(
    proxy(7, [active('token'), inactive('broken', 'no module'), active('headers')]),
    proxy(8, [active('token')]),
    { pid: 9, process: 'traffic_server', socket: null, error: 'no permission' },
  ));
  assert.deepEqual(all.map(choice => [choice.label, choice.description, choice.detail, choice.chosen]), [
    ['token', 'traffic_server 7', '/etc/token.wasm', { filter: 'token', pid: 7 }],
    ['headers', 'traffic_server 7', '/etc/headers.wasm', { filter: 'headers', pid: 7 }],
    ['token', 'traffic_server 8', '/etc/token.wasm', { filter: 'token', pid: 8 }],
  ]);
  assert.equal(named(all, undefined).length, 3);
  assert.deepEqual(named(all, 'token').map(choice => choice.chosen.pid), [7, 8]);
  assert.throws(() => named(all, 'other'), { message: 'No live filter is named other; there are token, headers, token' });
});

test('a proxy whose process cannot be seen is named by its socket', () => {
  const [choice] = choices(listing(proxy(null, [active('token')], { process: null, socket: '/run/a b.sock' })));
  assert.equal(choice.description, 'proxy');
  assert.deepEqual(choice.chosen, { filter: 'token', socket: '/run/a b.sock' });
  assert.throws(() => pid(choice.chosen), { message:
    'This user cannot see the process of token: in launch.json replace "pid" by "socket": "/run/a b.sock"' });
});

test('when there is nothing to choose, it is said why', () => {
  const why = (...proxies: object[]) => {
    try { return choices(listing(...proxies)); } catch (error) { return (error as Error).message; }
  };
  assert.equal(why(), 'No running proxy has wasmdbg.so loaded. Start it, or give "socket" in launch.json');
  assert.equal(
    why({ pid: 9, process: 'traffic_server', socket: '/x', error: 'user 1000 is not named in `control.users`' },
      proxy(8, [inactive('token', 'cannot read /etc/token.wasm')]), proxy(7, [])),
    'No filter can be debugged: user 1000 is not named in `control.users`; token is inactive: cannot read '
      + '/etc/token.wasm; traffic_server has no filter');
});

test('what is no list of this form is told with who must be updated', () => {
  for (const printed of ['', 'usage: wasmdbg', '{"schema": 1, "proxies": [', 'null', '[]', '{"proxies": []}',
    '{"schema": 1}', '{"schema": "1", "proxies": []}', '{"schema": 0, "proxies": []}']) {
    assert.throws(() => parse(printed, '/opt/wasmdbg'),
      (error: unknown) => error instanceof NotUsable && error.message.startsWith('/opt/wasmdbg ps --json printed no list'),
      printed);
  }
  assert.throws(() => parse('{"schema": 2, "filters": []}', 'wasmdbg'), { message: /newer form: update the extension/ });
  // Fields can come without a new version.
  assert.deepEqual(parse('{"schema": 1, "proxies": [], "more": 1}', 'wasmdbg'), { proxies: [] });
});
