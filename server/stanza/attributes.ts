/** Attributes as a plain record in which every XML name is a key like another. */

/**
 * Makes an empty record of attributes. It inherits nothing, so `__proto__` and `constructor` are keys like
 * any other, and it stays an object with fast properties, which one from `Object.create(null)` does not.
 *
 * The one exception is `hasOwnProperty`, which `@xmpp/xml` elements call on their attributes.
 */
export const Attributes = function Attributes() {} as unknown as new () => Record<string, string>

Attributes.prototype = Object.create(null, {
  hasOwnProperty: { value: Object.prototype.hasOwnProperty },
})

/** An empty record of attributes. */
export function emptyAttributes(): Record<string, string> {
  return new Attributes()
}
