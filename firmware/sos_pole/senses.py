"""What a board feels beside its buttons, enclosure, mains, battery, the lamp's current: raw values become facts."""

_STEADY = 3  # looks in a row before a fact changes: at 4 a second, contacts bounce for less


class Readings:
    """The facts, as the pole's step takes them; ``changes`` counts whenever one of the first four changes.

    ``blind_ms``: how long nobody looked at the buttons, in this boot.
    """

    def __init__(self) -> None:
        self.changes = 0
        self.tamper = False
        self.mains_lost = False
        self.battery_low = False
        self.lamp_fault = False
        self.supply_mv = 0
        self.temperature_dc = 0
        self.blind_ms = 0


class Senses:
    """Facts change only after _STEADY looks in a row, the battery's only past its second threshold."""

    def __init__(self, low_mv: int, good_mv: int) -> None:
        self.readings = Readings()
        self._low_mv = low_mv
        self._good_mv = good_mv
        self._tamper = 0
        self._mains = 0
        self._lamp = 0

    def look(self, tamper: bool, mains_lost: bool, supply_mv: int, temperature_dc: int) -> bool:
        """Four times a second; returns whether a fact changed. ``supply_mv`` is 0 where none is measured."""
        now = self.readings
        before = (now.tamper, now.mains_lost, now.battery_low)
        self._tamper = self._tamper + 1 if tamper != now.tamper else 0
        self._mains = self._mains + 1 if mains_lost != now.mains_lost else 0
        if self._tamper >= _STEADY:
            now.tamper = tamper
        if self._mains >= _STEADY:
            now.mains_lost = mains_lost
        now.supply_mv += (supply_mv - now.supply_mv) // 4 if now.supply_mv and supply_mv else supply_mv - now.supply_mv
        if now.supply_mv and now.supply_mv < self._low_mv:
            now.battery_low = True
        elif now.supply_mv >= self._good_mv:
            now.battery_low = False
        now.temperature_dc = temperature_dc
        if before == (now.tamper, now.mains_lost, now.battery_low):
            return False
        now.changes += 1
        return True

    def look_at_lamp(self, lights: bool) -> bool:
        """While the lamp is meant to be lit: does it draw current? Returns whether the fact changed."""
        now = self.readings
        self._lamp = self._lamp + 1 if lights == now.lamp_fault else 0
        if self._lamp < _STEADY:
            return False
        now.lamp_fault = not lights
        now.changes += 1
        self._lamp = 0
        return True
