// @ts-check
// The Lua half of the configuration, second part: reading files, and the library that the file sees.
// See lua-prelude.js.

export const LUA_LIBRARY = String.raw`
---- Reading files -----------------------------------------------------------------------------------------

local function read(path)
  local answer = api.read(path)
  local kind, text = sub(answer, 1, 1), sub(answer, 2)
  if kind == "E" then return nil, text end
  if kind == "H" then
    text = gsub(text, "..", function (digits) return char(tonumber(digits, 16)) end)
  end
  return text
end

-- A file named in an option; raises an error that names the option, the function and the file.
local function read_for(what, name, directory)
  local number, line = here()
  local option = option_on(number, line)
  local prefix = (option and option .. ": " or "") .. what
  if type(name) ~= "string" then error(prefix .. " needs a file name, is given a " .. type(name), 3) end
  local path = api.resolve(name, directory)
  local text, why = read(path)
  if not text then error(format('%s "%s" cannot be read: %s (%s)', prefix, name, why, path), 3) end
  return text, prefix .. ' "' .. name .. '"'
end

local function split_lines(text)
  local lines = wrap {}
  for line in gmatch(text, "([^\n]*)\n?") do lines[#lines + 1] = (gsub(line, "\r$", "")) end
  if lines[#lines] == "" then lines[#lines] = nil end
  return lines
end

---- The library that the file sees --------------------------------------------------------------------------

local function copy_of(library, without)
  local out = {}
  for key, value in next, library do if key ~= without then out[key] = value end end
  return out
end

local function refuse(name, instead)
  return function () error(name .. " is not there in a configuration" .. instead, 2) end
end
local function refuse_table(name, instead)
  return setmetatable({}, { __index = refuse(name, instead) })
end

local library = {
  _VERSION = _VERSION, assert = assert, error = error, getmetatable = getmetatable, ipairs = ipairs,
  next = next, pairs = pairs, pcall = pcall, xpcall = xpcall, rawequal = rawequal, rawget = rawget,
  rawlen = rawlen, rawset = rawset, select = select, setmetatable = setmetatable, tonumber = tonumber,
  tostring = tostring, type = type, collectgarbage = function () return 0 end,
  string = copy_of(string, "dump"), table = copy_of(table), math = copy_of(math), utf8 = copy_of(utf8),
  unpack = unpack,
  os = setmetatable({
    time = os.time, date = os.date, clock = os.clock, difftime = os.difftime,
    getenv = function (name) return (api.getenv(tostring(name))) end,
  }, { __index = function (_, key) error("os." .. tostring(key) .. " is not there in a configuration", 2) end }),
  io = refuse_table("io", ": read files with FileContents, FileLine, FileLines"),
  debug = refuse_table("debug", ""), package = refuse_table("package", ""),
  require = refuse("require", ": use Include for another part of the configuration"),
  dofile = refuse("dofile", ": use Include"), loadfile = refuse("loadfile", ": use Include"),
  RunScript = refuse("RunScript", ": use Include"),
  print = function (...)
    local out = {}
    for i = 1, select("#", ...) do out[i] = tostring((select(i, ...))) end
    api.print(sub(gsub(concat(out, "\t"), "%z", ""), 1, 4096))
  end,
}

-- Each coroutine has its own hook; without one its lines would not be known.
local function hooked(f)
  local thread = cocreate(f)
  sethook(thread, hook, "l")
  return thread
end
local function pass_on(ok, ...)
  if not ok then error((...), 0) end
  return ...
end
library.coroutine = copy_of(coroutine)
library.coroutine.create = hooked
library.coroutine.wrap = function (f)
  local thread = hooked(f)
  return function (...) return pass_on(coresume(thread, ...)) end
end

`
