-- What a script sees: the global environment, read-only tables, protected calls, the hook.
--
-- Called with the Python side's functions by name; returns what the Python side calls.
-- All of our Lua has the chunk name "=\1": that is how a frame of ours is told from one of
-- the script's, and how a position inside of ours is found in front of a message.
--
-- A read-only table is an empty proxy; `real` has the table behind it.  What looks at tables
-- without metamethods (next, rawget, rawset ...) is wrapped to look there.

local host, libraries = ...
local as_function = python.as_function
local sethook, getinfo = debug.sethook, debug.getinfo
local type, error, tostring, select, unpack = type, error, tostring, select, unpack
local setmetatable, getmetatable, rawset, rawget, rawequal = setmetatable, getmetatable, rawset, rawget, rawequal
local next, pcall, xpcall, loadstring, setfenv = next, pcall, xpcall, loadstring, setfenv
local create, resume, running, wrap = coroutine.create, coroutine.resume, coroutine.running, coroutine.wrap
local gsub, match, byte, sub, concat = string.gsub, string.match, string.byte, string.sub, table.concat
local insert = table.insert

local OURS = "=\1"
local NO_MEMORY = "not enough memory"
local READ_ONLY = "Attempt to modify a readonly table"
local HOOK_EVERY = 100000
local explain = as_function(host.explain)
local stopped  -- the error that no script may catch: it was killed, or its memory is used up

-- ---- errors ------------------------------------------------------------------------------

