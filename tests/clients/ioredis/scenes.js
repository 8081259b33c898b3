// What node's ioredis does on a server, told in scenes: node scenes.js PORT [SCENE...]
// Each scene that was as it should be prints its name; the first that was not ends the program with 1.

const assert = require("node:assert/strict");
const Redis = require("ioredis");

const port = Number(process.argv[2]);
const open = [];

function client(options = {}) {
  const made = new Redis({ port, host: "127.0.0.1", ...options });
  open.push(made);
  return made;
}

async function until(look) {
  for (let found; ; ) {
    if ((found = await look())) return found;
    await new Promise((wake) => setTimeout(wake, 5));
  }
}

const scenes = {
  async values() {
    const redis = client();
    assert.equal(await redis.set("a", "1", "EX", 100, "NX"), "OK");
    assert.equal(await redis.set("a", "2", "NX"), null);
    assert.equal(await redis.incr("a"), 2);
    assert.ok((await redis.ttl("a")) > 90);
    const bytes = Buffer.from([0, 255, 13, 10]);
    await redis.set("bin", bytes);
    assert.deepEqual(await redis.getBuffer("bin"), bytes);
    await redis.hset("h", { x: 1, y: "two" });
    assert.deepEqual(await redis.hgetall("h"), { x: "1", y: "two" });
    await redis.mset(new Map([["k1", "v1"], ["k2", "v2"]]));
    assert.deepEqual(await redis.mget("k1", "none", "k2"), ["v1", null, "v2"]);
    await redis.zadd("z", 1, "one", "2.5", "two");
    assert.deepEqual(await redis.zrange("z", 0, -1, "WITHSCORES"), ["one", "1", "two", "2.5"]);
    await assert.rejects(redis.incr("h"), /WRONGTYPE/);
    const found = [];
    for await (const keys of redis.scanStream({ match: "k*", count: 2 })) found.push(...keys);
    assert.deepEqual([...new Set(found)].sort(), ["k1", "k2"]);
    assert.match(await redis.info("server"), /redis_version:/);
  },

  async pipelines() {
    const redis = client();
    const pipe = redis.pipeline();
    for (let n = 0; n < 500; n++) pipe.set(`p:${n}`, n).get(`p:${n}`);
    pipe.lpush("p:0", "x");
    const replies = await pipe.exec();
    assert.equal(replies.length, 1001);
    assert.deepEqual(replies[999], [null, "499"]);
    assert.match(replies[1000][0].message, /WRONGTYPE/);
    const automatic = client({ enableAutoPipelining: true });
    const got = await Promise.all(Array.from({ length: 300 }, (_, n) => automatic.get(`p:${n}`)));
    assert.deepEqual(got, Array.from({ length: 300 }, (_, n) => String(n)));
  },

  async transactions() {
    const redis = client();
    assert.deepEqual(await redis.multi().set("t", 1).incr("t").get("t").exec(), [[null, "OK"], [null, 2], [null, "2"]]);
    await redis.watch("t");
    await client().set("t", "changed");
    assert.equal(await redis.multi().set("t", "mine").exec(), null);
    assert.equal(await redis.get("t"), "changed");
    await redis.multi({ pipeline: false });
    assert.equal(await redis.set("t", 5), "QUEUED");
    assert.deepEqual(await redis.exec(), [[null, "OK"]]);
    await assert.rejects(redis.multi().set("t").exec(), /EXECABORT|wrong number of arguments/);
    assert.equal(await redis.get("t"), "5");
  },

  async pubsub() {
    const [hearing, speaking] = [client(), client()];
    const heard = [];
    hearing.on("message", (channel, words) => heard.push([channel, words]));
    hearing.on("pmessage", (pattern, channel, words) => heard.push([pattern, channel, words]));
    assert.equal(await hearing.subscribe("news", "sport"), 2);
    assert.equal(await hearing.psubscribe("n*"), 3);
    await assert.rejects(hearing.get("a"), /subscriber mode/);
    assert.equal(await speaking.publish("news", "rain"), 2);
    assert.equal(await speaking.publish("sport", "1:0"), 1);
    await until(() => heard.length === 3);
    assert.deepEqual(heard, [["news", "rain"], ["n*", "news", "rain"], ["sport", "1:0"]]);
    assert.deepEqual((await speaking.pubsub("CHANNELS")).sort(), ["news", "sport"]);
    assert.equal(await hearing.unsubscribe("news"), 2);
    assert.equal(await hearing.punsubscribe("n*"), 1);
    const back = new Promise((wake) => hearing.once("ready", wake));
    hearing.disconnect(true);
    await back;
    await until(async () => (await speaking.publish("sport", "again")) === 1);
    await until(() => heard.some(([, words]) => words === "again"));
    const other = client();
    await other.subscribe("news");
    assert.equal(await other.unsubscribe(), 0);
    assert.equal(await other.get("nothing"), null);
  },

  async streams() {
    const [reading, writing] = [client(), client()];
    await writing.xgroup("CREATE", "s", "g", "$", "MKSTREAM");
    const waiting = reading.xreadgroup("GROUP", "g", "c", "BLOCK", 20000, "COUNT", 10, "STREAMS", "s", ">");
    await until(async () => /blocked_clients:1/.test(await writing.info("clients")));
    const id = await writing.xadd("s", "*", "a", "1", "b", "2");
    assert.deepEqual(await waiting, [["s", [[id, ["a", "1", "b", "2"]]]]]);
    assert.equal((await writing.xpending("s", "g"))[0], 1);
    assert.equal(await reading.xack("s", "g", id), 1);
    assert.deepEqual(await writing.xrange("s", "-", "+"), [[id, ["a", "1", "b", "2"]]]);
  },

  async blocking() {
    const [waiting, giving] = [client(), client()];
    const popped = waiting.blpop("l1", "l2", 20);
    await until(async () => /blocked_clients:1/.test(await giving.info("clients")));
    await giving.rpush("l2", "x");
    assert.deepEqual(await popped, ["l2", "x"]);
    assert.equal(await waiting.blpop("l1", 0.01), null);
  },

  async scripts() {
    const redis = client({
      scripts: { echoAll: { lua: "return {KEYS[1], KEYS[2], ARGV[1], ARGV[2]}", numberOfKeys: 2 } },
    });
    redis.defineCommand("raise", {
      numberOfKeys: 1,
      lua: "local n = redis.call('INCRBY', KEYS[1], ARGV[1]) redis.call('EXPIRE', KEYS[1], 60) return {n, redis.call('GET', KEYS[1])}",
    });
    assert.deepEqual(await redis.echoAll("k1", "k2", "a1", "a2"), ["k1", "k2", "a1", "a2"]);
    assert.deepEqual(await redis.raise("n", 5), [5, "5"]);
    await redis.script("FLUSH");
    assert.deepEqual(await redis.raise("n", 5), [10, "10"]);
    await redis.script("FLUSH");
    const replies = await redis.pipeline().set("x", 1).raise("n", 1).exec();
    assert.deepEqual(replies, [[null, "OK"], [null, [11, "11"]]]);
    assert.deepEqual(await redis.multi().raise("n", 1).exec(), [[null, [12, "12"]]]);
    await assert.rejects(redis.eval("return redis.call('LPUSH', KEYS[1], 1)", 1, "n"), /WRONGTYPE/);
    const prefixed = client({ keyPrefix: "pre:" });
    prefixed.defineCommand("put", { numberOfKeys: 1, lua: "return redis.call('SET', KEYS[1], ARGV[1])" });
    await prefixed.put("k", "v");
    assert.equal(await redis.get("pre:k"), "v");
  },

  async connections() {
    const redis = client({ db: 5, connectionName: "visitor", readOnly: false });
    await redis.set("five", 1);
    assert.equal(await client().get("five"), null);
    assert.equal(await redis.client("GETNAME"), "visitor");
    const lines = [];
    const monitor = await client().monitor();
    open.push(monitor);
    monitor.on("monitor", (time, words) => lines.push(words));
    await redis.get("five");
    await until(() => lines.some((words) => words[0].toLowerCase() === "get" && words[1] === "five"));
    const other = client();
    assert.equal(await other.client("KILL", "ID", String(await redis.client("ID"))), 1);
    assert.equal(await redis.get("five"), "1");
    assert.equal(await redis.quit(), "OK");
  },
};

async function main() {
  const names = process.argv.length > 3 ? process.argv.slice(3) : Object.keys(scenes);
  for (const name of names) {
    const cleaning = client();
    await cleaning.flushall();
    await scenes[name]();
    console.log(name);
    for (const each of open.splice(0)) each.disconnect();
  }
}

main().then(
  () => process.exit(0),
  (failure) => {
    console.error(failure);
    process.exit(1);
  },
);
