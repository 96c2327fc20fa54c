// @ts-check
// The Lua half of the configuration, last part: running it all, and writing what was set as JSON.
// See lua-prelude.js.

export const LUA_ANSWER = String.raw`
---- Writing down what was set -------------------------------------------------------------------------------

local nodes, text_bytes = 0, 0
local escapes = { ['"'] = '\\"', ["\\"] = "\\\\" }

local function quote(text)
  return '"' .. gsub(text, '[%c"\\\127]', function (c) return escapes[c] or format("\\u%04x", c:byte()) end) .. '"'
end

local function fail(path, text) error({ path = path, text = text }, 0) end

local function encode(value, path, depth, open)
  nodes = nodes + 1
  if nodes > MAX_NODES then fail(path, "is too much: all options together may hold " .. MAX_NODES .. " values") end
  local kind = type(value)
  if kind == "string" then
    text_bytes = text_bytes + #value
    if text_bytes > MAX_TEXT then fail(path, "is too long: all options may have " .. MAX_TEXT .. " bytes of text") end
    if not utf8len(value) then fail(path, "has bytes that are not UTF-8 text") end
    return quote(value)
  elseif kind == "number" then
    if value ~= value then fail(path, "is not a number (0/0)") end
    if value == HUGE then return '["n","inf"]' elseif value == -HUGE then return '["n","-inf"]' end
    return mathtype(value) == "integer" and format("%d", value) or format("%.17g", value)
  elseif kind == "boolean" then
    return tostring(value)
  elseif kind ~= "table" then
    fail(path, "is a " .. kind .. ", which an option cannot hold")
  end
  value = plain(value)
  if open[value] then fail(path, "contains itself") end
  if depth > MAX_DEPTH then fail(path, "is nested more than " .. MAX_DEPTH .. " tables deep") end
  open[value] = true
  local count, out = 0, {}
  for _ in next, value do count = count + 1 end
  if count == rawlen(value) then
    for i = 1, count do out[i] = encode(rawget(value, i), path .. "[" .. i .. "]", depth + 1, open) end
    open[value] = nil
    return count == 0 and '["l"]' or '["l",' .. concat(out, ",") .. "]"
  end
  for key, item in next, value do
    if type(key) ~= "string" and type(key) ~= "number" then fail(path, "has a key that is a " .. type(key)) end
    if type(key) == "string" and not utf8len(key) then fail(path, "has a key that is not UTF-8 text") end
    local name = tostring(key)
    text_bytes = text_bytes + #name
    out[#out + 1] = quote(name)
    local shown = match(name, "^[%a_][%w_]*$") and path .. "." .. name or path .. '["' .. sub(name, 1, 200) .. '"]'
    out[#out + 1] = encode(item, shown, depth + 1, open)
  end
  open[value] = nil
  return '["t",' .. concat(out, ",") .. "]"
end

local function encode_flat(record)
  local out = {}
  for key, value in next, record do
    local text = type(value) == "string" and quote(utf8len(value) and value or "(not UTF-8)") or tostring(value)
    out[#out + 1] = quote(key) .. ":" .. text
  end
  return "{" .. concat(out, ",") .. "}"
end

local function encode_option(host, name, entry, out)
  if not utf8len(name) then
    return problem("error", "the name of an option is not UTF-8 text", { host = host, file = entry.file, line = entry.line })
  end
  if type(entry.value) == "function" then
    return problem("warning", name .. " is a function, which no option can be: it is left out " ..
      "(write local function for a helper)", { host = host, option = name, file = entry.file, line = entry.line,
      helper = true })
  end
  local ok, text = pcall(encode, entry.value, name, 0, {})
  if not ok then
    if type(text) ~= "table" then error(text, 0) end
    return problem("error", text.path .. " " .. text.text,
      { host = host, option = name, file = entry.file, line = entry.line })
  end
  local gone = {}
  for item in next, taken[plain(entry.value)] or {} do
    if type(item) == "string" and utf8len(item) then gone[#gone + 1] = item end
  end
  sort(gone)
  for i, item in ipairs(gone) do gone[i] = quote(item) end
  out[#out + 1] = format('{"host":%s,"name":%s,"file":%d,"line":%d,"value":%s,"taken":[%s]}', quote(host),
    quote(name), entry.file, entry.line, text, concat(gone, ","))
end

local function answer()
  local out_hosts, out_options, out_problems = {}, {}, {}
  local all = { "*" }
  for i, host in ipairs(hosts) do
    all[i + 1] = host.name
    out_hosts[i] = encode_flat(host)
  end
  for _, host in ipairs(all) do
    for _, name in ipairs(order[host]) do
      local entry = options[host][name]
      if entry.value ~= nil then encode_option(host, name, entry, out_options) end
    end
  end
  for i, item in ipairs(problems) do out_problems[i] = encode_flat(item) end
  return '{"hosts":[' .. concat(out_hosts, ",") .. '],"options":[' .. concat(out_options, ",") ..
    '],"problems":[' .. concat(out_problems, ",") .. "]}"
end

---- ---------------------------------------------------------------------------------------------------------

sethook(hook, "l")
local ok, why = pcall(function ()
  local text, unreadable = read(api.main)
  if not text then error("cannot be read: " .. unreadable, 0) end
  run(api.main, text)
end)
sethook()
if ok then
  ok, why = pcall(answer)
end
if ok then
  api.done(why)
else
  if type(why) ~= "string" then
    -- an error may be any value; its __tostring is the operator's code and may fail as well
    local shown, text = pcall(tostring, why)
    why = shown and text or "an error that is a " .. type(why)
  end
  api.failed(sub(utf8len(why) and why or gsub(why, "[\128-\255]", "?"), 1, 4000), last_file, last_line)
end
`
