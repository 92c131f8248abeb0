"""What a board feels beside its buttons: enclosure, mains, battery, the currents of lamp and sounder."""

from sos_wire.ticks import ticks_diff

ON_MS = 60  # an output's current is judged when it has been on for so long; the shortest sound is 100
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
        self.dead = 0  # bits: 1 the lamp, 2 the sounder; on, and they draw no current
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
        self._dead = [0, 0]  # of lamp and sounder: looks in a row that say otherwise
        self._since: "list[int | None]" = [None, None]  # when they were put on
        self._judged = [False, False]

    def look(self, tamper: bool, mains_lost: bool, supply_mv: int, temperature_dc: int) -> bool:
        """Four times a second; returns whether a fact changed. ``supply_mv`` is 0 where none is measured."""
        now = self.readings
        before = (now.tamper, now.mains_lost, now.battery_low)
        self._judged[0] = self._judged[1] = False
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

    def put(self, output: int, on: int, now: int) -> None:
        """Lamp (0) or sounder (1) was changed at that tick."""
        self._since[output] = now if on else None
        self._judged[output] = False

    def due(self, output: int, now: int) -> bool:
        """Whether its current is to be judged now: once it has been on for a while, and at each look if it stays so."""
        since = self._since[output]
        if since is None or self._judged[output] or ticks_diff(now, since) < ON_MS:
            return False
        self._judged[output] = True
        self._since[output] = now - ON_MS  # on for weeks: no difference of ticks may grow old
        return True

    def look_at(self, output: int, draws: bool) -> bool:
        """While lamp (0) or sounder (1) is meant to be on: does it draw current? Returns whether the fact changed."""
        now = self.readings
        self._dead[output] = self._dead[output] + 1 if draws == (now.dead >> output & 1) else 0
        if self._dead[output] < _STEADY:
            return False
        self._dead[output] = 0
        now.dead ^= 1 << output
        now.changes += 1
        return True
