// @ts-check
// The Lua half of the configuration, third part: VirtualHost, Component, Include, and running one file.
// See lua-prelude.js.

export const LUA_SECTIONS = String.raw`
---- One file ----------------------------------------------------------------------------------------------

local run  -- run(path): reads and runs a file; raises errors
local including = {}
local include_count = 0

local function declare(kind, name, module)
  local what = kind == "host" and "VirtualHost" or "Component"
  if type(name) ~= "string" or name == "" then
    error(what .. ' needs a name: ' .. what .. ' "example.com"', 3)
  end
  local key = lower(name)
  if key == "*" then error(what .. ' cannot have the name "*"', 3) end
  local file, line = here()
  local before = declared[key]
  if not before then
    before = { name = key, kind = kind, file = file, line = line }
    declared[key] = before
    hosts[#hosts + 1] = before
    options[key], order[key] = {}, {}
  else
    local at = format("legate-config-%d:%d:", before.file, before.line)
    local was = before.kind == "host" and "VirtualHost" or "Component"
    if before.kind ~= kind then
      error(format('%s "%s" is declared as a %s already, at %s give one of them another name, ' ..
        "such as a sub-domain", what, name, was, at), 3)
    end
    problem("warning", format('%s "%s" is declared twice, first at %s both sections count as one',
      what, name, at), { host = key })
  end
  return key
end

local function set_all(host, values)
  local file, line = here()
  local names = {}
  for name in next, values do names[#names + 1] = name end
  sort(names, function (a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do set(host, name, rawget(values, name), file, line) end
end

local function environment(number, path)
  local directory = api.folder(path)
  local current = "*"
  local here_set = {}
  local env, fixed = {}, {}

  local function virtual_host(name)
    local key = declare("host", name)
    current = key
    return function (values)
      current = "*"
      if type(values) == "string" then
        error(format('VirtualHost "%s" takes no module ("%s"): only a Component has one', name, values), 2)
      elseif type(values) ~= "table" then
        error(format('VirtualHost "%s" is followed by a %s: options were expected', name, type(values)), 2)
      end
      set_all(key, plain(values))
    end
  end

  local function component(name)
    local key = declare("component", name)
    current = key
    local function take_options(values)
      current = "*"
      if type(values) ~= "table" then
        error(format('Component "%s" is followed by a %s: a module or options were expected', name, type(values)), 2)
      end
      set_all(key, plain(values))
    end
    return function (module)
      if type(module) ~= "string" then return take_options(module) end
      local before = declared[key].module
      if before and before ~= module then
        error(format('Component "%s" is declared twice, with the modules "%s" and "%s"', name, before, module), 2)
      end
      declared[key].module = module
      return take_options
    end
  end

  local function include(name)
    if type(name) ~= "string" then error("Include needs a file name, is given a " .. type(name), 2) end
    if not match(name, "[*?]") then
      local path = api.resolve(name, directory)
      local text, why = read(path)
      if not text then error(format('Include "%s" cannot be read: %s (%s)', name, why, path), 2) end
      run(path, text)
      return
    end
    local pattern = api.resolve(name, directory)
    if match(api.folder(pattern), "[*?]") then
      error(format('Include "%s": * and ? are only understood in the last part of the path', name), 2)
    end
    local count = api.glob(pattern)
    if count == -2 then error(format('Include "%s" stands for too many files', name), 2) end
    if count == -1 then
      problem("warning", format('Include "%s": the folder %s cannot be read, nothing is included', name,
        api.folder(pattern)))
    end
    local found = {}
    for i = 1, count do found[i] = api.globbed(i - 1) end
    for _, path in ipairs(found) do
      local text, why = read(path)
      if not text then error(format('Include "%s" cannot be read: %s (%s)', name, why, path), 2) end
      run(path, text)
    end
  end

  local function credential(name)
    local folder = api.getenv("CREDENTIALS_DIRECTORY")
    if folder and folder ~= "" then return (read_for("Credential", name, folder)) end
    local number, line = here()
    local option = option_on(number, line)
    local text = (option and option .. ": " or "") ..
      "Credential needs the environment variable CREDENTIALS_DIRECTORY, which systemd sets (LoadCredential=)"
    if not api.credentials_optional then error(text, 2) end
    problem("warning", text, { option = option })
    return nil
  end

  fixed.VirtualHost, fixed.Host, fixed.host = virtual_host, virtual_host, virtual_host
  fixed.Component, fixed.component = component, component
  fixed.Include, fixed.include = include, include
  fixed.FileContents = function (name) return (read_for("FileContents", name, directory)) end
  fixed.FileLine = function (name)
    local text, what = read_for("FileLine", name, directory)
    local line = match(text, "^[^\r\n]*")
    if line == "" then error(what .. ": the first line is empty", 2) end
    return line
  end
  fixed.FileLines = function (name) return split_lines((read_for("FileLines", name, directory))) end
  fixed.Credential = credential
  fixed.load = function (chunk, name, _, scope)
    if type(chunk) ~= "string" then error("load takes text here", 2) end
    return load(chunk, name or "=(load)", "t", scope == nil and env or scope)
  end
  fixed.Lua, fixed._G, fixed.legate_table = library, env, wrap

  return setmetatable(env, {
    __index = function (_, name)
      local value = fixed[name]
      if value ~= nil then return value end
      if type(name) ~= "string" then return nil end
      if sub(name, 1, 4) == "ENV_" then return (api.getenv(sub(name, 5))) end
      value = lookup(current, name)
      -- what is set again after it was read, as in "x = x + { … }", is not forgotten
      here_set[current .. "/" .. name] = nil
      if value == nil then
        value = library[name]
        if value == nil then
          problem("warning", name .. " has no value here (are quotes missing around it?)", { unset = name })
        end
        return value
      end
      if type(value) ~= "table" then return value end
      local reader = setmetatable({}, proxy)
      proxies[reader] = { host = current, option = name }
      return reader
    end,
    __newindex = function (_, name, value)
      if fixed[name] ~= nil then error(tostring(name) .. " cannot be set: it is not an option", 2) end
      local file, line = here()
      local target = proxies[value]
      if target then value = copy_into(wrap {}, plain(value)) end
      local known = options[current][name]
      if known and here_set[current .. "/" .. tostring(name)] and type(known.value) ~= "function" then
        problem("warning", format("%s is set again: the value of line %d is forgotten", name, known.line),
          { host = current, option = name })
      end
      here_set[current .. "/" .. tostring(name)] = true
      set(current, name, value, file, line)
    end,
  })
end

function run(path, text)
  include_count = include_count + 1
  local identity = api.identity(path)
  if including[identity] then error(format("%s includes itself (by way of Include)", path), 0) end
  if include_count > MAX_INCLUDES * 20 or #files > MAX_INCLUDES * 20 then error("too many files are included", 0) end
  including[identity] = true
  local number = #files + 1
  files[number] = path
  api.opened(number, path)
  local name = "legate-config-" .. number
  numbers["@" .. name] = number
  text = gsub(text, "^\u{FEFF}", "")
  lines_of[number] = split_lines(text)
  local env = environment(number, path)
  local chunk, why = load(text, "@" .. name, "t", env)
  if not chunk then error(why, 0) end
  if not match(text, "_ENV") then
    -- a chunk near one of the compiler's limits may not compile once it is wrapped: then it runs as it is
    chunk = load(api.wrap(text, "legate_table"), "@" .. name, "t", env) or chunk
  end
  local outer_file, outer_line = last_file, last_line
  chunk()
  last_file, last_line = outer_file, outer_line
  including[identity] = nil
end

`
