"""A program that takes GPU memory through the CUDA driver alone: `hog.py GIB`; stands until its stdin closes.

First line: `UUID COUNT`, the first visible GPU as CUDA names it and how many are visible. Second line, once the
memory is taken: `ready`.
"""

from __future__ import annotations

import ctypes
import sys
import uuid


def check(what: str, code: int) -> None:
    if code != 0:
        sys.exit(f"{what} failed with CUDA error {code}")


def main(size: int) -> None:
    cuda = ctypes.CDLL("libcuda.so.1")
    check("cuInit", cuda.cuInit(0))
    count, device, context = ctypes.c_int(), ctypes.c_int(), ctypes.c_void_p()
    check("cuDeviceGetCount", cuda.cuDeviceGetCount(ctypes.byref(count)))
    if count.value == 0:
        sys.exit("no CUDA device is visible")
    check("cuDeviceGet", cuda.cuDeviceGet(ctypes.byref(device), 0))
    identity = (ctypes.c_ubyte * 16)()
    check("cuDeviceGetUuid", cuda.cuDeviceGetUuid(identity, device))
    print(f"GPU-{uuid.UUID(bytes=bytes(identity))}", count.value, flush=True)
    check("cuDevicePrimaryCtxRetain", cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device))
    check("cuCtxSetCurrent", cuda.cuCtxSetCurrent(context))
    address = ctypes.c_uint64()
    check("cuMemAlloc", cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size)))
    check("cuMemsetD8", cuda.cuMemsetD8_v2(address, ctypes.c_ubyte(1), ctypes.c_size_t(size)))
    check("cuCtxSynchronize", cuda.cuCtxSynchronize())
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(float(sys.argv[1]) * 2**30))
