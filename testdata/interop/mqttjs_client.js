// Talks to a broker by MQTT.js and prints what it found to work.
//
//     node mqttjs_client.js PORT LEVEL
//
// PORT is one of 127.0.0.1, or a URL. LEVEL is 3 (MQTT 3.1), 4 (3.1.1) or 5. A line "ok NAME" follows each thing that
// works; the first that does not ends the program with an error.

'use strict'

const assert = require('node:assert/strict')
const mqtt = require('mqtt')

const patience = 20_000 // milliseconds
const broker = process.argv[2].includes('://') ? process.argv[2] : `mqtt://127.0.0.1:${process.argv[2]}`
const level = Number(process.argv[3])

// Client is one whose messages are waited for.
class Client {
  static async connect (clientId, { durable = false, will } = {}) {
    const self = new Client()
    self.messages = []
    self.waiting = []
    self.mqtt = mqtt.connect(broker, {
      clientId,
      protocolVersion: level,
      protocolId: level === 3 ? 'MQIsdp' : 'MQTT',
      clean: !durable,
      reconnectPeriod: 0,
      will,
      properties: level === 5 ? { sessionExpiryInterval: durable ? 60 : 0 } : undefined
    })
    self.mqtt.on('message', (topic, payload, packet) => {
      const taker = self.waiting.shift()
      if (taker) taker(packet)
      else self.messages.push(packet)
    })
    self.connack = await new Promise((resolve, reject) => {
      self.mqtt.once('connect', resolve)
      self.mqtt.once('error', reject)
      self.mqtt.once('close', () => reject(new Error(`${clientId} was not taken in`)))
    })
    return self
  }

  next () {
    if (this.messages.length > 0) return Promise.resolve(this.messages.shift())
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error('a message did not come')), patience)
      this.waiting.push(packet => { clearTimeout(late); resolve(packet) })
    })
  }

  async expect (topic, payload, qos = 0, retain = false) {
    const p = await this.next()
    assert.deepEqual([p.topic, p.qos, p.retain], [topic, qos, retain])
    assert.equal(Buffer.compare(Buffer.from(p.payload), Buffer.from(payload)), 0, `payload of ${topic}`)
    return p
  }

  async subscribe (topic, qos) {
    const granted = await this.mqtt.subscribeAsync(topic, { qos })
    assert.deepEqual(granted.map(g => g.qos), [qos])
  }

  unsubscribe (topic) { return this.mqtt.unsubscribeAsync(topic) }
  publish (topic, payload, options = {}) { return this.mqtt.publishAsync(topic, payload, options) }
  disconnect () { return this.mqtt.endAsync() }
  vanish () { this.mqtt.stream.destroy() } // without a DISCONNECT
}

const checks = {
  async qos (sub, pub) {
    const payload = Buffer.from([0, 255, 98, 105, 110])
    for (const granted of [0, 1, 2]) {
      await sub.subscribe(`qos/${granted}`, granted)
      for (const sent of [0, 1, 2]) {
        await pub.publish(`qos/${granted}`, payload, { qos: sent })
        await sub.expect(`qos/${granted}`, payload, Math.min(granted, sent))
      }
    }
  },

  async many (sub, pub) {
    await sub.subscribe('many/+', 2)
    const sent = []
    for (let i = 0; i < 300; i++) sent.push(pub.publish(`many/${i % 3}`, String(i), { qos: 1 + i % 2 }))
    const got = []
    while (got.length < 300) got.push(await sub.next())
    await Promise.all(sent)
    for (const qos of [1, 2]) {
      const order = got.filter(p => p.qos === qos).map(p => Number(p.payload))
      assert.deepEqual(order, Array.from({ length: 150 }, (_, i) => 2 * i + qos - 1))
    }
  },

  async large (sub, pub) {
    const payload = Buffer.alloc(1_000_000, 'abc')
    await sub.subscribe('large', 2)
    await pub.publish('large', payload, { qos: 2 })
    await sub.expect('large', payload, 2)
  },

  async retained (sub, pub) {
    await pub.publish('retained/a', 'kept', { qos: 1, retain: true })
    await sub.subscribe('retained/#', 1)
    await sub.expect('retained/a', 'kept', 1, true)
    await pub.publish('retained/a', '', { qos: 1, retain: true })
    await sub.expect('retained/a', '', 1)
    await sub.unsubscribe('retained/#')
    await sub.subscribe('retained/#', 1)
    await pub.publish('retained/b', 'live', { qos: 1 })
    await sub.expect('retained/b', 'live', 1)
  },

  async will (sub) {
    await sub.subscribe('will/#', 2)
    const polite = await Client.connect('polite', { will: { topic: 'will/polite', payload: 'never', qos: 1 } })
    await polite.disconnect()
    const gone = await Client.connect('gone', { will: { topic: 'will/gone', payload: 'farewell', qos: 2 } })
    gone.vanish()
    await sub.expect('will/gone', 'farewell', 2)
  },

  async session (sub, pub) {
    const durable = await Client.connect('durable', { durable: true })
    assert.equal(durable.connack.sessionPresent, false)
    await durable.subscribe('session/#', 2)
    await durable.disconnect()
    for (const qos of [0, 1, 2]) await pub.publish(`session/${qos}`, 'waits', { qos })
    const again = await Client.connect('durable', { durable: true })
    assert.equal(again.connack.sessionPresent, level > 3)
    await again.expect('session/1', 'waits', 1)
    await again.expect('session/2', 'waits', 2)
    await again.unsubscribe('session/#')
    await again.disconnect()
  }
}

if (level === 5) {
  checks.request = async (sub, pub) => {
    await sub.subscribe('request', 1)
    await pub.subscribe('answer', 1)
    await pub.publish('request', 'question', {
      qos: 1,
      properties: {
        responseTopic: 'answer',
        correlationData: Buffer.from([1, 2]),
        contentType: 'text/plain',
        userProperties: { a: ['1', '2'] },
        messageExpiryInterval: 100
      }
    })
    const { properties } = await sub.expect('request', 'question', 1)
    assert.equal(properties.contentType, 'text/plain')
    assert.deepEqual(properties.userProperties.a, ['1', '2'])
    assert.ok(properties.messageExpiryInterval >= 98 && properties.messageExpiryInterval <= 100)
    await sub.publish(properties.responseTopic, 'reply', { qos: 1, properties: { correlationData: properties.correlationData } })
    const answer = await pub.expect('answer', 'reply', 1)
    assert.deepEqual([...answer.properties.correlationData], [1, 2])
  }
}

async function main () {
  for (const [name, check] of Object.entries(checks)) {
    const sub = await Client.connect('sub')
    const pub = await Client.connect('pub')
    await check(sub, pub)
    assert.equal(sub.messages.length, 0, 'one message too many')
    await pub.disconnect()
    await sub.disconnect()
    console.log('ok', name)
  }
}

main().then(() => process.exit(0), err => {
  console.error(err)
  process.exit(1)
})
