"""Which journal files go into which segment."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from retention import plan
from retention.plan import FileSpan, Group, plan_imports, plan_live, start_of_day
from retention.times import US_PER_DAY, day_of

DAY_1, DAY_2, DAY_3 = "2026-03-01", "2026-03-02", "2026-03-03"
NOON = start_of_day(DAY_1) + US_PER_DAY // 2
HOUR = US_PER_DAY // 24


def span(writer: str, number: int, first: int, last: int | None = None, rows: int = 1) -> FileSpan:
    """A file with rows from *first* to *last* (as long, if not given), of the day of *first*."""
    day = day_of(first).isoformat()
    last = first if last is None else last
    return FileSpan(writer=writer, number=number, day=day, rows=rows, first=first, last=last, opened=first)


def empty(writer: str, number: int, opened: int, *, void: bool = False) -> FileSpan:
    """A file without rows."""
    day = day_of(opened).isoformat()
    return FileSpan(writer=writer, number=number, day=day, rows=0, opened=opened, void=void)


@st.composite
def journals(draw: st.DrawFn, steps_back: bool = False) -> list[list[FileSpan]]:
    """Up to four journals of finished files over a few days; a clock may step back between files."""
    drawn = []
    for writer in range(draw(st.integers(0, 4))):
        now, files = NOON, []
        for number in range(1, draw(st.integers(0, 6)) + 1):
            now += draw(st.integers(-2 * US_PER_DAY if steps_back else 1, 2 * US_PER_DAY))
            now = max(now, NOON - US_PER_DAY)
            until = start_of_day(day_of(now).isoformat()) + US_PER_DAY - 1
            last = min(now + draw(st.integers(0, 6 * HOUR)), until)
            rows = draw(st.integers(0, 300_000))
            name = f"writer-{writer}"
            files.append(span(name, number, now, last, rows) if rows else empty(name, number, now))
            now = last
        drawn.append(files)
    return drawn


def cut_behind(files: list[list[FileSpan]]) -> int:
    """A cut behind all rows."""
    ends = [one.last or one.opened or 0 for journal in files for one in journal]
    return max(ends, default=NOON) + 1


def planned(files: list[list[FileSpan]], cut: int | None = None) -> list[Group]:
    """Groups of *files*, in a store that began at noon of the first day."""
    return plan_live(files, since=NOON, epoch=0, cut=cut or cut_behind(files))


@given(journals(steps_back=True))
def test_every_file_is_in_exactly_one_group(files: list[list[FileSpan]]) -> None:
    """None is lost, none is there twice, and those of a writer stand in the order of their numbers."""
    groups = planned(files)

    for journal in files:
        ours = [one for group in groups for one in group.files if one in journal]
        assert ours == journal
    assert sum(len(group.files) for group in groups) == sum(map(len, files))


@given(journals(steps_back=True))
def test_live_groups_leave_no_time_out(files: list[list[FileSpan]]) -> None:
    """Each begins where the one before it ended, or, in a new epoch, earlier (FORMAT.md 7.8)."""
    groups = planned(files)

    until, epoch = NOON, 0
    for group in groups:
        goes_on = (group.since, group.epoch) == (until, epoch)
        steps_back = group.since < until and group.epoch == epoch + 1
        assert goes_on or steps_back
        assert group.until >= group.since
        until, epoch = group.until, group.epoch


@given(journals(steps_back=True))
def test_rows_lie_in_their_group(files: list[list[FileSpan]]) -> None:
    """A group's files are of one day, and their rows between its beginning and its end."""
    for group in planned(files):
        assert len({one.day for one in group.files}) <= 1
        for one in group.files:
            assert one.first is None or one.first >= group.since
            assert one.last is None or one.last < group.until


@given(journals())
def test_a_steady_clock_has_one_epoch(files: list[list[FileSpan]]) -> None:
    """Journals of any number of writers, whose days differ, do not look as if the clock stepped back."""
    assert {group.epoch for group in planned(files)} <= {0}


@given(journals())
def test_what_is_too_large_is_split(files: list[list[FileSpan]]) -> None:
    """Two files of one journal share a group only up to the cap; or writers overlap, so no moment parts."""
    for group in planned(files):
        writers = {one.writer for one in group.files}
        assert group.rows <= plan.CAP_ROWS or len(group.files) == 1 or len(writers) > 1


