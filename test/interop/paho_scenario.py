"""The scenario by Eclipse paho: reads {host, port, version, prefix, steps} as JSON, writes what each listener saw."""
import json
import socket
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

job = json.load(sys.stdin)
FIVE = job["version"] == 5
PREFIX = job["prefix"]
TIMEOUT = 10


def prefixed(topic):
    if topic.startswith("$share/"):
        share, group, rest = topic.split("/", 2)
        return f"{share}/{group}/{PREFIX}/{rest}"
    return f"{PREFIX}/{topic}"


class Client:
    def __init__(self, name="", keep=0, will=None):
        self.changed = threading.Condition()
        self.connected = False
        self.gone = False
        self.done = set()
        self.seen = []
        if FIVE:
            self.mqtt = mqtt.Client(name, protocol=mqtt.MQTTv5)
        else:
            self.mqtt = mqtt.Client(name, clean_session=keep == 0, protocol=mqtt.MQTTv311)
        self.mqtt.on_connect = lambda *_: self.tell("connected", True)
        self.mqtt.on_disconnect = lambda *_: self.tell("gone", True)
        self.mqtt.on_message = self.on_message
        self.mqtt.on_subscribe = lambda _client, _data, mid, *_: self.finish(mid)
        self.mqtt.on_unsubscribe = lambda _client, _data, mid, *_: self.finish(mid)
        if will:
            self.mqtt.will_set(prefixed(will["topic"]), will["payload"], will["qos"], will.get("retain", False))
        if FIVE:
            properties = Properties(PacketTypes.CONNECT)
            if keep:
                properties.SessionExpiryInterval = keep
            self.mqtt.connect(job["host"], job["port"], clean_start=keep == 0, properties=properties)
        else:
            self.mqtt.connect(job["host"], job["port"])
        self.mqtt.loop_start()
        self.wait("CONNACK", lambda: self.connected)

    def tell(self, name, value):
        with self.changed:
            setattr(self, name, value)
            self.changed.notify_all()

    def finish(self, mid):
        with self.changed:
            self.done.add(mid)
            self.changed.notify_all()

    def wait(self, what, predicate):
        with self.changed:
            if not self.changed.wait_for(predicate, TIMEOUT):
                sys.exit(f"waited {TIMEOUT} s for {what}; saw {self.seen}")

    def acknowledged(self, result):
        self.wait("an acknowledgement", lambda: result[1] in self.done)

    def on_message(self, _client, _data, message):
        seen = {
            "topic": message.topic[len(PREFIX) + 1 :],
            "payload": message.payload.decode(),
            "qos": message.qos,
            "retain": bool(message.retain),
        }
        if FIVE:
            told = {}
            properties = message.properties
            for name, key in NAMES.items():
                if hasattr(properties, name):
                    told[key] = getattr(properties, name)
            if "userProperties" in told:
                told["userProperties"] = [list(pair) for pair in told["userProperties"]]
            if "correlationData" in told:
                told["correlationData"] = told["correlationData"].decode()
            if told:
                seen["properties"] = told
            if hasattr(properties, "SubscriptionIdentifier"):
                seen["identifier"] = properties.SubscriptionIdentifier[0]
        with self.changed:
            self.seen.append(seen)
            self.changed.notify_all()

    def end(self):
        self.mqtt.disconnect()
        self.wait("the end", lambda: self.gone)
        self.mqtt.loop_stop()

    def lose(self):
        self.mqtt.socket().shutdown(socket.SHUT_RDWR)
        self.wait("the loss", lambda: self.gone)
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


NAMES = {
    "UserProperty": "userProperties",
    "ContentType": "contentType",
    "ResponseTopic": "responseTopic",
    "CorrelationData": "correlationData",
    "PayloadFormatIndicator": "payloadFormat",
}


def properties_for(told):
    properties = Properties(PacketTypes.PUBLISH)
    for name, key in NAMES.items():
        if key not in told:
            continue
        if key == "userProperties":
            for pair in told[key]:
                properties.UserProperty = tuple(pair)
        elif key == "correlationData":
            properties.CorrelationData = told[key].encode()
        else:
            setattr(properties, name, told[key])
    return properties


def publish(step):
    client = Client()
    for message in step["publications"]:
        told = properties_for(message["properties"]) if "properties" in message else None
        info = client.mqtt.publish(
            prefixed(message["topic"]), message["payload"], message["qos"], message.get("retain", False), told
        )
        info.wait_for_publish(TIMEOUT)
    client.end()


def die(step):
    client = Client(will=step["will"])
    client.end() if step["isPolite"] else client.lose()


def subscribe(client, step, topic):
    if not FIVE:
        return client.acknowledged(client.mqtt.subscribe(prefixed(topic), step["qos"]))
    options = SubscribeOptions(
        step["qos"],
        retainAsPublished=step.get("retainAsPublished", False),
        retainHandling=step.get("retainHandling", 0),
    )
    properties = Properties(PacketTypes.SUBSCRIBE)
    if "identifier" in step:
        properties.SubscriptionIdentifier = step["identifier"]
    client.acknowledged(client.mqtt.subscribe(prefixed(topic), options=options, properties=properties))


def listen(step):
    client = Client(f"{PREFIX}-{step['client']}", step["keepS"])
    dropped = step.get("dropped", [])
    for topic in dropped + step["filters"]:
        subscribe(client, step, topic)
    for topic in dropped:
        client.acknowledged(client.mqtt.unsubscribe(prefixed(topic)))
    for inner in step["meanwhile"]:
        publish(inner) if inner["do"] == "publish" else die(inner)
    client.wait(f"{step['client']}'s messages", lambda: len(client.seen) >= len(step["sees"]))
    client.end()
    return client.seen


transcript = []
for each in job["steps"]:
    if each["do"] == "listen":
        transcript.append(listen(each))
    elif each["do"] == "publish":
        publish(each)
json.dump(transcript, sys.stdout)
