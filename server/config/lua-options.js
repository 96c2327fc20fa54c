// @ts-check
// The Lua half of the configuration, first part: where the file is, what it set, and lists with `+` and `-`.
// See lua-prelude.js.

export const LUA_OPTIONS = `
local api = {}
for _, name in ipairs { "note", "opened", "print", "getenv", "read", "resolve", "folder", "identity", "glob",
    "globbed", "wrap", "done", "failed", "main", "credentials_optional" } do
  api[name] = _G["legate_" .. name]
  _G["legate_" .. name] = nil
end

-- What the file does to the standard library must not change what is done here.
local type, pairs, ipairs, next, tostring, tonumber = type, pairs, ipairs, next, tostring, tonumber
local error, pcall, select, load = error, pcall, select, load
local rawget, rawset, rawlen, setmetatable, getmetatable = rawget, rawset, rawlen, setmetatable, getmetatable
local getinfo, sethook = debug.getinfo, debug.sethook
local cocreate, coresume, costatus = coroutine.create, coroutine.resume, coroutine.status
local match, gmatch, gsub, sub = string.match, string.gmatch, string.gsub, string.sub
local lower, format, char = string.lower, string.format, string.char
local concat, unpack, sort, mathtype, utf8len = table.concat, table.unpack, table.sort, math.type, utf8.len
local HUGE = math.huge

local MAX_DEPTH, MAX_NODES, MAX_TEXT = 32, 100000, 8 * 1024 * 1024
local MAX_INCLUDES = 50

---- Where the file is -------------------------------------------------------------------------------------

local files, numbers, lines_of = {}, {}, {}   -- number -> path, chunk name -> number, number -> lines
local last_file, last_line = 0, 0

local function hook(_, line)
  local number = numbers[getinfo(2, "S").source]
  if number and (line ~= last_line or number ~= last_file) then
    last_file, last_line = number, line
    api.note(number, line)
  end
end

-- The nearest line of the operator's that led here.
local function here()
  for level = 2, 60 do
    local info = getinfo(level, "Sl")
    if not info then break end
    local number = numbers[info.source]
    if number then return number, info.currentline end
  end
  return last_file, last_line
end

-- The option that a line sets, so that a file that cannot be read can be named with it.
local function option_on(number, line)
  local text = lines_of[number] and lines_of[number][line]
  return text and match(text, "([%a_][%w_]*)%s*=[^=]")
end

---- What was set ------------------------------------------------------------------------------------------

local hosts, declared = {}, {}                 -- in order; by name
local options = { ["*"] = {} }                 -- host -> option -> { value, file, line }
local order = { ["*"] = {} }                   -- host -> names in the order first set
local problems = {}
local taken = setmetatable({}, { __mode = "k" })  -- list -> what "-" took from it
local proxies = setmetatable({}, { __mode = "k" }) -- proxy -> { host, option }

local function problem(severity, text, extra)
  if #problems > 1000 then return end
  extra = extra or {}
  if not extra.file then extra.file, extra.line = here() end
  extra.severity, extra.message = severity, text
  problems[#problems + 1] = extra
end

local function set(host, name, value, file, line)
  if type(name) ~= "string" then
    error("an option's name must be text, is a " .. type(name) .. " (is a name and = missing?)", 0)
  end
  local own = options[host]
  if own[name] == nil then order[host][#order[host] + 1] = name end
  own[name] = { value = value, file = file, line = line }
end

-- An option as a host reads it. A component does not inherit the list of modules, so neither does reading it.
local function lookup(host, name)
  local entry = options[host][name]
  if entry ~= nil and entry.value ~= nil then return entry.value end
  if host == "*" then return nil end
  if declared[host].kind == "component" and (name == "modules_enabled" or name == "modules_disabled") then
    return nil
  end
  entry = options["*"][name]
  if entry ~= nil then return entry.value end
end

---- Lists and sets ----------------------------------------------------------------------------------------

local literal, proxy = {}, {}  -- metatables: of what { } makes, and of an option that is read back

local function wrap(table) return setmetatable(table, literal) end

local function plain(value)
  local target = proxies[value]
  if target then return lookup(target.host, target.option) or {} end
  return value
end

local function parts(value)
  value = plain(value)
  if value == nil then return {} end
  if type(value) ~= "table" then return { value } end
  return value
end

local function copy_into(out, from)
  for key, value in next, from do
    if mathtype(key) ~= "integer" then rawset(out, key, value) end
  end
  for i = 1, rawlen(from) do rawset(out, rawlen(out) + 1, rawget(from, i)) end
  return out
end

local function items_of(list)
  local set = {}
  for i = 1, rawlen(list) do
    local item = rawget(list, i)
    if item ~= nil then set[item] = true end
  end
  return set
end

local function add(a, b)
  if b == nil then error("there is nothing to add: what is right of + is nil (is its name misspelt?)", 2) end
  local before, more = parts(a), parts(b)
  local out = copy_into(wrap {}, before)
  local there = items_of(out)
  for key, value in next, more do
    if mathtype(key) ~= "integer" then rawset(out, key, value) end
  end
  for i = 1, rawlen(more) do
    local item = rawget(more, i)
    if type(item) == "table" or not there[item] then rawset(out, rawlen(out) + 1, item) end
  end
  local was = taken[before]
  if was then
    local again, still = items_of(more), {}
    for item in next, was do if not again[item] then still[item] = true end end
    taken[out] = still
  end
  return out
end

local function subtract(a, b)
  if b == nil then error("there is nothing to take: what is right of - is nil (is its name misspelt?)", 2) end
  local before, less = parts(a), parts(b)
  local gone, out = items_of(less), wrap {}
  for key, value in next, before do
    if mathtype(key) ~= "integer" and not gone[key] and rawget(less, key) == nil then rawset(out, key, value) end
  end
  for i = 1, rawlen(before) do
    local item = rawget(before, i)
    if not gone[item] then rawset(out, rawlen(out) + 1, item) end
  end
  for item in next, taken[before] or {} do gone[item] = true end
  taken[out] = gone
  return out
end

literal.__add, literal.__sub = add, subtract
proxy.__add, proxy.__sub = add, subtract

-- The host's own table behind a proxy: what is inherited is copied before it is changed.
local function own_table(target)
  local entry = options[target.host][target.option]
  if entry and type(entry.value) == "table" then return entry.value end
  local value = copy_into(wrap {}, parts(lookup(target.host, target.option)))
  set(target.host, target.option, value, here())
  return value
end

local function append(self, value)
  if type(value) ~= "table" then error("append needs a list of what to append, is a " .. type(value), 2) end
  copy_into(own_table(proxies[self]), plain(value))
  return self
end

local methods = {
  append = append,
  value = function (self) return plain(self) end,
  values = function (self)
    local key, list = nil, plain(self)
    return function () local value; key, value = next(list, key); return value end
  end,
}

function proxy.__index(self, key)
  local value = rawget(plain(self), key)
  if value == nil then return methods[key] end
  return value
end
function proxy.__newindex(self, key, value) rawset(own_table(proxies[self]), key, value) end
function proxy.__len(self) return rawlen(plain(self)) end
function proxy.__pairs(self) return next, plain(self), nil end
function proxy.__call(self, value)
  if type(value) ~= "table" then error("a list is followed by something else than a list: is = missing?", 2) end
  return append(self, value)
end

`