@given(journals(steps_back=True))
def test_imports_are_grouped_by_day_and_cap(files: list[list[FileSpan]]) -> None:
    """All of an import's files, in order; one day and at most the cap in each, and its own rows' times."""
    for journal in files:
        groups = plan_imports(journal)
        assert [one for group in groups for one in group.files] == journal
        for group in groups:
            firsts = [one.first for one in group.files if one.first is not None]
            lasts = [one.last for one in group.files if one.last is not None]
            assert len({one.day for one in group.files}) == 1
            assert group.rows <= plan.CAP_ROWS
            assert (group.kind, group.epoch) == (plan.IMPORT, 0)
            if firsts:
                assert (group.since, group.until) == (min(firsts), max(lasts) + 1)


def test_a_time_without_rows() -> None:
    """Whole days without rows become one group without files, up to the midnight before the cut."""
    (group,) = planned([], NOON + 3 * US_PER_DAY)

    assert (group.since, group.until) == (NOON, start_of_day("2026-03-04"))
    assert group.files == ()


def test_nothing_waits_and_no_midnight_passed() -> None:
    """Then there is nothing to plan."""
    assert planned([], NOON + HOUR) == []


def test_the_time_before_a_day() -> None:
    """Days before the first rows get a group of their own: a manifest with rows is of one day."""
    before, day, behind = planned([[span("a", 1, NOON + 2 * US_PER_DAY)]], NOON + 4 * US_PER_DAY)

    assert (before.files, before.until) == ((), start_of_day(DAY_3))
    assert (day.since, day.until) == (start_of_day(DAY_3), start_of_day(DAY_3) + US_PER_DAY)
    assert (behind.files, behind.since) == ((), day.until)


def test_a_clock_that_stepped_back() -> None:
    """Rows from before the end of the newest manifest begin a new epoch, at the oldest of them."""
    (group,) = plan_live([[span("a", 1, NOON - HOUR)]], since=NOON, epoch=3, cut=NOON + HOUR)

    assert (group.epoch, group.since, group.until) == (4, NOON - HOUR, NOON + HOUR)


def test_large_days_are_split_in_time() -> None:
    """At the latest moment that parts every journal cleanly and keeps the first part under the cap."""
    files = [span("a", number, NOON + number * HOUR, rows=250_000) for number in range(1, 5)]

    one, two = planned([files], NOON + 8 * HOUR)

    assert (one.files, two.files) == (tuple(files[:2]), tuple(files[2:]))
    assert one.until == two.since == (files[1].last or 0) + 1
    assert two.until == NOON + 8 * HOUR


def test_overlapping_writers_are_not_parted() -> None:
    """Where no moment parts their files cleanly, the group is larger than the cap."""
    long = span("a", 1, NOON, NOON + 6 * HOUR, rows=400_000)
    short = span("b", 1, NOON + HOUR, NOON + 7 * HOUR, rows=400_000)

    (group,) = planned([[long], [short]], NOON + 8 * HOUR)

    assert group.rows == 800_000


def test_void_frames_wait_for_rows() -> None:
    """A group without rows has no segment to keep hashes of void frames in, so it waits."""
    void = empty("a", 1, NOON, void=True)

    assert planned([[void]])[0].waits
    assert not planned([[void, span("a", 2, NOON + 1)]])[0].waits
    assert not planned([[empty("a", 1, NOON)]])[0].waits


def test_which_side_of_a_cut() -> None:
    """By the last row; without rows, by the opening; without that (applog 0.1), by the day."""
    old = FileSpan(writer="a", number=1, day=DAY_2, rows=0)

    assert span("a", 1, NOON).before(NOON + 1)
    assert not span("a", 1, NOON - 1, NOON).before(NOON)
    assert empty("a", 1, NOON).before(NOON + 1)
    assert not empty("a", 1, NOON).before(NOON)
    assert old.before(start_of_day(DAY_2) + 1)
    assert not old.before(start_of_day(DAY_2))


def test_planning_in_two_goes_gives_one_chain() -> None:
    """Where the first plan ended the second goes on, as a sealer does day by day."""
    files = [span("a", number, NOON + number * US_PER_DAY) for number in range(1, 4)]
    middle = start_of_day(DAY_3)

    early = plan_live([files[:1]], since=NOON, epoch=0, cut=middle)
    late = plan_live([files[1:]], since=early[-1].until, epoch=0, cut=middle + 2 * US_PER_DAY)

    chain = [*early, *late]
    assert all(one.until == two.since for one, two in pairwise(chain))
    assert [one for group in chain for one in group.files] == files
