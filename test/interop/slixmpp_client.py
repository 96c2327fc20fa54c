"""A client with slixmpp, driven by a test: JSON lines, see slixmpp_lines.py."""

import argparse
import asyncio
import logging
from xml.etree import ElementTree

from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp_lines import obey, tell, xml_text


class Client(ClientXMPP):
    def __init__(self, options):
        super().__init__(options.jid, options.password)
        self.options = options
        if options.ca:
            self.ca_certs = options.ca
        if options.mechanism:
            self["feature_mechanisms"].use_mech = options.mechanism
        self.auto_authorize = None  # the test answers subscription requests
        self.auto_subscribe = False
        self.failures = []
        self.add_event_handler("session_start", self.started)
        self.add_event_handler("failed_auth", lambda failure: self.failures.append(
            [self["feature_mechanisms"].mech.name, failure["condition"]]))
        self.add_event_handler("failed_all_auth", lambda _: tell("failed_auth", failures=self.failures))
        self.add_event_handler("ssl_invalid_chain", lambda error: self.untrusted(error))
        self.add_event_handler("message", self.message)
        self.add_event_handler("disconnected", lambda _: tell("disconnected"))
        for kind in ("available", "unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed"):
            self.add_event_handler(f"presence_{kind}", self.presence)
        self.add_event_handler("roster_update", self.pushed)

    def begin(self):
        tls = not self.options.no_tls
        self.connect(("127.0.0.1", self.options.port), force_starttls=tls, disable_starttls=not tls)

    async def started(self, _):
        tls = self.transport.get_extra_info("ssl_object")
        tell("online", jid=self.boundjid.full, mechanism=self["feature_mechanisms"].mech.name,
             tls=tls.version() if tls else None, failures=self.failures)

    def untrusted(self, error):
        tell("untrusted", reason=str(error))
        self.abort()

    def message(self, stanza):
        tell("message", sender=stanza["from"].full, type=stanza["type"], body=stanza["body"])

    def presence(self, stanza):
        tell("presence", sender=stanza["from"].full, type=stanza["type"])

    def pushed(self, stanza):
        # What slixmpp has kept: with roster versioning a result is empty if that is right.
        kept = {jid: self.client_roster[jid]["subscription"] for jid in self.client_roster.keys()}
        tell("roster", type=stanza["type"], items={
            jid: subscription for jid, subscription in kept.items() if subscription != "none"})

    def send_message_to(self, to, body):
        self.send_message(mto=to, mbody=body, mtype="chat")

    async def ask(self, type, payload, to=None, id=None):
        iq = self.Iq()
        iq["type"] = type
        if to is not None:
            iq["to"] = to
        if id is not None:
            iq["id"] = id
        iq.append(ElementTree.fromstring(payload))
        try:
            answer = await iq.send(timeout=10)
        except IqError as error:
            answer = error.iq
        except IqTimeout:
            tell("answer", id=iq["id"], type="timeout")
            return
        sender = answer["from"].full or None
        tell("answer", id=answer["id"], type=answer["type"], sender=sender, to=answer["to"].full or None,
             condition=answer["error"]["condition"] if answer["type"] == "error" else None,
             payload=[xml_text(child) for child in answer.xml])

    def commands(self):
        return {
            "message": self.send_message_to,
            "presence": lambda to=None, type=None: self.send_presence(pto=to, ptype=type),
            "roster": lambda: self.get_roster(),
            "ask": self.ask,
            "quit": lambda: self.disconnect(),
        }


async def run(options):
    client = Client(options)
    client.begin()
    ended = client.disconnected
    await obey(client.commands())
    await ended


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--jid", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ca")
    parser.add_argument("--mechanism")
    parser.add_argument("--no-tls", action="store_true")
    logging.basicConfig(level=logging.ERROR)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(run(parser.parse_args()))
