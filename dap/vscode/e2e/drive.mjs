// Drives a real VS Code (code-server and a headless Chromium) through a debug session with the packaged
// extension, as a user would, and writes every DAP message into a file. Exit code 0: all of it worked.
//
// usage: node drive.mjs PLAN.json
//   { tools, vsix, wasmdbg, workspace, source, line, next, filter, launch, run, token, conditional, proxy, images,
//     trace, work, port }
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { launch, until } from './browser.mjs';

const plan = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const started = Date.now();
const say = text => console.log(`${((Date.now() - started) / 1000).toFixed(1).padStart(6)} s  ${text}`);
const file = (name, content) => {
  fs.mkdirSync(path.dirname(name), { recursive: true });
  fs.writeFileSync(name, typeof content === 'string' ? content : JSON.stringify(content, null, 2));
};
const extensions = path.join(plan.work, 'extensions');
const data = path.join(plan.work, 'data');
const orders = path.join(plan.work, 'orders.json');

// --- settings, launch.json, and an extension that writes what is said and obeys orders ------------------

const settings = {
  'wasmdbg.path': plan.wasmdbg, 'workbench.startupEditor': 'none', 'security.workspace.trust.enabled': false,
  'telemetry.telemetryLevel': 'off', 'extensions.ignoreRecommendations': true, 'extensions.autoUpdate': false,
  'extensions.autoCheckUpdates': false, 'chat.disableAIFeatures': true, 'chat.commandCenter.enabled': false,
  'workbench.secondarySideBar.defaultVisibility': 'hidden', 'workbench.enableExperiments': false,
  'workbench.tips.enabled': false, 'git.enabled': false, 'editor.minimap.enabled': false,
  'debug.openDebug': 'openOnDebugBreak', 'debug.internalConsoleOptions': 'openOnSessionStart',
  'debug.inlineValues': 'off', 'remote.autoForwardPorts': false, 'debug.toolBarLocation': 'docked', 'workbench.colorTheme': 'Default Light Modern',
};
function profile() {
  file(path.join(data, 'User/settings.json'), settings);
  // Machine-scoped settings are read from here only.
  file(path.join(data, 'Machine/settings.json'), { 'wasmdbg.path': plan.wasmdbg });
  file(path.join(plan.workspace, '.vscode/launch.json'), {
    version: '0.2.0',
    configurations: [
      { type: 'wasmdbg', request: 'attach', name: 'Attach to a live filter', ...plan.launch },
      { type: 'wasmdbg', request: 'launch', name: 'Run the filter', ...plan.run },
    ],
  });
  fs.rmSync(plan.trace, { force: true });
  file(orders, { breakpoints: [] });
}
function listener() {
  const folder = path.join(extensions, 'e2e.listener-0.0.1');
  file(path.join(folder, 'package.json'), {
    name: 'listener', publisher: 'e2e', version: '0.0.1', engines: { vscode: '^1.60.0' }, main: './main.js',
    activationEvents: ['*'],
  });
  file(path.join(folder, 'main.js'), `
    const vscode = require('vscode'), fs = require('fs');
    const write = (from, message) =>
      fs.appendFileSync(${JSON.stringify(plan.trace)}, JSON.stringify({ from, message }) + '\\n');
    exports.activate = context => {
      context.subscriptions.push(vscode.debug.registerDebugAdapterTrackerFactory('wasmdbg', {
        createDebugAdapterTracker: () => ({
          onWillReceiveMessage: message => write('client', message),
          onDidSendMessage: message => write('adapter', message),
          onError: error => write('error', String(error)),
        }),
      }));
      // Breakpoints with conditions are set through the editor's own interface; its menus move too much.
      fs.watchFile(${JSON.stringify(orders)}, { interval: 100 }, () => {
        const wanted = JSON.parse(fs.readFileSync(${JSON.stringify(orders)}, 'utf8'));
        vscode.debug.removeBreakpoints(vscode.debug.breakpoints);
        vscode.debug.addBreakpoints(wanted.breakpoints.map(one => new vscode.SourceBreakpoint(
          new vscode.Location(vscode.Uri.file(one.path), new vscode.Position(one.line - 1, 0)),
          true, one.condition, one.hitCondition, one.logMessage)));
        if (wanted.start) { vscode.debug.startDebugging(vscode.workspace.workspaceFolders[0], wanted.start); }
      });
    };`);
  // A folder that this list does not have is no extension.
  const list = path.join(extensions, 'extensions.json');
  const known = JSON.parse(fs.readFileSync(list, 'utf8'));
  known.push({
    identifier: { id: 'e2e.listener' }, version: '0.0.1', relativeLocation: path.basename(folder),
    location: { $mid: 1, path: folder, scheme: 'file' },
  });
  file(list, known);
}

