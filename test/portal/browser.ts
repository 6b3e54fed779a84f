/** Debian's Chromium, driven over its own protocol, against the portals of a real cluster. */
import { mkdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import { afterEach, beforeEach } from 'vitest'
import { findProgram } from '../../cli/src/cluster/install.ts'
import { eventually, hangMs, type TestCluster } from '../support/cluster.ts'

/** Where pictures and traces of a run lie. */
export const pictureFolder = fileURLToPath(new URL('../../build/portal/', import.meta.url))

const binary = process.env.CHROMIUM_BINARY ?? findProgram('chromium')

/** True where Chromium is found: on PATH, or as `CHROMIUM_BINARY`. */
export const hasChromium = binary !== undefined

/** A browser that does not stand after so long is given up, and started once more; Playwright by itself waits for three minutes. */
const launchMs = 45_000
/** A question to the page that takes longer has no answer: its script does not come to an end. */
const answerMs = hangMs

async function launch(): Promise<Browser> {
  const options = {
    executablePath: binary as string,
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
    timeout: launchMs,
  }
  try {
    return await chromium.launch(options)
  } catch (error) {
    console.log(`Chromium did not start, once more: ${String(error).split('\n', 1)[0]}`)
    return chromium.launch(options)
  }
}

/** Rejects when a page does not answer, which none of its questions do by themselves. */
async function answered<T>(what: string, question: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the page does not answer: ${what}`)), answerMs)
  })
  return Promise.race([question, silence]).finally(() => clearTimeout(timer))
}

/** Bounds what Playwright itself waits for without end: keys, and questions to the page. */
function boundAnswers(page: Page): void {
  const { keyboard } = page
  const [press, type] = [keyboard.press.bind(keyboard), keyboard.type.bind(keyboard)]
  keyboard.press = (key, options) => answered(`key ${key}`, press(key, options))
  keyboard.type = (text, options) => answered('keys', type(text, options))
  const evaluate = page.evaluate.bind(page) as (...asked: unknown[]) => Promise<unknown>
  const bounded = (...asked: unknown[]): Promise<unknown> =>
    answered(String(asked[0]).slice(0, 100), evaluate(...asked))
  page.evaluate = bounded as typeof page.evaluate
}

/** Somebody who logs in at the page of a node. */
export interface Visitor {
  readonly node: string
  readonly name: string
}

/** Screen and preferences of a reader. */
export interface ReaderOptions {
  readonly width?: number
  readonly height?: number
  readonly language?: string
  readonly colours?: 'light' | 'dark'
  readonly motion?: 'reduce'
}

/** Tests that follow one another on one page: what comes after a failed one, itself once more or the next, begins with `recover`. */
export function recoverAfterFailure(recover: () => Promise<void>): void {
  let isStranded = false
  beforeEach(async () => {
    if (isStranded) await recover()
    isStranded = false
  })
  afterEach(({ task }) => {
    isStranded = task.result?.state === 'fail'
  })
}

/**
 * Shows the node that the app has the secret. The code of the step before the present one leaves two for later, and is taken until this step
 * ends: when that is between reading it and sending it, the next one is sent.
 */
export async function confirmCode(page: Page, button: string, code: () => string): Promise<void> {
  await eventually('a code that is taken', async () => {
    await page.fill('input[name=code]', code())
    const answered = page.waitForResponse((response) => response.url().endsWith('/second-factor/confirm'))
    await page.click(button)
    return (await answered).ok() ? true : undefined
  })
}

/** Sets the clock of a page ahead, for all that it loads from now on. */
export async function setClockAhead(page: Page, aheadMs: number): Promise<void> {
  await page.addInitScript(`{
    const RealDate = Date
    const ahead = ${aheadMs}
    globalThis.Date = class extends RealDate {
      constructor(...parts) {
        if (parts.length === 0) super(RealDate.now() + ahead)
        else super(...parts)
      }
      static now() {
        return RealDate.now() + ahead
      }
    }
  }`)
}

/** One browser with one reader in it. */
export class PortalReader {
  readonly page: Page
  readonly context: BrowserContext
  /** What the page complained of: errors of scripts, refusals of its policy; and whom it asked besides its own node. */
  readonly complaints: string[] = []
  readonly #browser: Browser
  readonly #size: { width: number; height: number }

  private constructor(browser: Browser, context: BrowserContext, page: Page) {
    this.#browser = browser
    this.#size = page.viewportSize() as { width: number; height: number }
    this.context = context
    this.page = page
    page.on('request', (request) => {
      const { origin, protocol } = new URL(request.url())
      const own = page.url() === 'about:blank' ? origin : new URL(page.url()).origin
      if (protocol !== 'data:' && protocol !== 'blob:' && origin !== own) this.complaints.push(`asks ${origin}`)
    })
    page.on('pageerror', (error) => this.complaints.push(String(error)))
    page.on('console', (message) => {
      // A refused request is the portal's business; what a script or the page's policy says is ours.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
        this.complaints.push(message.text())
    })
  }

  /** Starts a browser and logs a person in on the page of a node. */
  static async openAs(cluster: TestCluster, who: Visitor, options: ReaderOptions = {}): Promise<PortalReader> {
    const reader = await PortalReader.open(cluster.url(who.node), options)
    await reader.logIn(who.name, cluster.passphrase(who.name))
    return reader
  }

  /** Starts a browser and opens a portal. */
  static async open(url: string, options: ReaderOptions = {}): Promise<PortalReader> {
    const browser = await launch()
    const making = browser.newContext({
      viewport: { width: options.width ?? 1280, height: options.height ?? 800 },
      locale: options.language ?? 'en-GB',
      timezoneId: 'Europe/Berlin',
      colorScheme: options.colours ?? 'light',
      reducedMotion: options.motion ?? 'no-preference',
    })
    const context = await answered('a new context', making)
    context.setDefaultTimeout(hangMs)
    await answered('a trace', context.tracing.start({ screenshots: true, snapshots: true }))
    const page = await answered('a new page', context.newPage())
    boundAnswers(page)
    const reader = new PortalReader(browser, context, page)
    await page.goto(url)
    return reader
  }

  /** Fills the login form and waits for the page behind it. */
  async logIn(name: string, passphrase: string): Promise<void> {
    await this.page.fill('input[name=name]', name)
    await this.page.fill('input[name=passphrase]', passphrase)
    await this.page.click('button[type=submit]')
    await this.page.waitForSelector('header.head')
  }

  /** Goes to a place of the navigation, and waits until its screen is the one that is shown. */
  async goTo(place: string): Promise<void> {
    await this.page.evaluate(`location.hash = ${JSON.stringify(place)}`)
    await this.page.waitForSelector(`nav a[aria-current=page][href="${place}"]`, { state: 'attached' })
  }

  /**
   * Brings the first tab to where a story goes on after a failure, whatever that left: the nodes run, nothing is held up, no dialog is open,
   * screen, language and keys are as in the beginning, the person is logged in and at the first screen. Other tabs are closed.
   */
  async recover(cluster: TestCluster, who: Visitor): Promise<void> {
    const { page, context } = this
    for (const other of context.pages()) if (other !== page) await other.close()
    await page.unrouteAll({ behavior: 'ignoreErrors' })
    await context.setOffline(false)
    await page.emulateMedia({ media: null })
    await page.setViewportSize(this.#size)
    await cluster.makeWhole()
    await page.goto(cluster.url(who.node))
    await page.evaluate('localStorage.clear()')
    await page.goto('about:blank')
    await page.goto(cluster.url(who.node))
    await page.waitForSelector('header.head, input[name=passphrase]')
    if ((await page.locator('header.head').count()) === 0) await this.logIn(who.name, cluster.passphrase(who.name))
  }

  /** Waits until an expression of the page is true. The debugger evaluates it: the page's own policy forbids `eval`. */
  async until(expression: string): Promise<void> {
    await eventually(expression, async () => ((await this.page.evaluate(expression)) === true ? true : undefined))
  }

  /** Takes a picture of the whole page. */
  async picture(name: string): Promise<void> {
    mkdirSync(pictureFolder, { recursive: true })
    await this.page.screenshot({ path: `${pictureFolder}${name}.png`, fullPage: true })
  }

  /** Findings of axe-core (WCAG 2.2 A and AA) on what is shown now, one line each. */
  async accessibilityFindings(): Promise<string[]> {
    const axe = fileURLToPath(import.meta.resolve('axe-core/axe.min.js'))
    // Evaluated by the debugger, so that the page's own policy stays as strict as it is.
    const source = readFileSync(axe, 'utf8')
    await this.page.evaluate(source)
    return this.page.evaluate(async () => {
      const { axe } = globalThis as unknown as {
        axe: {
          run: (
            options: unknown,
          ) => Promise<{ violations: { id: string; nodes: { target: string[]; failureSummary: string }[] }[] }>
        }
      }
      const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
      const { violations } = await axe.run({ runOnly: { type: 'tag', values: tags } })
      return violations.flatMap(({ id, nodes }) =>
        nodes.map(({ target, failureSummary }) => `${id}: ${target.join(' ')}: ${failureSummary}`),
      )
    })
  }

  /** False once the browser was ended. */
  get isOpen(): boolean {
    return this.#browser.isConnected()
  }

  /** Ends the browser; with a name, a trace is kept first. */
  async close(traceName?: string): Promise<void> {
    if (traceName === undefined) await this.context.tracing.stop()
    else {
      mkdirSync(pictureFolder, { recursive: true })
      await this.context.tracing.stop({ path: `${pictureFolder}${traceName}.trace.zip` })
    }
    await this.#browser.close()
  }
}
