"""A real RocketMQ cluster (where: network.py): nameservers and brokers as processes to hurt.

    with Cluster("5.3.3", nameservers=2, brokers=2, auto_create=False) as cluster:
        cluster.create_topic("orders", queues=8)
        program(cluster.nameserver_addresses)
        cluster.broker("broker-a").kill()

Every process has its own directory below one temporary one, ports of its own below the ephemeral
range (also beside other test runs on the same machine), and dies with us. Every start waits for
what a client would see: a nameserver answers a route query, a broker is listed by every running
nameserver and answers by itself.

SALVO_E2E_KEEP=1 keeps the directory, with all logs, and prints where it is.
"""

import contextlib
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import jars, network, remoting

# Outgoing connections take their port from 32768 up, so a port below cannot be stolen by one. A
# process gets four in a row and listens on the third: a broker also listens on listenPort - 2 (the
# "VIP" channel) and listenPort + 1 (replicas).
PORT_MIN = 20000
PORT_MAX = 32000
PORTS_EACH = 4
PORT_PLACE = 2

# Patience costs nothing where all is well: a JVM on a crowded machine may need a minute to start.
START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 300.0
POLL_S = 0.02

# RocketMQ up to 5.x reaches into the JDK; without these it does not start on JDK 17.
JAVA_OPENS = (
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
)
NAMESERVER_JAVA = ("-Xms32m", "-Xmx128m", "-XX:+UseSerialGC")
BROKER_JAVA = ("-Xms128m", "-Xmx1g", "-XX:MaxDirectMemorySize=1g")

# Warnings go to standard output. 4.x must find the file at $ROCKETMQ_HOME/conf or it ends at once;
# 5.x takes it from the class path, with its own copy of logback.
LOGBACK = """<configuration>
  <statusListener class="{package}ch.qos.logback.core.status.NopStatusListener"/>
  <appender name="out" class="{package}ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %-5level %logger{{20}} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="out"/></root>
</configuration>
"""


class ClusterError(RuntimeError):
    pass


def wait_until(condition, what, timeout_s=START_TIMEOUT_S, alive=None):
    """Asks condition() until it is true. A refused or broken connection counts as not yet."""
    deadline = time.monotonic() + timeout_s
    last = None
    while True:
        try:
            found = condition()
            if found:
                return found
        except (OSError, remoting.RemotingError, ValueError) as error:
            last = error
        if alive is not None:
            alive()
        if time.monotonic() > deadline:
            raise ClusterError(
                f"not within {timeout_s:.0f} s: {what}" + (f" (last: {last!r})" if last else "")
            )
        time.sleep(POLL_S)


def stop_by_signal(process, what):
    """SIGSTOP. Returns when no thread of it runs any more: the kernel stops them one by one, and
    what still runs still answers."""
    process.send_signal(signal.SIGSTOP)
    threads = Path(f"/proc/{process.pid}/task")
    wait_until(
        lambda: all(_state(each / "stat") == "T" for each in threads.iterdir()),
        f"{what} stopped by SIGSTOP",
        30.0,
    )


def _state(stat):
    return stat.read_text().rpartition(")")[2].split()[0]