// --- processes -------------------------------------------------------------------------------------------

const node = path.join(plan.tools, 'node');
const log = fs.openSync(path.join(plan.work, 'code-server.log'), 'a');
function server(options) {
  const entry = path.join(plan.tools, 'node_modules/code-server/out/node/entry.js');
  const env = { ...process.env, XDG_CONFIG_HOME: plan.work, XDG_DATA_HOME: plan.work, VSCODE_CLI: '1' };
  for (const name of ['PASSWORD', 'PORT', 'VSCODE_IPC_HOOK_CLI']) { delete env[name]; }
  return spawn(node, [entry, '--user-data-dir', data, '--extensions-dir', extensions, ...options],
    { env, cwd: plan.work, stdio: ['ignore', log, log], detached: true });
}
const ended = process => new Promise(resolve => process.once('exit', resolve));
const accepts = () => new Promise(resolve => {
  const socket = net.connect(plan.port, '127.0.0.1', () => { socket.destroy(); resolve(true); });
  socket.on('error', () => resolve(false));
});

/** Ends a process and what it has started. */
async function end(process_) {
  if (process_.exitCode !== null) { return; }
  const over = ended(process_);
  for (const signal of ['SIGTERM', 'SIGKILL']) {
    try { process.kill(-process_.pid, signal); } catch { return; }
    if (await Promise.race([over.then(() => true), new Promise(resolve => setTimeout(resolve, 4000))])) { return; }
  }
}

// --- what was said ---------------------------------------------------------------------------------------

const messages = () => fs.existsSync(plan.trace)
  ? fs.readFileSync(plan.trace, 'utf8').split('\n').filter(Boolean).map(line => JSON.parse(line)) : [];
const events = name => messages().filter(({ message }) => message.type === 'event' && message.event === name);

// --- the screen ------------------------------------------------------------------------------------------

let page;
const picture = name => page.screenshot({ path: path.join(plan.images, name) });
const stoppedLine = () => page.evaluate(() => {
  const mark = document.querySelector('.editor-instance .view-overlays .debug-top-stack-frame-line');
  if (!mark) { return null; }
  const top = mark.getBoundingClientRect().top;
  const numbers = [...document.querySelectorAll('.editor-instance .margin-view-overlays .line-numbers')];
  return Number(numbers.find(number => Math.abs(number.getBoundingClientRect().top - top) < 4)?.textContent) || null;
});
const stopsAt = line => until(`a stop at line ${line}`, async () => (await stoppedLine()) === line);
const variable = (name, value) => until(`${name} is ${value} in Variables`, async () => {
  const rows = page.locator('.debug-variables .monaco-list-row');
  const closed = page.locator('.debug-variables .monaco-list-row[aria-level="1"][aria-expanded=false]')
    .filter({ hasText: /^\s*Locals/ }).first();
  if (await closed.count()) { await closed.locator('.monaco-tl-twistie').click(); }
  return (await rows.evaluateAll(list => list.map(row => [
    row.querySelector('.expression .name')?.textContent.replace(/[:=\s]+$/, ''),
    row.querySelector('.expression .value')?.textContent,
  ]))).some(([found, shown]) => found === name && shown === value);
});
async function hover(word, value) {
  const place = await page.evaluate(text => {
    const top = document.querySelector('.editor-instance .view-overlays .debug-top-stack-frame-line')
      .getBoundingClientRect().top;
    for (const span of document.querySelectorAll('.editor-instance .view-line span span')) {
      const at = span.textContent.search(new RegExp(`\\b${text}\\b`));
      if (at < 0 || Math.abs(span.getBoundingClientRect().top - top) > 4) { continue; }
      const range = document.createRange();
      range.setStart(span.firstChild, at);
      range.setEnd(span.firstChild, at + text.length);
      const box = range.getBoundingClientRect();
      return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
    }
    return null;
  }, word);
  if (!place) { throw new Error(`no ${word} on the stopped line`); }
  await until(`a hover over ${word} with ${value}`, async () => {
    await page.mouse.move(5, 5);
    await page.mouse.move(place.x, place.y, { steps: 4 });
    await page.waitForSelector('.debug-hover-widget .value', { timeout: 3000 }).catch(() => {});
    return (await page.locator('.debug-hover-widget').innerText().catch(() => '')).includes(value);
  });
}
const consoleText = async () => (await page.locator('.repl .repl-tree').innerText()).replace(/\u00a0/g, ' ');
async function evaluate(expression, result) {
  await page.locator('.repl-input-wrapper .monaco-editor').click();
  await page.keyboard.type(expression);
  await page.keyboard.press('Escape');
  await page.keyboard.press('Enter');
  await until(`${expression} gives ${result}`, async () =>
    (await consoleText()).split(expression).slice(1).join(expression).includes(result));
}
async function clickGutter(line) {
  const mark = page.locator('.editor-instance .glyph-margin-widgets [class*="codicon-debug-breakpoint"]');
  // Until the extensions are up, a click sets nothing.
  await until('a breakpoint in the gutter', async () => {
    if (await mark.count()) { return true; }
    const number = await page.locator('.editor-instance .margin-view-overlays .line-numbers')
      .filter({ hasText: new RegExp(`^\\s*${line}\\s*$`) }).first().boundingBox();
    const margin = await page.locator('.editor-instance .margin').first().boundingBox();
    await page.mouse.click(margin.x + 10, number.y + number.height / 2);
    return mark.first().waitFor({ timeout: 1500 }).then(() => true, () => false);
  });
}
const pane = title => page.locator('.pane')
  .filter({ has: page.locator('.pane-header .title', { hasText: new RegExp(`^${title}$`, 'i') }) });
