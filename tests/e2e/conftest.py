"""Fixtures of the end-to-end tests.

    salvo_bin          path of the program: SALVO_BIN, or build/salvo
    mock               a mock cluster of the program's own (several files have another)
    start_load         start_load("--rate", "1k", ...): a salvo load that runs
    cluster            a running cluster, once for each RocketMQ version
    cluster_4_7_1      a running cluster of this version, shared by all tests that ask for it;
    cluster_4_9_7      a test that hurts it heals it before it ends
    cluster_5_3_3
    new_cluster        new_cluster("5.3.3", brokers=1, ...) for a test's own

    pytest --net af_packet    salvo's own TCP over a virtual device of DPDK (or tap, af_xdp),
                              brokers in a network namespace of their own. As root

Nothing starts before a test asks for it, and nothing is skipped: what is missing fails and says
what to run. When a test fails, the ends of its clusters' logs are in the report.
"""

import os
import signal
from pathlib import Path

import pytest

from mocks import Mock
from program import Load
from rocketmq import jars, network
from rocketmq.cluster import Cluster, wait_until

ROOT = Path(__file__).resolve().parents[2]


def pytest_addoption(parser):
    parser.addoption(
        "--net",
        choices=["kernel", *network.DEVICES],
        default="kernel",
        help="how salvo gets to the brokers: the kernel's TCP, or its own over this DPDK device",
    )


def pytest_configure(config):
    # Under nohup it is ignored, and would be by all that the tests start.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if config.getoption("--net") != "kernel":
        network.use(network.Dpdk(config.getoption("--net")))
        wait_until(network.current().ready, f"{network.HUGE_PAGES} free huge pages", 60.0)


@pytest.fixture(autouse=True)
def _network():
    network.current().begin()


@pytest.fixture(scope="session")
def salvo_bin():
    path = Path(os.environ.get("SALVO_BIN") or ROOT / "build" / "salvo").resolve()
    if not os.access(path, os.X_OK):
        pytest.fail(f"{path} is not there: build it, or set SALVO_BIN", pytrace=False)
    return path


@pytest.fixture
def mock(salvo_bin):
    with Mock(salvo_bin) as made:
        yield made


@pytest.fixture
def start_load(salvo_bin):
    """start_load(ARGUMENT...): a Load, which does not outlive its test."""
    started = []

    def start(*args):
        started.append(Load(salvo_bin, *args))
        return started[-1]

    yield start
    for load in started:
        load.end()


@pytest.fixture(scope="session")
def shared_cluster():
    """shared_cluster(version): two nameservers and two brokers, the same ones until the end."""
    running = {}

    def get(version):
        if version not in running:
            running[version] = Cluster(
                version,
                nameservers=2,
                brokers=2,
                # Two seconds of GO_AWAY before a 5.3.3 broker that is shut down closes;
                # others do not know these two.
                broker_properties={
                    "waitTimeMillsInSendQueue": 5000,
                    "enableShutdownGracefully": "true",
                    "shutdownWaitTimeSeconds": 2,
                },
            ).start()
        return running[version]

    yield get
    for each in running.values():
        each.stop()


@pytest.fixture(scope="session", params=jars.VERSIONS)
def cluster(request, shared_cluster):
    return shared_cluster(request.param)


@pytest.fixture(scope="session")
def cluster_4_7_1(shared_cluster):
    return shared_cluster("4.7.1")


@pytest.fixture(scope="session")
def cluster_4_9_7(shared_cluster):
    return shared_cluster("4.9.7")


@pytest.fixture(scope="session")
def cluster_5_3_3(shared_cluster):
    return shared_cluster("5.3.3")


@pytest.fixture
def new_cluster():
    made = []

    def make(version, **options):
        made.append(Cluster(version, **options))
        return made[-1].start()

    yield make
    for each in made:
        each.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Cluster):
                report.sections.append((f"logs of {name} ({value.version})", value.logs()))
    return report
