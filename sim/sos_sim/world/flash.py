"""The pole's flash with the time that it takes, and a tear at any byte of the next write."""

from __future__ import annotations

from sos_sim.nor_flash import SECTOR, NorFlash

# W25Q16JV, the flash of a Pico, typical: a page takes 0.4 ms to program and a sector 45 ms to erase; the RP2's driver
# leaves and enters execution in place around each, which the field notes' board needs 0.3 ms for.
PROGRAM_US = 700
ERASE_US = 45_000


class BoardFlash(NorFlash):
    """See NorFlash. ``tear_next``: from 0 up to 1, the part of the next write that is done when the power goes."""

    def __init__(self, size: int = 4 * SECTOR, content: bytes | None = None) -> None:
        super().__init__(size, content)
        self.tear_next: float | None = None
        self._busy_us = 0

    def take_busy_us(self) -> int:
        """How long writing has taken since the last call; meanwhile the board did nothing else."""
        busy_us, self._busy_us = self._busy_us, 0
        return busy_us

    def power_gone(self) -> None:
        """The cut that was armed is over."""
        self.tear_at = self.tear_next = None
        self._busy_us = 0

    def program(self, address: int, data: bytes) -> None:
        self._arm(len(data))
        self._busy_us += PROGRAM_US
        super().program(address, data)

    def erase(self, address: int) -> None:
        self._arm(SECTOR)
        self._busy_us += ERASE_US
        super().erase(address)

    def _arm(self, count: int) -> None:
        if self.tear_next is not None:
            self.tear_at = self.writes + int(self.tear_next * count)
