"""A component with slixmpp that manages namespaces (XEP-0355), driven by a test: see slixmpp_lines.py.

slixmpp 1.8 has no plugin for XEP-0355; its stanzas are declared here as its users would.
"""

import argparse
import asyncio
import logging
from xml.etree import ElementTree

from slixmpp import ComponentXMPP
from slixmpp.plugins.xep_0297 import Forwarded
from slixmpp.stanza import Iq, Message
from slixmpp.xmlstream import ElementBase, register_stanza_plugin
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath
from slixmpp_lines import obey, tell, xml_text

NS_CLIENT = "jabber:client"


class Delegation(ElementBase):
    name = "delegation"
    namespace = "urn:xmpp:delegation:2"
    plugin_attrib = "delegation"


class Delegated(ElementBase):
    name = "delegated"
    namespace = "urn:xmpp:delegation:2"
    plugin_attrib = "delegated"
    plugin_multi_attrib = "namespaces"
    interfaces = {"namespace"}


class Attribute(ElementBase):
    name = "attribute"
    namespace = "urn:xmpp:delegation:2"
    plugin_attrib = "attribute"
    plugin_multi_attrib = "filters"
    interfaces = {"name"}


register_stanza_plugin(Message, Delegation)
register_stanza_plugin(Iq, Delegation)
register_stanza_plugin(Delegation, Delegated, iterable=True)
register_stanza_plugin(Delegated, Attribute, iterable=True)
register_stanza_plugin(Delegation, Forwarded)


class Manager(ComponentXMPP):
    def __init__(self, options):
        super().__init__(options.jid, options.secret, "127.0.0.1", options.port)
        self.mode = "answer"
        self.add_event_handler("session_start", lambda _: tell("online"))
        self.add_event_handler("disconnected", lambda _: tell("disconnected"))
        self.register_handler(Callback("Advertisement", StanzaPath("message/delegation"), self.advertised))
        self.register_handler(Callback("Forwarded", StanzaPath("iq@type=set/delegation"), self.forwarded))

    def advertised(self, message):
        tell("delegated", sender=message["from"].full, namespaces={
            entry["namespace"]: [rule["name"] for rule in entry["filters"]]
            for entry in message["delegation"]["namespaces"]})

    def forwarded(self, wrapper):
        inner = wrapper["delegation"]["forwarded"].xml.find(f"{{{NS_CLIENT}}}iq")
        payload = inner[0]
        tell("forwarded", type=wrapper["type"], sender=wrapper["from"].full, to=wrapper["to"].full,
             inner=dict(inner.attrib), payload=xml_text(payload))
        if self.mode == "wrapper-error":
            error = wrapper.reply()
            error["type"] = "error"
            error["error"]["condition"] = "internal-server-error"
            error.send()
            return
        reply = wrapper.reply()
        delegation = ElementTree.SubElement(reply.xml, f"{{{Delegation.namespace}}}delegation")
        around = ElementTree.SubElement(delegation, "{urn:xmpp:forward:0}forwarded")
        attributes = {"id": inner.get("id"), "to": inner.get("from"), "type": "result"}
        if inner.get("to") is not None:
            attributes["from"] = inner.get("to")
        if self.mode == "spoof":
            attributes["from"] = "romeo@montague.lit"
        answer = ElementTree.SubElement(around, f"{{{NS_CLIENT}}}iq", attributes)
        if self.mode == "inner-error":
            answer.set("type", "error")
            error = ElementTree.SubElement(answer, f"{{{NS_CLIENT}}}error", {"type": "cancel"})
            ElementTree.SubElement(error, "{urn:ietf:params:xml:ns:xmpp-stanzas}item-not-found")
        else:
            name = payload.tag
            namespace = name[1:].split("}")[0]
            result = ElementTree.SubElement(answer, name, {"by": "slixmpp"})
            ElementTree.SubElement(result, f"{{{namespace}}}item").text = "O \"Romeo\" & <Juliet> \u2665"
        reply.send()

    def set_mode(self, mode):
        self.mode = mode
        tell("mode", mode=mode)

    def commands(self):
        return {"mode": self.set_mode, "quit": lambda: self.disconnect()}


async def run(options):
    manager = Manager(options)
    manager.connect()
    ended = manager.disconnected
    await obey(manager.commands())
    await ended


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--jid", required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--port", type=int, required=True)
    logging.basicConfig(level=logging.ERROR)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(run(parser.parse_args()))
