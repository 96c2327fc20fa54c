-- A configuration of Legate to begin with: `npm start` runs it. For people with today's clients: im.cfg.lua
--
-- It is a prosody.cfg.lua: the language is Lua, and options have Prosody's names and meaning. Options that stand
-- before the first VirtualHost hold for all hosts; those after a VirtualHost or Component hold for that one.
--
-- To look it through for mistakes:   node dist/server/cli/main.js check --config examples/prosody.cfg.lua
-- To add an account:                 node dist/server/cli/main.js adduser juliet@localhost --config examples/prosody.cfg.lua
-- To apply changes while it runs:    kill -HUP PID (the log tells the PID at the start)


---------- The server ----------

-- Only programs of this machine can connect. Without this line the server is there for everybody:
-- the default is { "*", "::" }, every address of IPv4 and IPv6.
interfaces = { "127.0.0.1", "::1" }

-- Clients connect here. Other ports that are listened on: component_ports, by default { 5347 }.
c2s_ports = { 5222 }

-- Accounts, rosters and the server's own certificates are kept here. Relative to this file.
data_path = "data"

-- The certificates of your hosts are looked for here, by the names in them. A host without one gets one of
-- the server's own making, which is good for trying things out: clients ask whether to trust it.
certificates = "certs"

-- What the server tells, and where; "debug" tells more. For a file: log = { info = "legate.log" }
log = { info = "*console" }

-- What the server can do. Modules of Prosody that Legate does not have yet are left out with a warning.
modules_enabled = {
  "tls";        -- encryption, which clients must use before they log in
  "saslauth";   -- logging in
  "roster";     -- contacts
  "disco";      -- service discovery: what there is, and what it can do
  "ping";
  "time";
  "version";
  "delegation"; -- gives namespaces to other programs; see below
}


---------- Who is here ----------

-- The domain of accounts: juliet@localhost is one.
VirtualHost "localhost"

  -- Namespace delegation (XEP-0355). Requests (IQs) in these namespaces that are meant for localhost or an
  -- account of it do not end in this server: pubsub.localhost gets them, and what it answers goes to whoever
  -- asked. Nobody notices but for what the component can do.
  delegations = {
    ["http://jabber.org/protocol/pubsub"] = {
      jid = "pubsub.localhost";
    };

    -- What examples/notes-service.ts keeps: node dist/examples/notes-service.js connects it.
    ["urn:example:notes"] = { jid = "notes.localhost" };

    -- Only requests whose payload has all of these attributes, and a longer time to answer (in seconds):
    -- ["urn:example:archive"] = { jid = "archive.localhost"; filtering = { "node" }; timeout = 60 };
  }

-- A program that connects from outside (XEP-0114), in whatever language it is written, to port 5347 with this
-- secret. Until it does, requests in its namespaces are answered with service-unavailable.
Component "pubsub.localhost"
  component_secret = "change me: a long word that nobody guesses"

  -- Without this the component is not told which namespaces are its own, and gets nothing.
  modules_enabled = { "delegation" }

Component "notes.localhost"
  component_secret = "secret" -- for trying things out: only programs of this machine reach the port
  modules_enabled = { "delegation" }
