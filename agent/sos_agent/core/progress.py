"""Step 9, back to the pole: stages are synchronised with the station, and each pole is told those of its presses."""

from __future__ import annotations

from sos_agent.core.context import Context
from sos_agent.core.courier import Courier
from sos_agent.core.effects import FetchReceipted, MarkWaiting, StoreProgress
from sos_agent.core.events import AlarmRow, ReceiptedFetched
from sos_agent.core.lines import Lines
from sos_agent.core.table import Table
from sos_contract.payloads import Identity, Progress, ProgressQuery
from sos_contract.stages import RECEIVED, later, rank
from sos_wire.messages import STAGES

QUERY_MS = 30_000
PAGE = 100  # identities a query: some 12 KB, far below any broker's limit
SILENT_MS = 5_000  # without an answer the next page is asked; the page itself comes again with the next round
CLASHES_MOST = 64

QUERY = Table(
    "progress query",
    "idle",
    {
        ("idle", "due"): ("fetching", "fetch"),
        ("fetching", "page"): ("asking", "ask"),
        ("fetching", "again"): ("fetching", "fetch"),
        ("fetching", "end"): ("idle", "rest"),
        ("fetching", "failed"): ("idle", "rest"),
        ("asking", "answered"): ("fetching", "fetch"),
        ("asking", "silent"): ("fetching", "fetch"),
        ("asking", "away"): ("idle", "rest"),
    },
)


class Answers:
    """What the poles are told of their presses: the truth of the outbox, for the content that the pole last offered."""

    def __init__(self, context: Context, lines: Lines, newest: tuple[AlarmRow, ...]) -> None:
        self._context = context
        self._lines = lines
        self._newest = {row.id.pole: (row.id, row.stage) for row in newest}
        self._adrift: dict[str, tuple[Identity, str]] = {}  # newer than the above, as the station tells them
        self._clashes: dict[Identity, int] = {}  # identity (clash 0) -> which of its contents the pole holds

    def stored(self, row: AlarmRow, *, new: bool) -> None:
        """The pole offered this content and it is on disk: it hears the stage, and later those that follow."""
        plain = _plain(row.id)
        if row.id.clash or plain in self._clashes:
            self._clashes.pop(plain, None)
            self._clashes[plain] = row.id.clash
            while len(self._clashes) > CLASHES_MOST:
                del self._clashes[next(iter(self._clashes))]
        # A silent press never has the lamp: one that came later must not hide how far the open call is.
        if new and row.kind == "press" and _is_newer(row.id, self._newest):
            self._newest[row.id.pole] = (row.id, row.stage)
            if row.id.pole in self._adrift and not self._is_adrift(self._adrift[row.id.pole][0]):
                del self._adrift[row.id.pole]
        self.say(row.id, row.stage)

    def say(self, identity: Identity, stage: str) -> None:
        """That alarm has reached that stage."""
        known, was = self._newest.get(identity.pole, (None, stage))
        if known == identity:
            stage = later(was, stage)
            self._newest[identity.pole] = (identity, stage)
        if identity.clash == self._clashes.get(_plain(identity), 0) and identity.pole in self._lines.poles:
            press = (identity.incarnation, identity.boot, identity.press)
            adrift, _ = self._adrift.get(identity.pole, (None, ""))
            self._lines.tell(identity.pole, press, stage, lamp=identity in (known, adrift))

    def adrift(self, identity: Identity, stage: str) -> None:
        """That stage is told of an alarm which the outbox lacks: the disk that held it is lost, or another one is in
        its place, and the lamp may show it still. What the station has committed is true all the same; but of poles
        that pressed since, it is over."""
        pole = identity.pole
        if not self._is_adrift(identity) or self._adrift.get(pole) == (identity, stage):
            return
        if _is_newer(identity, self._adrift) or self._adrift[pole][0] == identity:
            self._adrift[pole] = (identity, stage)
        self.say(identity, stage)

    def poles_without(self) -> tuple[str, ...]:
        """Poles of which the outbox does not hold the newest press: what their lamps show is known to the station."""
        return tuple(pole for pole in self._lines.poles if pole not in self._newest or pole in self._adrift)

    def opened(self, pole: str) -> None:
        """A session began: the pole offers what it has not released; its lamp may belong to a press that it has."""
        for known in (self._newest.get(pole), self._adrift.get(pole)):
            if known is not None and rank(known[1]) >= rank(RECEIVED):
                self.say(*known)

    def _is_adrift(self, identity: Identity) -> bool:
        """Whether that press, which the outbox lacks, is newer than what it holds of that pole; of another board of it
        nobody can tell."""
        known, _ = self._newest.get(identity.pole, (None, ""))
        return known is None or (known.incarnation == identity.incarnation and _is_newer(identity, self._newest))


