"""A child process that listens on a port: started, waited for, killed, and never left behind."""

import ctypes
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

PR_SET_PDEATHSIG = 1


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def die_with_parent():
    """The child is killed when the harness is."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """`ready` is the path that answers 200 once it serves; `wait_s` how long that may take."""

    def __init__(self, command, port, ready, log, wait_s=300, nice=0, env=None):
        self.command, self.port, self.ready, self.log = command, port, ready, log
        self.wait_s, self.nice, self.env, self.child = wait_s, nice, env, None

    def start(self, wait=True):
        def before():
            die_with_parent()
            os.nice(self.nice)

        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=before, env=self.env)
        if wait:
            self.wait()

    def wait(self):
        end = time.monotonic() + self.wait_s
        while time.monotonic() < end:
            if self.child.poll() is not None:
                raise RuntimeError(f"{self.command[0]} ended with {self.child.returncode}, see {self.log}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self.ready}", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.1)
        raise RuntimeError(f"{self.command[0]} did not come up within {self.wait_s} s, see {self.log}")

    def kill(self):
        """kill -9, and waits until it is gone."""
        if self.child and self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def stop(self):
        """SIGTERM, then SIGKILL after 30 s."""
        if self.child and self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
