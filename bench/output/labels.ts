// Finding places for labels, so that none covers another.
import type { Point } from './svg.ts'

/** A rectangle that is taken. */
export interface Box {
  x: number
  y: number
  width: number
  height: number
}

/** Places for labels around points, each taken only once. */
export class LabelSpace {
  private readonly taken: Box[] = []
  private readonly bounds: Box

  /** @param bounds what labels stay inside of */
  constructor(bounds: Box) {
    this.bounds = bounds
  }

  /** Keeps labels off a rectangle. */
  take(box: Box): void {
    this.taken.push(box)
  }

  /** Keeps labels off a line, by small squares along it. */
  takeLine(points: readonly Point[]): void {
    for (const [index, to] of points.entries()) {
      const from = points[index - 1]
      if (from === undefined) continue
      const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / 4))
      for (let step = 0; step <= steps; step++) {
        const x = from.x + ((to.x - from.x) * step) / steps
        const y = from.y + ((to.y - from.y) * step) / steps
        this.take({ x: x - 1, y: y - 1, width: 2, height: 2 })
      }
    }
  }

  /**
   * Finds a place beside a point and takes it: right, left, below, above, then the corners, then farther off.
   * @param rivals points that the label must not be nearer to than to its own
   * @returns the left end of the label's baseline; undefined when there is no room
   */
  place(point: Point, width: number, height: number, rivals: readonly Point[] = []): Point | undefined {
    for (const distance of DISTANCES) {
      for (const [right, down] of DIRECTIONS) {
        const box = {
          x: point.x + right * distance - (width * (1 - right)) / 2,
          y: point.y + down * distance - (height * (1 - down)) / 2,
          width,
          height,
        }
        const middle = { x: box.x + width / 2, y: box.y + height / 2 }
        const own = distanceOf(point, middle)
        if (!this.free(box) || rivals.some((rival) => distanceOf(rival, middle) < own)) continue
        this.take({ ...box, x: box.x - GAP, width: width + 2 * GAP })
        return { x: box.x, y: box.y + height * BASELINE }
      }
    }
    return undefined
  }

  private free(box: Box): boolean {
    const { bounds } = this
    const inside =
      box.x >= bounds.x &&
      box.y >= bounds.y &&
      box.x + box.width <= bounds.x + bounds.width &&
      box.y + box.height <= bounds.y + bounds.height
    return inside && !this.taken.some((other) => overlap(box, other))
  }
}

/** Kept free on both sides of a label, so that two do not read as one. */
const GAP = 4
const DISTANCES = [7, 12, 18]
/** Right and down, 1 each; a label to the right of a point begins there, one to the left ends there. */
const DIRECTIONS = [
  [1, 0],
  [-1, 0],
  [0, 1],
  [0, -1],
  [1, 1],
  [1, -1],
  [-1, 1],
  [-1, -1],
] as const
/** Share of a text's height that is above its baseline. */
const BASELINE = 0.8

function distanceOf(a: Point, b: Point): number {
  return Math.hypot(a.x - b.x, a.y - b.y)
}

function overlap(a: Box, b: Box): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height
}

/**
 * Moves heights apart until each has `gap` pixels to the next, as little as that takes, staying within `from` to `to`
 * if they fit.
 * @returns the new heights, in the order of the old ones
 */
export function spread(heights: readonly number[], gap: number, from: number, to: number): number[] {
  const order = heights.map((_, index) => index).sort((a, b) => heights[a]! - heights[b]!)
  const result = [...heights]
  let last = from - gap
  for (const index of order) last = result[index] = Math.max(heights[index]!, last + gap)
  last = to + gap
  for (const index of order.reverse()) last = result[index] = Math.min(result[index]!, last - gap)
  return result
}
