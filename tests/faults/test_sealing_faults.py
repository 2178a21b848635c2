"""The disk fails, or is full, at each call of a sealing; the sealing process is killed.

Rules:
    1. What fails is one call, before its effect, half-way through it, or after it.
    2. Behind it the same process goes on, or a new one starts, in turn; then all is sealed, each row is there
       once, and everything verifies.
"""

import errno
import itertools
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from retention.errors import RetentionError
from tests.support.disk import HOUR, Disk
from tests.support.sealed import MIDNIGHT, SealedStore, first_day
from tests.support.sealing_loop import ROWS, actor, waited_for

FORMS = (("failed", errno.ENOSPC), ("partial", errno.ENOSPC), ("persisted", errno.EIO), ("failed", errno.EIO))


class Calls(Disk):
    """All that change the disk, and opening; a close that fails changes nothing on Linux."""

    CALLS = ("open", "write", "pwrite", "fsync", "fdatasync", "rename", "unlink", "truncate", "mkdir")


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> SealedStore:
    """A day of journals that wait to be sealed, their heads signed. Nobody changes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(os, "fdatasync", lambda _: None)
        built = SealedStore(tmp_path_factory.mktemp("waiting") / "store")
        first_day(built)
        built.clock.now = MIDNIGHT + HOUR
        built.sign_heads()
    assert built.verify(deep=True) == []
    return built


def seal_with_fault(target: SealedStore, step: int, form: str, code: int) -> tuple[bool, list[str]]:
    """Seal while call number *step* fails; whether there was such a call, and what should not be."""
    wrong: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(os, "fdatasync", lambda _: None)
        disk = Calls(patch)
        disk.fail(step, form, times=1, code=code)
        try:
            target.seal_all(MIDNIGHT)
        except RetentionError:
            pass
        except OSError as error:
            wrong.append(f"a raw OSError: {error}")
        reached = len(disk.calls) > step
        disk.repair()
    return reached, wrong


def afterwards(target: SealedStore, original: Counter[str]) -> list[str]:
    """What is wrong once it was sealed again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(os, "fdatasync", lambda _: None)
        target.seal_all(MIDNIGHT)
    wrong = target.verify(deep=True)
    wrong += [] if target.lines() == original else ["rows are lost or twice"]
    left = [path.name for path in (target.root / "journals").rglob("*.journal")]
    return wrong + ([f"journals are left: {left}"] if left else [])


def sweep(waiting: SealedStore, work: Path, stride: int, forms: tuple[tuple[str, int], ...]) -> Counter[str]:
    """Fail every *stride*-th call; what went wrong, in words, and ``steps``, how many there are."""
    found: Counter[str] = Counter()
    original = waiting.lines()
    turn = itertools.count()
    for step in itertools.count(0, stride):
        for form, code in forms if stride == 1 else [forms[next(turn) % len(forms)]]:
            target = waiting.copied(work / "run")
            reached, wrong = seal_with_fault(target, step, form, code)
            wrong += afterwards(target.reopened() if step % 2 else target, original)
            found.update(f"step {step}, {form} {errno.errorcode[code]}: {one}" for one in wrong)
            shutil.rmtree(work / "run")
        if not reached:
            found["steps"] = step
            return found
    raise AssertionError("unreachable")


def test_sealing_goes_on_behind_a_failed_call(waiting: SealedStore, tmp_path: Path) -> None:
    """ENOSPC and EIO at every thirteenth call: refused, then done; nothing lost, nothing twice."""
    found = sweep(waiting, tmp_path, 13, FORMS)

    assert found.pop("steps") > 50
    assert not found


@pytest.mark.integration
def test_sealing_goes_on_behind_every_second_failed_call(waiting: SealedStore, tmp_path: Path) -> None:
    """The same at every second call, the forms in turn. (All of both were tried; it takes minutes.)."""
    found = sweep(waiting, tmp_path, 2, FORMS)

    assert found.pop("steps") > 50
    assert not found


def killed_after(root: Path, begin: int, now: int, seconds: float) -> tuple[int, int]:
    """Run the loop at *root* and kill it; how many rows were acknowledged, and its clock."""
    loop = subprocess.Popen(
        [sys.executable, "-m", "tests.support.sealing_loop", str(root), str(begin), str(now)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert loop.stdout is not None
    assert loop.stdout.readline() == "ready\n"
    time.sleep(seconds)
    loop.kill()
    told = [line.split() for line in loop.stdout.read().split("\n")[:-1]]
    loop.wait()
    loop.stdout.close()
    return (int(told[-1][0]), int(told[-1][1])) if told else (begin, now)


def kill_often(root: Path, times: int) -> Counter[str]:
    """Kill a sealing process *times*; verify behind each; what is wrong."""
    target, chance, wrong = SealedStore(root), random.Random(times), Counter[str]()
    done = 0
    for kill in range(times):
        acknowledged, target.clock.now = killed_after(root, done, target.clock(), chance.uniform(0.0, 0.4))
        target = target.reopened()
        target.clock.move(HOUR)
        target.seal_all()
        wrong.update(f"kill {kill}: {one}" for one in target.verify(deep=True))
        lines = target.lines()
        found = [sum(f'"{actor(row)}"' in line for line in lines.elements()) for row in range(acknowledged)]
        wrong.update(f"kill {kill}: row {row} is there {n} times" for row, n in enumerate(found) if n != 1)
        done = waited_for(lines, acknowledged)
    wrong.update([] if done >= times * ROWS else ["it hardly worked at all"])
    return wrong


def test_a_killed_sealer_loses_nothing(tmp_path: Path) -> None:
    """SIGKILL in a loop of journaling and sealing, four times: each acknowledged row is sealed once."""
    assert not kill_often(tmp_path / "store", 4)


@pytest.mark.integration
def test_a_sealer_killed_twenty_times_loses_nothing(tmp_path: Path) -> None:
    """The same, twenty times over one store."""
    assert not kill_often(tmp_path / "store", 20)
