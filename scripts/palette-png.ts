import { crc32, deflateSync, inflateSync } from 'node:zlib'

/** A screenshot with its 256 most frequent colours only: a third of its bytes, and text looks the same. */
export function palettePng(png: Buffer): Buffer {
  const { width, height, pixels } = pixelsOf(png)
  const counts = new Map<number, number>()
  for (let at = 0; at < pixels.length; at += 3) {
    const colour = pixels.readUIntBE(at, 3)
    counts.set(colour, (counts.get(colour) ?? 0) + 1)
  }
  const palette = [...counts]
    .sort(([, one], [, other]) => other - one)
    .slice(0, 256)
    .map(([colour]) => colour)
  const places = new Map([...counts.keys()].map((colour) => [colour, nearest(palette, colour)]))
  // Each line begins with its filter: none.
  const lines = Buffer.alloc((width + 1) * height)
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      lines[row * (width + 1) + 1 + column] =
        places.get(pixels.readUIntBE((row * width + column) * 3, 3)) ?? 0
    }
  }
  const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 3, 0, 0, 0])
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  const colours = Buffer.alloc(palette.length * 3)
  for (const [at, colour] of palette.entries()) colours.writeUIntBE(colour, at * 3, 3)
  return Buffer.concat([
    png.subarray(0, 8),
    chunk('IHDR', header),
    chunk('PLTE', colours),
    chunk('IDAT', deflateSync(lines, { level: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

function nearest(palette: readonly number[], colour: number): number {
  let [best, least] = [0, Number.POSITIVE_INFINITY]
  for (const [at, other] of palette.entries()) {
    const distance = [16, 8, 0].reduce(
      (sum, bits) => sum + (((colour >> bits) & 255) - ((other >> bits) & 255)) ** 2,
      0,
    )
    if (distance < least) [best, least] = [at, distance]
  }
  return best
}

/** Of what Chromium writes: 8 bits of red, green and blue, in lines that differ from what stands before them. */
function pixelsOf(png: Buffer): { readonly width: number; readonly height: number; readonly pixels: Buffer } {
  const data: Buffer[] = []
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT')
      data.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)))
  }
  const [width, height, size] = [png.readUInt32BE(16), png.readUInt32BE(20), png[25] === 6 ? 4 : 3]
  const stride = width * size
  const lines = inflateSync(Buffer.concat(data))
  const whole = Buffer.alloc(stride * height)
  for (let row = 0; row < height; row++) {
    const filter = lines[row * (stride + 1)] ?? 0
    for (let column = 0; column < stride; column++) {
      const at = row * stride + column
      const left = column >= size ? (whole[at - size] ?? 0) : 0
      const above = row > 0 ? (whole[at - stride] ?? 0) : 0
      const corner = column >= size && row > 0 ? (whole[at - stride - size] ?? 0) : 0
      const guesses = [0, left, above, (left + above) >> 1, paeth(left, above, corner)]
      whole[at] = (lines[row * (stride + 1) + 1 + column] ?? 0) + (guesses[filter] ?? 0)
    }
  }
  if (size === 3) return { width, height, pixels: whole }
  return { width, height, pixels: Buffer.from(whole.filter((_, at) => at % 4 !== 3)) }
}

function paeth(left: number, above: number, corner: number): number {
  const guess = left + above - corner
  const [toLeft, toAbove, toCorner] = [left, above, corner].map((each) => Math.abs(guess - each)) as [
    number,
    number,
    number,
  ]
  if (toLeft <= toAbove && toLeft <= toCorner) return left
  return toAbove <= toCorner ? above : corner
}

function chunk(name: string, data: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(name, 'latin1'), data])
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  sum.writeUInt32BE(crc32(named))
  return Buffer.concat([length, named, sum])
}
