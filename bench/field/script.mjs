// The yardstick of the field benchmark: what an engineer writes in an hour, modbus-serial and MQTT.js, one topic a tag.
// usage: script.mjs MQTT_PORT PERIOD_MS REGISTERS MODBUS_PORT...
import ModbusRTU from 'modbus-serial';
import mqtt from 'mqtt';

const [mqttPort, periodMs, registers, ...ports] = process.argv.slice(2).map(Number);
const broker = await mqtt.connectAsync(`mqtt://127.0.0.1:${mqttPort}`);
for (const [index, port] of ports.entries()) {
  const device = new (ModbusRTU.default ?? ModbusRTU)();
  await device.connectTCP('127.0.0.1', { port });
  device.setID(1);
  device.setTimeout(1000);
  const poll = async () => {
    try {
      const { data } = await device.readHoldingRegisters(0, registers);
      const t = Date.now();
      data.forEach((v, address) => {
        broker.publish(`holdfast/bench/data/d${index}/r${address}`, JSON.stringify({ v, q: 'good', t }));
      });
    } catch {
      // The next poll tries again.
    }
  };
  setInterval(poll, periodMs);
}