async function watch(expression, value) {
  const found = pane('Watch');
  await found.locator('.pane-header').hover();
  await found.locator('[aria-label^="Add Expression"]').first().click();
  await found.locator('input').first().waitFor();
  await page.keyboard.type(expression);
  await page.keyboard.press('Enter');
  await until(`${expression} is ${value} in Watch`, async () => (await found.innerText()).includes(value));
}
async function transactions(text) {
  const found = pane('Filter transactions');
  if (await found.locator('.pane-header[aria-expanded=false]').count()) { await found.locator('.pane-header').click(); }
  await until(`${text} among the transactions`, async () =>
    (await found.innerText()).replace(/\u00a0/g, ' ').includes(text));
}

async function scenario() {
  await clickGutter(plan.line);
  say('a click into the gutter has set a breakpoint');
  await page.keyboard.press('Control+Shift+D');
  await page.waitForSelector('.debug-variables');
  await page.keyboard.press('F5');
  const choice = page.locator('.quick-input-list .monaco-list-row').filter({ hasText: plan.filter }).first();
  await choice.waitFor({ timeout: 20000 });
  await picture('filters.png');
  await choice.click();
  say(`${plan.filter} chosen from the list of live filters`);
  await stopsAt(plan.line);
  say('stopped');
  await variable('token', plan.token);
  await until('judge in the call stack', async () =>
    (await page.locator('.debug-call-stack').innerText()).includes('judge'));
  await hover('token', plan.token);
  say('variables, call stack, hover');
  await evaluate('token + 1', String(BigInt(plan.token) + 1n));
  await evaluate('transactions', 'stopped in proxy_on_request_headers');
  await watch('token * 2', String(BigInt(plan.token) * 2n));
  await transactions('stopped in proxy_on_request_headers');
  say('debug console, watch, view of transactions');
  await page.mouse.move(700, 895);
  await picture('stopped.png');
  await page.keyboard.press('F10');
  await stopsAt(plan.next);
  say('stepped over');
  file(orders, { breakpoints: plan.conditional });
  await until('the conditional breakpoint and the log point at the adapter', async () =>
    messages().some(({ message }) => message.command === 'setBreakpoints' && message.success
      && message.body.breakpoints.filter(one => one.verified).length === plan.conditional.length));
  const before = events('stopped').length;
  await page.keyboard.press('F5');
  await until('a stop where the condition holds', async () => events('stopped').length > before);
  await stopsAt(plan.conditional[0].line);
  await evaluate(plan.conditional[0].expression, plan.conditional[0].value);
  await until('what the log point says', async () => (await consoleText()).includes(plan.conditional[1].says));
  say('condition and log point');
  await picture('condition.png');
  await restarted();
  await page.keyboard.press('Shift+F5');
  await until('the end of the session', async () => !(await page.locator('.debug-top-stack-frame-line').count())
    && messages().some(({ message }) => message.command === 'disconnect' && message.success));
  // VS Code cancels what it shows no more, asks for what has just gone on, and calls the adapter's end after
  // its disconnect an error; the watch is about a variable that the inner function lacks, or the proxy is gone.
  const expected = /^cancelled$|is over$|^no variable `token`|not stopped$|^the proxy is gone/;
  const ending = messages().findIndex(({ message }) => message.command === 'disconnect');
  const failed = messages().filter(({ from, message }, index) => from === 'error' ? index < ending
    : message.success === false && !expected.test(message.message));
  if (failed.length > 0) { throw new Error(`failed: ${JSON.stringify(failed)}`); }
  say(`ended, after ${messages().length} messages`);
  await launched();
}

