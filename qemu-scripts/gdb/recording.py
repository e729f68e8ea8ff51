"""QEMU's recording of a run, and the options to make one and to replay it.

QEMU records what comes from outside of the machine; everything else follows from the count of
instructions. To go back it loads a snapshot of the start and runs forward again, up to the
instruction before. It keeps snapshots on a disk only, and records machines of one CPU only.
"""

import dataclasses
import os
import struct

from common import BUILD

# The first version that replays this machine.
FIRST = (8, 0)
FOLDER = BUILD / "replay"
LOG, DISK = FOLDER / "log", FOLDER / "disk"
CLUSTER_BITS = 16


def empty_disk(megabytes=1024):
    """An empty disk in QEMU's format qcow2: a header, the counts of its clusters, a table of none."""
    cluster = 1 << CLUSTER_BITS
    size = megabytes << 20
    tables = -(-size // (cluster * cluster // 8))
    refcounts, block, table = cluster, 2 * cluster, 3 * cluster
    disk = bytearray(4 * cluster)
    struct.pack_into(">4sIQIIQIIQQIIQQQQII", disk, 0, b"QFI\xfb", 3, 0, 0, CLUSTER_BITS, size, 0, tables, table,
                     refcounts, 1, 0, 0, 0, 0, 0, 4, 104)
    struct.pack_into(">Q", disk, refcounts, block)
    struct.pack_into(">4H", disk, block, 1, 1, 1, 1)
    return bytes(disk)


def settings_for(settings, mode):
    """The settings of a run that is recorded ("record") or replayed ("replay")."""
    log, disk = os.path.relpath(LOG), os.path.relpath(DISK)
    if mode == "record":
        FOLDER.mkdir(parents=True, exist_ok=True)
        DISK.write_bytes(empty_disk())
    return dataclasses.replace(settings, icount=settings.icount or "0", recording=f",rr={mode},rrfile={log},rrsnapshot=start",
                               qemu_args=f"{settings.qemu_args} -drive file={disk},if=none,id=snapshots")
