import { createHash } from 'node:crypto'
import { SCRIPT } from './script.ts'
import { STYLE } from './style.ts'

const ICON =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="4" fill="#2f6f4f"/>' +
  '<path d="M4 11V8m4 3V4m4 7V6" stroke="#fff" stroke-width="2" stroke-linecap="round"/></svg>\n'

/** Their names hold what is in them, so that browsers may keep them for ever. */
export const STYLE_PATH: string = pathFor(STYLE, 'css')
export const SCRIPT_PATH: string = pathFor(SCRIPT, 'js')
export const ICON_PATH: string = pathFor(ICON, 'svg')

const ASSETS: ReadonlyMap<string, readonly [type: string, text: string]> = new Map([
  [STYLE_PATH, ['text/css', STYLE]],
  [SCRIPT_PATH, ['text/javascript', SCRIPT]],
  [ICON_PATH, ['image/svg+xml', ICON]],
])

/** The asset at this path of the app; `null` if it is none. */
export function assetAt(path: string): Response | null {
  const asset = ASSETS.get(path)
  if (asset === undefined) return null
  const [type, text] = asset
  return new Response(text, {
    headers: {
      'content-type': `${type}; charset=utf-8`,
      'cache-control': 'public, max-age=31536000, immutable',
    },
  })
}

function pathFor(text: string, extension: string): string {
  return `/assets/${createHash('sha256').update(text).digest('hex').slice(0, 12)}.${extension}`
}
