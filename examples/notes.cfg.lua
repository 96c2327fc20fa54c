-- The smallest configuration for examples/notes-service.ts: a host, and the component that keeps its notes.
--
--   node dist/server/cli/main.js adduser juliet@localhost --config examples/notes.cfg.lua
--   node dist/server/cli/main.js start --config examples/notes.cfg.lua
--   node dist/examples/notes-service.js

interfaces = { "127.0.0.1" }
data_path = "data"
log = { info = "*console" }
modules_enabled = { "tls"; "saslauth"; "roster"; "disco"; "ping"; "delegation" }

VirtualHost "localhost"
  -- IQs in this namespace, sent to localhost or to an account of it, go to notes.localhost.
  delegations = { ["urn:example:notes"] = { jid = "notes.localhost" } }

-- For real use: a long random secret, here and in COMPONENT_SECRET.
Component "notes.localhost"
  component_secret = "secret"
  modules_enabled = { "delegation" }
