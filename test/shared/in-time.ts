/** Waits that fail with a name, and not with the time of the whole test. */

/**
 * Waits for something that has its time.
 *
 * @param what - it is, for the error
 * @param more - what else the error says
 * @throws Error (as a rejection) when it has not come about in time
 */
export async function inTime<T>(
  what: string,
  wanted: Promise<T>,
  ms: number,
  more: () => string = () => '',
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not in ${ms} ms: ${what}\n${more()}`)), ms)
  })
  try {
    return await Promise.race([wanted, late])
  } finally {
    clearTimeout(timer)
  }
}
