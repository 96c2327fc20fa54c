-- A server for people: what today's clients look for, over TLS. Replace example.org and the addresses.
--
--   legate check --config im.cfg.lua
--   legate adduser juliet@example.org --config im.cfg.lua
--   legate start --config im.cfg.lua
--
-- It is a prosody.cfg.lua, with Prosody's names of modules and options.


---------- The server ----------

-- Where clients connect: 5222, where they begin TLS themselves, and 5223, which has it from the start. In DNS:
--   _xmpp-client._tcp.example.org.   SRV 0 5 5222 xmpp.example.org.
--   _xmpps-client._tcp.example.org.  SRV 0 5 5223 xmpp.example.org.
c2s_ports = { 5222 }
c2s_direct_tls_ports = { 5223 }

-- Nobody sends a password over a connection that others can read. (This is the default.)
c2s_require_encryption = true

-- Certificates, with their chains, are looked for here by the names in them: certs/example.org.crt and
-- certs/example.org.key, or certs/example.org/fullchain.pem and privkey.pem. After a renewal: legate reload
certificates = "certs"

-- Accounts, contacts, messages. For a backup: legate export FILE, also while the server runs.
data_path = "data"

-- Read by legate status as well; "debug" tells more. For a file: log = { info = "legate.log" }
log = { info = "*console" }

-- Whose addresses are shown to those who look for somebody to write to.
admins = { "juliet@example.org" }


---------- What it can do ----------

modules_enabled = {
  -- without these it is no server for people
  "tls";         -- encryption
  "saslauth";    -- logging in
  "roster";      -- contacts, and who may see whom
  "disco";       -- service discovery: clients find the rest by it
  -- Messages wait for those who are not connected ("offline") unless modules_disabled says otherwise.

  -- several devices, and phones
  "mam";         -- the archive of messages, kept for archive_expires_after
  "carbons";     -- what one device sends and gets, the others get too
  "smacks";      -- nothing is lost when the connection breaks, and the session goes on
  "csi_simple";  -- phones that are not looked at are left alone; "csi" comes with it

  -- people
  "blocklist";   -- blocking somebody
  "vcard";       -- profiles and pictures
  "private";     -- settings and bookmarks of clients
  "register";    -- changing one's password, closing one's account; making one: see allow_registration

  -- about the server
  "ping"; "time"; "version"; "uptime";
  "lastactivity";        -- when a contact was last here
  "server_contact_info"; -- whom to write to; see contact_info

  "limits";      -- how fast one connection may send
}

-- Clients send this much a second at most, and a little more at once; a picture takes longer then, and nobody
-- holds up the others.
limits = {
  c2s = { rate = "50kb/s"; burst = "2s" };
}

archive_expires_after = "4 weeks"
-- Whose messages are kept for accounts that have not said: all (true), none (false), or of contacts ("roster").
default_archive_policy = true

-- How long a session waits for a phone that has lost its connection.
smacks_hibernation_time = "10 minutes"

-- Strangers can not make accounts; legate adduser can. To let them, have both:
-- allow_registration = true
-- min_seconds_between_registrations = 600

-- contact_info = { abuse = { "mailto:abuse@example.org" }; support = { "xmpp:juliet@example.org" } }


---------- Who is here ----------

VirtualHost "example.org"
  name = "The example"
