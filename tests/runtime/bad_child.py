"""Stands in for `runtime.llama_child`: dies, hangs, or says nothing, as $BAD_CHILD tells."""

from __future__ import annotations

import os
import signal
import sys
import time

if __name__ == "__main__":
    what = os.environ["BAD_CHILD"]
    if what == "dies":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "hangs":
        time.sleep(600)
    sys.exit("no such library")
