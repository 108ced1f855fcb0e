"""Where trials run: devices, the executors that use them, and what a worker process needs."""
