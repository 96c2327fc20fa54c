"""A person's client with slixmpp and its plugins, driven by a test: JSON lines, see slixmpp_lines.py.

A command that asks the server something is answered by one event "answer" that bears its "ref".
"""

import argparse
import asyncio
import datetime
import logging

from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp_lines import obey, tell

PLUGINS = (
    "xep_0004", "xep_0012", "xep_0030", "xep_0048", "xep_0049", "xep_0054", "xep_0059", "xep_0077", "xep_0085",
    "xep_0092", "xep_0115", "xep_0184", "xep_0191", "xep_0198", "xep_0199", "xep_0202", "xep_0203", "xep_0280",
    "xep_0297", "xep_0308", "xep_0313", "xep_0333", "xep_0334", "xep_0352", "xep_0359", "xep_0441",
)
# Seconds between two attempts to connect.
PAUSE = 0.1


class Complaints(logging.Handler):
    """What slixmpp finds worth a warning is told like everything else."""

    def emit(self, record):
        tell("complaint", level=record.levelname, of=record.name, text=record.getMessage())


class Client(ClientXMPP):
    def __init__(self, options):
        super().__init__(options.jid, options.password)
        self.options = options
        self.ca_certs = options.ca
        self.auto_authorize = None  # the test answers subscription requests
        self.auto_subscribe = False
        self.leaving = False
        self.failures = []
        # Each message bears an id of its sender (XEP-0359).
        self.use_message_ids = True
        self.use_origin_id = True
        for plugin in PLUGINS:
            self.register_plugin(plugin)
        # The test says when a ping is due.
        self["xep_0199"].keepalive = False
        # Asks for an acknowledgement of every stanza.
        self["xep_0198"].window = self["xep_0198"].window_counter = 1
        self.heard("session_start", self.online, "online")
        self.heard("session_resumed", self.resumed, "resumed")
        self.heard("sm_enabled", lambda name, stanza: tell(name, resume=stanza["resume"]), "sm_enabled")
        self.heard("sm_failed", lambda name, stanza: tell(name), "sm_failed")
        self.heard("stanza_acked", lambda name, stanza: tell(name, id=stanza["id"]), "acked")
        self.heard("csi_enabled", lambda name, _: tell(name), "csi_enabled")
        self.heard("failed_auth", lambda _, failure: self.failures.append(failure["condition"]), "")
        self.heard("failed_all_auth", lambda name, _: tell(name, failures=self.failures), "failed_auth")
        self.heard("message", lambda name, stanza: tell(name, **message_facts(stanza)), "message")
        self.heard("message_error", lambda name, stanza: tell(
            name, sender=stanza["from"].full, condition=stanza["error"]["condition"]), "error")
        self.heard("carbon_received", lambda name, stanza: tell(
            name, **message_facts(stanza["carbon_received"])), "carbon_received")
        self.heard("carbon_sent", lambda name, stanza: tell(name, **message_facts(stanza["carbon_sent"])), "carbon_sent")
        self.heard("roster_update", self.pushed, "push")
        for kind in ("blocked", "unblocked"):
            key = kind[:-2]
            self.heard(kind, lambda name, stanza, key=key: tell(name, jids=jids(stanza[key]["items"])), kind)
        for kind in ("available", "away", "chat", "dnd", "xa", "unavailable", "error",
                     "subscribe", "subscribed", "unsubscribe", "unsubscribed"):
            self.heard(f"presence_{kind}", self.presence, "presence")
        self.add_event_handler("disconnected", self.lost)

    def heard(self, event, handler, name):
        self.add_event_handler(event, lambda payload: handler(name, payload))

    def begin(self):
        self.connect(("127.0.0.1", self.options.port))

    def online(self, name, _):
        tls = self.transport.get_extra_info("ssl_object")
        tell(name, jid=self.boundjid.full, mechanism=self["feature_mechanisms"].mech.name,
             tls=tls.version() if tls else None, features=sorted(self.features))

    def resumed(self, name, stanza):
        tell(name, jid=self.boundjid.full, handled=stanza["h"], sent=self["xep_0198"].seq)

    async def lost(self, _):
        tell("disconnected")
        if self.leaving:
            return
        await asyncio.sleep(PAUSE)
        self.begin()

    def presence(self, name, stanza):
        caps = stanza.get_plugin("caps", check=True)
        tell(name, sender=stanza["from"].full, type=stanza["type"], status=stanza["status"],
             caps=caps["node"] if caps else None)

    def pushed(self, name, stanza):
        if stanza["type"] == "set":
            tell(name, items=roster_items(stanza))

    # Commands that are not answered

    def say(self, to, body, type="chat"):
        self.make_message(mto=to, mbody=body, mtype=type).send()

    def abort_connection(self):
        self.abort()

    def leave(self):
        self.leaving = True
        # It does not clear up its own tasks.
        logging.disable()
        # It may be between two connections: there is nothing to wait for then.
        if not self.is_connected():
            asyncio.get_running_loop().stop()
        return self.disconnect(wait=1)

    # Commands that are

    async def roster_of(self):
        """What it knows after it has asked: a server that knows its version has nothing to add."""
        await self.get_roster()
        known = self.client_roster
        return {"items": {jid: {
            "subscription": known[jid]["subscription"], "name": known[jid]["name"],
            "groups": sorted(known[jid]["groups"]), "ask": "subscribe" if known[jid]["pending_out"] else "",
        } for jid in known.keys() if jid != self.boundjid.bare}}

    async def roster_set(self, jid, name, groups):
        iq = self.make_iq_set()
        iq["roster"]["items"] = {jid: {"name": name, "groups": groups}}
        await iq.send()
        return {}

    async def disco_info(self, jid, node=None):
        info = (await self["xep_0030"].get_info(jid=jid, node=node, cached=False))["disco_info"]
        return {"features": sorted(info["features"]), "identities": sorted(
            [list(identity[:2]) for identity in info["identities"]])}

    async def disco_items(self, jid):
        items = (await self["xep_0030"].get_items(jid=jid))["disco_items"]["items"]
        return {"items": sorted(item[0] for item in items)}

    async def vcard_set(self, name, url):
        vcard = self["xep_0054"].make_vcard()
        vcard["FN"] = name
        vcard["URL"] = url
        await self["xep_0054"].publish_vcard(vcard)
        return {}

    async def vcard_of(self, jid=None):
        vcard = (await self["xep_0054"].get_vcard(jid, local=False, cached=False))["vcard_temp"]
        return {"name": vcard["FN"], "url": vcard["URL"]}

    async def last_activity(self, jid):
        answer = await self["xep_0012"].get_last_activity(jid)
        return {"seconds": answer["last_activity"]["seconds"], "status": answer["last_activity"]["status"]}

    async def bookmarks_set(self, rooms):
        bookmarks = self["xep_0048"].stanza.Bookmarks()
        for jid, name in rooms.items():
            bookmarks.add_conference(jid, "me", autojoin=True, name=name)
        await self["xep_0048"].set_bookmarks(bookmarks, method="xep_0049")
        return {}

    async def bookmarks(self):
        answer = await self["xep_0048"].get_bookmarks(method="xep_0049")
        return {"rooms": {str(room["jid"]): room["name"] for room in answer["private"]["bookmarks"]["conferences"]}}

    async def block(self, jids):
        await self["xep_0191"].block(jids)
        return {}

    async def unblock(self, jids):
        await self["xep_0191"].unblock(jids)
        return {}

    async def block_list(self):
        return {"jids": jids((await self["xep_0191"].get_blocked())["blocklist"]["items"])}

    async def carbons(self, on):
        await (self["xep_0280"].enable() if on else self["xep_0280"].disable())
        return {}

    async def csi(self, active):
        self["xep_0352"].send_active() if active else self["xep_0352"].send_inactive()
        return {}

    async def archive(self, partner=None, page=10, reverse=False):
        """All of it, page by page."""
        messages = []
        async for message in self["xep_0313"].iterate(with_jid=partner, rsm={"max": page}, reverse=reverse):
            result = message["mam_result"]
            forwarded = result["forwarded"]
            stamp = forwarded["delay"]["stamp"]
            messages.append({**message_facts(forwarded["stanza"]), "archived": result["id"],
                             "at": stamp.isoformat() if isinstance(stamp, datetime.datetime) else str(stamp)})
        return {"messages": messages}

    async def archive_metadata(self):
        metadata = (await self["xep_0313"].get_archive_metadata())["mam_metadata"]
        return {"start": metadata["start"]["id"], "end": metadata["end"]["id"]}

    async def archive_fields(self):
        return {"fields": sorted((await self["xep_0313"].get_fields()).get_fields())}

    async def archive_preferences(self, default=None, always=(), never=()):
        if default is not None:
            await self["xep_0441"].set_preferences(default=default, always=always, never=never)
        default, always, never = await self["xep_0441"].get_preferences()
        return {"default": default, "always": jids(always), "never": jids(never)}

    async def ping(self, jid=None):
        await self["xep_0199"].send_ping(jid)
        return {}

    async def version(self, jid):
        return {"name": (await self["xep_0092"].get_version(jid))["software_version"]["name"]}

    async def time(self, jid):
        # Its own reading of the time fails at the zone that XEP-0202 wants.
        answer = await self["xep_0202"].get_entity_time(jid)
        return {"utc": answer["entity_time"]._get_sub_text("utc")}

    async def registration(self):
        form = (await self["xep_0077"].get_registration())["register"]
        return {"registered": form["registered"], "username": form["username"]}

    async def change_password(self, password):
        await self["xep_0077"].change_password(password)
        return {}

    async def stream_management(self):
        plugin = self["xep_0198"]
        return {"handled": plugin.handled, "unacked": len(plugin.unacked_queue)}

    def asked(self, question):
        """A command from a question: its outcome is told."""
        async def ask(ref, **facts):
            try:
                tell("answer", ref=ref, condition=None, **await question(**facts))
            except IqError as error:
                tell("answer", ref=ref, condition=error.condition)
            except IqTimeout:
                tell("answer", ref=ref, condition="nothing came")
            except Exception as error:
                tell("answer", ref=ref, condition=repr(error))
        return ask

    def commands(self):
        questions = (
            self.disco_info, self.disco_items, self.roster_set, self.vcard_set, self.vcard_of, self.last_activity,
            self.bookmarks_set, self.bookmarks, self.block, self.unblock, self.block_list, self.carbons, self.csi,
            self.archive, self.archive_metadata, self.archive_fields, self.archive_preferences, self.ping,
            self.version, self.time, self.registration, self.change_password, self.stream_management,
        )
        return {
            **{question.__name__: self.asked(question) for question in questions},
            "roster": self.asked(self.roster_of),
            "message": self.say,
            "presence": lambda to=None, type=None, status=None: self.send_presence(
                pto=to, ptype=type, pstatus=status),
            "abort": self.abort_connection,
            "quit": self.leave,
        }


def message_facts(stanza):
    facts = {"sender": stanza["from"].full, "to": stanza["to"].full, "type": stanza["type"], "body": stanza["body"],
             "origin": stanza["origin_id"]["id"], "stable": stanza["stanza_id"]["id"],
             "by": str(stanza["stanza_id"]["by"])}
    delay = stanza.get_plugin("delay", check=True)
    return {**facts, "delayed_by": delay["from"].full if delay else None}


def roster_items(stanza):
    return {str(jid): {"subscription": item["subscription"], "name": item["name"], "groups": sorted(item["groups"]),
                       "ask": item["ask"]} for jid, item in stanza["roster"]["items"].items()}


def jids(items):
    return sorted(str(jid) for jid in items)


async def run(options):
    client = Client(options)
    client.begin()
    await obey(client.commands())
    # What it says at its end is to be on its way.
    while client.is_connected():
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--jid", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ca", required=True)
    logging.basicConfig(level=logging.WARNING, handlers=[Complaints()])
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(run(parser.parse_args()))
