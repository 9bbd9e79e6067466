"""Real Apache RocketMQ for the end-to-end tests: its jars, its processes, and what it stored."""