-- An error value as the script would have it: a Python exception becomes a string or a table.
local function told(e)
  if type(e) == "userdata" then
    if type(stopped) == "table" then return {err = stopped.err} end  -- the hook struck inside of a function of ours
    local text, is_table, counted = explain(e)
    if text == nil then return e end
    if is_table then return {err = text, ignore_error_stats_update = counted or nil} end
    e = text
  end
  -- coroutine.wrap puts a position in front.
  if type(e) == "string" and sub(e, -#NO_MEMORY) == NO_MEMORY then stopped = stopped or NO_MEMORY end
  return e
end

local function without_our_position(e)
  if type(e) == "string" and byte(e) == 1 then return (gsub(e, "^\1:%d+: ", "")) end
  return e
end

-- The script's frame that an error came from: behind a C function, or behind functions of ours.
local function origin(level)
  local frame = getinfo(level, "Sl")
  if frame and frame.what == "C" then
    level = level + 1
    frame = getinfo(level, "Sl")
  end
  while frame and frame.source == OURS do
    level = level + 1
    frame = getinfo(level, "Sl")
  end
  if frame and frame.what == "tail" then  -- a tail call to a function of ours: which line it was is not known
    return {source = host.for_eval and "@user_script" or "@user_function", currentline = "?"}
  end
  return frame
end

-- "user_script:1: " for an error that a C function raises, as called from Python.
local function where()
  local frame = getinfo(3, "Sl")
  if frame and frame.currentline > 0 and frame.source ~= OURS then
    return frame.short_src .. ":" .. frame.currentline .. ": "
  end
  return ""
end

local function handler(e)
  e = told(e)
  if stopped == NO_MEMORY then return NO_MEMORY end
  local frame = origin(3)
  if type(e) == "string" and byte(e) == 1 then
    local place = frame and frame.short_src and frame.currentline > 0 and frame.short_src .. ":" .. frame.currentline .. ": " or ""
    e = place .. without_our_position(e)
  end
  if type(e) ~= "table" then e = {err = "ERR " .. tostring(e)} end
  if frame then
    e.source = frame.source
    e.line = frame.currentline
  end
  return e
end

-- ---- the time a script takes -----------------------------------------------------------------

local on_hook = as_function(host.hook)

local function raise_stopped()
  if type(stopped) == "string" then error(stopped, 0) end
  error({err = stopped.err}, 0)
end

local REASONS = {
  {err = "ERR Script killed by user with SCRIPT KILL."},
  {err = "ERR Script killed by user with FUNCTION KILL."},
  {err = "ERR FUNCTION LOAD timeout"},
}

local function hook()
  if not stopped then
    stopped = REASONS[on_hook()]
    if not stopped then return end
  end
  raise_stopped()
end

sethook(hook, "", HOOK_EVERY)

-- ---- protected calls ---------------------------------------------------------------------------

local function settle(ok, e, ...)
  if ok then return true, e, ... end
  e = without_our_position(told(e))
  if stopped then raise_stopped() end
  if type(e) == "table" then
    local text = e.err
    if type(text) == "string" or type(text) == "number" then return false, text end
    return false, e, text
  end
  return false, e
end

local function settle_as_it_is(ok, e, ...)
  if ok then return true, e, ... end
  e = without_our_position(told(e))
  if stopped then raise_stopped() end
  return false, e
end

local function script_pcall(...)
  return settle(pcall(...))
end

local function script_xpcall(f, h)
  return settle_as_it_is(xpcall(f, function(e)
    e = without_our_position(told(e))
    if stopped then return e end
    return h(e)
  end))
end

local function script_create(f)
  local create = create
  local co = create(f)
  sethook(co, hook, "", HOOK_EVERY)
  return co
end

local function script_wrap(f)
  if type(f) ~= "function" or getinfo(f, "S").what == "C" then
    local wrap = wrap
    return wrap(f)
  end
  return wrap(function(...)
    sethook(running(), hook, "", HOOK_EVERY)
    return f(...)
  end)
end

local function script_resume(...)
  return settle_as_it_is(resume(...))
end

-- ---- read-only tables ------------------------------------------------------------------------

local real, shown_metatable = {}, {}

local function refuse()
  error(READ_ONLY, 2)
end

local function refuse_here()
  error({err = "ERR " .. READ_ONLY}, 0)
end

local function protect(t)
  local proxy = setmetatable({}, {__index = t, __newindex = refuse})
  real[proxy] = t
  return proxy
end

local function script_next(t, k)
  if real[t] then t = real[t] end
  return next(t, k)
end

local function script_pairs(t)
  if t ~= nil and real[t] then return script_next, t, nil end
  if type(t) ~= "table" then
    local pairs = pairs
    return pairs(t)
  end
  return next, t, nil
end

local function script_rawget(t, k)
  return rawget(t ~= nil and real[t] or t, k)
end

local function script_rawset(...)
  local t = ...
  if t ~= nil and real[t] then refuse_here() end
  return rawset(...)
end

local function script_setmetatable(...)
  local t = ...
  if t ~= nil and real[t] then refuse_here() end
  return setmetatable(...)
end

local function script_getmetatable(...)
  local t = ...
  if type(t) == "string" then return shown_metatable[""] end
  if t ~= nil and real[t] then return shown_metatable[t] end
  return getmetatable(...)
end

local function script_insert(...)
  local t = ...
  if t ~= nil and real[t] then refuse_here() end
  return insert(...)
end

local function script_foreach(t, f)
  local foreach = table.foreach
  return foreach(t ~= nil and real[t] or t, f)
end

-- ---- code from strings: source only, and in the script's environment ----------------------------

local environment

-- Bytecode is no source: behind a blank the compiler says so, as stock's does of the first byte.
local function as_source(text)
  return byte(text) == 27 and " " .. text or text
end

local function script_loadstring(text, name)
  if type(text) ~= "string" and type(text) ~= "number" then
    return loadstring(text, name)
  end
  text = text .. ""
  local f, e = loadstring(as_source(text), name or text)
  if not f then return nil, e end
  return setfenv(f, environment)
end

local function script_load(reader, name)
  if type(reader) ~= "function" then
    local load = load
    return load(reader, name)
  end
  local pieces = {}
  local ok, e = xpcall(function()
    while true do
      local piece = reader()
      if piece == nil or piece == "" then return end
      if type(piece) ~= "string" and type(piece) ~= "number" then error("reader function must return a string", 4) end
      pieces[#pieces + 1] = piece
    end
  end, handler)
  if not ok then
    if stopped then raise_stopped() end
    return nil, e
  end
  local f
  f, e = loadstring(as_source(concat(pieces)), name or "=(load)")
  if not f then return nil, e end
  return setfenv(f, environment)
end

-- ---- libraries ----------------------------------------------------------------------------------

local function copied(t)
  local out = {}
  for k, v in next, t do out[k] = v end
  return out
end

-- The collector belongs to everybody: a script may ask and may collect, not set.
local script_collectgarbage = function(what, ...)
  if what == "stop" or what == "restart" then return 0 end
  if what == "setpause" or what == "setstepmul" then return 200 end
  local collectgarbage = collectgarbage
  if what == nil then return collectgarbage() end
  return collectgarbage(what, ...)
end

local strings, tables, maths, coroutines = copied(string), copied(table), copied(math), copied(coroutine)
tables.insert = script_insert
tables.foreach = script_foreach
coroutines.create, coroutines.wrap, coroutines.resume = script_create, script_wrap, script_resume
for name, f in next, libraries.math(error) do maths[name] = as_function(host.wrapped(f)) end

local function wrapped(functions)
  local out = {}
  for name, f in next, functions do
    out[name] = type(f) == "function" and as_function(host.wrapped(f)) or f
  end
  return out
end

local null = newproxy()
local function new_cjson()
  local cjson = wrapped(libraries.cjson(null, function() return protect(new_cjson()) end))
  cjson.null, cjson._NAME, cjson._VERSION = null, "cjson", "2.1.0"
  return cjson
end
local cmsgpack = wrapped(libraries.cmsgpack())
cmsgpack._NAME, cmsgpack._VERSION = "cmsgpack", "lua-cmsgpack 0.4.0"
cmsgpack._COPYRIGHT = "Copyright (C) 2012, Salvatore Sanfilippo"
cmsgpack._DESCRIPTION = "MessagePack C implementation for Lua"

local function from_python(functions)
  local out = {}
  for name, f in python.iterex(functions) do out[name] = as_function(f) end
  return out
end

-- ---- redis -----------------------------------------------------------------------------------------

local WRONG_REPLY_ARGUMENTS = "ERR wrong number or type of arguments"

local function to_nul(text)
  return match(text, "^[^%z]*")
end

local function error_reply(...)
  local text = ...
  if select("#", ...) ~= 1 or type(text) ~= "string" then return {err = WRONG_REPLY_ARGUMENTS} end
  text = gsub(to_nul(text), "^%-", "")
  local code, message = match(text, "^([^ ]*) (.*)$")
  if not code then code, message = "ERR", text end
  return {err = code .. " " .. match(message, "^[\r\n]*(.-)[\r\n]*$")}
end

local function status_reply(...)
  local text = ...
  if select("#", ...) ~= 1 or type(text) ~= "string" then return {err = WRONG_REPLY_ARGUMENTS} end
  return {ok = text}
end

local constants = {
  LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
  REDIS_VERSION = host.version, REDIS_VERSION_NUM = host.version_number,
}
local redis = copied(constants)
redis.REPL_NONE, redis.REPL_AOF, redis.REPL_SLAVE, redis.REPL_REPLICA, redis.REPL_ALL = 0, 1, 2, 2, 3
redis.error_reply, redis.status_reply = error_reply, status_reply
for name, f in next, from_python(host.redis) do redis[name] = f end

-- ---- the environment ---------------------------------------------------------------------------------

local G = {
  _VERSION = _VERSION, assert = assert, collectgarbage = script_collectgarbage, error = error, gcinfo = gcinfo,
  getmetatable = script_getmetatable, ipairs = ipairs, load = script_load, loadstring = script_loadstring,
  next = script_next, pairs = script_pairs, pcall = script_pcall, rawequal = rawequal, rawget = script_rawget,
  rawset = script_rawset, select = select, setmetatable = script_setmetatable, tonumber = tonumber,
  tostring = tostring, type = type, unpack = unpack, xpcall = script_xpcall,
  string = protect(strings), table = protect(tables), math = protect(maths), coroutine = protect(coroutines),
  cjson = protect(new_cjson()), cmsgpack = protect(cmsgpack), struct = protect(from_python(host.struct)),
  bit = protect(from_python(host.bit)), redis = protect(redis),
}

local function unknown_global(_, name)
  error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
end

local guard = {__index = unknown_global}
setmetatable(G, guard)
environment = protect(G)
G._G = environment
shown_metatable[environment] = protect(guard)
getmetatable("").__index = strings
shown_metatable[""] = protect({__index = G.string})
if host.for_eval then
  G.__redis__err__handler = handler
  G.KEYS, G.ARGV = {}, {}
end

-- A library is loaded with nothing but this.
local loading = {redis = copied(constants)}
for name, f in next, from_python(host.loading) do loading.redis[name] = f end
loading.redis = protect(setmetatable(loading.redis, guard))
local loading_environment = protect(setmetatable(loading, guard))
local current = {}  -- where a library's functions look their globals up: `loading` first, then G
local library_environment = protect(setmetatable(current, {__index = G}))

-- ---- what Python calls ---------------------------------------------------------------------------------

local encode = libraries.replies()

-- A field of an error that a script made, whose metatable may raise errors of its own.
local function field(t, k)
  if not getmetatable(t) then return t[k] end
  local ok, v = pcall(function() return t[k] end)
  return ok and v or nil
end

local function word(v)
  if type(v) == "string" or type(v) == "number" then return v .. "" end
end

local function finish(ok, v)
  if ok then
    local kind = type(v)
    if kind == "table" then return encode.reply(v) end
    if kind == "string" or kind == "number" or kind == "boolean" then return v end
    return nil
  end
  if type(v) == "table" then
    local text = field(v, "err")
    if type(text) ~= "string" and type(text) ~= "number" then text = "ERR unknown error" end
    return false, text .. "", word(field(v, "source")), word(field(v, "line")), field(v, "ignore_error_stats_update") and true
  end
  return false, nil, word(v) or "execution failure"
end

local function split(n, a, b, c, ...)
  if n == 1 then return {a}, {b, c, ...} end
  if n == 0 then return {}, {a, b, c, ...} end
  if n == 2 then return {a, b}, {c, ...} end
  local all, keys = {a, b, c, ...}, {}
  for i = 1, n do keys[i] = all[i] end
  return keys, {select(n - 2, ...)}
end

local functions = {}

function functions.eval(f, n, ...)
  stopped = nil
  G.KEYS, G.ARGV = split(n, ...)
  return finish(xpcall(f, handler))
end

function functions.eval_tables(f, keys, arguments)
  stopped = nil
  G.KEYS, G.ARGV = keys, arguments
  return finish(xpcall(f, handler))
end

function functions.call_tables(f, keys, arguments)
  stopped = nil
  return finish(xpcall(function() return f(keys, arguments) end, handler))
end

function functions.call(f, n, ...)
  return functions.call_tables(f, split(n, ...))
end

-- A function, or nil and what is wrong with the source.
function functions.compile(source, name, for_library)
  local f, e = loadstring(as_source(source), name)
  if not f then return nil, e end
  return setfenv(f, for_library and library_environment or environment)
end

-- Run a library's code: true, or false and the error.
function functions.load(f)
  stopped = nil
  local meta = getmetatable(current)
  meta.__index = loading
  local ok, e = pcall(f)
  meta.__index = G
  if ok then return true end
  e = told(e)
  if type(e) == "table" then return false, word(field(e, "err")) or "ERR unknown error" end
  return false, "ERR " .. (word(without_our_position(e)) or "execution failure")
end

function functions.status(text)
  return {ok = text}
end

-- An error as redis.pcall returns it.
function functions.failure(text, counted)
  return {err = text, ignore_error_stats_update = counted or nil}
end

function functions.collect()
  return collectgarbage()
end

functions.where = where
functions.protocol = encode.protocol
return functions
