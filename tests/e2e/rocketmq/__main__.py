"""A cluster of one nameserver and one broker, until SIGTERM.

    python3 -m rocketmq VERSION HOST      prints "nameserver H:P" when it is ready
"""

import signal
import sys

from . import network
from .cluster import Cluster


def main():
    network.use(network.Loopback(sys.argv[2]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    cluster = Cluster(sys.argv[1], brokers=1)
    try:
        cluster.start()
        print(f"nameserver {cluster.nameserver_addresses}", flush=True)
        signal.pause()
    finally:
        cluster.stop()


if __name__ == "__main__":
    main()