class ProgressSync:
    """Asks for the stages of all open alarms, page by page, at each birth and every 30 s; after a start, and when the
    inbox is another one, for all receipted alarms, so that the station is offered what it lacks. With the first page it
    asks for the lamps of poles of which the outbox lacks the newest press."""

    def __init__(self, context: Context, courier: Courier, answers: Answers) -> None:
        self._context = context
        self._courier = courier
        self._answers = answers
        self.state = QUERY.first
        self.sweeping = True
        self._unanswered = False  # in this round; a sweep then begins anew
        self._restart = False  # while fetching: begin this round anew
        self._cursor = 0
        self._asked: set[Identity] = set()
        self._lamps: tuple[str, ...] = ()  # poles to ask for with the next page
        self._due_ms = context.now_ms
        self._pending: StoreProgress | None = None  # between ``progress`` and ``store``

    def begin_round(self, *, sweep: bool = False) -> None:
        """The station came (back), or its inbox is another one: do not wait for the 30 s."""
        self.sweeping = self.sweeping or sweep
        self._due_ms = self._context.now_ms
        if self.state == "asking":
            self._step("away")
            self._due_ms = self._context.now_ms
        elif self.state == "fetching":
            self._restart = True

    def fetched(self, event: ReceiptedFetched) -> None:
        if self._restart or event.effect.open_only == self.sweeping:
            self._begin()
            self._step("again")
        elif not self._context.connection or not (event.rows or self._lamps):
            if event.rows:
                self._unanswered = True
            elif not self._unanswered:
                self.sweeping = False
            self._step("end")
        else:
            self._cursor = event.rows[-1][0] if event.rows else self._cursor
            self._asked = {identity for _, identity in event.rows}
            self._step("page")

    def fetch_failed(self) -> None:
        self._unanswered = True
        self._step("failed")

    def progress(self, progress: Progress) -> list[Identity]:
        """Stages from the station. Returns those that it has without our knowing: their receipts were lost."""
        ours = {pole.id for line in self._context.config.lines for pole in line.poles}
        moved: list[tuple[Identity, str]] = []
        for identity, stage in progress.stages:
            if identity.pole not in ours or stage not in STAGES or rank(stage) < rank(RECEIVED):
                self._context.counts["progress_impossible"] += 1
                continue
            moved.append((identity, stage))
        receipts = [identity for identity, _ in moved if self._courier.waits(identity)]
        missing = [identity for identity in progress.missing if identity in self._asked]
        self._context.counts["missing_unasked"] += len(progress.missing) - len(missing)
        if missing:
            self._context.log("warning", "the station lacks alarms; offering them again", count=len(missing))
            self._context.emit(MarkWaiting(tuple(missing), progress.inbox, self._context.wall_ms))
        self._asked.difference_update(identity for identity, _ in progress.stages)
        self._asked.difference_update(missing)
        told = (tuple(moved), progress.inbox, progress.record, self._context.wall_ms)
        self._pending = StoreProgress(*told) if moved else None
        if self.state == "asking" and not self._asked:
            self._step("answered")
        return receipts

    def store(self) -> None:
        """Put the stages of the last ``progress`` on disk, after the receipts that it implied."""
        if self._pending:
            self._context.emit(self._pending)
        self._pending = None

    def failed(self, effect: MarkWaiting | StoreProgress) -> None:
        """Not on disk: asked again with the next round, all of it where something was missing."""
        if isinstance(effect, MarkWaiting):
            self.sweeping = self._unanswered = True  # whatever this round still finds, it is not complete

    def timer(self) -> None:
        now = self._context.now_ms
        if self.state == "idle" and self._context.connection and now >= self._due_ms:
            self._begin()
            self._step("due")
        elif self.state == "asking" and not self._context.connection:
            self._unanswered = True
            self._step("away")
        elif self.state == "asking" and now >= self._due_ms:
            self._unanswered |= bool(self._asked)  # a station of the release before is silent about lamps
            self._step("silent")

    def next_due_ms(self) -> int | None:
        return self._due_ms if self._context.connection and self.state != "fetching" else None

    def _begin(self) -> None:
        self._cursor, self._restart, self._unanswered = 0, False, False
        self._lamps = self._answers.poles_without()

    def _step(self, event: str) -> None:
        self.state, action = QUERY.step(self.state, event)
        if action == "fetch":
            self._asked = set()
            self._context.emit(FetchReceipted(self._cursor, PAGE, not self.sweeping))
        elif action == "ask":
            self._due_ms = self._context.now_ms + SILENT_MS
            session, alarms = self._context.connection, tuple(sorted(self._asked))
            query = ProgressQuery(session=session, alarms=alarms, poles=self._lamps)
            self._context.publish("progress_query", query)
            self._lamps = ()
        elif action == "rest":
            self._asked = set()
            self._due_ms = self._context.now_ms + QUERY_MS


def _is_newer(identity: Identity, than: dict[str, tuple[Identity, str]]) -> bool:
    known, _ = than.get(identity.pole, (None, ""))
    if known is None or known.incarnation != identity.incarnation:
        return True
    return (identity.boot, identity.press, identity.clash) > (known.boot, known.press, known.clash)


def _plain(identity: Identity) -> Identity:
    return Identity(identity.pole, identity.incarnation, identity.boot, identity.press)
