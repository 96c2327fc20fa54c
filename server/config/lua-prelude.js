// @ts-check
// The Lua half of the configuration: the environment that prosody.cfg.lua runs in, and the options it sets,
// written out as JSON. It knows Prosody's rules of scope; what options mean is not its matter.
//
// Files have the chunk name `legate-config-N`, short enough that Lua never cuts it; whoever shows a message
// puts the path in its place.
//
// A value is written as JSON: text, numbers and booleans as they are, a sequence as ["l", …], another table as
// ["t", key, value, …] with keys as text, infinity as ["n", "inf"].
//
// Its parts are one chunk of Lua: each sees the locals of those before.

import { LUA_ANSWER } from './lua-answer.js'
import { LUA_LIBRARY } from './lua-library.js'
import { LUA_OPTIONS } from './lua-options.js'
import { LUA_SECTIONS } from './lua-sections.js'

export const LUA_PRELUDE = LUA_OPTIONS + LUA_LIBRARY + LUA_SECTIONS + LUA_ANSWER
