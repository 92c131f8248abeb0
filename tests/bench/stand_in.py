"""Stands in for Node-RED: does what the flow file says, and understands no more of it than these benches need."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import serial
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion


def main(flag: str, folder: str) -> None:
    """Forever. The nodes are found by following the wires."""
    assert flag == "--userDir" and "flow.json" in (Path(folder) / "settings.js").read_text()
    nodes = {node["id"]: node for node in json.loads((Path(folder) / "flow.json").read_text())}
    (source,) = (node for node in nodes.values() if node["type"] == "serial in")
    ((sink,),) = ([nodes[name] for name in wire] for wire in source["wires"])
    assert sink["type"] == "mqtt out" and source["z"] == sink["z"]
    port, broker = nodes[source["serial"]], nodes[sink["broker"]]
    assert (port["type"], broker["type"]) == ("serial-port", "mqtt-broker")
    client = Client(CallbackAPIVersion.VERSION2)
    client.connect(broker["broker"], int(broker["port"]))
    client.loop_start()
    with serial.Serial(port["serialport"], int(port["serialbaud"]), bytesize=int(port["databits"])) as line:
        sys.stdout.write("Connected to broker\n")
        sys.stdout.flush()
        while True:
            client.publish(sink["topic"], line.readline().rstrip(b"\n"), qos=int(sink["qos"]))


main(*sys.argv[1:])
