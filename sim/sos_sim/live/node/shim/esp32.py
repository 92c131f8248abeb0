"""The `esp32` of the live pole: one data partition, the journal's, on the same raw flash."""

# mypy: ignore-errors
# Runs on MicroPython only; the names that it imports are modules of the interpreter or of board.mjs.
import _board
import rp2


class Partition(rp2.Flash):
    """Block device over the journal's partition."""

    TYPE_APP = 0
    TYPE_DATA = 1

    @staticmethod
    def find(type: int = 0, subtype: int = 0xFF, label: object = None) -> list:  # noqa: A002
        return [Partition()] if type == Partition.TYPE_DATA else []


def mcu_temperature() -> int:
    """Degrees of the chip."""
    return _board.adc("mcu_temperature")