def reserve_port(held):
    """A port that nobody listens on, nor on its neighbours. Others who reserve do not get it while
    `held`, an ExitStack, is open: a file for each four is locked, and the kernel lets go of that
    lock even if we are killed."""
    folder = Path(tempfile.gettempdir()) / f"salvo-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for _ in range(1000):
        first = random.randrange(PORT_MIN, PORT_MAX, PORTS_EACH)
        with contextlib.ExitStack() as tried:
            lock = tried.enter_context(open(folder / str(first), "w", encoding="ascii"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with contextlib.ExitStack() as probes:
                    for each in range(first, first + PORTS_EACH):
                        probe = probes.enter_context(socket.socket())
                        probe.bind(("127.0.0.1", each))
            except OSError:
                continue
            held.push(tried.pop_all())
            return first + PORT_PLACE
    raise ClusterError("no free ports")


class Process:
    """One JVM with its directory, configuration and log."""

    def __init__(self, cluster, name, main, java_options):
        self.cluster = cluster
        self.name = name
        self.main = main
        self.java_options = java_options
        self.port = reserve_port(cluster.held)
        self.address = f"{cluster.network.host}:{self.port}"
        self.directory = cluster.directory / name
        self.log_path = self.directory / "out.log"
        self.start_s = None
        self._process = None
        self._stopped = False
        conf = self.directory / "conf"
        conf.mkdir(parents=True)
        for each in ("logback_namesrv.xml", "logback_broker.xml"):
            (conf / each).write_text(LOGBACK.format(package=""))
        (conf / "rmq.logback.xml").write_text(
            LOGBACK.format(package="org.apache.rocketmq.logging.")
        )

    # what a test does with it

    def kill(self):
        """SIGKILL: nothing is flushed, nobody is told."""
        self._end(signal.SIGKILL)

    def shutdown(self, timeout_s=STOP_TIMEOUT_S):
        """SIGTERM: the orderly way, with the JVM's shutdown hooks."""
        self._end(signal.SIGTERM, timeout_s)

    def stop_signal(self):
        """SIGSTOP: connections stay open, nothing is answered. Returns when it has stopped."""
        self._must_run()
        self._stopped = True
        stop_by_signal(self._process, self.name)

    def cont_signal(self):
        """SIGCONT after stop_signal()."""
        self._must_run()
        self._process.send_signal(signal.SIGCONT)
        self._stopped = False

    def restart(self, wait=True):
        """Starts it again on the same port with what it had stored; kills it first if it runs."""
        if self.running:
            self.kill()
        self.start()
        if wait:
            self.wait_ready()

    @property
    def pid(self):
        return self._process.pid if self._process else None

    @property
    def running(self):
        """Whether the process exists; one stopped by SIGSTOP does."""
        return self._process is not None and self._process.poll() is None

    @property
    def answering(self):
        return self.running and not self._stopped

    def log(self, size=4000):
        """The end of what it printed, its warnings among it."""
        with contextlib.suppress(OSError):
            return self.log_path.read_text(errors="replace")[-size:]
        return ""

    def memory(self):
        """Resident bytes: {"all", "anonymous", "file"}. Mapped commit logs count as file."""
        kib = {}
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            key, _, value = line.partition(":")
            if key in ("VmRSS", "RssAnon", "RssFile"):
                kib[key] = int(value.split()[0]) * 1024
        return {"all": kib["VmRSS"], "anonymous": kib["RssAnon"], "file": kib["RssFile"]}

    # how the cluster drives it

    def start(self):
        environment = dict(os.environ, ROCKETMQ_HOME=str(self.directory))
        for each in ("NAMESRV_ADDR", "JAVA_TOOL_OPTIONS", "ROCKETMQ_SERIALIZE_TYPE"):
            environment.pop(each, None)
        class_path = jars.classpath(self.directory / "conf", self.cluster.jars)
        command = [
            jars.tool("java"),
            *JAVA_OPENS,
            *self.java_options,
            f"-Duser.home={self.directory}",
            f"-Djava.io.tmpdir={self.directory}",
            "-cp",
            class_path,
            self.main,
            "-c",
            str(self._conf()),
        ]
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.directory,
                start_new_session=True,
                preexec_fn=self._enter,
            )
        self._stopped = False
        self.start_s = None
        self._started_at = time.monotonic()

    def _enter(self):
        network.die_with_parent()
        self.cluster.network.enter()

    def wait_ready(self, timeout_s=START_TIMEOUT_S):
        wait_until(self._ready, f"{self.name} ready", timeout_s, alive=self._check_alive)
        self.start_s = time.monotonic() - self._started_at

    def _check_alive(self):
        if not self.running:
            raise ClusterError(
                f"{self.name} ended with {self._process.returncode} at start:\n" + self.log()
            )

    def _must_run(self):
        if not self.running:
            raise ClusterError(f"{self.name} does not run")

    def _end(self, number, timeout_s=STOP_TIMEOUT_S):
        self._must_run()
        self._process.send_signal(number)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise ClusterError(
                f"{self.name} still runs {timeout_s:.0f} s after signal "
                f"{int(number)}:\n" + self.log()
            ) from None
        self._stopped = False

    def _properties(self, properties):
        path = self.directory / "conf" / "run.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        return path


class Nameserver(Process):
    def __init__(self, cluster, index):
        super().__init__(
            cluster,
            f"nameserver-{index}",
            "org.apache.rocketmq.namesrv.NamesrvStartup",
            NAMESERVER_JAVA,
        )

    def _conf(self):
        return self._properties(
            {"listenPort": self.port, "kvConfigPath": self.directory / "kvConfig.json"}
        )

    def _ready(self):
        remoting.route(self.address, "TBW102")
        return True

    def restart(self, wait=True):
        """As Process.restart; with wait every running broker is made to register at once.

        Without it they come back when their time is up: registerNameServerPeriod, here 10 s."""
        super().restart(wait)
        if not wait:
            return
        for broker in self.cluster.brokers:
            if broker.answering:
                broker.register()
                wait_until(
                    lambda b=broker: b.registered_at(self),
                    f"{broker.name} registered at {self.name}",
                )


class Broker(Process):
    def __init__(self, cluster, name, properties, java_options):
        super().__init__(cluster, name, "org.apache.rocketmq.broker.BrokerStartup", java_options)
        self.properties = {
            "brokerClusterName": "DefaultCluster",
            "brokerName": name,
            "brokerId": 0,
            "brokerIP1": cluster.network.host,
            "brokerIP2": cluster.network.host,
            "listenPort": self.port,
            "haListenPort": self.port + 1,
            "namesrvAddr": cluster.nameserver_addresses,
            "autoCreateTopicEnable": str(cluster.auto_create).lower(),
            "registerNameServerPeriod": 10000,
            "storePathRootDir": self.directory / "store",
            "storePathCommitLog": self.directory / "store" / "commitlog",
            # Small files: they are mapped whole, and touched whole when the broker ends in order.
            "mappedFileSizeCommitLog": 64 * 1024 * 1024,
            "mappedFileSizeConsumeQueue": 50000 * 20,
            "maxHashSlotNum": 500000,
            "maxIndexNum": 2000000,
            # So that reading back a million messages is not 31250 pulls of 32.
            "maxTransferCountOnMessageInMemory": 2000,
            "maxTransferCountOnMessageInDisk": 2000,
            "maxTransferBytesOnMessageInMemory": 4 * 1024 * 1024,
            "maxTransferBytesOnMessageInDisk": 4 * 1024 * 1024,
            "diskMaxUsedSpaceRatio": 99,
            **properties,
        }

    def _conf(self):
        return self._properties(self.properties)

    def register(self):
        """Makes the broker register all its topics now: what it does when brokerPermission is
        set, be it to the value it had."""
        header, _ = remoting.invoke(
            self.address,
            remoting.UPDATE_BROKER_CONFIG,
            body=b"brokerPermission=6\n",
        )
        if header["code"] != remoting.SUCCESS:
            raise ClusterError(f"{self.name} would not register: {header}")

    def registered_at(self, nameserver):
        known = remoting.cluster_brokers(nameserver.address).get(self.name, {})
        if known.get("0") != self.address:
            return False
        if not self.cluster.auto_create:
            return True
        route = remoting.route(nameserver.address, "TBW102")
        return route is not None and any(
            queue["brokerName"] == self.name for queue in route["queueDatas"]
        )

    def start(self):
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._made_to_register = False
        super().start()

    def _booted(self):
        with open(self.log_path, "rb") as log:
            log.seek(self._log_start)
            return b"boot success" in log.read()

    def _ready(self):
        if not self._booted():
            return False
        header, _ = remoting.invoke(self.address, remoting.GET_ALL_TOPIC_CONFIG)
        if header["code"] != remoting.SUCCESS:
            return False
        if all(self.registered_at(each) for each in self.cluster.nameservers if each.answering):
            return True
        # A new 5.3.3 broker often registers only at its first period, 10 s after start.
        if not self._made_to_register:
            self.register()
            self._made_to_register = True
        return False


class Cluster:
    """Nameservers and brokers of one RocketMQ version; a context manager.

    broker_properties go into every broker's configuration; {"broker-b": {...}} into one's only.
    java_options replace the brokers' heap options. Brokers are broker-a, broker-b, ...
    """

    def __init__(
        self,
        version,
        nameservers=1,
        brokers=2,
        auto_create=True,
        broker_properties=None,
        java_options=BROKER_JAVA,
    ):
        if version not in jars.VERSIONS:
            raise ClusterError(f"version {version} is none of {', '.join(jars.VERSIONS)}")
        self.version = version
        self.network = network.current()
        self.auto_create = auto_create
        self.jars = jars.rocketmq(version)
        self.directory = Path(tempfile.mkdtemp(prefix=f"salvo-rocketmq-{version}-"))
        self.held = contextlib.ExitStack()
        self.nameservers = [Nameserver(self, index) for index in range(nameservers)]
        properties = dict(broker_properties or {})
        names = ["broker-" + chr(ord("a") + index) for index in range(brokers)]
        special = {name: properties.pop(name, {}) for name in names}
        self.brokers = [
            Broker(self, name, {**properties, **special[name]}, java_options) for name in names
        ]

    @property
    def nameserver_addresses(self):
        return ";".join(each.address for each in self.nameservers)

    def nameserver(self, index):
        return self.nameservers[index]

    def broker(self, name):
        for each in self.brokers:
            if each.name == name:
                return each
        raise ClusterError(f"no broker {name}")

    def create_topic(self, topic, queues=4, broker=None, perm=6):
        """Creates or changes a topic on one broker, or on every running one, and waits until
        every running nameserver hands out exactly that."""
        brokers = [self.broker(broker)] if broker else [b for b in self.brokers if b.answering]
        for each in brokers:
            header, _ = remoting.invoke(
                each.address,
                remoting.UPDATE_AND_CREATE_TOPIC,
                {
                    "topic": topic,
                    "defaultTopic": "TBW102",
                    "readQueueNums": queues,
                    "writeQueueNums": queues,
                    "perm": perm,
                    "topicFilterType": "SINGLE_TAG",
                    "topicSysFlag": 0,
                    "order": "false",
                },
            )
            if header["code"] != remoting.SUCCESS:
                raise ClusterError(f"topic {topic} at {each.name}: {header}")
        for nameserver in self.nameservers:
            if nameserver.answering:
                wait_until(
                    lambda n=nameserver: self._topic_known(n, topic, queues, perm, brokers),
                    f"{topic} known to {nameserver.name}",
                )

    @staticmethod
    def _topic_known(nameserver, topic, queues, perm, brokers):
        route = remoting.route(nameserver.address, topic)
        if route is None:
            return False
        found = {queue["brokerName"]: queue for queue in route["queueDatas"]}
        return all(
            each.name in found
            and found[each.name]["writeQueueNums"] == queues
            and found[each.name]["perm"] == perm
            for each in brokers
        )

    def delete_topic(self, topic):
        """Deletes a topic at every running broker and nameserver."""
        for processes, code in (
            (self.brokers, remoting.DELETE_TOPIC_IN_BROKER),
            (self.nameservers, remoting.DELETE_TOPIC_IN_NAMESRV),
        ):
            for each in processes:
                if each.answering:
                    header, _ = remoting.invoke(each.address, code, {"topic": topic})
                    if header["code"] != remoting.SUCCESS:
                        raise ClusterError(f"deleting {topic} at {each.name}: {header}")

    def route(self, topic, nameserver=0):
        return remoting.route(self.nameserver(nameserver).address, topic)

    def start(self):
        try:
            # A broker that finds no nameserver tries again only 10 s later, so these come first.
            for group in (self.nameservers, self.brokers):
                for each in group:
                    each.start()
                for each in group:
                    each.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        """Kills everything and removes the directory."""
        for each in self.nameservers + self.brokers:
            if each.running:
                each.kill()
        self.held.close()
        if os.environ.get("SALVO_E2E_KEEP"):
            print(f"kept: {self.directory}", file=sys.stderr)
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    def logs(self, size=4000):
        """The end of every process's log, for the report of a failed test."""
        return "\n".join(
            f"---- {each.name}\n{each.log(size)}" for each in self.nameservers + self.brokers
        )

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print(self.logs(), file=sys.stderr)
        self.stop()