/** The proxy goes while a request stands at the conditional breakpoint, and comes back. */
async function restarted() {
  const told = text => until(`the console says ${text}`, async () => (await consoleText()).includes(text));
  file(plan.proxy, 'gone');
  await told('waiting 1m for the proxy to come back');
  await until('that nothing stands', async () =>
    !(await page.locator('.debug-top-stack-frame-line, .debug-variables .monaco-list-row').count()));
  await until('no request in the view', async () =>
    (await pane('Filter transactions').innerText()).replace(/\u00a0/g, ' ').includes('No request is in the debugger'));
  await until('a notification', async () =>
    (await page.locator('.notifications-toasts').innerText()).includes('The proxy is gone'));
  await until('the breakpoints to be hollow', async () =>
    await page.locator('.debug-breakpoints [class*="-unverified"]').count() === plan.conditional.length);
  await picture('gone.png');
  const before = events('stopped').length;
  file(plan.proxy, 'back');
  await told('attached again');
  await until('a stop in the new proxy', async () => events('stopped').length > before);
  await stopsAt(plan.conditional[0].line);
  await evaluate(`${plan.conditional[0].expression} + 1`, String(Number(plan.conditional[0].value) + 1));
  say('the proxy was restarted, and a request stops again');
  await picture('back.png');
}

/** The same filter in a proxy of its own: no other one is needed. */
async function launched() {
  const before = messages().length;
  const since = () => messages().slice(before);
  file(orders, { breakpoints: [{ path: plan.source, line: plan.line }], start: 'Run the filter' });
  await stopsAt(plan.line);
  await variable('token', plan.token);
  await evaluate('$path', '/played');
  await page.mouse.move(700, 895);
  say('launched, and stopped in a request of the file');
  await picture('launched.png');
  await page.keyboard.press('F5');
  await until('the end of the launched proxy', () => ['exited', 'terminated'].every(name =>
    since().some(({ message }) => message.type === 'event' && message.event === name)));
  await until('what its callbacks did', async () => (await consoleText()).includes('client: 200'));
  await until('the end of the session', () =>
    since().some(({ message }) => message.command === 'disconnect' && message.success));
  say('the requests are played, and it is over');
}

let browser, code, result = 1;
try {
  profile();
  const installed = await ended(server(['--install-extension', plan.vsix, '--force']));
  if (installed !== 0) { throw new Error('the extension was not installed: see code-server.log'); }
  listener();
  code = server(['--bind-addr', `127.0.0.1:${plan.port}`, '--auth', 'none', '--disable-telemetry',
    '--disable-update-check', '--disable-workspace-trust', '--disable-getting-started-override', plan.workspace]);
  await until('code-server', () => {
    if (code.exitCode !== null) { throw new Error('code-server has ended: see code-server.log'); }
    return accepts();
  });
  browser = await launch(plan.tools, path.join(plan.work, 'chromium'), { width: 1400, height: 900 });
  page = browser.pages()[0] ?? await browser.newPage();
  page.setDefaultTimeout(30000);
  const open = [['gotoLineMode', 'true'], ['openFile', `vscode-remote://127.0.0.1:${plan.port}${plan.source}:${plan.line}`]];
  await page.goto(`http://127.0.0.1:${plan.port}/?folder=${encodeURIComponent(plan.workspace)}`
    + `&payload=${encodeURIComponent(JSON.stringify(open))}`, { waitUntil: 'domcontentloaded' });
  await page.waitForSelector(`.tab.active[data-resource-name="${path.basename(plan.source)}"]`);
  await until('the line', async () => (await page.locator('.editor-instance .active-line-number').allInnerTexts())
    .some(text => text.trim() === String(plan.line)));
  say('VS Code is open at the line');
  await scenario();
  result = 0;
} catch (error) {
  say(`FAILED: ${error.message.split('\n')[0]}`);
  await picture('failed.png').catch(() => {});
}
await browser?.close().catch(() => {});
if (code) { await end(code); }
process.exit(result);
