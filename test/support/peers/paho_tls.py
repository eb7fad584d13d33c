"""paho, of Debian's python3-paho-mqtt, over TLS.

usage: paho_tls.py PORT VERSION CA CERT KEY TOPIC PAYLOAD    publishes with QoS 1; CERT and KEY may be "-"
VERSION is 4 or 5. Ends with 1 and says why when it is not let in.
"""

import sys

import paho.mqtt.client as mqtt


def main(port, version, ca, cert, key, topic, payload):
    client = mqtt.Client(protocol=mqtt.MQTTv5 if version == "5" else mqtt.MQTTv311)
    client.tls_set(ca, None if cert == "-" else cert, None if key == "-" else key)
    refusals = []

    def on_connect(_client, _userdata, _flags, reason, *_):
        if reason != 0:
            refusals.append(str(reason))
            client.disconnect()
            return
        client.publish(topic, payload, 1)

    client.on_connect = on_connect
    client.on_publish = lambda *_: client.disconnect()
    client.on_disconnect = lambda _client, _userdata, reason, *_: refusals.append(str(reason)) if reason != 0 else None
    client.connect("127.0.0.1", int(port))
    while not refusals and client.loop(1) == 0:
        pass
    if refusals:
        sys.exit(f"refused: {refusals}")


main(*sys.argv[1:])
