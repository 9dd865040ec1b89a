"""What memory a machine has, and in which tier that puts it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CPU", "CUDA", "GIB", "MPS", "TIERS", "Bytes", "Machine", "Tier", "tier_of"]

GIB = 1024**3

CUDA, MPS, CPU = "cuda", "mps", "cpu"

CONTEXT = GIB // 2
"""What CUDA, its kernels and their workspaces take of a device before anything is loaded."""

SHARE_OF_RAM = 0.75
"""Part of the computer's memory that is free when the worker starts which may be taken; Blender wants some, too."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """On the device and, beside it, in the computer's memory; where the device is the computer's own, all is device."""

    device: int = 0
    ram: int = 0

    def __add__(self, other: Bytes) -> Bytes:
        return Bytes(self.device + other.device, self.ram + other.ram)

    def fits(self, room: Bytes) -> bool:
        return self.device <= room.device and self.ram <= room.ram


@dataclass(frozen=True, slots=True)
class Machine:
    """kind: "cuda" (AMD's ROCm too), "mps" or "cpu". total, free: bytes where tensors live: the graphics device's, or
    the computer's. ram_total, ram_free: the computer's. free ones: when the worker started. quantizers: packages that
    can be used for it, of "torchao" and "bitsandbytes"."""

    kind: str
    total: int
    free: int
    ram_total: int
    ram_free: int
    quantizers: frozenset[str] = frozenset()

    @property
    def is_apart(self) -> bool:
        """The device has memory of its own, so that what isn't needed there can lie in the computer's."""
        return self.kind == CUDA

    @property
    def room(self) -> Bytes:
        """What may be taken."""
        ram = int(self.ram_free * SHARE_OF_RAM)
        return Bytes(max(0, min(self.total - CONTEXT, self.free)), ram) if self.is_apart else Bytes(ram, 0)


@dataclass(frozen=True, slots=True)
class Tier:
    """name: as people call such devices. size: what they are sold as, bytes. least: of the tier; devices tell a little
    less than what they are sold as."""

    name: str
    size: int

    @property
    def least(self) -> int:
        return int(self.size * 0.9)


TIERS = tuple(Tier(f"{size} GB", size * GIB) for size in (48, 24, 16, 12, 8, 6, 4))


def tier_of(machine: Machine) -> str:
    """ "24 GB", ..., "4 GB", "under 4 GB"; "CPU" and "Apple" where the memory is the computer's."""
    if not machine.is_apart:
        return "Apple" if machine.kind == MPS else "CPU"
    return next((tier.name for tier in TIERS if machine.total >= tier.least), f"under {TIERS[-1].name}")
