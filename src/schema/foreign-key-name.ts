/**
 * What drizzle-kit 1.0 calls a foreign key that nobody named, whose `full` name is made of all its tables and columns:
 * where that is long a hash of it, on PostgreSQL and on MySQL.
 */
export function foreignKeyName(table: string, full: string): string {
  if (full.length <= 63) return full
  return table.length < 45 ? `${table}_${hash(full)}_fkey` : `${hash(full)}_fkey`
}

const DIGITS = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
const HASH_LENGTH = 12

/** drizzle-kit's: the code points as a polynomial in 53, modulo what so many digits can tell apart. */
function hash(text: string): string {
  const base = BigInt(DIGITS.length)
  const modulus = base ** BigInt(HASH_LENGTH)
  let power = 1n
  let sum = 0n
  for (const character of text) {
    sum = (sum + BigInt(character.codePointAt(0) ?? 0) * power) % modulus
    power = (power * 53n) % modulus
  }
  let digits = ''
  for (let rest = sum; digits.length < HASH_LENGTH; rest /= base) {
    digits = DIGITS.charAt(Number(rest % base)) + digits
  }
  return digits
}
