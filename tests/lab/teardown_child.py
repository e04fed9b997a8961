"""Starts a busy lab, says so and then ends in the way its argument names. For test_teardown.py.

It prints one JSON line, {"slot": N, "warden": PID}, when everything runs.
"""

import asyncio
import json
import signal
import sys

from tests.lab import tiny_asterisk
from tests.lab.asterisk import AsteriskServer
from tests.lab.lab import Lab
from tests.lab.phone import Phone


async def phone_at_work(lab: Lab) -> None:
    """A registered phone, then what the argument asks for."""
    server = AsteriskServer(lab.host("pop"), tiny_asterisk.files(lab.host("pop"), {"anna": "pw"}), lab)
    phones = lab.host("phones")
    async with Phone.start(phones, "anna", server=server.host.address, password="pw", tone_hz=440) as anna:
        await anna.wait_registered()
        lab.host("pop").spawn(["sh", "-c", "trap '' TERM INT HUP; sleep 1000 & wait"], name="stubborn")
        # The kernel's and the warden's work must not wait for a program that does not run.
        lab.host("pop").spawn(["sleep", "1000"], name="stopped", rootfs=True).signal(signal.SIGSTOP)
        (phones.shm / "recording").write_text("half a call")
        print(json.dumps({"slot": lab.slot.number, "warden": lab.warden_pid}), flush=True)
        if sys.argv[1] == "fail":
            raise AssertionError("as a failed test does")
        if sys.argv[1] == "wait":
            await asyncio.Event().wait()  # for good


def main() -> None:
    """Run the phone in a lab."""
    with Lab.start() as lab:
        asyncio.run(phone_at_work(lab))


if __name__ == "__main__":
    # A shell's background job ignores it, and so would what a test run in one starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
