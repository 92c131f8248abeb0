"""The `machine` of the live pole: what MicroPython's has on the board, over the hardware that board.mjs plays."""

# mypy: ignore-errors
# Runs on MicroPython only; the names that it imports are modules of the interpreter or of board.mjs.
import _board
import uctypes

_BOOT = {"cause": 1}
_FREQ = {"hz": 125_000_000}
_timers: dict = {}
_level = _board.level
_put = _board.put
_adc = _board.adc
_uart_any = _board.uart_any
_uart_read = _board.uart_read
_uart_write = _board.uart_write
_uart_busy_us = _board.uart_busy_us
_feed = _board.feed
_timer_next = _board.timer_next

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5
WDT_LONGEST_MS = 8388  # RP2040: a 24-bit counter of microseconds that counts two at a time


def _number(pin: object) -> object:
    """The name of a pin: its GPIO number, or a word such as LED."""
    return pin._number if isinstance(pin, Pin) else pin


class Pin:
    """A GPIO pin. An input that nobody drives reads what its pull says."""

    IN = 0
    OUT = 1
    OPEN_DRAIN = 2
    PULL_UP = 1
    PULL_DOWN = 2

    def __init__(self, number: object, mode: int = -1, pull: object = None, *, value: object = None) -> None:
        self._number = _number(number)
        self._mode = self.IN
        self._pull = None
        self.init(mode, pull, value=value)

    def init(self, mode: int = -1, pull: object = None, *, value: object = None) -> None:
        if mode != -1:
            self._mode = mode
        self._pull = pull
        if value is not None:
            self._put(value)

    def _put(self, value: object) -> None:
        self._out = 1 if value else 0
        if self._mode != self.IN:
            _put(self._number, 65535 if value else 0)

    def value(self, value: object = None) -> object:
        if value is not None:
            return self._put(value)
        if self._mode != self.IN:
            return self._out
        level = _level(self._number)
        if level < 0:
            return 1 if self._pull == self.PULL_UP else 0
        return 1 if level else 0

    _out = 0
    __call__ = value

    def on(self) -> None:
        self._put(1)

    def off(self) -> None:
        self._put(0)

    high = on
    low = off

    def toggle(self) -> None:
        self._put(not self._out)


class ADC:
    """An analogue input, by pin or by channel; channel 4 of the RP2 is the sensor of the core's temperature."""

    CORE_TEMP = 4
    ATTN_11DB = 3

    def __init__(self, source: object) -> None:
        number = _number(source)
        self._number = number if isinstance(source, Pin) or number > 4 or number == self.CORE_TEMP else 26 + number

    def read_u16(self) -> int:
        return _adc(self._number)

    def atten(self, value: int) -> None:
        """The range that the readings of the pin map are made for."""


class PWM:
    """Pulses on a pin: what counts outside is the duty."""

    def __init__(self, pin: object, *, freq: int = 0, duty_u16: object = None, invert: bool = False) -> None:
        self._number = _number(pin)
        self._freq = freq
        self._duty = 0
        self._invert = invert
        if duty_u16 is not None:
            self.duty_u16(duty_u16)

    def init(self, *, freq: object = None, duty_u16: object = None) -> None:
        if freq is not None:
            self._freq = freq
        if duty_u16 is not None:
            self.duty_u16(duty_u16)

    def freq(self, value: object = None) -> object:
        if value is None:
            return self._freq
        self._freq = value
        _board.put_hertz(self._number, value)
        return None

    def duty_u16(self, value: object = None) -> object:
        if value is None:
            return self._duty
        self._duty = value
        _put(self._number, 65535 - value if self._invert else value)
        return None

    def deinit(self) -> None:
        self.duty_u16(0)


class UART:
    """The serial port of the link. There is one; its bytes travel at the baud rate on the other side."""

    INV_TX = 1
    INV_RX = 2

    def __init__(self, number: int, baudrate: int = 115200, **options: object) -> None:
        self.init(baudrate, **options)

    def init(self, baudrate: int = 115200, *, rxbuf: int = 256, timeout: int = 0, **_options: object) -> None:
        self._baud = baudrate
        _board.uart_open(baudrate, rxbuf)

    def any(self) -> int:
        return _uart_any()

    def readinto(self, buffer: object, size: int = -1) -> object:
        room = len(buffer)
        taken = _uart_read(uctypes.addressof(buffer), room if size < 0 or size > room else size)
        return taken if taken else None

    def read(self, size: int = -1) -> object:
        waiting = _uart_any()
        if size < 0 or size > waiting:
            size = waiting
        if not size:
            return None
        buffer = bytearray(size)
        _uart_read(uctypes.addressof(buffer), size)
        return bytes(buffer)

    def write(self, data: object) -> int:
        return _uart_write(uctypes.addressof(data), len(data)) if len(data) else 0

    def txdone(self) -> bool:
        return _uart_busy_us() == 0

    def flush(self) -> None:
        _board.sleep_us(_uart_busy_us())

    def deinit(self) -> None:
        _board.uart_close()


class Timer:
    """A timer; the callbacks that were due since the last turn are made up for before the next."""

    ONE_SHOT = 0
    PERIODIC = 1

    def __init__(self, number: int = -1, **options: object) -> None:
        self._number = 1 + max(_timers, default=0)
        _timers[self._number] = self
        if options:
            self.init(**options)

    def init(
        self, *, mode: int = 1, period: int = -1, freq: float = -1, callback: object = None, hard: bool = False
    ) -> None:
        self._callback = callback
        period_us = period * 1000 if period >= 0 else int(1_000_000 / freq)
        _board.timer_start(self._number, period_us, mode == self.ONE_SHOT, hard)

    def deinit(self) -> None:
        self._callback = None
        _board.timer_stop(self._number)

    def _fire(self, calls: int) -> None:
        for _ in range(calls):
            if self._callback:
                self._callback(self)
            _timer_next()


class WDT:
    """The watchdog: once started it cannot be stopped."""

    def __init__(self, id: int = 0, timeout: int = 5000) -> None:  # noqa: A002
        if timeout > WDT_LONGEST_MS:
            raise ValueError("timeout exceeds " + str(WDT_LONGEST_MS))
        _board.watchdog(timeout)
        _feed()

    def feed(self) -> None:
        _feed()


def reset() -> None:
    """Restart the board; does not come back."""
    _board.reset(0)


def soft_reset() -> None:
    """Restart the interpreter; does not come back."""
    _board.reset(1)


def reset_cause() -> int:
    """Why the board started."""
    return _BOOT["cause"]


def idle() -> None:
    """Until the next interrupt: the worker sleeps between the turns, so this one has nothing to wait for."""


def lightsleep(time_ms: int = 0) -> None:
    """Sleep."""
    _board.sleep_us(time_ms * 1000)


def unique_id() -> bytes:
    """Eight bytes, the same at each start of the same pole."""
    return _board.unique_id().encode()[:8]


def freq(hz: object = None) -> object:
    """The processor's frequency, told and remembered only."""
    if hz is None:
        return _FREQ["hz"]
    _FREQ["hz"] = hz
    return None


def disable_irq() -> int:
    """Interrupts are made up for between turns: none comes inside one."""
    return 0


def enable_irq(state: int) -> None:
    """See disable_irq."""
