"""Talks to a broker by Paho and prints what it found to work.

    python3 paho_client.py PORT LEVEL

LEVEL is 3 (MQTT 3.1), 4 (3.1.1) or 5. A line "ok NAME" follows each thing that
works; the first that does not ends the program with an error.
"""

import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PATIENCE = 20  # seconds
PORT, LEVEL = int(sys.argv[1]), int(sys.argv[2])
PROTOCOL = {3: mqtt.MQTTv31, 4: mqtt.MQTTv311, 5: mqtt.MQTTv5}[LEVEL]


class Client:
    """A client whose events are waited for."""

    def __init__(self, name, durable=False, will=None):
        args = {"client_id": name, "protocol": PROTOCOL}
        if hasattr(mqtt, "CallbackAPIVersion"):  # Paho 2
            args["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION1
        if LEVEL < 5:
            args["clean_session"] = not durable
        self.durable = durable
        self.messages, self.events = queue.Queue(), queue.Queue()
        self.paho = mqtt.Client(**args)
        self.paho.on_connect = lambda c, u, flags, rc, props=None: self.events.put(("connected", int(getattr(rc, "value", rc)), flags))
        self.paho.on_subscribe = lambda c, u, mid, *rest: self.events.put(("subscribed", mid))
        self.paho.on_unsubscribe = lambda c, u, mid, *rest: self.events.put(("unsubscribed", mid))
        self.paho.on_publish = lambda c, u, mid, *rest: self.events.put(("published", mid))
        self.paho.on_disconnect = lambda *rest: self.events.put(("disconnected",))
        self.paho.on_message = lambda c, u, message: self.messages.put(message)
        if will:
            self.paho.will_set(*will)

    def connect(self):
        if LEVEL == 5:
            props = Properties(PacketTypes.CONNECT)
            props.SessionExpiryInterval = 60 if self.durable else 0
            self.paho.connect("127.0.0.1", PORT, 30, clean_start=not self.durable, properties=props)
        else:
            self.paho.connect("127.0.0.1", PORT, 30)
        self.paho.loop_start()
        event = self.until("connected")
        assert event[1] == 0, event
        return event[2]["session present"] if isinstance(event[2], dict) else event[2].session_present

    def until(self, kind, mid=None):
        while True:
            event = self.events.get(timeout=PATIENCE)
            if event[0] == kind and mid in (None, event[-1]):
                return event

    def subscribe(self, topic, qos):
        if LEVEL == 5:
            result, mid = self.paho.subscribe(topic, options=SubscribeOptions(qos=qos))
        else:
            result, mid = self.paho.subscribe(topic, qos)
        assert result == mqtt.MQTT_ERR_SUCCESS, result
        self.until("subscribed", mid)

    def unsubscribe(self, topic):
        self.until("unsubscribed", self.paho.unsubscribe(topic)[1])

    def publish(self, topic, payload, qos=0, retain=False, properties=None):
        info = self.paho.publish(topic, payload, qos, retain, **({"properties": properties} if LEVEL == 5 else {}))
        self.until("published", info.mid)

    def expect(self, topic, payload, qos=0, retain=False):
        message = self.messages.get(timeout=PATIENCE)
        got = (message.topic, message.payload, message.qos, bool(message.retain))
        assert got == (topic, payload, qos, retain), (got[0], got[1][:40], got[2:])
        return message

    def disconnect(self):
        self.paho.disconnect()
        self.until("disconnected")
        self.paho.loop_stop()

    def vanish(self):
        """Closes the socket without a DISCONNECT."""
        self.paho.loop_stop()
        self.paho.socket().close()


def qos(sub, pub):
    for level in 0, 1, 2:
        sub.subscribe(f"qos/{level}", level)
        for sent in 0, 1, 2:
            pub.publish(f"qos/{level}", b"\x00\xffbinary", sent)
            sub.expect(f"qos/{level}", b"\x00\xffbinary", min(level, sent))


def many(sub, pub):
    sub.subscribe("many/+", 2)
    infos = [pub.paho.publish(f"many/{i % 3}", str(i), 1 + i % 2) for i in range(300)]
    got = [sub.messages.get(timeout=PATIENCE) for _ in infos]
    assert sorted(int(m.payload) for m in got) == list(range(300))
    for level in 1, 2:
        order = [int(m.payload) for m in got if m.qos == level]
        assert order == sorted(order), order


def large(sub, pub):
    sub.subscribe("large", 2)
    payload = bytes(range(256)) * 4000
    pub.publish("large", payload, 2)
    sub.expect("large", payload, 2)


def retained(sub, pub):
    pub.publish("retained/a", b"kept", 1, retain=True)
    sub.subscribe("retained/#", 1)
    sub.expect("retained/a", b"kept", 1, retain=True)
    pub.publish("retained/a", b"", 1, retain=True)
    sub.expect("retained/a", b"", 1)
    sub.unsubscribe("retained/#")
    sub.subscribe("retained/#", 1)
    pub.publish("retained/b", b"live", 1)
    sub.expect("retained/b", b"live", 1)


def will(sub, pub):
    sub.subscribe("will/#", 2)
    polite = Client("polite", will=("will/polite", b"never", 1))
    polite.connect()
    polite.disconnect()
    gone = Client("gone", will=("will/gone", b"farewell", 2))
    gone.connect()
    gone.vanish()
    sub.expect("will/gone", b"farewell", 2)


def session(sub, pub):
    durable = Client("durable", durable=True)
    assert not durable.connect()
    durable.subscribe("session/#", 2)
    durable.disconnect()
    for i in 0, 1, 2:
        pub.publish(f"session/{i}", b"waits", i)
    again = Client("durable", durable=True)
    present = again.connect()
    assert present == (LEVEL > 3), present
    for i in 1, 2:
        again.expect(f"session/{i}", b"waits", i)
    again.unsubscribe("session/#")
    again.disconnect()


def request(sub, pub):
    sub.subscribe("request", 1)
    pub.subscribe("answer", 1)
    props = Properties(PacketTypes.PUBLISH)
    props.ResponseTopic, props.CorrelationData = "answer", b"\x01\x02"
    props.ContentType, props.UserProperty = "text/plain", [("a", "1"), ("a", "2")]
    props.MessageExpiryInterval = 100
    pub.publish("request", b"question", 1, properties=props)
    got = sub.expect("request", b"question", 1).properties
    assert got.ContentType == "text/plain" and got.UserProperty == [("a", "1"), ("a", "2")], got
    assert 98 <= got.MessageExpiryInterval <= 100, got
    answer = Properties(PacketTypes.PUBLISH)
    answer.CorrelationData = got.CorrelationData
    sub.publish(got.ResponseTopic, b"reply", 1, properties=answer)
    assert pub.expect("answer", b"reply", 1).properties.CorrelationData == b"\x01\x02"


def main():
    checks = [qos, many, large, retained, will, session] + ([request] if LEVEL == 5 else [])
    for check in checks:
        sub, pub = Client("sub"), Client("pub")
        sub.connect()
        pub.connect()
        check(sub, pub)
        assert sub.messages.empty(), sub.messages.get().topic
        pub.disconnect()
        sub.disconnect()
        print("ok", check.__name__, flush=True)


main()
