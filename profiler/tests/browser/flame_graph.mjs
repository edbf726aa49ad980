// Reads a flame graph as a user does: searches, zooms, points at frames. What must be seen comes from the same
// recording's own figures. Exit code 0: all of it was so.
//
// usage: node flame_graph.mjs PLAN.json
//   { tools, work, images, svg, title, figures, kinds, searches, zoom, line, exact }
//   kinds: { LEGEND: NAME }, a frame for each entry of the legend
//   searches: [{ term, frames: [NAME], percent }]
//   zoom: { name, callers: [NAME], inner: NAME, others: [NAME] }
//   line: { name, percent }
//   exact: names with characters that mean something in XML
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import fs from 'node:fs';
import { launch, until } from '../../../dap/vscode/e2e/browser.mjs';

const plan = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const HIGHLIGHT = 'rgb(230,0,230)';
let page;

function check(holds, what) {
  if (!holds) { throw new Error(what); }
}
const near = (a, b, by) => Math.abs(a - b) <= by;

/** All frames: name, title, colour, how wide they are in percent, and whether they are to be seen. */
const frames = () => page.evaluate(() => [...document.querySelectorAll('#frames > g')].map(g => {
  const title = g.querySelector('title').textContent;
  const rect = g.querySelector('rect');
  const box = rect.getBoundingClientRect();
  return {
    title, name: title.replace(/ \([^(]*\)$/, ''), fill: rect.getAttribute('fill').replace(/\s/g, ''),
    width: parseFloat(rect.getAttribute('width')), left: parseFloat(rect.getAttribute('x')),
    seen: getComputedStyle(g).display !== 'none' && box.width > 0, opacity: Number(getComputedStyle(g).opacity),
    text: g.querySelector('text').textContent, written: g.querySelector('text').getComputedTextLength(),
    pixels: box.width,
  };
}));
const widest = (list, name) => list.filter(frame => frame.name === name).sort((a, b) => b.width - a.width)[0];
const text = id => page.evaluate(id => document.getElementById(id).textContent, id);
const isShown = id => page.evaluate(id => getComputedStyle(document.getElementById(id)).display !== 'none', id);
/** Clicks into the widest frame of a name. */
const click = name => page.evaluateHandle(name => [...document.querySelectorAll('#frames > g')]
  .filter(g => g.querySelector('title').textContent.replace(/ \([^(]*\)$/, '') === name)
  .sort((a, b) => b.getBoundingClientRect().width - a.getBoundingClientRect().width)[0].querySelector('rect'), name)
  .then(handle => handle.asElement().click({ position: { x: 2, y: 8 } }));

const HEIGHT = 900;

/** What is said of the graph stands above it, to be seen without scrolling, and nothing lies over anything. */
async function layout(width) {
  await page.setViewportSize({ width, height: HEIGHT });
  await until('the graph to fill the window', () => page.evaluate(() =>
    Number(document.getElementById('frames').getAttribute('width')) === document.documentElement.clientWidth - 20));
  const boxes = await page.evaluate(() => {
    const box = (what, element) => {
      const { left, right, top, bottom } = element.getBoundingClientRect();
      return { what, left, right, top, bottom };
    };
    const said = [...document.querySelectorAll('#title, #subtitle, #search, #unzoom, #details, #matched, #legend text')];
    const frames = [...document.querySelectorAll('#frames > g:not(.hide) rect')].map(rect => box('a frame', rect));
    return {
      said: said.filter(element => element.textContent.trim() && getComputedStyle(element).display !== 'none')
        .map(element => box(element.textContent, element)),
      top: Math.min(...frames.map(frame => frame.top)),
    };
  });
  for (const box of boxes.said) {
    check(box.left >= 0 && box.right <= width, `${box.what}: from ${box.left} to ${box.right} of ${width} pixels`);
    check(box.top >= 0 && box.bottom <= boxes.top + 1, `${box.what} is not above the frames`);
    const over = boxes.said.find(other => other !== box && box.left < other.right && other.left < box.right
      && box.top < other.bottom && other.top < box.bottom);
    check(!over, `at ${width} pixels ${over?.what} lies over ${box.what}`);
  }
}

async function scenario() {
  await page.goto(pathToFileURL(plan.svg).href);
  check(await page.evaluate(() => document.documentElement.nodeName) === 'svg', 'it is not well-formed');
  await layout(1200);
  await page.screenshot({ path: path.join(plan.images, 'flame-graph.png') });
  check((await text('title')) === plan.title, `the title is ${await text('title')}`);
  check((await text('legend')).includes(plan.figures), `no ${plan.figures} in ${await text('legend')}`);

  // Names, shares and colours.
  const first = await frames();
  check(first.some(frame => /^all \([\d,]+ ms, 100%\)$/.test(frame.title) && frame.width === 100), 'no root');
  const legend = await page.evaluate(() => Object.fromEntries([...document.querySelectorAll('#legend rect')]
    .map(rect => [rect.nextElementSibling.textContent, rect.getAttribute('fill').replace(/\s/g, '')])));
  check(new Set(Object.values(legend)).size === Object.keys(legend).length, 'two colours are the same');
  for (const [kind, name] of Object.entries(plan.kinds)) {
    const frame = widest(first, name);
    check(frame, `no frame ${name}`);
    check(legend[kind] && frame.fill === legend[kind], `${name} is ${frame.fill}, ${kind} ${legend[kind]}`);
  }
  for (const name of plan.exact) { check(widest(first, name), `no frame ${name}`); }
  for (const frame of first) {
    check(shortens(frame.text, frame.name), `${frame.name} is written ${frame.text}`);
    check(frame.pixels < 40 || frame.text !== '', `${frame.name} has no name in ${frame.pixels} pixels`);
    check(frame.written <= frame.pixels, `${frame.text} is longer than its frame`);
  }

  // Pointing.
  const share = frame => Number(frame.title.match(/ \([\d,]+ ms, ([\d.]+)%\)$/)[1]);
  const lines = first.filter(frame => frame.name === plan.line.name);
  const line = widest(first, plan.line.name);
  check(near(share(line), line.width, 0.05), `${line.title} is ${line.width} % wide`);
  const sum = lines.reduce((sum, frame) => sum + share(frame), 0);
  check(near(sum, plan.line.percent, 0.3), `${plan.line.name}: ${sum} % and not ${plan.line.percent} %`);
  await page.mouse.move(1, 1);
  const place = await page.evaluate(title => {
    const g = [...document.querySelectorAll('#frames > g')].find(g => g.querySelector('title').textContent === title);
    const box = g.querySelector('rect').getBoundingClientRect();
    return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
  }, line.title);
  await page.mouse.move(place.x, place.y);
  await until('the frame that is pointed at', async () => (await text('details')).endsWith(line.title));
  await layout(1200);
  await page.mouse.move(1, 1);

  // Searching, by the key and by the word.
  const ways = [() => page.keyboard.press('Control+F'), () => page.click('#search')];
  for (const [index, { term, frames: wanted, percent }] of plan.searches.entries()) {
    const asked = page.waitForEvent('dialog').then(dialog => dialog.accept(term));
    await Promise.all([asked, ways[index % 2]()]);
    await until('what was found', async () => (await text('matched')).startsWith('Matched: '));
    const found = parseFloat((await text('matched')).slice('Matched: '.length));
    check(near(found, percent, 0.4), `${term}: ${found} % and not ${percent} %`);
    for (const frame of await frames()) {
      check((frame.fill === HIGHLIGHT) === wanted.includes(frame.name), `${term}: ${frame.name} is ${frame.fill}`);
    }
    await layout(1200);
    await page.screenshot({ path: path.join(plan.images, `search-${index + 1}.png`) });
    check((await text('search')) === 'Reset Search', 'the search cannot be ended');
    await page.click('#search');
    check(same(await frames(), first), 'the search leaves something behind');
  }
  const asked = page.waitForEvent('dialog').then(dialog => dialog.accept('proxy_on_(nothing'));
  await Promise.all([asked, page.keyboard.press('Control+F')]);
  await until('what is wrong with the term', async () => (await text('details')).includes('Invalid regular expression'));

  // Zooming.
  const zoom = plan.zoom;
  await click(zoom.name);
  const zoomed = await frames();
  check(widest(zoomed, zoom.name).width === 100, `${zoom.name} is not as wide as the window`);
  for (const name of zoom.callers) {
    const caller = zoomed.find(frame => frame.name === name && frame.seen);
    check(caller?.width === 100 && caller.opacity < 1, `its caller ${name} is not shown as such`);
  }
  for (const name of zoom.others) {
    check(!zoomed.some(frame => frame.name === name && frame.seen), `${name} is still there`);
  }
  const scale = 100 / widest(first, zoom.name).width;
  const inner = [first, zoomed].map(list => widest(list.filter(frame => frame.seen), zoom.inner).width);
  check(near(inner[1], inner[0] * scale, 0.1) && scale > 1, `${zoom.inner}: ${inner} at a scale of ${scale}`);
  check(await isShown('unzoom') && (await text('unzoom')) === 'Reset Zoom', 'the zoom cannot be ended');
  await layout(1200);
  await page.screenshot({ path: path.join(plan.images, 'zoom.png') });
  await page.click('#unzoom');
  check(same(await frames(), first) && !(await isShown('unzoom')), 'the zoom leaves something behind');

  await layout(800);
  await page.screenshot({ path: path.join(plan.images, 'narrow.png') });
}
/** Whether a text is a name without some of its letters, with a mark where the end is missing. */
function shortens(text, name) {
  const letters = text.replace(/\u2026$/, '');
  let at = -1;
  return [...letters].every(letter => (at = name.indexOf(letter, at + 1)) >= 0);
}
const same = (a, b) => a.every((frame, index) => ['title', 'fill', 'width', 'left', 'seen', 'opacity', 'text']
  .every(field => frame[field] === b[index][field]));

let browser, result = 1;
try {
  browser = await launch(plan.tools, path.join(plan.work, 'chromium'), { width: 1200, height: HEIGHT });
  page = browser.pages()[0] ?? await browser.newPage();
  page.setDefaultTimeout(30000);
  const errors = [];
  page.on('pageerror', error => errors.push(error.message));
  page.on('console', message => { if (message.type() === 'error') { errors.push(message.text()); } });
  await scenario();
  check(errors.length === 0, `the script of the graph says: ${errors.join('; ')}`);
  result = 0;
} catch (error) {
  console.log(`FAILED: ${error.message.split('\n')[0]}`);
  await page?.screenshot({ path: path.join(plan.images, 'failed.png') }).catch(() => {});
}
await browser?.close().catch(() => {});
process.exit(result);
