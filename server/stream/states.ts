/** The states of the machine that reads a stream. */

// Outside a stanza:
/** nothing of the stream has been seen */
export const START = 0
/** white space or the XML declaration has been seen, the header has not */
export const PROLOG = 1
/** within `<?` */
export const DECLARATION = 2
/** between stanzas */
export const BETWEEN = 3
/** after `</stream:stream>` */
export const CLOSED = 4
// In markup:
/** after `<` */
export const OPEN = 5
export const ELEMENT_NAME = 6
/** after the colon of an element's name */
export const ELEMENT_LOCAL = 7
/** after a name or a value: white space or the end of the tag must follow */
export const AFTER = 8
/** after white space in a start tag: an attribute may follow */
export const GAP = 9
export const ATTRIBUTE_NAME = 10
export const ATTRIBUTE_LOCAL = 11
/** after an attribute's name, before `=` */
export const EQUAL = 12
/** after `=` */
export const QUOTE = 13
export const VALUE = 14
/** after the `/` of an empty element */
export const EMPTY = 15
/** at the `>` of a stream header that is an empty element */
export const ENDING = 26
export const END_NAME = 16
/** after the name in an end tag */
export const END_GAP = 17
/** after `<!` */
export const BANG = 18
// In a stanza's content:
export const CONTENT = 19
export const CDATA = 20
// References, in content and values:
/** after `&` */
export const REFERENCE = 21
export const ENTITY = 22
/** after `&#` */
export const NUMBER = 23
export const DECIMAL = 24
export const HEXADECIMAL = 25
