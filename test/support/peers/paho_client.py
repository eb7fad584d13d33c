"""paho, of Debian's python3-paho-mqtt, as a client for tests.

usage: paho_client.py sub PORT VERSION QOS COUNT FILTER    prints "ready", then ">TOPIC PAYLOAD QOS RETAIN" for each message
       paho_client.py pub PORT VERSION QOS RETAIN          publishes the lines "TOPIC PAYLOAD" of stdin, in order
VERSION is 4 or 5.
"""

import sys

import paho.mqtt.client as mqtt
from paho.mqtt.subscribeoptions import SubscribeOptions


def client_of(version):
    return mqtt.Client(protocol=mqtt.MQTTv5 if version == "5" else mqtt.MQTTv311)


def subscribe(port, version, qos, count, topic_filter):
    client = client_of(version)
    left = int(count)

    def on_connect(*_):
        if version == "5":
            client.subscribe(topic_filter, options=SubscribeOptions(qos=int(qos)))
        else:
            client.subscribe(topic_filter, int(qos))

    def on_subscribe(*_):
        print("ready", flush=True)

    def on_message(_client, _userdata, message):
        nonlocal left
        left -= 1
        print(f">{message.topic} {message.payload.decode()} {message.qos} {int(message.retain)}", flush=True)
        if left == 0:
            client.disconnect()

    client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
    client.connect("127.0.0.1", int(port))
    client.loop_forever()


def publish(port, version, qos, retain):
    client = client_of(version)
    client.connect("127.0.0.1", int(port))
    client.loop_start()
    sent = []
    for line in sys.stdin:
        topic, payload = line.rstrip("\n").split(" ", 1)
        sent.append(client.publish(topic, payload, int(qos), retain == "1"))
    for info in sent:
        info.wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


{"sub": subscribe, "pub": publish}[sys.argv[1]](*sys.argv[2:])
