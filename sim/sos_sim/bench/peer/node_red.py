"""Node-RED with its serial and MQTT nodes: installed from the lock beside this file, and the flow that it runs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from sos_sim.live import runtime
from sos_sim.live.npm import Package

NODE_RED = Package(
    Path(__file__).resolve().parent,
    Path("node_modules/node-red/red.js"),
    what="Node-RED",
    again="safezone bench peers",
    timeout_s=600.0,  # 20 MB to fetch, 100 MB on the disk
)
# Nothing but what the flow needs: no editor, no palette from elsewhere, no news from outside.
SETTINGS = """module.exports = {
  flowFile: "flow.json", uiHost: "127.0.0.1", uiPort: %d, httpAdminRoot: false, httpNodeRoot: false,
  telemetry: { enabled: false, updateNotification: false }, externalModules: { autoInstall: false },
  logging: { console: { level: "info", metrics: false, audit: false } },
};
"""


def flow(port: Path, broker: int, topic: str) -> list[dict[str, object]]:
    """A serial port that is read line by line, into an MQTT topic at QoS 1; all else as the editor proposes it."""
    return [
        {"id": "tab", "type": "tab", "label": "SOS"},
        {
            "id": "port", "type": "serial-port", "serialport": str(port), "serialbaud": "115200", "databits": "8",
            "parity": "none", "stopbits": "1", "waitfor": "", "dtr": "none", "rts": "none", "cts": "none",
            "dsr": "none", "newline": "\\n", "bin": "false", "out": "char", "addchar": "", "responsetimeout": "10000",
        },
        {
            "id": "broker", "type": "mqtt-broker", "broker": "127.0.0.1", "port": str(broker), "clientid": "",
            "autoConnect": True, "usetls": False, "protocolVersion": "4", "keepalive": "60", "cleansession": True,
        },
        {"id": "lines", "type": "serial in", "z": "tab", "name": "", "serial": "port", "wires": [["alarm"]]},
        {
            "id": "alarm", "type": "mqtt out", "z": "tab", "name": "", "topic": topic, "qos": "1", "retain": "false",
            "broker": "broker", "wires": [],
        },
    ]  # fmt: skip


def write(folder: Path, port: Path, broker: int, topic: str, http: int) -> None:
    """Its user's folder."""
    folder.mkdir(parents=True)
    (folder / "settings.js").write_text(SETTINGS % http, encoding="utf-8")
    (folder / "flow.json").write_text(json.dumps(flow(port, broker, topic)), encoding="utf-8")


async def find() -> list[str]:
    """The command that runs it, installed if need be. Raises SafezoneError with one line that says why it cannot be."""
    node = runtime.find_node()
    script = await asyncio.to_thread(NODE_RED.find, lambda: runtime.find_npm(node))
    return [str(node), str(script)]
