"""The processes of ``stcli batch``: as many as there are files at once, replaced when they die."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import threading
from typing import Any

_WORDS = ("-m", "stcli.cli.batch_worker")
#: Seconds that a process gets to end by itself.
_PATIENCE = 20.0


class Pool:
    """Workers that run command lines; a context manager that leaves no process behind."""

    def __init__(self, count: int) -> None:
        self._idle: queue.Queue[_Worker] = queue.Queue()
        self._all = [_Worker() for _ in range(count)]
        for worker in self._all:
            self._idle.put(worker)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._all:
            worker.end()

    def stop(self) -> None:
        """Interrupt what is running: it leaves nothing half-written, and nothing new starts."""
        for worker in self._all:
            worker.interrupt()

    def run(self, argv: list[str]) -> dict[str, Any]:
        """Run a command line in an idle worker; see `stcli.cli.batch_worker` for the answer."""
        worker = self._idle.get()
        try:
            return worker.run(argv)
        finally:
            self._idle.put(worker)


class _Worker:
    """One process, started when it is first needed."""

    def __init__(self) -> None:
        self._process: Any = None  # a subprocess.Popen once there is one
        self._lock = threading.Lock()
        self._ended = False

    def run(self, argv: list[str]) -> dict[str, Any]:
        process = self._start()
        try:
            process.stdin.write(json.dumps({"argv": argv}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        code = process.wait()
        self._process = None
        return {"code": 1, "out": "", "err": f"its process ended early ({_cause(code)})\n"}

    def _start(self) -> Any:
        from stcli.itself import PYTHON, environment

        with self._lock:
            if self._process is None and not self._ended:
                self._process = subprocess.Popen(
                    (*PYTHON, *_WORDS),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=environment(),
                    start_new_session=True,  # a terminal's interrupt is for us; we hand it on once
                )
            if self._process is None:
                raise KeyboardInterrupt
            return self._process

    def interrupt(self) -> None:
        with self._lock:
            self._ended = True
            if self._process is not None:
                self._process.send_signal(signal.SIGINT)

    def end(self) -> None:
        with self._lock:
            self._ended, process = True, self._process
        if process is None:
            return
        process.stdin.close()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    hint = ": out of memory?" if -code == signal.SIGKILL else ""
    return f"{signal.Signals(-code).name}{hint}"
