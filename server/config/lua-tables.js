// @ts-check
// Wraps every table constructor of a Lua source in a call, so that plain tables know `+` and `-`.
//
// Lua has no metatable for tables in general, so `{ "a" } + { "b" }` can only work when each constructor
// hands its table to a function first: `{ … }` becomes `WRAP({ … })`. Braces mean nothing else in Lua, so
// strings and comments are all that has to be skipped. No line break is added or taken: lines stay true.

const KEYWORDS = new Set(
  (
    'and break do else elseif end false for function goto if in local nil not or repeat return then true ' +
    'until while'
  ).split(' '),
)

// A token: comment, long or short string, name, or any one other character that is not blank.
const TOKEN =
  /--\[(=*)\[[\s\S]*?\]\1\]|--[^\n]*|\[(=*)\[[\s\S]*?\]\2\]|"(?:\\[\s\S]|[^"\\])*"|'(?:\\[\s\S]|[^'\\])*'|[A-Za-z_]\w*|\S/g

/**
 * @param {string} source a Lua chunk that compiles
 * @param {string} wrap name of the function that every constructor is handed to
 * @returns {string}
 */
export function wrapTables(source, wrap) {
  let out = ''
  let copied = 0
  /** Whether what stands before the token is a value that `{` would call. */
  let callable = false
  /** @type {boolean[]} for each open brace, whether it is the argument of a call */
  const open = []
  for (const match of source.matchAll(TOKEN)) {
    const token = match[0]
    if (token.startsWith('--')) continue
    if (token === '{') {
      out += `${source.slice(copied, match.index)}${callable ? `(${wrap}({` : `${wrap}({`}`
      copied = match.index + 1
      open.push(callable)
      callable = false
    } else if (token === '}') {
      out += `${source.slice(copied, match.index)}${open.pop() ? '}))' : '})'}`
      copied = match.index + 1
      callable = true
    } else if (/^\w/.test(token)) {
      callable = !KEYWORDS.has(token)
    } else {
      callable = token === ')' || token === ']' || token.length > 1
    }
  }
  return out + source.slice(copied)
}
