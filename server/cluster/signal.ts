/** Something that happens again and again, and those who wait for the next time. */

export class Signal {
  private waiting: (() => void)[] = []

  /** It happens: whoever waits goes on. */
  fire(): void {
    const waiting = this.waiting
    this.waiting = []
    for (const goOn of waiting) goOn()
  }

  /** @param ms - how long to wait at most. @returns whether it has happened */
  wait(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.waiting.splice(this.waiting.indexOf(goOn), 1)
        resolve(false)
      }, ms)
      const goOn = () => {
        clearTimeout(timer)
        resolve(true)
      }
      this.waiting.push(goOn)
    })
  }
}
