// The headless Chromium of the tests: Debian's, driven by the playwright-core that install.sh has installed.
import path from 'node:path';
import { createRequire } from 'node:module';

/**
 * Starts a browser that reaches nothing but this machine.
 * @param tools   the folder that install.sh prints
 * @param profile a folder of its own for what it keeps
 */
export function launch(tools, profile, viewport) {
  const { chromium } = createRequire(path.join(tools, 'package.json'))('playwright-core');
  return chromium.launchPersistentContext(profile, {
    executablePath: '/usr/bin/chromium', headless: true, viewport,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
      '--disable-background-networking', '--disable-component-update',
      '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1'],
  });
}

/** Waits until `probe` gives something true. */
export async function until(what, probe, seconds = 40) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end;) {
    const found = await probe();
    if (found) { return found; }
    await new Promise(resolve => setTimeout(resolve, 50));
  }
  throw new Error(`not within ${seconds} s: ${what}`);
}
