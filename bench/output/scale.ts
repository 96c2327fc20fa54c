// Logarithmic scales for the pictures: where a value stands, and which values are written at the axis.

/** A logarithmic axis. */
export interface LogScale {
  /** Where a value stands in the picture; values at or below zero stand at the beginning. */
  at(value: number): number
  /** Values with a line and a number. */
  ticks: readonly number[]
}

/**
 * A scale that holds all values above zero.
 * @param values what is to be shown; others are passed over
 * @param from where the axis begins, in pixels
 * @param to where it ends
 * @param least values that the axis covers in any case
 */
export function logScale(
  values: readonly number[],
  from: number,
  to: number,
  least?: readonly number[],
): LogScale {
  const shown = [...values.filter((value) => value > 0 && Number.isFinite(value)), ...(least ?? [])]
  const [low, high] = shown.length === 0 ? [1, 10] : [Math.min(...shown), Math.max(...shown)]
  const begin = roundDown(low)
  const end = Math.max(roundUp(high), begin * 2)
  const span = Math.log(end / begin)
  const share = (value: number) => Math.max(0, Math.log(Math.max(value, begin) / begin) / span)
  return { at: (value) => from + (to - from) * share(value), ticks: ticksBetween(begin, end) }
}

const STEPS = [1, 2, 5]
const FEW_DECADES = 2.5
/** Against rounding when values are themselves round. */
const SLACK = 1e-9

/** 1, 2, 5, 10, … where there is room for those, else powers of ten. */
function ticksBetween(begin: number, end: number): number[] {
  const decades = Math.log10(end / begin)
  const steps = decades <= FEW_DECADES ? STEPS : [1]
  const ticks: number[] = []
  for (let power = Math.floor(Math.log10(begin)); power <= Math.ceil(Math.log10(end)); power++) {
    for (const step of steps) {
      const tick = step * 10 ** power
      if (tick >= begin * (1 - SLACK) && tick <= end * (1 + SLACK)) ticks.push(Number(tick.toPrecision(1)))
    }
  }
  return ticks
}

function roundDown(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value) + SLACK)
  const step = STEPS.filter((one) => one * power <= value * (1 + SLACK)).at(-1) ?? 1
  return step * power
}

function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value) + SLACK)
  return ([...STEPS, 10].find((one) => one * power >= value * (1 - SLACK)) ?? 10) * power
}

/** The number at a tick: without an exponent, thousands told apart. */
export function tickText(tick: number): string {
  return tick.toLocaleString('en', { maximumSignificantDigits: 3 })
}
