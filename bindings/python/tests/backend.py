"""The backend under test: VMLIB_TEST_BACKEND, or soft. What it or this machine cannot do is skipped, with the reason."""
import functools
import os
import sys
import unittest
from typing import Any, Callable

import vmlib

BACKEND = os.environ.get("VMLIB_TEST_BACKEND", "soft")
Test = Callable[..., None]


def skip(case: unittest.TestCase, reason: str) -> None:
    print(f"SKIP: {case.id()}: {reason}", flush=True)
    case.skipTest(reason)


def needs(*features: vmlib.Feature) -> Callable[[Test], Test]:
    """Skip the test where the backend refuses a feature."""
    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def wrapped(case: unittest.TestCase, *args: Any) -> None:
            for feature in features:
                if vmlib.backend_feature(vmlib.backend_by_name(BACKEND), feature) is vmlib.Support.REFUSED:
                    skip(case, f"{BACKEND} refuses {vmlib.feature_name(feature)}")
            test(case, *args)
        return wrapped
    return decorate


@functools.lru_cache(None)
def emulated() -> bool:
    """Does the machine under a hardware backend emulate ring 0? Then it takes an exception whose IDT has no bytes for
    something else than a triple fault (tests/contract/host.c)."""
    with vmlib.VM(BACKEND) as vm:
        vm.memory(0, 0x10000)
        vm.write(0x1000, b"\x0f\x0b\xf4")  # ud2; hlt
        vcpu = vm.vcpu()
        vcpu.cs = vmlib.Segment(limit=0xffff, attributes=0x9b)
        vcpu.set(rip=0x1000, idtr=vmlib.Table(base=0x2000, limit=0))
        return vcpu.run(deadline_ns=10**8).reason is not vmlib.Reason.SHUTDOWN


def not_emulated(why: str) -> Callable[[Test], Test]:
    """Skip the test on a machine that emulates ring 0, which gets this wrong."""
    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def wrapped(case: unittest.TestCase, *args: Any) -> None:
            if BACKEND != "soft" and emulated():
                skip(case, f"on this machine {why}")
            test(case, *args)
        return wrapped
    return decorate


def main() -> None:
    try:
        info = vmlib.backend_query(vmlib.backend_by_name(BACKEND))
    except vmlib.NotFoundError:
        print(f"SKIP: backend {BACKEND} is not part of this build")
        sys.exit(77)
    if not info.available:
        print(f"SKIP: backend {BACKEND}: {info.reason}")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1] + [word for word in sys.argv[1:] if word.startswith("-")])
