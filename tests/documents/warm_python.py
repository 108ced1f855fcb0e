"""A Python that has imported everything already: its forks run what the documents run, which starts at once.

    python warm_python.py SOCKET            # listens there
    python warm_python.py SOCKET WORDS...   # stands for `python WORDS...`, run by the first one's fork

Importing TensorFlow, MLflow and Optuna takes longer than most scripts of the documents. Nothing of them has begun to
work before the fork. A fork has the directory, the arguments and the three streams of the process that asks for it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import NoReturn

_LONGEST = 1 << 16


def listen(address: str) -> None:
    """Fork for every request and tell how it ended; in the fork, run what was asked for."""
    import gc
    import importlib

    for name in ("keras_tuner", "matplotlib.pyplot", "mlflow", "optuna", "tuning.cli", "tuning.tuners"):
        importlib.import_module(name)
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                request, streams, *_ = socket.recv_fds(connection, _LONGEST, 3)
                child = os.fork()
                if not child:
                    break
                for stream in streams:
                    os.close(stream)
                _, status = os.waitpid(child, 0)
                connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    run(*json.loads(request), streams)


def run(directory: str, words: list[str], streams: list[int]) -> None:
    """Do what `python WORDS...` does in a directory."""
    import runpy

    os.chdir(directory)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    kind, *rest = words
    sys.path[0] = directory
    if kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(rest[0], {"__name__": "__main__"})
    elif kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(kind, run_name="__main__")


def ask(address: str, words: list[str]) -> NoReturn:
    """Have words run by a fork, and end as it ends."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [json.dumps([os.getcwd(), words]).encode()], [0, 1, 2])
        status = int(connection.recv(_LONGEST) or b"1")
    sys.exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    if sys.argv[2:]:
        ask(sys.argv[1], sys.argv[2:])
    listen(sys.argv[1])
