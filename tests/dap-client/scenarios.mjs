// `wasmdbg dap` as the protocol's own test client sees it: a launch in the small proxy, an attach to a live one.
//
// usage: node scenarios.mjs PLAN.json
//   { client, wasmdbg, program, requests, source, line, next, token, pid, url, header, value }
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const plan = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const { DebugClient } = createRequire(path.join(plan.client, 'package.json'))('@vscode/debugadapter-testsupport');
const PATIENCE = 60000;
const breakpoint = { path: plan.source, line: plan.line };

async function session(work) {
  const client = new DebugClient(plan.wasmdbg, 'dap', 'wasmdbg');
  client.defaultTimeout = PATIENCE;
  await client.start();
  try {
    await work(client);
  } finally {
    await client.stop();
  }
}
const refused = async (promise, reason) => assert.rejects(promise, error => reason.test(error.message));
const top = async (client, threadId) => (await client.stackTraceRequest({ threadId })).body.stackFrames[0];
async function locals(client, frame) {
  const { scopes } = (await client.scopesRequest({ frameId: frame.id })).body;
  const { variablesReference } = scopes.find(scope => scope.name === 'Locals');
  return (await client.variablesRequest({ variablesReference })).body.variables;
}
/** What everybody asks at the stop at `plan.line`; steps once. */
async function lookAround(client, threadId) {
  const frame = await top(client, threadId);
  assert.equal(frame.line, plan.line);
  assert.equal((await locals(client, frame)).find(({ name }) => name === 'token').value, plan.token);
  const watched = await client.evaluateRequest({ expression: 'token * 2', frameId: frame.id, context: 'watch' });
  assert.equal(watched.body.result, String(BigInt(plan.token) * 2n));
  const header = await client.evaluateRequest({ expression: '$req["token"]', frameId: frame.id, context: 'hover' });
  assert.equal(header.body.result, `"${plan.token}"`);
  await refused(client.evaluateRequest({ expression: 'no_such', frameId: frame.id, context: 'watch' }), /no_such/);
  assert.ok((await client.modulesRequest({})).body.modules.length > 0);
  await Promise.all([client.nextRequest({ threadId }), client.waitForEvent('stopped')]);
  assert.equal((await top(client, threadId)).line, plan.next);
}

const scenarios = {
  async 'a launch stops at a breakpoint, is looked at, and ends with its last request'() {
    await session(async client => {
      const ended = Promise.all([client.waitForEvent('exited'), client.waitForEvent('terminated')]);
      const launch = { program: plan.program, requests: plan.requests };
      await client.hitBreakpoint(launch, breakpoint);
      const { threads } = (await client.threadsRequest()).body;
      const { id } = threads.find(({ name }) => name.startsWith('GET /played'));
      await lookAround(client, id);
      await client.continueRequest({ threadId: id });
      await ended;
    });
  },
  async 'a launch that stops on entry is restarted and terminated'() {
    await session(async client => {
      const entry = () => client.assertStoppedLocation('entry', {});
      const launch = { program: plan.program, listen: '127.0.0.1:0', stopOnEntry: true };
      await Promise.all([client.configurationSequence(), client.launch(launch), entry()]);
      await Promise.all([client.restartRequest({}), entry()]);
      await Promise.all([client.terminateRequest(), client.waitForEvent('terminated')]);
    });
  },
  async 'a live filter stops one request'() {
    let held;
    await session(async client => {
      const attach = { pid: plan.pid, when: `header:${plan.header}=${plan.value}` };
      const told = await client.initializeRequest();
      assert.ok(Object.values(told.body).filter(value => value === true).length >= 26);
      await Promise.all([client.waitForEvent('initialized'), client.attachRequest(attach)]);
      const set = await client.setBreakpointsRequest({ source: { path: plan.source }, breakpoints: [breakpoint] });
      assert.equal(set.body.breakpoints[0].verified, true);
      const ask = headers => fetch(plan.url, { headers: { token: plan.token, ...headers } });
      await client.configurationDoneRequest();
      const stopped = client.waitForEvent('stopped');
      const answer = ask({ [plan.header]: plan.value });
      const { threadId } = (await stopped).body;
      assert.equal((await ask({})).status, 200, 'everybody else is served');
      await lookAround(client, threadId);
      await client.continueRequest({ threadId });
      assert.equal((await answer).status, 200);
      const again = client.waitForEvent('stopped');
      held = ask({ [plan.header]: plan.value });
      await again;
    });
    assert.equal((await held).status, 200, 'what a client held goes on when it leaves');
  },
  async 'what is asked too early or wrongly is refused, and the session lives'() {
    await session(async client => {
      await refused(client.stackTraceRequest({ threadId: 7 }), /attached/);
      await refused(client.continueRequest({ threadId: 1 }), /attached/);
      await client.initializeRequest();
      await refused(client.launchRequest({}), /program/);
      await refused(client.attachRequest({ socket: '/nowhere' }), /nowhere/);
      await refused(client.customRequest('no-such-request'), /no-such-request/);
      await Promise.all([
        client.waitForEvent('initialized'), client.launchRequest({ program: plan.program, listen: '127.0.0.1:0' }),
      ]);
      await refused(client.attachRequest({ pid: plan.pid }), /attached already/);
    });
  },
};

let failed = 0;
for (const [name, scenario] of Object.entries(scenarios)) {
  try {
    await scenario();
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}: ${error.stack}`);
  }
}
process.exit(failed === 0 ? 0 : 1);
