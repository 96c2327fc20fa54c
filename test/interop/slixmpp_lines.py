"""What both programs share: JSON lines, commands on stdin and events on stdout."""

import asyncio
import json
import sys
from xml.etree import ElementTree


def tell(event, **facts):
    """One event, for the test."""
    print(json.dumps({"event": event, **facts}), flush=True)


def xml_text(element):
    return ElementTree.tostring(element, encoding="unicode")


async def obey(commands):
    """Calls commands[line["do"]](**rest) for each line; the end of stdin is the command quit."""
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        name = command.pop("do")
        try:
            answer = commands[name](**command)
            if asyncio.iscoroutine(answer):
                asyncio.ensure_future(answer)
        except Exception as error:  # told, not hidden: the test decides
            tell("exception", of=name, reason=repr(error))
        if name == "quit":
            return
    commands["quit"]()
